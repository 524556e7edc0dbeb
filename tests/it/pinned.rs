//! A key path that has a public key on record is never given to another key: not by another token in place
//! of the first, not by a key that has gone, not by a listing that leaves it out.

use std::fs;

use serde_json::json;

use crate::{
    appliance::{Answer, Appliance, Daemon, KMS, SOON, key_label, until},
    chaos::Chaos,
    load::{assert_clean_refusal, csr, leaf},
};

const KEY: &str = "kept";
/// Of the appliance, and not pinned to begin with.
const ANOTHER_KEY: &str = "leaf-secp256r1";
const LABEL: &str = "chancery-dev";

/// An appliance on whose token the key is, imported from a file, and of which it is the only pinned one.
fn with_pinned_key() -> Appliance {
    let appliance = Appliance::new();
    appliance.shell("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out kept.pem");
    import(&appliance, LABEL, "kept.pem");
    let daemon = appliance.start();
    issue(&daemon).ok();
    daemon.stop();
    appliance
}

fn import(appliance: &Appliance, token: &str, file: &str) {
    let label = key_label(KEY);
    appliance.shell(&format!(
        "softhsm2-util --import {file} --token {token} --label {label} --id aa01 --pin $(cat pin)"
    ));
}

/// Another token under that label, with nothing on it.
fn initialise_anew(appliance: &Appliance, label: &str) {
    appliance.shell(&format!(
        "rm -r tokens; mkdir tokens
         softhsm2-util --init-token --free --label {label} --so-pin 12345678 --pin $(cat pin)"
    ));
}

fn delete_by_another_tool(appliance: &Appliance) {
    for kind in ["privkey", "pubkey"] {
        let label = key_label(KEY);
        appliance.pkcs11_tool(&format!("--delete-object --type {kind} --label {label}"));
    }
}

fn serial(appliance: &Appliance) -> String {
    let slots = appliance.shell("softhsm2-util --show-slots");
    let serial = slots.lines().find_map(|line| line.trim().strip_prefix("Serial number:"));
    serial.unwrap().trim().to_owned()
}

fn issue(daemon: &Daemon) -> Answer {
    daemon.client.issue("certificate", &leaf(KEY, "Example Leaf"))
}

fn route() -> String {
    format!("/v1/{KMS}.{KEY}/kms-service-api/keys")
}

fn generate(daemon: &Daemon) -> Answer {
    let body = json!({ "keyType": "secp256r1" }).to_string();
    daemon.client.post(&format!("{}/generate", route()), &body)
}

fn delete(daemon: &Daemon, query: &str) -> Answer {
    daemon.client.send("DELETE", &format!("{}{query}", route()), &[], "").unwrap()
}

/// What the ledger has on record for the path.
fn pin(appliance: &Appliance) -> (Vec<u8>, Option<String>) {
    let sql = "select spki_sha256, token_serial from key_pins where path = ?1";
    let get = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    appliance.ledger().query_row(sql, [key_label(KEY)], get).unwrap()
}

