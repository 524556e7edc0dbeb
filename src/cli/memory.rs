//! PINs and private keys are in our memory; none of it may come to lie on a disk.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

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
