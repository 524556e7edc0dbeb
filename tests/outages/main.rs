//! Outages of the HSM under load: what clients saw, what the ledger holds, and how long service took to
//! return. Prints a table, as `./tests/outages.sh` does; arguments select outages by words of their names.

#![expect(unreachable_pub, reason = "the modules of a test program have no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod codes;
mod hangs;
mod keys;
mod ledger;
mod network;
mod processes;
mod scene;
mod signatures;
mod table;
mod token;

use std::{env, process::ExitCode};

use chancery_test_support::{appliance, chaos, evidence, load, outage};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let (options, words): (Vec<_>, Vec<_>) =
        arguments.into_iter().partition(|argument| argument.starts_with('-'));
    let mut outages = [
        processes::outages(),
        hangs::outages(),
        codes::outages(),
        signatures::outages(),
        token::outages(),
        keys::outages(),
        ledger::outages(),
        network::outages(),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    let all = outages.len();
    outages.retain(|outage| words.is_empty() || words.iter().any(|w| outage.name.contains(w)));
    if options.iter().any(|option| option == "--list") {
        outages.iter().for_each(|outage| println!("{}: test", outage.name));
        return ExitCode::SUCCESS;
    }
    if options.iter().any(|option| option == "--ignored") {
        outages.clear();
    }
    let skipped = all - outages.len();
    let rows = table::run(outages);
    table::report(&rows, skipped)
}
