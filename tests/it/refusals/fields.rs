//! Names, addresses and times, wherever they stand.

use serde_json::json;

use super::{
    bench::Bench,
    request::{MakeAsk, Row, csr, document_signer, document_signer_csr, iaca, leaf},
};

#[test]
fn a_country_is_assigned_and_in_upper_case() {
    let mut bench = Bench::new();
    let words = "is not an upper-case ISO 3166-1 alpha-2 code";
    let places: [(MakeAsk, &str); 6] = [
        (iaca, "/certificateData/country"),
        (document_signer, "/certificateData/country"),
        (document_signer, "/iacaSigner/certificateData/country"),
        (leaf, "/certificateData/subjectName/country"),
        (csr, "/subjectName/country"),
        (document_signer_csr, "/certificateData/country"),
    ];
    let mut rows = Vec::new();
    for (ask, place) in places {
        for country in
            ["us", "Us", "XX", "UK", "EU", "USA", "U", "", "ＵＳ", "US ", "already exists"]
        {
            rows.push(ask().set(place, country).blames(
                &format!("45 {place} {country}"),
                400,
                place,
                words,
            ));
        }
    }
    bench.judge(rows);
    bench.verdict();
}

#[test]
fn an_attribute_is_neither_blank_nor_padded_nor_too_long() {
    let mut bench = Bench::new();
    let name = "/certificateData/subjectName";
    let places: Vec<(MakeAsk, String, usize)> = vec![
        (iaca, "/certificateData/commonName".into(), 64),
        (iaca, "/certificateData/organizationName".into(), 64),
        (iaca, "/certificateData/stateOrProvinceName".into(), 128),
        (document_signer, "/certificateData/commonName".into(), 64),
        (document_signer, "/certificateData/localityName".into(), 128),
        (document_signer, "/iacaSigner/certificateData/commonName".into(), 64),
        (leaf, format!("{name}/commonName"), 64),
        (leaf, format!("{name}/organizationName"), 64),
        (leaf, format!("{name}/organizationalUnitName"), 64),
        (leaf, format!("{name}/stateOrProvinceName"), 128),
        (leaf, format!("{name}/localityName"), 128),
        (csr, "/subjectName/commonName".into(), 64),
        (document_signer_csr, "/certificateData/commonName".into(), 64),
    ];
    let mut rows = Vec::new();
    for (ask, place, longest) in places {
        for (value, words) in [
            (String::new(), "must not be blank".to_owned()),
            (" ".into(), "must not be blank".into()),
            ("\u{2003}".into(), "must not be blank".into()),
            (" x".into(), "no leading or trailing white space".into()),
            ("x\u{a0}".into(), "no leading or trailing white space".into()),
            ("a\u{0}b".into(), "no control characters".into()),
            ("a\u{85}b".into(), "no control characters".into()),
            ("a\u{202e}b".into(), "U+202E is not allowed: it is a format character".into()),
            ("\u{200b}".into(), "U+200B is not allowed".into()),
            ("\u{feff}x".into(), "U+FEFF is not allowed".into()),
            ("a\u{2028}b".into(), "U+2028 is not allowed: it is a line separator".into()),
            ("a\u{e0041}".into(), "U+E0041 is not allowed".into()),
            ("a\u{ffff}".into(), "U+FFFF is not allowed: it is no character of Unicode".into()),
            ("a\u{90000}".into(), "U+90000 is not allowed".into()),
            ("\u{301}a".into(), "U+0301 may not stand first: it is a combining mark".into()),
            ("ä".repeat(longest + 1), format!("at most {longest} characters")),
            ("x".repeat(2_049), "at most 2048 characters".into()),
        ] {
            let dotted = place.trim_start_matches('/').replace('/', ".");
            let words = format!("{dotted}: {words}");
            rows.push(ask().set(&place, value).blames(&format!("46 {place}"), 400, &place, &words));
        }
    }
    bench.judge(rows);
    bench.verdict();
}

