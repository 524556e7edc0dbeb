//! A DER reader. It shares no code with the writer, so that the lint is independent of the encoder.
//!
//! For our own certificates and for IACAs it is strict (X.690, clause 10): it refuses any encoding
//! but the canonical one, so that two readers cannot disagree about octets that we sign. Of other
//! certificates it checks lengths and nesting only.

use super::X509Error;
use crate::domain::oid::OidRef;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0C;
pub(super) const PRINTABLE_STRING: u8 = 0x13;
pub(super) const IA5_STRING: u8 = 0x16;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// `[number]` around a constructed value.
pub(super) const fn context_constructed(number: u8) -> u8 {
    0xA0 | number
}

/// `[number]` in place of a primitive tag.
pub(super) const fn context_primitive(number: u8) -> u8 {
    0x80 | number
}

/// Maximum nesting depth, more than any certificate has.
const DEPTH_MAX: usize = 24;

/// Maximum length of a tag in octets.
const TAG_OCTETS_MAX: usize = 4;

/// One element: the first octet of its tag, its content, and all its octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) der: &'a [u8],
}

impl<'a> Element<'a> {
    /// Reads exactly one element with nothing after it, and checks that it is DER at every level.
    pub(super) fn strict(der: &'a [u8]) -> Option<Self> {
        let (element, rest) = Self::split(der)?;
        (rest.is_empty() && element.is_strict(0)).then_some(element)
    }

    /// Reads exactly one element with nothing after it, and checks the nesting at every level, but
    /// no values.
    pub(super) fn structured(der: &'a [u8]) -> Option<Self> {
        Self::known(der).filter(|element| element.is_structured(0))
    }

    /// Reads exactly one element with nothing after it, and nothing inside it.
    pub(super) fn known(der: &'a [u8]) -> Option<Self> {
        Self::split(der).filter(|(_, rest)| rest.is_empty()).map(|(element, _)| element)
    }

    /// The first element and what follows it.
    fn split(octets: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let tag = *octets.first()?;
        let tag_octets = match tag & 0x1F {
            // X.690, 8.1.2.4: numbers above 30 continue in further octets; all but the last have
            // the top bit set.
            0x1F => {
                let further = octets.iter().skip(1).take(TAG_OCTETS_MAX);
                2 + further.copied().position(|octet| octet & 0x80 == 0)?
            }
            _ => 1,
        };
        let first = *octets.get(tag_octets)?;
        let (header, length) = match first {
            0x00..=0x7F => (tag_octets + 1, usize::from(first)),
            0x81..=0x83 => {
                let start = tag_octets + 1;
                let octets_of_length = octets.get(start..start + usize::from(first & 0x0F))?;
                let length =
                    octets_of_length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet));
                let minimal = length > 0x7F && octets_of_length.first() != Some(&0);
                minimal.then_some((start + octets_of_length.len(), length))?
            }
            _ => return None,
        };
        let der = octets.get(..header + length)?;
        Some((Self { tag, content: &der[header..], der }, &octets[header + length..]))
    }

    /// The elements inside.
    pub(super) fn children(&self) -> Option<Vec<Self>> {
        self.each().collect()
    }

    /// The elements inside, when there are exactly `N`.
    pub(super) fn children_exactly<const N: usize>(&self) -> Option<[Self; N]> {
        let mut children = [*self; N];
        let mut each = self.each();
        for child in &mut children {
            *child = each.next()??;
        }
        each.next().is_none().then_some(children)
    }

    /// The elements inside, one by one. After octets that are not an element it yields `None` for
    /// ever.
    pub(super) fn each(&self) -> impl Iterator<Item = Option<Self>> + use<'a> {
        let mut rest = self.content;
        std::iter::from_fn(move || {
            (!rest.is_empty()).then(|| {
                let (child, after) = Self::split(rest)?;
                rest = after;
                Some(child)
            })
        })
    }

    /// The object identifier that this element is.
    pub(super) fn as_oid(&self) -> Option<OidRef<'a>> {
        (self.tag == OBJECT_IDENTIFIER).then(|| OidRef::from_content(self.content)).flatten()
    }

    fn is_structured(&self, depth: usize) -> bool {
        depth <= DEPTH_MAX
            && (self.tag & 0x20 == 0
                || self
                    .each()
                    .all(|child| child.is_some_and(|child| child.is_structured(depth + 1))))
    }

    fn is_strict(&self, depth: usize) -> bool {
        // Tag numbers above 30 do not occur in X.509.
        if depth > DEPTH_MAX || self.tag & 0x1F == 0x1F {
            return false;
        }
        if self.tag & 0x20 != 0 {
            let universal = self.tag & 0xC0 == 0;
            if universal && !matches!(self.tag, SEQUENCE | SET) {
                return false;
            }
            let mut before: &[u8] = &[];
            return self.each().all(|child| {
                child.is_some_and(|child| {
                    let in_order = self.tag != SET || before <= child.der;
                    before = child.der;
                    in_order && child.is_strict(depth + 1)
                })
            });
        }
        let ascii_within = |within: fn(u8) -> bool| self.content.iter().all(|octet| within(*octet));
        match self.tag {
            BOOLEAN => matches!(self.content, [0x00 | 0xFF]),
            INTEGER => is_minimal_integer(self.content),
            BIT_STRING => match self.content {
                [unused] => *unused == 0,
                [unused @ 0..=7, .., last] => last & !(0xFFu8 << unused) == 0,
                _ => false,
            },
            NULL => self.content.is_empty(),
            OBJECT_IDENTIFIER => self.as_oid().is_some(),
            UTF8_STRING => std::str::from_utf8(self.content).is_ok(),
            // X.680, 41.4.
            PRINTABLE_STRING => {
                ascii_within(|b| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&b))
            }
            IA5_STRING => ascii_within(|b| b.is_ascii()),
            // SEQUENCE and SET are constructed.
            0x10 | 0x11 => false,
            _ => true,
        }
    }
}

