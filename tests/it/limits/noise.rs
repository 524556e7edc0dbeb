//! What callers make the daemon write: line by line while it is little, as numbers when it is much.

use std::{collections::BTreeMap, fs, time::Instant};

use serde_json::Value;

use crate::{
    appliance::{Appliance, Daemon, SERVICE, SOON, STORE, until},
    metrics::{read, scrape},
    support::{Raw, leaf},
};

/// Requests of a row.
const REQUESTS: usize = 400;
/// More lines and entries than a row may cost: what it has in a minute, in case another begins meanwhile.
const TWO_MINUTES: usize = 2 * 60;
/// Octets of log and of audit entries that a request of a row may cost.
const OCTETS_EACH: usize = 400;

/// Who sends a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum From {
    /// A client with every grant.
    Granted,
    /// A client without any.
    Nobody,
    /// A certificate of the client CA that is no client's; its subject is long.
    Stray,
}

/// Octets of the log, lines of it, octets of audit entries, their number.
fn written(appliance: &Appliance, daemon: &Daemon) -> [usize; 4] {
    let log = daemon.log();
    let number = |query: &str| usize::try_from(appliance.count(query)).unwrap();
    [
        log.len(),
        log.lines().count(),
        number("select coalesce(sum(length(entry)), 0) from audit_entries"),
        number("select count(*) from audit_entries"),
    ]
}

fn entries(appliance: &Appliance) -> Vec<Value> {
    let ledger = appliance.ledger();
    let mut statement = ledger.prepare("select entry from audit_entries order by idx").unwrap();
    let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    rows.map(|entry| serde_json::from_slice(&entry.unwrap()).unwrap()).collect()
}

