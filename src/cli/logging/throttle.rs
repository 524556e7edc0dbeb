//! Rate limit for log lines. During an outage of the HSM each request logs something, so a client could fill the
//! disk with failing requests.
//!
//! Each log statement of the program may write [`LINES_PER_MINUTE`] lines in a minute. Further lines are counted,
//! and the number is logged at the end of the minute. Levels below INFO are not limited, because only an operator
//! can switch them on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tracing::{Event, Level, Subscriber, callsite::Identifier};
use tracing_subscriber::{Layer, layer::Context};

/// Lines that one log statement may write in a minute.
const LINES_PER_MINUTE: u32 = 120;
const MINUTE: Duration = Duration::from_secs(60);

/// The rate limit.
#[derive(Clone)]
pub(in crate::cli) struct Throttle {
    /// The target of log statements that are limited elsewhere.
    exempt: &'static str,
    places: Arc<Mutex<HashMap<Identifier, Place>>>,
}

/// A log statement, and the number of its lines in this minute.
struct Place {
    file: &'static str,
    line: u32,
    written: u32,
    left_out: u64,
}

impl Throttle {
    pub(super) fn new(exempt: &'static str) -> Self {
        Self { exempt, places: Arc::default() }
    }

    /// Logs every minute how many lines were left out, until it is dropped.
    pub(in crate::cli) async fn keep_telling(self) {
        loop {
            tokio::time::sleep(MINUTE).await;
            self.tell();
        }
    }

    /// Logs how many lines were left out, and starts a new minute.
    pub(in crate::cli) fn tell(&self) {
        // Release the lock before logging, because these lines are counted here too.
        let places = std::mem::take(&mut *self.places());
        for Place { file, line, left_out, .. } in places.into_values() {
            if left_out > 0 {
                tracing::warn!(left_out, place = %format_args!("{file}:{line}"), "lines were left out");
            }
        }
    }

    /// Counts a line. Returns whether it may be written.
    fn has_room(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == self.exempt {
            return true;
        }
        let mut places = self.places();
        let place = places.entry(metadata.callsite()).or_insert_with(|| Place {
            file: metadata.file().unwrap_or("?"),
            line: metadata.line().unwrap_or_default(),
            written: 0,
            left_out: 0,
        });
        if place.written < LINES_PER_MINUTE {
            place.written += 1;
            return true;
        }
        place.left_out += 1;
        false
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Identifier, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Throttle {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        self.has_room(event)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use tracing_subscriber::{fmt, layer::SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(octets)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_fails_all_day_is_told_some_times_and_then_as_a_number() {
        let lines = Lines::default();
        let writer = lines.clone();
        let throttle = Throttle::new("exempt");
        let subscriber = tracing_subscriber::registry()
            .with(throttle.clone())
            .with(fmt::layer().with_ansi(false).with_writer(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..10_000 {
                tracing::error!(number, "it fails");
                tracing::debug!(number, "it was asked for");
            }
            for number in 0..500 {
                tracing::info!(target: "exempt", number, "it has its own bound");
            }
            tracing::error!("another place");
            throttle.tell();
            throttle.tell();
            tracing::error!("another minute");
        });
        let written = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let count = |words: &str| written.lines().filter(|line| line.contains(words)).count();
        assert_eq!(count("it fails"), 120);
        assert_eq!(count("it was asked for"), 10_000);
        assert_eq!(count("it has its own bound"), 500);
        assert_eq!((count("another place"), count("another minute")), (1, 1));
        assert_eq!(count("lines were left out"), 1);
        assert_eq!(count("left_out=9880"), 1);
    }
}
