//! The user PIN: opaque octets in a file, and the marks of those that were tried.

use std::{fs::File, io::Read, num::NonZeroU32, path::Path};

use aws_lc_rs::{hmac, pbkdf2, rand};
use cryptoki::types::RawAuthPin;
use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use secrecy::ExposeSecret;

use crate::hsm::{
    fault::{Class, Fault},
    tries::{PinMark, Try},
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

/// The mark of a PIN for the token of this serial and a user of this type (`CKU_…`): the one that it
/// was tried under before, else a new one. Of one that was taken, only the octet is looked at; all else
/// takes a tenth of a second or so, on purpose: short PINs are soon guessed.
///
/// # Errors
/// When the system has no randomness.
pub(super) fn mark(
    pin: &RawAuthPin,
    serial: &str,
    user_type: u64,
    tries: &[Try],
) -> Result<PinMark, Fault> {
    for kept in tries.iter().rev().map(|kept| &kept.mark).filter(|kept| kept.serial == serial) {
        let Ok(salt) = HEX.decode(kept.salt.as_bytes()) else { continue };
        let mut mark = quick_mark(pin, serial, user_type, &salt);
        if mark.check == kept.check && kept.digest.is_some() {
            complete(&mut mark, pin, user_type);
        }
        if mark.fits(kept) {
            return Ok(mark);
        }
    }
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt)
        .map_err(|_| Fault::ours(Class::Unexpected, "mark PIN", "no randomness"))?;
    let mut mark = quick_mark(pin, serial, user_type, &salt);
    complete(&mut mark, pin, user_type);
    Ok(mark)
}

/// An octet of HMAC-SHA-256, under the salt.
fn quick_mark(pin: &RawAuthPin, serial: &str, user_type: u64, salt: &[u8]) -> PinMark {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, salt));
    context.update(&user_type.to_be_bytes());
    context.update(pin.expose_secret());
    let check = context.sign().as_ref()[0];
    PinMark { serial: serial.to_owned(), salt: HEX.encode(salt), check, digest: None }
}

/// Adds the slow digest, where it is missing. Another user's PIN may be the same.
pub(super) fn complete(mark: &mut PinMark, pin: &RawAuthPin, user_type: u64) {
    let Ok(salt) = HEX.decode(mark.salt.as_bytes()) else { return };
    mark.digest.get_or_insert_with(|| {
        let mut digest = [0; DIGEST_BYTES];
        let salted = [&salt[..], &user_type.to_be_bytes()].concat();
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
        pbkdf2::derive(algorithm, ITERATIONS, &salted, pin.expose_secret(), &mut digest);
        HEX.encode(&digest)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsm::tries::{self, WrongPins};

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

    /// As they are found in the file after one try each.
    fn tried(marks: &[&PinMark]) -> Vec<Try> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tried-pins");
        for mark in marks {
            tries::begin(&file, mark, WrongPins::Untold).unwrap();
        }
        tries::load(&file).unwrap()
    }

    #[test]
    fn a_pin_has_the_mark_that_it_was_tried_under_and_another_has_not() {
        let first = mark(&pin(b"1234"), "serial", 1, &[]).unwrap();
        assert_ne!(first, mark(&pin(b"1234"), "serial", 1, &[]).unwrap(), "salted");
        let other = mark(&pin(b"0000"), "serial", 1, &[]).unwrap();
        let tries = tried(&[&other, &first]);
        assert_eq!(mark(&pin(b"1234"), "serial", 1, &tries).unwrap(), first);
        assert_eq!(mark(&pin(b"0000"), "serial", 1, &tries).unwrap(), other);
        for (octets, serial, user) in
            [(b"1235", "serial", 1), (b"1234", "another", 1), (b"1234", "serial", 0x8000_0001)]
        {
            let mark = mark(&pin(octets), serial, user, &tries).unwrap();
            assert!(tries.iter().all(|kept| !mark.fits(&kept.mark)), "{serial} {user}");
        }
    }

    #[test]
    fn a_pin_that_was_taken_is_known_by_its_octet_and_needs_no_slow_digest() {
        let first = mark(&pin(b"1234"), "serial", 1, &[]).unwrap();
        let taken = tried(&[&PinMark { digest: None, ..first.clone() }]);
        let mut again = mark(&pin(b"1234"), "serial", 1, &taken).unwrap();
        assert_eq!(again, taken[0].mark);
        complete(&mut again, &pin(b"1234"), 1);
        assert_eq!(again, first);
        // One octet is that of every 256th PIN.
        let others = (0..1_000).map(|number| format!("{number:04}"));
        let same = others.filter(|other| {
            let salt = HEX.decode(first.salt.as_bytes()).unwrap();
            quick_mark(&pin(other.as_bytes()), "serial", 1, &salt).check == first.check
        });
        assert!(same.count() < 40);
    }

    #[test]
    fn a_mark_that_was_tampered_with_fits_nothing() {
        let good = mark(&pin(b"1234"), "serial", 1, &[]).unwrap();
        for bad in [
            PinMark { salt: "xyz".to_owned(), ..good.clone() },
            PinMark { digest: Some(String::new()), ..good.clone() },
            PinMark { digest: Some("00".repeat(32)), ..good.clone() },
            PinMark { check: !good.check, ..good.clone() },
        ] {
            assert!(!good.fits(&bad));
            let mark = mark(&pin(b"1234"), "serial", 1, &tried(&[&bad])).unwrap();
            assert!(!mark.fits(&bad));
        }
    }
}
