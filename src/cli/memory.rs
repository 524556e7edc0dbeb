//! PINs and private keys are in our memory; none of it may come to lie on a disk. And it is to be
//! small.

use rustix::{
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit},
    thread::disable_transparent_huge_pages,
};

/// No huge pages: the allocator asks for them, and they hold twice the memory that is in use.
pub(super) fn keep_small() {
    if let Err(error) = disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay possible");
    }
}

/// No core dumps of this process, whatever the system's settings (prctl(2), PR_SET_DUMPABLE).
pub(super) fn keep_off_disk() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none);
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "tracing by other processes stays possible");
        // A service manager may forbid to set limits; a process that is not dumpable needs none.
        if let Err(error) = limited {
            tracing::warn!(%error, "core dumps stay possible");
        }
    }
}
