//! The protocol of the service manager (sd_notify(3), sd_listen_fds(3)). Without a service manager, these
//! functions do nothing.

use std::{net::TcpListener, time::Duration};

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// Says that the daemon serves, also at the end of a reload.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Sends the status line.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Says that a reload has begun; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager is not told of the reload"),
    }
}

/// Says that the stop has begun and how long it may take.
pub fn stopping(within: Duration) {
    let microseconds = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(microseconds)]);
}

/// Feeds the watchdog.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// The longest time that the watchdog allows between two calls of [`alive`]; `None` without a watchdog.
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

/// Socket activation: listening sockets that systemd has opened for us, and that stay open while we restart.
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
    /// Takes the sockets that were passed. Must be called once only.
    ///
    /// # Errors
    /// In words for the operator: a socket has an unknown name, the name of another one, or is no listening TCP
    /// socket.
    pub fn take() -> Result<Self, String> {
        let failed = |error| format!("sockets of the service manager: {error}");
        // This sets close-on-exec too, because signers must not inherit the sockets.
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
