//! The daemon that the rows go to, and the judge of its answers.

use serde_json::Value;

use super::request::{Ask, Caller, Row};
use crate::appliance::{Answer, Appliance, Client, Daemon, SERVICE};

/// More services than the examples have, all with the keys of the one token.
const SERVICES: &str = r#"
[[tenants]]
path = "test.tenant2"

[[services]]
path = "test.tenant2.kms9"
type = "kms"

[[services]]
path = "test.tenant2.x509-foreign"
type = "x509-service"
dependencies = ["test.tenant2.kms9"]

[[services]]
path = "test.tenant1.kms2"
type = "kms"
shared_labels = true
labels = { iaca = "test.tenant1.kms1.tls-secp256r1", tls = "test.tenant1.kms1.tls-secp256r1", ca = "test.tenant1.kms1.root-secp256r1", gone = "no such label", refused = "no such label" }
policies = { tls = ["generic", "csr"], iaca = ["iaca"], refused = ["crl"] }

[[services]]
path = "test.tenant1.store-a"
type = "x509-store"

[[services]]
path = "test.tenant1.store-b"
type = "x509-store"

[[services]]
path = "test.tenant1.x509-two-stores"
type = "x509-service"
dependencies = ["test.tenant1.store-b", "test.tenant1.kms1", "test.tenant1.store-a", "test.tenant1.kms2"]

[[services]]
path = "test.tenant1.x509-only-a"
type = "x509-service"
dependencies = ["test.tenant1.kms1", "test.tenant1.store-a"]

[[services]]
path = "test.tenant1.x509-bare"
type = "x509-service"
dependencies = ["test.tenant1.kms1"]

[[services]]
path = "test.tenant1.vical"
type = "vical-service"
signing_key = "test.tenant1.kms1.vical"
signer_certificate = "test.tenant1.x509-store-1.vical"

[[clients]]
name = "nobody"
subject = "CN=nobody"
grants = []
"#;

/// Stores b and a, in this order, and KMS 1 and 2.
pub const TWO_STORES: &str = "test.tenant1.x509-two-stores";
/// Store a.
pub const ONLY_A: &str = "test.tenant1.x509-only-a";
/// KMS 1 and no store.
pub const BARE: &str = "test.tenant1.x509-bare";
/// A service of another tenant with a KMS of its own.
pub const FOREIGN: &str = "test.tenant2.x509-foreign";

/// What the documented requests want to be called.
const DOCUMENTED_IDS: [&str; 4] =
    ["iaca-prod-2026-q1", "ds-mainline-2026-01", "generic-leaf-01", "generic-intermediate-01"];

/// A daemon, its clients, and what the rows have found out so far.
pub struct Bench {
    pub appliance: Appliance,
    pub daemon: Daemon,
    ledger: rusqlite::Connection,
    nobody: Client,
    stray: Client,
    asked: usize,
    failures: Vec<String>,
}

impl Bench {
    /// A daemon with more services than the examples have.
    pub fn new() -> Self {
        Self::with(Appliance::new(), &[])
    }

    /// The same on an appliance that is changed already, with more arguments.
    pub fn with(appliance: Appliance, arguments: &[&str]) -> Self {
        appliance.declare(SERVICES);
        // One client is refused more often than the audit log tells one by one.
        appliance.declare("[limits]\nclient_refusals_audited_per_minute = 100000");
        // Their keys are those of the KMS of the examples, under other names.
        appliance.configure(|text| {
            text.replacen("type = \"kms\"", "type = \"kms\"\nshared_labels = true", 1)
        });
        let nobody = appliance.client_certificate("nobody", "/CN=nobody", "-days 2");
        let stray = appliance.client_certificate("stray", "/CN=stray", "-days 2");
        let daemon = appliance.start_with(arguments);
        Self {
            nobody: daemon.client_with(&appliance, &nobody),
            stray: daemon.client_with(&appliance, &stray),
            ledger: appliance.ledger(),
            appliance,
            daemon,
            asked: 0,
            failures: Vec::new(),
        }
    }

    /// Sends a request.
    pub fn send(&mut self, ask: &Ask) -> Answer {
        self.asked += 1;
        let client = match ask.caller {
            Caller::Granted => &self.daemon.client,
            Caller::Nobody => &self.nobody,
            Caller::Stray => &self.stray,
        };
        let id = self.request_id();
        let mut headers: Vec<(&str, &str)> =
            ask.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.push(("x-request-id", &id));
        client.send(&ask.method, &ask.path, &headers, ask.body()).unwrap_or_else(|error| {
            panic!("{} {}: {error}\n{}", ask.method, ask.path, self.daemon.log())
        })
    }

    /// The id of the latest request.
    fn request_id(&self) -> String {
        format!("row-{}", self.asked)
    }

    /// Sends a request that must succeed, under an id of its own where it has the documented one:
    /// the rows after it shall not meet an id that is taken.
    #[track_caller]
    pub fn accepted(&mut self, ask: &Ask) -> Answer {
        let documented = DOCUMENTED_IDS.map(Value::from);
        let ask = match documented.contains(&ask.json()["storedCertificateId"]) {
            true => &ask.clone().set("/storedCertificateId", format!("accepted-{}", self.asked)),
            false => ask,
        };
        let answer = self.send(ask);
        assert_eq!(answer.status, 200, "{} {}\n{}", ask.path, ask.json(), answer.json);
        answer
    }

    /// Sends each row and notes what is wrong with its answer.
    pub fn judge(&mut self, rows: impl IntoIterator<Item = Row>) {
        for row in rows {
            let before = self.counts();
            let answer = self.send(&row.ask);
            let mut wrong = faults(&answer, &row);
            wrong.extend(self.traces(&row, &answer, before));
            if !wrong.is_empty() {
                let json = &answer.json;
                self.failures.push(format!("{}: {}\n    {json}", row.name, wrong.join("; ")));
            }
        }
    }

