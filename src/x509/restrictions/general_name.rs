//! The names in certificates that name constraints restrict.

use crate::x509::{
    element::Element,
    name::{DirectoryName, NameView},
};

/// A name in a certificate: the subject or an alternative name.
#[derive(Debug)]
pub(super) enum Name<'a> {
    Dns(&'a str),
    Email(&'a str),
    Uri(&'a str),
    /// 4 or 16 octets.
    Ip(&'a [u8]),
    Directory(DirectoryName),
    /// A form that is not supported, by its tag.
    Other(u8),
}

impl<'a> Name<'a> {
    /// A `GeneralName`; `None` when it is malformed.
    pub(super) fn read(name: &Element<'a>) -> Option<Self> {
        let text = || std::str::from_utf8(name.content).ok().filter(|text| text.is_ascii());
        match name.tag {
            0x81 => text().map(Name::Email),
            0x82 => text().map(Name::Dns),
            0x86 => text().map(Name::Uri),
            0x87 => Some(Name::Ip(name.content)),
            0xA4 => {
                let [inner] = name.children_exactly()?;
                let view = NameView::known(inner.der).ok()?;
                Some(Name::Directory(DirectoryName::of(&view)))
            }
            tag @ (0xA0 | 0xA3 | 0xA5 | 0x88) => Some(Name::Other(tag)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dns(text) => write!(f, "the DNS name {text}"),
            Self::Email(text) => write!(f, "the e-mail address {text}"),
            Self::Uri(text) => write!(f, "the URI {text}"),
            Self::Ip(octets) => match (<[u8; 4]>::try_from(*octets), <[u8; 16]>::try_from(*octets))
            {
                (Ok(four), _) => write!(f, "the address {}", std::net::Ipv4Addr::from(four)),
                (_, Ok(all)) => write!(f, "the address {}", std::net::Ipv6Addr::from(all)),
                _ => f.write_str("an address of another length"),
            },
            Self::Directory(_) => f.write_str("the subject"),
            Self::Other(_) => f.write_str("a name of a form that is not judged"),
        }
    }
}

/// Labels of letters, digits, `-` and `_`; no empty one, so no final dot.
pub(super) fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    !text.is_empty() && text.split('.').all(is_label)
}

/// Whether some readers take a common name for a host name: it has several labels.
pub(super) fn looks_like_dns(text: &str) -> bool {
    let text = text.trim();
    let text = text.strip_suffix('.').unwrap_or(text);
    text.contains('.') && is_host(text.strip_prefix("*.").unwrap_or(text))
}
