//! A seccomp filter with the system calls that a module is denied. It is a deny list, because the needs of
//! vendors' modules differ; the unit file has an allow list (`SystemCallFilter=`).
//!
//! Calls after [`LAST_LOOKED_AT`] are denied too, because this file was written before they existed.
//!
//! Denied calls fail with EPERM, as they do in a unit file. Two kinds fail with ENOSYS, as on a kernel
//! without them, so that libraries fall back to older calls: `clone3`, whose arguments a filter cannot see,
//! and the calls after the last one that was reviewed.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter, sock_filter,
};

use crate::hsm::sandbox::Network;

/// Denied with any arguments.
const DENIED: &[c_long] = &[
    // Running other programs. Threads are created by clone.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Access to other processes: their memory, descriptors and signals.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_kcmp,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_tkill,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // Calls that bypass this filter, or act on kernel objects in general.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_personality,
    // Not covered by Landlock: modes, owners and attributes by path, even of files that a module may not
    // open. By descriptor, mode and group may be changed (fchmod, fchown), because modules do so with their
    // own files; config/chancery.toml says what follows for files that a module may only read.
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    // Administration of the system.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // A signer serves no connections.
    libc::SYS_listen,
];

/// The same in the older calls of this architecture.
#[cfg(target_arch = "x86_64")]
const DENIED_OF_OLD: &[c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
];
/// The same in the older calls of this architecture.
#[cfg(not(target_arch = "x86_64"))]
const DENIED_OF_OLD: &[c_long] = &[];

/// The last call that was reviewed: `mseal`, of Linux 6.10. From [`FIRST_IN_COMMON`] on all architectures
/// have the same numbers. The next ones are `setxattrat`, `getxattrat`, `listxattrat` and `removexattrat`
/// (463 to 466, Linux 6.13), `open_tree_attr` (467, 6.15), `file_getattr` and `file_setattr` (468 and 469,
/// 6.17): attributes by path, and mounts, which no module needs. Review each call up to the new one before
/// you raise this number.
const LAST_LOOKED_AT: u32 = 462;
/// `pidfd_send_signal`: from here on a call has the same number on every architecture.
const FIRST_IN_COMMON: u32 = 424;
/// The last of this architecture's own numbers: `uretprobe`, which is called for the kernel's tracers. The
/// gap above it in the kernel's table is for further calls of this architecture.
#[cfg(target_arch = "x86_64")]
const LAST_OF_ITS_OWN: u32 = 335;
/// The last of the numbers that 64-bit architectures shared before: `kexec_file_load`.
#[cfg(not(target_arch = "x86_64"))]
const LAST_OF_ITS_OWN: u32 = 294;

/// Calls that open another socket than the one to the front.
const SOCKETS: &[c_long] = &[libc::SYS_socket, libc::SYS_socketpair, libc::SYS_connect];

/// `PR_SET_PTRACER`: who may trace.
const PR_SET_PTRACER: u64 = 0x5961_6d61;
/// `F_SETOWN_EX`, which libc lacks for some C libraries.
const F_SETOWN_EX: u64 = 15;
/// `F_SETSIG`: which signal a descriptor sends to its owner.
const F_SETSIG: u64 = 10;
/// `F_SETLEASE`: a lease keeps others from opening a file for up to 45 s (fcntl(2)).
const F_SETLEASE: u64 = 1_024;
/// `PR_SCHED_CORE`: which processes share a core.
const PR_SCHED_CORE: u64 = 62;
/// Sets flags of a file such as append-only, even of one that may only be read when the service owns it
/// (ioctl_iflags(2)).
const FS_IOC_SETFLAGS: u64 = 0x4008_6602;
/// The same, including the project id (ioctl_fssetxattr(2)).
const FS_IOC_FSSETXATTR: u64 = 0x401c_5820;
/// `IOPRIO_WHO_PROCESS`.
const IOPRIO_WHO_PROCESS: u64 = 1;
/// The same as `F_SETOWN`, by ioctl(2), in its two spellings (asm-generic/sockios.h).
const FIOSETOWN: u64 = 0x8901;
/// See [`FIOSETOWN`].
const SIOCSPGRP: u64 = 0x8902;

/// Rules by system call. An empty list denies the call with any arguments.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Applies to this thread and all threads that it will create.
pub(super) fn filter(network: Network) -> Result<String, String> {
    let words = |error: &dyn std::fmt::Display| {
        format!("system calls: {error}: the module can make what the service can make")
    };
    for program in programs(network) {
        let program = program.map_err(|error| words(&error))?;
        apply_filter(&program).map_err(|error| words(&error))?;
    }
    Ok(match network {
        Network::None => "system calls (seccomp, no sockets)".to_owned(),
        Network::Local => "system calls (seccomp, local sockets)".to_owned(),
        Network::Any => "system calls (seccomp)".to_owned(),
    })
}

fn programs(network: Network) -> [Result<BpfProgram, BackendError>; 3] {
    let hidden = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    [Ok(only_known_calls()), compile(hidden, libc::ENOSYS), denied(network).and_then(deny)]
}

