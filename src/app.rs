//! The composition root: builds the parts of the daemon in order, connects them, and ends them in order.

mod advice;
mod jobs;
mod recovery;
mod reload;
mod schedule;
mod service_manager;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use advice::known;
pub use advice::{KnownToken, clients, inherited, same_tokens, shared_labels};
pub use recovery::{accept_token, backup, restore};
use reload::Fixed;
use schedule::Schedule;
use service_manager::ServiceManager;

pub use crate::ledger::Counts;
use crate::{
    access::Access,
    config::Config,
    domain::time::Timestamp,
    hsm::{StoredKey, Token, TokenConfig},
    http::{Api, Listeners, Running},
    keys::{DevKeysAllowed, Keyring, PinnedKey},
    ledger::{KeyPin, Ledger, NewLedger},
    service::{self, Idempotency, Services, Tree, journal, status::Observations, tokens},
    systemd::{self, Sockets},
};

/// The daemon while it serves.
pub struct App {
    running: Running,
    tokens: Vec<Token>,
    ledger: Ledger,
    services: Arc<Services>,
    /// The settings that a reload cannot change.
    fixed: Fixed,
    observations: Arc<Observations>,
    service_manager: Arc<ServiceManager>,
    /// The jobs that inform the service manager; they end when the stop begins.
    informing: Schedule,
    /// All other jobs; requests in flight need some of them until they have ended.
    upkeep: Schedule,
    /// How long requests in flight may take when the daemon stops.
    shutdown: Duration,
}

/// How long the start waits for the first state of each token. The daemon starts also when a token is
/// still away then.
const TOKENS_KNOWN_WITHIN: Duration = Duration::from_secs(10);
/// How long signers and ledger may take when the daemon stops.
const ENDING: Duration = Duration::from_secs(15);

