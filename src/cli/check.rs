//! `chancery check`: reports every problem that would prevent the daemon from working.

use std::{collections::BTreeMap, path::Path, process::ExitCode, time::Duration};

use super::{
    fail, logging, memory,
    output::{self, Output},
};
use crate::{
    app::{self, KnownToken},
    config::Config,
    domain::{
        key::PublicKey,
        path::KeyPath,
        time::Timestamp,
        tree::{Kms, ResourceTree},
    },
    hsm::{CatalogueEntry, Token, TokenKey, TokenState},
    http,
    keys::keys_of,
};

/// How long a token may take to start.
const TOKEN_KNOWN_WITHIN: Duration = Duration::from_secs(30);

const NO_PROBLEMS: &str = "no problems";

/// Prints one line for each key and each problem. Fails if there is a problem.
pub(super) fn run(file: &Path, config_only: bool) -> ExitCode {
    if config_only {
        return match Config::load_without_credentials(file) {
            Ok(config) => {
                warn(&config.warnings);
                output::print(format_args!("{NO_PROBLEMS}\n"))
            }
            Err(error) => fail(error),
        };
    }
    let mut config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => return fail(error),
    };
    warn(&config.warnings);
    config.log.filter = "error".to_owned();
    if let Err(error) = logging::start(&config.log) {
        return fail(error);
    }
    memory::keep_off_disk();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    let mut output = Output::default();
    let mut problems = Vec::new();
    match http::check_tls(&config.api) {
        Ok(warnings) => warn(&warnings),
        Err(found) => problems.extend(found),
    }
    let (refused, warned) = app::clients(&config);
    problems.extend(refused);
    for warning in warned {
        output::warn(format_args!("warning: {warning}"));
    }
    warn(&app::inherited(&config.ledger, Timestamp::now()));
    match runtime.block_on(check_tokens(config, &mut output)) {
        Ok(found) => problems.extend(found),
        Err(error) => problems.push(error),
    }
    for problem in &problems {
        output::warn(format_args!("problem: {problem}"));
    }
    if problems.is_empty() {
        output.line(NO_PROBLEMS);
        output.end(ExitCode::SUCCESS)
    } else {
        ExitCode::FAILURE
    }
}

/// Prints warnings, which do not change the exit code.
fn warn(warnings: &[String]) {
    for warning in warnings {
        output::warn(format_args!("warning: {warning}"));
    }
}

async fn check_tokens(config: Config, output: &mut Output) -> Result<Vec<String>, String> {
    let mut problems = Vec::new();
    let mut seen = Seen::new();
    let mut known = Vec::new();
    let labels: Vec<_> = config.tokens.iter().map(|token| token.label.clone()).collect();
    for (token, label) in app::start_tokens(config.tokens, &[]).into_iter().zip(labels) {
        token.wait_until_known(TOKEN_KNOWN_WITHIN).await;
        known.push(KnownToken { name: token.name().to_owned(), label, facts: token.facts() });
        match token.state() {
            TokenState::Ready { .. } | TokenState::Unproven { .. } | TokenState::NoKeys => {
                show_facts(&token, output);
                problems.extend(check_keys(&token, &config.tree, &mut seen, output).await);
            }
            TokenState::Starting => problems.push(format!(
                "token {}: not started within {} s",
                token.name(),
                TOKEN_KNOWN_WITHIN.as_secs()
            )),
            TokenState::Away { reason } | TokenState::CredentialFault { reason } => {
                problems.push(format!("token {}: {reason}", token.name()));
            }
        }
        token.stop().await;
    }
    for (key, (_, tokens)) in seen {
        let missing = |kms: &Kms| tokens.len() < kms.tokens.len();
        if config.tree.kms(&key.kms()).is_some_and(missing) {
            output.line(format_args!("key {key}: on {} alone", tokens.join(", ")));
        }
    }
    let mut tree = config.tree;
    tree.add_same_tokens(&app::same_tokens(known.into_iter()));
    problems.extend(app::shared_labels(&tree).0);
    Ok(problems)
}

/// Prints the mechanisms that the token offers for signing, also those that are not used here.
fn show_facts(token: &Token, output: &mut Output) {
    let Some(facts) = token.facts() else { return };
    let name = token.name();
    let offers: Vec<_> = facts.offers.iter().map(ToString::to_string).collect();
    let offers = offers.join(", ");
    output.line(format_args!(
        "token {name}: {} by {}, with {offers}",
        facts.model, facts.manufacturer
    ));
    if facts.local_says_nothing {
        output
            .line(format_args!("token {name}: its CKA_LOCAL means nothing, and is not looked at"));
    }
}

/// The keys that have signed, each with token and public key, because all tokens of a KMS must have the same key.
type Seen = BTreeMap<KeyPath, (PublicKey, Vec<String>)>;

/// Signs with each key of a KMS service, and reports the keys of its table that are missing.
async fn check_keys(
    token: &Token,
    tree: &ResourceTree,
    seen: &mut Seen,
    output: &mut Output,
) -> Vec<String> {
    let catalogue = match token.list().await {
        Ok(catalogue) => catalogue,
        Err(error) => return vec![format!("token {}: {error}", token.name())],
    };
    let mut problems = Vec::new();
    for (path, kms) in tree.services().filter_map(|(path, _)| Some((path, tree.kms(path)?))) {
        if !kms.tokens.iter().any(|name| name == token.name()) {
            continue;
        }
        let name = token.name();
        let place = if kms.tokens.len() > 1 { format!(" on {name}") } else { String::new() };
        for (key, entries) in keys_of(path, kms, &catalogue) {
            match check_key(token, &entries).await {
                Ok(public_key) => {
                    output.line(format_args!("key {key}: {}, signs{place}", public_key.key_type()));
                    let (first, tokens) =
                        seen.entry(key.clone()).or_insert_with(|| (public_key.clone(), Vec::new()));
                    if *first != public_key {
                        let other = &tokens[0];
                        problems.push(format!("key {key}: another key on {name} than on {other}"));
                    }
                    tokens.push(name.to_owned());
                }
                Err(problem) => problems.push(format!("key {key}{place}: {problem}")),
            }
        }
    }
    problems
}

async fn check_key(token: &Token, entries: &[&CatalogueEntry]) -> Result<PublicKey, String> {
    let [entry] = entries else {
        return Err(match entries.len() {
            0 => "not on the token".to_owned(),
            count => format!("{count} private keys answer to its label"),
        });
    };
    let public_key = entry.public_key.clone()?;
    let message = b"chancery check";
    let key = TokenKey { label: entry.label.clone(), id: entry.id.clone(), public_key };
    let signature = token.sign(&key, message).await.map_err(|error| error.to_string())?;
    if key.public_key.verifies(message, &signature) {
        Ok(key.public_key)
    } else {
        Err("its signature does not verify".to_owned())
    }
}