/// Denies every number that is not that of a reviewed call, including the numbers of the x32 ABI, which have
/// bit 30 set. The architecture is checked by the other filters.
fn only_known_calls() -> BpfProgram {
    // linux/bpf_common.h: load a word, jump if above, jump if not below, return.
    const LOAD: u16 = 0x20;
    const ABOVE: u16 = 0x25;
    const FROM: u16 = 0x35;
    const RETURN: u16 = 0x06;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        // The number of the call is the first word of seccomp_data.
        step(LOAD, 0, 0, 0),
        step(ABOVE, 3, 0, LAST_LOOKED_AT),
        step(FROM, 1, 0, FIRST_IN_COMMON),
        step(ABOVE, 1, 0, LAST_OF_ITS_OWN),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
    ]
}

fn deny(rules: Rules) -> Result<BpfProgram, BackendError> {
    compile(rules, libc::EPERM)
}

fn compile(rules: Rules, errno: i32) -> Result<BpfProgram, BackendError> {
    let action = SeccompAction::Errno(errno.unsigned_abs());
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?.try_into()
}

fn denied(network: Network) -> Result<Rules, BackendError> {
    let me = u64::from(rustix::process::getpid().as_raw_nonzero().get().unsigned_abs());
    let mut rules: Rules =
        DENIED.iter().chain(DENIED_OF_OLD).map(|call| (*call, Vec::new())).collect();
    let mut when = |call: c_long, argument: u8, op: SeccompCmpOp, value: u64| {
        let rule = SeccompRule::new(vec![is(argument, op, value)?])?;
        rules.entry(call).or_default().push(rule);
        Ok::<_, BackendError>(())
    };
    // Without CLONE_THREAD, clone creates a process.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    when(libc::SYS_clone, 0, SeccompCmpOp::MaskedEq(thread), 0)?;
    for call in
        [libc::SYS_kill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo]
    {
        when(call, 0, SeccompCmpOp::Ne, me)?;
    }
    for (call, argument) in [
        (libc::SYS_prlimit64, 0),
        (libc::SYS_sched_setaffinity, 0),
        (libc::SYS_sched_setscheduler, 0),
        (libc::SYS_sched_setparam, 0),
        (libc::SYS_sched_setattr, 0),
        (libc::SYS_setpriority, 1),
        (libc::SYS_ioprio_set, 1),
    ] {
        when(call, argument, SeccompCmpOp::Ne, 0)?;
    }
    // With 0 they refer to this thread, its process group, or all processes of its user, depending on the
    // first argument.
    for (call, process) in [
        (libc::SYS_setpriority, libc::PRIO_PROCESS.into()),
        (libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS),
    ] {
        when(call, 0, SeccompCmpOp::Ne, process)?;
    }
    for option in
        [libc::PR_SET_DUMPABLE as u64, libc::PR_SET_MM as u64, PR_SET_PTRACER, PR_SCHED_CORE]
    {
        when(libc::SYS_prctl, 0, SeccompCmpOp::Eq, option)?;
    }
    for command in [libc::F_SETOWN as u64, F_SETOWN_EX, F_SETSIG, F_SETLEASE] {
        when(libc::SYS_fcntl, 1, SeccompCmpOp::Eq, command)?;
    }
    for request in
        [FIOSETOWN, SIOCSPGRP, libc::TIOCSTI, libc::TIOCLINUX, FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR]
    {
        when(libc::SYS_ioctl, 1, SeccompCmpOp::Eq, request)?;
    }
    // The keeper sets it to SIGKILL after the login; nothing else may be set.
    rules.entry(libc::SYS_prctl).or_default().push(SeccompRule::new(vec![
        is(0, SeccompCmpOp::Eq, libc::PR_SET_PDEATHSIG as u64)?,
        is(1, SeccompCmpOp::Ne, libc::SIGKILL.unsigned_abs().into())?,
    ])?);
    // By path; by descriptor the path is null. The argument is a pointer.
    let path = SeccompCondition::new(1, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)?;
    rules.insert(libc::SYS_utimensat, vec![SeccompRule::new(vec![path])?]);
    match network {
        Network::None => rules.extend(SOCKETS.iter().map(|call| (*call, Vec::new()))),
        Network::Local => families(&mut rules, &[libc::AF_UNIX])?,
        Network::Any => families(
            &mut rules,
            // Resolvers ask the kernel for its addresses over netlink.
            &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK],
        )?,
    }
    Ok(rules)
}

/// Denies sockets of all other address families.
fn families(rules: &mut Rules, allowed: &[i32]) -> Result<(), BackendError> {
    let other = allowed
        .iter()
        .map(|family| is(0, SeccompCmpOp::Ne, u64::from(family.unsigned_abs())))
        .collect::<Result<_, _>>()?;
    let other = SeccompRule::new(other)?;
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        rules.insert(call, vec![other.clone()]);
    }
    Ok(())
}

/// Compares 32 bits, because the kernel ignores the upper half of these arguments.
fn is(argument: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)
}

#[cfg(test)]
mod tests;