/// Each way in which a path may come to stand for nothing, or for a stranger.
#[test]
fn a_pinned_path_is_refused_and_not_given_away_whatever_became_of_its_key() {
    let rename = |appliance: &Appliance| {
        appliance.configure(|text| text.replace("\"softhsm\"", "\"renamed\""));
    };
    let relabel = |appliance: &Appliance| appliance.configure_token("label = \"elsewhere\"");
    type Change<'a> = &'a dyn Fn(&Appliance);
    // What was changed while the daemon was down; whether the token as a whole is refused.
    let ways: [(&str, Change<'_>, bool); 7] = [
        ("deleted by another tool", &delete_by_another_tool, false),
        (
            "another key under the label",
            &|it| {
                delete_by_another_tool(it);
                it.generate_key(&key_label(KEY), "aa01", "EC:prime256v1");
            },
            false,
        ),
        ("token initialised anew", &|it| initialise_anew(it, LABEL), true),
        (
            "and with a key of the same label",
            &|it| {
                initialise_anew(it, LABEL);
                it.generate_key(&key_label(KEY), "aa01", "EC:prime256v1");
            },
            true,
        ),
        (
            "and with the same key",
            &|it| {
                initialise_anew(it, LABEL);
                import(it, LABEL, "kept.pem");
            },
            true,
        ),
        (
            "and under another label",
            &|it| {
                relabel(it);
                initialise_anew(it, "elsewhere");
            },
            true,
        ),
        (
            "and renamed in the configuration",
            &|it| {
                rename(it);
                initialise_anew(it, LABEL);
            },
            true,
        ),
    ];
    for (way, change, token_is_refused) in ways {
        let appliance = with_pinned_key();
        let before = pin(&appliance);
        change(&appliance);
        // Not only at the first start.
        for _ in 0..2 {
            let daemon = appliance.start();
            let refused = issue(&daemon);
            assert_eq!(refused.status, 503, "{way}: {}", refused.json);
            assert_clean_refusal(&refused);
            let made = generate(&daemon);
            assert!(matches!(made.status, 409 | 503), "{way}: {} {}", made.status, made.json);
            let read = daemon.client.get(&route());
            assert_eq!(read.status, 503, "{way}: {}", read.json);
            let alarms = ["token_replaced", "pinned-key"].map(|alarm| format!("alarm=\"{alarm}\""));
            let log = || {
                let log = daemon.log();
                log.contains(&alarms[usize::from(!token_is_refused)]).then_some(())
            };
            until(SOON, log).unwrap_or_else(|| panic!("{way}: no alarm\n{}", daemon.log()));
            let (status, checks) = daemon.readiness();
            assert_eq!(status, 503, "{way}: {checks}");
            let metrics = ureq::get(format!("{}/metrics", daemon.operations)).call().unwrap();
            let metrics = metrics.into_body().read_to_string().unwrap();
            let counted = match token_is_refused {
                true => "class=\"identity\"} 0",
                false => "chancery_pinned_keys_refused{kms=\"test.tenant1.kms1\"} 0",
            };
            assert!(!metrics.contains(counted), "{way}: {metrics}");
            daemon.stop();
        }
        assert_eq!(pin(&appliance), before, "{way}");
    }
}

/// The same while the daemon runs; also where the listing is to blame and not the key.
#[test]
fn a_pinned_key_that_is_not_listed_any_more_is_an_outage_and_not_a_404() {
    let listings = [
        ("deleted", ""),
        // One private key is listed, whichever comes first.
        ("a listing that ends early", "C_FindObjects /18 batch 0"),
        ("labels that are hidden", "C_GetAttributeValue hide CKA_LABEL"),
        (
            "ids and labels that are hidden",
            "C_GetAttributeValue hide CKA_LABEL\nC_GetAttributeValue hide CKA_ID",
        ),
    ];
    for (way, orders) in listings {
        let appliance = with_pinned_key();
        let chaos = Chaos::new(appliance.path("chaos"));
        let [(module, softhsm), (place, directory)] =
            chaos.environment("/usr/lib/softhsm/libsofthsm2.so");
        appliance.configure_token(&format!(
            "module = {:?}\nprocesses = 1\ncanary_seconds = 1\n\
             environment = {{ {module} = {softhsm:?}, {place} = {directory:?} }}",
            Chaos::module().display().to_string()
        ));
        let daemon = appliance.start();
        daemon.wait_until_ready();
        issue(&daemon).ok();
        daemon.client.issue("csrs", &csr(ANOTHER_KEY)).ok();
        let before = pin(&appliance);
        match orders {
            "" => delete_by_another_tool(&appliance),
            orders => chaos.order(orders),
        }
        // Any key that is not listed has the token listed again.
        daemon.client.issue("csrs", &csr("no-such-key"));
        let told = until(SOON, || {
            let made = generate(&daemon);
            assert!(matches!(made.status, 409 | 503), "{way}: {} {}", made.status, made.json);
            let answers = [issue(&daemon), daemon.client.issue("csrs", &csr(ANOTHER_KEY))];
            answers.into_iter().find(|answer| {
                assert_ne!(answer.status, 404, "{way}: {}", answer.json);
                let message = answer.json["message"].as_str().unwrap_or_default();
                message.contains("is not on its token")
            })
        });
        let told = told.unwrap_or_else(|| panic!("{way}: {}", daemon.log()));
        assert_eq!(told.status, 503);
        assert!(daemon.log().contains("alarm=\"key-missing\""), "{way}");
        assert_eq!(pin(&appliance), before, "{way}");
        if !orders.is_empty() {
            chaos.order("");
            let served = until(SOON, || (issue(&daemon).status == 200).then_some(()));
            served.unwrap_or_else(|| panic!("{way}: {}", daemon.log()));
        }
        daemon.stop();
    }
}

/// Requests with the others are served, so readiness stays; the status names the key.
#[test]
fn one_pinned_key_among_others_that_is_gone_degrades_the_status_and_is_named() {
    let appliance = with_pinned_key();
    let daemon = appliance.start();
    daemon.client.issue("csrs", &csr(ANOTHER_KEY)).ok();
    daemon.stop();
    delete_by_another_tool(&appliance);
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let status = daemon.client.get("/v1/status").ok().json;
    assert_eq!(status["status"], "degraded", "{status}");
    assert!(status["checks"].as_object().unwrap().values().all(|word| word == "ok"), "{status}");
    let refused =
        json!([{ "keyPath": format!("{KMS}.{KEY}"), "reason": "its token does not list it" }]);
    assert_eq!(status["kms"][0]["refusedPinnedKeys"], refused);
    assert_eq!(daemon.readiness().0, 200);

    let profile = format!(
        "url = \"{}\"\ncacert = \"pki/server-ca.pem\"\ncert = \"pki/client.pem\"\n\
         key = \"pki/client.key\"\n",
        daemon.url
    );
    fs::write(appliance.path("client.toml"), profile).unwrap();
    let shown =
        appliance.run(&["status", "--profile", appliance.path("client.toml").to_str().unwrap()]);
    let said = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success() && said.contains(": degraded"), "{said}");
    assert!(
        said.contains(&format!("not ok   key {KMS}.{KEY}: its token does not list it")),
        "{said}"
    );
}

