//! What is known of a daemon, from what it says of itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use serde::Serialize;
use serde_json::Value;

use super::samples::Samples;
use crate::domain::time::Timestamp;

/// A daemon at one moment.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) url: String,
    pub(super) version: String,
    /// `ready` or `not-ready`.
    pub(super) status: String,
    /// `ok`, or what is wrong.
    pub(super) checks: BTreeMap<String, String>,
    pub(super) warnings: Vec<String>,
    /// What `ops:read` opens.
    #[serde(flatten)]
    pub(super) figures: Option<Figures>,
    /// Why there are no figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) no_figures: Option<String>,
    #[serde(skip)]
    taken: Instant,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Figures {
    pub(super) tokens: Vec<TokenReport>,
    pub(super) ledger: LedgerReport,
    /// By profile.
    pub(super) certificates: BTreeMap<String, u64>,
    pub(super) cas: Vec<CaReport>,
    pub(super) requests_in_flight: u64,
    /// By the first digit of the status.
    pub(super) requests: BTreeMap<String, u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenReport {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) breaker: String,
    pub(super) signers: u64,
    pub(super) sessions_in_use: u64,
    pub(super) sessions: u64,
    pub(super) keys: u64,
    pub(super) queue: u64,
    pub(super) queue_max: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) canary_age_seconds: Option<f64>,
    pub(super) signed: u64,
    pub(super) not_signed: u64,
    pub(super) signers_lost: u64,
    /// Since the last look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signed_per_second: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LedgerReport {
    pub(super) up: bool,
    pub(super) audit_entries: u64,
    pub(super) writes_waiting: u64,
    pub(super) transactions_lost: u64,
    /// Since the start; absent before the first write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) write_milliseconds: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CaReport {
    pub(super) subject: String,
    pub(super) key_id: String,
    pub(super) not_after: String,
    pub(super) days_left: i64,
}

impl Report {
    pub(super) fn new(
        url: &str,
        health: &Value,
        readiness: &Value,
        samples: Result<Samples, String>,
    ) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let checks = readiness["checks"].as_object().into_iter().flatten();
        let (figures, no_figures) = match samples {
            Ok(samples) => (Some(Figures::new(&samples)), None),
            Err(why) => (None, Some(why)),
        };
        Self {
            url: url.to_owned(),
            version: text(&health["version"]),
            status: text(&readiness["status"]),
            checks: checks.map(|(name, word)| (name.clone(), text(word))).collect(),
            warnings: health["warnings"].as_array().into_iter().flatten().map(text).collect(),
            figures,
            no_figures,
            taken: Instant::now(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.status == "ready"
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Adds what has changed since an earlier look.
    pub(super) fn compare(&mut self, before: Option<&Self>) {
        let Some(before) = before else { return };
        let seconds = (self.taken - before.taken).as_secs_f64();
        let (Some(now), Some(then)) = (&mut self.figures, &before.figures) else { return };
        for token in &mut now.tokens {
            let earlier = then.tokens.iter().find(|earlier| earlier.name == token.name);
            token.signed_per_second = earlier.map(|earlier| {
                let more = u32::try_from(token.signed.saturating_sub(earlier.signed));
                f64::from(more.unwrap_or(u32::MAX)) / seconds.max(0.001)
            });
        }
    }
}

impl Figures {
    fn new(samples: &Samples) -> Self {
        let sum = |name: &str, labels: &[(&str, &str)]| samples.sum(name, labels).map(whole);
        let names: BTreeSet<_> =
            samples.by("chancery_token_up", "token", &[]).map(|(token, _)| token).collect();
        let mut requests = BTreeMap::new();
        for (status, number) in samples.by("chancery_requests_total", "status", &[]) {
            let class = format!("{}xx", status.get(..1).unwrap_or_default());
            *requests.entry(class).or_insert(0) += whole(number);
        }
        Self {
            tokens: names.into_iter().map(|token| TokenReport::new(samples, token)).collect(),
            ledger: LedgerReport {
                up: sum("chancery_ledger_up", &[]) == Some(1),
                audit_entries: sum("chancery_audit_tree_size", &[]).unwrap_or_default(),
                writes_waiting: sum("chancery_ledger_queue_depth", &[("kind", "write")])
                    .unwrap_or_default(),
                transactions_lost: sum(
                    "chancery_ledger_transactions_total",
                    &[("outcome", "lost")],
                )
                .unwrap_or_default(),
                write_milliseconds: mean(samples, "chancery_ledger_write_seconds"),
            },
            certificates: samples
                .by("chancery_certificates_issued_total", "profile", &[])
                .map(|(profile, number)| (profile.to_owned(), whole(number)))
                .collect(),
            cas: cas(samples),
            requests_in_flight: sum("chancery_requests_in_flight", &[]).unwrap_or_default(),
            requests,
        }
    }
}

impl TokenReport {
    fn new(samples: &Samples, token: &str) -> Self {
        let labels = [("token", token)];
        let sum = |name: &str| samples.sum(name, &labels).map(whole).unwrap_or_default();
        let word = |name: &str| samples.word(name, "state", &labels).unwrap_or_default();
        let signed = [("token", token), ("outcome", "signed")];
        let signed = samples.sum("chancery_signatures_total", &signed).map(whole);
        let signed = signed.unwrap_or_default();
        Self {
            name: token.to_owned(),
            state: word("chancery_token_state"),
            breaker: word("chancery_token_breaker"),
            signers: sum("chancery_token_signers"),
            sessions_in_use: sum("chancery_token_sessions_in_use"),
            sessions: sum("chancery_token_sessions"),
            keys: sum("chancery_token_keys"),
            queue: sum("chancery_token_queue_depth"),
            queue_max: sum("chancery_token_queue_max"),
            canary_age_seconds: samples.sum("chancery_token_canary_age_seconds", &labels),
            signed,
            not_signed: sum("chancery_signatures_total").saturating_sub(signed),
            signers_lost: sum("chancery_signers_lost_total"),
            signed_per_second: None,
        }
    }
}

/// Those that end first come first.
fn cas(samples: &Samples) -> Vec<CaReport> {
    const NAME: &str = "chancery_ca_not_after_seconds";
    let now = Timestamp::now();
    let mut ends: Vec<_> = samples
        .by(NAME, "issuer", &[])
        .filter_map(|(key_id, _)| {
            let labels = [("issuer", key_id)];
            let (subject, end) = samples.by(NAME, "subject", &labels).next()?;
            Some((Timestamp::from_unix(whole(end)).ok()?, subject.to_owned(), key_id))
        })
        .collect();
    ends.sort();
    ends.into_iter()
        .map(|(not_after, subject, key_id)| CaReport {
            subject,
            key_id: key_id.to_owned(),
            not_after: not_after.to_string(),
            days_left: (not_after.unix() - now.unix()).div_euclid(86_400),
        })
        .collect()
}

/// In milliseconds.
fn mean(samples: &Samples, name: &str) -> Option<f64> {
    let count = samples.sum(&format!("{name}_count"), &[]).filter(|count| *count > 0.0)?;
    Some(samples.sum(&format!("{name}_sum"), &[])? / count * 1_000.0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and times of our own daemon; anything else becomes 0 or the largest number"
)]
fn whole(number: f64) -> u64 {
    number as u64
}
