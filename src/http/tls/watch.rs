//! Takes up TLS files that are renewed in place.

use std::{sync::Arc, time::Instant};

use super::{Tls, TlsFiles, crl, files::Stamp};

/// Compares the TLS files with what is in use, again and again.
pub struct TlsWatch {
    tls: Arc<Tls>,
    /// The files that were refused last, which are not read again until they change.
    refused: Vec<Option<Stamp>>,
    /// The generation of files for which an expired CRL was logged last, and when.
    expiry_logged: Option<(u64, Instant)>,
}

impl TlsWatch {
    pub(in crate::http) fn new(tls: Arc<Tls>) -> Self {
        Self { tls, refused: Vec::new(), expiry_logged: None }
    }

    /// Takes up files that have changed; blocks. Files that do not fit together, such as a certificate whose
    /// key is still to be written, are reported once and change nothing. An expired CRL is logged at once,
    /// hourly, and after each change.
    pub fn look(&mut self) {
        self.log_expired_crl();
        let seen = self.tls.now();
        let paths = seen.files.paths.clone();
        let stamps = paths.stamps();
        if stamps == seen.files.stamps || stamps == self.refused {
            return;
        }
        match TlsFiles::of(paths) {
            Ok(files) => {
                self.tls.replace_if(seen.number, files);
                tracing::info!("TLS files have changed and are in use");
            }
            Err(problems) => {
                tracing::error!(
                    problems = problems.join("; "),
                    "TLS files have changed and cannot be used; the old ones stay in use"
                );
                self.refused = stamps;
            }
        }
    }

    fn log_expired_crl(&mut self) {
        let number = self.tls.now().number;
        let is_logged = self
            .expiry_logged
            .is_some_and(|(under, at)| under == number && at.elapsed() < crl::TELL_EVERY);
        if is_logged {
            return;
        }
        if let Some(words) = self.tls.expired_crl() {
            tracing::warn!("{words}");
            self.expiry_logged = Some((number, Instant::now()));
        }
    }
}
