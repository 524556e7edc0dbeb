//! `chancery signer`: the process that loads a PKCS#11 module. Only the daemon starts it, with a socket as standard
//! input.

use std::process::ExitCode;

/// Signs until the socket closes. Logs to standard error, which the daemon reads.
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
