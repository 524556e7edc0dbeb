//! Clients that send requests all the time, and the answers that they got.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;

pub use crate::requests::leaf;
use crate::{
    appliance::{Answer, Appliance, Daemon, key, until},
    evidence::{Held, assert_signed_by_itself},
};

/// Pause between two requests of a client.
const PAUSE: Duration = Duration::from_millis(5);

/// One request and its answer.
pub struct Told {
    /// When it was sent.
    pub sent: Instant,
    /// How long the answer took.
    pub took: Duration,
    /// The answer, or why there was none.
    pub answer: Result<Answer, String>,
}

impl Told {
    /// Whether it was answered with that status.
    pub fn is(&self, status: u16) -> bool {
        self.answer.as_ref().is_ok_and(|answer| answer.status == status)
    }
}

/// Clients that send requests, each on its own connection.
pub struct Load {
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<Vec<Told>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the clients; `request` makes route and body from the number of the client and the round. A client ends when
    /// its connection fails, because then the daemon has ended.
    pub fn start(
        appliance: &Appliance,
        daemon: &Daemon,
        clients: usize,
        request: impl Fn(usize, usize) -> (&'static str, Value) + Clone + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::new(Mutex::new(Vec::new()));
        let threads = (0..clients)
            .map(|number| {
                let client = daemon.client_with(appliance, &appliance.path("pki/client"));
                let (stop, told, request) = (Arc::clone(&stop), Arc::clone(&told), request.clone());
                thread::spawn(move || {
                    for round in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let (route, body) = request(number, round);
                        let sent = Instant::now();
                        let answer =
                            client.try_issue(route, &body).map_err(|error| error.to_string());
                        let gone = answer.is_err();
                        told.lock().unwrap().push(Told { sent, took: sent.elapsed(), answer });
                        if gone {
                            return;
                        }
                        thread::sleep(PAUSE);
                    }
                })
            })
            .collect();
        Self { stop, told, threads }
    }

    /// Clients that ask for self-signed certificates.
    pub fn of_leaves(appliance: &Appliance, daemon: &Daemon, clients: usize) -> Self {
        Self::start(appliance, daemon, clients, |client, round| {
            ("certificate", leaf("leaf-secp256r1", &format!("Leaf {client}-{round}")))
        })
    }

    /// How many requests were answered with that status.
    pub fn count(&self, status: u16) -> usize {
        self.told.lock().unwrap().iter().filter(|told| told.is(status)).count()
    }

    /// How many of them were sent after `since`.
    pub fn count_since(&self, since: Instant, status: u16) -> usize {
        let told = self.told.lock().unwrap();
        told.iter().filter(|told| told.sent >= since && told.is(status)).count()
    }

    /// Waits for that many answers with a status to requests sent from now on.
    #[track_caller]
    pub fn wait_for(&self, status: u16, count: usize, limit: Duration) {
        let since = Instant::now();
        let seen = until(limit, || (self.count_since(since, status) >= count).then_some(()));
        assert!(seen.is_some(), "not {count} answers with {status} within {limit:?}");
    }

    /// Waits until a request that was sent after `since` is served, and returns how long after `since` that was.
    #[track_caller]
    pub fn recovery(&self, since: Instant, limit: Duration) -> Duration {
        let served = || {
            let told = self.told.lock().unwrap();
            let served = told.iter().filter(|told| told.sent >= since && told.is(200));
            served.map(|told| told.sent + told.took - since).min()
        };
        until(limit, served)
            .unwrap_or_else(|| panic!("no service {limit:?} after the HSM's return"))
    }

    /// Lets the clients finish their requests, and returns all of them.
    pub fn stop(self) -> Vec<Told> {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits until all clients have ended by themselves.
    pub fn join(self) -> Vec<Told> {
        for thread in self.threads {
            thread.join().unwrap();
        }
        Arc::into_inner(self.told).unwrap().into_inner().unwrap()
    }
}

/// Asserts that every answer came within `limit`, and is a certificate that verifies or a refusal with `Retry-After`.
/// Returns the certificates.
#[track_caller]
pub fn assert_clean(told: &[Told], limit: Duration) -> Vec<Held> {
    assert!(!told.is_empty());
    told.iter()
        .filter_map(|told| {
            let answer = told.answer.as_ref().expect("an answer to every request");
            assert!(told.took < limit, "answered {} after {:?}", answer.status, told.took);
            match answer.status {
                200 => {
                    let held = Held::of(answer);
                    assert_signed_by_itself(&held.der);
                    Some(held)
                }
                503 => {
                    assert_clean_refusal(answer);
                    None
                }
                status => panic!("{status}: {}", answer.json),
            }
        })
        .collect()
}

/// Asserts that a 503 has `Retry-After` and mentions neither PKCS#11 nor files.
#[track_caller]
pub fn assert_clean_refusal(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.json);
    let seconds: u64 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(answer.json["id"], "ServiceUnavailableException");
    let text = answer.json.to_string();
    for word in ["CKR_", "C_", "0x", "/tmp", "SQLite", "softhsm", "pin"] {
        assert!(!text.contains(word), "{text}");
    }
}

/// A self-signed leaf, stored under an id.
pub fn leaf_stored_as(id: &str, key_name: &str) -> Value {
    let mut body = leaf(key_name, "Example Leaf");
    body["storedCertificateId"] = id.into();
    body
}

/// A certification request.
pub fn csr(key_name: &str) -> Value {
    serde_json::json!({
        "type": "generic",
        "subjectKeyDescriptor": key(key_name),
        "subjectName": { "commonName": "Example CSR", "country": "US" },
    })
}
