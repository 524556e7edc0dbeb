//! The verdicts of the filters on a call, by running the programs that the kernel gets.

use super::*;

const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 62 | 0x8000_0000 | 0x4000_0000;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 183 | 0x8000_0000 | 0x4000_0000;

/// Runs one BPF program (bpf(4)) on a call, as the kernel would.
fn run(program: &[sock_filter], call: u32, arguments: [u64; 6]) -> u32 {
    let word = |offset: u32| match offset {
        0 => call,
        4 => AUDIT_ARCH,
        8 | 12 => 0,
        _ => {
            let (index, upper) = ((offset - 16) / 8, (offset - 16) % 8 == 4);
            let halves = arguments[index as usize].to_le_bytes();
            let half = if upper { &halves[4..] } else { &halves[..4] };
            u32::from_le_bytes(half.try_into().unwrap())
        }
    };
    let (mut accumulator, mut at) = (0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at].clone();
        let branch = |is: bool| usize::from(if is { jt } else { jf });
        at += 1;
        match u32::from(code) {
            0x20 => accumulator = word(k),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += branch(accumulator == k),
            0x25 => at += branch(accumulator > k),
            0x35 => at += branch(accumulator >= k),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

/// The verdict of all programs together: a call is denied if one of them denies it.
fn verdict(network: Network, call: u32, arguments: [u64; 6]) -> u32 {
    let programs = programs(network).map(Result::unwrap);
    let said = programs.iter().map(|program| run(program, call, arguments));
    said.min_by_key(|said| (*said == ALLOWED, *said)).unwrap()
}

/// The first arguments of a call; the others are 0.
fn with<const N: usize>(first: [u64; N]) -> [u64; 6] {
    std::array::from_fn(|index| first.get(index).copied().unwrap_or_default())
}

fn number(call: c_long) -> u32 {
    u32::try_from(call).unwrap()
}

#[test]
fn the_filters_compile_for_every_kind_of_network() {
    for network in [Network::None, Network::Local, Network::Any] {
        for program in programs(network) {
            let program = program.unwrap();
            // The kernel's limit is 4096 (BPF_MAXINSNS).
            assert!(program.len() < 2_000, "{}", program.len());
        }
    }
}

#[test]
fn a_call_that_nobody_has_looked_at_is_denied_whatever_its_number() {
    let mut unknown: Vec<u32> = (LAST_LOOKED_AT + 1..1_024).collect();
    unknown.extend(LAST_OF_ITS_OWN + 1..FIRST_IN_COMMON);
    // All numbers of the x32 ABI, and numbers with each higher bit set.
    unknown.extend((0..1_024).map(|number| 0x4000_0000 | number));
    unknown.extend((10..32).flat_map(|bit| [1 << bit, 1 << bit | 39, u32::MAX << bit]));
    // setxattrat, getxattrat, listxattrat, removexattrat, open_tree_attr, file_getattr, file_setattr.
    assert!((463..=469).all(|number| unknown.contains(&number)));
    let program = only_known_calls();
    for call in unknown {
        assert_eq!(run(&program, call, [0; 6]), ENOSYS, "{call:#x}");
    }
    for call in [libc::SYS_read, libc::SYS_futex, libc::SYS_close_range, libc::SYS_mseal] {
        assert_eq!(verdict(Network::None, number(call), [0; 6]), ALLOWED, "{call}");
    }
}

#[test]
fn what_reaches_other_processes_is_allowed_for_oneself_alone() {
    let me = u64::from(std::process::id());
    let (process, group, user) = (0, 1, 2);
    let other = me + 1;
    // The upper half of a register is ignored. A negative number is a process group, or all processes.
    let junk = 7 << 32;
    for (call, arguments, wanted) in [
        (libc::SYS_setpriority, with([process, 0, 19]), ALLOWED),
        (libc::SYS_setpriority, with([junk | process, junk, 19]), ALLOWED),
        (libc::SYS_setpriority, with([process, other, 19]), EPERM),
        (libc::SYS_setpriority, with([group, 0, 19]), EPERM),
        (libc::SYS_setpriority, with([user, 0, 19]), EPERM),
        (libc::SYS_setpriority, with([junk | user, 0, 19]), EPERM),
        (libc::SYS_ioprio_set, with([1, 0, 7]), ALLOWED),
        (libc::SYS_ioprio_set, with([1, other, 7]), EPERM),
        (libc::SYS_ioprio_set, with([2, 0, 7]), EPERM),
        (libc::SYS_ioprio_set, with([3, 0, 7]), EPERM),
        (libc::SYS_sched_setaffinity, with([0]), ALLOWED),
        (libc::SYS_sched_setaffinity, with([other]), EPERM),
        (libc::SYS_sched_setscheduler, with([other]), EPERM),
        (libc::SYS_sched_setparam, with([other]), EPERM),
        (libc::SYS_sched_setattr, with([other]), EPERM),
        (libc::SYS_prlimit64, with([0]), ALLOWED),
        (libc::SYS_prlimit64, with([other]), EPERM),
        (libc::SYS_kill, with([me, 0]), ALLOWED),
        (libc::SYS_kill, with([0, 9]), EPERM),
        (libc::SYS_kill, with([u64::MAX, 9]), EPERM),
        (libc::SYS_kill, with([other, 9]), EPERM),
        (libc::SYS_tgkill, with([other, other, 9]), EPERM),
        (libc::SYS_tkill, with([other, 9]), EPERM),
        (libc::SYS_rt_sigqueueinfo, with([other, 9]), EPERM),
        (libc::SYS_pidfd_open, with([other]), EPERM),
        (libc::SYS_process_madvise, with([3]), EPERM),
        (libc::SYS_kcmp, with([other, me]), EPERM),
        (libc::SYS_move_pages, with([other]), EPERM),
        (libc::SYS_migrate_pages, with([other]), EPERM),
        (libc::SYS_prctl, with([PR_SCHED_CORE, 2, other]), EPERM),
        (libc::SYS_fcntl, with([3, libc::F_SETOWN as u64, other]), EPERM),
        (libc::SYS_ioctl, with([3, FIOSETOWN, 0]), EPERM),
    ] {
        assert_eq!(verdict(Network::Any, number(call), arguments), wanted, "{call} {arguments:x?}");
    }
}

#[test]
fn files_that_may_only_be_read_are_not_changed_by_what_landlock_does_not_know() {
    for (call, arguments) in [
        (libc::SYS_fchmodat, with([0])),
        (libc::SYS_fchmodat2, with([0])),
        (libc::SYS_fchownat, with([0])),
        (libc::SYS_utimensat, with([0, 0x1000])),
        (libc::SYS_setxattr, with([0])),
        (libc::SYS_lsetxattr, with([0])),
        (libc::SYS_fsetxattr, with([3])),
        (libc::SYS_removexattr, with([0])),
        (libc::SYS_fremovexattr, with([3])),
        (libc::SYS_name_to_handle_at, with([0])),
        (libc::SYS_open_by_handle_at, with([0])),
        (libc::SYS_fanotify_init, with([0])),
        (libc::SYS_fcntl, with([3, F_SETLEASE, 1])),
        (libc::SYS_ioctl, with([3, FS_IOC_SETFLAGS])),
        (libc::SYS_ioctl, with([3, FS_IOC_FSSETXATTR])),
    ] {
        assert_eq!(verdict(Network::Any, number(call), arguments), EPERM, "{call} {arguments:x?}");
    }
}

#[test]
fn sockets_are_of_the_families_that_the_network_has() {
    let [unix, inet, netlink, packet, tipc] =
        [libc::AF_UNIX, libc::AF_INET, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_TIPC]
            .map(|family| u64::from(family.unsigned_abs()));
    for (network, allowed) in [
        (Network::None, &[][..]),
        (Network::Local, &[unix][..]),
        (Network::Any, &[unix, inet, netlink][..]),
    ] {
        for family in [unix, inet, netlink, packet, tipc] {
            let wanted = if allowed.contains(&family) { ALLOWED } else { EPERM };
            for call in [libc::SYS_socket, libc::SYS_socketpair] {
                let said = verdict(network, number(call), with([family]));
                assert_eq!(said, wanted, "{network:?} {call} {family}");
            }
        }
    }
}
