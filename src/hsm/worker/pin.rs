//! The user PIN, which is opaque octets in a file, and its fingerprints.

use std::{fs::File, io::Read, num::NonZeroU32, path::Path};

use aws_lc_rs::{hmac, pbkdf2, rand};
use cryptoki::types::RawAuthPin;
use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use secrecy::ExposeSecret;

use crate::hsm::{
    fault::{Class, Fault},
    pin_attempts::{PinAttempt, PinFingerprint},
};

/// Longest PIN, in octets. CloudHSM has `user:password`.
const PIN_BYTES_MAX: u64 = 1024;
/// Iterations of PBKDF2 with HMAC-SHA-512, by OWASP's Password Storage Cheat Sheet.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(210_000).unwrap();
const SALT_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;

/// Reads the PIN. Line ends (CR, LF) at the end of the file are not part of it. Other characters that an
/// editor may have added are refused here, because each wrong PIN costs the token one of its few attempts.
///
/// # Errors
/// [`Fault`] of configuration class that names the file.
pub(super) fn read(path: &Path) -> Result<RawAuthPin, Fault> {
    let refuse = |words: String| Fault::ours(Class::Configuration, "read PIN file", words);
    let mut octets = Vec::new();
    // Allocated once, because a vector that grows leaves copies behind.
    octets.reserve_exact(2 * 1024);
    File::open(path)
        .and_then(|file| file.take(PIN_BYTES_MAX + 1).read_to_end(&mut octets))
        .map_err(|error| refuse(format!("{}: {error}", path.display())))?;
    let is_too_long = octets.len() as u64 > PIN_BYTES_MAX;
    while let Some(b'\r' | b'\n') = octets.last() {
        octets.pop();
    }
    let fault = if is_too_long {
        Some(format!("longer than {PIN_BYTES_MAX} octets"))
    } else {
        not_a_pin(&octets).map(str::to_owned)
    };
    // Wiped when it is dropped, even if it is refused.
    let pin = RawAuthPin::new(Box::new(octets));
    match fault {
        Some(words) => Err(refuse(format!("{}: {words}; C_Login was not called", path.display()))),
        None => Ok(pin),
    }
}

/// Why these octets, without line ends at their end, cannot be meant as a PIN.
fn not_a_pin(octets: &[u8]) -> Option<&'static str> {
    let is_blank = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    // A byte order mark of UTF-16 whose text has NULs. A binary PIN may begin with the same octets.
    let is_utf_16 = octets.starts_with(b"\xfe\xff") || octets.starts_with(b"\xff\xfe");
    let has_nul = octets.contains(&0);
    if octets.is_empty() {
        Some("the file is empty")
    } else if octets.starts_with(b"\xef\xbb\xbf") || is_utf_16 && has_nul {
        Some("the file begins with a byte order mark: save it without one")
    } else if has_nul {
        Some("there is a NUL in the PIN: save the file as plain text")
    } else if octets.iter().any(|octet| matches!(octet, b'\r' | b'\n')) {
        Some("there is more than one line: the file may hold the PIN alone")
    } else if is_blank(octets.first()) || is_blank(octets.last()) {
        Some("there is a blank before or after the PIN: remove it")
    } else {
        None
    }
}

/// The fingerprint of a PIN for the token of this serial and a user of this type (`CKU_…`): that of an
/// earlier attempt, else a new one. For a PIN that was accepted, the octet decides; otherwise the slow digest
/// is computed, which takes about a tenth of a second on purpose, because short PINs are soon guessed.
///
/// # Errors
/// When the system has no randomness.
pub(super) fn fingerprint(
    pin: &RawAuthPin,
    serial: &str,
    user_type: u64,
    attempts: &[PinAttempt],
) -> Result<PinFingerprint, Fault> {
    for kept in
        attempts.iter().rev().map(|kept| &kept.fingerprint).filter(|kept| kept.serial == serial)
    {
        let Ok(salt) = HEX.decode(kept.salt.as_bytes()) else { continue };
        let mut fingerprint = quick_fingerprint(pin, serial, user_type, &salt);
        if fingerprint.check == kept.check && kept.digest.is_some() {
            complete(&mut fingerprint, pin, user_type);
        }
        if fingerprint.fits(kept) {
            return Ok(fingerprint);
        }
    }
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt)
        .map_err(|_| Fault::ours(Class::Unexpected, "fingerprint PIN", "no randomness"))?;
    let mut fingerprint = quick_fingerprint(pin, serial, user_type, &salt);
    complete(&mut fingerprint, pin, user_type);
    Ok(fingerprint)
}

/// One octet of HMAC-SHA-256 under the salt.
fn quick_fingerprint(
    pin: &RawAuthPin,
    serial: &str,
    user_type: u64,
    salt: &[u8],
) -> PinFingerprint {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, salt));
    context.update(&user_type.to_be_bytes());
    context.update(pin.expose_secret());
    let check = context.sign().as_ref()[0];
    PinFingerprint { serial: serial.to_owned(), salt: HEX.encode(salt), check, digest: None }
}

