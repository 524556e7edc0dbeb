//! `chancery signer`: started by the front only, with a socket as its standard input.

use std::process::ExitCode;

/// Serves signatures until the socket closes. Logs to standard error, which the front reads.
pub(super) fn run() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .log_internal_errors(false)
        .init();
    super::memory::keep_off_disk();
    crate::hsm::run_signer()
}
