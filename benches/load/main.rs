//! The real daemon under load, beside the token alone, in one run and one table. How to read it:
//! `benches/README.md`.
//!
//! ```text
//! cargo bench --bench load [-- [--seconds N] [--only WORDS] [--daemon PATH] [--certificates N]]
//! ```
//! `--seconds`: for each row, 8 unless told. `--only`: the rows whose name has the words in it.
//! `--daemon`: another `chancery` than the one just built, for comparisons. `--certificates`: in the
//! ledger that has grown, a million unless told, which takes 5 GB for the time of the run.

#![expect(unreachable_pub, reason = "the modules of a program have no outside")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a measurement ends where it fails")]

mod appliance;
mod client;
mod grown;
mod raw;
mod table;
mod traffic;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use appliance::{Appliance, Daemon};
use client::Client;
use raw::Raw;
use serde_json::{Value, json};
use table::Table;
use traffic::{Load, Measured, Travel, is_issued};

const SECONDS: u64 = 8;
const CERTIFICATES: usize = 1_000_000;
const SERVICE: &str = "/v1/test.tenant1.x509-service-1/x509-service-api";
const HTTP_1: &str = "http/1.1";
const HTTP_2: &str = "h2";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(raw::SIGNER) => raw::run_signer(&arguments[1..]),
        Some(grown::KEY_MAKER) => grown::run_key_maker(&arguments[1..]),
        // What cargo passes when the run is meant; without it this is `cargo test --benches`.
        _ if arguments.iter().any(|argument| argument == "--bench") => Run::of(&arguments).all(),
        _ => {}
    }
}

struct Run {
    seconds: u64,
    certificates: usize,
    only: Option<String>,
    appliance: Appliance,
    /// Another daemon than the one just built.
    program: Option<PathBuf>,
    table: Table,
    samples: Vec<(&'static str, Vec<u8>)>,
}

impl Run {
    fn of(arguments: &[String]) -> Self {
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            Some(arguments.get(at + 1).expect("a value").clone())
        };
        Self {
            seconds: value("--seconds").map_or(SECONDS, |text| text.parse().unwrap()),
            certificates: value("--certificates")
                .map_or(CERTIFICATES, |text| text.parse().unwrap()),
            only: value("--only"),
            appliance: appliance::provision(),
            program: value("--daemon").map(PathBuf::from),
            table: Table::default(),
            samples: Vec::new(),
        }
    }

    fn wants(&self, row: &str) -> bool {
        self.only.as_ref().is_none_or(|word| row.contains(word))
    }

    fn all(mut self) {
        let began = Instant::now();
        let raw_before = self.raw();
        let commit = raw::durable_commit(&self.appliance, 2);
        let verification = raw::verification(1);

        let loads = [document_signer(), leaf()];
        let mut daemon = self.start_to_first_certificate(KEYS);
        let mut rows = Vec::new();
        for load in &loads {
            for connections in [1, 8, 32, 128] {
                rows.extend(self.row(&mut daemon, load, Travel::KeepAlive, connections));
            }
        }
        // Clients of rustls keep at most eight tickets for a server: four callers never run out.
        for (travel, callers) in
            [(Travel::Http2, 32), (Travel::FullHandshake, 4), (Travel::Resumed, 4)]
        {
            rows.extend(self.row(&mut daemon, &loads[1], travel, callers));
        }
        // Signatures that cost more than their verification, each kind beside its own raw rate.
        let mut others = Vec::new();
        for (key, name) in OTHER_KEYS {
            let load = leaf_of(key, name);
            let measured: Vec<_> = [32, 128]
                .into_iter()
                .filter_map(|callers| self.row(&mut daemon, &load, Travel::KeepAlive, callers))
                .collect();
            if !measured.is_empty() {
                others.push((format!("C_Sign, two processes, {key}"), self.c_sign(key), measured));
            }
        }
        let least: Vec<_> = [1, 32]
            .into_iter()
            .filter_map(|callers| self.row(&mut daemon, &refused(), Travel::KeepAlive, callers))
            .collect();
        self.verify(&daemon);
        drop(daemon);

        let raw_after = self.c_sign(raw::P256);
        let raw = Raw::mean(&[raw_before, raw_after]);
        self.table.raw("C_Sign, two processes (before)", raw_before);
        self.table.raw("C_Sign, two processes (after)", raw_after);
        self.table.raw("one durable commit", commit);
        self.table.raw("one verification", verification);
        for (name, concurrency, measured) in &rows {
            self.table.issuance(name, *concurrency, measured, raw, commit);
        }
        for (name, raw, measured) in &others {
            self.table.raw(name, *raw);
            for (name, concurrency, measured) in measured {
                self.table.issuance(name, *concurrency, measured, *raw, commit);
            }
        }
        for (name, concurrency, measured) in &least {
            self.table.least((name, *concurrency), measured, [raw, verification, commit]);
        }
        self.slow_tokens(raw);
        self.grown_ledger();
        self.grown_token();
        self.table.print(began.elapsed());
    }

