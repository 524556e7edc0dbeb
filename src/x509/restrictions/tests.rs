use super::{
    base::host_of,
    general_name::{Name, looks_like_dns},
    names::NameConstraints,
    *,
};
use crate::{
    domain::name::{AttributeKind, AttributeText, Country, DistinguishedName},
    x509::fixtures,
};

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    match length {
        0..=0x7F => [&[tag, length], content].concat(),
        _ => [&[tag, 0x81, length], content].concat(),
    }
}

/// `GeneralSubtrees` of bases, each of a tag and its content.
fn subtrees(bases: &[(u8, &[u8])]) -> Vec<u8> {
    bases.iter().flat_map(|(tag, content)| element(0x30, &element(*tag, content))).collect()
}

fn constraints(
    permitted: &[(u8, &[u8])],
    excluded: &[(u8, &[u8])],
) -> Result<NameConstraints, String> {
    let mut all = Vec::new();
    for (tag, bases) in [(0xA0, permitted), (0xA1, excluded)] {
        if !bases.is_empty() {
            all.extend(element(tag, &subtrees(bases)));
        }
    }
    NameConstraints::read(&element(0x30, &all))
}

const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const IP: u8 = 0x87;

fn name(tag: u8, text: &str) -> Name<'_> {
    match tag {
        EMAIL => Name::Email(text),
        DNS => Name::Dns(text),
        URI => Name::Uri(text),
        _ => panic!("{tag}"),
    }
}

#[test]
fn a_name_outside_of_what_is_permitted_is_forbidden() {
    for (tag, base, within, without) in [
        (
            DNS,
            "acme.example",
            &["acme.example", "ACME.Example", "a.acme.example", "*.acme.example"][..],
            &["evil.example", "notacme.example", "acme.example.evil", "*.example", "example"][..],
        ),
        (DNS, ".acme.example", &["a.acme.example", "*.acme.example"], &["acme.example"]),
        (DNS, "Host.ACME.example", &["host.acme.example"], &["*.acme.example", "acme.example"]),
        (DNS, "", &["anything.example"], &[]),
        (
            EMAIL,
            "acme.example",
            &["a@acme.example", "A@ACME.EXAMPLE"],
            &["a@sub.acme.example", "a@evil.example", "acme.example@evil.example"],
        ),
        (EMAIL, ".acme.example", &["a@sub.acme.example"], &["a@acme.example"]),
        (
            EMAIL,
            "pki@acme.example",
            &["pki@acme.example", "pki@Acme.example"],
            &["PKI@acme.example", "other@acme.example", "pki@sub.acme.example"],
        ),
        (
            URI,
            "acme.example",
            &["https://acme.example/x", "HTTP://ACME.example:80?x", "ldap://u@acme.example"],
            &[
                "https://sub.acme.example",
                "https://evil.example/acme.example",
                "https://acme.example.evil/",
                "https://evil.example#@acme.example",
                "urn:acme.example",
                "https://192.0.2.1/",
                "https://[2001:db8::1]/",
                "https://acme.example./",
                "https://%61cme.example/",
            ],
        ),
        (URI, ".acme.example", &["https://a.acme.example"], &["https://acme.example"]),
    ] {
        let constraints = constraints(&[(tag, base.as_bytes())], &[]).unwrap();
        for text in within {
            assert_eq!(constraints.check(&name(tag, text)), Ok(()), "{base}");
        }
        for text in without {
            assert!(constraints.check(&name(tag, text)).is_err(), "{text} {base}");
        }
    }
}

#[test]
fn a_name_that_touches_what_is_excluded_is_forbidden() {
    for (tag, base, free, excluded) in [
        (
            DNS,
            "bad.acme.example",
            &["acme.example", "good.acme.example", "notbad.acme.example", "*.good.acme.example"][..],
            // A wildcard stands for the excluded host too.
            &["bad.acme.example", "BAD.acme.example", "x.bad.acme.example", "*.acme.example"][..],
        ),
        (DNS, "", &[], &["a.example"]),
        (EMAIL, "evil.example", &["a@acme.example"], &["a@evil.example", "a@EVIL.example"]),
        (EMAIL, "ceo@acme.example", &["a@acme.example"], &["ceo@acme.example", "CEO@acme.example"]),
        (
            URI,
            "evil.example",
            &["https://acme.example"],
            &["https://evil.example", "https://u@evil.example:1/", "urn:x:y"],
        ),
    ] {
        let constraints = constraints(&[], &[(tag, base.as_bytes())]).unwrap();
        for text in free {
            assert_eq!(constraints.check(&name(tag, text)), Ok(()), "{base}");
        }
        for text in excluded {
            assert!(constraints.check(&name(tag, text)).is_err(), "{text} {base}");
        }
        // Names of other forms are free.
        assert_eq!(constraints.check(&Name::Ip(&[10, 0, 0, 1])), Ok(()));
    }
}

