//! URIs, e-mail addresses and the alternative names made of them.

use std::net::IpAddr;

use url::Url;

/// An absolute `http` or `https` URL with host, without user info, in ASCII: where a CRL lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(String);

impl HttpUrl {
    /// # Errors
    /// [`AlternativeNameError::HttpUrl`] for everything else.
    pub fn parse(text: &str) -> Result<Self, AlternativeNameError> {
        let http = |url: &Url| matches!(url.scheme(), "http" | "https");
        match parse_absolute(text) {
            Some(url) if http(&url) => Ok(Self(text.to_owned())),
            _ => Err(AlternativeNameError::HttpUrl),
        }
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An absolute URI in ASCII; with `http` and `https` it has a host and no user info.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsoluteUri(String);

impl AbsoluteUri {
    /// # Errors
    /// [`AlternativeNameError::Uri`] for everything else.
    pub fn parse(text: &str) -> Result<Self, AlternativeNameError> {
        parse_absolute(text).map(|_| Self(text.to_owned())).ok_or(AlternativeNameError::Uri)
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A plain ASCII address, `local@domain` (RFC 5280, 4.2.1.6: a Mailbox without phrase or brackets).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// # Errors
    /// [`AlternativeNameError::Email`] for everything else.
    pub fn parse(text: &str) -> Result<Self, AlternativeNameError> {
        let atom = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
        };
        match text.split_once('@') {
            Some((local, domain))
                if local.len() <= 64 && local.split('.').all(atom) && is_host_name(domain) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(AlternativeNameError::Email),
        }
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// LDH labels, `*` only as the whole leftmost label, no final dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsName(String);

impl DnsName {
    /// # Errors
    /// [`AlternativeNameError::Dns`] repeats what was given.
    pub fn parse(text: &str) -> Result<Self, AlternativeNameError> {
        let labels = match text.strip_prefix("*.") {
            // A wildcard needs something to stand before.
            Some(rest) if rest.contains('.') => rest,
            Some(_) => "",
            None => text,
        };
        // RFC 5280 speaks of the preferred name syntax; a name of digits alone would be an address.
        let numeric = labels.split('.').all(|label| label.bytes().all(|b| b.is_ascii_digit()));
        if text.len() <= 253 && is_host_name(labels) && !numeric {
            Ok(Self(text.to_owned()))
        } else {
            Err(AlternativeNameError::Dns(shortened(text)))
        }
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `issuerAlternativeNameConf`: where to reach the issuing authority. At least one of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerAlternativeName {
    email: Option<EmailAddress>,
    uri: Option<AbsoluteUri>,
}

impl IssuerAlternativeName {
    /// # Errors
    /// [`AlternativeNameError::Empty`] when neither is given.
    pub fn new(
        email: Option<EmailAddress>,
        uri: Option<AbsoluteUri>,
    ) -> Result<Self, AlternativeNameError> {
        if email.is_none() && uri.is_none() {
            return Err(AlternativeNameError::Empty);
        }
        Ok(Self { email, uri })
    }

    /// The rfc822Name; encoded first.
    pub fn email(&self) -> Option<&EmailAddress> {
        self.email.as_ref()
    }

    /// The uniformResourceIdentifier.
    pub fn uri(&self) -> Option<&AbsoluteUri> {
        self.uri.as_ref()
    }
}

/// Subject alternative names, encoded in the order of the members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubjectAlternativeNames {
    /// dNSName.
    pub dns_names: Vec<DnsName>,
    /// uniformResourceIdentifier.
    pub uris: Vec<AbsoluteUri>,
    /// rfc822Name.
    pub emails: Vec<EmailAddress>,
    /// iPAddress.
    pub ip_addresses: Vec<IpAddr>,
}

impl SubjectAlternativeNames {
    /// Whether there is no name: then there is no extension.
    pub fn is_empty(&self) -> bool {
        self.dns_names.is_empty()
            && self.uris.is_empty()
            && self.emails.is_empty()
            && self.ip_addresses.is_empty()
    }
}

/// IPv4 or IPv6, strict, no prefix length, no zone.
///
/// # Errors
/// [`AlternativeNameError::Ip`] repeats what was given.
pub fn parse_ip(text: &str) -> Result<IpAddr, AlternativeNameError> {
    text.parse().map_err(|_| AlternativeNameError::Ip(shortened(text)))
}

/// Why a text is no alternative name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlternativeNameError {
    /// CRL distribution points.
    #[error("an http or https URL with a host is required")]
    HttpUrl,
    /// Other URIs.
    #[error("an absolute URI in ASCII is required; with http and https a host and no user info")]
    Uri,
    /// Addresses.
    #[error("a plain ASCII e-mail address is required")]
    Email,
    /// Host names.
    #[error("'{0}' is not a DNS name")]
    Dns(String),
    /// Addresses.
    #[error("'{0}' is not an IP address")]
    Ip(String),
    /// Nothing given.
    #[error("issuerAlternativeNameConf needs uri or email")]
    Empty,
}

/// The parsers of URLs repair much; what goes into a certificate must need no repair.
fn parse_absolute(text: &str) -> Option<Url> {
    let forbidden = |b: u8| !b.is_ascii_graphic() || b"\"<>\\^`{|}".contains(&b);
    if text.is_empty() || text.bytes().any(forbidden) || has_broken_escape(text) {
        return None;
    }
    let (scheme, rest) = text.split_once(':')?;
    let url = Url::parse(text).ok()?;
    if matches!(url.scheme(), "http" | "https") {
        let authority = rest.strip_prefix("//")?.split(['/', '?', '#']).next()?;
        if authority.is_empty()
            || authority.contains('@')
            || url.host_str().is_none_or(str::is_empty)
        {
            return None;
        }
        let port = authority.rsplit_once(']').map_or(authority, |(_, after)| after);
        if port.ends_with(':') {
            return None;
        }
    }
    (!scheme.is_empty() && !rest.is_empty()).then_some(url)
}

fn has_broken_escape(text: &str) -> bool {
    text.split('%').skip(1).any(|after| {
        !matches!(after.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
    })
}

fn is_host_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crl_url_is_absolute_http_with_a_host() {
        for good in [
            "https://crl-example.com",
            "http://pki.acme.example/crl/root.crl",
            "http://[2001:db8::1]:8080/a?b=c",
            "http://192.0.2.1/x%20y",
        ] {
            assert!(HttpUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "crl.example",
            "/crl",
            "http:",
            "http://",
            "http:///crl",
            "https://u:p@host/",
            "ftp://host/",
            "http://host/a b",
            "http://höst/",
            "http://host/%zz",
            "http:host/",
            "ldap://host/",
            "http://host:/",
            "http://ho st/",
            "http://host\u{0}/",
            "http://@host/",
            "http:/host/",
        ] {
            assert!(HttpUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_uris_need_a_scheme() {
        assert!(AbsoluteUri::parse("urn:oid:1.0.18013.5.1.7").is_ok());
        assert!(AbsoluteUri::parse("mailto:pki@acme.example").is_ok());
        for bad in ["", "iaca", ":x", "https:", "https://", "urn:", "a b:c"] {
            assert!(AbsoluteUri::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_email_is_local_at_domain() {
        assert!(EmailAddress::parse("pki+a.b@acme.example").is_ok());
        for bad in ["", "a", "@b", "a@", "a@b@c", "a b@c", "<a@b>", "ä@b.example", ".a@b", "a@-b"]
        {
            assert!(EmailAddress::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_dns_name_is_labels_with_a_wildcard_only_at_the_left() {
        for good in
            ["a", "gateway.acme.example", "*.acme.example", "xn--bcher-kva.example", "1.example"]
        {
            assert!(DnsName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "*",
            "*.example",
            "a.*.b",
            "a*.b.c",
            "a.",
            ".a",
            "a..b",
            "a_b.c",
            "a b",
            "bücher.example",
            "a:1",
            "192.0.2.1",
        ] {
            assert!(DnsName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_has_no_prefix_length() {
        assert!(parse_ip("192.0.2.17").is_ok() && parse_ip("2001:db8::1").is_ok());
        for bad in ["192.0.2", "192.0.2.0/24", "192.0.2.017", "fe80::1%eth0", ""] {
            assert!(parse_ip(bad).is_err(), "{bad}");
        }
    }
}
