//! `GET /metrics`, rendered from [`Status`] and from instruments. It is made from memory, because it must answer
//! while the HSM or the ledger hangs.
//!
//! The number of series does not depend on what clients send: the label of a route is its template.

mod tokens;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use actix_web::{
    HttpResponse,
    http::{Method, StatusCode, header},
};
use prometheus::IntCounterVec;

use super::{
    api,
    dispatch::{Context, SEGMENTS_MAX},
    plain,
    route::matches,
};
use crate::{
    domain::time::Timestamp,
    metrics::{self, Page, Sample, count, flag},
    service::{LedgerFigures, status::Status},
};

/// Requests by route and status.
pub(super) struct Requests {
    counts: IntCounterVec,
    /// From 1xx to 5xx.
    by_class: [AtomicU64; 5],
    names: Names,
}

/// Paths that are nobody's, and known paths with another method.
const OTHER: &str = "other";

impl Requests {
    pub(super) fn new() -> Self {
        let help = "Requests to the API and distribution listeners, by route and HTTP status.";
        let counts = metrics::counters("chancery_requests_total", help, &["route", "status"]);
        Self { counts, by_class: Default::default(), names: Names::new() }
    }

    /// Answers by the first digit of their status, `2xx`.
    pub(super) fn by_class(&self) -> BTreeMap<String, u64> {
        let counts = self.by_class.iter().map(|count| count.load(Ordering::Relaxed));
        let named = (1..).zip(counts).filter(|(_, count)| *count > 0);
        named.map(|(class, count)| (format!("{class}xx"), count)).collect()
    }

    /// Counts an answer.
    pub(super) fn count(&self, method: &Method, path: &str, status: StatusCode) {
        let name = self.names.of(method, path);
        self.counts.with_label_values(&[name, status.as_str()]).inc();
        if let Some(count) = self.by_class.get(usize::from(status.as_u16() / 100 - 1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Method and template of each route.
struct Names(Vec<Named>);

struct Named {
    method: Method,
    /// Below `/v1/{target}`.
    api: Option<&'static str>,
    tail: &'static [&'static str],
    name: String,
}

impl Names {
    fn new() -> Self {
        let named = |method: &Method, api: Option<&'static str>, tail: &'static [&'static str]| {
            let below = api.map_or_else(String::new, |api| format!("v1/{{target}}/{api}/"));
            let name = format!("{method} /{below}{}", tail.join("/"));
            Named { method: method.clone(), api, tail, name }
        };
        let targeted =
            api::routes().map(|route| named(&route.method, Some(route.api.segment()), route.tail));
        let public = api::public_routes().flat_map(|route| {
            [Method::GET, Method::HEAD]
                .map(|method| named(&method, Some(route.kind.api()), route.tail))
        });
        let plain = plain::ROUTES.iter().map(|route| named(&route.method, None, route.path));
        Self(targeted.chain(public).chain(plain).collect())
    }

    /// The name of the route that a request is for, whether or not it was let through.
    fn of(&self, method: &Method, path: &str) -> &str {
        let segments: Vec<&str> = path.split('/').skip(1).take(SEGMENTS_MAX).collect();
        let (api, tail) = match segments.as_slice() {
            ["v1", _, api, tail @ ..] => (Some(*api), tail),
            path => (None, path),
        };
        let found = self
            .0
            .iter()
            .find(|named| named.api == api && named.method == *method && matches(named.tail, tail));
        found.map_or(OTHER, |named| &named.name)
    }
}

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
    page.instruments(&context.requests.counts);
    page.instruments(context.refusals.counts());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_named_by_its_template_whatever_is_sent() {
        for (method, path, named) in [
            (Method::GET, "/healthz", "GET /healthz"),
            (Method::GET, "/swagger/a.css", "GET /swagger/{}"),
            (
                Method::POST,
                "/v1/acme.x509/x509-service-api/iso/iacas",
                "POST /v1/{target}/x509-service-api/iso/iacas",
            ),
            (
                Method::GET,
                "/v1/a%20b/x509-service-api/certificates/00ff",
                "GET /v1/{target}/x509-service-api/certificates/{}",
            ),
            (
                Method::HEAD,
                "/v1/a/vical-service-api/latest",
                "HEAD /v1/{target}/vical-service-api/latest",
            ),
            (Method::PUT, "/healthz", OTHER),
            (Method::DELETE, "/v1/acme.x509/x509-service-api/iso/iacas", OTHER),
            (Method::GET, "/v1/acme/x509-service-api/nothing", OTHER),
            (Method::GET, "/", OTHER),
        ] {
            assert_eq!(Names::new().of(&method, path), named, "{method} {path}");
        }
    }
}
