//! The limits after which a working signer is replaced.

use super::{Check, raw::RawRecycling};
use crate::hsm::Recycling;

impl Check<'_> {
    pub(super) fn recycling(
        &mut self,
        place: &str,
        raw: &RawRecycling,
        memory_max_mb: u64,
    ) -> Recycling {
        let usual = Recycling::default();
        let recycling = Recycling {
            memory_mb: raw.memory_mb.unwrap_or(memory_max_mb / 2),
            descriptors: raw.descriptors.unwrap_or(usual.descriptors),
            signatures: raw.signatures.unwrap_or(usual.signatures),
            one_at_a_time: raw.one_at_a_time.unwrap_or(usual.one_at_a_time),
        };
        for (name, value, range) in [
            ("memory_mb", recycling.memory_mb, 32..=memory_max_mb),
            ("descriptors", recycling.descriptors.into(), 16..=1_024),
        ] {
            if !range.contains(&value) {
                let (low, high) = range.into_inner();
                self.problem(format!("{place}: recycling.{name} is {value}, not {low} to {high}"));
            }
        }
        recycling
    }
}
