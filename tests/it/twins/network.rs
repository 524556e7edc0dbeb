//! A twin behind another module, in a process of its own that can be killed and frozen: what a network
//! HSM looks like from here.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::{
    A, B,
    outages::{SIGN_DEADLINE_MS, assert_nothing_was_lost, under_load},
    wait_for_check,
};
use crate::{
    appliance::{Appliance, SOON, children_of, signal, until},
    evidence::Held,
    load::leaf,
};

/// `p11-kit server`: a socket with a token behind it; one process for each connection.
struct Server {
    child: Child,
    socket: PathBuf,
}

impl Server {
    fn start(appliance: &Appliance) -> Self {
        let socket = appliance.path("p11.sock");
        let child = Command::new("p11-kit")
            .args(["server", "-f", "-n"])
            .arg(&socket)
            .args(["--provider", "/usr/lib/softhsm/libsofthsm2.so", "pkcs11:token=b"])
            .env("SOFTHSM2_CONF", appliance.path("softhsm2-b.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("p11-kit is needed: run ./tests/run.sh");
        until(SOON, || socket.exists().then_some(())).expect("a server");
        Self { child, socket }
    }

    fn signal(&self, name: &str) {
        // It takes no more connections while those that there are are looked for.
        signal(self.child.id(), "STOP");
        let connections = children_of(self.child.id());
        for pid in connections.into_iter().chain([self.child.id()]) {
            signal(pid, name);
        }
    }

    fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.signal("KILL");
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// The module that speaks to it.
fn client_module() -> String {
    let directories = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut modules = directories.map(|entry| entry.path().join("pkcs11/p11-kit-client.so"));
    let module = modules.find(|module| module.exists());
    module.expect("p11-kit-modules is needed: run ./tests/run.sh").display().to_string()
}

#[test]
fn twins_of_two_modules_may_go_in_turn_and_no_request_is_lost() {
    let settings = format!("sign_deadline_ms = {SIGN_DEADLINE_MS}\ncanary_seconds = 1");
    let appliance = Appliance::with_twins_added(&settings, |appliance| {
        let socket = appliance.path("p11.sock");
        let address = format!("P11_KIT_SERVER_ADDRESS = \"unix:path={}\"", socket.display());
        let settings =
            format!("environment = {{ {address} }}\nstart_deadline_ms = 5000\n{settings}");
        appliance.add_token_b_behind(&client_module(), &settings);
    });
    let server = Server::start(&appliance);
    let (daemon, load) = under_load(&appliance);
    let mut held = Vec::new();

    server.kill();
    let (status, _) = wait_for_check(&daemon, &format!("token:{B}"), "away");
    assert_eq!(status, 200);
    load.wait_for(200, 20, SOON);
    let server = Server::start(&appliance);
    wait_for_check(&daemon, &format!("token:{B}"), "ok");

    // A server that is there and silent.
    server.signal("STOP");
    for round in 0..10 {
        let leaf = leaf("twin", &format!("While one is silent {round}"));
        held.push(Held::of(&daemon.client.issue("certificate", &leaf).ok()));
    }
    // Its signers were given up, and the next did not come up: longer than any request may wait.
    wait_for_check(&daemon, &format!("token:{B}"), "away");
    server.signal("CONT");
    wait_for_check(&daemon, &format!("token:{B}"), "ok");

    // Now the other, with all of the load on this one.
    appliance.move_away(A);
    wait_for_check(&daemon, &format!("token:{A}"), "away");
    load.wait_for(200, 20, SOON);
    appliance.move_back(A);
    wait_for_check(&daemon, &format!("token:{A}"), "ok");
    assert_nothing_was_lost(&appliance, daemon, load, held);
    drop(server);
}
