//! Subjects and issuers of client certificates, read from settings or from certificates. They are
//! compared attribute by attribute, not as text.

use std::mem;

/// A distinguished name, for comparison: its RDNs in the order of the certificate, each a set of types
/// and values. Two values are equal when their characters are, in whatever string type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ComparableName(Vec<Vec<Attribute>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Attribute {
    /// The type as a dotted OID.
    kind: String,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Value {
    Text(String),
    /// The whole DER element, when its string type is not supported.
    Der(Vec<u8>),
}

/// Short names of types in lower case, and their OIDs: those of RFC 4519 and of OpenSSL.
const TYPES: [(&str, &str); 50] = [
    ("c", "2.5.4.6"),
    ("countryname", "2.5.4.6"),
    ("cn", "2.5.4.3"),
    ("commonname", "2.5.4.3"),
    ("st", "2.5.4.8"),
    ("stateorprovincename", "2.5.4.8"),
    ("l", "2.5.4.7"),
    ("localityname", "2.5.4.7"),
    ("o", "2.5.4.10"),
    ("organizationname", "2.5.4.10"),
    ("ou", "2.5.4.11"),
    ("organizationalunitname", "2.5.4.11"),
    ("street", "2.5.4.9"),
    ("streetaddress", "2.5.4.9"),
    ("dc", "0.9.2342.19200300.100.1.25"),
    ("domaincomponent", "0.9.2342.19200300.100.1.25"),
    ("uid", "0.9.2342.19200300.100.1.1"),
    ("userid", "0.9.2342.19200300.100.1.1"),
    ("serialnumber", "2.5.4.5"),
    ("sn", "2.5.4.4"),
    ("surname", "2.5.4.4"),
    ("gn", "2.5.4.42"),
    ("givenname", "2.5.4.42"),
    ("initials", "2.5.4.43"),
    ("title", "2.5.4.12"),
    ("t", "2.5.4.12"),
    ("description", "2.5.4.13"),
    ("name", "2.5.4.41"),
    ("generationqualifier", "2.5.4.44"),
    ("x500uniqueidentifier", "2.5.4.45"),
    ("dnqualifier", "2.5.4.46"),
    ("pseudonym", "2.5.4.65"),
    ("organizationidentifier", "2.5.4.97"),
    ("businesscategory", "2.5.4.15"),
    ("postalcode", "2.5.4.17"),
    ("postaladdress", "2.5.4.16"),
    ("telephonenumber", "2.5.4.20"),
    ("emailaddress", "1.2.840.113549.1.9.1"),
    ("email", "1.2.840.113549.1.9.1"),
    ("e", "1.2.840.113549.1.9.1"),
    ("unstructuredname", "1.2.840.113549.1.9.2"),
    ("unstructuredaddress", "1.2.840.113549.1.9.8"),
    ("jurisdictionl", "1.3.6.1.4.1.311.60.2.1.1"),
    ("jurisdictionlocalityname", "1.3.6.1.4.1.311.60.2.1.1"),
    ("jurisdictionst", "1.3.6.1.4.1.311.60.2.1.2"),
    ("jurisdictionstateorprovincename", "1.3.6.1.4.1.311.60.2.1.2"),
    ("jurisdictionc", "1.3.6.1.4.1.311.60.2.1.3"),
    ("jurisdictioncountryname", "1.3.6.1.4.1.311.60.2.1.3"),
    ("mail", "0.9.2342.19200300.100.1.3"),
    ("rfc822mailbox", "0.9.2342.19200300.100.1.3"),
];

const COMMON_NAME: &str = "2.5.4.3";
/// Country, organization, domain component: types that a name usually begins with.
const OUTERMOST: [&str; 3] = ["2.5.4.6", "2.5.4.10", "0.9.2342.19200300.100.1.25"];

/// The prefixes that `openssl x509` prints.
const PREFIXES: [&str; 2] = ["subject", "issuer"];

