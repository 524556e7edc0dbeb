//! Public keys on record, for private keys whose public half the token does not show. Such a key is not
//! trusted until the private key has made a signature that verifies.

use std::collections::{HashMap, HashSet};

use cryptoki::{object::ObjectHandle, session::Session};

use super::{module::OpenToken, proof};
use crate::{domain::key::PublicKey, hsm::StoredKey};

/// See the module.
pub(super) struct StoredKeys {
    stored: HashMap<(String, Vec<u8>), PublicKey>,
    /// SPKI hashes of the keys that were proven in this process. Each signature is verified in addition.
    proven: HashSet<[u8; 32]>,
}

impl StoredKeys {
    /// Keys that cannot be parsed are skipped.
    pub(super) fn new(stored: &[StoredKey]) -> Self {
        let read = |key: &StoredKey| {
            let public_key = PublicKey::from_spki_der(&key.spki).ok()?;
            Some(((key.label.clone(), key.id.clone()), public_key))
        };
        Self { stored: stored.iter().filter_map(read).collect(), proven: HashSet::new() }
    }

    /// The public key on record for a private key of this label and `CKA_ID`.
    pub(super) fn get(&self, label: &str, id: &[u8]) -> Option<PublicKey> {
        self.stored.get(&(label.to_owned(), id.to_vec())).cloned()
    }

    /// Keeps a public key that the token shows, in case it stops showing it.
    pub(super) fn learn(&mut self, label: &str, id: &[u8], key: &PublicKey) {
        let name = (label.to_owned(), id.to_vec());
        self.stored.entry(name).or_insert_with(|| key.clone());
    }

    /// Has the private key prove, once, that it belongs to this public key.
    ///
    /// # Errors
    /// For the operator, when it does not, or when the token does not answer.
    pub(super) fn prove(
        &mut self,
        token: &OpenToken,
        session: &Session,
        private: ObjectHandle,
        key: &PublicKey,
    ) -> Result<(), String> {
        if self.proven.contains(&key.spki_sha256()) {
            return Ok(());
        }
        // In another session than that of the login, because a signature that fails may make a session
        // unusable.
        let other = token.session();
        let session = other.as_ref().unwrap_or(session);
        let signs =
            proof::signs(token, session, private, key).map_err(|fault| fault.to_string())?;
        if !signs {
            return Err("it does not sign for the public key on record".to_owned());
        }
        self.proven.insert(key.spki_sha256());
        Ok(())
    }
}
