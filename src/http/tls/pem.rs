//! PEM files of TLS, and in words of our own what is wrong with one.

use rustls::{
    RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};

/// All certificates of a file.
///
/// # Errors
/// What is wrong with it.
pub(super) fn certificates(octets: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    all(octets, "certificate")
}

/// All CRLs of a file.
///
/// # Errors
/// What is wrong with it.
pub(super) fn crls(octets: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    all(octets, "CRL")
}

/// The first private key of a file.
///
/// # Errors
/// What is wrong with it; never a part of it but the label of a block.
pub(super) fn private_key(octets: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(octets)
        .map_err(|error| unusual(octets).unwrap_or_else(|| nothing(octets, "private key", &error)))
}

/// The CAs of a file.
///
/// # Errors
/// What is wrong with it.
pub(super) fn roots(octets: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for ca in certificates(octets)? {
        roots.add(ca).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

/// A chain with the private key of its first certificate.
///
/// # Errors
/// That the two are none of a kind, or of a kind that TLS does not use.
pub(super) fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, String> {
    let error = match CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()) {
        Ok(pair) => return Ok(pair),
        Err(error) => error,
    };
    if matches!(error, rustls::Error::InconsistentKeys(_)) {
        return Err("the private key is not that of the first certificate".to_owned());
    }
    Err(error.to_string())
}

fn all<T: PemObject>(octets: &[u8], what: &str) -> Result<Vec<T>, String> {
    match T::pem_slice_iter(octets).collect::<Result<Vec<T>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => {
            Err(unusual(octets).unwrap_or_else(|| nothing(octets, what, &pem::Error::NoItemsFound)))
        }
        Err(error) => Err(unusual(octets).unwrap_or_else(|| error.to_string())),
    }
}

/// Mistakes that are common to all kinds of PEM files.
fn unusual(octets: &[u8]) -> Option<String> {
    let holds = |words: &str| octets.windows(words.len()).any(|part| part == words.as_bytes());
    let words = match octets {
        [] => "the file is empty",
        [0xEF, 0xBB, 0xBF, ..] => {
            "the file begins with a byte order mark, which editors of Windows add; save it as UTF-8 without"
        }
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
            "the file is UTF-16; save it as UTF-8 without byte order mark"
        }
        _ if !holds("-----BEGIN ") && octets.iter().any(|octet| is_binary(*octet)) => {
            "the file is binary (DER or PKCS#12), not PEM; openssl converts it"
        }
        _ if holds("-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds("Proc-Type: 4,ENCRYPTED") => {
            "the private key is encrypted, which is not supported; decrypt it with openssl pkey, and keep \
             the file for the service alone, or as an encrypted credential of systemd"
        }
        _ if holds("-----BEGIN OPENSSH PRIVATE KEY-----") => {
            "the private key is in the form of OpenSSH; convert it with ssh-keygen -p -m PEM"
        }
        _ => return None,
    };
    Some(words.to_owned())
}

/// What no text has.
fn is_binary(octet: u8) -> bool {
    !octet.is_ascii() || (octet.is_ascii_control() && !octet.is_ascii_whitespace())
}

/// That a file has nothing of what is wanted, and what it has instead.
fn nothing(octets: &[u8], what: &str, error: &pem::Error) -> String {
    let text = String::from_utf8_lossy(octets);
    let labels = text.lines().filter_map(|line| {
        let label = line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----")?;
        let is_label = label.len() <= LABEL_BYTES_MAX
            && label
                .bytes()
                .all(|octet| octet.is_ascii_uppercase() || b" 0123456789".contains(&octet));
        is_label.then_some(label)
    });
    match (error, labels.take(LABELS_SHOWN).collect::<Vec<_>>().join(", ")) {
        (pem::Error::NoItemsFound, labels) if labels.is_empty() => {
            format!("no {what} in it: the file holds no PEM")
        }
        (pem::Error::NoItemsFound, labels) => format!("no {what} in it, but {labels}"),
        (error, _) => error.to_string(),
    }
}

/// Labels of PEM blocks are at most so long.
const LABEL_BYTES_MAX: usize = 40;
/// Blocks that a message names.
const LABELS_SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";

    fn block(label: &str, body: &str) -> Vec<u8> {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n").into_bytes()
    }

    #[test]
    fn each_file_that_holds_no_usable_private_key_is_told_by_what_it_is() {
        let good = block("PRIVATE KEY", BODY);
        assert!(private_key(&good).is_ok());
        let with = |head: &[u8]| [head, &good].concat();
        let utf_16: Vec<u8> = "\u{feff}-----BEGIN PRIVATE KEY-----"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let legacy = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA";
        for (octets, words) in [
            (Vec::new(), "the file is empty"),
            (with(b"\xEF\xBB\xBF"), "begins with a byte order mark"),
            (utf_16, "UTF-16"),
            (block("ENCRYPTED PRIVATE KEY", BODY), "is encrypted, which is not supported"),
            (block("RSA PRIVATE KEY", legacy), "is encrypted, which is not supported"),
            (block("EC PRIVATE KEY", legacy), "is encrypted, which is not supported"),
            (block("OPENSSH PRIVATE KEY", BODY), "form of OpenSSH"),
            (b"\x30\x2E\x02\x01\x00".to_vec(), "binary (DER or PKCS#12)"),
            (b"\x30\x82\x01\x00\x02\x01\x00".to_vec(), "binary (DER or PKCS#12)"),
            (block("CERTIFICATE", BODY), "no private key in it, but CERTIFICATE"),
            (block("PUBLIC KEY", BODY), "no private key in it, but PUBLIC KEY"),
            (b"hunter2".to_vec(), "no private key in it: the file holds no PEM"),
        ] {
            let told = private_key(&octets).unwrap_err();
            assert!(told.contains(words), "{words}: {told}");
            assert!(!told.contains("hunter2") && !told.contains(BODY), "{told}");
        }
    }

    #[test]
    fn each_file_that_holds_no_certificate_or_crl_is_told_by_what_it_is() {
        let good = block("CERTIFICATE", BODY);
        assert_eq!(certificates(&good).unwrap().len(), 1);
        for (octets, words) in [
            (Vec::new(), "the file is empty"),
            ([b"\xEF\xBB\xBF", &good[..]].concat(), "begins with a byte order mark"),
            (b"\x30\x82\x01\x00".to_vec(), "binary (DER or PKCS#12)"),
            (block("PRIVATE KEY", BODY), "in it, but PRIVATE KEY"),
            (b"nothing".to_vec(), "in it: the file holds no PEM"),
        ] {
            for told in [certificates(&octets).unwrap_err(), crls(&octets).unwrap_err()] {
                assert!(told.contains(words), "{words}: {told}");
            }
        }
    }
}
