//! `chancery serve`.

use std::{path::Path, process::ExitCode};

use tokio::signal::unix::{SignalKind, signal};

use super::{
    fail,
    logging::{self, Filter},
    memory,
};
use crate::{app::App, config::Config, keys::DevKeysAllowed, systemd::Sockets};

/// Serves until SIGTERM or SIGINT, then stops the daemon in order. SIGHUP reloads the configuration.
pub(super) fn run(file: &Path, dev: bool, new_ledger: bool) -> ExitCode {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => return fail(error),
    };
    let filter = match logging::start(&config.log) {
        Ok(filter) => filter,
        Err(error) => return fail(error),
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    memory::keep_off_disk();
    memory::keep_small();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    match runtime.block_on(serve(file, config, &filter, DevKeysAllowed::from_flag(dev), new_ledger))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "not serving");
            fail(error)
        }
    }
}

async fn serve(
    file: &Path,
    config: Config,
    filter: &Filter,
    dev: Option<DevKeysAllowed>,
    new_ledger: bool,
) -> Result<(), String> {
    let listen = |kind| signal(kind).map_err(|error| format!("signal handler: {error}"));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let telling = tokio::spawn(filter.throttle.clone().keep_telling());
    let mut app = App::start(config, Sockets::take()?, dev, new_ledger).await?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => app.reload(|| load(file), |log| filter.replace(log)).await,
        }
    }
    app.stop().await;
    telling.abort();
    filter.throttle.tell();
    Ok(())
}

fn load(file: &Path) -> Result<Config, Vec<String>> {
    Config::load(file).map_err(|error| error.0)
}
