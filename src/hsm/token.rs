//! The handle of a token, for the rest of the program.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout, timeout_at},
};

use super::{
    CatalogueEntry, HsmError, KeyRef, StoredKey, TokenConfig, TokenFacts, TokenKey, TokenState,
    catalogue::Catalogue,
    figures::{Limits, Meter},
    health::Health,
    jobs::{Job, MadeBy},
    key_change::KeyChange,
    protocol::{KEYS_MAX, MESSAGE_BYTES_MAX, SignRequest},
    supervisor::{self, ChangeJob, ChangeOutcome, Command, Published},
};
use crate::domain::key::{Digest, Signature};

/// Minimal capacity of the channel for commands.
const COMMANDS_QUEUED_MIN: usize = 1_024;

/// A token and the signer processes that serve it. Cheap to clone. Dropping the last clone kills the
/// processes.
#[derive(Clone)]
pub struct Token(Arc<Inner>);

/// See [`Token::downgrade`].
pub(super) struct WeakToken(Weak<Inner>);

impl WeakToken {
    /// The token, unless its last handle was dropped.
    pub(super) fn upgrade(&self) -> Option<Token> {
        self.0.upgrade().map(Token)
    }
}

struct Inner {
    name: String,
    sign_deadline: Duration,
    canary_age_max: Duration,
    generate_deadline: Duration,
    start_deadline: Duration,
    commands: mpsc::Sender<Command>,
    published: watch::Receiver<Published>,
    meter: Arc<Meter>,
    limits: Limits,
    health: Health,
    /// Keys that have passed [`Token::prove_key`].
    proven: Mutex<HashSet<KeyRef>>,
}

/// A signature and the signer that made it.
pub struct Made {
    /// In the form of X.509, not verified yet.
    pub signature: Signature,
    /// For [`Token::report_bad_signature`].
    pub maker: u64,
}

impl Token {
    /// Starts serving a token and returns at once, whether or not the HSM answers. Must be called within a
    /// tokio runtime. `signer_program` is run with the argument `signer`.
    pub fn start(config: TokenConfig, signer_program: PathBuf) -> Self {
        Self::start_with(config, signer_program, Vec::new())
    }

    /// The same, with public keys on record: a private key whose public half the token does not show is bound
    /// to the stored key of its label and id, after it has made a signature that verifies.
    pub fn start_with(
        config: TokenConfig,
        signer_program: PathBuf,
        stored: Vec<StoredKey>,
    ) -> Self {
        let (commands, inbox) = mpsc::channel(config.queue_max.max(COMMANDS_QUEUED_MIN));
        let name = config.name.clone();
        let sign_deadline = Duration::from_millis(config.sign_deadline_ms);
        let canary_age_max = Duration::from_secs(config.canary_seconds.max(1));
        let generate_deadline = Duration::from_millis(config.generate_deadline_ms);
        let start_deadline = Duration::from_millis(config.start_deadline_ms);
        let meter = Arc::<Meter>::default();
        let limits =
            Limits { queue_max: config.queue_max, sessions: config.processes * config.sessions };
        let published =
            supervisor::start(config, signer_program, stored, inbox, Arc::clone(&meter));
        Self(Arc::new(Inner {
            name,
            sign_deadline,
            generate_deadline,
            start_deadline,
            canary_age_max,
            commands,
            published,
            meter,
            limits,
            health: Health::default(),
            proven: Mutex::default(),
        }))
    }

    /// The configured name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Waits until the first start of a signer has succeeded or failed, at most for `limit`.
    pub async fn wait_until_known(&self, limit: Duration) {
        let mut published = self.0.published.clone();
        let _ = timeout(limit, published.wait_for(|published| published.known)).await;
    }

    /// The state of the token.
    pub fn state(&self) -> TokenState {
        self.0.published.borrow().state(Instant::now(), self.0.canary_age_max)
    }

    /// Cuts a long backoff short, as a request for a signature does.
    pub fn wanted(&self) {
        let _ = self.command(Command::Wanted);
    }

    /// Returns when the supervisor has answered, whatever the HSM does; never returns when the supervisor has
    /// ended.
    pub async fn answers(&self) {
        let (reply, answer) = oneshot::channel();
        let asked = self.0.commands.send(Command::Ping(reply)).await.is_ok();
        if !asked || answer.await.is_err() {
            std::future::pending().await
        }
    }

