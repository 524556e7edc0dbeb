//! A long run under load, over mutual TLS, while signers are killed: memory, descriptors, threads,
//! processes and sessions must stay where they are. `./tests/soak.sh` runs it for as long as one likes;
//! among the other tests it takes twenty seconds.

#![expect(unreachable_pub, reason = "the modules of a test program have no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod clients;
mod figures;

use std::{
    env, fs,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use appliance::{Appliance, Daemon, SOON, key_label, signal, until};
use chancery_test_support::{appliance, chaos::Chaos};
use clients::{Clients, Told};
use figures::{Figures, Sample};

/// Where the seconds are told; without it, the run is a short one.
const SECONDS: &str = "CHANCERY_SOAK_SECONDS";
const SECONDS_SHORT: u64 = 20;
const CLIENTS: usize = 4;
const SAMPLES: u32 = 300;
/// Kills in a run, and what is waited between two at least: a signer is to serve meanwhile.
const KILLS: u32 = 60;
const BETWEEN_KILLS_MIN: Duration = Duration::from_secs(2);
/// In the first third of the run, a fourth of the kills are of all signers at once.
const ALL_EACH: u32 = 4;
const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

fn main() -> ExitCode {
    let words: Vec<_> = env::args().skip(1).collect();
    if words.iter().any(|word| word == "--list") {
        println!("soak: test");
        return ExitCode::SUCCESS;
    }
    let is_meant = |word: &String| word.starts_with('-') || "soak".contains(word.as_str());
    if !words.iter().all(is_meant) || words.iter().any(|word| word == "--ignored") {
        println!("\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out");
        return ExitCode::SUCCESS;
    }
    let seconds = env::var(SECONDS).map_or(SECONDS_SHORT, |text| text.parse().unwrap());
    println!("\nrunning 1 test");
    let (told, kills, figures) = run(Duration::from_secs(seconds));
    let report = format!(
        "{seconds} s, {CLIENTS} clients, {kills} kills: {} × 200, {} × 503, the slowest after {:.1} s\n\n{}",
        told.served,
        told.refused,
        told.slowest.as_secs_f64(),
        figures.table()
    );
    println!("\n{report}");
    let word = if figures.are_flat() { "ok" } else { "FAILED" };
    let failed = u8::from(!figures.are_flat());
    println!("test soak ... {word}\n");
    println!(
        "test result: {word}. {} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out",
        1 - failed
    );
    ExitCode::from(failed)
}

fn run(time: Duration) -> (Told, u32, Figures) {
    let appliance = Appliance::new();
    let chaos = Chaos::new(appliance.path("chaos"));
    // SoftHSM does not tell how many sessions are open.
    chaos.order("C_GetTokenInfo count-sessions");
    let environment = chaos.environment(SOFTHSM).map(|(name, value)| format!("{name} = {value:?}"));
    appliance.configure_token(&format!(
        "module = {:?}\n\
         environment = {{ {} }}\n\
         canary_label = {:?}\n\
         canary_seconds = 1",
        Chaos::module().display().to_string(),
        environment.join(", "),
        key_label("iaca-secp384r1"),
    ));
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let clients = Clients::start(&appliance, &daemon, CLIENTS);
    let mut figures = Figures::default();
    let begin = Instant::now();
    let (mut kills, mut killed_at) = (0, begin);
    let between_kills = (time / KILLS).max(BETWEEN_KILLS_MIN);
    for round in 1..=SAMPLES {
        figures.add(Sample::of(&daemon));
        if killed_at.elapsed() >= between_kills {
            kill(&daemon, kills, round > SAMPLES / 3);
            kills += 1;
            killed_at = Instant::now();
        }
        thread::sleep((begin + time * round / SAMPLES).saturating_duration_since(Instant::now()));
    }
    let told = clients.stop();
    assert_ledger_knows(&appliance, &told);
    daemon.wait_until_ready();
    daemon.stop();
    (told, kills, figures)
}

/// Not while they log in: SoftHSM has its token's file empty for a moment then. A veteran is spared, so
/// that it shows what it takes over time.
fn kill(daemon: &Daemon, kills: u32, spares_one: bool) {
    let mut signers = daemon.settled_signers();
    signers.sort_by_key(|pid| started_at(*pid));
    let all = kills % ALL_EACH == ALL_EACH - 1;
    let count = if all && !spares_one { signers.len() } else { 1 };
    signers.iter().rev().take(count).for_each(|pid| signal(*pid, "KILL"));
}

/// In ticks since the machine was (proc_pid_stat(5)); 0 of a process that has just ended.
fn started_at(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = text.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
    after_name.split(' ').nth(19).and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

/// Each certificate that a client was given, and no other.
fn assert_ledger_knows(appliance: &Appliance, told: &Told) {
    let open = || appliance.count("select count(*) from intents where state = 'open'");
    until(SOON, || (open() == 0).then_some(())).expect("an intent stays open");
    let recorded = appliance.count("select count(*) from certificates");
    assert_eq!(
        usize::try_from(recorded).unwrap(),
        told.served,
        "certificates recorded, and received"
    );
}
