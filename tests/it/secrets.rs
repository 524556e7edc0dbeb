//! The PIN, the TLS key and private keys of requests: where they must not be.

use std::{fs, os::unix::fs::FileExt};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use crate::{
    appliance::{Appliance, Daemon, KMS, SOON, until},
    refusals::{
        bench::Bench,
        keys::{by_jwk, by_path, private_jwk, public_jwk},
        request::{Ask, csr, document_signer, iaca, leaf},
    },
};

/// Requests with the private key in right, wrong and very wrong places.
fn asks() -> Vec<Ask> {
    let jwk = private_jwk();
    let text = jwk.to_string();
    let mut broken = jwk.clone();
    broken["x"] = public_jwk()["y"].clone();
    let subject = "/subjectPublicKeySource/keyDescriptor";
    let mut asks = vec![
        iaca().set("/iacaKeyDesc", by_jwk(jwk.clone())),
        leaf().set(subject, by_jwk(text.clone().into())),
        csr().set("/subjectKeyDescriptor", by_jwk(jwk.clone())),
        document_signer().set("/dsPublicKeySource/keyDescriptor", by_jwk(jwk.clone())),
        leaf().set(subject, by_jwk(broken)),
        leaf().set(subject, by_jwk(format!("{text} x").into())),
        leaf().set(subject, by_path(&text)),
        leaf().set(subject, by_path(jwk["d"].as_str().unwrap())),
        leaf().set(subject, jwk.clone()),
        leaf().set("/subjectPublicKeySource", jwk.clone()),
        leaf().set("/certificateData/subjectName/commonName", text.clone()),
        leaf().set("/storedCertificateId", text.clone()),
        leaf().set("/issuer", jwk.clone()),
        leaf().set("/issuer/issuerCertificatePem", text.clone()),
        leaf().raw(format!("{{\"a\": {text}")),
        leaf().raw(format!("{{\"a\": {text}, \"a\": {text}}}")),
        leaf().raw(text.clone()),
        leaf().set("/certificateData/notAfter", text),
    ];
    for member in ["dsKeyDescriptor", "key"] {
        asks.push(document_signer().set(&format!("/{member}"), jwk.clone()));
    }
    asks
}

