//! The command line beside the API: what people type.

use std::{fs, process::Output};

use serde_json::json;

use crate::{
    appliance::{
        Appliance, Daemon, Frozen, KMS, SERVICE, SOON, binary, documented, generic_ca, key, until,
    },
    support::leaf,
};

mod files;
mod output;

pub fn run(appliance: &Appliance, arguments: &[&str]) -> Output {
    let profile = appliance.path("client.toml");
    appliance.run(&[arguments, &["--profile", profile.to_str().unwrap()]].concat())
}

pub fn set_up(appliance: &Appliance) -> Daemon {
    set_up_with(appliance, &[])
}

fn set_up_with(appliance: &Appliance, arguments: &[&str]) -> Daemon {
    let daemon = appliance.start_with(arguments);
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
fn the_status_shows_a_daemon_at_a_glance() {
    let appliance = Appliance::new();
    let daemon = set_up_with(&appliance, &["--dev"]);
    daemon.wait_until_ready();
    daemon.client.issue("iso/iacas", &documented("iacas-create.request.json")).ok();

    let (code, shown, error) = text(&run(&appliance, &["status"]));
    assert_eq!(code, Some(0), "{shown}{error}");
    for words in [
        ": ready",
        "warning  --dev",
        "softhsm  ready  closed   2",
        "iaca     1",
        "C=US,CN=Example IACA",
    ] {
        assert!(shown.contains(words), "'{words}' in\n{shown}");
    }
    let (_, json, _) = text(&run(&appliance, &["status", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["status"], "ready");
    assert_eq!(json["tokens"][0]["signed"], 1);
    assert_eq!(json["tokens"][0]["keys"], 14);
    assert_eq!(json["certificates"]["iaca"], 1);
    assert!(json["cas"][0]["daysLeft"].as_i64().unwrap() > 3_000, "{json}");
    assert!(json["ledger"]["auditEntries"].as_u64().unwrap() >= 3, "{json}");

    // Not ready: what is wrong is said, by exit code too.
    let frozen = Frozen::signers_of(&daemon);
    let away = until(SOON, || {
        let (code, shown, _) = text(&run(&appliance, &["status"]));
        (code == Some(1)).then_some(shown)
    });
    let shown = away.expect("the status never said that the HSM hangs");
    assert!(shown.contains(": not-ready") && shown.contains("not ok   token:softhsm"), "{shown}");
    frozen.thaw();
    daemon.stop();
    let (code, _, error) = text(&run(&appliance, &["status"]));
    assert_eq!((code, error.contains("https://")), (Some(2), true), "{error}");
    assert_eq!(text(&appliance.run(&["status", "--url", "https://x"])).0, Some(2));
}

#[test]
fn without_the_grant_the_status_says_what_everyone_may_know() {
    let appliance = Appliance::new();
    appliance.configure(|text| text.replace("\"ops:read\",", ""));
    let daemon = set_up(&appliance);
    daemon.wait_until_ready();
    let (code, shown, _) = text(&run(&appliance, &["status"]));
    assert_eq!(code, Some(0));
    assert!(shown.contains(": ready") && shown.contains("no ops:read"), "{shown}");
}

#[test]
fn watching_goes_on_while_the_daemon_is_away() {
    let appliance = Appliance::new();
    let daemon = set_up(&appliance);
    daemon.wait_until_ready();
    let shown = appliance.path("watched");
    let mut watching = std::process::Command::new(binary())
        .args(["status", "--watch", "1", "--profile"])
        .arg(appliance.path("client.toml"))
        .stdout(fs::File::create(&shown).unwrap())
        .spawn()
        .unwrap();
    let says = |words: &str| {
        let said =
            until(SOON, || fs::read_to_string(&shown).unwrap().contains(words).then_some(()));
        assert!(said.is_some(), "'{words}' in\n{}", fs::read_to_string(&shown).unwrap());
    };
    says(": ready");
    daemon.stop();
    says("onnection refused");
    watching.kill().unwrap();
    watching.wait().unwrap();
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
    let settings = fs::read_to_string(pages.join("chancery.toml.5")).unwrap();
    assert!(settings.contains("sign_deadline_ms"), "{settings}");
    let (_, completions, _) = text(&appliance.run(&["completions", "bash"]));
    assert!(completions.contains("generate"));
}

#[test]
fn a_serial_is_taken_as_other_programs_print_it() {
    let appliance = Appliance::new();
    let daemon = set_up(&appliance);
    let issued = daemon.client.issue("iso/iacas", &documented("iacas-create.request.json")).ok();
    let serial = issued.header("chancery-serial").unwrap();
    let pairs: Vec<_> = serial.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
    for form in [
        serial.to_owned(),
        serial.to_uppercase(),
        format!("0x{serial}"),
        format!("0X{}", serial.to_uppercase()),
        pairs.join(":"),
        pairs.join(" "),
        pairs.join("-"),
        format!("00:{}", pairs.join(":")),
        format!("  {serial}\n"),
    ] {
        let (code, pem, error) = text(&run(&appliance, &["cert", "show", SERVICE, &form, "--pem"]));
        assert_eq!((code, pem.as_str()), (Some(0), issued.certificate()), "{form:?}: {error}");
    }
    for (wrong, words) in [("0xzz", "400"), ("a/../b", "400"), ("abc", "404"), ("", "404")] {
        let (code, _, error) = text(&run(&appliance, &["cert", "show", SERVICE, wrong]));
        // Without a serial it is the list that is asked for.
        let is_refused = code == Some(1) && error.contains(words);
        assert!(is_refused || wrong.is_empty(), "{wrong:?}: {code:?} {error}");
    }
}

#[test]
fn the_key_of_a_valid_certificate_is_deleted_by_who_says_so_and_not_by_mistake() {
    let appliance = Appliance::new();
    let daemon = set_up(&appliance);
    let delete = |path: &str, flags: &[&str]| {
        text(&run(&appliance, &[&["key", "delete", path][..], flags].concat()))
    };
    let stays = |path: &str| text(&run(&appliance, &["key", "show", path])).0 == Some(0);
    let make = |name: &str| {
        let path = format!("{KMS}.{name}");
        assert_eq!(text(&run(&appliance, &["key", "generate", &path])).0, Some(0));
        path
    };
    // One that issues, one that was certified as a leaf by another, one that did so itself.
    let (ca, subject, own, free) = (make("ca"), make("subject"), make("own"), make("free"));
    daemon.client.issue("certificate", &generic_ca("ca", "CA")).ok();
    let mut issued = leaf("subject", "Leaf");
    issued["issuer"] = json!({ "type": "ca-signed", "issuerKeyDescriptor": key("ca") });
    daemon.client.issue("certificate", &issued).ok();
    daemon.client.issue("certificate", &leaf("own", "Own")).ok();

    for path in [&subject, &own] {
        let (code, _, error) = delete(path, &[]);
        assert_eq!(code, Some(1), "{error}");
        assert!(
            error.contains("used by 1 valid certificate") && error.contains("--yes"),
            "{error}"
        );
        assert!(stays(path), "{path}");
        assert_eq!(delete(path, &["--yes"]).0, Some(0));
        assert!(!stays(path), "{path}");
    }
    for flags in [&[][..], &["--yes"]] {
        let (code, _, error) = delete(&ca, flags);
        assert!(code == Some(1) && error.contains("valid CA certificate"), "{flags:?} {error}");
        assert!(stays(&ca), "{flags:?}");
    }
    assert_eq!(delete(&ca, &["--force"]).0, Some(0));
    assert_eq!(delete(&free, &[]).0, Some(0));
    assert!(!stays(&ca) && !stays(&free));
}