/// Adds the slow digest where it is missing. It includes the user type, because another user may have the
/// same PIN.
pub(super) fn complete(fingerprint: &mut PinFingerprint, pin: &RawAuthPin, user_type: u64) {
    let Ok(salt) = HEX.decode(fingerprint.salt.as_bytes()) else { return };
    fingerprint.digest.get_or_insert_with(|| {
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
    use crate::hsm::pin_attempts::{self, WrongPinFlag};

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
    fn a_pin_is_opaque_but_for_line_ends_at_the_end() {
        for (content, expected) in [
            (&b"1234"[..], &b"1234"[..]),
            (b"1234\n", b"1234"),
            (b"1234\r\n", b"1234"),
            (b"1234\n\n", b"1234"),
            (b"1234\r\n\r\n", b"1234"),
            (b"1234\r", b"1234"),
            (b"user:pass word\n", b"user:pass word"),
            (b"12\xff\x01\xfe", b"12\xff\x01\xfe"),
            (b"\xff\xfe 7\x01:391", b"\xff\xfe 7\x01:391"),
        ] {
            assert_eq!(read_back(content).unwrap().expose_secret(), expected);
        }
    }

    #[test]
    fn what_an_editor_has_added_to_a_pin_is_refused_by_name_before_a_try() {
        for (content, words) in [
            (&b"\xef\xbb\xbf1234\n"[..], "byte order mark"),
            (b"\xff\xfe1\x002\x00", "byte order mark"),
            (b"\xfe\xff\x001\x002", "byte order mark"),
            (b"1\x002\x003\x00", "NUL"),
            (b"1234\0", "NUL"),
            (b"1234\n5678\n", "more than one line"),
            (b"1234\r5678", "more than one line"),
            (b"\n1234\n", "more than one line"),
            (b"# the PIN\r\n1234\r\n", "more than one line"),
            (b"1234 \n", "blank"),
            (b" 1234", "blank"),
            (b"\t1234", "blank"),
            (b"1234\t\r\n", "blank"),
            (b"", "empty"),
            (b"\n", "empty"),
            (b"\r\n\r\n", "empty"),
            (&[b'1'; 1025], "longer than"),
        ] {
            let fault = read_back(content).unwrap_err();
            let text = fault.to_string();
            assert_eq!(fault.class, Class::Configuration);
            assert!(text.contains(words) && text.contains("/pin"), "{content:?}: {text}");
            assert!(!text.contains("1234"), "{text}");
        }
        let fault = read(Path::new("/nonexistent/pin")).unwrap_err();
        assert!(fault.to_string().contains("/nonexistent/pin"), "{fault}");
    }

    /// As they are read from the file after one attempt each.
    fn tried(fingerprints: &[&PinFingerprint]) -> Vec<PinAttempt> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tried-pins");
        for fingerprint in fingerprints {
            pin_attempts::begin(&file, fingerprint, WrongPinFlag::Unreliable).unwrap();
        }
        pin_attempts::load(&file).unwrap()
    }

    #[test]
    fn a_pin_has_the_mark_that_it_was_tried_under_and_another_has_not() {
        let first = fingerprint(&pin(b"1234"), "serial", 1, &[]).unwrap();
        assert_ne!(first, fingerprint(&pin(b"1234"), "serial", 1, &[]).unwrap(), "salted");
        let other = fingerprint(&pin(b"0000"), "serial", 1, &[]).unwrap();
        let attempts = tried(&[&other, &first]);
        assert_eq!(fingerprint(&pin(b"1234"), "serial", 1, &attempts).unwrap(), first);
        assert_eq!(fingerprint(&pin(b"0000"), "serial", 1, &attempts).unwrap(), other);
        for (octets, serial, user) in
            [(b"1235", "serial", 1), (b"1234", "another", 1), (b"1234", "serial", 0x8000_0001)]
        {
            let fingerprint = fingerprint(&pin(octets), serial, user, &attempts).unwrap();
            assert!(
                attempts.iter().all(|kept| !fingerprint.fits(&kept.fingerprint)),
                "{serial} {user}"
            );
        }
    }

    #[test]
    fn a_pin_that_was_taken_is_known_by_its_octet_and_needs_no_slow_digest() {
        let first = fingerprint(&pin(b"1234"), "serial", 1, &[]).unwrap();
        let taken = tried(&[&PinFingerprint { digest: None, ..first.clone() }]);
        let mut again = fingerprint(&pin(b"1234"), "serial", 1, &taken).unwrap();
        assert_eq!(again, taken[0].fingerprint);
        complete(&mut again, &pin(b"1234"), 1);
        assert_eq!(again, first);
        // One in 256 PINs has the same octet.
        let others = (0..1_000).map(|number| format!("{number:04}"));
        let same = others.filter(|other| {
            let salt = HEX.decode(first.salt.as_bytes()).unwrap();
            quick_fingerprint(&pin(other.as_bytes()), "serial", 1, &salt).check == first.check
        });
        assert!(same.count() < 40);
    }

    #[test]
    fn a_mark_that_was_tampered_with_fits_nothing() {
        let good = fingerprint(&pin(b"1234"), "serial", 1, &[]).unwrap();
        for bad in [
            PinFingerprint { salt: "xyz".to_owned(), ..good.clone() },
            PinFingerprint { digest: Some(String::new()), ..good.clone() },
            PinFingerprint { digest: Some("00".repeat(32)), ..good.clone() },
            PinFingerprint { check: !good.check, ..good.clone() },
        ] {
            assert!(!good.fits(&bad));
            let fingerprint = fingerprint(&pin(b"1234"), "serial", 1, &tried(&[&bad])).unwrap();
            assert!(!fingerprint.fits(&bad));
        }
    }
}
