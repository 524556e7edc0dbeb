//! The daemon that is measured, and what the kernel says of its processes.

use std::{
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

pub use chancery_test_support::appliance::Appliance;
use chancery_test_support::{
    appliance::{self, children_of},
    binary, scratch,
};

/// Clock ticks per second in `/proc/PID/stat`; Linux shows 100 to user space everywhere.
const TICKS_PER_SECOND: u64 = 100;

/// An appliance below `target`, because a temporary directory may be held in memory, where a durable
/// commit costs nothing. One client makes the whole load, so there is no rate limit.
pub fn provision() -> Appliance {
    let appliance = Appliance::below(&scratch());
    appliance.declare("[limits]\nclient_requests_per_minute = 0");
    appliance
}

/// A running daemon; stopped when dropped.
pub struct Daemon {
    /// `None` once it is stopped.
    running: Option<appliance::Daemon>,
    signers: Vec<u32>,
}

/// CPU time that was used up to now.
#[derive(Clone, Copy)]
pub struct Usage {
    pub front: Duration,
    pub signers: Duration,
}

impl Daemon {
    /// Starts `program`, or the daemon that was just built, on an empty ledger, and waits until it is
    /// ready with its first signer.
    pub fn start(appliance: &Appliance, program: Option<&PathBuf>) -> Self {
        // With its lock, which says that there was a ledger.
        for file in fs::read_dir(appliance.path("")).unwrap().flatten() {
            if file.file_name().to_string_lossy().starts_with("ledger.sqlite") {
                fs::remove_file(file.path()).unwrap();
            }
        }
        Self::start_again(appliance, program)
    }

    /// The same on the ledger that is there.
    pub fn start_again(appliance: &Appliance, program: Option<&PathBuf>) -> Self {
        let program = program.map_or(Path::new(binary()), PathBuf::as_path);
        let running = appliance.start_unsettled(program);
        running.wait_until_ready();
        let signers = running.signers();
        Self { running: Some(running), signers }
    }

    /// CPU time of the front and of all signers. The second signer starts after readiness, so the
    /// list of processes is read again; one that ended would take its time along.
    pub fn usage(&mut self) -> Usage {
        let now = children_of(self.pid());
        assert!(self.signers.iter().all(|pid| now.contains(pid)), "a signer was lost in the run");
        self.signers = now;
        let signers = self.signers.iter().map(|pid| cpu_of(&pid.to_string())).sum();
        Usage { front: cpu_of(&self.pid().to_string()), signers }
    }

    /// Resident memory of the front, in MiB.
    pub fn resident_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Deref for Daemon {
    type Target = appliance::Daemon;

    fn deref(&self) -> &Self::Target {
        self.running.as_ref().expect("it is stopped when dropped")
    }
}

impl Drop for Daemon {
    /// In order, so that the ledger is one file afterwards.
    fn drop(&mut self) {
        if let Some(running) = self.running.take()
            && !thread::panicking()
        {
            running.stop();
        }
    }
}

/// User and system time of a process (`self` for our own), in steps of 10 ms.
pub fn cpu_of(pid: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The second field is the name in parentheses, which may hold blanks.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |field: &str| field.parse::<u64>().unwrap();
    // utime and stime are fields 14 and 15 of proc_pid_stat(5).
    Duration::from_millis((ticks(fields[11]) + ticks(fields[12])) * 1000 / TICKS_PER_SECOND)
}
