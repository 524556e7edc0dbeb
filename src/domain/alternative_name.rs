//! URIs, e-mail addresses and the alternative names made of them.

use std::net::IpAddr;

use url::Url;

/// The URL of a CRL: absolute, `http` or `https`, with host, without user info, in ASCII.
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

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Schemes whose URIs identify nothing: their content is the URI itself, or is local to one
/// browser.
const NAMELESS_SCHEMES: [&str; 10] = [
    "javascript",
    "vbscript",
    "livescript",
    "mocha",
    "data",
    "blob",
    "filesystem",
    "about",
    "view-source",
    "jar",
];

/// An absolute URI in ASCII whose scheme identifies something; with `http` and `https` it has a
/// host and no user info.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsoluteUri(String);

impl AbsoluteUri {
    /// # Errors
    /// [`AlternativeNameError::Uri`] for everything else, [`AlternativeNameError::Scheme`] for schemes
    /// such as `javascript` and `data`.
    pub fn parse(text: &str) -> Result<Self, AlternativeNameError> {
        match parse_absolute(text) {
            Some(url) if NAMELESS_SCHEMES.contains(&url.scheme()) => {
                Err(AlternativeNameError::Scheme(url.scheme().to_owned()))
            }
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(AlternativeNameError::Uri),
        }
    }

    /// The text as it was given.
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

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// LDH labels, `*` only as the whole leftmost label with at least two labels behind it, no final dot; a
/// label that begins with `xn--` is an A-label (RFC 5890, 2.3.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsName(String);

impl DnsName {
    /// # Errors
    /// [`AlternativeNameError::Dns`] repeats what was given.
    pub fn parse(text: &str) -> Result<Self, AlternativeNameError> {
        let labels = match text.strip_prefix("*.") {
            // A wildcard needs at least two labels behind it.
            Some(rest) if rest.contains('.') => rest,
            Some(_) => "",
            None => text,
        };
        // RFC 5280 wants the preferred name syntax. Digits alone would be taken for an address.
        let numeric = labels.split('.').all(|label| label.bytes().all(|b| b.is_ascii_digit()));
        if text.len() <= 253 && is_host_name(labels) && !numeric {
            Ok(Self(text.to_owned()))
        } else {
            Err(AlternativeNameError::Dns(shortened(text)))
        }
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where to reach the issuing authority (ISO/IEC 18013-5 Table B.1, issuerAltName): an e-mail address, a
/// URI or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerAlternativeName {
    email: Option<EmailAddress>,
    uri: Option<AbsoluteUri>,
}

impl IssuerAlternativeName {
    /// `None` when neither is given.
    pub fn new(email: Option<EmailAddress>, uri: Option<AbsoluteUri>) -> Option<Self> {
        (email.is_some() || uri.is_some()).then_some(Self { email, uri })
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
    pub ip_addresses: Vec<IpAddress>,
}

/// Names of all kinds together, at most.
pub const NAMES_MAX: usize = 256;

impl SubjectAlternativeNames {
    /// Whether there is no name. The extension is left out then.
    pub fn is_empty(&self) -> bool {
        self.dns_names.is_empty()
            && self.uris.is_empty()
            && self.emails.is_empty()
            && self.ip_addresses.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.dns_names.len() + self.uris.len() + self.emails.len() + self.ip_addresses.len()
    }
}

/// An IP address, and its text as it was given, because IPv6 has many spellings of one address.
#[derive(Debug, Clone)]
pub struct IpAddress {
    address: IpAddr,
    text: String,
}

impl IpAddress {
    /// Reads IPv4 or IPv6, strictly: no prefix length, no zone, no IPv4-mapped address.
    ///
    /// # Errors
    /// [`AlternativeNameError::Ip`] repeats what was given; [`AlternativeNameError::MappedIp`] for an
    /// IPv4-mapped address (RFC 4291, 2.5.5.2).
    pub fn parse(text: &str) -> Result<Self, AlternativeNameError> {
        let address = text.parse().map_err(|_| AlternativeNameError::Ip(shortened(text)))?;
        match address {
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Err(AlternativeNameError::MappedIp),
            IpAddr::V6(_) | IpAddr::V4(_) => Ok(Self { address, text: text.to_owned() }),
        }
    }

    /// The address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for IpAddress {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
    }
}

impl Eq for IpAddress {}

/// Why a text is not an alternative name.
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
    /// IPv4 in IPv6.
    #[error("an IPv4-mapped IPv6 address is not allowed; give the IPv4 address")]
    MappedIp,
    /// A URI of a scheme that identifies nothing.
    #[error("URIs of the scheme {0} name nothing")]
    Scheme(String),
}

/// Parses a URI strictly. The URL parser repairs many mistakes, so texts that it would repair are
/// refused.
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
                && (!has_a_label_prefix(label) || is_a_label(label))
        })
}

fn has_a_label_prefix(label: &str) -> bool {
    label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--"))
}

/// Whether a label is the canonical encoding of a valid U-label (RFC 5891, 5.3 to 5.5).
fn is_a_label(label: &str) -> bool {
    let label = label.to_ascii_lowercase();
    let (decoded, valid) = idna::domain_to_unicode(&label);
    valid.is_ok()
        && !decoded.is_ascii()
        && idna::domain_to_ascii(&decoded).is_ok_and(|encoded| encoded == label)
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
        for good in
            ["spiffe://acme.example/x", "ldap://ldap.acme.example/cn=x", "tel:+31-20-1", "did:x:y"]
        {
            assert!(AbsoluteUri::parse(good).is_ok(), "{good}");
        }
        for nameless in [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "blob:https://acme.example/x",
            "about:blank",
            "view-source:https://acme.example/",
        ] {
            let error = AbsoluteUri::parse(nameless).unwrap_err().to_string();
            assert!(error.contains("name nothing"), "{nameless}: {error}");
        }
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
        for good in [
            "a",
            "gateway.acme.example",
            "*.acme.example",
            "xn--bcher-kva.example",
            "XN--BCHER-KVA.example",
            "xn--fiqs8s",
            "*.xn--p1ai.example",
            "r3---sn-x.example",
            "1.example",
        ] {
            assert!(DnsName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "*",
            "*.example",
            "*.internal",
            "*.*.example",
            "xn--a",
            "XN--a.example",
            "xn--.example",
            "xn--a-.example",
            "xn--abc-.example",
            "xn--bcher-kvA9.example",
            "xn--zzzzzzzzzzzz.example",
            "*.xn--a.example",
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
        for good in ["192.0.2.17", "2001:db8::1", "2001:0DB8:0:0:0:0:0:1", "::1"] {
            assert_eq!(IpAddress::parse(good).unwrap().as_str(), good);
        }
        for bad in ["192.0.2", "192.0.2.0/24", "192.0.2.017", "fe80::1%eth0", "", "[::1]"] {
            assert!(IpAddress::parse(bad).is_err(), "{bad}");
        }
        for mapped in ["::ffff:10.1.2.3", "::FFFF:0a01:0203", "0:0:0:0:0:ffff:10.1.2.3"] {
            assert_eq!(IpAddress::parse(mapped), Err(AlternativeNameError::MappedIp), "{mapped}");
        }
        let short = IpAddress::parse("2001:db8::1").unwrap();
        assert_eq!(short, IpAddress::parse("2001:0DB8::0001").unwrap());
    }
}