impl App {
    /// Opens the ledger, starts the signers, and opens the listeners that systemd has not passed, in
    /// this order.
    ///
    /// # Errors
    /// In words for the operator: why the daemon cannot start.
    pub async fn start(
        config: Config,
        sockets: Sockets,
        dev: Option<DevKeysAllowed>,
        new_ledger: bool,
    ) -> Result<Self, String> {
        let fixed = Fixed::of(&config);
        let shutdown = config.limits.shutdown;
        let now = Timestamp::now();
        let is_dev = dev.is_some();
        if is_dev {
            tracing::warn!("--dev: private JWKs are accepted as signing keys");
        }
        if config.settings.import_keys {
            tracing::warn!("dev.import_keys: private keys may be imported into the HSM");
        }
        let (refused, warned) = clients(&config);
        if !refused.is_empty() {
            return Err(refused.join("\n"));
        }
        for warning in warned {
            tracing::warn!("{warning}");
        }
        let new_ledger = if new_ledger { NewLedger::Allowed } else { NewLedger::Refused };
        let (ledger, open) = Ledger::open_or_begin(&config.ledger, new_ledger)
            .map_err(|error| format!("ledger: {error}"))?;
        let not_written = |error| format!("ledger: {error}");
        journal::abort_open_intents(&ledger, open, now).await.map_err(not_written)?;
        journal::end_open_key_changes(&ledger, now).await.map_err(not_written)?;
        service::index_stores(&ledger).await.map_err(not_written)?;
        journal::started(&ledger, is_dev, config.settings.import_keys, now)
            .await
            .map_err(not_written)?;
        let pins = ledger.key_pins().await.map_err(not_written)?;
        let recorded = ledger.tokens().await.map_err(not_written)?;

        let stored = ledger.resources().await.map_err(not_written)?;
        let names: Vec<_> = config.tokens.iter().map(|token| token.name.as_str()).collect();
        let tree = Tree::new(config.tree, stored, &names)?;
        let labels: Vec<_> = config.tokens.iter().map(|token| token.label.clone()).collect();

        let on_record = |pin: &KeyPin| StoredKey {
            label: pin.label.clone(),
            id: pin.cka_id.clone(),
            spki: pin.spki.clone(),
        };
        let on_record: Vec<_> = pins.iter().map(on_record).collect();
        let tree_now = tree.snapshot();
        let with_serial = |token: TokenConfig| TokenConfig {
            serial: token
                .serial
                .or_else(|| tokens::serial_on_record(&token.name, &recorded, &pins, &tree_now)),
            ..token
        };
        let configured = config.tokens.into_iter().map(with_serial).collect();
        let tokens = start_tokens(configured, &on_record);
        for token in &tokens {
            token.wait_until_known(TOKENS_KNOWN_WITHIN).await;
            tracing::info!(token = token.name(), state = ?token.state(), "token");
        }
        tree.learn_same_tokens(same_tokens(tokens.iter().zip(labels).map(known))).await;
        let (refused, warned) = shared_labels(&tree.snapshot());
        if !refused.is_empty() {
            return Err(refused.join("\n"));
        }
        for warning in warned {
            tracing::warn!("{warning}");
        }

        let pinned = |pin| {
            let KeyPin { path, spki_sha256, token_serial, .. } = pin;
            (path, PinnedKey { spki_sha256, token_serial })
        };
        let observations = Arc::new(Observations::new(now));
        let services = Arc::new(Services::new(
            tree,
            Keyring::new(tokens.clone(), dev, pins.into_iter().map(pinned)),
            ledger.clone(),
            Idempotency::new(config.idempotency_retention_hours),
            config.settings,
            Arc::clone(&observations),
        ));
        let mut watch = tokens::Watch::new(recorded);
        watch.look(&services).await;
        let mut upkeep = Schedule::new(Arc::clone(&observations));
        jobs::add_upkeep(&mut upkeep, &services, &ledger, watch, now);
        let api = Api::new(
            config.api,
            config.plain_listeners,
            config.limits,
            Arc::clone(&services),
            Access::new(config.clients),
        )?;
        let Sockets { api: passed, distribution, operations } = sockets;
        let running = api.start(Listeners { api: passed, distribution, operations })?;
        jobs::add_listeners(&mut upkeep, &running);
        let operations = running.operations.map(|address| address.to_string());
        let distribution = running.distribution.map(|address| address.to_string());
        tracing::info!(api = %running.address, operations, distribution, "serving");
        let service_manager = Arc::new(ServiceManager::new(
            running.address,
            running.heartbeat(),
            tokens.clone(),
            ledger.clone(),
            running.status(),
        ));
        systemd::ready(&service_manager.line());
        let mut informing = Schedule::new(Arc::clone(&observations));
        service_manager.add_jobs(&mut informing);
        Ok(Self {
            running,
            tokens,
            ledger,
            services,
            fixed,
            observations,
            service_manager,
            informing,
            upkeep,
            shutdown,
        })
    }

    /// The addresses of the API and of the operations listener.
    pub fn addresses(&self) -> (SocketAddr, Option<SocketAddr>) {
        (self.running.address, self.running.operations)
    }

    /// Stops the listeners, then the signers, then the ledger, because each needs the next.
    pub async fn stop(self) {
        tracing::info!("stopping");
        systemd::stopping(2 * self.shutdown + ENDING);
        drop((self.informing, self.service_manager));
        self.running.stop().await;
        drop(self.upkeep);
        for token in self.tokens {
            token.stop().await;
        }
        drop(self.services);
        if let Err(error) = journal::stopped(&self.ledger, Timestamp::now()).await {
            tracing::error!(%error, "the stop is missing in the audit log");
        }
        self.ledger.close().await;
        tracing::info!("stopped");
    }
}

/// The running program, also after another file has replaced it on disk (proc_pid_exe(5)). A signer that
/// is started after an upgrade must have the version of the daemon that starts it.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Starts the signers of all tokens. `stored` are the public keys on record, for private keys without a
/// public key on their token. Must be called in a tokio runtime.
pub fn start_tokens(configs: Vec<TokenConfig>, stored: &[StoredKey]) -> Vec<Token> {
    let start = |config| Token::start_with(config, OWN_PROGRAM.into(), stored.to_vec());
    configs.into_iter().map(start).collect()
}
