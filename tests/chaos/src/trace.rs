//! Records calls, and what callers passed, in files of the directory.

use std::{
    cell::LazyCell,
    fs::{self, OpenOptions},
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cryptoki_sys::CK_RV;

use crate::{names, orders::directory};

thread_local! {
    /// `process/task/thread`, as Linux numbers them.
    static THREAD: LazyCell<String> = const { LazyCell::new(|| {
        let link = fs::read_link("/proc/thread-self").unwrap_or_default();
        let text = link.display().to_string();
        let mut parts = text.split('/').filter(|part| *part != "task");
        format!("{} {}", parts.next().unwrap_or("?"), parts.next().unwrap_or("?"))
    }) };
}

/// Writes `SECONDS PROCESS THREAD FUNCTION` before a call.
pub(crate) fn begin(function: &str) {
    note("trace", &format!("{} {} {function}", now(), thread()));
}

/// Writes the same with `CODE MICROSECONDS` after it.
pub(crate) fn end(function: &str, code: CK_RV, took: Duration) {
    let (code, took) = (names::code(code), took.as_micros());
    note("trace", &format!("{} {} {function} {code} {took}", now(), thread()));
}

/// Writes a line about what a caller passed.
pub(crate) fn record(function: &str, line: &str) {
    note("record", &format!("{} {function} {line}", thread()));
}

fn thread() -> String {
    THREAD.with(|thread| (**thread).clone())
}

fn now() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:06}", time.as_secs(), time.subsec_micros())
}

/// Each line by one write, so that lines of several processes do not mix.
fn note(file: &str, line: &str) {
    let Some(directory) = directory() else { return };
    let opened = OpenOptions::new().create(true).append(true).open(directory.join(file));
    if let Err(error) = opened.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())) {
        eprintln!("chaos: {file} in {}: {error}", directory.display());
    }
}