#[test]
fn addresses_are_absolute_and_ascii() {
    let mut bench = Bench::new();
    let contact = "/certificateData/issuerAlternativeNameConf";
    let described = "/iacaSigner/certificateData/issuerAlternativeNameConf";
    let mut rows = vec![
        iaca().set(contact, json!({})).blames(
            "47",
            400,
            contact,
            "issuerAlternativeNameConf needs uri or email",
        ),
        iaca().set(contact, json!({ "uri": null, "email": null })).blames(
            "47 nulls",
            400,
            contact,
            "needs uri or email",
        ),
        document_signer().set(described, json!({})).blames("47 described", 400, described, "needs"),
    ];
    let point = "/certificateData/crlDistributionPointUri";
    let described_point = "/iacaSigner/certificateData/crlDistributionPointUri";
    let places: [(MakeAsk, &str); 4] = [
        (iaca, point),
        (document_signer, point),
        (document_signer, described_point),
        (leaf, point),
    ];
    for (ask, place) in places {
        for uri in [
            "crl.example",
            "/crl",
            "ldap://host/crl",
            "ftp://host/crl",
            "http:///crl",
            "http://",
            "http:crl",
            "https://user:secret@host/",
            "http://host/a b",
            " http://host/",
            "http://höst/",
            "http://host/%zz",
            "",
        ] {
            let words = "an http or https URL with a host is required";
            rows.push(ask().set(place, uri).blames(
                &format!("48 {place} {uri}"),
                400,
                place,
                words,
            ));
        }
    }
    for (member, values) in [
        ("uri", &["iaca", "", "https://", "https://u@host/", "a b:c", "urn:", "http://ä/"][..]),
        ("email", &["", "pki", "@acme.example", "pki@", "<pki@acme.example>", "ä@acme.example"]),
    ] {
        for value in values {
            let place = format!("{contact}/{member}");
            let name = format!("48 {place} {value}");
            rows.push(iaca().set(&place, *value).blames(&name, 400, &place, "is required"));
        }
    }
    bench.judge(rows);
    bench.verdict();
}

#[test]
fn subject_alternative_names_are_strict() {
    let mut bench = Bench::new();
    let mut rows = Vec::new();
    for (ask, place) in [
        (leaf as MakeAsk, "/certificateData/subjectAlternativeNames"),
        (csr, "/subjectAlternativeNames"),
    ] {
        for (member, words, values) in [
            (
                "dnsNames",
                "is not a DNS name",
                &["", "*", "*.example", "a.*.b", "a.", ".a", "a_b.c", "192.0.2.1", "bücher.de"][..],
            ),
            (
                "dnsNames",
                "is not a DNS name",
                &["already exists", "*.internal", "xn--a", "www.xn--zzzzzzzzzzzz.example"],
            ),
            ("dnsNames", "a name occurs twice", &["a.example", "A.Example"]),
            ("emails", "a name occurs twice", &["a@b.example", "a@B.example"]),
            ("uris", "a name occurs twice", &["urn:a:b"]),
            ("ipAddresses", "a name occurs twice", &["192.0.2.17"]),
            ("ipAddresses", "IPv4-mapped", &["::ffff:10.1.2.3", "::FFFF:0a01:0203"]),
            ("emails", "e-mail address is required", &["a@xn--a.example"]),
            ("uris", "name nothing", &["javascript:alert(1)", "DATA:,x", "vbscript:x"]),
            (
                "ipAddresses",
                "is not an IP address",
                &["192.0.2", "192.0.2.0/24", "192.0.2.017", "fe80::1%eth0", "", "localhost"],
            ),
            ("emails", "e-mail address is required", &["", "a", "a@b@c", "A <a@b.c>"]),
            ("uris", "an absolute URI in ASCII is required", &["", "x", "/x", "https:///x"]),
        ] {
            for value in values {
                let field = format!("{place}/{member}/1");
                let name = format!("76 {field} {value}");
                let good = match member {
                    "dnsNames" => "a.example",
                    "ipAddresses" => "192.0.2.17",
                    "emails" => "a@b.example",
                    _ => "urn:a:b",
                };
                rows.push(
                    ask()
                        .set(place, json!({ member: [good, value] }))
                        .blames(&name, 400, &field, words),
                );
            }
        }
    }
    for (ask, place) in [
        (leaf as MakeAsk, "/certificateData/subjectAlternativeNames"),
        (csr, "/subjectAlternativeNames"),
    ] {
        let dns: Vec<_> = (0..200).map(|n| format!("h{n}.example")).collect();
        let uris: Vec<_> = (0..57).map(|n| format!("urn:a:{n}")).collect();
        rows.push(ask().set(place, json!({ "dnsNames": dns, "uris": uris })).blames(
            "76 257 names",
            400,
            place,
            "at most 256 names",
        ));
        let two = json!({ "ipAddresses": ["2001:db8::1", "2001:0DB8:0::1"] });
        let field = format!("{place}/ipAddresses/1");
        rows.push(ask().set(place, two).blames("76 spelling", 400, &field, "occurs twice"));
    }
    bench.judge(rows);
    bench.verdict();
}

