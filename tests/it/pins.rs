//! A wrong PIN, and a daemon that is started again and again: tokens lock after a few tries.

use std::fs;

use crate::{appliance::Appliance, chaos::Chaos, load::leaf};

#[test]
fn a_restart_loop_with_a_wrong_pin_costs_one_try_and_the_right_pin_ends_it() {
    let appliance = Appliance::new();
    let chaos = Chaos::new(appliance.path("chaos"));
    let [(module, softhsm), (place, directory)] =
        chaos.environment("/usr/lib/softhsm/libsofthsm2.so");
    appliance.configure_token(&format!(
        "module = {:?}\nprocesses = 1\nenvironment = {{ {module} = {softhsm:?}, {place} = {directory:?} }}",
        Chaos::module().display().to_string()
    ));
    chaos.order("C_Login trace");
    let right = fs::read(appliance.path("pin")).unwrap();
    fs::write(appliance.path("pin"), "000000\n").unwrap();
    for _ in 0..5 {
        let daemon = appliance.start();
        daemon.wait_for_token("credential fault");
        daemon.kill();
    }
    let output = appliance.run(&["check", "--config", appliance.config().to_str().unwrap()]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    for part in ["has refused the PIN in", "pin before", "ledger.sqlite.tried-pins"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert_eq!(chaos.calls("C_Login"), 1, "tries of the PIN");

    fs::write(appliance.path("pin"), right).unwrap();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    daemon.client.issue("certificate", &leaf("leaf-secp256r1", "Example Leaf")).ok();
    assert!(chaos.calls("C_Login") > 1);
    let kept = fs::read_to_string(appliance.path("ledger.sqlite.tried-pins")).unwrap();
    assert!(kept.contains("taken") && !kept.contains("refused"), "{kept}");
}
