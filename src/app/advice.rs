//! Checks of the configuration that need its files, its tokens or its ledger: problems that prevent the
//! start, and warnings.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    access::ClientCertificate,
    config::{Config, shared_by_two},
    domain::{time::Timestamp, tree::ResourceTree},
    hsm::{Token, TokenFacts},
    http,
    ledger::{Ledger, LedgerBeside},
    service::upgrade,
};

/// A token, for [`same_tokens`].
pub struct KnownToken {
    /// Its name in the configuration.
    pub name: String,
    /// Its label in the configuration.
    pub label: String,
    /// What the token says of itself; `None` if it was never reached.
    pub facts: Option<Arc<TokenFacts>>,
}

pub(super) fn known((token, label): (&Token, String)) -> KnownToken {
    KnownToken { name: token.name().to_owned(), label, facts: token.facts() }
}

/// Finds configured names that lead to the same token, by what the tokens say of themselves. Maps each later
/// name to the first one.
pub fn same_tokens(tokens: impl Iterator<Item = KnownToken>) -> BTreeMap<String, String> {
    let mut first = BTreeMap::new();
    let mut same = BTreeMap::new();
    for KnownToken { name, label, facts } in tokens {
        let Some(facts) = facts.filter(|facts| !facts.serial.trim().is_empty()) else { continue };
        let TokenFacts { serial, manufacturer, model, .. } = &*facts;
        let is = (label, serial.clone(), manufacturer.clone(), model.clone());
        match first.get(&is) {
            Some(earlier) => same.insert(name, String::clone(earlier)),
            None => first.insert(is, name),
        };
    }
    same
}

/// Finds KMS services that lead to each other's keys: problems, then warnings. It is only a warning for a
/// service that a client has created, because nothing can remove that.
pub fn shared_labels(tree: &ResourceTree) -> (Vec<String>, Vec<String>) {
    let shared = tree.shared_labels().into_iter();
    let (declared, others): (Vec<_>, Vec<_>) = shared.partition(|shared| shared.is_declared);
    let words = |shared: Vec<_>| shared.iter().map(shared_by_two).collect();
    (words(declared), words(others))
}

/// Checks the subjects and issuers of the clients: problems where no certificate can match a client, then
/// warnings where too many certificates may match, or probably none.
pub fn clients(config: &Config) -> (Vec<String>, Vec<String>) {
    let cas = http::client_ca_subjects(&config.api);
    let (mut refused, mut told, mut unbound) = (Vec::new(), Vec::new(), Vec::new());
    for client in &config.clients {
        let ClientCertificate::Subject { subject, issuer } = &client.certificate else { continue };
        let name = &client.name;
        if issuer.is_none() {
            unbound.push(format!("'{name}'"));
        } else if !cas.is_empty() && !cas.contains(issuer) {
            refused.push(format!(
                "clients '{name}': issuer is not the subject of a CA in api.client_ca; it has to be \
                 there, also when a CA above it is"
            ));
        }
        if subject.looks_reversed() {
            told.push(format!(
                "clients '{name}': subject begins with CN; it is read in the order of the certificate, \
                 as openssl x509 -noout -subject prints it, and most certificates have CN last"
            ));
        }
    }
    if cas.len() > 1 && !unbound.is_empty() {
        told.push(format!(
            "api.client_ca has {} CAs, and each of them can certify anybody as these clients, which are \
             known by their subject alone: {}; give them an issuer",
            cas.len(),
            unbound.join(", ")
        ));
    }
    (refused, told)
}

/// Logs what an earlier version has left in the ledger that would be refused today.
///
/// # Errors
/// In words for the operator: why the ledger was not examined.
pub(super) async fn log_inherited(ledger: Ledger, now: Timestamp) -> Result<(), String> {
    let held = ledger.inherited(now).await.map_err(|error| error.to_string())?;
    let examined = tokio::task::spawn_blocking(move || upgrade::warnings(&held, now)).await;
    for warning in examined.map_err(|error| error.to_string())? {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// Lists what `log_inherited` logs, for the file of a ledger that a daemon may be using.
pub fn inherited(ledger: &Path, now: Timestamp) -> Vec<String> {
    let LedgerBeside { older, inherited } = match Ledger::inherited_beside(ledger, now) {
        Ok(Some(beside)) => beside,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![format!("the ledger was not looked at: {error}")],
    };
    let older = older.map(|(version, next)| {
        format!("the ledger has version {version}; the start will bring it to {next}")
    });
    older.into_iter().chain(upgrade::warnings(&inherited, now)).collect()
}
