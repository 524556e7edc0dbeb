//! `GET /metrics`, rendered from [`Status`] and from instruments. It is made from memory, because it must answer
//! while the HSM or the ledger hangs.
//!
//! The number of series does not depend on what clients send: the label of a route is its template.

mod tokens;

use actix_web::{HttpResponse, http::header};

use super::context::Context;
use crate::{
    domain::time::Timestamp,
    metrics::{self, Page, Sample, count, flag},
    service::{LedgerFigures, status::Status},
};

/// Answers with the page.
pub(super) fn answer(context: &Context) -> HttpResponse {
    let status = context.services.status(context.front());
    let mut page = Page::default();
    page.gauges(
        "chancery_build_info",
        "1; the version is a label.",
        [Sample::new([("version", Status::VERSION)], 1.0)],
    );
    flags(&mut page, &status);
    if let Some(next_update) = status.front.crl_next_update {
        page.gauge(
            "chancery_client_crl_next_update_seconds",
            "When the first CRL of api.client_crl must have a successor (Unix time).",
            seconds(next_update),
        );
    }
    page.instruments(context.requests.counts());
    page.instruments(context.rejected.counts());
    page.gauge(
        "chancery_requests_in_flight",
        "Requests that are worked on.",
        size(status.front.in_flight),
    );
    page.gauge(
        "chancery_requests_in_flight_max",
        "limits.in_flight_max: further ones get 503.",
        size(status.front.in_flight_max),
    );
    tokens::show(&mut page, &status);
    ledger(&mut page, &status.ledger_figures);
    jobs(&mut page, &status);
    match page.into_text() {
        Ok(text) => {
            HttpResponse::Ok().insert_header((header::CONTENT_TYPE, metrics::MEDIA_TYPE)).body(text)
        }
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            HttpResponse::InternalServerError().finish()
        }
    }
}

fn flags(page: &mut Page, status: &Status) {
    let flags = [
        (
            "chancery_ready",
            "Whether a signature would succeed now, as far as is known from memory.",
            status.is_ready(),
        ),
        (
            "chancery_dev_mode",
            "Whether private JWKs are accepted as signing keys (--dev).",
            status.dev,
        ),
        (
            "chancery_import_keys",
            "Whether private keys may be imported into the HSM (dev.import_keys).",
            status.import_keys,
        ),
        (
            "chancery_compat_login",
            "Whether there is a login that grants nothing (compat.login).",
            status.front.compat_login,
        ),
    ];
    for (name, help, value) in flags {
        page.gauge(name, help, flag(value));
    }
}

fn jobs(page: &mut Page, status: &Status) {
    let jobs = || status.jobs.iter();
    page.gauges(
        "chancery_job_last_success_seconds",
        "When a run of the job last succeeded (Unix time).",
        jobs().filter_map(|(name, job)| {
            Some(Sample::new([("name", *name)], seconds(job.last_success?)))
        }),
    );
    page.gauges(
        "chancery_job_duration_seconds",
        "How long the last successful run of the job took.",
        jobs().map(|(name, job)| Sample::new([("name", *name)], job.duration.as_secs_f64())),
    );
    page.counters(
        "chancery_job_failures_total",
        "Runs of the job that failed, panicked or missed their deadline.",
        jobs().map(|(name, job)| Sample::new([("name", *name)], count(job.failures))),
    );
}

fn ledger(page: &mut Page, ledger: &LedgerFigures) {
    page.gauge(
        "chancery_ledger_up",
        "Whether the last transaction of the ledger succeeded. There is one every 15 s at least.",
        flag(ledger.writable),
    );
    page.counters(
        "chancery_ledger_transactions_total",
        "Transactions of the ledger; several writes share one.",
        [
            Sample::new([("outcome", "committed")], count(ledger.committed)),
            Sample::new([("outcome", "lost")], count(ledger.lost)),
        ],
    );
    page.gauge(
        "chancery_ledger_transaction_age_seconds",
        "Age of the transaction that runs, or of the checkpoint after it; 0 without one.",
        ledger.under_way.unwrap_or_default().as_secs_f64(),
    );
    page.gauges(
        "chancery_ledger_queue_depth",
        "Writes and reads of the ledger that wait.",
        [
            Sample::new([("kind", "write")], size(ledger.writes_waiting)),
            Sample::new([("kind", "read")], size(ledger.reads_waiting)),
        ],
    );
    page.gauge("chancery_audit_tree_size", "Entries of the audit log.", count(ledger.tree_size));
    page.counters(
        "chancery_certificates_issued_total",
        "Certificates ever issued, from the ledger.",
        ledger
            .issued
            .iter()
            .map(|(profile, number)| Sample::new([("profile", profile.name())], count(*number))),
    );
    let since = Timestamp::now().plus_seconds(-CA_FORGOTTEN_SECONDS);
    page.gauges(
        "chancery_ca_not_after_seconds",
        "End of validity in Unix time of each CA that was issued here, by the key identifier that its \
         certificates name as issuer. Shown until 30 days after it.",
        ledger.cas.iter().filter(|ca| ca.not_after >= since).map(|ca| {
            let labels = [("issuer", ca.key_id.as_str()), ("subject", ca.subject.as_str())];
            Sample::new(labels, seconds(ca.not_after))
        }),
    );
    page.instruments(&ledger.write_seconds);
    page.instruments(&ledger.read_seconds);
}

const CA_FORGOTTEN_SECONDS: i64 = 30 * 86_400;

fn size(number: usize) -> f64 {
    count(number as u64)
}

#[expect(clippy::cast_precision_loss, reason = "exact for years of four digits")]
fn seconds(time: Timestamp) -> f64 {
    time.unix() as f64
}
