//! Keys over the API: made, taken in, listed, read, deleted, and what is refused.

use std::{thread, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::appliance::{
    Answer, Appliance, Client, Daemon, KMS, SERVICE, SOON, generic_ca, key, signal, until,
};

fn daemon() -> (Appliance, Daemon) {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    (appliance, daemon)
}

fn with_import() -> (Appliance, Daemon) {
    let appliance = Appliance::new();
    appliance.declare("[dev]\nimport_keys = true");
    let daemon = appliance.start();
    (appliance, daemon)
}

fn route(path: &str) -> String {
    format!("/v1/{path}/kms-service-api/keys")
}

fn generate(client: &Client, name: &str, key_type: &str) -> Answer {
    let body = json!({ "backend": "jwk", "keyType": key_type }).to_string();
    client.post(&format!("{}/generate", route(&format!("{KMS}.{name}"))), &body)
}

fn import(client: &Client, name: &str, jwk: &Value) -> Answer {
    client.post(&format!("{}/import/jwk", route(&format!("{KMS}.{name}"))), &jwk.to_string())
}

fn delete(client: &Client, path_and_query: &str) -> Answer {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    client.send("DELETE", &format!("{}{query}", route(path)), &[], "").unwrap()
}

#[track_caller]
fn created(answer: Answer) -> Value {
    assert_eq!(answer.status, 201, "{}", answer.json);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json
}

#[track_caller]
fn refused(answer: Answer, status: u16, words: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.json);
    let message = answer.json["message"].as_str().unwrap_or_default();
    assert!(message.contains(words), "{message}");
    if status != 409 {
        assert!(!message.contains("already exists"), "{message}");
    }
    answer.json
}

#[track_caller]
fn duplicate(answer: Answer, name: &str) {
    let body = refused(answer, 409, "already exists");
    let target = format!("{KMS}.{name}");
    assert_eq!(body["message"], format!("target already exists: {target}"));
    assert_eq!(body["type"], "DuplicateTarget");
    assert_eq!(body["status"], 409);
    assert_eq!(body["target"], target);
    assert_eq!(body["target_entry_type"], "key");
    assert_eq!(body["id"], "ConflictException");
}

fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// A request that only needs a signature of the key.
fn csr(name: &str) -> Value {
    json!({
        "type": "generic", "subjectName": { "commonName": "x" }, "subjectKeyDescriptor": key(name),
    })
}

/// The private JWK of a key that openssl makes.
fn private_jwk(appliance: &Appliance, curve: &str) -> Value {
    let text = appliance.shell(&format!(
        "openssl ecparam -name {curve} -genkey -noout | openssl ec -text -noout 2>/dev/null"
    ));
    let (crv, octets) = match curve {
        "prime256v1" => ("P-256", 32),
        "secp384r1" => ("P-384", 48),
        "secp256k1" => ("secp256k1", 32),
        _ => ("P-521", 66),
    };
    let hex = |from: &str, to: &str| -> Vec<u8> {
        let part = text.split_once(from).unwrap().1.split_once(to).unwrap().0;
        let digits: String = part.chars().filter(char::is_ascii_hexdigit).collect();
        (0..digits.len() / 2)
            .map(|index| u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).unwrap())
            .collect()
    };
    let d = hex("priv:", "pub:");
    let point = hex("pub:", "ASN1");
    let mut scalar = vec![0; octets];
    let d = &d[d.len().saturating_sub(octets)..];
    scalar[octets - d.len()..].copy_from_slice(d);
    let text = |octets: &[u8]| URL_SAFE_NO_PAD.encode(octets);
    json!({
        "kty": "EC", "crv": crv,
        "x": text(&point[1..=octets]), "y": text(&point[1 + octets..]), "d": text(&scalar),
    })
}

