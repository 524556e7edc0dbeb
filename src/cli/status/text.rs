//! The status as text.

use std::collections::BTreeMap;

use super::report::Report;
use crate::{
    cli::client::table,
    http::wire::status::{CaBody, Details, JobBody, StatusBody, TokenBody},
};

/// The largest number of CAs that are listed.
const CAS_SHOWN: usize = 10;

/// The whole report, with a final newline.
pub(super) fn render(report: &Report) -> String {
    let StatusBody { status, version, checks, warnings, details } = &report.body;
    let mut head = format!("chancery {version} at {}: {status}\n", report.url);
    for (name, word) in checks.iter().filter(|(_, word)| *word != "ok") {
        head.push_str(&format!("  not ok   {name}: {word}\n"));
    }
    for key in
        details.iter().flat_map(|details| &details.kms).flat_map(|kms| &kms.refused_pinned_keys)
    {
        head.push_str(&format!("  not ok   key {}: {}\n", key.key_path, key.reason));
    }
    for problem in details
        .iter()
        .filter_map(|details| details.last_reload.as_ref())
        .flat_map(|reload| &reload.problems)
    {
        head.push_str(&format!("  not ok   last reload: {problem}\n"));
    }
    for warning in warnings {
        head.push_str(&format!("  warning  {warning}\n"));
    }
    let mut parts = vec![head];
    if let Some(why) = &report.no_figures {
        parts.push(format!("no figures: {why}\n"));
    }
    if let Some(details) = details {
        parts.push(tokens(&details.tokens, &report.rates));
        parts.push(ledger(details));
        if !details.certificates.is_empty() {
            let rows = details.certificates.iter();
            let rows: Vec<_> = rows.map(|(name, n)| vec![name.clone(), n.to_string()]).collect();
            parts.push(table(&["PROFILE", "ISSUED"], &rows));
        }
        if !details.cas.is_empty() {
            parts.push(cas(&details.cas));
        }
        let failed: Vec<_> = details.jobs.iter().filter(|job| job.failures > 0).collect();
        if !failed.is_empty() {
            parts.push(jobs(&failed));
        }
    }
    parts.join("\n")
}

fn tokens(tokens: &[TokenBody], rates: &BTreeMap<String, f64>) -> String {
    let rows: Vec<_> = tokens
        .iter()
        .map(|token| {
            vec![
                token.name.clone(),
                token.state.clone(),
                token.breaker.clone(),
                token.signers.to_string(),
                format!("{}/{}", token.sessions_in_use, token.sessions),
                token.keys.to_string(),
                format!("{}/{}", token.queue, token.queue_max),
                token.canary_age_seconds.map_or("none".to_owned(), |age| format!("{age:.1} s")),
                token.signed.to_string(),
                token.not_signed.to_string(),
                token.signers_lost.to_string(),
                rates.get(&token.name).map_or("-".to_owned(), |rate| format!("{rate:.1}")),
            ]
        })
        .collect();
    let heading = [
        "TOKEN",
        "STATE",
        "BREAKER",
        "SIGNERS",
        "SESSIONS",
        "KEYS",
        "QUEUE",
        "CANARY",
        "SIGNED",
        "FAILED",
        "LOST",
        "PER SECOND",
    ];
    table(&heading, &rows)
}

fn ledger(details: &Details) -> String {
    let ledger = &details.ledger;
    let up = match &ledger.fault {
        Some(fault) => format!("NOT WRITABLE ({fault})"),
        None if ledger.up => "ok".to_owned(),
        None => "NOT WRITABLE".to_owned(),
    };
    let time = ledger.write_milliseconds;
    let time = time.map(|time| format!(", {time:.1} ms for a write")).unwrap_or_default();
    let requests: Vec<_> =
        details.requests.iter().map(|(class, number)| format!("{number} {class}")).collect();
    format!(
        "ledger    {up}, {} audit entries, {} writes wait, {} transactions lost{time}\n\
         requests  {} in flight; answered: {}\n",
        ledger.audit_entries,
        ledger.writes_waiting,
        ledger.transactions_lost,
        details.requests_in_flight,
        requests.join(", ")
    )
}

fn cas(cas: &[CaBody]) -> String {
    let rows: Vec<_> = cas
        .iter()
        .take(CAS_SHOWN)
        .map(|ca| {
            vec![
                ca.not_after.clone(),
                ca.days_left.to_string(),
                ca.key_id.clone(),
                ca.subject.clone(),
            ]
        })
        .collect();
    let mut text = table(&["CA ENDS", "DAYS", "KEY ID", "SUBJECT"], &rows);
    if cas.len() > CAS_SHOWN {
        text.push_str(&format!("and {} more\n", cas.len() - CAS_SHOWN));
    }
    text
}

fn jobs(jobs: &[&JobBody]) -> String {
    let rows: Vec<_> = jobs
        .iter()
        .map(|job| {
            let last = job.last_success.clone().unwrap_or("never".to_owned());
            vec![job.name.clone(), last, job.failures.to_string()]
        })
        .collect();
    table(&["JOB", "LAST SUCCESS", "FAILED"], &rows)
}