/// ASN.1 string types whose octets are UTF-8 or a part of it: UTF8String, NumericString,
/// PrintableString, IA5String, VisibleString.
const TEXT_TAGS: [u8; 5] = [12, 18, 19, 22, 26];

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; write it in the order of the certificate, as in C=NL,O=Acme,CN=registrar-1")]
pub struct NameTextError(String);

impl ComparableName {
    /// Reads a name as RFC 4514 writes it, but in the order of the certificate, which is also that of
    /// `openssl x509 -subject`. Blanks around `=`, `,` and `+` do not count, types may be in either
    /// case, values may be quoted, and `subject=` may stand before it.
    ///
    /// # Errors
    /// [`NameTextError`] says what is wrong, and how a name is written.
    pub fn parse(text: &str) -> Result<Self, NameTextError> {
        // A blank at the end may be escaped, so only the start is trimmed.
        let mut rest = without_prefix(text.trim_start());
        if rest.trim().is_empty() {
            return Err(NameTextError("a name is not blank".to_owned()));
        }
        if rest.starts_with('/') {
            return Err(NameTextError("names with '/' between the parts are not read".to_owned()));
        }
        let (mut rdns, mut rdn) = (Vec::new(), Vec::new());
        loop {
            let (kind, after) = kind(rest)?;
            let (value, after) = value(after)?;
            rdn.push(Attribute { kind, value });
            let mut after = after.chars();
            let separator = after.next();
            if separator != Some('+') {
                rdns.push(sorted(mem::take(&mut rdn)));
            }
            if separator.is_none() {
                return Ok(Self(rdns));
            }
            rest = after.as_str();
        }
    }

    /// From a certificate's name: for each attribute whether it is the first of its RDN, its type,
    /// dotted, and its value as tag, content and whole element.
    pub fn of<'a>(
        attributes: impl IntoIterator<Item = (bool, String, (u8, &'a [u8], &'a [u8]))>,
    ) -> Self {
        let mut rdns: Vec<Vec<Attribute>> = Vec::new();
        for (starts_rdn, kind, (tag, content, der)) in attributes {
            let attribute = Attribute { kind, value: Value::of(tag, content, der) };
            match rdns.last_mut().filter(|_| !starts_rdn) {
                Some(rdn) => rdn.push(attribute),
                None => rdns.push(vec![attribute]),
            }
        }
        Self(rdns.into_iter().map(sorted).collect())
    }

    /// Whether the RDNs seem to be in reverse order: a common name first, and an organization,
    /// country or domain last.
    pub fn looks_reversed(&self) -> bool {
        let has = |rdn: Option<&Vec<Attribute>>, kinds: &[&str]| {
            rdn.is_some_and(|rdn| rdn.iter().any(|attribute| kinds.contains(&&*attribute.kind)))
        };
        self.0.len() > 1 && has(self.0.first(), &[COMMON_NAME]) && has(self.0.last(), &OUTERMOST)
    }
}

impl Value {
    fn of(tag: u8, content: &[u8], der: &[u8]) -> Self {
        match std::str::from_utf8(content) {
            Ok(text) if TEXT_TAGS.contains(&tag) => Self::Text(text.to_owned()),
            Ok(_) | Err(_) => Self::Der(der.to_vec()),
        }
    }
}

/// Sorts the attributes of an RDN, because they are a set.
fn sorted(mut rdn: Vec<Attribute>) -> Vec<Attribute> {
    rdn.sort_unstable();
    rdn
}

fn without_prefix(text: &str) -> &str {
    let Some((word, after)) = text.split_once(['=', ':']) else { return text };
    let is_prefix = PREFIXES.iter().any(|prefix| word.trim().eq_ignore_ascii_case(prefix));
    if is_prefix { after.trim_start() } else { text }
}

