//! TLS files that are renewed in place are taken up without being asked.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Tls, TlsFiles, crl};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Looks at the files for ever. What does not fit together, such as a certificate whose key is still
/// to be written, is reported once and changes nothing. That a CRL has expired is told at once, hourly and
/// after each change.
pub(in crate::http) async fn watch(tls: Arc<Tls>) {
    let mut refused = Vec::new();
    let mut told = None;
    loop {
        tell_expired_crl(&tls, &mut told);
        tokio::time::sleep(LOOK_EVERY).await;
        let seen = tls.now();
        let paths = seen.files.paths.clone();
        let stamps = paths.stamps();
        if stamps == seen.files.stamps || stamps == refused {
            continue;
        }
        match TlsFiles::of(paths) {
            Ok(files) => {
                tls.replace_if(seen.number, files);
                tracing::info!("TLS files have changed and are in use");
            }
            Err(problems) => {
                tracing::error!(
                    problems = problems.join("; "),
                    "TLS files have changed and cannot be used; the old ones stay in use"
                );
                refused = stamps;
            }
        }
    }
}

/// `told`: under which files that was told last, and when.
fn tell_expired_crl(tls: &Tls, told: &mut Option<(u64, Instant)>) {
    let number = tls.now().number;
    let is_told = told.is_some_and(|(under, at)| under == number && at.elapsed() < crl::TELL_EVERY);
    if is_told {
        return;
    }
    if let Some(words) = tls.expired_crl() {
        tracing::warn!("{words}");
        *told = Some((number, Instant::now()));
    }
}
