//! A provisioned appliance and the daemon on it, with what the kernel says of its processes.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const DAEMON: &str = env!("CARGO_BIN_EXE_chancery");
/// How long a start may take before the run is given up.
const START_MAX: Duration = Duration::from_secs(30);
/// Clock ticks per second in `/proc/PID/stat`; Linux shows 100 to user space everywhere.
const TICKS_PER_SECOND: u64 = 100;

/// Token, TLS files and configuration in a directory under `target`.
pub struct Appliance {
    directory: PathBuf,
    program: PathBuf,
}

impl Appliance {
    /// A new one, by the script that people use. `program`: another daemon than the one just built.
    pub fn provision(program: Option<PathBuf>) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("load");
        let _ = fs::remove_dir_all(&directory);
        let status = Command::new(Path::new(ROOT).join("softhsm/demo.sh"))
            .arg("--provision")
            .arg(&directory)
            .status()
            .unwrap();
        assert!(status.success(), "softhsm/demo.sh --provision: {status}");
        // One client makes the whole load, and how fast it is served is what is measured.
        let config = directory.join("chancery.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(config, format!("{text}\n[limits]\nclient_requests_per_minute = 0\n")).unwrap();
        Self { directory, program: program.unwrap_or_else(|| DAEMON.into()) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What `listen` says in a section of the configuration.
    fn listens(&self, config: &Path, section: &str) -> SocketAddr {
        let text = fs::read_to_string(config).unwrap();
        let section = text.split_once(&format!("[{section}]")).unwrap().1;
        let value = section.split_once("listen = \"").unwrap().1;
        value.split_once('"').unwrap().0.parse().unwrap()
    }

    /// Starts the daemon on an empty ledger and waits until it is ready.
    pub fn start(&self, config: &Path) -> Daemon {
        for name in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"] {
            let _ = fs::remove_file(self.path(name));
        }
        self.start_again(config)
    }

    /// The same on the ledger that is there.
    pub fn start_again(&self, config: &Path) -> Daemon {
        let log = self.path("chancery.log");
        let child = Command::new(&self.program)
            .args(["serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let (api, operations) = (self.listens(config, "api"), self.listens(config, "operations"));
        let mut daemon = Daemon { child, api, operations, log, signers: Vec::new() };
        daemon.wait_until(is_ready);
        daemon.signers = children_of(daemon.child.id());
        daemon
    }
}

/// A running daemon; stopped when dropped.
pub struct Daemon {
    child: Child,
    pub api: SocketAddr,
    operations: SocketAddr,
    log: PathBuf,
    signers: Vec<u32>,
}

/// CPU time that was used up to now.
#[derive(Clone, Copy)]
pub struct Usage {
    pub front: Duration,
    pub signers: Duration,
}

impl Daemon {
    /// The daemon is ready with its first signer; this waits for both.
    pub fn wait_for_both_signers(&mut self) {
        self.wait_until(|operations| {
            let metrics = get(operations, "metrics").unwrap();
            let line = metrics.lines().find(|line| line.starts_with("chancery_token_signers{"));
            line.unwrap().ends_with(" 2")
        });
    }

    fn wait_until(&mut self, holds: impl Fn(SocketAddr) -> bool) {
        let started = Instant::now();
        while !holds(self.operations) {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && started.elapsed() < START_MAX,
                "the daemon does not serve:\n{}",
                fs::read_to_string(&self.log).unwrap()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// CPU time of the front and of all signers. The second signer starts after readiness, so the
    /// list of processes is read anew; one that ended would take its time along.
    pub fn usage(&mut self) -> Usage {
        let now = children_of(self.child.id());
        assert!(self.signers.iter().all(|pid| now.contains(pid)), "a signer was lost in the run");
        self.signers = now;
        let signers = self.signers.iter().map(|pid| cpu_of(&pid.to_string())).sum();
        Usage { front: cpu_of(&self.child.id().to_string()), signers }
    }

    /// Resident memory of the front, in MiB.
    pub fn resident_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
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

fn children_of(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()
        })
        .collect()
}

fn is_ready(operations: SocketAddr) -> bool {
    get(operations, "readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
}

fn get(operations: SocketAddr, page: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(operations)?;
    write!(stream, "GET /{page} HTTP/1.1\r\nhost: load\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
