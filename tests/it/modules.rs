//! What is asked of every PKCS#11 module: keys of each type are made, listed, certify, survive the death
//! of their signers and a restart of the daemon, and are deleted; in the full sandbox.
//!
//! SoftHSM and SoftHSM behind `p11-kit server` are there wherever the tests run. `tests/modules.sh`
//! brings the others, one after the other, and runs the test that is ignored here.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    appliance::{Appliance, Daemon, KMS, SOON, key_label, signal, until},
    support::leaf,
};

/// As clients write them.
const KEY_TYPES: [&str; 6] = ["secp256r1", "secp384r1", "secp521r1", "RSA", "RSA3072", "RSA4096"];
/// Certificates for the time that one takes.
const ROUNDS: u32 = 20;

/// What came out.
struct Outcome {
    /// Key types that passed everything; none when the module made no key that is fit for use.
    works: Vec<&'static str>,
    /// Key types that the module refused to make, with the answer.
    refused: Vec<(&'static str, String)>,
    /// For a certificate over the API with the first type that works (milliseconds).
    certificate_ms: u128,
}

fn keys_route(path: &str) -> String {
    format!("/v1/{path}/kms-service-api/keys")
}

fn name(key_type: &str) -> String {
    format!("module-{}", key_type.to_lowercase())
}

/// Has the key certify itself and openssl verify that.
fn certifies(appliance: &Appliance, daemon: &Daemon, key_type: &str) {
    let answer = daemon.client.issue("certificate", &leaf(&name(key_type), "Module"));
    assert_eq!(answer.status, 200, "{key_type}: {}\n{}", answer.json, daemon.log());
    fs::write(appliance.path("module.pem"), answer.certificate()).unwrap();
    appliance.shell("openssl verify -check_ss_sig -partial_chain -CAfile module.pem module.pem");
}

fn delete(daemon: &Daemon, key_type: &str) -> u16 {
    let route = format!("{}?force=true", keys_route(&key_label(&name(key_type))));
    daemon.client.send("DELETE", &route, &[], "").unwrap().status
}

fn conforms(appliance: &Appliance) -> Outcome {
    let daemon = appliance.start();
    daemon.wait_until_ready();
    assert!(!daemon.log().contains("cage: missing"), "{}", daemon.log());
    let mut outcome = Outcome { works: Vec::new(), refused: Vec::new(), certificate_ms: 0 };
    for key_type in KEY_TYPES {
        let body = json!({ "backend": "jwk", "keyType": key_type }).to_string();
        let route = format!("{}/generate", keys_route(&key_label(&name(key_type))));
        let answer = daemon.client.post(&route, &body);
        match answer.status {
            201 => outcome.works.push(key_type),
            _ => outcome.refused.push((key_type, answer.json["message"].to_string())),
        }
    }
    println!("{}", daemon.log());
    let Some(&first) = outcome.works.first() else { return outcome };
    let listed = daemon.client.get(&keys_route(KMS)).ok().json.to_string();
    for key_type in &outcome.works {
        assert!(listed.contains(&key_label(&name(key_type))), "{key_type}: {listed}");
        certifies(appliance, &daemon, key_type);
    }
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        daemon.client.issue("certificate", &leaf(&name(first), "Module")).ok();
    }
    outcome.certificate_ms = begin.elapsed().as_millis() / u128::from(ROUNDS);
    for pid in daemon.signers() {
        signal(pid, "KILL");
    }
    let again = || {
        let request = leaf(&name(first), "Module");
        (daemon.client.issue("certificate", &request).status == 200).then_some(())
    };
    until(SOON, again).unwrap_or_else(|| panic!("no new signer:\n{}", daemon.log()));
    daemon.stop();

    let daemon = appliance.start();
    daemon.wait_until_ready();
    for key_type in &outcome.works {
        certifies(appliance, &daemon, key_type);
        assert_eq!(delete(&daemon, key_type), 200, "{key_type}\n{}", daemon.log());
        assert_eq!(delete(&daemon, key_type), 404, "{key_type}");
        let gone = daemon.client.issue("certificate", &leaf(&name(key_type), "Gone"));
        assert_ne!(gone.status, 200, "{key_type}: a deleted key signs");
    }
    daemon.stop();
    outcome
}

#[test]
fn softhsm_does_all_that_is_asked_of_a_module() {
    let outcome = conforms(&Appliance::new());
    assert_eq!(outcome.works, KEY_TYPES, "{:?}", outcome.refused);
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
    let outcome = conforms(&appliance);
    assert_eq!(outcome.works, KEY_TYPES, "{:?}", outcome.refused);
}

/// `CHANCERY_MODULE` is a file with settings of the token, each on its line; the outcome is written beside
/// it, with the suffix `.outcome`.
#[test]
#[ignore = "run by tests/modules.sh, which brings a module"]
fn the_module_that_is_named_does_what_is_asked_of_a_module() {
    let settings = PathBuf::from(std::env::var_os("CHANCERY_MODULE").unwrap());
    let appliance = Appliance::new();
    appliance.configure_token(fs::read_to_string(&settings).unwrap().trim_end());
    let Outcome { works, refused, certificate_ms } = conforms(&appliance);
    let refused: Vec<Value> =
        refused.into_iter().map(|(key_type, answer)| json!([key_type, answer])).collect();
    let outcome = json!({ "works": works, "refused": refused, "certificate_ms": certificate_ms });
    fs::write(settings.with_extension("outcome"), outcome.to_string()).unwrap();
}
