//! `chancery serve`.

use std::{path::Path, process::ExitCode};

use tokio::signal::unix::{SignalKind, signal};

use super::{fail, logging, memory};
use crate::{app::App, config::Config, keys::DevKeysAllowed};

/// Serves until SIGTERM or SIGINT, then ends in order.
pub(super) fn run(file: &Path, dev: bool) -> ExitCode {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => return fail(error),
    };
    logging::start(&config.log);
    memory::keep_off_disk();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    match runtime.block_on(serve(config, DevKeysAllowed::from_flag(dev))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "not serving");
            fail(error)
        }
    }
}

async fn serve(config: Config, dev: Option<DevKeysAllowed>) -> Result<(), String> {
    let listen = |kind| signal(kind).map_err(|error| format!("signal handler: {error}"));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let app = App::start(config, dev).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    app.stop().await;
    Ok(())
}
