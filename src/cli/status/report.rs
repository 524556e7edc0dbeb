//! The status of a daemon, as `chancery status` shows it.

use std::{collections::BTreeMap, time::Instant};

use serde_json::{Value, json};

use crate::http::wire::status::{StatusBody, TokenBody};

/// A daemon at one moment.
pub(super) struct Report {
    pub(super) url: String,
    pub(super) body: StatusBody,
    /// Why there are no details.
    pub(super) no_figures: Option<String>,
    /// Signatures per second of each token since the report before.
    pub(super) rates: BTreeMap<String, f64>,
    taken: Instant,
}

impl Report {
    pub(super) fn new(url: &str, body: StatusBody, no_figures: Option<String>) -> Self {
        let (url, rates, taken) = (url.to_owned(), BTreeMap::new(), Instant::now());
        Self { url, body, no_figures, rates, taken }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(&*self.body.status, "ready" | "degraded")
    }

    /// The answer of the daemon as JSON, with url, rates, and why details are missing.
    pub(super) fn to_json(&self) -> String {
        let mut json = json!(self.body);
        json["url"] = json!(self.url);
        if let Some(why) = &self.no_figures {
            json["noFigures"] = json!(why);
        }
        for token in json["tokens"].as_array_mut().into_iter().flatten() {
            if let Some(rate) = token["name"].as_str().and_then(|name| self.rates.get(name)) {
                token["signedPerSecond"] = json!(rate);
            }
        }
        Value::to_string(&json)
    }

    /// Calculates the rates since an earlier report.
    pub(super) fn compare(&mut self, before: Option<&Self>) {
        let Some(before) = before else { return };
        let seconds = (self.taken - before.taken).as_secs_f64();
        let earlier: BTreeMap<_, _> =
            before.tokens().iter().map(|token| (&token.name, token.signed)).collect();
        // The difference is negative after a restart of the daemon: no rate then.
        let rates = self.tokens().iter().filter_map(|token| {
            let signed = token.signed.checked_sub(*earlier.get(&token.name)?)?;
            let signed = u32::try_from(signed).unwrap_or(u32::MAX);
            Some((token.name.clone(), f64::from(signed) / seconds.max(0.001)))
        });
        self.rates = rates.collect();
    }

    fn tokens(&self) -> &[TokenBody] {
        self.body.details.as_ref().map_or(&[], |details| &details.tokens)
    }
}