    /// The one private key with this label. When the last listing does not have exactly one, the token is
    /// listed again, at most every 500 ms.
    ///
    /// # Errors
    /// [`HsmError`]: no such key, several, an unusable one; or a token that does not answer.
    pub async fn find(&self, label: &str) -> Result<TokenKey, HsmError> {
        let refused = match self.catalogue().find(label) {
            Ok(key) => return self.admitted(key),
            Err(refused) => refused,
        };
        match self.refresh().await {
            Ok(()) => self.catalogue().find(label).and_then(|key| self.admitted(key)),
            // The last listing may be outdated, so a key that it lacks is not reported as missing.
            Err(unavailable) if refused == HsmError::Missing => Err(unavailable),
            Err(_) => Err(refused),
        }
    }

    /// All private keys of a new listing.
    ///
    /// # Errors
    /// [`HsmError`] when the token does not answer.
    pub async fn list(&self) -> Result<Vec<CatalogueEntry>, HsmError> {
        self.refresh().await?;
        let mut entries = self.catalogue().entries().to_vec();
        let quarantine = Arc::clone(&self.0.published.borrow().quarantine);
        if !quarantine.is_empty() {
            for entry in &mut entries {
                let Ok(key) = &entry.public_key else { continue };
                let key = KeyRef { label: entry.label.clone(), spki_sha256: key.spki_sha256() };
                if let Some(quarantine) = quarantine.get(&key) {
                    entry.public_key = Err(quarantine.words());
                }
            }
        }
        Ok(entries)
    }

    /// Refuses a key in quarantine.
    pub(super) fn admitted(&self, key: TokenKey) -> Result<TokenKey, HsmError> {
        let quarantine = Arc::clone(&self.0.published.borrow().quarantine);
        match quarantine.is_empty() {
            true => Ok(key),
            false => match quarantine.get(&KeyRef::to(&key)) {
                None => Ok(key),
                Some(quarantine) => Err(quarantine.refusal(Instant::now())),
            },
        }
    }

    /// Has a key make one signature, unless it was seen to sign before, because its private and public
    /// objects may not belong together.
    ///
    /// # Errors
    /// [`HsmError`]: it fails, or the token does not answer in time.
    pub async fn prove_key(&self, key: &TokenKey) -> Result<(), HsmError> {
        let name = KeyRef::to(key);
        let proven = || self.0.proven.lock().unwrap_or_else(PoisonError::into_inner);
        if proven().contains(&name) {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        self.command(Command::ProveKey(key.clone(), reply))?;
        until(Instant::now() + self.0.sign_deadline, answer).await?;
        let mut proven = proven();
        if proven.len() >= KEYS_MAX {
            proven.clear();
        }
        proven.insert(name);
        Ok(())
    }

    /// Whether the last listing has a key with this label or `CKA_ID`.
    pub fn holds(&self, label: &str, id: &[u8]) -> bool {
        self.catalogue().holds(label, id)
    }

    /// Whether the private half of a key may leave the token, by the last listing; true where the token does
    /// not say.
    pub fn is_extractable(&self, key: &TokenKey) -> bool {
        let catalogue = self.catalogue();
        let mut entries = catalogue.entries().iter();
        entries
            .find(|entry| entry.label == key.label && entry.id == key.id)
            .is_none_or(|entry| entry.extractable)
    }

    /// What the token says about itself; `None` before it was first open.
    pub fn facts(&self) -> Option<Arc<TokenFacts>> {
        self.0.published.borrow().facts.clone()
    }

    /// A signature over `message` in the form of X.509, within `sign_deadline_ms`. It is not verified here:
    /// verify it against the public key that you have pinned, and report one that fails by
    /// [`Self::report_bad_signature`].
    ///
    /// # Errors
    /// [`HsmError`].
    pub async fn sign(&self, key: &TokenKey, message: &[u8]) -> Result<Signature, HsmError> {
        let made = self.sign_for("", key, message, Instant::now() + self.0.sign_deadline).await?;
        Ok(made.signature)
    }

    /// `sign_deadline_ms`.
    pub fn sign_deadline(&self) -> Duration {
        self.0.sign_deadline
    }

    /// The same on behalf of a client, until a deadline. Waiting clients take turns, however many requests
    /// each has.
    ///
    /// # Errors
    /// [`HsmError`].
    pub async fn sign_for(
        &self,
        client: &str,
        key: &TokenKey,
        message: &[u8],
        deadline: Instant,
    ) -> Result<Made, HsmError> {
        let in_flight = self.0.health.in_flight();
        let result = self.ask_for_signature(client, key, message, deadline).await;
        drop(in_flight);
        self.0.meter.record(&result);
        self.0.health.record(&result);
        result.map(|(signature, maker)| Made { signature, maker })
    }

    async fn ask_for_signature(
        &self,
        client: &str,
        key: &TokenKey,
        message: &[u8],
        deadline: Instant,
    ) -> Result<MadeBy, HsmError> {
        let algorithm = key.public_key.key_type().signature_algorithm();
        let digest = Digest::of(algorithm.hash(), message);
        // The message goes only to a token that hashes itself.
        let hashes = self.0.published.borrow().hashing.contains(&algorithm);
        let message = hashes.then(|| message.to_vec());
        if message.as_ref().is_some_and(|message| message.len() > MESSAGE_BYTES_MAX) {
            let reason = format!("its token hashes itself, {MESSAGE_BYTES_MAX} octets at most");
            return Err(HsmError::Unusable { reason });
        }
        let since = Instant::now();
        let request = SignRequest {
            label: key.label.clone(),
            id: key.id.clone(),
            spki_sha256: key.public_key.spki_sha256(),
            algorithm,
            digest: digest.as_octets().to_vec(),
            message,
        };
        let (reply, answer) = oneshot::channel();
        let client = client.into();
        let job = Job { request, client, since, deadline, given_at: None, retried: false, reply };
        self.command(Command::Sign(job))?;
        until(deadline, answer).await
    }

    /// Reports a signature that did not verify: raises the alarm, kills the signer that made it, and puts the
    /// key in question.
    pub fn report_bad_signature(&self, key: &TokenKey, maker: u64) {
        tracing::error!(
            alarm = "bad_signature",
            token = self.0.name,
            key = key.label,
            "the token returned a signature that does not verify against the pinned public key"
        );
        self.0.health.mark_unhealthy();
        let _ = self.command(Command::BadSignature(key.clone(), maker));
    }

    /// Finishes pending signatures and ends the signer processes; those that do not end within 2 seconds are
    /// killed. Other clones of the handle get [`HsmError::Unavailable`] from now on.
    pub async fn stop(self) {
        let (done, stopped) = oneshot::channel();
        if self.0.commands.send(Command::Stop(done)).await.is_ok() {
            let _ = stopped.await;
        }
    }

    pub(super) fn published(&self) -> watch::Ref<'_, Published> {
        self.0.published.borrow()
    }