fn rsa_jwk(appliance: &Appliance) -> Value {
    let der = appliance.shell(
        "openssl genrsa -traditional 2048 2>/dev/null | openssl rsa -outform DER -traditional \
         2>/dev/null | openssl asn1parse -inform DER | sed 's/.*INTEGER *://'",
    );
    let numbers: Vec<_> = der
        .lines()
        .skip(1)
        .map(|hex| {
            let octets: Vec<u8> = (0..hex.len() / 2)
                .map(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap())
                .collect();
            URL_SAFE_NO_PAD.encode(octets)
        })
        .collect();
    let [_, n, e, d, p, q, dp, dq, qi] = numbers.as_slice() else { panic!("{der}") };
    json!({ "kty": "RSA", "n": n, "e": e, "d": d, "p": p, "q": q, "dp": dp, "dq": dq, "qi": qi })
}

#[test]
fn a_key_of_every_type_is_made_shown_and_issued_with_at_once() {
    let (appliance, daemon) = daemon();
    // Both signers are up before the first key is made.
    assert!(until(SOON, || (daemon.signers().len() == 2).then_some(())).is_some());
    for (key_type, kty, crv) in [
        ("secp256r1", "EC", "P-256"),
        ("secp384r1", "EC", "P-384"),
        ("secp521r1", "EC", "P-521"),
        ("RSA", "RSA", ""),
        ("RSA3072", "RSA", ""),
        ("RSA4096", "RSA", ""),
    ] {
        let name = format!("new-{key_type}");
        let made = created(generate(&daemon.client, &name, key_type));
        assert_eq!(members(&made), ["backend", "extractable", "key", "keyIdPath", "keyType"]);
        assert_eq!(made["keyIdPath"], format!("{KMS}.{name}"));
        assert_eq!(made["keyType"], key_type);
        assert_eq!(made["backend"], "pkcs11");
        assert_eq!(made["extractable"], false);
        assert_eq!(made["key"]["type"], "jwk");
        let jwk = &made["key"]["jwk"];
        assert_eq!(jwk["kty"], kty);
        if crv.is_empty() {
            assert_eq!(members(jwk), ["e", "kid", "kty", "n"]);
        } else {
            assert_eq!(members(jwk), ["crv", "kid", "kty", "x", "y"]);
            assert_eq!(jwk["crv"], crv);
        }
        assert_eq!(jwk["kid"].as_str().map(str::len), Some(43));
        assert_eq!(daemon.client.get(&route(&format!("{KMS}.{name}"))).ok().json, made);
        // Several at once, so that both signers have to know the key.
        let signing: Vec<_> = (0..6)
            .map(|_| {
                let (client, name) = (daemon.client.clone(), name.clone());
                thread::spawn(move || {
                    let body = csr(&name);
                    client.issue("csrs", &body)
                })
            })
            .collect();
        for answer in signing {
            answer.join().unwrap().ok();
        }
        duplicate(generate(&daemon.client, &name, "secp256r1"), &name);
    }
    // What the token itself says of them.
    let objects = appliance.pkcs11_tool("--list-objects --type privkey");
    let mut seen = 0;
    for object in objects.split("Private Key Object").filter(|text| text.contains(".new-")) {
        assert!(
            object.contains("sensitive, always sensitive, never extractable, local"),
            "{object}"
        );
        let usage = object.lines().find(|line| line.contains("Usage:")).unwrap();
        assert!(usage.contains("sign"), "{object}");
        seen += 1;
    }
    assert_eq!(seen, 6);
    assert_eq!(daemon.signers().len(), 2);
}

