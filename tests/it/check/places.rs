//! What `chancery check` says of files and addresses before they are in the way.

use super::check;
use crate::appliance::Appliance;

#[test]
fn a_secret_that_others_can_read_is_told_whatever_file_it_is_in() {
    let appliance = Appliance::new();
    let told = |file: &str, mode: &str| {
        appliance.shell(&format!("chmod {mode} {file}"));
        let (good, text) = check(&appliance);
        assert!(good && text.contains("no problems"), "a warning is no problem: {text}");
        let config = appliance.config();
        let output =
            appliance.run(&["check", "--config-only", "--config", config.to_str().unwrap()]);
        assert!(output.status.success());
        let alone = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(text.contains("warning: "), alone.contains("warning: "), "{text}\n{alone}");
        appliance.shell(&format!("chmod 600 {file}"));
        text.lines().find(|line| line.starts_with("warning: ")).unwrap_or_default().to_owned()
    };
    for (file, setting) in
        [("pin", "tokens 'softhsm': pin_file: "), ("pki/server.key", "api.private_key: ")]
    {
        for (mode, wanted) in [
            ("600", false),
            ("400", false),
            ("644", true),
            ("604", true),
            ("640", true),
            ("666", true),
            ("602", true),
            ("660", true),
        ] {
            let said = told(file, mode);
            let is_told = said.starts_with(&format!("warning: {setting}"))
                && said.contains(file)
                && said.contains(&format!("(mode 0{mode})"));
            assert_eq!(is_told, wanted, "{file} {mode}: {said}");
        }
    }
    // And the daemon says so at its start.
    appliance.shell("chmod 644 pin");
    let daemon = appliance.start();
    assert!(daemon.log().contains("pin_file: ") && daemon.log().contains("(mode 0644)"));
    daemon.stop();
}

/// As `SetCredential=` of the unit has it.
#[test]
fn a_credential_that_is_missing_is_told_with_the_file_that_the_unit_names() {
    let appliance = Appliance::new();
    appliance.configure(|text| {
        text.replace("\"pki/server.key\"", "\"credential:tls-key\"")
            .replace("\"pin\"", "\"credential:pin\"")
    });
    appliance
        .shell("mkdir credentials; cp pki/server.key credentials/tls-key; cp pin credentials/pin");
    for (credential, setting) in
        [("pin", "tokens 'softhsm': pin_file"), ("tls-key", "api.private_key")]
    {
        appliance.shell(&format!(
            "cp credentials/{credential} kept; \
             printf 'chancery-missing:/etc/chancery/credentials/{credential}' >credentials/{credential}"
        ));
        let wanted = format!("{setting}: /etc/chancery/credentials/{credential} is missing");
        let said = appliance.refuses_to_start();
        assert!(said.contains(&wanted), "{said}");
        let (good, text) = check(&appliance);
        assert!(!good && text.contains(&wanted), "{text}");
        appliance.shell(&format!("cp kept credentials/{credential}"));
    }
    assert!(check(&appliance).0);
}

#[test]
fn listeners_that_exclude_each_other_are_told_before_they_do() {
    let appliance = Appliance::new();
    let listen = |api: &str, operations: &str, distribution: &str| {
        let mut listeners = [api, operations, distribution].into_iter();
        appliance.configure(|text| {
            text.lines()
                .map(|line| match line.starts_with("listen = ") {
                    true => format!("listen = \"{}\"\n", listeners.next().unwrap()),
                    false => format!("{line}\n"),
                })
                .collect()
        });
        let config = appliance.config();
        let output =
            appliance.run(&["check", "--config-only", "--config", config.to_str().unwrap()]);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let taken = |said: &str| said.matches(" is taken by ").count();
    assert_eq!(taken(&listen("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0")), 0);
    assert_eq!(taken(&listen("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")), 0);
    let said = listen("0.0.0.0:1", "127.0.0.1:1", "[::]:2");
    assert!(
        said.contains("operations.listen: 127.0.0.1:1 is taken by api.listen, which is 0.0.0.0:1"),
        "{said}"
    );
    assert_eq!(taken(&said), 1);
    assert_eq!(taken(&listen("127.0.0.1:1", "127.0.0.1:2", "[::]:1")), 1);
    assert_eq!(taken(&listen("127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:1")), 3);
}
