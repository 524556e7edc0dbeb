//! The metrics of the tokens.

use super::{Page, Sample, count, flag, size};
use crate::{
    hsm::{BUCKETS_SECONDS, BreakerState, Histogram, TokenFigures, Usage},
    metrics::Durations,
    service::status::{Status, TokenStatus},
};

/// A token's name and figures.
type Figures<'a> = (&'a str, &'a TokenFigures);

/// Adds the figures of all tokens.
pub(super) fn show(page: &mut Page, status: &Status) {
    let tokens: Vec<Figures<'_>> =
        status.tokens.iter().map(|(name, token)| (name.as_str(), &token.figures)).collect();
    let queued = tokens.iter().map(|(_, figures)| figures.queue_depth).sum();
    page.gauge(
        "chancery_queue_depth",
        "Signatures that no signer has taken yet, of all tokens.",
        size(queued),
    );
    page.gauges(
        "chancery_kms_up",
        "Of each KMS with several tokens: whether one of them signs, and none holds other keys.",
        status
            .twins
            .iter()
            .map(|(kms, standing)| Sample::new([("kms", kms.as_str())], flag(standing.is_ready()))),
    );
    page.gauges(
        "chancery_pinned_keys_refused",
        "Pinned keys that cannot be used although their token is up: missing, replaced or ambiguous.",
        status.pinned_keys.iter().map(|(kms, keys)| {
            Sample::new([("kms", kms.as_str())], size(keys.refused.len()))
        }),
    );
    states(page, status);
    conditions(page, &tokens);
    mechanisms(page, status);
    signatures(page, &tokens);
    signers(page, &tokens);
    sizes(page, &tokens);
}

fn states(page: &mut Page, status: &Status) {
    page.gauges(
        "chancery_token_up",
        "Whether the token can be expected to sign.",
        status.tokens.iter().map(|(name, token)| {
            Sample::new([("token", name.as_str())], flag(token.state().is_ready()))
        }),
    );
    page.gauges(
        "chancery_token_state",
        "1 for the state that the token is in.",
        status.tokens.iter().flat_map(|(name, token)| {
            TokenStatus::STATES.map(|state| {
                let labels = [("token", name.as_str()), ("state", state)];
                Sample::new(labels, flag(state == token.state_name()))
            })
        }),
    );
}