#[test]
fn keys_are_listed_by_path_with_those_of_table_and_template_and_read_as_pem() {
    let appliance = Appliance::new();
    appliance.declare(
        "[[services]]\npath = \"test.tenant1.kms2\"\ntype = \"kms\"\n\
         label_template = \"old/{key}\"\n[services.labels]\nroot = \"Root G1\"\ngone = \"Gone\"\n",
    );
    appliance.generate_key("'Root G1'", "0a01", "EC:prime256v1");
    appliance.generate_key("old/b", "0a02", "EC:secp384r1");
    appliance.generate_key("old/twin", "0a03", "EC:prime256v1");
    appliance.generate_key("old/twin", "0a04", "EC:prime256v1");
    appliance.generate_key("old/halved", "0a05", "EC:prime256v1");
    appliance.pkcs11_tool("--delete-object --type pubkey --id 0a05");
    appliance.generate_key("'old/no key'", "0a06", "EC:prime256v1");
    let daemon = appliance.start();
    let listed = daemon.client.get(&route("test.tenant1.kms2")).ok().json;
    let paths = |listed: &Value| -> Vec<String> {
        let keys = listed.as_array().unwrap().iter();
        keys.map(|key| key["keyIdPath"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(paths(&listed), ["test.tenant1.kms2.b", "test.tenant1.kms2.root"]);
    assert_eq!(listed[0]["keyType"], "secp384r1");

    created(generate(&daemon.client, "zz", "secp256r1"));
    created(generate(&daemon.client, "00", "secp256r1"));
    let listed = daemon.client.get(&route(KMS)).ok().json;
    let names = paths(&listed);
    assert!(names.is_sorted() && names.len() > 2, "{names:?}");
    assert_eq!(names.first().unwrap(), &format!("{KMS}.00"));
    assert_eq!(names.last().unwrap(), &format!("{KMS}.zz"));

    let pem = daemon.client.get(&format!("{}?format=pem", route(&format!("{KMS}.zz")))).ok().json;
    assert_eq!(members(&pem), ["keyIdPath", "publicKeyPem"]);
    let text = pem["publicKeyPem"].as_str().unwrap();
    assert!(
        text.starts_with("-----BEGIN PUBLIC KEY-----\n") && text.ends_with("-----\n"),
        "{text}"
    );
    std::fs::write(appliance.path("zz.pem"), text).unwrap();
    appliance.shell("openssl pkey -pubin -in zz.pem -noout");

    // Adopted keys stay; ambiguous ones are said to be so.
    refused(delete(&daemon.client, "test.tenant1.kms2.root"), 403, "managed on the token");
    refused(delete(&daemon.client, "test.tenant1.kms2.b?force=true"), 403, "managed on the token");
    refused(daemon.client.get(&route("test.tenant1.kms2.twin")), 500, "ambiguous");
    refused(daemon.client.get(&route("test.tenant1.kms2.gone")), 404, "not found");
}

#[test]
fn what_is_no_generation_is_refused() {
    let (appliance, daemon) = daemon();
    let before = appliance.pkcs11_tool("--list-objects").matches("Key Object").count();
    for name in ["secp256k1", "Ed25519", "P-256", "rsa"] {
        let body = refused(generate(&daemon.client, "x", name), 400, "is not supported");
        assert_eq!(body["message"], format!("key type {name} is not supported"));
        assert_eq!(body["field"], "/keyType");
    }
    let post =
        |path: &str, body: &str| daemon.client.post(&format!("{}/generate", route(path)), body);
    let key = format!("{KMS}.x");
    refused(post(&key, "{}"), 400, "keyType is required");
    refused(post(&key, r#"{"keyType": 1}"#), 400, "must be a string");
    refused(post(&key, r#"{"keyType":"secp256r1","size":2}"#), 400, "unknown member 'size'");
    refused(post(&key, "nonsense"), 400, "not JSON");
    refused(post(KMS, r#"{"keyType":"secp256r1"}"#), 404, "does not exist");
    refused(post(&format!("{SERVICE}.x"), r#"{"keyType":"secp256r1"}"#), 404, "is an x509-service");
    refused(post("test.tenant1.none.x", r#"{"keyType":"secp256r1"}"#), 404, "does not exist");
    // Any backend will do.
    for (name, backend) in [("b1", "\"tse\""), ("b2", "null"), ("b3", "{\"a\":[1]}")] {
        let body = format!(r#"{{"backend":{backend},"keyType":"secp256r1"}}"#);
        assert_eq!(created(post(&format!("{KMS}.{name}"), &body))["backend"], "pkcs11");
    }
    let after = appliance.pkcs11_tool("--list-objects").matches("Key Object").count();
    assert_eq!(after, before + 6);
}

#[test]
fn queries_and_methods_that_are_not_there_are_refused() {
    let (_appliance, daemon) = daemon();
    created(generate(&daemon.client, "q", "secp256r1"));
    let path = format!("{KMS}.q");
    let get = |query: &str| daemon.client.get(&format!("{}?{query}", route(&path)));
    refused(get("format=der"), 400, "format");
    refused(get("colour=red"), 400, "colour");
    refused(get("format=pem&format=pem"), 400, "twice");
    refused(daemon.client.get(&format!("{}?format=pem", route(KMS))), 400, "format");
    refused(delete(&daemon.client, &format!("{path}?force=yes")), 400, "force");
    refused(delete(&daemon.client, &format!("{path}?really=true")), 400, "really");
    let answer = delete(&daemon.client, KMS);
    assert_eq!(answer.header("allow"), Some("GET"));
    refused(answer, 405, "use GET");
    refused(daemon.client.post(&route(&path), "{}"), 405, "use GET, DELETE");
    daemon.client.get(&route(&path)).ok();
}

#[test]
fn nobody_without_a_grant_learns_what_exists() {
    let (appliance, daemon) = daemon();
    drop(daemon);
    appliance.declare(
        "[[clients]]\nname = \"reader\"\nsubject = \"CN=reader\"\n\
         grants = [{ path = \"test\", permissions = [\"kms:read\"] }]",
    );
    let certificate = appliance.client_certificate("reader", "/CN=reader", "");
    let daemon = appliance.start();
    created(generate(&daemon.client, "k", "secp256r1"));
    let reader = daemon.client_with(&appliance, &certificate);
    reader.get(&route(KMS)).ok();
    for name in ["k", "none"] {
        refused(generate(&reader, name, "secp256r1"), 403, "has no kms:generate");
        refused(import(&reader, name, &json!({})), 403, "has no kms:import");
        refused(delete(&reader, &format!("{KMS}.{name}")), 403, "has no kms:delete");
    }
}

#[test]
fn a_deleted_key_is_gone_and_its_path_is_free_for_another() {
    let (appliance, daemon) = daemon();
    let first = created(generate(&daemon.client, "gone", "secp256r1"));
    let path = format!("{KMS}.gone");
    daemon.client.issue("certificate", &generic_ca("gone", "Gone CA")).ok();
    let body = refused(delete(&daemon.client, &path), 409, "used by 1 valid CA certificate");
    assert_eq!(body["status"], "Conflict");
    refused(delete(&daemon.client, &format!("{path}?force=false")), 409, "valid CA");
    daemon.client.issue("csrs", &csr("gone")).ok();

    let deleted = delete(&daemon.client, &format!("{path}?force=true")).ok();
    assert_eq!(deleted.json, json!({ "deleted": path }));
    refused(daemon.client.get(&route(&path)), 404, "not found");
    refused(delete(&daemon.client, &path), 404, "not found");
    for _ in 0..4 {
        let answer = daemon.client.issue("certificate", &generic_ca("gone", "Gone CA"));
        refused(answer, 404, "not found");
    }
    assert!(!appliance.pkcs11_tool("--list-objects").contains(".gone"));
    let pins = format!("select count(*) from key_pins where path = '{path}'");
    assert_eq!(appliance.count(&pins), 0);

    // The next key under the path is another key, and used at once.
    let second = created(generate(&daemon.client, "gone", "secp256r1"));
    assert_ne!(first["key"], second["key"]);
    daemon.client.issue("csrs", &csr("gone")).ok();
    // It has no CA certificate: those of the first go by its public key.
    delete(&daemon.client, &path).ok();
    assert_eq!(appliance.count("select count(*) from key_changes"), 0);
    daemon.stop();
    let daemon = appliance.start();
    refused(daemon.client.get(&route(&path)), 404, "not found");
}

#[test]
fn import_is_off_unless_it_is_on() {
    let (appliance, daemon) = daemon();
    let jwk = private_jwk(&appliance, "prime256v1");
    refused(import(&daemon.client, "in", &jwk), 403, "key import is disabled");
    refused(import(&daemon.client, "in", &json!({})), 403, "key import is disabled");
    assert!(daemon.client.get("/healthz").ok().json.get("warnings").is_none());
    drop(daemon);
    // `--dev` plays no part.
    let daemon = appliance.start_with(&["--dev"]);
    refused(import(&daemon.client, "in", &jwk), 403, "key import is disabled");
}

#[test]
fn one_jwk_under_two_ids_is_two_keys_that_sign() {
    let (appliance, daemon) = with_import();
    assert!(daemon.log().contains("dev.import_keys"));
    let health = daemon.client.get("/healthz").ok().json;
    assert!(health["warnings"][0].as_str().unwrap().contains("dev.import_keys"), "{health}");

    let mut jwk = private_jwk(&appliance, "prime256v1");
    jwk["kid"] = "legacy-2019".into();
    jwk["use"] = "sig".into();
    let one = created(import(&daemon.client, "one", &jwk));
    assert_eq!(members(&one), ["backend", "extractable", "key", "keyIdPath", "keyType"]);
    assert_eq!(members(&one["key"]["jwk"]), ["crv", "kid", "kty", "x", "y"]);
    assert_eq!(one["key"]["jwk"]["kid"], "legacy-2019");
    assert_eq!(one["key"]["jwk"]["x"], jwk["x"]);
    assert_eq!((&one["keyType"], &one["backend"]), (&json!("secp256r1"), &json!("pkcs11")));
    let two = created(import(&daemon.client, "two", &jwk));
    assert_eq!(two["key"], one["key"]);
    duplicate(import(&daemon.client, "one", &jwk), "one");
    duplicate(import(&daemon.client, "one", &private_jwk(&appliance, "secp384r1")), "one");
    duplicate(generate(&daemon.client, "one", "secp256r1"), "one");
    for name in ["one", "two"] {
        daemon.client.issue("csrs", &csr(name)).ok();
        let shown = daemon.client.get(&route(&format!("{KMS}.{name}"))).ok().json;
        assert_eq!(shown["key"]["jwk"]["x"], jwk["x"]);
        assert_eq!(shown["extractable"], false);
    }
    // Each goes by itself.
    delete(&daemon.client, &format!("{KMS}.one")).ok();
    daemon.client.issue("csrs", &csr("two")).ok();

    for curve in ["secp384r1", "secp521r1"] {
        let jwk = private_jwk(&appliance, curve);
        assert_eq!(created(import(&daemon.client, curve, &jwk))["keyType"], curve);
    }
    assert_eq!(created(import(&daemon.client, "rsa", &rsa_jwk(&appliance)))["keyType"], "RSA");
    let objects = appliance.pkcs11_tool("--list-objects --type privkey");
    for name in ["two", "secp384r1", "secp521r1", "rsa"] {
        let label = format!("{KMS}.{name}\n");
        let object = objects.split("Private Key Object").find(|text| text.contains(&label));
        let access = object.unwrap().lines().find(|line| line.contains("Access:")).unwrap();
        assert!(access.contains("sensitive") && !access.contains("local"), "{access}");
    }
    // Nothing of the private half is in log or ledger.
    let secret = jwk["d"].as_str().unwrap();
    assert!(!daemon.log().contains(secret));
    daemon.stop();
    let ledger = std::fs::read(appliance.path("ledger.sqlite")).unwrap();
    assert!(!ledger.windows(secret.len()).any(|window| window == secret.as_bytes()));
}

#[test]
fn what_is_no_private_key_is_not_imported() {
    let (appliance, daemon) = with_import();
    let good = private_jwk(&appliance, "prime256v1");
    let with = |member: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[member] = value;
        jwk
    };
    let other = private_jwk(&appliance, "prime256v1");
    let mut public = good.clone();
    public.as_object_mut().unwrap().remove("d");
    refused(import(&daemon.client, "bad", &public), 400, "jwk has no private part");
    refused(import(&daemon.client, "bad", &json!({})), 400, "jwk has no private part");
    refused(import(&daemon.client, "bad", &json!([1])), 400, "must be an object");
    refused(import(&daemon.client, "bad", &with("y", good["x"].clone())), 400, "not on P-256");
    refused(import(&daemon.client, "bad", &with("d", other["d"].clone())), 400, "do not match");
    let short = refused(import(&daemon.client, "bad", &with("d", "AQ".into())), 400, "octets");
    assert_eq!(short["field"], "/d");
    refused(import(&daemon.client, "bad", &with("d", "~~~".into())), 400, "base64url");
    refused(import(&daemon.client, "bad", &with("kid", 7.into())), 400, "kid must be a string");
    let koblitz = private_jwk(&appliance, "secp256k1");
    refused(import(&daemon.client, "bad", &koblitz), 400, "key type secp256k1 is not supported");
    let edwards = json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA" });
    refused(import(&daemon.client, "bad", &edwards), 400, "key type Ed25519 is not supported");
    let mut rsa = rsa_jwk(&appliance);
    rsa["n"] = rsa_jwk(&appliance)["n"].take();
    refused(import(&daemon.client, "bad", &rsa), 400, "do not match");
    assert!(!appliance.pkcs11_tool("--list-objects").contains(".bad"));
    assert_eq!(appliance.count("select count(*) from key_pins"), 0);
}

#[test]
fn fifty_at_once_make_one_key() {
    let (appliance, daemon) = daemon();
    let racing: Vec<_> = (0..50)
        .map(|_| {
            let client = daemon.client.clone();
            thread::spawn(move || generate(&client, "race", "secp256r1"))
        })
        .collect();
    let mut made = 0;
    for answer in racing {
        let answer = answer.join().unwrap();
        match answer.status {
            201 => made += 1,
            _ => duplicate(answer, "race"),
        }
    }
    assert_eq!(made, 1);
    let objects = appliance.pkcs11_tool("--list-objects");
    assert_eq!(objects.matches(&format!("{KMS}.race\n")).count(), 2, "a private and a public half");
}

#[test]
fn signing_goes_on_while_keys_are_made() {
    let (_appliance, daemon) = daemon();
    created(generate(&daemon.client, "load", "secp256r1"));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let signing: Vec<_> = (0..4)
        .map(|_| {
            let (client, stop) = (daemon.client.clone(), std::sync::Arc::clone(&stop));
            thread::spawn(move || {
                let body = csr("load");
                let mut signed = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    client.issue("csrs", &body).ok();
                    signed += 1;
                }
                signed
            })
        })
        .collect();
    let signers = daemon.signers();
    for round in 0..6 {
        let name = format!("load-{round}");
        created(generate(&daemon.client, &name, if round == 3 { "RSA4096" } else { "secp256r1" }));
        if round % 2 == 0 {
            delete(&daemon.client, &format!("{KMS}.{name}")).ok();
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let signed: Vec<u32> = signing.into_iter().map(|thread| thread.join().unwrap()).collect();
    println!("signed during six generations: {signed:?}");
    assert!(signed.iter().all(|count| *count > 0));
    assert_eq!(daemon.signers(), signers);
}

#[test]
fn a_signer_killed_while_it_makes_a_key_leaves_one_at_most_and_an_honest_answer() {
    let (appliance, daemon) = daemon();
    for round in 0..4 {
        daemon.wait_until_ready();
        assert!(until(SOON, || (daemon.signers().len() == 2).then_some(())).is_some());
        let name = format!("killed-{round}");
        let asking = {
            let (client, name) = (daemon.client.clone(), name.clone());
            thread::spawn(move || generate(&client, &name, "RSA4096"))
        };
        thread::sleep(Duration::from_millis(150 + 100 * round));
        for pid in daemon.signers() {
            signal(pid, "KILL");
        }
        let answer = asking.join().unwrap();
        let objects = appliance.pkcs11_tool("--list-objects --type privkey");
        let label = format!("{KMS}.{name}\n");
        let on_token = objects.matches(&label).count();
        println!(
            "killed after {} ms: {}, {on_token} on the token",
            150 + 100 * round,
            answer.status
        );
        match answer.status {
            201 => {
                assert_eq!(on_token, 1);
                duplicate(generate(&daemon.client, &name, "secp256r1"), &name);
            }
            503 => {
                assert!(answer.header("retry-after").is_some());
                assert_eq!(on_token, 0, "{}", answer.json);
                let again = until(SOON, || {
                    let again = generate(&daemon.client, &name, "secp256r1");
                    (again.status != 503).then_some(again)
                });
                created(again.expect("the HSM is back"));
            }
            _ => panic!("{}", answer.json),
        }
    }
    assert_eq!(appliance.count("select count(*) from key_changes"), 0);
}

#[test]
fn every_change_is_in_the_audit_log_before_and_after() {
    let (appliance, daemon) = with_import();
    created(generate(&daemon.client, "a", "secp256r1"));
    created(import(&daemon.client, "b", &private_jwk(&appliance, "prime256v1")));
    duplicate(generate(&daemon.client, "a", "secp256r1"), "a");
    delete(&daemon.client, &format!("{KMS}.a")).ok();
    refused(delete(&daemon.client, &format!("{KMS}.none")), 404, "not found");
    let ledger = appliance.ledger();
    let mut statement = ledger.prepare("select entry from audit_entries order by idx").unwrap();
    let entries: Vec<Value> = statement
        .query_map([], |row| row.get::<_, Vec<u8>>(0))
        .unwrap()
        .map(|entry| serde_json::from_slice(&entry.unwrap()).unwrap())
        .collect();
    let told: Vec<_> = entries
        .iter()
        .filter(|entry| {
            entry["target"] == KMS
                || entry["target"].as_str().is_some_and(|target| target.starts_with(KMS))
        })
        .map(|entry| {
            (entry["type"].as_str().unwrap(), entry["detail"]["operation"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told[..4],
        [
            ("key-intent", "generate"),
            ("key-generated", "generate"),
            ("key-intent", "import"),
            ("key-imported", "import"),
        ]
    );
    assert_eq!(told[4].0, "refused");
    assert_eq!(told[5..7], [("key-intent", "delete"), ("key-deleted", "delete")]);
    assert_eq!(told[7].0, "refused");
    let made = entries.iter().find(|entry| entry["type"] == "key-generated").unwrap();
    assert_eq!(made["detail"]["keyPath"], format!("{KMS}.a"));
    assert_eq!(made["detail"]["spkiSha256"].as_str().map(str::len), Some(64));
    let started = entries.iter().find(|entry| entry["type"] == "started").unwrap();
    assert_eq!(started["detail"]["importKeys"], true);
}

#[test]
fn a_change_that_a_crash_cut_short_is_recorded_as_unresolved() {
    let (appliance, daemon) = daemon();
    let asking = {
        let client = daemon.client.clone();
        thread::spawn(move || {
            let body = json!({ "keyType": "RSA4096" }).to_string();
            client.try_post(&format!("{}/generate", route(&format!("{KMS}.cut"))), &body)
        })
    };
    let begun = || {
        (appliance.count("select count(*) from key_changes where operation = 'generate'") == 1)
            .then_some(())
    };
    assert!(until(SOON, begun).is_some());
    daemon.kill();
    let _ = asking.join().unwrap();
    let daemon = appliance.start();
    assert_eq!(appliance.count("select count(*) from key_changes"), 0);
    let unresolved = "select count(*) from audit_entries
        where entry like '%\"key-unresolved\"%' and entry like '%kms1.cut%'";
    assert_eq!(appliance.count(unresolved), 1);
    // Whatever became of it, there is one key in the end. A token that another signer has just left
    // may fail once, and says so.
    let answer = until(SOON, || {
        let answer = generate(&daemon.client, "cut", "secp256r1");
        (answer.status != 503).then_some(answer)
    });
    let answer = answer.unwrap_or_else(|| panic!("{}", daemon.log()));
    assert!(matches!(answer.status, 201 | 409), "{}", answer.json);
    let objects = appliance.pkcs11_tool("--list-objects --type privkey");
    assert_eq!(objects.matches(&format!("{KMS}.cut\n")).count(), 1);
}