#[test]
fn the_path_of_a_key_that_is_gone_is_set_free_by_a_deletion_and_by_nothing_else() {
    let appliance = with_pinned_key();
    delete_by_another_tool(&appliance);
    let daemon = appliance.start();
    let refused = generate(&daemon);
    assert_eq!(refused.status, 409, "{}", refused.json);
    assert!(!refused.json["message"].as_str().unwrap().contains("already exists"));
    assert_eq!(delete(&daemon, "").ok().json, json!({ "deleted": key_label(KEY) }));
    assert_eq!(delete(&daemon, "").status, 404);
    assert_eq!(generate(&daemon).status, 201);
    issue(&daemon).ok();
    daemon.stop();
    let entry = |kind: &str| {
        appliance.count(&format!(
            "select count(*) from audit_entries where entry like '%\"type\":\"{kind}\"%'
             and entry like '%{}%'",
            key_label(KEY)
        ))
    };
    assert_eq!((entry("key-intent"), entry("key-deleted"), entry("key-generated")), (2, 1, 1));
}

#[test]
fn an_adopted_key_that_is_gone_can_be_forgotten() {
    let appliance = Appliance::new();
    appliance.generate_key("'Old Root'", "aa01", "EC:prime256v1");
    appliance.configure(|text| {
        text.replace("type = \"kms\"", "type = \"kms\"\nlabels = { kept = \"Old Root\" }")
    });
    let daemon = appliance.start();
    issue(&daemon).ok();
    assert_eq!(delete(&daemon, "").status, 403);
    for kind in ["privkey", "pubkey"] {
        appliance.pkcs11_tool(&format!("--delete-object --type {kind} --label 'Old Root'"));
    }
    let gone = until(SOON, || (issue(&daemon).status == 503).then_some(()));
    gone.unwrap_or_else(|| panic!("{}", daemon.log()));
    let deleted = until(SOON, || (delete(&daemon, "").status == 200).then_some(()));
    deleted.unwrap_or_else(|| panic!("{}", daemon.log()));
    // The next key under the label is another key.
    appliance.generate_key("'Old Root'", "aa02", "EC:prime256v1");
    issue(&daemon).ok();
}

