//! A ledger that loses its place: removed, moved, replaced, cut short, opened twice. What would be written
//! then is lost, so nothing is issued.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Instant,
};

use crate::{
    appliance::{Appliance, Daemon, SOON, until},
    evidence::{Held, assert_sound},
    ledger_faults::assert_refuses_to_start,
    load::{Load, leaf},
};

const FILES: [&str; 3] = ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"];

fn issue(daemon: &Daemon) -> u16 {
    daemon.client.issue("certificate", &leaf("leaf-secp256r1", "Example Leaf")).status
}

/// The ledger in a directory of its own, which can be renamed.
fn appliance() -> (Appliance, PathBuf) {
    let appliance = Appliance::new();
    let directory = appliance.path("data");
    fs::create_dir(&directory).unwrap();
    appliance.configure(|text| {
        text.replace("path = \"ledger.sqlite\"", "path = \"data/ledger.sqlite\"")
    });
    (appliance, directory)
}

/// Each way, and whether the ledger is back at its place when `undo` has run.
#[test]
fn nothing_is_released_into_a_ledger_that_has_lost_its_place() {
    type Act<'a> = &'a dyn Fn(&Path);
    let rename = |from: &Path, to: &Path| fs::rename(from, to).unwrap();
    let aside = |directory: &Path| directory.with_extension("aside");
    let main = |directory: &Path| directory.join(FILES[0]);
    let ways: [(&str, Act<'_>, Option<Act<'_>>); 7] = [
        (
            "removed with all that lies beside it",
            &|it| {
                for entry in fs::read_dir(it).unwrap() {
                    fs::remove_file(entry.unwrap().path()).unwrap();
                }
            },
            None,
        ),
        (
            "moved away",
            &|it| rename(&main(it), &it.join("moved")),
            Some(&|it| {
                rename(&it.join("moved"), &main(it));
            }),
        ),
        (
            "its directory renamed",
            &|it| rename(it, &aside(it)),
            Some(&|it| {
                rename(&aside(it), it);
            }),
        ),
        (
            "replaced by a copy",
            &|it| {
                fs::copy(main(it), it.join("copy")).unwrap();
                rename(&it.join("copy"), &main(it));
            },
            None,
        ),
        (
            "replaced by an empty file",
            &|it| {
                fs::write(it.join("empty"), "").unwrap();
                rename(&it.join("empty"), &main(it));
            },
            None,
        ),
        (
            "cut short",
            &|it| {
                fs::OpenOptions::new().write(true).open(main(it)).unwrap().set_len(4_096).unwrap();
            },
            None,
        ),
        ("without its write-ahead log", &|it| fs::remove_file(it.join(FILES[1])).unwrap(), None),
    ];
    for (way, act, undo) in ways {
        let (appliance, directory) = appliance();
        let daemon = appliance.start();
        assert_eq!(issue(&daemon), 200);
        // What was in the log is in the file then.
        daemon.stop();
        let daemon = appliance.start();
        daemon.wait_until_ready();
        let load = Load::of_leaves(&appliance, &daemon, 4);
        load.wait_for(200, 20, SOON);
        act(&directory);
        let since = Instant::now();
        println!("{way}");
        load.wait_for(503, 20, SOON);
        // Those that were under way when it happened.
        assert!(load.count_since(since, 200) <= 4, "{way}: {}", load.count_since(since, 200));
        let (status, checks) = daemon.readiness();
        assert_eq!((status, checks["database"].as_str()), (503, Some("not writable")), "{way}");
        let log = daemon.log();
        assert!(log.contains("alarm=\"ledger-displaced\""), "{way}: {log}");
        if let Some(undo) = undo {
            undo(&directory);
            let served = until(SOON, || (issue(&daemon) == 200).then_some(()));
            served.unwrap_or_else(|| panic!("{way}: {}", daemon.log()));
        }
        load.stop();
        daemon.stop();
    }
}

#[test]
fn a_ledger_that_has_gone_is_noticed_without_a_request() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    for file in FILES {
        fs::remove_file(appliance.path(file)).unwrap();
    }
    let noticed = || daemon.log().contains("alarm=\"ledger-displaced\"").then_some(());
    until(SOON, noticed).unwrap_or_else(|| panic!("{}", daemon.log()));
}

