//! TLS files that are renewed in place are taken up without being asked.

use std::{sync::Arc, time::Duration};

use super::{Tls, TlsFiles};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Looks at the files for ever. What does not fit together, such as a certificate whose key is still
/// to be written, is reported once and changes nothing.
pub(in crate::http) async fn watch(tls: Arc<Tls>) {
    let mut refused = Vec::new();
    loop {
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