#[test]
fn addresses_are_held_against_a_net_of_their_own_family() {
    let v4 = [10, 1, 0, 0, 255, 255, 0, 0];
    let within = constraints(&[(IP, &v4)], &[]).unwrap();
    assert!(within.check(&Name::Ip(&[10, 1, 2, 3])).is_ok());
    for other in [&[10, 2, 0, 1][..], &[0; 16], &[10, 1, 2], &[]] {
        assert!(within.check(&Name::Ip(other)).is_err(), "{other:?}");
    }
    let mut v6 = [0; 32];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0D, 0xB8]);
    v6[16..20].copy_from_slice(&[0xFF; 4]);
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[0x20, 0x01, 0x0D, 0xB8]);
    let without = constraints(&[], &[(IP, &v6)]).unwrap();
    assert!(without.check(&Name::Ip(&address)).is_err());
    address[3] = 0xB9;
    assert!(without.check(&Name::Ip(&address)).is_ok());
    assert!(without.check(&Name::Ip(&[10, 1, 2, 3])).is_ok());
}

fn subject(organization: &str, common_name: &str) -> EncodedName {
    EncodedName::encode(&DistinguishedName {
        country: Some(Country::parse("NL").unwrap()),
        common_name: AttributeText::parse(AttributeKind::CommonName, common_name).unwrap(),
        state_or_province: None,
        organization: fixtures::text(AttributeKind::Organization, organization),
        locality: None,
        organizational_unit: None,
    })
    .unwrap()
}

/// A Name of C and CN, the latter of a string type.
fn directory(tag: u8, common_name: &[u8]) -> Vec<u8> {
    let country = b"\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02NL";
    let value = [b"\x06\x03\x55\x04\x03".to_vec(), element(tag, common_name)].concat();
    element(0x30, &[&country[..], &element(0x31, &element(0x30, &value))].concat())
}

fn directory_name(name: &EncodedName) -> Name<'static> {
    Name::Directory(DirectoryName::of(&name.view()))
}

#[test]
fn a_subject_lies_below_the_rdns_that_it_begins_with() {
    // Blanks, case of ASCII and the type of string do not count.
    for base in [
        directory(0x0C, b"acme  ROOT"),
        directory(0x13, b"Acme Root"),
        directory(0x1E, b"\0A\0c\0m\0e\0 \0R\0o\0o\0t"),
        element(0x30, b"\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02NL"),
        element(0x30, b""),
    ] {
        let permitted = constraints(&[(0xA4, &base)], &[]).unwrap();
        let excluded = constraints(&[], &[(0xA4, &base)]).unwrap();
        let name = directory_name(&subject("Acme", " Acme Root".trim()));
        assert_eq!(permitted.check(&name), Ok(()), "{base:02x?}");
        assert!(excluded.check(&name).is_err());
    }
    let base = directory(0x0C, "Größe".as_bytes());
    let other_case = directory_name(&subject("Acme", "GRÖSSE".replace("SS", "ß").as_str()));
    // One reader takes Ö for ö, another does not: neither permitted nor free.
    assert!(constraints(&[(0xA4, &base)], &[]).unwrap().check(&other_case).is_err());
    assert!(constraints(&[], &[(0xA4, &base)]).unwrap().check(&other_case).is_err());
    let other = directory_name(&subject("Acme", "Another"));
    assert!(constraints(&[(0xA4, &base)], &[]).unwrap().check(&other).is_err());
    assert!(constraints(&[], &[(0xA4, &base)]).unwrap().check(&other).is_ok());
}