    fn start(&self) -> Daemon {
        Daemon::start(&self.appliance, self.program.as_ref())
    }

    fn start_to_first_certificate(&mut self, keys: usize) -> Daemon {
        let started = Instant::now();
        let daemon = self.start();
        let first = first_certificate(&daemon, &self.appliance, &leaf());
        self.table.first_certificate(keys, started.elapsed(), first);
        daemon
    }

    /// Issuance and inventory with an empty ledger and with one that has grown.
    fn grown_ledger(&mut self) {
        if !self.wants("grown ledger") {
            return;
        }
        let daemon = self.start();
        let empty = self.issue_and_list(daemon);
        eprintln!("filling a ledger");
        grown::fill_ledger(&self.appliance, self.certificates);
        let daemon = Daemon::start_again(&self.appliance, self.program.as_ref());
        let grown = self.issue_and_list(daemon);
        self.table.grown(self.certificates, [&empty.0, &grown.0], [empty.1, grown.1]);
        fs::remove_file(self.appliance.path("ledger.sqlite")).unwrap();
    }

    fn issue_and_list(&self, mut daemon: Daemon) -> (Measured, Duration) {
        daemon.settled_signers();
        let client = Client::new(&self.appliance.path("pki"), daemon.api, false, HTTP_1);
        let (load, how) = (leaf(), Travel::KeepAlive);
        let measured = traffic::run(&mut daemon, &client, &load, how, 32, self.seconds);
        (measured, grown::listing(&client))
    }

    /// Starts with more keys on the token. They stay there, so this comes last.
    fn grown_token(&mut self) {
        if !self.wants("grown token") {
            return;
        }
        let mut keys = KEYS;
        for more in [100, 1_000] {
            eprintln!("{more} keys");
            grown::generate_keys(&self.appliance, keys..more);
            keys = more;
            drop(self.start_to_first_certificate(keys));
        }
    }

    /// Raw rates; the answer is that of two processes.
    fn raw(&mut self) -> Raw {
        let seconds = self.seconds.min(4);
        for threads in [1, 2] {
            let raw = raw::c_sign(&self.appliance, raw::P256, 1, threads, seconds);
            self.table.raw(&format!("C_Sign, one process, {threads} threads"), raw);
        }
        self.c_sign(raw::P256)
    }

    /// The rate of two processes.
    fn c_sign(&self, key: &str) -> Raw {
        raw::c_sign(&self.appliance, key, 2, 1, self.seconds.min(4))
    }

    fn row(
        &mut self,
        daemon: &mut Daemon,
        load: &Load,
        travel: Travel,
        concurrency: usize,
    ) -> Option<(String, usize, Measured)> {
        let (how, alpn) = match travel {
            Travel::KeepAlive => ("", HTTP_1),
            Travel::Http2 => (", HTTP/2", HTTP_2),
            Travel::FullHandshake => (", a handshake each", HTTP_1),
            Travel::Resumed => (", a resumed handshake each", HTTP_1),
        };
        let name = format!("{}, {concurrency} at once{how}", load.name);
        if !self.wants(&name) {
            return None;
        }
        eprintln!("{name}");
        let resume = travel == Travel::Resumed;
        let client = Client::new(&self.appliance.path("pki"), daemon.api, resume, alpn);
        let mut measured = traffic::run(daemon, &client, load, travel, concurrency, self.seconds);
        if load.name != REFUSED {
            self.samples.extend(measured.samples.drain(..).map(|sample| (load.name, sample)));
        }
        Some((name, concurrency, measured))
    }

