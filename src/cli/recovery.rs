//! `chancery backup` and `chancery restore`.

use std::{path::Path, process::ExitCode};

use super::{fail, logging, memory, output};
use crate::{app, config::Config};

/// Writes a backup and prints what it contains.
pub(super) fn backup(to: &Path, config: &Path) -> ExitCode {
    let config = match Config::load_without_credentials(config) {
        Ok(config) => config,
        Err(error) => return fail(error),
    };
    match app::backup(&config, to) {
        Ok(counts) => output::print(format_args!(
            "{}: {}, read back and whole\n",
            to.display(),
            words(&counts)
        )),
        Err(error) => fail(error),
    }
}

/// Restores the ledger from a backup.
pub(super) fn restore(from: &Path, config: &Path, without_hsm: bool) -> ExitCode {
    let read = if without_hsm { Config::load_without_credentials } else { Config::load };
    let mut config = match read(config) {
        Ok(config) => config,
        Err(error) => return fail(error),
    };
    config.log.filter = "error".to_owned();
    if let Err(error) = logging::start(&config.log) {
        return fail(error);
    }
    memory::keep_off_disk();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    if without_hsm {
        output::warn("warning: nobody looks whether the keys of the CAs are on their tokens");
    }
    let ledger = config.ledger.clone();
    match runtime.block_on(app::restore(config, from, !without_hsm)) {
        Ok(counts) => output::print(format_args!(
            "{}: {}\nWhat was issued after the backup is not in it: compare with the logs, and \
                 publish VICALs only after a look at the last issue that is out.\n",
            ledger.display(),
            words(&counts)
        )),
        Err(error) => fail(error),
    }
}

fn words(counts: &app::Counts) -> String {
    format!(
        "{} audit entries, {} certificates, {} store entries, {} VICALs, {} pinned keys",
        counts.audit_entries,
        counts.certificates,
        counts.store_entries,
        counts.vical_versions,
        counts.key_pins
    )
}
