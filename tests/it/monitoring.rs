//! The alert rules and the dashboard beside the program.

use std::path::{Path, PathBuf};

/// Prometheus's checker: where `tests/run.sh` puts it, or on the path.
pub fn promtool() -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/promtool/usr/bin/promtool");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join("promtool"));
    std::iter::once(ours).chain(found).find(|file| file.exists())
}