#[test]
fn where_there_was_a_ledger_none_is_begun_without_an_operators_word() {
    type Act<'a> = &'a dyn Fn(&Appliance);
    let remove = |it: &Appliance, files: &[&str]| {
        for file in files {
            let _ = fs::remove_file(it.path(file));
        }
    };
    let ways: [(&str, Act<'_>, &str); 4] = [
        (
            "removed while it was stopped",
            &|it| remove(it, &FILES),
            "is gone, and there was a ledger",
        ),
        ("emptied", &|it| fs::write(it.path(FILES[0]), "").unwrap(), "is empty, and there was"),
        (
            "removed, and its log left",
            &|it| {
                fs::copy(it.path(FILES[0]), it.path(FILES[1])).unwrap();
                remove(it, &FILES[..1]);
            },
            "is gone, and there was a ledger",
        ),
        (
            "all of it removed while it ran",
            &|it| {
                let daemon = it.start();
                daemon.wait_until_ready();
                for file in fs::read_dir(it.path("")).unwrap() {
                    let file = file.unwrap();
                    if file.file_name().to_string_lossy().starts_with("ledger.sqlite") {
                        fs::remove_file(file.path()).unwrap();
                    }
                }
                until(SOON, || daemon.log().contains("ledger-displaced").then_some(())).unwrap();
            },
            "is gone, and there was a ledger",
        ),
    ];
    for (way, act, words) in ways {
        let appliance = Appliance::new();
        let daemon = appliance.start();
        assert_eq!(issue(&daemon), 200);
        daemon.stop();
        act(&appliance);
        let said = assert_refuses_to_start(&appliance);
        assert!(said.contains(words) && said.contains("--new-ledger"), "{way}: {said}");
        // And again.
        assert_refuses_to_start(&appliance);
        remove(&appliance, &FILES[1..]);
        let daemon = appliance.start_with(&["--new-ledger"]);
        assert_eq!(issue(&daemon), 200, "{way}");
        daemon.stop();
        appliance.start().stop();
    }
}

#[test]
fn one_ledger_has_one_daemon_by_whatever_name_it_is_found() {
    let (appliance, directory) = appliance();
    let daemon = appliance.start();
    let held =
        Held::of(&daemon.client.issue("certificate", &leaf("leaf-secp256r1", "Example Leaf")).ok());
    symlink(&directory, appliance.path("link")).unwrap();
    symlink(directory.join("ledger.sqlite"), appliance.path("file-link")).unwrap();
    symlink("file-link", appliance.path("link-to-link")).unwrap();
    fs::create_dir(appliance.path("elsewhere")).unwrap();
    fs::hard_link(directory.join("ledger.sqlite"), appliance.path("elsewhere/hard")).unwrap();
    let mut before = "data/ledger.sqlite";
    for name in [
        "link/ledger.sqlite",
        "file-link",
        "link-to-link",
        "elsewhere/../data/ledger.sqlite",
        "elsewhere/hard",
    ] {
        appliance.configure(|text| {
            text.replace(&format!("path = \"{before}\""), &format!("path = \"{name}\""))
        });
        before = name;
        let said = assert_refuses_to_start(&appliance);
        assert!(said.contains("in use by another chancery"), "{name}: {said}");
    }
    assert_eq!(issue(&daemon), 200);
    daemon.stop();
    fs::rename(directory.join("ledger.sqlite"), appliance.path("ledger.sqlite")).unwrap();
    assert_sound(&appliance, &[held], None);
}

#[test]
fn a_ledger_is_begun_and_found_again_through_a_link() {
    let (appliance, directory) = appliance();
    symlink(directory.join("real"), directory.join("ledger.sqlite")).unwrap();
    for _ in 0..2 {
        let daemon = appliance.start();
        assert_eq!(issue(&daemon), 200);
        daemon.stop();
    }
    assert!(directory.join("real").symlink_metadata().unwrap().is_file());
}
