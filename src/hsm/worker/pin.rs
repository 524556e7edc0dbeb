//! The user PIN: opaque octets in a file, and the marks of those that were refused.

use std::{fs::File, io::Read, num::NonZeroU32, path::Path};

use aws_lc_rs::{pbkdf2, rand};
use cryptoki::types::RawAuthPin;
use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use secrecy::ExposeSecret;

use crate::hsm::{
    fault::{Class, Fault},
    refusals::PinMark,
};

/// Longest PIN, in octets; `user:password` forms included.
const PIN_BYTES_MAX: u64 = 1024;
/// PBKDF2 with HMAC-SHA-512: as many as OWASP's Password Storage Cheat Sheet asks for.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(210_000).unwrap();
const SALT_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;

/// Reads the PIN. One trailing newline is not counted.
///
/// # Errors
/// [`Fault`] of configuration class that names the file.
pub(super) fn read(path: &Path) -> Result<RawAuthPin, Fault> {
    let refuse = |words: String| Fault::ours(Class::Configuration, "read PIN file", words);
    let mut octets = Vec::new();
    // All the room at once: a vector that grows leaves copies behind.
    octets.reserve_exact(2 * 1024);
    File::open(path)
        .and_then(|file| file.take(PIN_BYTES_MAX + 1).read_to_end(&mut octets))
        .map_err(|error| refuse(format!("{}: {error}", path.display())))?;
    if octets.last() == Some(&b'\n') {
        octets.pop();
    }
    let length = octets.len();
    let pin = RawAuthPin::new(Box::new(octets));
    match length {
        0 => Err(refuse(format!("{}: the file is empty", path.display()))),
        _ if length as u64 > PIN_BYTES_MAX => {
            Err(refuse(format!("{}: longer than {PIN_BYTES_MAX} octets", path.display())))
        }
        _ => Ok(pin),
    }
}

/// A mark of a PIN that the token of this serial has refused to a user of this type (`CKU_…`). Takes
/// a tenth of a second or so, on purpose: short PINs are soon guessed.
///
/// # Errors
/// When the system has no randomness.
pub(super) fn mark(pin: &RawAuthPin, serial: &str, user_type: u64) -> Result<PinMark, Fault> {
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt)
        .map_err(|_| Fault::ours(Class::Unexpected, "mark PIN", "no randomness"))?;
    let mut digest = [0; DIGEST_BYTES];
    let salted = salted(&salt, user_type);
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
    pbkdf2::derive(algorithm, ITERATIONS, &salted, pin.expose_secret(), &mut digest);
    Ok(PinMark { serial: serial.to_owned(), salt: HEX.encode(&salt), digest: HEX.encode(&digest) })
}

/// Whether a mark is of this PIN.
pub(super) fn is_marked(pin: &RawAuthPin, serial: &str, user_type: u64, marks: &[PinMark]) -> bool {
    marks.iter().filter(|mark| mark.serial == serial).any(|mark| {
        let decoded = (HEX.decode(mark.salt.as_bytes()), HEX.decode(mark.digest.as_bytes()));
        let (Ok(salt), Ok(digest)) = decoded else { return false };
        let salted = salted(&salt, user_type);
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
        pbkdf2::verify(algorithm, ITERATIONS, &salted, pin.expose_secret(), &digest).is_ok()
    })
}

/// Another user's PIN may be the same.
fn salted(salt: &[u8], user_type: u64) -> Vec<u8> {
    [salt, &user_type.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(octets: &[u8]) -> RawAuthPin {
        RawAuthPin::new(Box::new(octets.to_vec()))
    }

    fn read_back(content: &[u8]) -> Result<RawAuthPin, Fault> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pin");
        std::fs::write(&path, content).unwrap();
        read(&path)
    }

    #[test]
    fn a_pin_is_opaque_but_for_one_newline() {
        for (content, expected) in [
            (&b"1234"[..], &b"1234"[..]),
            (b"1234\n", b"1234"),
            (b"1234\n\n", b"1234\n"),
            (b" 12\xff\0 ", b" 12\xff\0 "),
        ] {
            assert_eq!(read_back(content).unwrap().expose_secret(), expected);
        }
    }

    #[test]
    fn an_empty_missing_or_huge_pin_file_is_a_configuration_fault() {
        for content in [&b""[..], b"\n", &[b'1'; 1025]] {
            assert_eq!(read_back(content).unwrap_err().class, Class::Configuration);
        }
        let fault = read(Path::new("/nonexistent/pin")).unwrap_err();
        assert!(fault.to_string().contains("/nonexistent/pin"), "{fault}");
    }

    #[test]
    fn a_mark_fits_one_pin_of_one_user_of_one_token() {
        let first = mark(&pin(b"1234"), "serial", 1).unwrap();
        let again = mark(&pin(b"1234"), "serial", 1).unwrap();
        assert_ne!(first.digest, again.digest, "salted");
        let marks = [mark(&pin(b"0000"), "serial", 1).unwrap(), first];
        assert!(is_marked(&pin(b"1234"), "serial", 1, &marks));
        assert!(!is_marked(&pin(b"1235"), "serial", 1, &marks));
        assert!(!is_marked(&pin(b"1234"), "another", 1, &marks));
        assert!(!is_marked(&pin(b"1234"), "serial", 0x8000_0001, &marks));
    }

    #[test]
    fn a_mark_that_was_tampered_with_fits_nothing() {
        let good = mark(&pin(b"1234"), "serial", 1).unwrap();
        for bad in [
            PinMark { salt: "xyz".to_owned(), ..good.clone() },
            PinMark { digest: String::new(), ..good.clone() },
            PinMark { digest: "00".repeat(32), ..good },
        ] {
            assert!(!is_marked(&pin(b"1234"), "serial", 1, &[bad]));
        }
    }
}
