//! What is asked of every PKCS#11 module: a wrong PIN is refused once, keys of each type are made, listed,
//! certify themselves and each other, survive the death of their signers and of the daemon, and are deleted;
//! in the full sandbox.
//!
//! SoftHSM and SoftHSM behind `p11-kit server` are there wherever the tests run. `tests/modules.sh`
//! brings the others, one after the other, and runs the test that is ignored here.

mod trial;

use std::{
    fs,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use trial::{KEY_TYPES, Outcome, Trial};

use crate::appliance::{Appliance, SOON, until};

/// Asks it of a module whose PIN is where that of SoftHSM was.
fn conforms(appliance: Appliance) -> Outcome {
    let pin_file = appliance.path("pin");
    Trial::new(appliance, pin_file).run()
}

#[test]
fn softhsm_does_all_that_is_asked_of_a_module() {
    let outcome = conforms(Appliance::new());
    assert_eq!(outcome.works, KEY_TYPES, "{:?}", outcome.refused);
    assert!(outcome.edwards, "{:?}", outcome.refused);
}

/// A token in another process, which is ended with all its children when dropped.
struct P11Kit(Child);

impl P11Kit {
    fn serve(appliance: &Appliance, socket: &PathBuf) -> Self {
        let server = Command::new("p11-kit")
            .args(["server", "-f", "--provider", "/usr/lib/softhsm/libsofthsm2.so", "--name"])
            .arg(socket)
            .arg("pkcs11:token=chancery-dev")
            .env("SOFTHSM2_CONF", appliance.path("softhsm2.conf"))
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("apt-get install p11-kit: {error}"));
        let server = Self(server);
        until(SOON, || socket.exists().then_some(())).expect("p11-kit server makes its socket");
        server
    }
}

impl Drop for P11Kit {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}

#[test]
fn softhsm_behind_p11_kit_does_all_that_is_asked_of_a_module() {
    let appliance = Appliance::new();
    let socket = appliance.path("p11-kit.socket");
    let _server = P11Kit::serve(&appliance, &socket);
    let module = ["x86_64", "aarch64"]
        .map(|machine| format!("/usr/lib/{machine}-linux-gnu/pkcs11/p11-kit-client.so"))
        .into_iter()
        .find(|path| fs::exists(path).unwrap())
        .expect("apt-get install p11-kit-modules");
    appliance.configure_token(&format!(
        "module = {module:?}\n\
         environment = {{ P11_KIT_SERVER_ADDRESS = \"unix:path={}\" }}",
        socket.display()
    ));
    let outcome = conforms(appliance);
    assert_eq!(outcome.works, KEY_TYPES, "{:?}", outcome.refused);
}

/// `CHANCERY_MODULE` is a file with settings of the token, each on its line; the outcome is written beside
/// it, with the suffix `.outcome`.
#[test]
#[ignore = "run by tests/modules.sh, which brings a module"]
fn the_module_that_is_named_does_what_is_asked_of_a_module() {
    let file = PathBuf::from(std::env::var_os("CHANCERY_MODULE").unwrap());
    let settings = fs::read_to_string(&file).unwrap();
    let pin_file = settings.lines().find_map(|line| line.strip_prefix("pin_file = "));
    let pin_file = PathBuf::from(pin_file.unwrap().trim_matches('"'));
    let appliance = Appliance::new();
    appliance.configure_token(settings.trim_end());
    let Outcome { mut works, edwards, refused, certificate_ms } =
        Trial::new(appliance, pin_file).run();
    if edwards {
        works.push("Ed25519");
    }
    let refused: Vec<Value> =
        refused.into_iter().map(|(key_type, answer)| json!([key_type, answer])).collect();
    let outcome = json!({ "works": works, "refused": refused, "certificate_ms": certificate_ms });
    fs::write(file.with_extension("outcome"), outcome.to_string()).unwrap();
}
