//! A supplied IACA is read to the end: one thing wrong in each row, and the part that the refusal names.

use super::*;

const URI: &[u8] = b"https://licences.acme.example/iaca";
const CRL: &[u8] = b"http://pki.acme.example/crl/root.crl";

/// `GeneralName`s of primitive types.
fn names(of: &[(u8, &[u8])]) -> Vec<u8> {
    let mut content = Vec::new();
    for (tag, value) in of {
        content.extend([*tag, u8::try_from(value.len()).unwrap()]);
        content.extend_from_slice(value);
    }
    encoding::sequence(&[&content]).unwrap()
}

fn contact(of: &[(u8, &[u8])]) -> impl Fn(&mut Specimen) + use<> {
    let value = names(of);
    move |specimen| specimen.set(oid::ISSUER_ALT_NAME, &value)
}

fn uri(text: &'static [u8]) -> Vec<(u8, &'static [u8])> {
    vec![(0x86, text)]
}

fn crl(value: Vec<u8>) -> impl Fn(&mut Specimen) {
    move |specimen| specimen.set(oid::CRL_DISTRIBUTION_POINTS, &value)
}

/// Replaces the extension's value, which comes into being if need be.
fn put(oid: ObjectIdentifier, value: &'static [u8]) -> impl Fn(&mut Specimen) {
    move |specimen| {
        specimen.drop(oid);
        specimen.extensions.push((oid, NON_CRITICAL, value.to_vec()));
    }
}

fn named(attributes: Vec<(ObjectIdentifier, Tag, String)>) -> impl Fn(&mut Specimen) {
    move |specimen| {
        let all: Vec<_> =
            attributes.iter().map(|(kind, tag, text)| (*kind, *tag, text.as_str())).collect();
        specimen.names(&all);
    }
}

/// C and CN as they should be, and one more attribute.
fn beside(kind: ObjectIdentifier, tag: Tag, text: &str) -> impl Fn(&mut Specimen) + use<> {
    let (c, cn) = ((C.0, C.1, C.2.to_owned()), (CN.0, CN.1, CN.2.to_owned()));
    named(match kind == oid::COMMON_NAME {
        true => vec![c, (kind, tag, text.to_owned())],
        false => vec![c, cn, (kind, tag, text.to_owned())],
    })
}

type Break = Box<dyn Fn(&mut Specimen)>;

fn row(
    what: &'static str,
    part: &'static str,
    breaks: impl Fn(&mut Specimen) + 'static,
) -> (&'static str, &'static str, Break) {
    (what, part, Box::new(breaks))
}

const IAN: &str = "issuerAltName";
const CRLDP: &str = "cRLDistributionPoints";
const AKI: &str = "authorityKeyIdentifier";
const SUBJECT: &str = "subject";

