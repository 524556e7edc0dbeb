//! Uniform resource names.

/// Whether a text is a URN (RFC 8141, 2), as `certificateProfile` must be.
pub fn is_urn(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let Some((namespace, specific)) = rest.split_once(':') else { return false };
    // The r-, q- and f-components follow the name and may be empty.
    let name = specific.split(['?', '#']).next().unwrap_or_default();
    scheme.eq_ignore_ascii_case("urn")
        && is_namespace(namespace)
        && !name.starts_with('/')
        && !name.is_empty()
        && is_escaped(specific)
}

/// Namespace identifier: 2 to 32 letters, digits and hyphens, no hyphen at an end.
fn is_namespace(text: &str) -> bool {
    (2..=32).contains(&text.len())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The characters that RFC 3986 allows in a name and its components, `%` with two hex digits.
fn is_escaped(text: &str) -> bool {
    let octets = text.as_bytes();
    octets.iter().enumerate().all(|(place, octet)| match octet {
        b'%' => octets
            .get(place + 1..place + 3)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
        octet => octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?#".contains(octet),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_urn_names_a_namespace_and_something_in_it() {
        for good in ["urn:oid:1.0.18013.5.1.7", "URN:example:a", "urn:ab:%41/b?=q#f", "urn:a-b:x:y"]
        {
            assert!(is_urn(good), "{good}");
        }
        for bad in [
            "",
            "org.iso.18013.5.1.iaca",
            "1.0.18013.5.1.7",
            "urn:oid",
            "urn:oid:",
            "urn:x:1",
            "urn:-a:1",
            "urn:a-:1",
            "urn:a_b:1",
            "urn:oid:1 2",
            "urn:oid:%4",
            "urn:oid:/1",
            "urn:oid:?1",
            "urn:oid:ü",
            "uri:oid:1",
        ] {
            assert!(!is_urn(bad), "{bad}");
        }
    }
}