#[test]
fn a_replaced_token_serves_when_an_operator_has_accepted_it_and_its_keys_are_back() {
    let appliance = with_pinned_key();
    let (spki, before) = pin(&appliance);
    assert_eq!(before.as_deref(), Some(&*serial(&appliance)));
    initialise_anew(&appliance, LABEL);
    import(&appliance, LABEL, "kept.pem");
    let new = serial(&appliance);
    let config = appliance.config();
    let accept = |name: &str, serial: &str| {
        let config = config.to_str().unwrap();
        let output =
            appliance.run(&["token", "accept", name, "--serial", serial, "--config", config]);
        (output.status.success(), format!("{output:?}"))
    };
    let daemon = appliance.start();
    daemon.wait_for_token("away");
    assert!(daemon.log().contains(&new), "the log does not name the serial that was found");
    let (accepted, words) = accept("softhsm", &new);
    assert!(!accepted && words.contains("in use by another chancery"), "{words}");
    daemon.stop();
    let (accepted, words) = accept("nobody", &new);
    assert!(!accepted && words.contains("no token 'nobody'"), "{words}");
    let (accepted, words) = accept("softhsm", &new);
    assert!(accepted, "{words}");

    let daemon = appliance.start();
    daemon.wait_until_ready();
    issue(&daemon).ok();
    let moved = until(SOON, || (pin(&appliance).1.as_ref() == Some(&new)).then_some(()));
    moved.unwrap_or_else(|| panic!("{}", daemon.log()));
    assert_eq!(pin(&appliance).0, spki);
    daemon.stop();
    let entries = "select count(*) from audit_entries where entry like '%\"token-accepted\"%'";
    assert_eq!(appliance.count(entries), 1);
    // The first token is the stranger now.
    initialise_anew(&appliance, LABEL);
    appliance.start().wait_for_token("away");
}

#[test]
fn a_configured_serial_wins_over_the_one_on_record() {
    let appliance = with_pinned_key();
    initialise_anew(&appliance, LABEL);
    import(&appliance, LABEL, "kept.pem");
    let new = serial(&appliance);
    appliance.configure_token(&format!("serial = \"{new}\""));
    let daemon = appliance.start();
    daemon.wait_until_ready();
    issue(&daemon).ok();
    daemon.stop();
    assert_eq!(pin(&appliance).1, Some(new));
    // What it has served with is on record, also when the setting is removed.
    appliance.configure(|text| {
        text.lines().filter(|line| !line.starts_with("serial = ")).collect::<Vec<_>>().join("\n")
    });
    appliance.start().wait_until_ready();
}

/// As the version before has left it.
#[test]
fn the_pins_of_an_older_ledger_get_the_serial_of_their_token_at_the_first_look() {
    let appliance = with_pinned_key();
    let right = serial(&appliance);
    appliance
        .ledger()
        .execute_batch("DELETE FROM tokens; UPDATE key_pins SET token_serial = NULL")
        .unwrap();
    let daemon = appliance.start();
    let known = until(SOON, || (pin(&appliance).1.as_ref() == Some(&right)).then_some(()));
    known.unwrap_or_else(|| panic!("{}", daemon.log()));
    daemon.stop();
    assert_eq!(appliance.count("select count(*) from tokens"), 1);
    // Where the token is another one already, it is not taken for the right one.
    appliance
        .ledger()
        .execute_batch("DELETE FROM tokens; UPDATE key_pins SET token_serial = NULL")
        .unwrap();
    let aside = appliance.path("aside");
    fs::rename(appliance.path("tokens"), &aside).unwrap();
    fs::create_dir(appliance.path("tokens")).unwrap();
    initialise_anew(&appliance, LABEL);
    let daemon = appliance.start();
    assert_eq!(issue(&daemon).status, 503);
    assert_eq!(daemon.readiness().0, 503);
    daemon.stop();
    fs::remove_dir_all(appliance.path("tokens")).unwrap();
    fs::rename(aside, appliance.path("tokens")).unwrap();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    issue(&daemon).ok();
}
