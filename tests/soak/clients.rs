//! Clients that ask without end, and count what they were told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::appliance::{Appliance, Daemon, key};

/// Requests over one connection.
const PER_CONNECTION: usize = 500;
const PAUSE: Duration = Duration::from_millis(5);
/// For any answer: the deadline of a signature, and what a busy machine needs besides.
const ANSWER_WITHIN: Duration = Duration::from_secs(9);

/// What clients were told.
#[derive(Default)]
pub struct Told {
    pub served: usize,
    pub refused: usize,
    pub slowest: Duration,
}

/// Clients at work.
pub struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Told>>,
}

impl Clients {
    pub fn start(appliance: &Appliance, daemon: &Daemon, count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let certificate = appliance.path("pki/client");
        let threads = (0..count)
            .map(|number| {
                let stop = Arc::clone(&stop);
                let connect = daemon.connector(appliance, &certificate);
                thread::spawn(move || {
                    let mut told = Told::default();
                    let mut client = connect();
                    for round in 1.. {
                        if stop.load(Relaxed) {
                            break;
                        }
                        if round % PER_CONNECTION == 0 {
                            client = connect();
                        }
                        let body = leaf(&format!("Leaf {number}-{round}"));
                        let sent = Instant::now();
                        let answer = client.issue("certificate", &body);
                        let took = sent.elapsed();
                        assert!(took < ANSWER_WITHIN, "{} after {took:?}", answer.status);
                        told.slowest = told.slowest.max(took);
                        match answer.status {
                            200 => told.served += 1,
                            503 if answer.header("retry-after").is_some() => told.refused += 1,
                            status => panic!("{status}: {}", answer.text),
                        }
                        thread::sleep(PAUSE);
                    }
                    told
                })
            })
            .collect();
        Self { stop, threads }
    }

    /// Has them finish their requests.
    pub fn stop(self) -> Told {
        self.stop.store(true, Relaxed);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).fold(
            Told::default(),
            |all, one| Told {
                served: all.served + one.served,
                refused: all.refused + one.refused,
                slowest: all.slowest.max(one.slowest),
            },
        )
    }
}

/// A self-signed certificate.
fn leaf(common_name: &str) -> serde_json::Value {
    serde_json::json!({
        "certificateData": {
            "subjectName": { "commonName": common_name, "country": "US" },
            "isCertificateAuthority": false,
            "keyUsage": ["DigitalSignature"],
        },
        "subjectPublicKeySource": { "type": "key-descriptor", "keyDescriptor": key("leaf-secp256r1") },
        "issuer": { "type": "self-signed" },
    })
}
