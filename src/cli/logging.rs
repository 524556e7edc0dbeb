//! Where log lines go: to standard error as text or JSON, or to the journal with fields.

mod journal;
mod throttle;

use std::path::Path;

use journal::Journal;
use throttle::Throttle;
use tracing_subscriber::{
    Layer, Registry, filter::Targets, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::{
    config::{LogConfig, LogFormat},
    http, systemd,
};

/// Changes the log filter while the daemon runs.
pub(super) struct Filter {
    handle: reload::Handle<Targets, Registry>,
    /// Limits the number of lines.
    pub(super) throttle: Throttle,
}

impl Filter {
    /// Replaces the filter, which the configuration has checked.
    pub(super) fn replace(&self, filter: &str) {
        if let Err(error) = self.handle.reload(filter.parse::<Targets>().unwrap_or_default()) {
            tracing::error!(%error, "log.filter stays as it was");
        }
    }
}

/// Installs the subscriber of `tracing`. The configuration has checked the filter.
///
/// # Errors
/// In words for the operator: the journal cannot be reached.
pub(super) fn start(config: &LogConfig) -> Result<Filter, String> {
    let (filter, handle) = reload::Layer::new(config.filter.parse::<Targets>().unwrap_or_default());
    // By default, tracing reports a write error with eprintln!, which would panic.
    let lines =
        || tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let layer = match config.format {
        LogFormat::Json => lines().json().flatten_event(true).boxed(),
        LogFormat::Auto if systemd::stderr_is_journal() => Journal::at(Path::new(journal::SOCKET))
            .map_err(|error| format!("the journal: {}: {error}", journal::SOCKET))?
            .boxed(),
        LogFormat::Auto | LogFormat::Text => lines().with_ansi(false).boxed(),
    };
    let throttle = Throttle::new(http::BOUNDED_LINES);
    tracing_subscriber::registry().with(filter).with(throttle.clone()).with(layer).init();
    Ok(Filter { handle, throttle })
}