    /// Has OpenSSL judge what was kept. The described IACA gets its certificate now, at the end: a
    /// description that is pinned, and not yet a certificate, is what was measured.
    fn verify(&mut self, daemon: &Daemon) {
        let iaca = json!({
            "certificateData": described_iaca(),
            "iacaKeyDesc": kms_key("iaca-secp256r1"),
        });
        let load = issuance("", "iso/iacas", iaca.to_string());
        let client = Client::new(&self.appliance.path("pki"), daemon.api, false, HTTP_1);
        let iaca = answer(&client, &load);
        let directory = self.appliance.path("samples");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("iaca.pem"), pem(&iaca)).unwrap();
        for (index, (name, sample)) in self.samples.iter().enumerate() {
            let file = directory.join(format!("{index}.pem"));
            fs::write(&file, pem(&serde_json::from_slice(sample).unwrap())).unwrap();
            let issuer =
                if name.starts_with(LEAF) { file.clone() } else { directory.join("iaca.pem") };
            let openssl = Command::new("openssl")
                .args(["verify", "-x509_strict", "-CAfile"])
                .args([&issuer, &file])
                .output()
                .unwrap();
            assert!(openssl.status.success(), "{}", String::from_utf8_lossy(&openssl.stderr));
        }
        self.table.verified = self.samples.len();
    }

    /// The same token behind a module that is slow: 20 ms for each signature, or 2 ms for each call.
    fn slow_tokens(&mut self, raw: Raw) {
        if !self.wants("slow token") {
            return;
        }
        let module = self.appliance.path("slow.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/load/slow.c");
        let configured = fs::read_to_string(self.appliance.config()).unwrap();
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-w", "-o"])
            .args([&module, &source])
            .status()
            .unwrap();
        assert!(status.success(), "cc slow.c");
        let load = leaf();
        let client = |run: &Self, daemon: &Daemon| {
            Client::new(&run.appliance.path("pki"), daemon.api, false, HTTP_1)
        };

        self.slow_down(&configured, &module, "CHANCERY_SLOW_SIGN_US", 20_000, 32);
        let mut daemon = self.start();
        daemon.settled_signers();
        let at = client(self, &daemon);
        for concurrency in [128, 700] {
            eprintln!("slow token, {concurrency} at once");
            let seconds = self.seconds.min(5);
            let measured =
                traffic::run(&mut daemon, &at, &load, Travel::KeepAlive, concurrency, seconds);
            self.table.slow_token(concurrency, &measured, 64.0 / 0.020);
        }
        drop(daemon);

        self.slow_down(&configured, &module, "CHANCERY_SLOW_CALL_US", 2_000, 2);
        let mut daemon = self.start();
        daemon.settled_signers();
        let at = client(self, &daemon);
        eprintln!("network token");
        let measured = traffic::run(&mut daemon, &at, &load, Travel::KeepAlive, 1, 2);
        self.table.network_token(&measured, raw);
        drop(daemon);
        self.appliance.configure(|_slow| configured);
    }

    /// Configures the slow module, and tells it how slow to be.
    fn slow_down(&self, configured: &str, module: &Path, name: &str, value: u64, sessions: usize) {
        let slow = configured
            .lines()
            .map(|line| match line.split_once(" = ").map_or("", |(setting, _)| setting) {
                "module" => format!(
                    "module = \"{}\"\nenvironment = {{ {name} = \"{value}\" }}\n",
                    module.display()
                ),
                "sessions" => format!("sessions = {sessions}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        self.appliance.configure(|_text| slow);
    }
}

/// Of the appliance as it is provisioned.
const KEYS: usize = 13;

const LEAF: &str = "self-signed leaf";

/// Keys of other kinds, and the rows of certificates that they sign.
const OTHER_KEYS: [(&str, &str); 2] =
    [("iaca-secp384r1", "self-signed leaf, P-384"), ("rsa2048", "self-signed leaf, RSA-2048")];

/// The documented request, its ids left to the daemon: described IACA, pinned at the first call.
fn document_signer() -> Load {
    documented("document signer", "iso/document-signers", "document-signers-create")
}

fn leaf() -> Load {
    documented(LEAF, "certificate", "certificate-self-signed-leaf")
}

/// The same with another key on the token.
fn leaf_of(key: &str, name: &'static str) -> Load {
    let mut request = request("certificate-self-signed-leaf");
    request["subjectPublicKeySource"]["keyDescriptor"] = kms_key(key);
    issuance(name, "certificate", request.to_string())
}

fn documented(name: &'static str, route: &str, file: &str) -> Load {
    issuance(name, route, request(file).to_string())
}

fn issuance(name: &'static str, route: &str, body: String) -> Load {
    Load { name, path: format!("{SERVICE}/{route}"), body, is_answer: is_issued }
}

const REFUSED: &str = "TLS and HTTP alone (404)";

/// The same octets to a path that is not there: what TLS, HTTP and a log line take.
fn refused() -> Load {
    let is_answer = |status, _: &[u8]| status == 404;
    Load { name: REFUSED, is_answer, ..documented(LEAF, "nowhere", "certificate-self-signed-leaf") }
}

fn request(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/requests");
    let text = fs::read_to_string(path.join(format!("{file}.request.json"))).unwrap();
    let mut request: Value = serde_json::from_str(&text).unwrap();
    request.as_object_mut().unwrap().remove("storedCertificateId");
    request
}

fn described_iaca() -> Value {
    request("document-signers-create")["iacaSigner"]["certificateData"].take()
}

fn kms_key(name: &str) -> Value {
    let path = format!("test.tenant1.kms1.{name}");
    json!({ "type": "kms-hosted-key-descriptor", "keyIdPath": path })
}

fn pem(answer: &Value) -> &str {
    answer["certificatePEM"].as_str().unwrap()
}

/// When the daemon was ready until its first certificate was there.
fn first_certificate(daemon: &Daemon, appliance: &Appliance, load: &Load) -> Duration {
    let begin = Instant::now();
    answer(&Client::new(&appliance.path("pki"), daemon.api, false, HTTP_1), load);
    begin.elapsed()
}

fn answer(client: &Client, load: &Load) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = client.connect().await.unwrap();
        let request = client::post(&load.path, &load.body);
        let (status, body) = connection.exchange(&request).await.unwrap();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
        serde_json::from_slice(body).unwrap()
    })
}
