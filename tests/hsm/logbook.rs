//! Captures the log of the front.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

static EVENTS: Mutex<Vec<Value>> = Mutex::new(Vec::new());

/// Prints the log of a failed test, and keeps it for [`of`].
pub fn open() {
    let _ = tracing_subscriber::fmt().json().with_writer(|| Logbook).try_init();
}

/// The events of the token of this name since the last call.
pub fn of(token: &str) -> Vec<Value> {
    let mut events = EVENTS.lock().unwrap_or_else(PoisonError::into_inner);
    events.extract_if(.., |event| event["fields"]["token"] == token).collect()
}

/// The faults of PKCS#11 among them.
pub fn faults_of(token: &str) -> Vec<Value> {
    let events = of(token).into_iter().map(|mut event| event["fields"].take());
    events.filter(|fields| fields["message"] == "PKCS#11 fault").collect()
}

struct Logbook;

impl io::Write for Logbook {
    /// Called with one event at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        print!("{}", String::from_utf8_lossy(line));
        let event = serde_json::from_slice(line).unwrap();
        EVENTS.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
