//! Health and readiness, and the listener that has them without TLS.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode, header},
};
use serde::Serialize;
use tokio::{sync::Mutex, time::timeout};

use super::{
    dispatch::{self, Context, name_request, request_id},
    metrics,
    problem::{JsonBody, Problem},
    query,
};
use crate::{hsm::TokenState, service::Services};

/// The only handler of the operations listener.
pub(super) async fn dispatch(context: &Context, request: &HttpRequest) -> HttpResponse {
    let request_id = request_id(request);
    let answered = answer(context, request).await;
    let mut answer = answered.unwrap_or_else(|problem| problem.into_response(&request_id));
    name_request(&mut answer, &request_id);
    answer
}

async fn answer(context: &Context, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    query::check(request)?;
    let path = request.path();
    if !matches!(path, "/healthz" | "/readyz" | "/metrics") {
        return Err(Problem::not_found("not found"));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Problem::method_not_allowed("GET, HEAD".to_owned()));
    }
    Ok(match path {
        "/healthz" => health(context),
        "/readyz" => dispatch::readiness(context).await,
        _ => metrics::answer(context),
    })
}

/// 200 while the process works; touches neither HSM nor ledger.
pub(super) fn health(context: &Context) -> HttpResponse {
    HttpResponse::Ok().json_body(&Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        dev: context.services.keyring.is_dev(),
        warnings: warnings(context),
    })
}

/// What an operator should know: settings that have no place in production, tokens that are none, pinned
/// keys that cannot be used, CRLs that have expired.
pub(super) fn warnings(context: &Context) -> Vec<Cow<'static, str>> {
    let services = &context.services;
    let mut warnings: Vec<Cow<'static, str>> = Vec::new();
    if services.keyring.is_dev() {
        warnings.push("--dev: private JWKs are accepted as signing keys".into());
    }
    if services.import_keys {
        warnings.push("dev.import_keys: private keys may be imported into the HSM".into());
    }
    if context.compat_login {
        warnings.push("compat.login: there is a login, and it grants nothing".into());
    }
    warnings.extend(context.tls.expired_crl().map(Cow::from));
    for token in services.keyring.tokens() {
        if token.facts().is_some_and(|facts| facts.is_softhsm()) {
            let name = token.name();
            let words = "is SoftHSM: keys are files, there is no certified boundary";
            warnings.push(format!("token {name} {words}").into());
        }
        if token.facts().is_some_and(|facts| facts.local_says_nothing) {
            let name = token.name();
            let words = "does not say where keys were made: its CKA_LOCAL means nothing";
            warnings.push(format!("token {name} {words}").into());
        }
    }
    for (kms, keys) in services.keyring.pinned_keys(&services.tree.snapshot()) {
        if !keys.refused.is_empty() {
            let words = "pinned keys cannot be used; the log names them";
            warnings.push(format!("KMS {kms}: {} {words}", keys.refused.len()).into());
        }
    }
    warnings
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    dev: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Cow<'static, str>>,
}

/// Whether the ledger takes a write. To find out costs one, so that it is found out some times a second
/// at most, however many ask.
#[derive(Default)]
pub(super) struct LastWrite(Mutex<Option<Writes>>);

/// Those of one second.
struct Writes {
    since: Instant,
    number: u32,
    has_lasted: bool,
}

const WRITES_PER_SECOND: u32 = 20;

impl LastWrite {
    async fn has_lasted(&self, services: &Services) -> bool {
        // Who comes meanwhile waits for its end.
        let mut last = self.0.lock().await;
        let second = last.take().filter(|writes| writes.since.elapsed() < Duration::from_secs(1));
        let mut writes =
            second.unwrap_or(Writes { since: Instant::now(), number: 0, has_lasted: false });
        if writes.number < WRITES_PER_SECOND {
            let written = services.ledger.is_writable().await;
            if let Err(error) = &written {
                tracing::warn!(%error, "not ready: the ledger is not writable");
            }
            writes.number += 1;
            writes.has_lasted = written.is_ok();
        }
        last.insert(writes).has_lasted
    }
}

/// 200 when a signature would succeed now, as far as can be known: each token has just made one, or
/// another that holds the same keys has.
pub(super) async fn readiness(
    services: &Services,
    last_write: &LastWrite,
    queue_is_full: bool,
) -> HttpResponse {
    let mut checks = BTreeMap::new();
    let ledger = ledger_word(services, last_write).await;
    let is_writable = ledger == "ok";
    let word = |good: bool, bad: &str| if good { "ok".to_owned() } else { bad.to_owned() };
    // Audit entries are rows of the ledger; the contract names both.
    checks.insert("database".to_owned(), ledger.to_owned());
    checks.insert("audit".to_owned(), ledger.to_owned());
    checks.insert("queue".to_owned(), word(!queue_is_full, "full"));
    let ready = is_writable && !queue_is_full && tokens_are_ready(services);
    let tree = services.tree.snapshot();
    for token in services.keyring.tokens() {
        let state = token.state();
        if !state.is_ready() {
            // Who balances load by this answer sends no request that would hurry the token.
            token.wanted();
        }
        checks.insert(format!("token:{}", token.name()), token_word(&state).to_owned());
    }
    for (kms, standing) in services.keyring.twins(&tree) {
        checks.insert(format!("kms:{kms}"), standing.word().to_owned());
    }
    for (kms, keys) in services.keyring.pinned_keys(&tree) {
        if keys.are_all_refused() {
            checks.insert(format!("kms:{kms}"), "no pinned key can be used".to_owned());
        }
    }
    let mut response =
        HttpResponse::build(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE });
    if !ready {
        response.insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS));
    }
    response.json_body(&Readiness { status: if ready { "ready" } else { "not-ready" }, checks })
}

/// How long readiness waits for the ledger.
const LEDGER_ANSWERS_WITHIN: Duration = Duration::from_millis(700);

/// Waits for others who ask, too, but no longer than that.
async fn ledger_word(services: &Services, last_write: &LastWrite) -> &'static str {
    match timeout(LEDGER_ANSWERS_WITHIN, last_write.has_lasted(services)).await {
        Ok(true) => "ok",
        Ok(false) => "not writable",
        Err(_) => {
            tracing::warn!("not ready: the ledger is slow");
            "slow"
        }
    }
}

/// Each token has just signed, or another that holds the same keys has.
pub(super) fn tokens_are_ready(services: &Services) -> bool {
    let keyring = &services.keyring;
    let tree = services.tree.snapshot();
    keyring.tokens().all(|token| token.state().is_ready() || keyring.is_stood_in_for(token, &tree))
        && keyring.twins(&tree).iter().all(|(_, standing)| standing.is_ready())
        && !keyring.pinned_keys(&tree).values().any(|keys| keys.are_all_refused())
}

const RETRY_AFTER_SECONDS: u64 = 5;

/// The operator's words are in the log and in `chancery check`; this answer may be public.
fn token_word(state: &TokenState) -> &'static str {
    match state {
        TokenState::Ready { .. } => "ok",
        TokenState::Unproven { .. } => "no recent signature",
        TokenState::Starting => "starting",
        TokenState::Away { .. } => "away",
        TokenState::CredentialFault { .. } => "credential fault",
        TokenState::NoKeys => "no keys yet",
    }
}

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    checks: BTreeMap<String, String>,
}
