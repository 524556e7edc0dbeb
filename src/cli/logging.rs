//! Where log lines go: standard error, as text or JSON.

use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::LogConfig;

/// Installs the subscriber. The configuration has checked the filter.
pub(super) fn start(config: &LogConfig) {
    let filter: Targets = config.filter.parse().unwrap_or_default();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if config.json {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.with_ansi(false).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}