fn rows() -> Vec<(&'static str, &'static str, Break)> {
    let utf8 = Tag::Utf8String;
    let mut rows = Vec::new();
    for text in [
        &b"/iaca"[..],
        b"iaca",
        b"https://a.example/x y",
        b"https://a.example/\0",
        b"https://a.example/\r\nX: y",
        b"https://a.example/\"x\"",
        b"https:",
        b"urn:",
        b"https:///x",
        b"https://u:p@a.example/",
        b"javascript:alert(1)",
        b"data:,x",
        b"https://xn--a/",
        b"https://a.example/<x>",
    ] {
        rows.push(row("URI", IAN, contact(&uri(text))));
    }
    for text in [
        &b"pki.acme.example"[..],
        b"a@b@c.example",
        b"PKI <pki@acme.example>",
        b"@acme.example",
        b"pki@",
        b"a b@c.example",
    ] {
        rows.push(row("rfc822Name", IAN, contact(&[(0x81, text)])));
    }
    let good: (u8, &[u8]) = (0x86, URI);
    rows.extend([
        row("above 7f", IAN, contact(&[(0x86, b"https://a.example/\xe9")])),
        row("an empty URI", IAN, contact(&[(0x86, b"")])),
        row("iPAddress of 3 octets", IAN, contact(&[good, (0x87, b"\x01\x02\x03")])),
        row("no Name in a directoryName", IAN, contact(&[good, (0xA4, b"\x0c\x01a")])),
        row("an empty directoryName", IAN, contact(&[good, (0xA4, b"\x30\x00")])),
        row(
            "a blank value in a directoryName",
            IAN,
            contact(&[good, (0xA4, b"\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01 ")]),
        ),
        row("no OID in a registeredID", IAN, contact(&[good, (0x88, b"\x2a\x80\x01")])),
        row("an unfinished registeredID", IAN, contact(&[good, (0x88, b"\x2a\x81")])),
        row("no otherName", IAN, contact(&[good, (0xA0, b"\x0c\x01a")])),
        row("a wrong dNSName", IAN, contact(&[good, (0x82, b"a b")])),
        row("a name of no form", IAN, contact(&[good, (0x89, b"x")])),
        row("only a dNSName", IAN, contact(&[(0x82, b"acme.example")])),
        row("no names", IAN, contact(&[])),
        row("trailing octets", IAN, put(oid::ISSUER_ALT_NAME, b"\x30\x05\x86\x03u:x\x00")),
        row("no SEQUENCE", "issuerAltName", put(oid::ISSUER_ALT_NAME, b"\x86\x01")),
    ]);
    let one = |rest: &[u8]| points(&[&point(&[CRL], rest)]);
    let form = |name: &[u8]| {
        let full = encoding::context(0, &[name]).unwrap();
        let point = encoding::sequence(&[&encoding::context(0, &[&full]).unwrap()]).unwrap();
        points(&[&point])
    };
    let relative = {
        let name = encoding::context(1, &[b"\x30\x08\x06\x03\x55\x04\x03\x0c\x01a"]).unwrap();
        let point = encoding::sequence(&[&encoding::context(0, &[&name]).unwrap()]).unwrap();
        points(&[&point])
    };
    rows.extend([
        row("reasons", CRLDP, crl(one(b"\x81\x02\x01\x06"))),
        row("cRLIssuer", CRLDP, crl(one(b"\xa2\x05\x86\x03u:x"))),
        row("empty cRLIssuer", CRLDP, crl(one(b"\xa2\x00"))),
        row("no point", "cRLDistributionPoints", crl(b"\x30\x00".to_vec())),
        row("an empty point", CRLDP, crl(b"\x30\x02\x30\x00".to_vec())),
        row("reasons alone", CRLDP, crl(b"\x30\x06\x30\x04\x81\x02\x01\x06".to_vec())),
        row("an empty fullName", CRLDP, crl(b"\x30\x06\x30\x04\xa0\x02\xa0\x00".to_vec())),
        row("an empty name", CRLDP, crl(b"\x30\x04\x30\x02\xa0\x00".to_vec())),
        row("nameRelativeToCRLIssuer", CRLDP, crl(relative)),
        row(
            "directoryName alone",
            CRLDP,
            crl(form(b"\xa4\x0e\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01a")),
        ),
        row("dNSName alone", CRLDP, crl(form(b"\x82\x01a"))),
        row("ldap alone", CRLDP, crl(form(b"\x86\x0dldap://a/cn=x"))),
        row("an empty URI", CRLDP, crl(form(b"\x86\x00"))),
        row("a relative URI", CRLDP, crl(form(b"\x86\x04/crl"))),
        row("CR LF", CRLDP, crl(points(&[&point(&[b"http://a.example/\r\nx"], b"")]))),
        row("above 7f", CRLDP, crl(points(&[&point(&[b"http://a.example/\xe9"], b"")]))),
        row("no host", CRLDP, crl(points(&[&point(&[b"http:///x"], b"")]))),
        row("a wrong URI beside", CRLDP, crl(points(&[&point(&[CRL, b"x y"], b"")]))),
        row(
            "a second point without",
            CRLDP,
            crl(points(&[&point(&[CRL], b""), &point(&[b"urn:x:y"], b"")])),
        ),
        row("trailing octets", "cRLDistributionPoints", crl([&one(b"")[..], b"\x05\x00"].concat())),
        row("no SEQUENCE", CRLDP, crl(b"\x04\x01a".to_vec())),
        row("no DER", "cRLDistributionPoints", crl(b"http".to_vec())),
        row("another key", AKI, put(oid::AUTHORITY_KEY_ID, b"\x30\x06\x80\x04\x01\x02\x03\x04")),
        row("empty", "authorityKeyIdentifier", put(oid::AUTHORITY_KEY_ID, b"\x30\x00")),
        row("serial alone", AKI, put(oid::AUTHORITY_KEY_ID, b"\x30\x03\x82\x01\x05")),
        row(
            "issuer and serial alone",
            AKI,
            put(oid::AUTHORITY_KEY_ID, b"\x30\x0a\xa1\x05\x86\x03u:x\x82\x01\x05"),
        ),
        row("serial without issuer", AKI, |s| {
            let id = fixtures::first_key().subject_key_id();
            s.set(
                oid::AUTHORITY_KEY_ID,
                &encoding::sequence(&[b"\x80\x14", &id, b"\x82\x01\x05"]).unwrap(),
            );
        }),
        row("another's issuer and serial", AKI, |s| {
            let id = fixtures::first_key().subject_key_id();
            s.set(
                oid::AUTHORITY_KEY_ID,
                &encoding::sequence(&[b"\x80\x14", &id, b"\xa1\x05\x86\x03u:x\x82\x01\x05"])
                    .unwrap(),
            );
        }),
    ]);
    let long = |characters| "x".repeat(characters);
    for (what, kind, tag, text) in [
        ("CN of 65", oid::COMMON_NAME, utf8, long(65)),
        ("blank CN", oid::COMMON_NAME, utf8, "  ".to_owned()),
        ("LF", oid::COMMON_NAME, utf8, "a\nb".to_owned()),
        ("NUL", oid::COMMON_NAME, utf8, "a\0b".to_owned()),
        ("bidi", oid::COMMON_NAME, utf8, "a\u{202e}b".to_owned()),
        ("zero width", oid::ORGANIZATION, utf8, "\u{200b}".to_owned()),
        ("O of 65", oid::ORGANIZATION, utf8, long(65)),
        ("ST of 129", oid::STATE_OR_PROVINCE, utf8, long(129)),
        ("serialNumber of 65", oid::SERIAL_NUMBER, Tag::PrintableString, long(65)),
        ("OU of 65", oid::ORGANIZATIONAL_UNIT, utf8, long(65)),
        ("L of 129", oid::LOCALITY, utf8, long(129)),
        ("IA5String CN", oid::COMMON_NAME, Tag::Ia5String, "Acme".to_owned()),
        ("IA5String O", oid::ORGANIZATION, Tag::Ia5String, "Acme".to_owned()),
        ("IA5String ST", oid::STATE_OR_PROVINCE, Tag::Ia5String, "Utrecht".to_owned()),
        ("Teletex O", oid::ORGANIZATION, Tag::TeletexString, "Acme".to_owned()),
        ("UTF8String serialNumber", oid::SERIAL_NUMBER, utf8, "7".to_owned()),
        ("empty O", oid::ORGANIZATION, utf8, String::new()),
    ] {
        rows.push(row(what, SUBJECT, beside(kind, tag, &text)));
    }
    let twice = |kind: ObjectIdentifier, tag: Tag| {
        let own = |text: &str| (kind, tag, text.to_owned());
        let (c, cn) = ((C.0, C.1, C.2.to_owned()), (CN.0, CN.1, CN.2.to_owned()));
        named(vec![c, cn, own("a"), own("b")])
    };
    rows.extend([
        row("CN twice", SUBJECT, twice(oid::COMMON_NAME, utf8)),
        row("ST twice", SUBJECT, twice(oid::STATE_OR_PROVINCE, utf8)),
        row("O twice", SUBJECT, twice(oid::ORGANIZATION, utf8)),
        row("serialNumber twice", SUBJECT, twice(oid::SERIAL_NUMBER, Tag::PrintableString)),
        row("two attributes in an RDN", SUBJECT, |s| {
            s.subject = b"\x30\x2b\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02NL\x31\x1c\x30\x0c\x06\x03\x55\x04\x03\x0c\x05Acme1\x30\x0c\x06\x03\x55\x04\x03\x0c\x05Acme2".to_vec();
            let length = u8::try_from(s.subject.len() - 2).unwrap();
            s.subject[1] = length;
            s.issuer = s.subject.clone();
        }),
        row("a prohibited extension under a padded arc", "extensions", |s| {
            s.trailing = b"padded".to_vec();
        }),
        row("UTCTime with second 60", "validity", |s| {
            s.valid_raw(b"\x17\x0d260301000060Z", b"\x17\x0d360301000000Z");
        }),
        row("subjectAltName that is no DER", "subjectAltName", put(oid::SUBJECT_ALT_NAME, b"\x30\x05x")),
        row("an empty subjectAltName", "subjectAltName", put(oid::SUBJECT_ALT_NAME, b"\x30\x00")),
        row("certificatePolicies that are no DER", "certificatePolicies", put(ObjectIdentifier::new_unwrap("2.5.29.32"), b"\x30\x80\x00\x00")),
        row("empty certificatePolicies", "certificatePolicies", put(ObjectIdentifier::new_unwrap("2.5.29.32"), b"\x30\x00")),
        row("AIA that is no DER", "authorityInfoAccess", put(AIA, b"hello")),
        row("an empty AIA", "authorityInfoAccess", put(AIA, b"\x30\x00")),
        row("an issuing distribution point", "2.5.29.28", put(ObjectIdentifier::new_unwrap("2.5.29.28"), b"")),
        row("20 years and a second", "7305 days", |s| s.valid("2026-03-01T00:00:00Z", "2046-03-01T00:00:01Z")),
        row("keyUsage with a zero at its end", "keyUsage", |s| s.set(oid::KEY_USAGE, b"\x03\x02\x00\x06")),
        row("TRUE as 01", "basicConstraints", |s| s.set(oid::BASIC_CONSTRAINTS, b"\x30\x06\x01\x01\x01\x02\x01\x00")),
        row("version 1 written out", "version", |s| s.version = b"\xa0\x03\x02\x01\x00".to_vec()),
        row("an '@' in a PrintableString", "subject", beside(oid::COMMON_NAME, Tag::PrintableString, "a@b")),
    ]);
    rows
}

