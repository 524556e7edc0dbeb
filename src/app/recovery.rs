//! Backup and restoration of the ledger, and acceptance of a replaced token.

use std::{collections::HashSet, path::Path, time::Duration};

use super::start_tokens;
use crate::{
    config::Config,
    domain::time::Timestamp,
    hsm::TokenConfig,
    ledger::{self, CaKey, Counts, Ledger, Restoration},
    service::{journal, tokens},
};

/// How long a token may take to start.
const TOKEN_KNOWN_WITHIN: Duration = Duration::from_secs(30);

/// Writes a backup into a new file and reads it back. Returns what it contains.
///
/// # Errors
/// In words for the operator. The new file does not exist then.
pub fn backup(config: &Config, to: &Path) -> Result<Counts, String> {
    ledger::backup(&config.ledger, to, Timestamp::now()).map(|label| label.counts)
}

/// Restores the ledger from a backup. With `check_keys`, it starts the signers first and refuses if a key
/// of a CA is on no token.
///
/// # Errors
/// In words for the operator. The ledger does not exist then.
pub async fn restore(config: Config, from: &Path, check_keys: bool) -> Result<Counts, String> {
    let now = Timestamp::now();
    let restoration = Restoration::prepare(from, &config.ledger, now)?;
    if check_keys && !restoration.ca_keys().is_empty() {
        find_keys(config.tokens, restoration.ca_keys()).await?;
    }
    let counts = restoration.label().counts;
    journal::restored(restoration, check_keys, now)?;
    Ok(counts)
}

/// Accepts a token in place of the one on record under a configured name. Returns the serial number that was
/// on record. The next start looks for the pinned keys on the new token.
///
/// # Errors
/// In words for the operator.
pub async fn accept_token(
    config: &Config,
    name: &str,
    serial: &str,
) -> Result<Option<String>, String> {
    let Some(token) = config.tokens.iter().find(|token| token.name == name) else {
        return Err(format!("the configuration has no token '{name}'"));
    };
    if let Some(configured) = token.serial.as_ref().filter(|configured| *configured != serial) {
        return Err(format!("the configuration says that '{name}' has the serial {configured}"));
    }
    if serial.len() > SERIAL_OCTETS_MAX || serial.chars().any(char::is_control) {
        return Err("this is no serial number of a token".to_owned());
    }
    let wrong = |error| format!("ledger: {error}");
    let (ledger, _) = Ledger::open(&config.ledger).map_err(wrong)?;
    let accepted = tokens::accept(&ledger, name, serial, Timestamp::now()).await;
    ledger.close().await;
    accepted.map_err(wrong)
}

/// Length of `CK_TOKEN_INFO.serialNumber`.
const SERIAL_OCTETS_MAX: usize = 16;

/// Checks that each of the keys is on a token.
///
/// # Errors
/// Names the tokens that could not be asked, and every key that is missing.
async fn find_keys(tokens: Vec<TokenConfig>, wanted: &[CaKey]) -> Result<(), String> {
    let mut found = HashSet::new();
    let mut problems = Vec::new();
    for token in start_tokens(tokens, &[]) {
        token.wait_until_known(TOKEN_KNOWN_WITHIN).await;
        match token.list().await {
            Ok(keys) => found.extend(
                keys.iter().filter_map(|key| Some(key.public_key.as_ref().ok()?.spki_sha256())),
            ),
            Err(error) => {
                problems.push(format!("token {}: {error} ({:?})", token.name(), token.state()));
            }
        }
        token.stop().await;
    }
    let missing = wanted.iter().filter(|key| !found.contains(&key.spki_sha256));
    problems.extend(missing.map(|key| format!("key {} is on no token", key.path)));
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}
