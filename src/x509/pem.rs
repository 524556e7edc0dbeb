//! PEM, exactly one block (RFC 7468).

use base64::{Engine, engine::general_purpose::STANDARD};
use data_encoding::BASE64;

/// Characters of one line of base64 (RFC 7468, 2).
const LINE_CHARACTERS: usize = 64;
/// Octets that such a line encodes.
const LINE_OCTETS: usize = LINE_CHARACTERS / 4 * 3;

/// Longest label that an error message repeats.
const LABEL_CHARACTERS_MAX: usize = 64;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Decodes the only block of `text`, which must have one of the `labels`. Lines end with LF or
/// CRLF, and may have trailing blanks. Only white space may surround the block.
///
/// # Errors
/// [`PemError`] for any other text, for a second block, and for a block that is not base64.
pub fn decode(labels: &[&str], text: &str) -> Result<Vec<u8>, PemError> {
    read(labels, text).map_err(|fault| PemError {
        wanted: labels.first().copied().unwrap_or_default().to_owned(),
        fault,
    })
}

fn read(labels: &[&str], text: &str) -> Result<Vec<u8>, PemFault> {
    if text.contains('\u{FEFF}') {
        return Err(PemFault::ByteOrderMark);
    }
    let text = text.trim_ascii();
    let (before, rest) = text.split_once(BEGIN).ok_or(PemFault::NoBlock)?;
    let (label, rest) = rest.split_once(DASHES).ok_or(PemFault::NoBlock)?;
    if !labels.contains(&label) {
        return Err(PemFault::Label(shown(label)));
    }
    if !before.is_empty() {
        return Err(PemFault::TextBefore);
    }
    let (body, after) = rest.split_once(END).ok_or(PemFault::NoEnd)?;
    let after = after
        .strip_prefix(label)
        .and_then(|after| after.strip_prefix(DASHES))
        .ok_or(PemFault::OtherEnd)?;
    if after.contains(BEGIN) {
        return Err(PemFault::SecondBlock);
    }
    if !after.is_empty() {
        return Err(PemFault::TextAfter);
    }
    // The text after BEGIN and before END on their lines must be blank.
    let (first, lines) = body.split_once('\n').ok_or(PemFault::LineEnds)?;
    let last = lines.rsplit('\n').next().unwrap_or_default();
    if !first.trim_ascii().is_empty() || !last.is_empty() {
        return Err(PemFault::LineEnds);
    }
    if lines.contains(':') {
        return Err(PemFault::Headers);
    }
    let base64: String = lines.lines().map(str::trim_ascii_end).collect();
    match STANDARD.decode(base64) {
        Ok(der) if !der.is_empty() => Ok(der),
        _ => Err(PemFault::Base64),
    }
}

/// Shortens a label for an error message, and drops characters that are not printable ASCII.
fn shown(label: &str) -> String {
    let is_shown = |character: &char| character.is_ascii_graphic() || *character == ' ';
    label.chars().filter(is_shown).take(LABEL_CHARACTERS_MAX).collect()
}

/// Encodes a block with lines of 64 characters, each ended by LF.
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

/// Why a text is not exactly one PEM block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected exactly one {wanted} block: {fault}")]
pub struct PemError {
    /// The expected label.
    pub wanted: String,
    /// The problem.
    pub fault: PemFault,
}

/// Problems of PEM text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemFault {
    /// U+FEFF anywhere.
    #[error("there is a byte order mark")]
    ByteOrderMark,
    /// No line that begins a block.
    #[error("there is no block")]
    NoBlock,
    /// The label that was found.
    #[error("the block has another label, {0}")]
    Label(String),
    /// Text before the block.
    #[error("there is text before it")]
    TextBefore,
    /// Text after the block.
    #[error("there is text after it")]
    TextAfter,
    /// Another block after the first.
    #[error("there is a second block")]
    SecondBlock,
    /// The block does not end.
    #[error("its END line is missing")]
    NoEnd,
    /// It ends with another label.
    #[error("its END line has another label")]
    OtherEnd,
    /// BEGIN, base64 and END must stand on lines of their own.
    #[error("its line ends are missing")]
    LineEnds,
    /// Headers as RFC 1421 has them.
    #[error("there are headers in it")]
    Headers,
    /// Not base64 between the lines.
    #[error("it is not base64")]
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
            assert_eq!(decode(&["CERTIFICATE"], &text), Ok(der.clone()));
            let windows = text.trim_end().replace('\n', "\r\n");
            assert_eq!(decode(&["CERTIFICATE"], &windows), Ok(der.clone()));
            assert_eq!(decode(&["CERTIFICATE"], &format!(" \n\t{text}\n\n")), Ok(der));
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
            assert!(decode(&["CERTIFICATE"], &bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn blanks_at_line_ends_are_no_fault() {
        let one = encode("CERTIFICATE", &[7; 100]);
        for line_end in [" \n", "\t \n", " \r\n", "\r\n"] {
            let text = one.replace('\n', line_end);
            assert_eq!(decode(&["CERTIFICATE"], &text), Ok(vec![7; 100]), "{line_end:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_was_found_instead() {
        let one = encode("CERTIFICATE", b"chancery");
        for (text, fault) in [
            (String::new(), PemFault::NoBlock),
            ("MIIB".to_owned(), PemFault::NoBlock),
            (format!("\u{feff}{one}"), PemFault::ByteOrderMark),
            (one.replace("CERT", "TRUSTED CERT"), PemFault::Label("TRUSTED CERTIFICATE".into())),
            (encode("EC PRIVATE KEY", b"x"), PemFault::Label("EC PRIVATE KEY".into())),
            (format!("subject=CN = x\n{one}"), PemFault::TextBefore),
            (format!("{one}trailing"), PemFault::TextAfter),
            (format!("{one}{one}"), PemFault::SecondBlock),
            (one.replace('\n', ""), PemFault::LineEnds),
            (one.replace('\n', "\r"), PemFault::LineEnds),
            (one.replace("-----END", " -----END"), PemFault::LineEnds),
            (one.replace("END CERT", "END X CERT"), PemFault::OtherEnd),
            (one.replace("-----END", "----"), PemFault::NoEnd),
            (one.replace("-----\nY2", "-----\nProc-Type: 4\n\nY2"), PemFault::Headers),
            (one.replace("Y2hh", "Y2*h"), PemFault::Base64),
            (one.replace("Y2hh", " Y2hh"), PemFault::Base64),
        ] {
            let found = decode(&["CERTIFICATE"], &text).unwrap_err();
            assert_eq!(found.fault, fault, "{text:?}");
            assert!(found.to_string().starts_with("expected exactly one CERTIFICATE block: "));
        }
        let long = encode(&"X\n".repeat(5_000), b"x");
        assert!(decode(&["CERTIFICATE"], &long).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn whatever_character_is_changed_reading_pem_says_yes_or_no() {
        let one = encode("CERTIFICATE", &[1; 60]);
        for (place, _) in one.char_indices() {
            for character in
                ["", " ", "\n", "-", "=", ":", "\u{0}", "é", "-----BEGIN ", "-----END "]
            {
                let text = [&one[..place], character, &one[place + 1..]].concat();
                let _ = decode(&["CERTIFICATE", ""], &text);
            }
            let _ = decode(&["CERTIFICATE"], &one[..place]);
        }
    }
}
