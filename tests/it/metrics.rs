//! `/metrics`: what an operator's Prometheus sees, also while the HSM hangs and the ledger is locked.

use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    appliance::{Appliance, Daemon, Frozen, SERVICE, SOON, until},
    support::iaca,
};

/// One sample: name with labels, as written, and value.
pub type Samples = BTreeMap<String, f64>;

/// The page of the operations listener.
pub fn scrape(daemon: &Daemon) -> String {
    let mut answer = ureq::get(format!("{}/metrics", daemon.operations)).call().unwrap();
    let media_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
    answer.body_mut().read_to_string().unwrap()
}

/// The samples of a page, and what is declared of each family: a strict reader of the text format.
pub fn read(page: &str) -> (Samples, BTreeMap<String, String>) {
    let mut samples = Samples::new();
    let mut types = BTreeMap::new();
    let mut helped = String::new();
    assert!(page.ends_with('\n'));
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split_once(' ').expect("a help has words").0.to_owned();
        } else if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap();
            assert_eq!(name, helped, "TYPE follows its HELP");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
            assert!(name.starts_with(&helped), "{line} stands under {helped}");
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{line}");
        }
    }
    (samples, types)
}

fn value(daemon: &Daemon, series: &str) -> Option<f64> {
    read(&scrape(daemon)).0.get(series).copied()
}

/// Has Prometheus's own checker read the page, where it is there; `tests/run.sh` sees to that.
fn promtool_check(page: &str) {
    let Some(promtool) = crate::monitoring::promtool() else { return };
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn what_happens_is_counted_where_the_contract_says() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let before = read(&scrape(&daemon)).0["chancery_audit_tree_size"];
    let issued = daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "Root 1")).ok();
    daemon.client.issue("iso/iacas", &json!({ "nothing": 1 }));
    daemon.client.get("/v1/somewhere/else/entirely");
    daemon.client.get(&format!("/v1/{SERVICE}/x509-service-api/certificates/00ff00ff"));

    let page = scrape(&daemon);
    promtool_check(&page);
    let (samples, types) = read(&page);
    let route = "POST /v1/{target}/x509-service-api/iso/iacas";
    let requests = |route: &str, status: u16| {
        samples.get(&format!("chancery_requests_total{{route=\"{route}\",status=\"{status}\"}}"))
    };
    assert_eq!(requests(route, 200), Some(&1.0));
    assert_eq!(requests(route, 400), Some(&1.0));
    assert_eq!(requests("other", 404), Some(&1.0));
    let one = "GET /v1/{target}/x509-service-api/certificates/{}";
    assert_eq!(requests(one, 404), Some(&1.0));
    assert_eq!(samples["chancery_certificates_issued_total{profile=\"iaca\"}"], 1.0);
    assert_eq!(samples["chancery_token_up{token=\"softhsm\"}"], 1.0);
    assert_eq!(samples["chancery_ready"], 1.0);
    assert_eq!(samples["chancery_dev_mode"], 0.0);
    assert!(samples["chancery_audit_tree_size"] >= before + 3.0, "intent, issued, refused");
    assert!(samples["chancery_ledger_write_seconds_count"] >= 2.0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(samples[&format!("chancery_build_info{{version=\"{version}\"}}")], 1.0);

    // The end of the CA, under the name that its certificates will use.
    std::fs::write(appliance.path("ca.pem"), issued.certificate()).unwrap();
    let key_id = appliance.shell("openssl x509 -in ca.pem -noout -ext subjectKeyIdentifier");
    let key_id = key_id.lines().last().unwrap().trim().replace(':', "").to_lowercase();
    let end =
        appliance.shell("date -d \"$(openssl x509 -in ca.pem -noout -enddate | cut -d= -f2)\" +%s");
    let ca =
        format!("chancery_ca_not_after_seconds{{issuer=\"{key_id}\",subject=\"C=NL,CN=Root 1\"}}");
    assert_eq!(samples.get(&ca), Some(&end.trim().parse().unwrap()), "{page}");
    for (name, kind) in [
        ("chancery_requests_total", "counter"),
        ("chancery_signatures_total", "counter"),
        ("chancery_sign_seconds", "histogram"),
        ("chancery_token_up", "gauge"),
        ("chancery_queue_depth", "gauge"),
        ("chancery_certificates_issued_total", "counter"),
        ("chancery_ca_not_after_seconds", "gauge"),
        ("chancery_audit_tree_size", "gauge"),
        ("chancery_dev_mode", "gauge"),
    ] {
        assert_eq!(types.get(name).map(String::as_str), Some(kind), "{name}");
    }
    let signed = "chancery_signatures_total{token=\"softhsm\",outcome=\"signed\"}";
    assert_eq!(samples[signed], 1.0);
    assert_eq!(samples["chancery_sign_seconds_count{token=\"softhsm\"}"], 1.0);

    // What was issued stays counted after a restart.
    daemon.stop();
    let daemon = appliance.start_with(&["--dev"]);
    let (samples, _) = read(&scrape(&daemon));
    assert_eq!(samples["chancery_certificates_issued_total{profile=\"iaca\"}"], 1.0);
    assert_eq!(samples.get(&ca), Some(&end.trim().parse().unwrap()));
    assert_eq!(samples["chancery_dev_mode"], 1.0);
}

