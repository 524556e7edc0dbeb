//! `kill -9` of the front at each step of an issuance, and the next start on the same ledger.
//!
//! The steps are reached from outside: a frozen signer holds back the signature, a lock on the
//! ledger's file holds back a record, a client that does not read holds back nothing.

use std::{
    fs,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rusqlite::Connection;
use serde_json::Value;

use crate::{
    appliance::{Answer, Appliance, Daemon, Frozen, SOON, STORE, documented, key, until},
    evidence::{Evidence, Held, Intent, assert_sound},
    load::{Load, csr, leaf, leaf_stored_as},
    raw,
    spy::Spy,
};

const SECOND_STORE: &str = "test.tenant1.x509-store-2";
/// The id that the interrupted request asks for.
const ID: &str = "interrupted";

/// What is asked for, and what it leaves when it succeeds.
struct Product {
    route: &'static str,
    body: fn() -> Value,
    is_certificate: bool,
}

const PRODUCTS: [Product; 2] = [
    Product {
        route: "certificate",
        body: || leaf_stored_as(ID, "leaf-secp256r1"),
        is_certificate: true,
    },
    Product { route: "csrs", body: || csr("ds-from-csr"), is_certificate: false },
];

/// An appliance with two stores, whose token is watched.
fn appliance() -> (Appliance, Spy) {
    let appliance = Appliance::new();
    let spy = Spy::on(&appliance);
    // Nobody is hurried here: a signer may be frozen for as long as a test wants.
    appliance.configure_token("sign_deadline_ms = 60000");
    appliance.configure(|text| {
        text.replace(&format!("\"{STORE}\"]"), &format!("\"{STORE}\", \"{SECOND_STORE}\"]"))
    });
    appliance.declare(&format!("[[services]]\npath = \"{SECOND_STORE}\"\ntype = \"x509-store\""));
    (appliance, spy)
}

/// The write lock of the ledger's file, held by a process that is not the daemon.
struct Lock(Connection);

impl Lock {
    fn hold(appliance: &Appliance) -> Self {
        let ledger = appliance.ledger();
        ledger.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(ledger)
    }

    fn release(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

/// Waits until the ledger's writer sleeps because somebody else has the lock.
fn wait_until_the_writer_waits(daemon: &Daemon) {
    let tasks = format!("/proc/{}/task", daemon.pid());
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let waits = || {
        fs::read_dir(&tasks).unwrap().flatten().any(|task| {
            let task = task.path().display().to_string();
            read(&format!("{task}/comm")) == "ledger-writer\n"
                && read(&format!("{task}/wchan")).contains("nanosleep")
        })
    };
    until(SOON, || waits().then_some(())).expect("the writer does not wait for the lock");
}

fn wait_for_open_intent(appliance: &Appliance) -> [u8; 32] {
    until(SOON, || {
        let evidence = Evidence::read(&appliance.ledger());
        evidence.in_state("open").next().map(|intent| intent.tbs_sha256)
    })
    .expect("no intent was recorded")
}

fn ask_in_background(
    daemon: &Daemon,
    product: &Product,
) -> JoinHandle<Result<Answer, ureq::Error>> {
    let (client, route, body) = (daemon.client.clone(), product.route, (product.body)());
    thread::spawn(move || client.try_issue(route, &body))
}

/// The next start: everything holds, nothing is half there, and the same request succeeds.
fn assert_risen(appliance: &Appliance, spy: &Spy, product: &Product) -> Evidence {
    let daemon = appliance.start();
    let evidence = assert_sound(appliance, &[], Some(spy));
    daemon.wait_until_ready();
    let again = daemon.client.issue(product.route, &(product.body)()).ok();
    let held = Held::of(&again);
    daemon.stop();
    let after = assert_sound(appliance, &[held], Some(spy));
    assert_eq!(after.intents.len(), evidence.intents.len() + 1);
    evidence
}

/// The one intent there is, which came to nothing.
fn the_aborted<'a>(evidence: &'a Evidence, product: &Product) -> &'a Intent {
    let [intent] = evidence.intents.as_slice() else { panic!("{:?}", evidence.intents) };
    assert_eq!(intent.state, "aborted");
    assert_eq!(intent.serial.is_some(), product.is_certificate);
    let aborted = evidence.entries_of("aborted").next().unwrap();
    let hex = |octets: &[u8]| octets.iter().map(|o| format!("{o:02x}")).collect::<String>();
    assert_eq!(aborted["detail"]["tbsSha256"], hex(&intent.tbs_sha256));
    assert_eq!(aborted["detail"]["serial"].as_str().map(str::to_owned), {
        intent.serial.as_deref().map(hex)
    });
    intent
}

#[test]
fn a_front_killed_before_the_intent_leaves_nothing() {
    for product in PRODUCTS {
        let (appliance, spy) = appliance();
        let daemon = appliance.start();
        daemon.wait_until_ready();
        let lock = Lock::hold(&appliance);
        let call = ask_in_background(&daemon, &product);
        wait_until_the_writer_waits(&daemon);
        daemon.kill();
        lock.release();
        assert!(call.join().unwrap().is_err());
        assert_eq!(spy.digests().len(), 0);
        let evidence = assert_risen(&appliance, &spy, &product);
        assert_eq!(evidence.intents.len(), 0);
    }
}

#[test]
fn a_front_killed_between_intent_and_signature_aborts_the_intent_at_the_next_start() {
    for product in PRODUCTS {
        let (appliance, spy) = appliance();
        let daemon = appliance.start();
        daemon.wait_until_ready();
        daemon.prove(&["leaf-secp256r1", "ds-from-csr"]);
        let frozen = Frozen::signers_of(&daemon);
        let call = ask_in_background(&daemon, &product);
        wait_for_open_intent(&appliance);
        daemon.kill();
        drop(frozen);
        assert!(call.join().unwrap().is_err());
        assert_eq!(spy.digests().len(), 0);
        let evidence = assert_risen(&appliance, &spy, &product);
        the_aborted(&evidence, &product);
    }
}

#[test]
fn a_front_killed_between_signature_and_record_knows_what_was_signed() {
    for product in PRODUCTS {
        let (appliance, spy) = appliance();
        let daemon = appliance.start();
        daemon.wait_until_ready();
        daemon.prove(&["leaf-secp256r1", "ds-from-csr"]);
        let frozen = Frozen::signers_of(&daemon);
        let call = ask_in_background(&daemon, &product);
        let intended = wait_for_open_intent(&appliance);
        let lock = Lock::hold(&appliance);
        frozen.thaw();
        let signed = || spy.digests().contains(&intended).then_some(());
        until(SOON, signed).expect("the token was not asked");
        wait_until_the_writer_waits(&daemon);
        daemon.kill();
        lock.release();
        assert!(call.join().unwrap().is_err());
        let evidence = assert_risen(&appliance, &spy, &product);
        assert_eq!(the_aborted(&evidence, &product).tbs_sha256, intended);
    }
}

#[test]
fn a_front_killed_between_record_and_answer_keeps_what_it_recorded() {
    for product in PRODUCTS {
        let (appliance, spy) = appliance();
        let daemon = appliance.start();
        daemon.wait_until_ready();
        let mut client = raw::Connection::open(&appliance, &daemon);
        client.send(product.route, &(product.body)());
        let issued = || Evidence::read(&appliance.ledger()).in_state("issued").next().map(|_| ());
        until(SOON, issued).expect("nothing was issued");
        daemon.kill();
        let daemon = appliance.start();
        let evidence = assert_sound(&appliance, &[], Some(&spy));
        assert_eq!(evidence.certificates.len(), usize::from(product.is_certificate));
        assert_eq!(evidence.entries_of("aborted").count(), 0);
        // What was recorded before the crash is there: its id is taken, its copies are served.
        if product.is_certificate {
            let again = daemon.client.issue(product.route, &(product.body)());
            assert_eq!(again.status, 409, "{}", again.json);
            for store in [STORE, SECOND_STORE] {
                let path = format!("/v1/{store}.{ID}/x509-store-api/certificates");
                daemon.client.get(&path).ok();
            }
        }
        daemon.stop();
    }
}

#[test]
fn a_front_killed_at_any_time_under_load_has_recorded_all_that_clients_hold() {
    const ROUNDS: usize = 15;
    const LONGEST_MS: u64 = 600;
    let (appliance, spy) = appliance();
    let (mut held, mut aborted_before) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        let daemon = appliance.start();
        let evidence = assert_sound(&appliance, &held, Some(&spy));
        let aborted = evidence.in_state("aborted").count();
        let clients = Load::start(&appliance, &daemon, 4, move |client, number| {
            mixed_request(client, round * 1_000 + number)
        });
        let pause = Duration::from_millis(random_below(LONGEST_MS));
        thread::sleep(pause);
        daemon.kill();
        let told = clients.join();
        let answers = told.iter().filter_map(|told| told.answer.as_ref().ok());
        let before = held.len();
        for answer in answers {
            match answer.status {
                200 => held.push(Held::of(answer)),
                // Ids are fought over, and a token may be starting.
                409 | 503 => {}
                status => panic!("{status}: {}", answer.json),
            }
        }
        println!(
            "round {round}: killed after {pause:?}, {} received, {} aborted at the start",
            held.len() - before,
            aborted - aborted_before
        );
        aborted_before = aborted;
    }
    let daemon = appliance.start();
    daemon.stop();
    let evidence = assert_sound(&appliance, &held, Some(&spy));
    assert!(held.len() > 2 * ROUNDS, "the load was no load: {}", held.len());
    assert!(evidence.in_state("issued").count() >= held.len());
}

/// Certificates and CSRs, ids of the daemon's choice and ids that two clients want.
fn mixed_request(client: usize, number: usize) -> (&'static str, Value) {
    match (client, number % 3) {
        (0, _) => ("certificate", leaf("leaf-secp256r1", "Example Leaf")),
        (1, 0) => ("csrs", csr("ds-from-csr")),
        (1, _) => {
            let mut body = documented("document-signers-create.request.json");
            body["storedCertificateId"] = format!("ds-{number}").into();
            ("iso/document-signers", body)
        }
        (_, _) => {
            let mut body = documented("iacas-create.request.json");
            body["iacaKeyDesc"] = key("secp256r1");
            body["storedCertificateId"] = format!("iaca-{number}").into();
            ("iso/iacas", body)
        }
    }
}

/// Good enough for moments; never for keys.
fn random_below(limit: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::from(now.subsec_micros()) % limit
}
