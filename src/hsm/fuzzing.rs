//! The front's handling of messages from signers, without processes and files: for `fuzz/` and a test.

use super::{
    Recycling, Usage,
    catalogue::Catalogue,
    fault::sanitise,
    protocol::{
        self, Answer, FROM_SIGNER_BYTES_MAX, FromSigner, KeyChangeResult, ListedKey, LoginNotice,
    },
    sandbox::MEMORY_MAX_MB_DEFAULT,
};

/// Handles messages until the end or the first that is malformed. Returns how many there were.
pub fn handle_as_the_front_does(mut octets: &[u8]) -> usize {
    let mut front = Front::default();
    let mut handled = 0;
    while let Ok(Some(message)) = protocol::read(&mut octets, FROM_SIGNER_BYTES_MAX) {
        front.handle(message);
        handled += 1;
    }
    handled
}

#[derive(Default)]
struct Front {
    catalogue: Catalogue,
    at_first: Option<Usage>,
}

impl Front {
    fn handle(&mut self, message: FromSigner) {
        match message {
            FromSigner::Ready(ready) => {
                if ready.is_plausible() {
                    let facts = ready.facts.sanitised();
                    assert!(!facts.serial.chars().any(char::is_control));
                    self.adopt(ready.keys);
                }
            }
            FromSigner::Refused(fault) => drop(fault.sanitised().to_string()),
            FromSigner::Noted { fault, key, next } => {
                drop((fault.sanitised().to_string(), sanitise(&key), sanitise(&next)));
            }
            FromSigner::Login(
                LoginNotice::Begins { fingerprint, .. } | LoginNotice::Refused(fingerprint),
            ) => {
                assert!(fingerprint.fits(&fingerprint));
            }
            FromSigner::Login(LoginNotice::Ended(_)) => {}
            FromSigner::Answer { answer, usage, .. } => {
                let at_first = *self.at_first.get_or_insert(usage);
                let recycling = Recycling::default();
                let _ = recycling.judge(at_first, usage, 1, MEMORY_MAX_MB_DEFAULT);
                self.take(answer);
            }
        }
    }

    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Signed(signature) => {
                if let Some(key) = self.catalogue.canary(None, |_| 0) {
                    let _ = key.public_key.verifies(b"a canary", &signature);
                }
            }
            Answer::Listed(keys) => self.adopt(keys),
            Answer::Changed(KeyChangeResult::Made(key)) => self.adopt(vec![key]),
            Answer::Changed(
                KeyChangeResult::Unsupported(words)
                | KeyChangeResult::Rejected { reason: words, .. },
            ) => {
                drop(sanitise(&words));
            }
            Answer::Changed(
                KeyChangeResult::Destroyed
                | KeyChangeResult::Missing
                | KeyChangeResult::Taken
                | KeyChangeResult::LabelTooLong(_),
            )
            | Answer::Missing => {}
            Answer::Failed(fault) => drop(fault.sanitised().to_string()),
        }
    }

    fn adopt(&mut self, keys: Vec<ListedKey>) {
        self.catalogue = Catalogue::new(keys, Some(&self.catalogue));
        for entry in self.catalogue.entries() {
            let _ = self.catalogue.find(&entry.label);
        }
    }
}
