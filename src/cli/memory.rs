//! Settings of the process for its memory: PINs and private keys in it must not reach a disk, and it must stay
//! small.

use rustix::{
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit},
    thread::disable_transparent_huge_pages,
};

/// Disables transparent huge pages, because the allocator asks for them and with them the process held twice the
/// memory that it used.
pub(super) fn keep_small() {
    if let Err(error) = disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay possible");
    }
}

/// Disables core dumps of this process, whatever the system's settings (prctl(2), PR_SET_DUMPABLE).
pub(super) fn keep_off_disk() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none);
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "tracing by other processes stays possible");
        // This may fail, because a sandbox can forbid to set limits. The process is not dumpable anyway.
        if let Err(error) = limited {
            tracing::warn!(%error, "core dumps stay possible");
        }
    }
}
