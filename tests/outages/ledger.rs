//! The file of the ledger and its disk.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Instant};

use crate::{
    appliance::{Appliance, SOON, binary},
    scene::{
        End, Outage,
        Refused::{Nobody, Somebody},
        Scene, outage,
    },
};

pub fn outages() -> Vec<Outage> {
    vec![
        outage("ledger unlinked, and linked again", Somebody, |scene| {
            let [ledger, kept] = ["ledger.sqlite", "kept"].map(|name| scene.appliance.path(name));
            fs::hard_link(&ledger, &kept).unwrap();
            fs::remove_file(&ledger).unwrap();
            scene.wait_for_log("alarm=\"ledger-displaced\"");
            scene.wait_until_refused();
            fs::rename(kept, ledger).unwrap();
            let back = Instant::now();
            scene.load().wait_for(200, 5, SOON);
            // Intents whose abort could not be written are aborted at the next start.
            scene.stop();
            scene.start();
            End::Mended(back)
        })
        .with_late_records(),
        outage("disk takes 0.2 s for a sync", Nobody, |scene| {
            syncs_take(scene, 200);
            let since = Instant::now();
            scene.load().wait_for(200, 20, SOON);
            syncs_take(scene, 0);
            End::Healed { since }
        })
        .started_by(program_with_slow_syncs),
        outage("disk takes 6 s for a sync", Somebody, |scene| {
            syncs_take(scene, 6_000);
            scene.wait_until_refused();
            syncs_take(scene, 0);
            End::Mended(Instant::now())
        })
        .started_by(program_with_slow_syncs)
        .with_late_records(),
    ]
}

/// A script that starts the daemon with an LD_PRELOAD library, which reads the length of a sync from a file.
fn program_with_slow_syncs(appliance: &Appliance) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/ledger_slow/fsync.c");
    appliance.shell(&format!("cc -shared -fPIC -o slow.so {source} -ldl"));
    let [program, library, file] =
        ["chancery-slow", "slow.so", "slow"].map(|it| appliance.path(it));
    let script = format!(
        "#!/bin/sh\nLD_PRELOAD={} SLOW_FSYNC={} exec {} \"$@\"\n",
        library.display(),
        file.display(),
        binary()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

fn syncs_take(scene: &Scene, milliseconds: u32) {
    fs::write(scene.appliance.path("slow.new"), milliseconds.to_string()).unwrap();
    fs::rename(scene.appliance.path("slow.new"), scene.appliance.path("slow")).unwrap();
}
