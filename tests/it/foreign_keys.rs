//! Keys that other tools have put on the token, in the ways that they do: ids in common, no ids, public
//! objects twice or not at all, certificates in their place.

use serde_json::Value;

use crate::{
    appliance::{Appliance, Daemon, KMS, key_label},
    load::{csr, leaf},
};

/// An appliance with key pairs in files, `a` and `b`.
fn with_files() -> Appliance {
    let appliance = Appliance::new();
    appliance.shell(
        "for n in a b; do openssl ecparam -name prime256v1 -genkey -noout -outform DER -out $n.der
             openssl ec -inform DER -in $n.der -pubout -outform DER -out $n.pub
             openssl ec -inform DER -in $n.der -out $n.pem
             openssl req -x509 -new -key $n.pem -subj /CN=$n -days 9 -outform DER -out $n.crt
         done 2>/dev/null",
    );
    appliance
}

/// An object of a file; `label` and `id` may be empty.
fn put(appliance: &Appliance, file: &str, label: &str, id: &str) {
    let kind = match file.rsplit_once('.').unwrap().1 {
        "der" => "privkey --usage-sign",
        "pub" => "pubkey",
        _ => "cert",
    };
    let given = |option: &str, value: &str| match value {
        "" => String::new(),
        value => format!("--{option} {value}"),
    };
    let label = if label.is_empty() { String::new() } else { key_label(label) };
    let (label, id) = (given("label", &label), given("id", id));
    appliance.pkcs11_tool(&format!("--write-object {file} --type {kind} {label} {id}"));
}

/// The public key of a path is that of the file, and it signs.
#[track_caller]
fn serves(appliance: &Appliance, daemon: &Daemon, name: &str, file: &str) {
    let route = format!("/v1/{KMS}.{name}/kms-service-api/keys?format=pem");
    let shown = daemon.client.get(&route).ok().json;
    let expected = appliance.shell(&format!("openssl pkey -pubin -inform DER -in {file}.pub"));
    assert_eq!(shown["publicKeyPem"], Value::from(expected), "{name}");
    daemon.client.issue("csrs", &csr(name)).ok();
    daemon.client.issue("certificate", &leaf(name, "Example Leaf")).ok();
}

/// Private, public and other objects: file, label, id; and the keys that serve, each with its file.
#[test]
fn a_key_serves_wherever_its_label_or_its_id_or_a_certificate_says_which_it_is() {
    type Objects<'a> = &'a [(&'a str, &'a str, &'a str)];
    let ways: [(&str, Objects<'_>, &[(&str, &str)]); 7] = [
        (
            "ids in common",
            &[
                ("a.der", "one", "01"),
                ("a.pub", "one", "01"),
                ("b.der", "two", "01"),
                ("b.pub", "two", "01"),
            ],
            &[("one", "a"), ("two", "b")],
        ),
        (
            "no ids",
            &[
                ("a.der", "one", ""),
                ("a.pub", "one", ""),
                ("b.der", "two", ""),
                ("b.pub", "two", ""),
            ],
            &[("one", "a"), ("two", "b")],
        ),
        ("ids that do not fit", &[("a.der", "one", "01"), ("a.pub", "one", "02")], &[("one", "a")]),
        (
            "ids that fit another",
            &[
                ("a.der", "one", "01"),
                ("a.pub", "one", "02"),
                ("b.der", "two", "02"),
                ("b.pub", "two", "01"),
            ],
            &[("one", "a"), ("two", "b")],
        ),
        (
            "the public object twice",
            &[
                ("a.der", "one", "01"),
                ("a.pub", "one", "01"),
                ("a.pub", "one", "01"),
                ("a.pub", "one", "02"),
            ],
            &[("one", "a")],
        ),
        (
            "a public object without a label",
            &[("a.der", "one", "01"), ("a.pub", "", "01")],
            &[("one", "a")],
        ),
        (
            "a certificate and no public object",
            &[("a.der", "one", "01"), ("a.crt", "", "01")],
            &[("one", "a")],
        ),
    ];
    for (way, objects, keys) in ways {
        let appliance = with_files();
        for (file, label, id) in objects {
            put(&appliance, file, label, id);
        }
        let daemon = appliance.start();
        println!("{way}");
        for (name, file) in keys {
            serves(&appliance, &daemon, name, file);
        }
    }
}

#[test]
fn a_key_without_a_label_is_adopted_by_its_id() {
    let appliance = with_files();
    put(&appliance, "a.der", "", "0a01");
    put(&appliance, "a.crt", "", "0a01");
    put(&appliance, "b.der", "", "0a02");
    put(&appliance, "b.crt", "", "0a02");
    appliance.configure(|text| {
        let labels = "labels = { java-a = \"cka-id:0a01\", java-b = \"cka-id:0a02\" }";
        text.replace("type = \"kms\"", &format!("type = \"kms\"\n{labels}"))
    });
    for _ in 0..2 {
        let daemon = appliance.start();
        serves(&appliance, &daemon, "java-a", "a");
        serves(&appliance, &daemon, "java-b", "b");
        let listed = daemon.client.get(&format!("/v1/{KMS}/kms-service-api/keys")).ok().text;
        assert!(listed.contains("java-a") && listed.contains("java-b"), "{listed}");
        daemon.stop();
    }
}

#[test]
fn what_only_an_operator_can_end_is_not_called_an_outage() {
    let appliance = with_files();
    // Two public keys; none; one id for two private keys and nothing else.
    put(&appliance, "a.der", "two-halves", "01");
    put(&appliance, "a.pub", "two-halves", "02");
    put(&appliance, "b.pub", "two-halves", "03");
    put(&appliance, "a.der", "no-half", "04");
    put(&appliance, "a.der", "shared-a", "05");
    put(&appliance, "b.der", "shared-b", "05");
    put(&appliance, "a.pub", "", "05");
    let daemon = appliance.start();
    for name in ["two-halves", "no-half", "shared-a", "shared-b"] {
        let answer = daemon.client.issue("csrs", &csr(name));
        assert_eq!(answer.status, 500, "{name}: {}", answer.json);
        assert!(answer.header("retry-after").is_none(), "{name}");
        let path = key_label(name);
        let message = format!("key {path} is ambiguous on its token; an operator must resolve it");
        assert_eq!(answer.json["message"], Value::from(message));
        assert!(daemon.log().contains("unbound: "), "{name}");
    }
}
