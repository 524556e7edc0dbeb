//! Reload: the daemon takes up a changed configuration while it serves, all of it or nothing.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use super::{App, clients, shared_labels};
use crate::{
    access::Access,
    config::{Config, LogFormat},
    domain::time::Timestamp,
    hsm::TokenConfig,
    http::{NewTls, PlainListeners},
    service::journal,
    systemd,
};

impl App {
    /// Takes up the configuration that `load` reads, or changes nothing and reports every problem. Informs the
    /// service manager.
    pub async fn reload(
        &mut self,
        load: impl FnOnce() -> Result<Config, Vec<String>>,
        set_log_filter: impl FnOnce(&str),
    ) {
        systemd::reloading();
        let reloaded = match load() {
            Ok(config) => self.take_up(config).await,
            Err(problems) => Err(problems),
        };
        match &reloaded {
            Ok(filter) => {
                set_log_filter(filter);
                tracing::info!("the configuration was read again and is in force");
            }
            Err(problems) => {
                for problem in problems {
                    tracing::error!(problem, "reload refused; everything stays as it was");
                }
            }
        }
        self.observations.reload_ended(reloaded.err().unwrap_or_default());
        systemd::ready(&self.service_manager.line());
    }

    /// Takes up a configuration. Returns its log filter.
    async fn take_up(&mut self, config: Config) -> Result<String, Vec<String>> {
        let mut problems = self.fixed.differences(&Fixed::of(&config));
        let tls = NewTls::read(&config.api).map_err(|mut found| problems.append(&mut found)).ok();
        let names: Vec<_> = config.tokens.iter().map(|token| token.name.as_str()).collect();
        let advice = clients(&config);
        let services = Arc::clone(&self.services);
        let tree = services
            .redeclare(config.tree, &names)
            .await
            .map_err(|problem| problems.push(problem))
            .ok();
        let (refused, mut warned) = advice;
        problems.extend(refused);
        if let Some(tree) = &tree {
            let (refused, told) = shared_labels(tree.tree());
            problems.extend(refused);
            warned.extend(told);
        }
        for warning in warned {
            tracing::warn!("{warning}");
        }
        let (Some(tls), Some(tree), true) = (tls, tree, problems.is_empty()) else {
            return Err(problems);
        };
        journal::reloaded(&self.ledger, config.settings.import_keys, Timestamp::now())
            .await
            .map_err(|error| vec![format!("ledger: {error}")])?;

        tree.take_up();
        self.services = Arc::new(services.with_settings(config.settings));
        let access = Access::new(config.clients);
        let services = Arc::clone(&self.services);
        self.running.replace(&config.api, config.limits, services, access, tls);
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        Ok(config.log.filter)
    }
}

/// The settings that only a restart can change.
pub(super) struct Fixed {
    api: SocketAddr,
    plain: PlainListeners,
    ledger: PathBuf,
    log: LogFormat,
    connections_max: usize,
    handshake: Duration,
    request_head: Duration,
    idle: Duration,
    shutdown: Duration,
    idempotency_retention_hours: u32,
    tokens: Vec<TokenConfig>,
}

impl Fixed {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            api: config.api.listen,
            plain: config.plain_listeners,
            ledger: config.ledger.clone(),
            log: config.log.format,
            connections_max: config.limits.connections_max,
            handshake: config.limits.handshake,
            request_head: config.limits.request_head,
            idle: config.limits.idle,
            shutdown: config.limits.shutdown,
            idempotency_retention_hours: config.idempotency_retention_hours,
            tokens: config.tokens.clone(),
        }
    }

    /// Returns one line for each setting that differs.
    fn differences(&self, other: &Self) -> Vec<String> {
        let settings = [
            ("api.listen", self.api != other.api),
            ("operations.listen", self.plain.operations != other.plain.operations),
            ("distribution.listen", self.plain.distribution != other.plain.distribution),
            ("ledger.path", self.ledger != other.ledger),
            ("log.format", self.log != other.log),
            ("limits.connections_max", self.connections_max != other.connections_max),
            ("limits.handshake_ms", self.handshake != other.handshake),
            ("limits.request_head_ms", self.request_head != other.request_head),
            ("limits.idle_ms", self.idle != other.idle),
            ("limits.shutdown_seconds", self.shutdown != other.shutdown),
            (
                "idempotency.retention_hours",
                self.idempotency_retention_hours != other.idempotency_retention_hours,
            ),
        ];
        let changed = settings.into_iter().filter(|(_, differs)| *differs);
        let mut lines: Vec<String> =
            changed.map(|(name, _)| format!("{name} changes only with a restart")).collect();
        let (old, new) = (&self.tokens, &other.tokens);
        for token in old.iter().filter(|token| !new.contains(token)) {
            lines.push(format!("tokens '{}' changes only with a restart", token.name));
        }
        for token in new.iter().filter(|new| old.iter().all(|old| old.name != new.name)) {
            lines.push(format!("tokens '{}' comes only with a restart", token.name));
        }
        lines
    }
}
