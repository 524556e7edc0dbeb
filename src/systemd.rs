//! The service manager (sd_notify(3), sd_listen_fds(3)). Without one, nothing happens.

use std::{net::TcpListener, time::Duration};

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The daemon serves.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// How the daemon is doing, in one line.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The daemon has begun to reload; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager is not told of the reload"),
    }
}

/// The daemon has begun to stop, and may take so long.
pub fn stopping(within: Duration) {
    let microseconds = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(microseconds)]);
}

/// The daemon makes progress.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often the service manager wants to hear [`alive`], if at all.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// Whether standard error is the journal (systemd.exec(5), `$JOURNAL_STREAM`).
pub fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stderr) = rustix::fs::fstat(std::io::stderr()) else { return false };
    stream == format!("{}:{}", stderr.st_dev, stderr.st_ino)
}

/// The listening sockets that were passed to us; systemd goes on listening while we restart.
#[derive(Debug, Default)]
pub struct Sockets {
    /// `FileDescriptorName=api`.
    pub api: Option<TcpListener>,
    /// `FileDescriptorName=distribution`.
    pub distribution: Option<TcpListener>,
    /// `FileDescriptorName=operations`.
    pub operations: Option<TcpListener>,
}

impl Sockets {
    /// Takes what was passed. To be called once.
    ///
    /// # Errors
    /// In words for the operator: a socket with a name that is none of ours, with a name that came
    /// before, or that is no listening TCP socket.
    pub fn take() -> Result<Self, String> {
        let failed = |error| format!("sockets of the service manager: {error}");
        // Closes them on exec, too: signers get none of them.
        let names: Vec<String> =
            sd_notify::listen_fds_with_names().map_err(failed)?.map(|(_, name)| name).collect();
        let mut passed = ListenFd::from_env();
        let mut sockets = Self::default();
        for (index, name) in names.into_iter().enumerate() {
            let socket = passed
                .take_tcp_listener(index)
                .map_err(|error| format!("socket '{name}' of the service manager: {error}"))?;
            let place = match name.as_str() {
                "api" => &mut sockets.api,
                "distribution" => &mut sockets.distribution,
                "operations" => &mut sockets.operations,
                _ => {
                    return Err(format!(
                        "socket '{name}' of the service manager: FileDescriptorName is not one \
                         of api, distribution, operations"
                    ));
                }
            };
            if place.is_some() {
                return Err(format!("socket '{name}' of the service manager: passed twice"));
            }
            *place = socket;
        }
        Ok(sockets)
    }
}