#[test]
fn what_cannot_be_judged_makes_no_issuer() {
    for (permitted, excluded) in [
        (&[(DNS, &b"*.acme.example"[..])][..], &[][..]),
        (&[(DNS, b"acme.example.")], &[]),
        (&[(DNS, b"acme..example")], &[]),
        (&[(DNS, b"b\xC3\xBCcher.example")], &[]),
        (&[], &[(EMAIL, &b""[..])]),
        (&[(EMAIL, b"@acme.example")], &[]),
        (&[(URI, b"https://acme.example")], &[]),
        (&[(URI, b"")], &[]),
        (&[(IP, &[10, 0, 0, 0])], &[]),
        (&[(IP, &[10, 0, 0, 0, 255, 0, 255, 0])], &[]),
        (&[(0xA4, b"\x31\x00")], &[]),
        (&[(0x84, b"x")], &[]),
    ] {
        assert!(constraints(permitted, excluded).is_err(), "{permitted:?} {excluded:?}");
    }
    for value in [&b""[..], b"\x30\x00", b"\x30\x02\xA0\x00", b"\x30\x02\xA2\x00", b"\x31\x00"] {
        assert!(NameConstraints::read(value).is_err(), "{value:02x?}");
    }
    // With a minimum or a maximum.
    let base = element(DNS, b"a.example");
    for more in [&b"\x80\x01\x00"[..], b"\x80\x01\x01", b"\x81\x01\x01"] {
        let subtree = element(0x30, &[&base[..], more].concat());
        assert!(NameConstraints::read(&element(0x30, &element(0xA0, &subtree))).is_err());
    }
    // Too many.
    let one = element(0x30, &element(DNS, b"a"));
    let all = one.repeat(513);
    let list = [&[0xA0, 0x82], &u16::try_from(all.len()).unwrap().to_be_bytes()[..], &all].concat();
    let value =
        [&[0x30, 0x82], &u16::try_from(list.len()).unwrap().to_be_bytes()[..], &list].concat();
    assert!(NameConstraints::read(&value).unwrap_err().contains("more than 512"));
    // Names of a form that is not judged are forbidden where there are such, and free elsewhere.
    let other = constraints(&[(0x88, b"\x2A\x03")], &[]).unwrap();
    assert!(other.check(&Name::Other(0x88)).is_err());
    assert!(other.check(&Name::Other(0xA0)).is_ok());
    assert!(other.check(&Name::Dns("a.example")).is_ok());
}

#[test]
fn a_common_name_that_looks_like_a_host_name_is_one() {
    for text in ["host.example", "*.host.example", "HOST.example.", "a_b.example", "10.1.2.3"] {
        assert!(looks_like_dns(text), "{text}");
    }
    for text in ["Acme Licence Root", "localhost", "a..b", ".a", "Acme, Inc.", "bücher.example"] {
        assert!(!looks_like_dns(text), "{text}");
    }
}

#[test]
fn the_host_of_a_uri_is_what_stands_between_user_and_port() {
    for (uri, host) in [
        ("https://A.example:1/b@c", Some("a.example")),
        ("https://u:p@a.example", Some("a.example")),
        ("https://a.example?b@c.example", Some("a.example")),
        ("https://a@b@c.example/", Some("c.example")),
        ("https://10.0.0.1", None),
        ("https:///x", None),
        ("mailto:a@b.example", None),
    ] {
        assert_eq!(host_of(uri).as_deref(), host, "{uri}");
    }
}

#[test]
fn restrictions_add_up() {
    let inner = |purposes: &[&Oid]| {
        let purposes = vec![Arc::new(purposes.iter().copied().cloned().collect())];
        Restrictions(Some(Arc::new(Inner { names: Vec::new(), purposes })))
    };
    let [first, second, third] = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.4"]
        .map(|text| Oid::parse(text).unwrap());
    let both = inner(&[&first, &second]).and(&inner(&[&second, &third]));
    let mut data = fixtures::generic_ca();
    let name = subject("Acme", "CA");
    // No purpose is every purpose that the CAs have.
    data.extended_key_usage.clear();
    assert_eq!(both.allow(&name, &data), Ok(()));
    for (purposes, allowed) in [
        (vec![second.clone()], true),
        (vec![first], false),
        (vec![second, third], false),
        (vec![oid::ANY_EXTENDED_KEY_USAGE.into()], false),
    ] {
        data.extended_key_usage = purposes;
        assert_eq!(both.allow(&name, &data).is_ok(), allowed);
        assert_eq!(both.and(&Restrictions::default()).allow(&name, &data).is_ok(), allowed);
        assert_eq!(Restrictions::default().and(&both).allow(&name, &data).is_ok(), allowed);
    }
}
