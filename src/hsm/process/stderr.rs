//! Copies the standard error of a signer and its module to the log, sanitised and rate-limited.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::AsyncReadExt,
    process::ChildStderr,
    time::{Instant, sleep},
};

use crate::hsm::fault::sanitise;

/// Longest line that is logged, in octets; longer ones are split.
const LINE_BYTES_MAX: usize = 1024;
/// Lines logged per window; the others are counted.
const LINES_MAX: u64 = 200;
/// Length of a window, in milliseconds.
const WINDOW_MS: u64 = 10_000;
/// Pause between two reads once a window is full, in milliseconds. A module that writes without end must not
/// keep the front busy, nor be blocked for long.
const SKIM_MS: u64 = 20;
/// Octets read at once: the capacity of a pipe.
const CHUNK_BYTES: usize = 64 * 1024;

/// Reads until the process has ended.
pub(super) async fn relog(mut stderr: ChildStderr, token: String, pid: u32) {
    let mut log = Relogger { token: token.into(), pid, logged: 0, left_out: 0 };
    let mut window_ends = Instant::now() + Duration::from_millis(WINDOW_MS);
    let mut line = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(count @ 1..) = stderr.read(&mut chunk).await {
        if Instant::now() >= window_ends {
            log.start_window();
            window_ends = Instant::now() + Duration::from_millis(WINDOW_MS);
        }
        for octet in &chunk[..count] {
            if *octet != b'\n' {
                line.push(*octet);
            }
            if *octet == b'\n' || line.len() >= LINE_BYTES_MAX {
                log.log_line(&line);
                line.clear();
            }
        }
        if log.left_out > 0 {
            sleep(Duration::from_millis(SKIM_MS)).await;
        }
    }
    log.log_line(&line);
    log.start_window();
}

struct Relogger {
    token: Arc<str>,
    pid: u32,
    logged: u64,
    left_out: u64,
}

impl Relogger {
    fn log_line(&mut self, line: &[u8]) {
        if self.logged >= LINES_MAX {
            self.left_out += 1;
            return;
        }
        let (token, pid) = (&*self.token, self.pid);
        let text = sanitise(&String::from_utf8_lossy(line));
        let text = text.trim();
        match text.split_once(' ') {
            Some(("ERROR", words)) => tracing::error!(token, pid, "signer: {}", words.trim()),
            Some(("WARN", words)) => tracing::warn!(token, pid, "signer: {}", words.trim()),
            Some(("INFO", words)) => tracing::info!(token, pid, "signer: {}", words.trim()),
            _ if text.is_empty() => return,
            _ => tracing::warn!(token, pid, "signer, or its module: {text}"),
        }
        self.logged += 1;
    }

    fn start_window(&mut self) {
        if self.left_out > 0 {
            let (token, pid, lines) = (&*self.token, self.pid, self.left_out);
            tracing::warn!(token, pid, lines, "signer, or its module: further lines left out");
        }
        (self.logged, self.left_out) = (0, 0);
    }
}