/// The OID of the type before the next `=`, and what follows that.
fn kind(text: &str) -> Result<(String, &str), NameTextError> {
    let shown = || text.trim().chars().take(32).collect::<String>();
    let (name, after) = text
        .split_once('=')
        .ok_or_else(|| NameTextError(format!("'{}' has no type and '='", shown())))?;
    let lower = name.trim().to_ascii_lowercase();
    if let Some((_, oid)) = TYPES.iter().find(|(name, _)| *name == lower) {
        return Ok(((*oid).to_owned(), after));
    }
    let dotted = lower.strip_prefix("oid.").unwrap_or(&lower);
    let is_number = |arc: &str| {
        !arc.is_empty()
            && arc.bytes().all(|digit| digit.is_ascii_digit())
            && (arc == "0" || !arc.starts_with('0'))
    };
    if dotted.contains('.') && dotted.split('.').all(is_number) {
        return Ok((dotted.to_owned(), after));
    }
    Err(NameTextError(format!("'{}' is not a type of a name's part", shown())))
}

/// The value at the start of a text, and the rest, which begins with a separator unless it is empty.
fn value(text: &str) -> Result<(Value, &str), NameTextError> {
    let text = text.trim_start();
    if let Some(quoted) = text.strip_prefix('"') {
        let (text, after) = characters(quoted, |character| character == '"')?;
        let after = after
            .strip_prefix('"')
            .ok_or_else(|| NameTextError("a quotation mark has no second one".to_owned()))?;
        let after = after.trim_start();
        if after.starts_with(is_separator) || after.is_empty() {
            return Ok((Value::Text(text.0), after));
        }
        return Err(NameTextError("something stands after a quoted value".to_owned()));
    }
    if let Some(hex) = text.strip_prefix('#') {
        let end = hex.find(is_separator).unwrap_or(hex.len());
        let value = octets(hex[..end].trim()).as_deref().and_then(element);
        let value =
            value.ok_or_else(|| NameTextError("'#' is not followed by DER in hex".to_owned()))?;
        return Ok((value, &hex[end..]));
    }
    let ((mut value, kept), after) = characters(text, is_separator)?;
    // Trims blanks at the end unless they are escaped.
    value.truncate(kept.max(value.trim_end().len()));
    Ok((Value::Text(value), after))
}

fn is_separator(character: char) -> bool {
    matches!(character, ',' | ';' | '+')
}

