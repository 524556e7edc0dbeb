//! At the edge of what is allowed nothing breaks: what the fields may hold, the certificate can.

use serde_json::json;

use crate::{
    appliance::key,
    refusals::{
        bench::Bench,
        request::{Ask, csr, document_signer, iaca, leaf, root},
    },
};

#[test]
fn the_longest_and_strangest_names_are_issued() {
    let mut bench = Bench::new();
    for text in ["\u{20bb7}", "ß", "\u{e9}x", "a\"b\\c,d+e=f;<g>#h", "0"] {
        let long = |count: usize| text.chars().cycle().take(count).collect::<String>();
        let name = |ask: Ask, place: &str| {
            [("commonName", 64), ("organizationName", 64), ("stateOrProvinceName", 128)]
                .into_iter()
                .fold(ask, |ask, (member, count)| {
                    ask.set(&format!("{place}/{member}"), long(count))
                })
        };
        bench.accepted(&name(iaca(), "/certificateData"));
        let subject = "/certificateData/subjectName";
        let generic = name(leaf(), subject)
            .set(&format!("{subject}/localityName"), long(128))
            .set(&format!("{subject}/organizationalUnitName"), long(64));
        bench.accepted(&generic);
        bench.accepted(&name(csr(), "/subjectName"));
    }
    bench.verdict();
}

#[test]
fn every_lawful_address_usage_and_purpose_is_issued() {
    let mut bench = Bench::new();
    let path = |scheme: &str| format!("{scheme}://h/{}", "x".repeat(2_000));
    let contact = "/certificateData/issuerAlternativeNameConf";
    let point = "/certificateData/crlDistributionPointUri";
    for uri in
        ["urn:oid:1.0.18013.5.1.7", "mailto:a@b", "tel:+31", "ldap://x/y?z", "x:y", "HTTP://H"]
    {
        bench.accepted(&iaca().set(contact, json!({ "uri": uri })));
        bench.accepted(
            &leaf().set("/certificateData/subjectAlternativeNames", json!({ "uris": [uri] })),
        );
    }
    for uri in
        ["http://[2001:db8::1]:8080/a?b=c#d", "https://a.b:1/%20", "HTTPS://A", "http://1.2.3.4"]
    {
        bench.accepted(&iaca().set(point, uri));
        bench.accepted(&document_signer().set(point, uri));
        bench.accepted(&leaf().set(point, uri));
    }
    bench.accepted(&iaca().set(point, path("https")).set(contact, json!({ "uri": path("urn") })));
    bench.accepted(
        &iaca().set(contact, json!({ "email": format!("{}@b.example", "a".repeat(64)) })),
    );
    let names = json!({
        "dnsNames": ["*.a.example", "xn--bcher-kva.example", "a", &"a.".repeat(120)[..239]],
        "uris": ["urn:a:b"],
        "emails": ["a+b.c@d.example"],
        "ipAddresses": ["0.0.0.0", "::", "::1:192.0.2.1", "2001:DB8::1"],
    });
    bench.accepted(&leaf().set("/certificateData/subjectAlternativeNames", names.clone()));
    bench.accepted(&csr().set("/subjectAlternativeNames", names));
    bench.accepted(&csr().set("/subjectAlternativeNames", json!({ "dnsNames": [] })));
    let usages = ["DigitalSignature", "NonRepudiation", "KeyAgreement", "CRLSign", "EncipherOnly"];
    bench.accepted(&leaf().set("/certificateData/keyUsage", json!(usages)));
    bench.accepted(
        &leaf().set("/certificateData/keyUsage", json!(["DecipherOnly", "KeyAgreement"])),
    );
    let enciphers = ["DigitalSignature", "KeyEncipherment", "DataEncipherment"];
    bench.accepted(
        &leaf()
            .set("/subjectPublicKeySource/keyDescriptor", key("rsa2048"))
            .set("/certificateData/keyUsage", json!(enciphers)),
    );
    let mut every = usages.to_vec();
    every.push("KeyCertSign");
    bench.accepted(&root("root-secp256r1").set("/certificateData/keyUsage", json!(every)));
    let purposes = "/certificateData/extendedKeyUsageOids";
    let oids = [
        "2.5.29.37.0",
        "1.3.6.1.5.5.7.3.8",
        "0.0",
        "2.16.840.1",
        "1.3.6.1.4.1.4294967295",
        "2.999.1",
        "2.40.1",
        "1.3.6.1.4.1.4294967296",
        "2.25.329800735698586629295641978511506172918",
    ];
    bench.accepted(&leaf().set(purposes, json!(oids)));
    bench.accepted(&root("root-secp256r1").set(purposes, json!(["1.3.6.1.5.5.7.3.1"])));
    bench.accepted(&leaf().set(purposes, json!([])));
    bench.verdict();
}

#[test]
fn every_type_of_key_issues_what_it_may() {
    let mut bench = Bench::new();
    let place = "/subjectPublicKeySource/keyDescriptor";
    for name in ["iaca-secp384r1", "iaca-secp521r1", "tls-secp256r1"] {
        bench.accepted(&csr().set("/subjectKeyDescriptor", key(name)));
        bench.accepted(&leaf().set(place, key(name)));
        bench.accepted(&iaca().set("/iacaKeyDesc", key(name)));
        bench.accepted(&document_signer().set("/iacaSigner/iacaKeyDesc", key("iaca-secp256r1")));
    }
    for name in ["rsa2048", "root-rsa3072", "root-rsa4096"] {
        bench.accepted(&csr().set("/subjectKeyDescriptor", key(name)));
        bench.accepted(&leaf().set(place, key(name)));
    }
    for name in ["root-rsa3072", "root-rsa4096", "root-secp256r1"] {
        bench.accepted(&root(name));
    }
    bench.verdict();
}