fn conditions(page: &mut Page, tokens: &[Figures<'_>]) {
    page.gauges(
        "chancery_token_breaker",
        "1 for the state of the breaker: closed lets requests through, open refuses them at once.",
        tokens.iter().flat_map(|(token, figures)| {
            BreakerState::ALL.map(|state| {
                let labels = [("token", *token), ("state", state.name())];
                Sample::new(labels, flag(state == figures.breaker.state))
            })
        }),
    );
    gauges(
        page,
        "chancery_token_breaker_age_seconds",
        "How long the breaker has been in its state.",
        tokens,
        |figures| figures.breaker.age.as_secs_f64(),
    );
    page.gauges(
        "chancery_token_canary_age_seconds",
        "Time since a signature of the token was last verified for readiness.",
        tokens.iter().filter_map(|(token, figures)| {
            Some(Sample::new([("token", *token)], figures.canary_age?.as_secs_f64()))
        }),
    );
}

fn mechanisms(page: &mut Page, status: &Status) {
    let facts =
        status.tokens.iter().filter_map(|(name, token)| Some((name, token.facts.as_ref()?)));
    page.gauges(
        "chancery_token_mechanism_key_size",
        "Key sizes of the signing mechanisms that the token says it has. RSA-PSS is shown, not used.",
        facts.flat_map(|(token, facts)| {
            facts.offers.iter().flat_map(|offer| {
                [("min", offer.key_size_min), ("max", offer.key_size_max)].map(|(limit, bits)| {
                    let labels =
                        [("token", token.as_str()), ("mechanism", offer.name()), ("limit", limit)];
                    Sample::new(labels, count(bits))
                })
            })
        }),
    );
}

fn signatures(page: &mut Page, tokens: &[Figures<'_>]) {
    page.counters(
        "chancery_signatures_total",
        "Requested signatures, by outcome.",
        tokens.iter().flat_map(|(token, figures)| {
            figures.signatures.iter().map(|(outcome, number)| {
                Sample::new([("token", *token), ("outcome", outcome.name())], count(*number))
            })
        }),
    );
    durations(
        page,
        "chancery_sign_seconds",
        "Time from the moment a signer takes a request to the signature.",
        tokens,
        |figures| &figures.signing,
    );
    durations(
        page,
        "chancery_queue_wait_seconds",
        "Time from a request for a signature to the moment a signer takes it.",
        tokens,
        |figures| &figures.queue_wait,
    );
}

fn signers(page: &mut Page, tokens: &[Figures<'_>]) {
    page.counters(
        "chancery_signers_lost_total",
        "Signers that were up and had to be replaced, by cause.",
        tokens.iter().flat_map(|(token, figures)| {
            figures.signers_lost.iter().map(|(cause, number)| {
                Sample::new([("token", *token), ("cause", cause.name())], count(*number))
            })
        }),
    );
    page.counters(
        "chancery_signers_recycled_total",
        "Working signers that were replaced before they reached a limit, by cause.",
        tokens.iter().flat_map(|(token, figures)| {
            figures.signers_recycled.iter().map(|(cause, number)| {
                Sample::new([("token", *token), ("cause", cause.name())], count(*number))
            })
        }),
    );
    counters(
        page,
        "chancery_signers_started_total",
        "Signer processes that were started.",
        tokens,
        |figures| figures.signers_started,
    );
    counters(
        page,
        "chancery_signer_starts_failed_total",
        "Signer processes that failed to start.",
        tokens,
        |figures| figures.starts_failed,
    );
    page.counters(
        "chancery_token_faults_total",
        "PKCS#11 faults that the log names, by class.",
        tokens.iter().flat_map(|(token, figures)| {
            figures.faults.iter().map(|(class, number)| {
                Sample::new([("token", *token), ("class", class)], count(*number))
            })
        }),
    );
}

fn sizes(page: &mut Page, tokens: &[Figures<'_>]) {
    type Size = fn(&TokenFigures) -> usize;
    let sizes: [(&str, &str, Size); 6] = [
        ("chancery_token_queue_depth", "Signatures that no signer has taken yet.", |figures| {
            figures.queue_depth
        }),
        ("chancery_token_queue_max", "How many may wait.", |figures| figures.queue_max),
        ("chancery_token_signers", "Signer processes that are up.", |figures| {
            figures.signer_pids.len()
        }),
        ("chancery_token_sessions", "Sessions that sign when all signers are up.", |figures| {
            figures.sessions_configured
        }),
        ("chancery_token_sessions_in_use", "Sessions that have something to do.", |figures| {
            figures.sessions_in_use
        }),
        ("chancery_token_keys", "Private keys on the token, as last listed.", |figures| {
            figures.keys
        }),
    ];
    for (name, help, value) in sizes {
        gauges(page, name, help, tokens, |figures| size(value(figures)));
    }
    type Use = fn(&Usage) -> Option<u64>;
    let uses: [(&str, &str, Use); 3] = [
        (
            "chancery_signer_memory_bytes",
            "Memory of the largest signer, private or resident, as of its last answer.",
            |usage| Some(usage.memory),
        ),
        (
            "chancery_signer_descriptors",
            "Open descriptors of the signer that has most, as of its last answer.",
            |usage| Some(usage.descriptors.into()),
        ),
        (
            "chancery_signer_sessions",
            "Open sessions of the signer that has most, if the token reports them.",
            |usage| usage.sessions,
        ),
    ];
    for (name, help, value) in uses {
        let samples = tokens.iter().filter_map(|(token, figures)| {
            Some(Sample::new([("token", *token)], count(value(figures.usage.as_ref()?)?)))
        });
        page.gauges(name, help, samples);
    }
}

fn gauges(
    page: &mut Page,
    name: &str,
    help: &str,
    tokens: &[Figures<'_>],
    value: impl Fn(&TokenFigures) -> f64,
) {
    let samples =
        tokens.iter().map(|(token, figures)| Sample::new([("token", *token)], value(figures)));
    page.gauges(name, help, samples);
}

fn counters(
    page: &mut Page,
    name: &str,
    help: &str,
    tokens: &[Figures<'_>],
    value: impl Fn(&TokenFigures) -> u64,
) {
    let samples = tokens
        .iter()
        .map(|(token, figures)| Sample::new([("token", *token)], count(value(figures))));
    page.counters(name, help, samples);
}

fn durations(
    page: &mut Page,
    name: &str,
    help: &str,
    tokens: &[Figures<'_>],
    of: impl Fn(&TokenFigures) -> &Histogram,
) {
    let durations = tokens.iter().map(|(token, figures)| {
        let histogram = of(figures);
        Durations {
            labels: vec![("token", *token)],
            at_most: BUCKETS_SECONDS.into_iter().zip(histogram.at_most).collect(),
            count: histogram.count,
            sum: histogram.sum,
        }
    });
    page.durations(name, help, durations);
}
