//! What the service manager hears over its socket, without one.

use std::{
    fs,
    io::Read,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::appliance::{Appliance, SOON, binary, settled_signers, signal, until};

/// A daemon under a service manager that is this test.
struct Managed {
    socket: UnixDatagram,
    child: Child,
}

impl Managed {
    fn start(appliance: &Appliance) -> Self {
        Self::start_logging_to(appliance, &appliance.path("log"))
    }

    fn start_logging_to(appliance: &Appliance, log: &Path) -> Self {
        let path = appliance.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let child = Command::new(binary())
            .args(["serve", "--config"])
            .arg(appliance.config())
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "3000000")
            .stderr(fs::File::create(log).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { socket, child }
    }

    /// The next message that has all these words; others are passed over.
    #[track_caller]
    fn hear(&self, words: &[&str]) -> String {
        let deadline = Instant::now() + SOON;
        let mut heard = Vec::new();
        let mut buffer = [0; 8_192];
        while Instant::now() < deadline {
            let Ok(length) = self.socket.recv(&mut buffer) else { continue };
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if words.iter().all(|word| message.contains(word)) {
                return message;
            }
            heard.push(message);
        }
        panic!("nothing with {words:?} in {heard:?}");
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_hears_of_readiness_state_progress_reload_and_end() {
    let appliance = Appliance::new();
    // The last proof is too old for three seconds before signers count as frozen: longer than from one
    // look at the state to the next.
    appliance.configure_token("sign_deadline_ms = 10000\ncanary_seconds = 2");
    let mut managed = Managed::start(&appliance);
    let pid = managed.child.id();
    managed.hear(&["READY=1", "STATUS=serving on ", "token softhsm: ready", "ledger: ok"]);
    managed.hear(&["WATCHDOG=1"]);

    // An HSM that hangs is told, and does not keep the watchdog hungry.
    for signer in until(SOON, || settled_signers(pid, 2)).unwrap() {
        signal(signer, "STOP");
    }
    managed.hear(&["STATUS=degraded on "]);
    managed.hear(&["WATCHDOG=1"]);
    managed.hear(&["STATUS=serving on "]);

    signal(pid, "HUP");
    managed.hear(&["RELOADING=1", "MONOTONIC_USEC="]);
    managed.hear(&["READY=1"]);
    appliance.declare("[[organisations]]\npath = \"no space\"");
    signal(pid, "HUP");
    managed.hear(&["RELOADING=1"]);
    managed.hear(&["READY=1", "last reload refused, 1 problems"]);

    signal(pid, "TERM");
    managed.hear(&["STOPPING=1", "EXTEND_TIMEOUT_USEC="]);
    assert!(managed.child.wait().unwrap().success());
}

/// A full disk under the log, or a pipe that nobody reads.
#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let appliance = Appliance::new();
    let mut managed = Managed::start_logging_to(&appliance, Path::new("/dev/full"));
    let pid = managed.child.id();
    managed.hear(&["READY=1", "STATUS=serving on ", "token softhsm: ready"]);
    let before = until(SOON, || settled_signers(pid, 2)).unwrap();
    for signer in &before {
        signal(*signer, "KILL");
    }
    let replaced = || {
        let now = settled_signers(pid, 2)?;
        (!now.iter().any(|signer| before.contains(signer))).then_some(())
    };
    until(SOON, replaced).expect("signers were not replaced");
    // A refused reload is told, line by line, to nobody; its status says what is wrong.
    appliance.declare("[[organisations]]\npath = \"no space\"");
    signal(pid, "HUP");
    managed.hear(&["READY=1", "last reload refused, 1 problems in the log: ", "no space"]);
    managed.hear(&["WATCHDOG=1"]);
    signal(pid, "TERM");
    managed.hear(&["STOPPING=1"]);
    assert!(managed.child.wait().unwrap().success());
}

/// The name of the threads that do handshakes and HTTP.
const WORKER: &str = "actix-server wo";

/// Holds a thread where it stands until its standard input is closed (ptrace(2)).
const FREEZE: &str = "\
import ctypes, os, sys
ptrace = ctypes.CDLL(None).ptrace
SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
thread = int(sys.argv[1])
assert ptrace(SEIZE, thread, 0, 0) == 0 and ptrace(INTERRUPT, thread, 0, 0) == 0
os.waitpid(thread, WALL)
print('frozen', flush=True)
sys.stdin.read()
";

/// The threads of a process with this name.
fn threads(pid: u32, name: &str) -> Vec<String> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .flatten()
        .filter(|thread| {
            fs::read_to_string(thread.path().join("comm")).is_ok_and(|is| is.trim_end() == name)
        })
        .map(|thread| thread.file_name().into_string().unwrap())
        .collect()
}

#[test]
fn an_event_loop_of_a_listener_that_hangs_leaves_the_watchdog_hungry() {
    let appliance = Appliance::new();
    let managed = Managed::start(&appliance);
    managed.hear(&["READY=1"]);
    managed.hear(&["WATCHDOG=1"]);
    let loops = threads(managed.child.id(), WORKER);
    assert!(!loops.is_empty());
    let mut freezer = Command::new("python3")
        .args(["-c", FREEZE, &loops[0]])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    freezer.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    // What was said before it.
    let until = Instant::now() + Duration::from_secs(1);
    let mut heard = Vec::new();
    let mut buffer = [0; 8_192];
    while Instant::now() < until + Duration::from_secs(4) {
        let Ok(length) = managed.socket.recv(&mut buffer) else { continue };
        if Instant::now() > until {
            heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    }
    assert!(!heard.iter().any(|message| message.contains("WATCHDOG=1")), "{heard:?}");
    drop(freezer.stdin.take());
    assert!(freezer.wait().unwrap().success());
    managed.hear(&["WATCHDOG=1"]);
}

#[test]
fn a_token_that_is_away_is_told_with_its_reason_and_without_its_pin() {
    let appliance = Appliance::new();
    appliance.configure(|text| text.replace("label = \"chancery-dev\"", "label = \"elsewhere\""));
    let pin = fs::read_to_string(appliance.path("pin")).unwrap();
    let managed = Managed::start(&appliance);
    let message = managed.hear(&["READY=1", "STATUS=degraded on ", "token softhsm: away ("]);
    assert!(message.contains("elsewhere") && !message.contains(pin.trim()), "{message}");
}

#[test]
fn a_socket_with_a_foreign_name_keeps_the_daemon_from_starting() {
    let appliance = Appliance::new();
    let output = Command::new("bash")
        .arg("-c")
        .arg(
            "exec 3<&-; exec 3<>/dev/null; export LISTEN_FDS=1 LISTEN_FDNAMES=strange LISTEN_PID=$$
             exec \"$0\" serve --config \"$1\"",
        )
        .arg(binary())
        .arg(appliance.config())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("'strange'"), "{text}");
}
