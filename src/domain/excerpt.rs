//! Excerpts of callers' texts for logs and the audit log.

use std::borrow::Cow;

/// Longest excerpt of a caller's text in the log and in the audit log, in characters.
pub const EXCERPT_CHARACTERS_MAX: usize = 256;

/// The beginning of a text, for a line of the log: a longer one ends with `…`, control characters are
/// replaced.
pub fn excerpt(text: &str) -> Cow<'_, str> {
    let end = end_of_excerpt(text);
    if end.is_none() && !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let beginning = &text[..end.unwrap_or(text.len())];
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    Cow::Owned(beginning.chars().map(shown).chain(end.map(|_| '…')).collect())
}

/// Where the excerpt of a text ends, in octets; `None` when the text is short enough.
pub fn end_of_excerpt(text: &str) -> Option<usize> {
    if text.len() <= EXCERPT_CHARACTERS_MAX {
        return None;
    }
    text.char_indices().nth(EXCERPT_CHARACTERS_MAX).map(|(end, _)| end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_after_256_characters_of_whatever_size() {
        for letter in ["a", "é", "漢", "😀"] {
            let whole = letter.repeat(EXCERPT_CHARACTERS_MAX);
            assert_eq!(excerpt(&whole), whole);
            assert_eq!(excerpt(&format!("{whole}{letter}")), format!("{whole}…"));
        }
        assert_eq!(excerpt("a\nb\u{7f}"), "a\u{fffd}b\u{fffd}");
        assert_eq!(excerpt(""), "");
    }
}