#[test]
fn every_job_of_the_daemon_runs_and_says_so() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let jobs = [
        "forget-answers",
        "inherited",
        "ledger-place",
        "ledger-stalls",
        "log-answers",
        "log-public-answers",
        "record-tokens",
        "status-line",
        "tls-files",
        "watchdog",
    ];
    let all_ran = || {
        let (samples, _) = read(&scrape(&daemon));
        let ran = |job: &&str| {
            let series = format!("chancery_job_last_success_seconds{{name=\"{job}\"}}");
            samples.get(&series).is_some_and(|time| *time > 1.6e9)
        };
        jobs.iter().all(ran).then_some(samples)
    };
    let samples = until(SOON, all_ran).unwrap_or_else(|| panic!("{}", scrape(&daemon)));
    let shown = samples.keys().filter(|series| series.starts_with("chancery_job_failures_total"));
    assert_eq!(shown.count(), jobs.len());
    assert!(
        jobs.iter()
            .all(|job| samples[&format!("chancery_job_failures_total{{name=\"{job}\"}}")] == 0.0)
    );
    let status = daemon.client.get("/v1/status").ok().json;
    let named: Vec<_> = status["jobs"].as_array().unwrap().iter().map(|job| &job["name"]).collect();
    assert_eq!(named, jobs);
}

#[test]
fn the_number_of_series_does_not_depend_on_what_callers_send() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let ask = |round: usize| {
        for path in [
            format!("/v1/test.t{round}/x509-service-api/certificates/{round}"),
            format!("/v1/test.t{round}/nobody{round}-api/x"),
            format!("/{round}"),
            format!("/swagger/{round}.css"),
            format!("/v1/a{round}/vical-service-api/latest"),
        ] {
            daemon.client.get(&path);
            daemon.client.send(&format!("M{round}"), &path, &[], "").unwrap();
        }
    };
    ask(0);
    let series = |page: &str| read(page).0.into_keys().collect::<Vec<_>>();
    let before = series(&scrape(&daemon));
    (1..20).for_each(ask);
    assert_eq!(series(&scrape(&daemon)), before);
}

#[test]
fn it_answers_at_once_while_the_hsm_hangs_and_the_ledger_is_locked() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let ledger = appliance.ledger();
    ledger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let frozen = Frozen::signers_of(&daemon);
    // Somebody waits for the ledger, and whoever it turned away learns of it.
    let body = iaca("iaca-secp256r1", "Never").to_string();
    let client = daemon.client.clone();
    let waiting = std::thread::spawn(move || {
        client.post(&format!("/v1/{SERVICE}/x509-service-api/iso/iacas"), &body).status
    });
    let mut slowest = Duration::ZERO;
    let noticed = until(SOON, || {
        let asked = Instant::now();
        let (samples, _) = read(&scrape(&daemon));
        slowest = slowest.max(asked.elapsed());
        let is_ledger_down = samples["chancery_ledger_up"] == 0.0;
        if is_ledger_down {
            assert_eq!(samples["chancery_ready"], 0.0);
        }
        let frozen = "chancery_signers_lost_total{token=\"softhsm\",cause=\"frozen\"}";
        (is_ledger_down && samples[frozen] >= 1.0).then_some(())
    });
    assert!(noticed.is_some(), "{}\n{}", scrape(&daemon), daemon.log());
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert_eq!(waiting.join().unwrap(), 503);
    ledger.execute_batch("ROLLBACK").unwrap();
    frozen.thaw();
    let ready = until(2 * SOON, || {
        // Who asks for readiness hurries a token that pauses between its starts.
        daemon.readiness();
        (value(&daemon, "chancery_ready") == Some(1.0)).then_some(())
    });
    assert!(ready.is_some(), "{}\n{}", scrape(&daemon), daemon.log());
}

#[test]
fn with_a_client_certificate_it_takes_a_grant() {
    let appliance = Appliance::new();
    let watcher = appliance.add_client("watcher", &[("test.tenant1", &["ops:read"])]);
    let other = appliance.add_client("other", &[("test", &["audit:read", "kms:read"])]);
    let daemon = appliance.start();
    let allowed = daemon.client_with(&appliance, &watcher).get("/metrics");
    assert_eq!(allowed.status, 200);
    assert!(read(&allowed.text).0.contains_key("chancery_ready"));
    let refused = daemon.client_with(&appliance, &other).get("/metrics");
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert!(refused.json["message"].as_str().unwrap().contains("ops:read"));
    let status = daemon.client_with(&appliance, &watcher).get("/v1/status").ok();
    assert!(status.json["tokens"].is_array(), "{}", status.text);
    assert_eq!(daemon.client_with(&appliance, &other).get("/v1/status").status, 403);
    let wrong = daemon.client_with(&appliance, &watcher).post("/metrics", "");
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET")));
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let wrong = agent.post(format!("{}/metrics", daemon.operations)).send("").unwrap();
    assert_eq!(wrong.status(), 405);
    let only_with_a_certificate = agent.get(format!("{}/v1/status", daemon.operations)).call();
    assert_eq!(only_with_a_certificate.unwrap().status(), 404);
    let elsewhere = agent.get(format!("{}/metrics", daemon.distribution)).call().unwrap();
    assert_eq!(elsewhere.status(), 404);
}
