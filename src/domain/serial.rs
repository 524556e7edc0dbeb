//! Certificate serial numbers.

use std::fmt;

use data_encoding::HEXLOWER;

/// Sixteen random octets, the top bit clear and the next one set: positive, never short, 126 bits
/// from the CSPRNG (ISO/IEC 18013-5 B.1.1: at least 63, better 71 bits; RFC 5280: at most 20 octets).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SerialNumber([u8; 16]);

impl SerialNumber {
    /// Makes a serial number of random octets by setting the top two bits.
    pub fn from_random(mut octets: [u8; 16]) -> Self {
        octets[0] = octets[0] & 0x7F | 0x40;
        Self(octets)
    }

    /// Big-endian, minimal: the content of the INTEGER.
    pub fn as_octets(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SerialNumber {
    /// Lower-case hexadecimal, no separators.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

impl serde::Serialize for SerialNumber {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_positive_and_of_full_length_whatever_the_random_octets() {
        for octets in [[0x00; 16], [0xFF; 16], [0x80; 16]] {
            let serial = SerialNumber::from_random(octets);
            assert!((0x40..0x80).contains(&serial.as_octets()[0]));
            assert_eq!(serial.to_string().len(), 32);
        }
    }
}
