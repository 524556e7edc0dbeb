//! PEM, exactly one block (RFC 7468).

use base64::{Engine, engine::general_purpose::STANDARD};
use data_encoding::BASE64;

/// Characters of one line of base64 (RFC 7468, 2).
const LINE_CHARACTERS: usize = 64;
/// What they stand for.
const LINE_OCTETS: usize = LINE_CHARACTERS / 4 * 3;

/// The octets in the only block of `text`, which must have the label `label`. Lines end with LF or
/// CRLF; white space may stand around the block, nothing else.
///
/// # Errors
/// [`PemError`] for any other text, for a second block and for what is not base64 inside.
pub fn decode(label: &str, text: &str) -> Result<Vec<u8>, PemError> {
    let one_block = || PemError::Block(label.to_owned());
    let body = text
        .trim_ascii()
        .strip_prefix(&format!("-----BEGIN {label}-----"))
        .and_then(|rest| rest.strip_suffix(&format!("-----END {label}-----")))
        .ok_or_else(one_block)?;
    let lines = body
        .strip_prefix("\r\n")
        .or_else(|| body.strip_prefix('\n'))
        .filter(|lines| lines.ends_with('\n'))
        .ok_or_else(one_block)?;
    // A second block or a header would show here.
    if lines.contains("-----") {
        return Err(one_block());
    }
    let base64: String = lines.lines().collect();
    match STANDARD.decode(base64) {
        Ok(der) if !der.is_empty() => Ok(der),
        _ => Err(PemError::Base64),
    }
}

/// A block with lines of 64 characters, LF after each, the last one too.
pub fn encode(label: &str, der: &[u8]) -> String {
    let (begin, end) = (format!("-----BEGIN {label}-----\n"), format!("-----END {label}-----\n"));
    let lines = der.len().div_ceil(LINE_OCTETS);
    let characters = begin.len() + lines * (LINE_CHARACTERS + 1) + end.len();
    let mut text = String::with_capacity(characters);
    text.push_str(&begin);
    for octets in der.chunks(LINE_OCTETS) {
        let line = &mut [0; LINE_CHARACTERS][..BASE64.encode_len(octets.len())];
        text.push_str(BASE64.encode_mut_str(octets, line));
        text.push('\n');
    }
    text.push_str(&end);
    text
}

/// Why a text is not the one PEM block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// No block, several, another label, or text around it.
    #[error("expected exactly one {0} block")]
    Block(String),
    /// Not base64 between the lines.
    #[error("the PEM block is not base64")]
    Base64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_survives_the_round_trip_with_either_line_end_and_white_space_around() {
        for octets in [1, 47, 48, 49, 500] {
            let der: Vec<u8> = (0..=255).cycle().take(octets).collect();
            let text = encode("CERTIFICATE", &der);
            assert!(text.ends_with("-----END CERTIFICATE-----\n"));
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(decode("CERTIFICATE", &text), Ok(der.clone()));
            let windows = text.trim_end().replace('\n', "\r\n");
            assert_eq!(decode("CERTIFICATE", &windows), Ok(der.clone()));
            assert_eq!(decode("CERTIFICATE", &format!(" \n\t{text}\n\n")), Ok(der));
        }
    }

    #[test]
    fn anything_but_one_clean_block_is_refused() {
        let one = encode("CERTIFICATE", b"chancery");
        for bad in [
            String::new(),
            "chancery".to_owned(),
            format!("{one}{one}"),
            format!("subject=CN = x\n{one}"),
            format!("{one}trailing"),
            one.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            one.replace("Y2hh", "Y2 h"),
            one.replace("Y2hh", "Y2\u{e9}"),
            one.replace("Y2hh", "Y2-_"),
            one.replace('=', ""),
            one.replace("-----\nY2", "-----\nProc-Type: 4\n\nY2"),
            one.replace('\n', ""),
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".to_owned(),
            "-----BEGIN CERTIFICATE-----".to_owned(),
        ] {
            assert!(decode("CERTIFICATE", &bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_new_certificate_request_is_not_a_certificate_request() {
        let text = encode("NEW CERTIFICATE REQUEST", b"x");
        assert_eq!(
            decode("CERTIFICATE REQUEST", &text).unwrap_err().to_string(),
            "expected exactly one CERTIFICATE REQUEST block"
        );
    }
}