    /// Notes a failure of another kind.
    pub fn complain(&mut self, failure: String) {
        self.failures.push(failure);
    }

    /// Reports everything at once.
    pub fn verdict(self) {
        assert!(self.asked > 0, "nothing was asked");
        let (failures, asked) = (&self.failures, self.asked);
        assert!(failures.is_empty(), "{} of {asked}:\n{}\n", failures.len(), failures.join("\n"));
    }

    /// Intents, certificates, store entries, IACA pins.
    pub fn counts(&self) -> [i64; 4] {
        ["intents", "certificates", "store_entries", "iaca_pins"].map(|table| {
            let query = format!("select count(*) from {table}");
            self.ledger.query_row(&query, [], |row| row.get(0)).unwrap()
        })
    }

    /// What a refusal must leave behind, and what it must not.
    fn traces(&self, row: &Row, answer: &Answer, before: [i64; 4]) -> Vec<String> {
        let mut wrong = Vec::new();
        let after = self.counts();
        if after != before {
            wrong.push(format!("intents, certificates, entries, pins: {before:?} -> {after:?}"));
        }
        let entries = self.audit_entries(&self.request_id());
        // A method that a route does not have would change nothing.
        let expected = usize::from(row.ask.method == "POST");
        if entries.len() != expected {
            wrong.push(format!("{} audit entries, not {expected}", entries.len()));
        }
        for entry in entries {
            if entry["type"] != "refused"
                || entry["detail"]["status"] != answer.status
                || entry["detail"]["message"] != answer.json["message"]
            {
                wrong.push(format!("audit entry {entry}"));
            }
        }
        wrong
    }

    /// The audit entries of a request.
    pub fn audit_entries(&self, request_id: &str) -> Vec<Value> {
        let mut statement = self
            .ledger
            .prepare("select entry from audit_entries order by idx desc limit 8")
            .unwrap();
        let entries = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        entries
            .map(|entry| serde_json::from_slice::<Value>(&entry.unwrap()).unwrap())
            .filter(|entry| entry["requestId"] == request_id)
            .collect()
    }

    /// Runs a script of openssl's in the appliance's directory.
    pub fn shell(&self, script: &str) -> String {
        self.appliance.shell(script)
    }
}

/// What is wrong with an answer, the shape of errors included.
fn faults(answer: &Answer, row: &Row) -> Vec<String> {
    let mut wrong = Vec::new();
    let json = &answer.json;
    let mut expect = |what: &str, found: Option<&Value>, wanted: Option<Value>| {
        if found != wanted.as_ref() {
            wrong.push(format!("{what} is {found:?}, not {wanted:?}"));
        }
    };
    let (reason, id) = names(row.status);
    let is_duplicate = row.words.contains("already exists");
    expect("HTTP status", Some(&answer.status.into()), Some(row.status.into()));
    expect("field", json.get("field"), row.field.clone().map(Value::from));
    expect("exception", json.get("exception"), Some(true.into()));
    expect("id", json.get("id"), Some(id.into()));
    expect("code", json.get("code"), Some(row.status.to_string().into()));
    expect("requestId", json.get("requestId"), answer.header("x-request-id").map(Value::from));
    let mut members = vec!["exception", "id", "status", "code", "message", "requestId"];
    members.extend(row.field.as_ref().map(|_| "field"));
    if is_duplicate {
        expect("status", json.get("status"), Some(409.into()));
        expect("type", json.get("type"), Some("DuplicateTarget".into()));
        expect("target_entry_type", json.get("target_entry_type"), Some("x509-certificate".into()));
        members.extend(["type", "target", "target_entry_type"]);
        let target = json["target"].as_str().unwrap_or_default();
        let message = format!("target already exists: {target}");
        expect("message", json.get("message"), Some(message.into()));
    } else {
        expect("status", json.get("status"), Some(reason.into()));
    }
    members.sort_unstable();
    let mut found: Vec<_> =
        json.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    found.sort_unstable();
    if found != members {
        wrong.push(format!("members {found:?}"));
    }
    let message = json["message"].as_str().unwrap_or_default();
    if !message.contains(&row.words) {
        wrong.push(format!("message without '{}'", row.words));
    }
    if message.contains("already exists") != is_duplicate {
        wrong.push("'already exists' is for duplicates".to_owned());
    }
    if answer.header("content-type") != Some("application/json") {
        wrong.push(format!("content-type {:?}", answer.header("content-type")));
    }
    if (row.status == 405) != answer.header("allow").is_some() {
        wrong.push(format!("allow {:?}", answer.header("allow")));
    }
    wrong
}

/// Reason phrase and exception of a status.
fn names(status: u16) -> (&'static str, &'static str) {
    match status {
        400 => ("Bad Request", "BadRequestException"),
        401 => ("Unauthorized", "UnauthorizedException"),
        403 => ("Forbidden", "ForbiddenException"),
        404 => ("Not Found", "NotFoundException"),
        405 => ("Method Not Allowed", "MethodNotAllowedException"),
        409 => ("Conflict", "ConflictException"),
        413 => ("Payload Too Large", "PayloadTooLargeException"),
        415 => ("Unsupported Media Type", "UnsupportedMediaTypeException"),
        500 => ("Internal Server Error", "InternalServerErrorException"),
        other => panic!("no row has status {other}"),
    }
}

/// The path of a route of the service of the examples.
pub fn route(tail: &str) -> String {
    format!("/v1/{SERVICE}/x509-service-api/{tail}")
}
