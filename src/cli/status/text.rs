//! A report for people.

use super::report::{CaReport, Figures, Report, TokenReport};
use crate::cli::client::table;

/// CAs that are listed, at most.
const CAS_SHOWN: usize = 10;

/// The whole report, with a final newline.
pub(super) fn render(report: &Report) -> String {
    let Report { url, version, status, .. } = report;
    let mut parts = vec![format!("chancery {version} at {url}: {status}\n")];
    let wrong: String = report
        .checks
        .iter()
        .filter(|(_, word)| *word != "ok")
        .map(|(name, word)| format!("  not ok   {name}: {word}\n"))
        .collect();
    let warnings: String =
        report.warnings.iter().map(|warning| format!("  warning  {warning}\n")).collect();
    parts[0].push_str(&wrong);
    parts[0].push_str(&warnings);
    if let Some(why) = &report.no_figures {
        parts.push(format!("no figures: {why}\n"));
    }
    if let Some(figures) = &report.figures {
        parts.push(tokens(&figures.tokens));
        parts.push(ledger(figures));
        if !figures.certificates.is_empty() {
            let rows = figures.certificates.iter();
            let rows: Vec<_> = rows.map(|(name, n)| vec![name.clone(), n.to_string()]).collect();
            parts.push(table(&["PROFILE", "ISSUED"], &rows));
        }
        if !figures.cas.is_empty() {
            parts.push(cas(&figures.cas));
        }
    }
    parts.join("\n")
}

fn tokens(tokens: &[TokenReport]) -> String {
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
                token.signed_per_second.map_or("-".to_owned(), |rate| format!("{rate:.1}")),
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

fn ledger(figures: &Figures) -> String {
    let ledger = &figures.ledger;
    let up = if ledger.up { "ok" } else { "NOT WRITABLE" };
    let time = ledger.write_milliseconds;
    let time = time.map(|time| format!(", {time:.1} ms for a write")).unwrap_or_default();
    let requests: Vec<_> =
        figures.requests.iter().map(|(class, number)| format!("{number} {class}")).collect();
    format!(
        "ledger    {up}, {} audit entries, {} writes wait, {} transactions lost{time}\n\
         requests  {} in flight; answered: {}\n",
        ledger.audit_entries,
        ledger.writes_waiting,
        ledger.transactions_lost,
        figures.requests_in_flight,
        requests.join(", ")
    )
}

fn cas(cas: &[CaReport]) -> String {
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