#[test]
fn times_are_rfc_3339_and_in_order() {
    let mut bench = Bench::new();
    let mut rows = Vec::new();
    let end = "/certificateData/notAfter";
    for (ask, place) in [
        (iaca as MakeAsk, end),
        (iaca, "/certificateData/notBefore"),
        (document_signer, end),
        (document_signer, "/iacaSigner/certificateData/notBefore"),
        (leaf, end),
    ] {
        for time in [
            "",
            "2036-03-01",
            "2036-03-01T00:00:00",
            "2036-03-01T00:00Z",
            "2036-03-01 00:00:00Z",
            "2036-02-30T00:00:00Z",
            "2036-13-01T00:00:00Z",
            "2036-03-01T24:00:00Z",
            "2036-03-01T00:60:00Z",
            "2036-03-01T00:00:00.Z",
            "2036-03-01T00:00:00+0100",
            "2036-03-01T00:00:00+24:00",
            "2036-03-01T00:00:00Z ",
            "+2036-03-01T00:00:00Z",
            "２036-03-01T00:00:00Z",
            "2036-W09-6T00:00:00Z",
            "1767225600",
        ] {
            let name = format!("49 {place} {time}");
            rows.push(ask().set(place, time).blames(&name, 400, place, "RFC 3339 timestamp"));
        }
        for time in
            ["1949-12-31T23:59:59Z", "1950-01-01T00:30:00+01:00", "9999-12-31T23:59:59-00:01"]
        {
            let name = format!("49 {place} {time}");
            rows.push(ask().set(place, time).blames(
                &name,
                400,
                place,
                "not within the years 1950",
            ));
        }
    }
    rows.extend(periods());
    bench.judge(rows);
    bench.verdict();
}

fn periods() -> Vec<Row> {
    let (start, end) = ("/certificateData/notBefore", "/certificateData/notAfter");
    let asks: [(&str, MakeAsk); 3] = [("iaca", iaca), ("ds", document_signer), ("leaf", leaf)];
    let mut rows = Vec::new();
    for (kind, ask) in asks {
        let from_to = |from: &str, to: &str| ask().set(start, from).set(end, to);
        rows.extend([
            from_to("2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z").blames(
                &format!("50 {kind} equal"),
                400,
                end,
                "notAfter must be later than notBefore",
            ),
            from_to("2030-01-01T00:00:00.1Z", "2030-01-01T00:00:00.9Z").blames(
                &format!("50 {kind} equal after truncation"),
                400,
                end,
                "notAfter must be later than notBefore",
            ),
            from_to("2030-01-01T00:00:01Z", "2030-01-01T00:00:00Z").blames(
                &format!("50 {kind} reversed"),
                400,
                end,
                "notAfter must be later than notBefore",
            ),
            from_to("2020-01-01T00:00:00Z", "2020-06-01T00:00:00Z").blames(
                &format!("51 {kind}"),
                400,
                end,
                "notAfter lies in the past",
            ),
            ask().set(end, "2020-06-01T00:00:00Z").blames(
                &format!("51 {kind} by default start"),
                400,
                end,
                "notAfter lies in the past",
            ),
            ask().set(start, "1990-01-01T00:00:00Z").blames(
                &format!("51 {kind} by default end"),
                400,
                start,
                "give notAfter",
            ),
        ]);
    }
    // 20 times 365 days, and one second more.
    rows.push(iaca().set(start, "2030-01-01T00:00:00Z").set(end, "2049-12-27T00:00:01Z").blames(
        "52",
        400,
        end,
        "an IACA is valid for at most 7300 days",
    ));
    rows.push(iaca().set(end, "2300-01-01T00:00:00Z").blames(
        "52 from now",
        400,
        end,
        "an IACA is valid for at most 7300 days",
    ));
    // 457 days, and one second more.
    rows.push(
        document_signer()
            .set(start, "2030-01-01T00:00:00Z")
            .set(end, "2031-04-03T00:00:01Z")
            .blames("53", 400, end, "a document signer is valid for at most 457 days"),
    );
    rows.push(
        document_signer()
            .set("/iacaSigner/certificateData/notAfter", "2045-06-01T00:00:00Z")
            .blames(
                "52 described",
                400,
                "/iacaSigner/certificateData/notAfter",
                "an IACA is valid for at most 7300 days",
            ),
    );
    rows
}
