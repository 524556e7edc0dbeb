//! Measures what this process uses of memory, descriptors and sessions.

use std::{
    fs, io,
    os::fd::AsRawFd,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use cryptoki::slot::TokenInfo;
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use crate::hsm::Usage;

/// Sessions that the token has open for this process, as it last reported.
static SESSIONS: AtomicU64 = AtomicU64::new(UNTOLD);
const UNTOLD: u64 = u64::MAX;

/// Records what the token reports.
pub(super) fn note(info: &TokenInfo) {
    SESSIONS.store(info.session_count().unwrap_or(UNTOLD), Relaxed);
}

/// Takes some microseconds.
pub(super) fn measure() -> Usage {
    let sessions = SESSIONS.load(Relaxed);
    Usage {
        memory: memory().unwrap_or(0),
        descriptors: descriptors(),
        sessions: (sessions != UNTOLD).then_some(sessions),
    }
}

/// Data and stack, of which `RLIMIT_DATA` limits the first, or resident memory if that is larger, because
/// shared mappings count for no limit (proc_pid_statm(5)). In octets.
fn memory() -> Option<u64> {
    let sizes = fs::read_to_string("/proc/self/statm").ok()?;
    let sizes: Vec<u64> =
        sizes.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let pages = sizes.get(1)?.max(sizes.get(5)?);
    pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
}

/// The lowest free descriptor number: a lower bound of the open ones, exact when there are no gaps, and a
/// leak fills all gaps.
fn descriptors() -> u32 {
    match fcntl_dupfd_cloexec(io::stdin(), 0) {
        Ok(free) => u32::try_from(free.as_raw_fd()).unwrap_or(0),
        Err(Errno::MFILE) => u32::MAX,
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_shows() {
        let before = measure();
        let memory = vec![1_u8; 64 << 20];
        let files: Vec<_> = (0..200).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let after = measure();
        assert!(after.memory >= before.memory + memory.len() as u64, "{before:?} {after:?}");
        assert!(after.descriptors as usize >= files.len(), "{before:?} {after:?}");
    }
}
