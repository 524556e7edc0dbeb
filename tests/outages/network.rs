//! A token behind a connection, as with network HSMs: SoftHSM behind `p11-kit server`.

use std::{
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use crate::{
    appliance::{Appliance, SOON, children_of, signal, until},
    outage::wait_for_signers,
    scene::{
        Bed, End, Outage,
        Refused::{Anybody, Somebody},
        outage,
    },
};

#[cfg(target_arch = "x86_64")]
const CLIENT: &str = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so";
#[cfg(target_arch = "aarch64")]
const CLIENT: &str = "/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so";

pub fn outages() -> Vec<Outage> {
    [
        outage("p11-kit server killed and started again", Somebody, |scene| {
            scene.server.as_mut().unwrap().stop();
            scene.wait_until_refused();
            scene.daemon().wait_for_token("away");
            scene.server.as_mut().unwrap().start();
            End::Mended(Instant::now())
        }),
        outage("connections to p11-kit server cut", Anybody, |scene| {
            let before = scene.daemon().signers();
            scene.server.as_ref().unwrap().signal_connections("KILL");
            let cut = Instant::now();
            wait_for_signers(scene.daemon(), &before);
            End::Healed { since: cut }
        }),
        outage("p11-kit server frozen and continued", Somebody, |scene| {
            let server = scene.server.as_ref().unwrap();
            server.signal_connections("STOP");
            server.signal("STOP");
            scene.wait_until_refused();
            server.signal_connections("CONT");
            server.signal("CONT");
            End::Mended(Instant::now())
        }),
    ]
    .into_iter()
    .map(|outage| outage.of(behind_a_server))
    .collect()
}

fn behind_a_server(appliance: &Appliance) -> Bed {
    assert!(Path::new(CLIENT).exists(), "needed: apt-get install p11-kit p11-kit-modules");
    let mut server = Server {
        conf: appliance.path("softhsm2.conf"),
        socket: appliance.path("p11.sock"),
        log: appliance.path("p11-kit.log"),
        child: None,
    };
    server.start();
    let address = format!("unix:path={}", server.socket.display());
    let environment = vec![("P11_KIT_SERVER_ADDRESS".to_owned(), address)];
    Bed { module: CLIENT, environment, server: Some(server) }
}

/// `p11-kit server` for the token of an appliance. It forks a process for each connection.
pub struct Server {
    conf: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// Starts it, and waits until it listens.
    pub fn start(&mut self) {
        let log = || File::options().create(true).append(true).open(&self.log).unwrap();
        let child = Command::new("p11-kit")
            .args(["server", "-f", "--provider", "/usr/lib/softhsm/libsofthsm2.so", "-n"])
            .arg(&self.socket)
            .arg("pkcs11:token=chancery-dev")
            .env("SOFTHSM2_CONF", &self.conf)
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .process_group(0)
            .spawn()
            .unwrap();
        self.child = Some(child);
        until(SOON, || self.socket.exists().then_some(())).expect("p11-kit server listens");
    }

    /// Kills all its processes.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let connections = children_of(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        connections.into_iter().for_each(|pid| signal(pid, "KILL"));
        let _ = std::fs::remove_file(&self.socket);
    }

    /// Sends a signal to the process that listens.
    pub fn signal(&self, name: &str) {
        signal(self.child.as_ref().unwrap().id(), name);
    }

    /// Sends a signal to the processes of the connections.
    pub fn signal_connections(&self, name: &str) {
        let connections = children_of(self.child.as_ref().unwrap().id());
        assert!(!connections.is_empty(), "p11-kit server has no connection");
        connections.into_iter().for_each(|pid| signal(pid, name));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