    /// Receives each change of the published state.
    pub(super) fn changes(&self) -> watch::Receiver<Published> {
        self.0.published.clone()
    }

    pub(super) fn health(&self) -> &Health {
        &self.0.health
    }

    /// Requests canary signatures now.
    pub(super) fn prove(&self) {
        let _ = self.command(Command::Prove);
    }

    pub(super) fn meter(&self) -> (&Meter, Limits) {
        (&self.0.meter, self.0.limits)
    }

    pub(super) fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.0.published.borrow().catalogue)
    }

    async fn refresh(&self) -> Result<(), HsmError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Refresh(reply))?;
        until(Instant::now() + self.0.sign_deadline, answer).await
    }

    /// A handle that does not keep the signers alive.
    pub(super) fn downgrade(&self) -> WeakToken {
        WeakToken(Arc::downgrade(&self.0))
    }

    /// Has one signer change the token.
    pub(super) async fn change(&self, change: KeyChange) -> ChangeOutcome {
        let deadline = Instant::now() + self.0.generate_deadline;
        let (reply, answer) = oneshot::channel();
        match self.command(Command::Change(ChangeJob { change, deadline, reply })) {
            Err(error) => ChangeOutcome::NotAsked(error),
            // The supervisor enforces the deadlines, before the change begins and after.
            Ok(()) => answer.await.unwrap_or(ChangeOutcome::Lost(HsmError::UNAVAILABLE)),
        }
    }

    /// Has every signer list the token. Waits for a signer that is starting.
    pub(super) async fn relist(&self) -> Result<(), HsmError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Relist(reply))?;
        until(Instant::now() + 2 * self.0.start_deadline, answer).await
    }

    /// Never blocks: when the supervisor is behind, the channel is full and the caller gets
    /// [`HsmError::Busy`].
    fn command(&self, command: Command) -> Result<(), HsmError> {
        self.0.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => HsmError::BUSY,
            mpsc::error::TrySendError::Closed(_) => HsmError::UNAVAILABLE,
        })
    }
}

/// The supervisor's answer, unless the deadline passes or the supervisor has ended.
async fn until<T>(
    deadline: Instant,
    answer: oneshot::Receiver<Result<T, HsmError>>,
) -> Result<T, HsmError> {
    match timeout_at(deadline, answer).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(HsmError::UNAVAILABLE),
        Err(_) => Err(HsmError::LATE),
    }
}
