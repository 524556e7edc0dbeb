//! The cage of the signer, tried from inside by a module that wants out.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::PathBuf};

use crate::appliance::{Appliance, Daemon, SOON, binary, until};

mod upgrade;

/// What a caged module still can do.
const NEEDED: [&str; 7] = [
    "needs-threads",
    "needs-weight",
    "needs-queue",
    "needs-libraries",
    "needs-randomness",
    "needs-configuration",
    "needs-tokens",
];
/// What the system calls alone do not keep it from: files.
const FILES: [&str; 12] = [
    "read-ledger",
    "write-ledger",
    "truncate-ledger",
    "read-tls-key",
    "read-pin",
    "list-directory",
    "make-file",
    "make-link",
    "list-root",
    "read-shadow",
    "front-environment",
    "front-files",
];

/// An appliance whose module is hostile, in a sandbox as TOML.
fn hostile(sandbox: &str) -> Appliance {
    let appliance = Appliance::new();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/cage/hostile.c");
    appliance.shell(&format!("cc -shared -fPIC -o hostile.so {source} -ldl -lpthread"));
    let path = |name: &str| appliance.path(name).display().to_string();
    let targets = format!(
        "@{}@{}@{}@{}@{}",
        path("ledger.sqlite"),
        path("pki/server.key"),
        path("pin"),
        path(""),
        path("tokens")
    );
    appliance.configure_token(&format!(
        "module = {:?}\nprocesses = 1\nsandbox = {sandbox}\nenvironment = {{ HOSTILE = {targets:?} }}",
        path("hostile.so"),
    ));
    appliance
}

