//! The record of tokens: which token belongs to each configured name, and whether the tokens still have the
//! pinned keys.
//!
//! A token is identified by its serial number. The ledger records the first one that is seen under a name.
//! Another one under that name is not used, also after a restart, until an operator has accepted it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::json;

use super::Services;
use crate::{
    audit::{AuditRecord, EntryKind},
    domain::{
        path::{KeyPath, ResourcePath},
        time::Timestamp,
        tree::ResourceTree,
    },
    hsm::Token,
    keys::{KmsReadiness, PinFault},
    ledger::{KeyPin, Ledger, LedgerError, RecordedToken},
};

/// The largest number of keys that one look logs one by one. Of further keys it logs the number.
const LOGGED_AT_ONCE: usize = 20;

/// The serial number that a token must have when none is configured: the one on record. For a name without
/// a record it is the one in the pins of the KMS services that name this token alone, if they agree.
pub fn serial_on_record(
    name: &str,
    recorded: &[RecordedToken],
    pins: &[KeyPin],
    tree: &ResourceTree,
) -> Option<String> {
    if let Some(token) = recorded.iter().find(|token| token.name == name) {
        return Some(token.serial.clone());
    }
    let is_its_own = |pin: &&KeyPin| {
        let kms = tree.kms(&pin.path.kms());
        kms.is_some_and(|kms| matches!(&kms.tokens[..], [only] if only == name))
    };
    let serials: BTreeSet<_> =
        pins.iter().filter(is_its_own).filter_map(|pin| pin.token_serial.as_ref()).collect();
    match serials.len() {
        1 => serials.first().map(|serial| (*serial).clone()),
        _ => None,
    }
}

/// Looks at the tokens again and again, and records what has changed.
pub struct Watch {
    /// The serial numbers on record, by configured name.
    serials: HashMap<String, String>,
    /// The pinned keys that could not be used at the last look.
    refused: BTreeMap<KeyPath, PinFault>,
    /// The KMS services whose tokens held different keys at the last look, each with such a key.
    different: BTreeMap<ResourcePath, KeyPath>,
}

impl Watch {
    /// From the tokens that the ledger has on record.
    pub fn new(recorded: Vec<RecordedToken>) -> Self {
        let serials = recorded.into_iter().map(|token| (token.name, token.serial));
        Self { serials: serials.collect(), refused: BTreeMap::new(), different: BTreeMap::new() }
    }

    /// Looks once.
    pub async fn look(&mut self, services: &Services) {
        let tree = services.tree.snapshot();
        let tokens: Vec<_> = services.keyring.tokens().cloned().collect();
        for token in tokens.iter().filter(|token| token.state().is_up()) {
            if let Err(error) = self.record(services, token, &tree).await {
                tracing::warn!(token = token.name(), %error, "a token is not on record yet");
            }
        }
        self.log_refused_keys(services, &tree);
        self.log_disagreeing_twins(services, &tree);
    }

    async fn record(
        &mut self,
        services: &Services,
        token: &Token,
        tree: &Arc<ResourceTree>,
    ) -> Result<(), LedgerError> {
        let Some(facts) = token.facts() else { return Ok(()) };
        let keyring = &services.keyring;
        let before = self.serials.get(token.name());
        let is_new = before != Some(&facts.serial);
        // A token without any of the pinned keys is probably the wrong one. Recording it would make the right one
        // be refused later.
        if is_new && keyring.hides_all_pins(token, tree) {
            return Ok(());
        }
        let keys = keyring.newly_shown_by(token, tree);
        if !is_new && keys.is_empty() {
            return Ok(());
        }
        let now = Timestamp::now();
        let (name, serial) = (token.name().to_owned(), facts.serial.clone());
        let detail = json!({
            "token": name,
            "tokenSerial": serial,
            "before": before,
            "pinnedKeys": keys.len(),
        });
        let audit = AuditRecord::new(EntryKind::TokenRecorded, now, None, None, None, detail);
        let record = RecordedToken { name: name.clone(), serial: serial.clone(), since: now };
        services.ledger.record_token(record, keys.clone(), audit).await?;
        tracing::info!(token = name, serial, pinned_keys = keys.len(), "token on record");
        keyring.placed(&serial, &keys);
        self.serials.insert(name, serial);
        Ok(())
    }

    /// Logs an alarm for each pinned key that cannot be used any more, once.
    fn log_refused_keys(&mut self, services: &Services, tree: &ResourceTree) {
        let by_kms = services.keyring.pinned_keys(tree);
        let refused: BTreeMap<_, _> = by_kms.into_values().flat_map(|keys| keys.refused).collect();
        let is_logged = |(key, fault): &(&KeyPath, &PinFault)| self.refused.get(key) == Some(fault);
        let new: Vec<_> = refused.iter().filter(|found| !is_logged(found)).collect();
        for (key, fault) in new.iter().take(LOGGED_AT_ONCE) {
            tracing::error!(
                %key,
                alarm = "pinned-key",
                action = "bring the key back, or delete its path through Chancery",
                "a pinned key cannot be used: {}",
                fault.words()
            );
        }
        if new.len() > LOGGED_AT_ONCE {
            let more = new.len() - LOGGED_AT_ONCE;
            tracing::error!(more, alarm = "pinned-key", "more pinned keys cannot be used");
        }
        let back = self.refused.keys().filter(|key| !refused.contains_key(*key)).count();
        if back > 0 {
            tracing::info!(keys = back, "pinned keys can be used again, or were deleted");
        }
        self.refused = refused;
    }

    /// Logs an alarm for each KMS whose tokens hold different keys under the same path, once.
    fn log_disagreeing_twins(&mut self, services: &Services, tree: &ResourceTree) {
        let different = services.keyring.twins(tree).into_iter().filter_map(|twins| match twins {
            (kms, KmsReadiness::Different(key)) => Some((kms.clone(), key)),
            (_, KmsReadiness::Ready | KmsReadiness::NoToken) => None,
        });
        let different: BTreeMap<_, _> = different.collect();
        for (kms, key) in &different {
            if self.different.get(kms) != Some(key) {
                tracing::error!(
                    %key,
                    alarm = "twins-disagree",
                    "tokens that are to hold the same key show different public keys"
                );
            }
        }
        self.different = different;
    }
}

/// Accepts a token in place of the one on record. Returns the serial number that was on record.
///
/// # Errors
/// [`LedgerError`] if it cannot be recorded.
pub async fn accept(
    ledger: &Ledger,
    name: &str,
    serial: &str,
    now: Timestamp,
) -> Result<Option<String>, LedgerError> {
    let recorded = ledger.tokens().await?;
    let before = recorded.into_iter().find(|token| token.name == name).map(|token| token.serial);
    let detail = json!({ "token": name, "tokenSerial": serial, "before": before });
    let audit = AuditRecord::new(EntryKind::TokenAccepted, now, None, None, None, detail);
    let record = RecordedToken { name: name.to_owned(), serial: serial.to_owned(), since: now };
    ledger.record_token(record, Vec::new(), audit).await?;
    Ok(before)
}
