//! Whether recent signatures were fast.

use std::time::Duration;

/// A signature that takes longer is slow.
const FAST_MAX: Duration = Duration::from_micros(250);
/// Range of the counter. Several slow or fast signatures in a row change the verdict, single ones do not,
/// because a thread may just have been preempted.
const MEMORY: u8 = 8;

/// A saturating counter of slow signatures. Starts as slow.
pub(super) struct Speed(u8);

impl Default for Speed {
    fn default() -> Self {
        Self(MEMORY)
    }
}

impl Speed {
    /// Counts one signature.
    pub(super) fn note(&mut self, took: Duration) {
        self.0 = match took <= FAST_MAX {
            true => self.0.saturating_sub(1),
            false => (self.0 + 1).min(MEMORY),
        };
    }

    pub(super) fn is_fast(&self) -> bool {
        self.0 < MEMORY / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_micros(60);
    const SLOW: Duration = Duration::from_millis(20);

    #[test]
    fn a_few_in_a_row_tell_fast_from_slow_and_single_ones_do_not() {
        let mut speed = Speed::default();
        let mut after = |times: &[Duration]| {
            times.iter().for_each(|took| speed.note(*took));
            speed.is_fast()
        };
        assert!(!after(&[]));
        assert!(after(&[FAST; 5]));
        assert!(after(&[FAST, SLOW, FAST, FAST, SLOW, SLOW, FAST, FAST]));
        assert!(!after(&[SLOW; 4]));
        assert!(!after(&[FAST, SLOW].repeat(4)));
        assert!(after(&[FAST; 8]));
        assert!(!after(&[SLOW; 100]));
        assert!(after(&[FAST; 5]));
    }
}
