//! Numbers and ids that nobody chose.

use aws_lc_rs::rand;
use uuid::Uuid;

use super::error::Error;
use crate::domain::{path::PathElement, serial::SerialNumber};

/// A random serial number.
///
/// # Errors
/// [`Error::Internal`] without a random source.
pub(super) fn serial() -> Result<SerialNumber, Error> {
    let mut octets = [0; 16];
    rand::fill(&mut octets).map_err(|_| Error::Internal("no random octets".to_owned()))?;
    Ok(SerialNumber::from_random(octets))
}

/// A UUID of version 7 (RFC 9562): ids that are made one after the other are neighbours in the indexes
/// of the ledger.
pub(super) fn id() -> PathElement {
    Uuid::now_v7().into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SERIALS: u32 = 100_000;

    #[test]
    fn serial_numbers_are_distinct_and_each_of_their_126_bits_is_as_often_set_as_not() {
        let serials: HashSet<_> = (0..SERIALS).map(|_| serial().unwrap()).collect();
        assert_eq!(serials.len(), 100_000);
        for bit in 0..128 {
            let is_set =
                |serial: &&SerialNumber| serial.as_octets()[bit / 8] << (bit % 8) & 0x80 != 0;
            let share = serials.iter().filter(is_set).count();
            match bit {
                0 => assert_eq!(share, 0, "negative"),
                1 => assert_eq!(share, 100_000, "short"),
                // Six standard deviations.
                _ => assert!((49_050..=50_950).contains(&share), "bit {bit}: {share}"),
            }
        }
    }
}
