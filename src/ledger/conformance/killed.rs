//! A process that is killed while it issues.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use super::*;

const KILLED: &str = "CHANCERY_TEST_LEDGER_TO_BE_KILLED";

#[test]
fn what_was_answered_before_a_kill_is_there_after_it() {
    let place = Place::new();
    let mut answered = Vec::new();
    for _ in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--ignored",
                "--nocapture",
                "ledger::conformance::killed::until_killed",
            ])
            .env(KILLED, place.file())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut serials = lines.filter_map(|line| line.strip_prefix("issued ").map(str::to_owned));
        // The pipe stays open: nothing but the kill ends the child.
        answered.extend(serials.by_ref().take(60));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(answered.len(), 180);
    assert!(place.count("intents WHERE state = 'open'") <= 3 * 8);
    place.assert_consistent();
    for serial in answered {
        assert_eq!(place.count(&format!("certificates WHERE serial = x'{serial}'")), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in a process that is killed"]
async fn until_killed() {
    let Ok(file) = std::env::var(KILLED) else { return };
    let (ledger, _) = Place::at(Path::new(&file)).open_any().unwrap();
    let issue = || {
        let ledger = ledger.clone();
        async move {
            loop {
                let serial = SerialNumber::from_random(*uuid::Uuid::new_v4().as_bytes());
                let id = serial.to_string();
                let intent = Intent { serial: Some(serial), ..intent(&[&id]) };
                let intent = ledger.begin(intent).await.unwrap();
                ledger.complete(intent, outcome(&[&id])).await.unwrap();
                println!("issued {serial}");
            }
        }
    };
    let endless: Vec<tokio::task::JoinHandle<()>> = (0..8).map(|_| tokio::spawn(issue())).collect();
    all(endless).await;
}
