//! The daemon of an appliance, and its signers.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde_json::Value;
use ureq::Agent;

use crate::{
    appliance::Appliance,
    client::Client,
    processes::{SOON, children_of, settled_signers, signal, until},
    requests::KMS,
};

/// How long to wait for signers that may never come up.
const SETTLED_WITHIN: Duration = Duration::from_secs(3);

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    /// The configured number of signers.
    processes: usize,
    log: PathBuf,
    /// `https://host:port`.
    pub url: String,
    /// Where the API listens.
    pub api: SocketAddr,
    /// `http://host:port` of the operations listener.
    pub operations: String,
    /// `http://host:port` of the distribution listener.
    pub distribution: String,
    /// A client with the provisioned certificate.
    pub client: Client,
}

impl Daemon {
    pub(crate) fn start(appliance: &Appliance, program: &Path, arguments: &[&str]) -> Self {
        let log = appliance.path(&format!("log.{}", rand_suffix()));
        let mut child = Command::new(program)
            .args(["serve", "--config"])
            .arg(appliance.config())
            .args(arguments)
            .stderr(fs::File::create(&log).unwrap())
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let addresses = until(SOON, || {
            let text = fs::read_to_string(&log).unwrap();
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the daemon ended with {status}:\n{text}");
            }
            let line = text.lines().find(|line| line.contains(" serving api="))?;
            let word = |key: &str| {
                let rest = line.split_once(key)?.1;
                Some(rest.split(' ').next()?.trim_matches('"').to_owned())
            };
            let or_none = |key: &str| word(key).unwrap_or_default();
            Some((word("api=")?, or_none("operations="), or_none("distribution=")))
        });
        let (api, operations, distribution) = addresses.expect("the daemon did not start in time");
        let url = format!("https://{api}");
        let client = Client::new(&appliance.path("pki"), &appliance.path("pki/client"), &url);
        let config = fs::read_to_string(appliance.config()).unwrap();
        let processes = config.lines().filter_map(|line| line.strip_prefix("processes = "));
        Self {
            child,
            processes: processes.map(|number| number.parse::<usize>().unwrap()).sum(),
            log,
            url,
            api: api.parse().unwrap(),
            operations: format!("http://{operations}"),
            distribution: format!("http://{distribution}"),
            client,
        }
    }

    /// A client with another certificate.
    pub fn client_with(&self, appliance: &Appliance, certificate: &Path) -> Client {
        self.connector(appliance, certificate)()
    }

    /// Makes such clients; it can be moved into a thread.
    pub fn connector(
        &self,
        appliance: &Appliance,
        certificate: &Path,
    ) -> impl Fn() -> Client + use<> {
        let (pki, certificate) = (appliance.path("pki"), certificate.to_owned());
        let url = self.url.clone();
        move || Client::new(&pki, &certificate, &url)
    }

    /// Waits until `/readyz` answers 200.
    pub fn wait_until_ready(&self) {
        let ready = until(SOON, || {
            let status = ureq::get(format!("{}/readyz", self.operations)).call().ok()?.status();
            (status == 200).then_some(())
        });
        ready.unwrap_or_else(|| panic!("not ready:\n{}", self.log()));
    }

    /// Has each key sign once. A key makes a test signature before its first use; a test that freezes signers wants to
    /// freeze the signature of the request instead.
    pub fn prove(&self, keys: &[&str]) {
        for name in keys {
            let listed = self.client.get(&format!("/v1/{KMS}.{name}/kms-service-api/keys")).ok();
            assert!(listed.json.to_string().contains(name), "{}", listed.json);
        }
    }

    /// Status and checks of `/readyz`.
    pub fn readiness(&self) -> (u16, Value) {
        let agent = Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut answer = agent.get(format!("{}/readyz", self.operations)).call().unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        let mut json: Value = serde_json::from_str(&text).unwrap();
        (answer.status().as_u16(), json["checks"].take())
    }

    /// Waits until `/readyz` says `word` about the token.
    #[track_caller]
    pub fn wait_for_token(&self, word: &str) {
        let said = until(SOON, || (self.readiness().1["token:softhsm"] == word).then_some(()));
        assert!(said.is_some(), "/readyz: {:?}, not {word}\n{}", self.readiness(), self.log());
    }

    /// The process id of the front.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process ids of its signers.
    pub fn signers(&self) -> Vec<u32> {
        children_of(self.pid())
    }

    /// The process ids of its signers, after all of them are up. SoftHSM rewrites its token at each login: a signer that is
    /// frozen or killed while it logs in leaves a broken token.
    pub fn settled_signers(&self) -> Vec<u32> {
        let settled = until(SOON, || settled_signers(self.pid(), self.processes));
        settled.unwrap_or_else(|| panic!("not all signers are up:\n{}", self.log()))
    }

    /// Waits until its signers are up, or a token has refused them, because a key that is generated or read while a
    /// signer logs in may meet a half-written token of SoftHSM.
    pub(crate) fn settled(self) -> Self {
        let fails = || self.log().contains(" no signer token=").then_some(());
        until(SETTLED_WITHIN, || {
            settled_signers(self.pid(), self.processes).map(|_signers| ()).or_else(fails)
        });
        self
    }

    /// Everything that was logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Sends SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM; the daemon must stop with success.
    pub fn stop(mut self) {
        signal(self.pid(), "TERM");
        let status = until(SOON, || self.child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| panic!("did not stop:\n{}", self.log()));
        assert!(status.success(), "{status}\n{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Signers that are stopped with SIGSTOP, as if the HSM did not answer.
pub struct Frozen(Vec<u32>);

impl Frozen {
    /// Stops all signers of a daemon.
    pub fn signers_of(daemon: &Daemon) -> Self {
        Self::these(daemon.settled_signers())
    }

    /// Stops these.
    pub fn these(signers: Vec<u32>) -> Self {
        assert!(!signers.is_empty());
        for pid in &signers {
            signal(*pid, "STOP");
        }
        Self(signers)
    }

    /// Their process ids.
    pub fn pids(&self) -> &[u32] {
        &self.0
    }

    /// Continues them.
    pub fn thaw(mut self) {
        for pid in self.0.drain(..) {
            signal(pid, "CONT");
        }
    }
}

impl Drop for Frozen {
    /// Kills them, because a stopped process does not notice that its front has ended.
    fn drop(&mut self) {
        let read = |pid: &u32, file: &str| {
            fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
        };
        for pid in &self.0 {
            let is_ours = read(pid, "cmdline").ends_with("\0signer\0");
            if is_ours && read(pid, "stat").contains(") T ") {
                signal(*pid, "KILL");
            }
        }
    }
}

fn rand_suffix() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
