//! Which token each name of the configuration stands for, and whether the tokens still have the pinned
//! keys.
//!
//! A token is known by its serial number. The first one that is seen under a name is put on record in
//! the ledger; another one under that name is left alone, also after a restart, until an operator has
//! accepted it.

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
    keys::{PinFault, Standing},
    ledger::{KeyPin, Ledger, LedgerError, RecordedToken},
};

/// Lost and found keys that are told of one by one at a look; of the others, the number is.
const TOLD_AT_ONCE: usize = 20;

/// The serial number that a token without a configured one must have: the one on record, or, for a name
/// that is new, that of the token which has all the pinned keys of the KMS services that name it alone.
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

/// Has a look at the tokens now and then, and puts on record what they show.
pub struct Watch {
    /// By name.
    serials: HashMap<String, String>,
    /// As seen last.
    refused: BTreeMap<KeyPath, PinFault>,
    /// By KMS, the key that its tokens disagree about, as seen last.
    different: BTreeMap<ResourcePath, KeyPath>,
}

impl Watch {
    /// From what the ledger has on record.
    pub fn new(recorded: Vec<RecordedToken>) -> Self {
        let serials = recorded.into_iter().map(|token| (token.name, token.serial));
        Self { serials: serials.collect(), refused: BTreeMap::new(), different: BTreeMap::new() }
    }

    /// One look.
    pub async fn look(&mut self, services: &Services) {
        let tree = services.tree.snapshot();
        let tokens: Vec<_> = services.keyring.tokens().cloned().collect();
        for token in tokens.iter().filter(|token| token.state().is_up()) {
            if let Err(error) = self.record(services, token, &tree).await {
                tracing::warn!(token = token.name(), %error, "a token is not on record yet");
            }
        }
        self.tell_of_keys(services, &tree);
        self.tell_of_twins(services, &tree);
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
        // With a strange token in its place, the right one would be refused from then on.
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

    /// Raises the alarm for pinned keys that nobody can sign with any more, once for each.
    fn tell_of_keys(&mut self, services: &Services, tree: &ResourceTree) {
        let by_kms = services.keyring.pinned_keys(tree);
        let refused: BTreeMap<_, _> = by_kms.into_values().flat_map(|keys| keys.refused).collect();
        let is_told = |(key, fault): &(&KeyPath, &PinFault)| self.refused.get(key) == Some(fault);
        let new: Vec<_> = refused.iter().filter(|found| !is_told(found)).collect();
        for (key, fault) in new.iter().take(TOLD_AT_ONCE) {
            tracing::error!(
                %key,
                alarm = "pinned-key",
                action = "bring the key back, or delete its path through Chancery",
                "a pinned key cannot be used: {}",
                fault.words()
            );
        }
        if new.len() > TOLD_AT_ONCE {
            let more = new.len() - TOLD_AT_ONCE;
            tracing::error!(more, alarm = "pinned-key", "more pinned keys cannot be used");
        }
        let back = self.refused.keys().filter(|key| !refused.contains_key(*key)).count();
        if back > 0 {
            tracing::info!(keys = back, "pinned keys can be used again, or were deleted");
        }
        self.refused = refused;
    }

    /// Raises the alarm for tokens that hold different keys under the same path, once for each path.
    fn tell_of_twins(&mut self, services: &Services, tree: &ResourceTree) {
        let different = services.keyring.twins(tree).into_iter().filter_map(|twins| match twins {
            (kms, Standing::Different(key)) => Some((kms.clone(), key)),
            (_, Standing::Ready | Standing::NoToken) => None,
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

/// Accepts a token in place of the one on record; the serial number that was on record.
///
/// # Errors
/// [`LedgerError`] when the ledger does not take it.
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
