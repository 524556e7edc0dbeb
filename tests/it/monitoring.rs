//! The alert rules and the dashboard beside the program: they speak of what there is.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    appliance::Appliance,
    metrics::{read, scrape},
    support::iaca,
    tls::CA,
};

/// Prometheus's checker: where `tests/run.sh` puts it, or on the path.
pub fn promtool() -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/promtool/usr/bin/promtool");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join("promtool"));
    let tool = std::iter::once(ours).chain(found).find(|file| file.exists());
    if tool.is_none() {
        eprintln!("SKIPPED in part: there is no promtool; ./tests/run.sh fetches it");
    }
    tool
}

fn config(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(file)
}

fn text(file: &str) -> String {
    fs::read_to_string(config(file)).unwrap()
}

/// Every name of ours in a text.
fn names(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_name(c))
        .filter(|word| word.starts_with("chancery_"))
        .map(str::to_owned)
        .collect()
}

/// What a daemon shows that has worked, on a KMS of two tokens.
fn shown() -> BTreeSet<String> {
    let appliance = Appliance::new();
    // They are the same token: its keys are surely the same.
    appliance.configure(|text| {
        let (before, token) = text.split_once("[[tokens]]").unwrap();
        let (token, after) = token.split_once("[[organisations]]").unwrap();
        let other = token.replace("name = \"softhsm\"", "name = \"other\"");
        assert_ne!(token, other);
        format!("{before}[[tokens]]{token}[[tokens]]{other}[[organisations]]{after}").replace(
            "type = \"kms\"",
            "type = \"kms\"\ntokens = [\"softhsm\", \"other\"]\nshared_labels = true",
        )
    });
    appliance
        .shell(&format!("{CA}\nopenssl ca -config ca.conf -gencrl -out client-ca.crl 2>/dev/null"));
    appliance.configure(|text| {
        text.replacen("client_ca = ", "client_crl = \"pki/client-ca.crl\"\nclient_ca = ", 1)
    });
    let daemon = appliance.start();
    daemon.wait_until_ready();
    daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "Root")).ok();
    let (samples, _) = read(&scrape(&daemon));
    samples.keys().map(|series| series.split('{').next().unwrap().to_owned()).collect()
}

/// The queries of a dashboard, panels within rows included.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("expr" | "query", Value::String(query)) => found.push(query.clone()),
                    _ => queries(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

#[test]
fn rules_and_dashboard_ask_for_nothing_that_no_daemon_shows() {
    let shown = shown();
    let dashboard: Value = serde_json::from_str(&text("grafana/chancery.json")).unwrap();
    let mut asked = Vec::new();
    queries(&dashboard, &mut asked);
    assert!(asked.len() > 30, "the reader of this test finds too little: {}", asked.len());
    // Comments and words name alerts, never metrics; all that looks like one must be one.
    for (file, text) in [
        ("grafana/chancery.json", asked.join("\n")),
        ("prometheus/alerts.yml", text("prometheus/alerts.yml")),
        ("prometheus/alerts_test.yml", text("prometheus/alerts_test.yml")),
    ] {
        let names = names(&text);
        assert!(names.len() > 8, "{file}: {names:?}");
        let unknown: Vec<_> = names.difference(&shown).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

#[test]
fn every_alert_fires_when_it_should_and_not_before() {
    let alerts = |file: &str, key: &str| -> BTreeSet<String> {
        let text = text(file);
        let lines = text.lines().filter_map(|line| Some(line.split_once(key)?.1.trim().to_owned()));
        lines.collect()
    };
    let rules = alerts("prometheus/alerts.yml", "- alert:");
    assert_eq!(rules, alerts("prometheus/alerts_test.yml", " alertname:"), "rules and their tests");
    let Some(promtool) = promtool() else { return };
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let mut command = Command::new(&promtool);
        let output = command.args(arguments).current_dir(config("prometheus")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}\n{said}{errors}");
    }
}