/// Reads characters up to the first unescaped terminator. Returns them, the position after the last
/// escaped one, and the rest.
fn characters(
    text: &str,
    ends: impl Fn(char) -> bool,
) -> Result<((String, usize), &str), NameTextError> {
    let mut octets = Vec::new();
    let mut kept = 0;
    let mut rest = text.chars();
    loop {
        let here = rest.as_str();
        match rest.next() {
            None => return Ok(((utf8(octets)?, kept), here)),
            Some(character) if ends(character) => return Ok(((utf8(octets)?, kept), here)),
            Some('\\') => {
                let pair = rest.as_str().get(..2).and_then(octet);
                match pair {
                    Some(octet) => {
                        octets.push(octet);
                        rest = rest.as_str()[2..].chars();
                    }
                    None => {
                        let character = rest.next().ok_or_else(|| {
                            NameTextError("nothing stands after the last '\\'".to_owned())
                        })?;
                        octets.extend(character.encode_utf8(&mut [0; 4]).bytes());
                    }
                }
                kept = octets.len();
            }
            Some(character) => octets.extend(character.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
}

fn utf8(octets: Vec<u8>) -> Result<String, NameTextError> {
    String::from_utf8(octets).map_err(|_| NameTextError("a value is not UTF-8".to_owned()))
}

fn octets(hex: &str) -> Option<Vec<u8>> {
    if hex.is_empty() || !hex.is_ascii() {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| octet(hex.get(at..at + 2)?)).collect()
}

/// Reads two hex digits. `from_str_radix` alone would take a sign too.
fn octet(pair: &str) -> Option<u8> {
    let is_hex = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
    u8::from_str_radix(pair, 16).ok().filter(|_| is_hex)
}

/// One DER element with nothing after it.
fn element(der: &[u8]) -> Option<Value> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let content = match first {
        0..=0x7F => rest,
        _ => rest.get(usize::from(first & 0x7F)..)?,
    };
    let length = match first {
        0..=0x7F => usize::from(first),
        _ => rest.get(..usize::from(first & 0x7F))?.iter().try_fold(0_usize, |length, octet| {
            length.checked_mul(256)?.checked_add(usize::from(*octet))
        })?,
    };
    (content.len() == length).then(|| Value::of(tag, content, der))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ComparableName {
        ComparableName::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn one_name_is_one_name_however_it_is_written() {
        for (one, others) in [
            (
                "O=Chancery demo,CN=demo",
                &[
                    "O = Chancery demo, CN = demo",
                    "subject=O = Chancery demo, CN = demo",
                    "subject= O=Chancery demo,CN=demo",
                    "Subject: O=Chancery demo, CN=demo",
                    "o=Chancery demo;cn=demo",
                    " organizationName = \"Chancery demo\" , CommonName=demo ",
                    "2.5.4.10=Chancery demo,OID.2.5.4.3=demo",
                    "O=Chancery\\20demo,CN=\\64emo",
                    "O=#0c0d4368616e636572792064656d6f,CN=#130464656d6f",
                ][..],
            ),
            (
                "O=Acme\\, Inc.,CN=a\\+b",
                &["O = \"Acme, Inc.\", CN = \"a+b\"", "O=Acme\\2C Inc.,CN=a\\2bb"][..],
            ),
            ("CN=Ünï", &["CN = \\C3\\9Cn\\C3\\AF", "CN=\"Ünï\""][..]),
            ("CN=\\ x\\ ", &["CN=\" x \"", "CN = \\20x\\20 "][..]),
            ("OU=b+CN=a", &["CN=a+OU=b", "CN = a + OU = b"][..]),
            ("CN=a=b", &["CN = \"a=b\"", "CN=a\\=b"][..]),
            ("CN=", &["CN = ", "CN=\"\"", "cn=#0c00"][..]),
            ("2.5.4.5=#130137", &["serialNumber=7", "SERIALNUMBER = 7"][..]),
        ] {
            for other in others {
                assert_eq!(name(one), name(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn another_name_is_another_name() {
        let one = name("O=Acme,CN=one");
        for other in [
            "CN=one,O=Acme",
            "O=Acme,CN=One",
            "O=Acme+CN=one",
            "O=Acme,CN=one,OU=x",
            "O=Acme",
            "O=Acme\\,CN=one",
            "O=Acme,CN=one\\ ",
            "O=Acme,CN=#1e0600 6f006e0065"
                .trim_end_matches(' ')
                .split(' ')
                .next()
                .unwrap_or_default(),
        ] {
            if let Ok(other) = ComparableName::parse(other) {
                assert_ne!(one, other);
            }
        }
        assert_ne!(name("CN=#1e020061"), name("CN=a"));
        assert!(name("CN=one,O=Acme").looks_reversed() && name("CN=a,OU=b,C=NL").looks_reversed());
        for straight in ["O=Acme,CN=one", "CN=one", "CN=a,OU=b", "C=NL,CN=a"] {
            assert!(!name(straight).looks_reversed(), "{straight}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_and_says_how_one_is_written() {
        for bad in [
            "",
            " ",
            "demo",
            "CN",
            "=a",
            "/O=Acme/CN=one",
            "X=a",
            "CN=a,",
            "CN=a,,O=b",
            "CN=a,b",
            "CN=\"a",
            "CN=\"a\"b",
            "CN=#",
            "CN=#0",
            "CN=#0c05",
            "CN=#0c01+1",
            "CN=#xyz",
            "CN=\\ff",
            "CN=a\\",
            "2.05.4=a",
            "subject=",
            "1.=a",
        ] {
            let said = ComparableName::parse(bad).unwrap_err().to_string();
            assert!(said.contains("C=NL,O=Acme,CN=registrar-1"), "{bad}: {said}");
        }
    }
}