/// What must be nowhere, in every spelling that comes to mind, and what it is.
struct Secrets(Vec<(&'static str, Vec<u8>)>);

impl Secrets {
    fn of(appliance: &Appliance) -> Self {
        let mut secrets = Self(Vec::new());
        let pin = fs::read_to_string(appliance.path("pin")).unwrap().trim().to_owned();
        assert!(pin.len() >= 12);
        secrets.text("the PIN", &pin);
        // A part is as bad as the whole.
        let d = private_jwk()["d"].as_str().unwrap().to_owned();
        secrets.text("a client's private key", &d[..12]);
        secrets.octets("a client's private key", &URL_SAFE_NO_PAD.decode(&d).unwrap()[..12]);
        let pem = fs::read_to_string(appliance.path("pki/server.key")).unwrap();
        let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(&base64).unwrap();
        let scalar = scalar_of(&der);
        secrets.octets("the key of the TLS server", &scalar[..12]);
        // Four octets in, where a group of three begins: the same characters wherever it is copied.
        let at = der.windows(scalar.len()).position(|window| window == scalar).unwrap();
        let start = (at + 4).div_ceil(3) * 4;
        secrets.text("the key of the TLS server", &base64[start..start + 16]);
        secrets
    }

    fn text(&mut self, name: &'static str, text: &str) {
        self.0.push((name, text.into()));
        self.octets(name, text.as_bytes());
    }

    /// As they are, in hexadecimal, and as `{:?}` shows them.
    fn octets(&mut self, name: &'static str, octets: &[u8]) {
        let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        let list: Vec<_> = octets.iter().map(u8::to_string).collect();
        let spellings = [hex.to_uppercase(), hex, list.join(", ")].map(String::into_bytes);
        self.0.push((name, octets.to_vec()));
        self.0.extend(spellings.map(|spelling| (name, spelling)));
    }

    #[track_caller]
    fn are_not_in(&self, place: &str, content: impl AsRef<[u8]>) {
        let content = content.as_ref();
        assert!(!content.is_empty(), "nothing in {place}");
        for (name, secret) in &self.0 {
            let found = content.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{name} in {place}");
        }
    }
}

/// The private scalar of a P-256 key in DER, be it SEC 1 or PKCS#8: the only OCTET STRING of 32.
fn scalar_of(der: &[u8]) -> &[u8] {
    let at = der.windows(2).position(|octets| octets == [0x04, 0x20]).unwrap();
    &der[at + 2..at + 34]
}

#[test]
fn the_needles_of_this_test_are_found_where_they_are() {
    let appliance = Appliance::new();
    let secrets = Secrets::of(&appliance);
    let found = |content: Vec<u8>| {
        secrets.0.iter().filter(|(_, s)| content.windows(s.len()).any(|w| w == s)).count()
    };
    assert!(found(fs::read(appliance.path("pin")).unwrap()) >= 1);
    assert!(
        found(
            fs::read(appliance.path("pki/server.key"))
                .unwrap()
                .into_iter()
                .filter(|o| *o != b'\n')
                .collect()
        ) >= 1
    );
    assert!(found(private_jwk().to_string().into_bytes()) >= 1);
    assert_eq!(found(fs::read(appliance.path("chancery.toml")).unwrap()), 0);
}

#[test]
fn neither_the_pin_nor_a_private_key_is_anywhere() {
    for arguments in [&[][..], &["--dev"]] {
        let appliance = Appliance::new();
        appliance.declare("[log]\nfilter = \"trace\"\n[dev]\nimport_keys = true");
        let secrets = Secrets::of(&appliance);
        let mut bench = Bench::with(appliance, arguments);
        let mut answers = Vec::new();
        for ask in asks() {
            let answer = bench.send(&ask);
            assert!(answer.status < 500, "{}", answer.json);
            answers.push(json!([answer.status, answer.json]));
        }
        let signed = answers.iter().filter(|answer| answer[0] == 200).count();
        assert_eq!(signed > 0, !arguments.is_empty(), "{answers:?}");
        for (jwk, status) in [(private_jwk(), 201), (public_jwk(), 400)] {
            let path = format!("/v1/{KMS}.taken-in/kms-service-api/keys/import/jwk");
            let answer = bench.daemon.client.post_json(&path, &jwk);
            assert_eq!(answer.status, status, "{}", answer.json);
            answers.push(answer.json);
        }

        let Bench { appliance, daemon, .. } = &bench;
        let log = daemon.log();
        assert!(log.contains("TRACE") && log.contains("answered"), "the filter does not work");
        secrets.are_not_in("the log", log);
        secrets.are_not_in("the answers", Value::from(answers).to_string());
        secrets.are_not_in("the metrics", crate::metrics::scrape(daemon));
        for suffix in ["", "-wal", "-shm"] {
            let name = format!("ledger.sqlite{suffix}");
            secrets.are_not_in(&name, fs::read(appliance.path(&name)).unwrap());
        }
        commands(appliance, daemon, &secrets);
        processes(daemon, &secrets);
        bench.daemon.stop();
    }
}

/// What is in the memory that a process can write to.
fn memory_of(pid: u32) -> Vec<u8> {
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut content = Vec::new();
    for line in fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().lines() {
        let mut words = line.split(' ');
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        // Reserved and never touched: there is nothing to read.
        if rights.starts_with("rw") {
            let mut part = vec![0; usize::try_from(end - start).unwrap()];
            let _ = memory.read_exact_at(&mut part, start).map(|()| content.append(&mut part));
        }
    }
    content
}

/// A core dump, or somebody who reads memory, finds neither a PIN in the front nor a private key that a
/// request brought, once the request is over.
#[test]
fn the_memory_of_the_front_holds_no_pin_and_no_key_of_a_request_that_is_over() {
    let appliance = Appliance::new();
    appliance.declare("[dev]\nimport_keys = true");
    let pin = fs::read_to_string(appliance.path("pin")).unwrap().trim().to_owned();
    let d = private_jwk()["d"].as_str().unwrap().to_owned();
    let raw = URL_SAFE_NO_PAD.decode(&d).unwrap();
    let daemon = appliance.start();
    let found = |secret: &[u8]| {
        let memory = memory_of(daemon.pid());
        assert!(memory.windows(8).any(|octets| octets == b"softhsm2"), "nothing was read");
        memory.windows(secret.len()).filter(|octets| *octets == secret).count()
    };
    for round in 0..10 {
        let client = daemon.client_with(&appliance, &appliance.path("pki/client"));
        for ask in asks() {
            let headers = [("content-type", "application/json")];
            let answer = client.send(&ask.method, &ask.path, &headers, ask.body()).unwrap();
            assert!((400..500).contains(&answer.status), "{}", answer.json);
        }
        let path = format!("/v1/{KMS}.taken-in-{round}/kms-service-api/keys/import/jwk");
        client.post_json(&path, &private_jwk());
    }
    let gone = || (found(d.as_bytes()) + found(&raw) == 0).then_some(());
    let left = until(SOON, gone);
    assert!(left.is_some(), "{} and {} copies", found(d.as_bytes()), found(&raw));
    assert_eq!(found(pin.as_bytes()), 0);
}

/// What people see on the command line, and what they carry away.
fn commands(appliance: &Appliance, daemon: &Daemon, secrets: &Secrets) {
    let (config, backup) = (appliance.config(), appliance.path("backup"));
    let pki = |name: &str| appliance.path("pki").join(name).display().to_string();
    let (config, backup) = (config.to_str().unwrap(), backup.to_str().unwrap());
    let (ca, certificate, key) = (pki("server-ca.pem"), pki("client.pem"), pki("client.key"));
    let connection = ["--url", &daemon.url, "--cacert", &ca, "--cert", &certificate, "--key", &key];
    let status = [&["status"], &connection[..]].concat();
    let status_json = [&["status", "--json"], &connection[..]].concat();
    let backup_made = vec!["backup", backup, "--config", config];
    let backup_refused = backup_made.clone();
    let restore_refused = vec!["restore", backup, "--config", config];
    let check = vec!["check", "--config", config];
    for arguments in [status, status_json, backup_made, backup_refused, restore_refused, check] {
        let output = appliance.run(&arguments);
        let place = format!("the output of chancery {}", arguments[0]);
        secrets.are_not_in(&place, [output.stdout, output.stderr].concat());
    }
    secrets.are_not_in("a backup", fs::read(backup).unwrap());
}

/// What other processes see of ours, and what a crash would leave behind.
fn processes(daemon: &Daemon, secrets: &Secrets) {
    let mut processes = daemon.signers();
    assert!(!processes.is_empty(), "no signers");
    processes.push(daemon.pid());
    for process in processes {
        let read = |file: &str| fs::read(format!("/proc/{process}/{file}")).unwrap();
        for file in ["cmdline", "environ", "maps", "status"] {
            secrets.are_not_in(file, read(file));
        }
        let limits = String::from_utf8(read("limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let words: Vec<_> = core.split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "{core}");
    }
}
