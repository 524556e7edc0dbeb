//! The program under test, processes, and waiting.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::{Duration, Instant},
};

/// Timeout for things that normally happen at once.
pub const SOON: Duration = Duration::from_secs(20);

/// The program under test, which cargo has built beside this one.
pub fn binary() -> &'static str {
    static BINARY: LazyLock<String> = LazyLock::new(|| {
        let test_program = env::current_exe().unwrap();
        let profile = test_program.parent().and_then(Path::parent).expect("target/debug/deps");
        let binary = profile.join("chancery");
        assert!(binary.exists(), "{} is not there", binary.display());
        binary.into_os_string().into_string().unwrap()
    });
    &BINARY
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/support");
    root.join(path)
}

/// A directory in `target` for files of tests, which cargo calls `CARGO_TARGET_TMPDIR`.
pub fn scratch() -> PathBuf {
    let target = Path::new(binary()).ancestors().nth(2).expect("target/debug/chancery");
    let scratch = target.join("tmp");
    fs::create_dir_all(&scratch).unwrap();
    scratch
}

/// Polls until there is an answer or the time is over.
pub fn until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
}

/// The signers of a front, if there are `wanted` and the tokens of all are open.
pub fn settled_signers(front: u32, wanted: usize) -> Option<Vec<u32>> {
    let signers = children_of(front);
    (signers.len() == wanted && signers.iter().all(|pid| signs(*pid))).then_some(signers)
}

/// Whether the token of a signer is open: it has threads that sign.
pub fn signs(signer: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{signer}/task"));
    threads.is_ok_and(|mut threads| {
        threads.any(|thread| {
            let name = thread.and_then(|thread| fs::read(thread.path().join("comm")));
            name.is_ok_and(|name| name == b"signing\n")
        })
    })
}

/// The child processes of a process.
pub fn children_of(pid: u32) -> Vec<u32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|child| {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            // The name is in parentheses and may contain anything.
            let after = stat.rsplit(')').next().unwrap_or_default();
            let fields: Vec<_> = after.split_whitespace().collect();
            fields.get(1) == Some(&pid.to_string().as_str()) && fields.first() != Some(&"Z")
        })
        .collect()
}
