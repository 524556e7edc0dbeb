//! Landlock rules: the part of the file system that a module sees, and TCP, signals and abstract sockets
//! where the kernel covers them.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, Compatible, LandlockStatus, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};

use crate::hsm::sandbox::{Cage, Network};

/// The version that this file was written for: files, TCP, signals, abstract sockets. Review the additional
/// rights of a later version before you raise it.
const LANDLOCK: ABI = ABI::V6;

/// Files that libraries read: themselves, and the configuration of the C library, OpenSSL and p11-kit. Not
/// all of /etc, because PINs and TLS keys lie there.
const SYSTEM: &[&str] = &[
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/localtime",
    "/etc/crypto-policies",
    "/etc/ssl/openssl.cnf",
    "/etc/ssl/certs",
    "/etc/pki/tls/openssl.cnf",
    "/etc/pkcs11",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/crypto",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
];

/// May be written, because it stores nothing.
const SINK: &str = "/dev/null";

/// Restricts this thread and all threads that it will create. Paths that do not exist are skipped.
pub(super) fn fence(cage: &Cage) -> Result<String, String> {
    let enforced = build(cage).and_then(RulesetCreated::restrict_self);
    match enforced.map(|status| status.landlock) {
        Ok(LandlockStatus::Available { effective_abi, .. }) => {
            let abi = effective_abi as i32;
            let less = if effective_abi < LANDLOCK { ", less than newer kernels have" } else { "" };
            Ok(format!("files (Landlock {abi}{less})"))
        }
        Ok(LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => {
            Err("this kernel has no Landlock: the module can read and write what the service can"
                .to_owned())
        }
        Err(error) => Err(format!("Landlock: {error}")),
    }
}

fn build(cage: &Cage) -> Result<RulesetCreated, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(landlock::CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .scope(Scope::Signal)?;
    if cage.network == Network::None {
        ruleset = ruleset.scope(Scope::AbstractUnixSocket)?;
    }
    if cage.network != Network::Any {
        ruleset = ruleset.handle_access(AccessNet::from_all(LANDLOCK))?;
    }
    // Execute is the right for execve, which no module needs; mapping a library needs no right.
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let never = AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock;
    let write = AccessFs::from_all(LANDLOCK) & !never;
    let system = SYSTEM.iter().map(|path| (PathFd::new(path), read));
    let sink = [(PathFd::new(SINK), read | AccessFs::WriteFile)];
    let theirs = cage.read.iter().map(|path| (PathFd::new(path), read));
    let changed = cage.write.iter().map(|path| (PathFd::new(path), write));
    let mut created = ruleset.create()?;
    for (path, access) in system.chain(sink).chain(theirs).chain(changed) {
        if let Ok(path) = path {
            created = allow(created, path, access)?;
        }
    }
    Ok(created)
}

/// Rights that apply to directories only are dropped for files (best effort).
fn allow(
    ruleset: RulesetCreated,
    path: PathFd,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    ruleset.add_rule(PathBeneath::new(path, access))
}
