//! Where log lines go: standard error, as text or JSON, or the journal with its fields.

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

/// Changes what is logged while the daemon runs.
pub(super) struct Filter {
    handle: reload::Handle<Targets, Registry>,
    /// Bounds what is logged.
    pub(super) throttle: Throttle,
}

impl Filter {
    /// From now on. The configuration has checked the filter.
    pub(super) fn replace(&self, filter: &str) {
        if let Err(error) = self.handle.reload(filter.parse::<Targets>().unwrap_or_default()) {
            tracing::error!(%error, "log.filter stays as it was");
        }
    }
}

/// Installs the subscriber. The configuration has checked the filter.
///
/// # Errors
/// In words for the operator: the journal cannot be written to.
pub(super) fn start(config: &LogConfig) -> Result<Filter, String> {
    let (filter, handle) = reload::Layer::new(config.filter.parse::<Targets>().unwrap_or_default());
    // Words of its own about a standard error that cannot be written would end the thread: nobody reads them.
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