/// As a client would supply it, signed by nobody.
fn judged(specimen: &Specimen) -> Result<(), String> {
    let mut tbs = specimen.tbs();
    if specimen.trailing == b"padded" {
        // policyConstraints, 2.5.29.36, with an arc of one octet more than it needs.
        let mut other = specimen.tbs_with(b"\x30\x0b\x06\x04\x55\x80\x1d\x24\x04\x03\x30\x01\x00");
        std::mem::swap(&mut tbs, &mut other);
    }
    let nobody = Signature::from_x509_octets(b"nobody".to_vec());
    let signed = encoding::signed(&tbs, KeyType::P256.signature_algorithm(), &nobody).unwrap();
    let certificate = Certificate::from_der(&signed).map_err(|error| error.to_string())?;
    supplied_iaca(&certificate).map_err(|finding| finding.detail)
}

#[test]
fn a_supplied_iaca_with_one_thing_wrong_is_refused_and_the_part_is_named() {
    let mut wrong = Vec::new();
    for (what, part, breaks) in rows() {
        let mut specimen = iaca();
        assert_eq!(judged(&specimen), Ok(()));
        breaks(&mut specimen);
        match judged(&specimen) {
            Err(words) if words.contains(part) => {}
            found => wrong.push(format!("{part}, {what}: {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_live_roots_have_is_taken() {
    let rows: Vec<(&str, Break)> = vec![
        (
            "20 calendar years",
            Box::new(|s: &mut Specimen| {
                s.valid("2026-03-01T00:00:00Z", "2046-03-01T00:00:00Z");
            }),
        ),
        ("a mail address", Box::new(contact(&[(0x81, b"pki@acme.example")]))),
        (
            "further forms beside the URI",
            Box::new(contact(&[
                (0x86, URI),
                (0x82, b"acme.example"),
                (0x87, b"\x7f\x00\x00\x01"),
                (0x88, b"\x2a\x03"),
                (0xA4, b"\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01a"),
                (0xA0, b"\x06\x02\x2a\x03\xa0\x03\x0c\x01a"),
            ])),
        ),
        ("two URIs", Box::new(contact(&[(0x86, URI), (0x86, b"urn:acme:iaca")]))),
        (
            "no CRL distribution point",
            Box::new(|s: &mut Specimen| s.drop(oid::CRL_DISTRIBUTION_POINTS)),
        ),
        (
            "two points",
            Box::new(crl(points(&[&point(&[CRL], b""), &point(&[b"https://b.example/c"], b"")]))),
        ),
        (
            "two URIs in a point",
            Box::new(crl(points(&[&point(&[CRL, b"ldap://a.example/cn=x"], b"")]))),
        ),
        (
            "a directoryName beside the URI",
            Box::new(|s: &mut Specimen| {
                let mut names = vec![0x86, u8::try_from(CRL.len()).unwrap()];
                names.extend_from_slice(CRL);
                names.extend(b"\xa4\x0e\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01a");
                let full = encoding::context(0, &[&names]).unwrap();
                let point =
                    encoding::sequence(&[&encoding::context(0, &[&full]).unwrap()]).unwrap();
                s.set(oid::CRL_DISTRIBUTION_POINTS, &points(&[&point]));
            }),
        ),
        ("no AKI", Box::new(|s: &mut Specimen| s.drop(oid::AUTHORITY_KEY_ID))),
        (
            "OU, L and mail",
            Box::new(|s: &mut Specimen| {
                s.names(&[
                    C,
                    CN,
                    ST,
                    (oid::LOCALITY, Tag::Utf8String, "Utrecht"),
                    (oid::ORGANIZATIONAL_UNIT, Tag::PrintableString, "Licences"),
                    (oid::EMAIL_ADDRESS, Tag::Ia5String, "pki@acme.example"),
                    (ObjectIdentifier::new_unwrap("2.5.4.97"), Tag::Utf8String, "VATNL-1"),
                ]);
            }),
        ),
        (
            "a private extension that is no DER",
            Box::new(put(ObjectIdentifier::new_unwrap("1.3.6.1.4.1.58017.1"), b"hello")),
        ),
    ];
    for (what, changes) in rows {
        let mut specimen = iaca();
        changes(&mut specimen);
        assert_eq!(judged(&specimen), Ok(()), "{what}");
    }
}
