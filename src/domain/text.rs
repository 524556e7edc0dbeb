//! Which characters a caller's texts may contain. Operators read these texts, so invisible
//! characters and characters that are displayed elsewhere are refused.

use std::fmt;

use unicode_general_category::{GeneralCategory, get_general_category};

/// Invisible letters and marks outside class Cf (Unicode's property `Default_Ignorable_Code_Point`,
/// and the blank pattern of Braille).
const UNSEEN: [char; 8] =
    ['\u{34F}', '\u{115F}', '\u{1160}', '\u{17B4}', '\u{17B5}', '\u{2800}', '\u{3164}', '\u{FFA0}'];

/// Why a text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CharacterError {
    /// Class Cc.
    Control,
    /// A character of this class, or an unassigned one.
    Class(char, &'static str),
    /// A combining mark with no character before it.
    LeadingMark(char),
}

impl std::error::Error for CharacterError {}

impl fmt::Display for CharacterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("no control characters"),
            Self::Class(character, class) => {
                write!(f, "U+{:04X} is not allowed: {class}", u32::from(*character))
            }
            Self::LeadingMark(mark) => {
                write!(f, "U+{:04X} may not stand first: it is a combining mark", u32::from(*mark))
            }
        }
    }
}

/// Checks a text: no control, format (Cf), line (Zl) or paragraph separators (Zp), no private or
/// unassigned code points and no noncharacters, no invisible characters, no combining mark at the
/// start. RFC 4518, 2.4 forbids much the same in names.
///
/// # Errors
/// [`CharacterError`] names the first character that breaks it.
pub fn check_characters(text: &str) -> Result<(), CharacterError> {
    if text.is_ascii() {
        // A fast path for ASCII, where DEL is the only control character above the blank.
        return match text.bytes().any(|octet| octet.is_ascii_control()) {
            true => Err(CharacterError::Control),
            false => Ok(()),
        };
    }
    if let Some(first) = text.chars().next().filter(|first| is_mark(*first)) {
        return Err(CharacterError::LeadingMark(first));
    }
    text.chars().try_for_each(check)
}

/// Checks one character inside a text.
pub fn is_readable(character: char) -> bool {
    matches!(character, ' '..='~') || check(character).is_ok()
}

fn check(character: char) -> Result<(), CharacterError> {
    let category = get_general_category(character);
    let class = if category == GeneralCategory::Control {
        return Err(CharacterError::Control);
    } else if category == GeneralCategory::Format {
        "it is a format character"
    } else if category == GeneralCategory::LineSeparator {
        "it is a line separator"
    } else if category == GeneralCategory::ParagraphSeparator {
        "it is a paragraph separator"
    } else if category == GeneralCategory::PrivateUse {
        "it is for private use"
    } else if matches!(category, GeneralCategory::Surrogate | GeneralCategory::Unassigned) {
        "it is no character of Unicode"
    } else if character == char::REPLACEMENT_CHARACTER {
        "it stands for a character that was lost"
    } else if UNSEEN.contains(&character) {
        "nothing is seen of it"
    } else {
        return Ok(());
    };
    Err(CharacterError::Class(character, class))
}

fn is_mark(character: char) -> bool {
    matches!(
        get_general_category(character),
        GeneralCategory::NonspacingMark
            | GeneralCategory::SpacingMark
            | GeneralCategory::EnclosingMark
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_operators_cannot_see_or_would_see_elsewhere_is_refused() {
        for bad in [
            "a\0",
            "a\nb",
            "\u{7F}",
            "\u{85}",
            "a\u{202E}b",
            "a\u{2066}b",
            "\u{200B}",
            "a\u{200D}",
            "\u{FEFF}a",
            "a\u{2028}b",
            "a\u{2029}b",
            "a\u{AD}b",
            "a\u{61C}b",
            "a\u{180E}b",
            "a\u{2060}",
            "a\u{E0041}",
            "a\u{E0001}",
            "a\u{FFF9}b",
            "a\u{FDD0}",
            "a\u{FFFE}",
            "a\u{FFFF}",
            "a\u{1FFFE}",
            "a\u{10FFFF}",
            "a\u{40000}",
            "a\u{90001}",
            "a\u{DFFFD}",
            "a\u{E000}",
            "a\u{F0000}",
            "a\u{378}",
            "a\u{FFFD}",
            "a\u{3164}",
            "\u{2800}",
            "\u{115F}\u{1160}",
            "\u{301}a",
            "\u{20DD}",
            "\u{903}a",
        ] {
            assert!(check_characters(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_of_all_countries_are_taken() {
        for good in [
            "",
            "Acme Licence Root 2026",
            "Ünïcode",
            "Straße",
            "e\u{301}",
            "Ελλάδα",
            "Україна",
            "日本国",
            "대한민국",
            "المملكة العربية السعودية",
            "भारत गणराज्य",
            "ประเทศไทย",
            "Tiếng Việt",
            "Côte d’Ivoire",
            "a\u{A0}b",
            "\u{20BB7}",
            "№ 7 – €",
            "葛\u{E0100}城市",
        ] {
            assert_eq!(check_characters(good), Ok(()), "{good:?}");
        }
        let words = check_characters("a\u{202E}b").unwrap_err().to_string();
        assert_eq!(words, "U+202E is not allowed: it is a format character");
    }
}
