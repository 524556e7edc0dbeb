//! When a signer that works is recycled, because its module leaks memory, descriptors or sessions. A leak
//! shows only when a limit is met, and then requests fail; so the signer is replaced before.

use serde::{Deserialize, Serialize};

use super::sandbox::{DESCRIPTORS_MAX, MEMORY_MAX_MB_DEFAULT};

/// Sessions that may be open in addition to twice those of the start, because changes of the token use their
/// own for a moment.
const SESSIONS_MORE: u64 = 2;

/// Thresholds for recycling. The replacement comes up before the signer ends, so that no request waits. A
/// threshold counts only from twice what the signer used when it came up, because a large module would be
/// replaced without end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recycling {
    /// Memory, in MiB: the larger of private memory, which
    /// [`Sandbox::memory_max_mb`](super::Sandbox::memory_max_mb) limits, and resident memory.
    pub memory_mb: u64,
    /// Open descriptors.
    pub descriptors: u32,
    /// Signatures made; 0 means no threshold.
    pub signatures: u64,
    /// Whether the signer must end before its replacement starts, because the token accepts one process at a
    /// time. Requests wait meanwhile. Also set when a token refuses a second process by `CKR_SESSION_COUNT`.
    pub one_at_a_time: bool,
}

impl Default for Recycling {
    fn default() -> Self {
        Self {
            memory_mb: MEMORY_MAX_MB_DEFAULT / 2,
            descriptors: 256,
            signatures: 0,
            one_at_a_time: false,
        }
    }
}

/// What a signer uses, by its own report. A lie gains it nothing, because the limits are enforced by the
/// kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Memory, in octets: the larger of private and resident memory; 0 when it cannot be measured.
    pub memory: u64,
    /// A lower bound of the open descriptors.
    pub descriptors: u32,
    /// Sessions that the token has open for it (`CK_TOKEN_INFO.ulSessionCount`), as of its last listing;
    /// `None` when the token does not say.
    pub sessions: Option<u64>,
}

/// Why a signer was recycled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecycleCause {
    /// It used too much memory.
    Memory,
    /// It had too many descriptors open.
    Descriptors,
    /// The token had too many sessions open for it.
    Sessions,
    /// It had made the configured number of signatures.
    Signatures,
}

impl RecycleCause {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Descriptors, Self::Sessions, Self::Signatures];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
            Self::Sessions => "sessions",
            Self::Signatures => "signatures",
        }
    }
}

/// How worn a signer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wear {
    /// Below all thresholds.
    None,
    /// Above a threshold: it works until it is replaced.
    Worn(RecycleCause),
    /// Halfway from the threshold to the limit: it should get no more requests.
    Exhausted(RecycleCause),
}

impl Recycling {
    /// Judges a signer by what it used at first, what it uses now and how many signatures it made.
    /// `memory_max_mb` is its limit.
    pub(super) fn judge(
        &self,
        at_first: Usage,
        now: Usage,
        signatures: u64,
        memory_max_mb: u64,
    ) -> Wear {
        let memory = (self.memory_mb << 20).max(at_first.memory.saturating_mul(2));
        let descriptors = self.descriptors.max(at_first.descriptors.saturating_mul(2));
        let between = |worn: u64, most: u64| worn + most.saturating_sub(worn) / 2;
        let memory_exhausted = between(memory, memory_max_mb << 20);
        let descriptors_exhausted = between(descriptors.into(), DESCRIPTORS_MAX);
        let sessions = at_first
            .sessions
            .map(|sessions| sessions.saturating_mul(2).saturating_add(SESSIONS_MORE));
        if now.memory > memory_exhausted {
            Wear::Exhausted(RecycleCause::Memory)
        } else if u64::from(now.descriptors) > descriptors_exhausted {
            Wear::Exhausted(RecycleCause::Descriptors)
        } else if now.memory > memory {
            Wear::Worn(RecycleCause::Memory)
        } else if now.descriptors > descriptors {
            Wear::Worn(RecycleCause::Descriptors)
        } else if sessions.is_some() && now.sessions > sessions {
            Wear::Worn(RecycleCause::Sessions)
        } else if self.signatures > 0 && signatures >= self.signatures {
            Wear::Worn(RecycleCause::Signatures)
        } else {
            Wear::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn usage(memory_mb: u64, descriptors: u32, sessions: Option<u64>) -> Usage {
        Usage { memory: memory_mb * MB, descriptors, sessions }
    }

    fn judged(at_first: Usage, now: Usage, signatures: u64) -> Wear {
        let recycling = Recycling { signatures: 1_000, ..Recycling::default() };
        recycling.judge(at_first, now, signatures, 1_024)
    }

    #[test]
    fn a_signer_is_worn_before_it_meets_its_limit() {
        let new = usage(60, 8, Some(3));
        for (now, signatures, wear) in [
            (usage(512, 256, Some(8)), 999, Wear::None),
            (usage(513, 8, Some(3)), 0, Wear::Worn(RecycleCause::Memory)),
            (usage(769, 8, Some(3)), 0, Wear::Exhausted(RecycleCause::Memory)),
            (usage(60, 257, Some(3)), 0, Wear::Worn(RecycleCause::Descriptors)),
            (usage(60, 641, Some(3)), 0, Wear::Exhausted(RecycleCause::Descriptors)),
            (usage(60, 8, Some(9)), 0, Wear::Worn(RecycleCause::Sessions)),
            (usage(60, 8, None), 1_000, Wear::Worn(RecycleCause::Signatures)),
        ] {
            assert_eq!(judged(new, now, signatures), wear, "{now:?}");
        }
    }

    #[test]
    fn a_module_that_is_large_from_the_first_is_not_worn() {
        let large = usage(600, 300, None);
        assert_eq!(judged(large, large, 0), Wear::None);
        assert_eq!(judged(large, usage(1_200, 600, Some(40)), 0), Wear::None);
        assert_eq!(
            judged(large, usage(1_201, 600, None), 0),
            Wear::Exhausted(RecycleCause::Memory)
        );
    }

    #[test]
    fn numbers_that_are_lies_do_no_harm() {
        let lie = Usage { memory: u64::MAX, descriptors: u32::MAX, sessions: Some(u64::MAX) };
        assert_eq!(judged(lie, lie, 0), Wear::None);
        assert_eq!(judged(Usage::default(), lie, 0), Wear::Exhausted(RecycleCause::Memory));
    }
}
