//! What this process has, of what a module may take for good.

use std::{
    fs, io,
    os::fd::AsRawFd,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use cryptoki::slot::TokenInfo;
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use crate::hsm::Usage;

/// Sessions that the one token of this process has open for it, as it said last.
static SESSIONS: AtomicU64 = AtomicU64::new(UNTOLD);
const UNTOLD: u64 = u64::MAX;

/// Notes what a token says of itself.
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

/// Data and stack, in octets, of which `RLIMIT_DATA` counts the first; or what is resident, where that is
/// more: what is mapped as shared counts for no limit (proc_pid_statm(5)).
fn memory() -> Option<u64> {
    let sizes = fs::read_to_string("/proc/self/statm").ok()?;
    let sizes: Vec<u64> =
        sizes.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let pages = sizes.get(1)?.max(sizes.get(5)?);
    pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
}

/// The lowest number that is free: so many are open, and what leaks fills all gaps below.
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