/// A program of the shell.
fn script(appliance: &Appliance, words: &str) -> PathBuf {
    let path = appliance.path("program");
    fs::write(&path, format!("#!/bin/sh\n{words}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// What the module said of a moment: name and outcome.
fn probes(daemon: &Daemon, when: &str) -> Vec<(String, String)> {
    let done = format!("probe {when} done");
    until(SOON, || daemon.log().contains(&done).then_some(()))
        .unwrap_or_else(|| panic!("no probes:\n{}", daemon.log()));
    let begin = format!("probe {when} ");
    daemon
        .log()
        .lines()
        .filter_map(|line| line.split_once(&begin)?.1.split(" token=").next())
        .flat_map(|probes| probes.split("; "))
        .filter_map(|probe| probe.split_once(' '))
        .map(|(name, outcome)| (name.to_owned(), outcome.to_owned()))
        .collect()
}

fn succeeded(probes: &[(String, String)]) -> BTreeSet<&str> {
    let ok = probes.iter().filter(|(_, outcome)| outcome == "ok");
    ok.map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_hostile_module_can_sign_and_nothing_else() {
    let appliance = hostile("{ memory_max_mb = 64 }");
    // The daemon is started with more than it opens: a file to read, one to write, a pipe.
    let (file, pipe) = (appliance.path("another-ledger"), appliance.path("another-pipe"));
    appliance.shell(&format!("touch {0}; mkfifo {1}", file.display(), pipe.display()));
    let (file, pipe) = (file.display(), pipe.display());
    let words = format!("exec 7<{file} 8>>{file} 9<>{pipe}\nexec {} \"$@\"", binary());
    let daemon = appliance.start_program(&script(&appliance, &words));
    daemon.wait_until_ready();
    let log = daemon.log();
    let layers = log.lines().find(|line| line.contains("cage: ")).unwrap_or_default();
    for layer in ["memory 64 MiB", "files (Landlock ", "system calls (seccomp, no sockets)"] {
        assert!(layers.contains(layer), "this test needs a kernel with Landlock: {layers}");
    }
    assert!(!layers.contains("less than") && !log.contains("cage: missing"), "{layers}");
    for when in ["initialize", "sign"] {
        let probes = probes(&daemon, when);
        assert_eq!(succeeded(&probes), NEEDED.into(), "{when}: {probes:#?}");
        assert!(probes.len() > 45, "{when}: {probes:#?}");

        let all = |name: &str| -> BTreeSet<_> {
            probes.iter().filter(|probe| probe.0 == name).map(|probe| probe.1.as_str()).collect()
        };
        // What it has of the daemon's environment and descriptors.
        let known = [
            "PATH",
            "LANG",
            "LC_ALL",
            "LC_CTYPE",
            "TZ",
            "GLIBC_TUNABLES",
            "MIMALLOC_ARENA_EAGER_COMMIT",
            "HOSTILE",
            "SOFTHSM2_CONF",
        ];
        let variables = all("variable");
        assert!(
            variables.contains("HOSTILE") && variables.is_subset(&known.into()),
            "{variables:?}"
        );
        let tokens = appliance.path("tokens").display().to_string();
        let descriptors: Vec<_> = all("descriptor")
            .into_iter()
            .filter(|target| ![&*tokens, "/dev/null"].iter().any(|known| target.starts_with(known)))
            .collect();
        // Standard error, and the way to the front.
        let [pipe, socket] = descriptors[..] else { panic!("{descriptors:?}") };
        assert!(pipe.starts_with("pipe:") && socket.starts_with("socket:"), "{descriptors:?}");
    }
    assert!(!appliance.path("made").exists());
    daemon.stop();
}

#[test]
fn a_module_is_not_loaded_without_its_cage_unless_that_is_allowed() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/cage/without_landlock.py");
    let appliance = Appliance::new();
    let program = script(&appliance, &format!("exec python3 {source} {} \"$@\"", binary()));
    for (sandbox, state) in [
        ("{}", "away"),
        ("{ required = true }", "away"),
        ("{ required = false }", "ok"),
        ("{ level = \"basic\" }", "ok"),
    ] {
        appliance.configure_token(&format!("sandbox = {sandbox}"));
        let daemon = appliance.start_program(&program);
        daemon.wait_for_token(state);
        let log = daemon.log();
        let is_refused =
            log.contains("the module is not loaded, its cage is not whole: this kernel has no");
        assert_eq!(is_refused, state == "away", "{sandbox}: {log}");
        assert_eq!(
            log.contains("cage: missing: this kernel has no Landlock"),
            sandbox != "{ level = \"basic\" }"
        );
        daemon.stop();
    }
}

#[test]
fn the_probes_of_the_hostile_module_are_not_blind() {
    let appliance = hostile("{ level = \"off\" }");
    let daemon = appliance.start();
    daemon.wait_until_ready();
    assert!(daemon.log().contains("cage: the sandbox is off"), "{}", daemon.log());
    let probes = probes(&daemon, "sign");
    let succeeded = succeeded(&probes);
    // Of this, whoever runs the tests may lack the right.
    let perhaps = [
        "socket-raw",
        "front-environment",
        "front-memory-file",
        "front-files",
        "front-memory",
        "front-trace",
        "io-uring",
        "read-shadow",
        "attribute-ledger",
        "memory-limit",
        // Not every file system has these, and not every kernel.
        "give-ledger-away",
        "attributes-of-ledger",
        "no-attribute-of-ledger",
        "flags-of-ledger",
        "set-flags-of-ledger",
        "attribute-by-descriptor",
        "flags-by-descriptor",
        "socketpair-other",
    ];
    let failed: Vec<_> = probes
        .iter()
        .filter(|(name, _)| !["variable", "descriptor", "done"].contains(&name.as_str()))
        .filter(|(name, _)| !perhaps.contains(&name.as_str()) && !succeeded.contains(name.as_str()))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn the_basic_sandbox_leaves_files_alone_and_nothing_more() {
    let appliance = hostile("{ level = \"basic\", network = \"local\" }");
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let probes = probes(&daemon, "sign");
    let mut may: BTreeSet<&str> = NEEDED.into();
    may.extend(FILES);
    may.extend(["socket-unix", "datagram", "front-memory-file", "memory"]);
    let more: Vec<_> = succeeded(&probes).into_iter().filter(|name| !may.contains(name)).collect();
    assert!(more.is_empty(), "{more:?}");
    assert!(succeeded(&probes).contains("read-ledger"), "{probes:?}");
}

#[test]
fn a_sandbox_that_shows_secrets_is_refused() {
    let appliance = Appliance::new();
    for (path, secret) in [(".", "ledger.path"), ("pki", "api.private_key"), ("/", "ledger.path")] {
        appliance.configure_token(&format!("sandbox = {{ read = [{path:?}] }}"));
        let said = appliance.refuses_to_start();
        assert!(said.contains("its module would see") && said.contains(secret), "{said}");
    }
    let pin = appliance.path("pin");
    fs::create_dir(appliance.path("pins")).unwrap();
    fs::copy(pin, appliance.path("pins/other")).unwrap();
    appliance.configure_token("sandbox = { write = [\"pins\"] }");
    appliance.start().stop();
    appliance.declare(
        "[[tokens]]\nname = \"other\"\nmodule = \"/usr/lib/softhsm/libsofthsm2.so\"\n\
         label = \"other\"\npin_file = \"pins/other\"",
    );
    let said = appliance.refuses_to_start();
    assert!(said.contains("a token's pin_file"), "{said}");
    appliance.configure_token("sandbox = { level = \"most\", network = \"all\" }");
    let said = appliance.refuses_to_start();
    assert!(said.contains("'most', not full, basic or off"), "{said}");
    assert!(said.contains("'all', not none, local or any"), "{said}");
}