/// Refusals of each client by status, as the audit log has them: by themselves and as numbers.
fn recorded(entries: &[Value]) -> BTreeMap<(String, String), u64> {
    let mut refusals = BTreeMap::new();
    for entry in entries {
        let detail = &entry["detail"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        match entry["type"].as_str().unwrap() {
            "refused" => {
                *refusals
                    .entry((text(&entry["client"]), detail["status"].to_string()))
                    .or_default() += 1;
            }
            "refusals-summary" => {
                let mut count = detail["others"].as_u64().unwrap_or_default();
                for client in detail["clients"].as_array().unwrap() {
                    for (status, number) in client["statuses"].as_object().unwrap() {
                        count += number.as_u64().unwrap();
                        *refusals.entry((text(&client["client"]), status.clone())).or_default() +=
                            number.as_u64().unwrap();
                    }
                }
                assert_eq!(detail["count"], count, "{entry}");
            }
            _ => {}
        }
    }
    refusals
}

#[test]
fn whoever_is_refused_or_asks_for_nothing_new_fills_neither_log_nor_ledger() {
    let appliance = Appliance::new();
    let nobody = appliance.add_client("nobody", &[]);
    let unit = "u".repeat(60);
    let long = format!("/CN=stray{}", format!("/OU={unit}").repeat(40));
    let stray = appliance.client_certificate("stray", &long, "-days 2");
    appliance.configure(|text| format!("{text}\n[compat]\nlogin = true\n"));
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let client = &daemon.client;
    let body = leaf("leaf-secp256r1", "Leaf");
    client.issue_once("certificate", "once", &body).ok();

    let issue = format!("/v1/{SERVICE}/x509-service-api/certificate");
    let ids = format!("/v1/{STORE}/x509-store-api/certificates/ids");
    let entry = format!("/v1/{STORE}.x/x509-store-api/certificates");
    let long_path = format!("/{}", "p".repeat(30_000));
    let long_target = format!("/v1/{}/resource-api/tenants/create", "t".repeat(2_000));
    let deep_target = format!("/v1/test.{}/resource-api/tenants/create", "d.".repeat(900) + "d");
    let long_query = format!("/healthz?{}", "q".repeat(30_000));
    let login = "/auth/account/emailpass".to_owned();
    let long_method = "M".repeat(4_000);
    let (once, whole) = ("idempotency-key: once\r\n", body.to_string());
    let agent =
        format!("user-agent: {}\r\nx-request-id: {}\r\n", "a".repeat(9_000), "i".repeat(64));
    let unknown = format!("{{\"{}\":1}}", "m".repeat(30_000));
    // Who, method, path, more headers, body, status.
    let rows: [(From, &str, &str, &str, &str, u16); 19] = [
        (From::Nobody, "POST", &long_path, "", "", 404),
        (From::Nobody, "POST", &long_target, "", "{}", 400),
        (From::Nobody, "POST", &deep_target, "", "{}", 403),
        (From::Nobody, "POST", &issue, "", "{}", 403),
        (From::Nobody, "GET", &ids, &agent, "", 403),
        (From::Nobody, "DELETE", &entry, "", "", 403),
        (From::Nobody, &long_method, &ids, "", "", 403),
        (From::Nobody, "GET", &long_query, "", "", 200),
        (From::Granted, "POST", "/healthz", "", "", 405),
        (From::Granted, "POST", &login, "", "no JSON", 400),
        (From::Granted, "POST", &login, "", r#"{"email":"a","password":"b"}"#, 200),
        (From::Granted, "POST", &issue, "", &unknown, 400),
        (From::Granted, "POST", &issue, "content-encoding: gzip\r\n", "{}", 415),
        (From::Granted, "POST", &issue, once, &whole, 200),
        (From::Granted, "POST", &issue, once, "{}", 409),
        (From::Granted, "DELETE", &entry, "", "", 404),
        (From::Granted, "GET", &ids, "", "", 200),
        (From::Granted, "GET", &long_path, "", "", 404),
        (From::Stray, "POST", &long_path, "", "", 401),
    ];
    let mut sent = BTreeMap::new();
    for (from, method, path, headers, body, status) in rows {
        let shown =
            format!("{from:?} {} {}", &method[..method.len().min(9)], &path[..path.len().min(60)]);
        let certificate = match from {
            From::Granted => appliance.path("pki/client"),
            From::Nobody => nobody.clone(),
            From::Stray => stray.clone(),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let before = written(&appliance, &daemon);
        // A certificate of no client is let in at a rate, and once for each connection.
        let requests = if from == From::Stray { 60 } else { REQUESTS };
        let mut raw: Option<Raw> = None;
        for _ in 0..requests {
            let mut open =
                raw.take().unwrap_or_else(|| Raw::open(&appliance, &daemon, &certificate));
            open.write(&request);
            let (said, head, _) = open.answer();
            assert_eq!(said, status, "{shown}: {head}");
            // What is refused before its body is read may end the connection.
            raw = Some(open).filter(|_| body.is_empty() && !head.contains("connection: close"));
        }
        if status >= 400 && matches!(method, "POST" | "DELETE") {
            *sent.entry((from == From::Granted, from == From::Stray, status)).or_insert(0) +=
                requests;
        }
        let after = written(&appliance, &daemon);
        let [log, lines, octets, entries] = std::array::from_fn(|at| after[at] - before[at]);
        assert!(lines <= TWO_MINUTES + 5, "{shown}: {lines} lines");
        assert!(log <= OCTETS_EACH * REQUESTS, "{shown}: {log} octets of log");
        assert!(entries <= TWO_MINUTES + 5, "{shown}: {entries} entries");
        assert!(octets <= OCTETS_EACH * REQUESTS, "{shown}: {octets} octets of entries");
    }

    // What is honest stands between them.
    let issued = client.issue("certificate", &leaf("leaf-secp256r1", "Between")).ok();
    let serial = issued.header("chancery-serial").unwrap();
    assert!(daemon.log().lines().any(|line| line.contains("answered") && line.contains(serial)));
    let log_longest = daemon.log().lines().map(str::len).max().unwrap();
    assert!(log_longest < 2_500, "a line of {log_longest} octets");
    daemon.stop();
    let entries = entries(&appliance);
    assert!(entries.iter().any(|entry| entry["detail"]["serial"] == serial));
    // Each refusal that would have changed something is recorded: by itself, or in a number.
    let mut found = BTreeMap::new();
    for ((client, status), number) in recorded(&entries) {
        let who = (client == "demo", client.starts_with("unknown certificate CN=stray"));
        assert!(who.0 || who.1 || client == "nobody", "{client}");
        *found.entry((who.0, who.1, status.parse::<u16>().unwrap())).or_insert(0) +=
            usize::try_from(number).unwrap();
    }
    assert_eq!(found, sent);
    // What was cut can be recognised: its beginning and its hash are there.
    let of = |path: &str| {
        let hash: String = chancery::domain::key::sha256(path.as_bytes())
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        format!("{}… sha256:{hash}", &path[..256])
    };
    assert!(entries.iter().any(|entry| entry["detail"]["operation"] == of(&long_path)));
    assert!(entries.iter().all(|entry| entry.to_string().len() < 6_000));
}

#[test]
fn a_certificate_of_no_client_is_refused_at_a_rate() {
    let appliance = Appliance::new();
    let stray = appliance.client_certificate("stray", "/CN=stray", "-days 2");
    let other = appliance.client_certificate("other", "/CN=other", "-days 2");
    let daemon = appliance.start();
    let post = |certificate: &std::path::Path| {
        let mut raw = Raw::open(&appliance, &daemon, certificate);
        raw.write("POST /v1/a/b HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        raw.answer()
    };
    let mut statuses = BTreeMap::new();
    let limited = until(SOON, || {
        let (status, head, _) = post(&stray);
        *statuses.entry(status).or_insert(0) += 1;
        (status != 401).then_some((status, head))
    });
    let (status, head) = limited.expect("no limit");
    assert_eq!(status, 429);
    assert!(head.contains("retry-after: "), "{head}");
    assert!(statuses[&401] >= 60, "{statuses:?}");
    // Another certificate is not held to account for it, and no client is.
    assert_eq!(post(&other).0, 401);
    daemon.client.get("/healthz").ok();
}

#[test]
fn who_is_over_the_limit_is_refused_before_anything_else_and_in_numbers() {
    let appliance = Appliance::new();
    appliance.declare("[limits]\nclient_requests_per_minute = 10");
    let daemon = appliance.start();
    let mut raw = Raw::demo(&appliance, &daemon);
    let paths =
        ["/v1/a%20b/x/y", "/nowhere", "/healthz", "/v1/test.x/x509-service-api/certificate"];
    let before = written(&appliance, &daemon);
    let mut limited = 0;
    for number in 0..1_000 {
        let path = paths[number % paths.len()];
        raw.write(format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"));
        let (status, head, _) = raw.answer();
        limited += u64::from(status == 429);
        assert_eq!(status == 429, head.contains("retry-after: "), "{head}");
        assert!(number >= 10 || status != 429, "{number}: {head}");
    }
    assert!(limited > 900, "{limited}");
    let after = written(&appliance, &daemon);
    assert!(after[1] - before[1] <= TWO_MINUTES + 5 && after[3] - before[3] <= TWO_MINUTES + 5);
    daemon.stop();
    let recorded = recorded(&entries(&appliance));
    assert_eq!(recorded[&("demo".to_owned(), "429".to_owned())], limited);
    assert_eq!(recorded.values().sum::<u64>(), 1_000);
}

#[test]
fn what_the_public_and_the_operator_fetch_is_told_as_numbers() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let before = written(&appliance, &daemon);
    let commits = || {
        let (samples, _) = read(&scrape(&daemon));
        samples["chancery_ledger_transactions_total{outcome=\"committed\"}"]
    };
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    for number in 0..300 {
        let path = format!("/v1/acme.{number}.{}/vical-service-api/latest", "e".repeat(99));
        for url in [&daemon.distribution, &daemon.operations] {
            let status = agent.get(format!("{url}{path}")).call().unwrap().status();
            assert_eq!(status, 404);
        }
    }
    let (commits_before, started) = (commits(), Instant::now());
    for _ in 0..1_000 {
        agent.get(format!("{}/readyz", daemon.operations)).call().unwrap();
    }
    // To find out whether the daemon is ready costs a write of the ledger, 20 times a second at most.
    let (spent, seconds) = (commits() - commits_before, started.elapsed().as_secs_f64());
    assert!(spent <= 20.0 * (seconds + 2.0), "{spent} transactions in {seconds} s");
    let told = until(SOON, || daemon.log().contains("answered to the public").then_some(()));
    assert!(told.is_some(), "{}", daemon.log());
    let log = daemon.log();
    let lines: Vec<_> = log.lines().skip(before[1]).collect();
    assert!(lines.len() <= 6, "{lines:#?}");
    let answers: u64 = lines
        .iter()
        .filter_map(|line| line.split_once("answers=")?.1.split(' ').next()?.parse::<u64>().ok())
        .sum();
    daemon.stop();
    assert!(answers <= 300, "{lines:#?}");
    assert_eq!(written_after_stop(&appliance)[1] - before[3], 1);
}

fn written_after_stop(appliance: &Appliance) -> [usize; 2] {
    let size = fs::metadata(appliance.path("ledger.sqlite")).unwrap().len();
    let entries = appliance.count("select count(*) from audit_entries");
    [size, u64::try_from(entries).unwrap()].map(|number| usize::try_from(number).unwrap())
}
