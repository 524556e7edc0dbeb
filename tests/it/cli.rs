//! The command line beside the API: what people type.

use std::{fs, process::Output};

use crate::appliance::{Appliance, Daemon, KMS, SERVICE, documented};

fn run(appliance: &Appliance, arguments: &[&str]) -> Output {
    let profile = appliance.path("client.toml");
    appliance.run(&[arguments, &["--profile", profile.to_str().unwrap()]].concat())
}

fn set_up(appliance: &Appliance) -> Daemon {
    let daemon = appliance.start();
    let profile = format!(
        "url = \"{}\"\ncacert = \"pki/server-ca.pem\"\ncert = \"pki/client.pem\"\n\
         key = \"pki/client.key\"\n",
        daemon.url
    );
    fs::write(appliance.path("client.toml"), profile).unwrap();
    daemon
}

fn text(output: &Output) -> (Option<i32>, String, String) {
    let string = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    (output.status.code(), string(&output.stdout), string(&output.stderr))
}

#[test]
fn issued_certificates_are_listed_and_shown() {
    let appliance = Appliance::new();
    let daemon = set_up(&appliance);
    let issued = daemon.client.issue("iso/iacas", &documented("iacas-create.request.json")).ok();
    let serial = issued.header("chancery-serial").unwrap();

    let (code, table, _) = text(&run(&appliance, &["cert", "list", SERVICE, "--of", "iaca"]));
    assert_eq!(code, Some(0));
    assert!(table.contains(serial) && table.contains("C=US,CN=Example IACA"), "{table}");
    let (_, none, _) = text(&run(&appliance, &["cert", "list", SERVICE, "--of", "generic"]));
    assert!(!none.contains(serial), "{none}");

    let (_, json, _) = text(&run(&appliance, &["cert", "list", SERVICE, "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["serial"], serial);

    let (_, pem, _) = text(&run(&appliance, &["cert", "show", SERVICE, serial, "--pem"]));
    assert_eq!(pem, issued.certificate());
}

#[test]
fn a_key_is_generated_listed_shown_and_deleted() {
    let appliance = Appliance::new();
    let _daemon = set_up(&appliance);
    let path = format!("{KMS}.from-the-command-line");
    let run = |arguments: &[&str]| text(&run(&appliance, arguments));

    let (code, made, error) = run(&["key", "generate", &path, "--type", "secp384r1"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(made.contains("secp384r1"), "{made}");
    assert!(run(&["key", "list", KMS]).1.contains(&path));
    let (_, pem, _) = run(&["key", "show", &path, "--pem"]);
    assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----"), "{pem}");
    assert_eq!(run(&["key", "delete", &path]).0, Some(0));
    let (code, _, error) = run(&["key", "show", &path]);
    assert_eq!(code, Some(1));
    assert!(error.contains("not found"), "{error}");
}

#[test]
fn the_exit_code_says_who_must_act() {
    let appliance = Appliance::new();
    let daemon = set_up(&appliance);
    let list = ["cert", "list", SERVICE];
    assert_eq!(text(&run(&appliance, &list)).0, Some(0));
    assert_eq!(text(&run(&appliance, &["cert", "list", "test.none"])).0, Some(1));
    assert_eq!(text(&appliance.run(&["cert", "list"])).0, Some(2));
    let (code, _, error) = text(&appliance.run(&[&list[..], &["--url", "https://x"]].concat()));
    assert_eq!((code, error.contains("--cacert")), (Some(4), true), "{error}");
    daemon.stop();
    assert_eq!(text(&run(&appliance, &list)).0, Some(3));
}

#[test]
fn man_pages_and_completions_name_every_subcommand() {
    let appliance = Appliance::new();
    let pages = appliance.path("man");
    fs::create_dir(&pages).unwrap();
    assert_eq!(text(&appliance.run(&["man", pages.to_str().unwrap()])).0, Some(0));
    for page in ["chancery.1", "chancery-serve.1", "chancery-key-generate.1", "chancery-cert.1"] {
        assert!(pages.join(page).exists(), "{page}");
    }
    let (_, completions, _) = text(&appliance.run(&["completions", "bash"]));
    assert!(completions.contains("generate"));
}