/// The fields of a SEQUENCE, taken one after the other.
pub(super) struct Fields<'a> {
    of: &'static str,
    /// The octets that are not read yet.
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `element`, which must be a SEQUENCE; `of` names it in errors.
    pub(super) fn of(of: &'static str, element: Element<'a>) -> Result<Self, X509Error> {
        match element.tag {
            SEQUENCE => Ok(Self { of, rest: element.content }),
            _ => Err(X509Error::Malformed(of)),
        }
    }

    /// The next field, which must have `tag`.
    pub(super) fn take(&mut self, tag: u8) -> Result<Element<'a>, X509Error> {
        self.take_if(tag).ok_or(X509Error::Malformed(self.of))
    }

    /// The next field if it has `tag`.
    pub(super) fn take_if(&mut self, tag: u8) -> Option<Element<'a>> {
        let (next, rest) = Element::split(self.rest).filter(|(next, _)| next.tag == tag)?;
        self.rest = rest;
        Some(next)
    }

    /// Checks that no field is left.
    pub(super) fn end(self) -> Result<(), X509Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(X509Error::Malformed(self.of)) }
    }
}

fn is_minimal_integer(content: &[u8]) -> bool {
    match content {
        [] => false,
        [0x00, next, ..] => next & 0x80 != 0,
        [0xFF, next, ..] => next & 0x80 == 0,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_encoding_of_a_value_is_read() {
        for good in [
            &[0x30, 0x00][..],
            &[0x01, 0x01, 0xFF],
            &[0x02, 0x02, 0x00, 0x80],
            &[0x03, 0x02, 0x07, 0x80],
            &[0x31, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x02],
        ] {
            assert!(Element::strict(good).is_some(), "{good:02x?}");
        }
        for bad in [
            &[][..],
            &[0x30],
            &[0x30, 0x00, 0x00],
            &[0x30, 0x80, 0x00, 0x00],
            &[0x30, 0x81, 0x00],
            &[0x04, 0x82, 0x00, 0x01, 0x00],
            &[0x30, 0x01],
            &[0x01, 0x01, 0x01],
            &[0x02, 0x02, 0x00, 0x7F],
            &[0x02, 0x00],
            &[0x03, 0x02, 0x07, 0x81],
            &[0x03, 0x01, 0x07],
            &[0x24, 0x02, 0x04, 0x00],
            &[0x05, 0x01, 0x00],
            &[0x06, 0x00],
            &[0x0C, 0x01, 0xFF],
            &[0x13, 0x01, b'@'],
            &[0x16, 0x01, 0x80],
            &[0x31, 0x06, 0x02, 0x01, 0x02, 0x02, 0x01, 0x01],
            &[0x1F, 0x20, 0x00],
        ] {
            assert!(Element::strict(bad).is_none(), "{bad:02x?}");
        }
    }

    #[test]
    fn of_what_others_made_lengths_and_nesting_must_hold_and_nothing_else() {
        for good in [
            &[0x30, 0x03, 0x01, 0x01, 0x01][..],
            &[0x30, 0x03, 0x13, 0x01, b'@'],
            &[0x31, 0x06, 0x02, 0x01, 0x02, 0x02, 0x01, 0x01],
            &[0x30, 0x05, 0x9F, 0x81, 0x20, 0x01, 0x00],
            &[0x30, 0x04, 0x03, 0x02, 0x00, 0x00],
        ] {
            assert!(Element::structured(good).is_some(), "{good:02x?}");
        }
        for bad in [
            &[0x30, 0x80, 0x00, 0x00][..],
            &[0x30, 0x81, 0x00],
            &[0x30, 0x02, 0x30, 0x01],
            &[0x30, 0x00, 0x00],
            &[0x30, 0x07, 0x9F, 0x81, 0x81, 0x81, 0x81, 0x81, 0x00],
            &[0x9F],
            &[0x9F, 0x81],
        ] {
            assert!(Element::structured(bad).is_none(), "{bad:02x?}");
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let mut der = vec![0x30, 0x00];
        for _ in 0..40 {
            der.splice(0..0, [0x30, u8::try_from(der.len()).unwrap()]);
        }
        assert!(Element::strict(&der).is_none() && Element::structured(&der).is_none());
    }
}
