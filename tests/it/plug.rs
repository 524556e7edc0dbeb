//! `kill -9` and full disks in the middle of `backup` and `restore`: nothing half-done is taken for
//! whole, the next attempt works, and the daemon serves on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use crate::{
    appliance::{Appliance, Daemon, SOON, binary},
    ledger_faults::Disk,
    load::Load,
    support::leaf,
};

/// Moments at which the plug is pulled, from the first to the last of an undisturbed run.
const MOMENTS: u32 = 16;

/// `chancery COMMAND FILE`, not yet started.
fn command(appliance: &Appliance, command: &str, file: &Path) -> Command {
    let mut chancery = Command::new(binary());
    chancery.arg(command).arg(file).arg("--config").arg(appliance.config());
    if command == "restore" {
        chancery.arg("--without-hsm");
    }
    chancery.stdout(Stdio::null()).stderr(Stdio::piped()).stdin(Stdio::null());
    chancery
}

/// Exit code and words.
fn run(appliance: &Appliance, what: &str, file: &Path) -> (Option<i32>, String) {
    let output = command(appliance, what, file).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[track_caller]
fn done(appliance: &Appliance, what: &str, file: &Path) {
    let (code, said) = run(appliance, what, file);
    assert_eq!(code, Some(0), "{said}");
}

/// Runs it undisturbed, then pulls the plug at moments of the least time that this took. `reset` comes
/// before each run, `judge` after it; how many runs were cut.
fn pull_the_plug(
    appliance: &Appliance,
    what: &str,
    file: &Path,
    reset: impl Fn(),
    judge: impl Fn(),
) -> u32 {
    let undisturbed = (0..3).map(|_| {
        reset();
        let began = Instant::now();
        done(appliance, what, file);
        began.elapsed()
    });
    let whole = undisturbed.min().unwrap();
    let mut cut = 0;
    for moment in 0..MOMENTS {
        reset();
        let mut child = command(appliance, what, file).spawn().unwrap();
        thread::sleep(whole * moment / MOMENTS);
        child.kill().unwrap();
        cut += u32::from(!child.wait().unwrap().success());
        judge();
    }
    cut
}

/// Files beside this one whose names begin with its name.
fn beside(file: &Path) -> Vec<PathBuf> {
    let name = file.file_name().unwrap().to_str().unwrap();
    let mut found: Vec<_> = fs::read_dir(file.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(name))
        .collect();
    found.sort();
    found
}

/// With so many certificates that a backup takes a while.
fn with_certificates(appliance: &Appliance, count: usize) -> Daemon {
    let daemon = appliance.start();
    let load = Load::of_leaves(appliance, &daemon, 4);
    load.wait_for(200, count, 5 * SOON);
    load.stop();
    daemon
}

fn issues(daemon: &Daemon) {
    daemon.client.issue("certificate", &leaf("leaf-secp256r1", "Leaf")).ok();
}

/// Takes the ledger away.
fn lose(ledger: &Path) {
    for file in beside(ledger) {
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn a_backup_that_is_killed_is_none_and_the_next_one_works() {
    let appliance = Appliance::new();
    let daemon = with_certificates(&appliance, 400);
    let (backup, elsewhere) = (appliance.path("backup"), Appliance::new());
    let remove = || {
        let _ = fs::remove_file(&backup);
    };
    let restores = || {
        lose(&elsewhere.path("ledger.sqlite"));
        done(&elsewhere, "restore", &backup);
    };
    let whole_or_none = || {
        if backup.exists() {
            restores();
        }
        issues(&daemon);
    };
    let cut = pull_the_plug(&appliance, "backup", &backup, remove, whole_or_none);
    println!("{cut} of {MOMENTS} backups were cut");
    assert!(cut > MOMENTS / 4, "the test is none");
    remove();
    done(&appliance, "backup", &backup);
    restores();
    // What the killed ones left was taken over.
    assert_eq!(beside(&backup), [backup]);
}

#[test]
fn a_restore_that_is_killed_leaves_no_ledger_and_the_next_one_works() {
    let appliance = Appliance::new();
    with_certificates(&appliance, 400).stop();
    let (ledger, backup) = (appliance.path("ledger.sqlite"), appliance.path("backup"));
    done(&appliance, "backup", &backup);
    let count = || appliance.count("select count(*) from certificates");
    let certificates = count();
    // Only the ledger itself: what killed ones leave stays where it is.
    let remove = || {
        let _ = fs::remove_file(&ledger);
    };
    let whole_or_none = || {
        if ledger.exists() {
            assert_eq!(count(), certificates);
            lose(&ledger);
        }
    };
    let cut = pull_the_plug(&appliance, "restore", &backup, remove, whole_or_none);
    println!("{cut} of {MOMENTS} restorations were cut");
    assert!(cut > MOMENTS / 4, "the test is none");
    remove();
    done(&appliance, "restore", &backup);
    assert_eq!(beside(&appliance.path("ledger.sqlite.partial")), Vec::<PathBuf>::new());
    let daemon = appliance.start();
    issues(&daemon);
    assert_eq!(count(), certificates + 1);
}

#[test]
fn two_backups_under_one_name_do_not_meet() {
    let appliance = Appliance::new();
    let _daemon = with_certificates(&appliance, 100);
    let backup = appliance.path("backup");
    let children: Vec<_> =
        (0..4).map(|_| command(&appliance, "backup", &backup).spawn().unwrap()).collect();
    let ended: Vec<_> =
        children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert_eq!(ended.iter().filter(|output| output.status.success()).count(), 1);
    for output in ended.iter().filter(|output| !output.status.success()) {
        let said = String::from_utf8_lossy(&output.stderr);
        let is_known =
            said.contains("another process is writing it") || said.contains("there already");
        assert!(is_known, "{said}");
    }
    assert_eq!(beside(&backup), std::slice::from_ref(&backup));
    let elsewhere = Appliance::new();
    done(&elsewhere, "restore", &backup);
}

#[test]
fn a_disk_that_is_full_gets_no_backup_and_no_ledger_and_keeps_nobody_from_service() {
    let appliance = Appliance::new();
    let daemon = with_certificates(&appliance, 100);
    let elsewhere = Appliance::new();
    let Some(disk) = Disk::mount(&elsewhere, 4_096) else { return };
    let (backup, ledger) = (elsewhere.path("disk/backup"), elsewhere.path("disk/ledger.sqlite"));
    let said_of_room = |(code, said): (Option<i32>, String)| {
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("full") || said.contains("No space left"), "{said}");
    };
    disk.fill_but(64 * 1_024);
    said_of_room(run(&appliance, "backup", &backup));
    assert_eq!(beside(&backup), Vec::<PathBuf>::new());
    issues(&daemon);
    disk.make_room();
    done(&appliance, "backup", &backup);

    disk.fill_but(64 * 1_024);
    said_of_room(run(&elsewhere, "restore", &backup));
    assert!(!beside(&ledger).iter().any(|file| !file.ends_with("ledger.sqlite.lock")));
    disk.make_room();
    done(&elsewhere, "restore", &backup);
    let restored = elsewhere.start();
    issues(&restored);
    // With a full disk under the ledger, a backup elsewhere is taken all the same.
    disk.fill_but(0);
    let rescued = appliance.path("rescued");
    done(&elsewhere, "backup", &rescued);
    let third = Appliance::new();
    done(&third, "restore", &rescued);
    restored.kill();
}

/// A process that was killed and whose number came again, as in a container, is not in the way.
#[test]
fn what_lies_about_under_the_partial_name_is_taken_over_unless_it_is_no_file() {
    let appliance = Appliance::new();
    let _daemon = with_certificates(&appliance, 1);
    let (backup, partial) = (appliance.path("backup"), appliance.path("backup.partial"));
    fs::write(&partial, "half of a backup").unwrap();
    done(&appliance, "backup", &backup);
    assert_eq!(beside(&backup), std::slice::from_ref(&backup));
    fs::remove_file(&backup).unwrap();
    let precious = appliance.path("precious");
    fs::write(&precious, "somebody's").unwrap();
    std::os::unix::fs::symlink(&precious, &partial).unwrap();
    let (code, said) = run(&appliance, "backup", &backup);
    assert!(code == Some(1) && said.contains("backup.partial"), "{code:?} {said}");
    assert_eq!(fs::read_to_string(&precious).unwrap(), "somebody's");
}
