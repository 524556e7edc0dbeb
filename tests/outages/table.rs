//! Runs outages, some in parallel, and prints the table.

use std::{
    any::Any,
    collections::BTreeMap,
    fs,
    panic::{self, AssertUnwindSafe},
    path::Path,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use crate::{
    outage::BACK_WITHIN,
    scene::{Outage, Seen},
};

/// Outages mostly wait; with more in parallel the machine would be measured.
const AT_ONCE: usize = 3;

/// What the columns mean.
const NOTES: &str = "
Four clients at once ask for certificates over mutual TLS. \"held\" means that each request was answered in
time, with 200 and a certificate that verifies or with 503 and Retry-After; that the ledger has exactly the
certificates that clients hold, no open intent and no serial number twice; and that the daemon was not
restarted. Recovery is the time from the return of the HSM to the first request that was served; where the HSM
was not away, the longest time without one. Where the ledger was unlinked, or a sync takes longer than a
transaction may, a certificate may be recorded whose client was told 503; and intents of the moment in which
the ledger was unlinked stay open until the next start.
";

/// The result of an outage, or why it failed.
pub struct Row {
    name: &'static str,
    result: Result<Seen, String>,
}

/// Runs all outages. The rows are in their order.
pub fn run(outages: Vec<Outage>) -> Vec<Row> {
    let total = outages.len();
    println!("\nrunning {total} tests");
    let waiting = Mutex::new(outages.into_iter().enumerate());
    let rows = Mutex::new(BTreeMap::new());
    let work = || loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some((number, outage)) = next else { return };
        let row = run_one(&outage);
        rows.lock().unwrap_or_else(PoisonError::into_inner).insert(number, row);
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    rows.into_inner().unwrap().into_values().collect()
}

/// In a thread with its name, which a panic message shows.
fn run_one(outage: &Outage) -> Row {
    let begin = Instant::now();
    let name = outage.name;
    let result = thread::scope(|scope| {
        let thread = thread::Builder::new().name(name.to_owned());
        let run = || panic::catch_unwind(AssertUnwindSafe(|| outage.run()));
        thread.spawn_scoped(scope, run).unwrap().join().unwrap()
    });
    let result = result.map_err(|panic| words_of(&*panic));
    let word = if result.is_ok() { "ok" } else { "FAILED" };
    println!("test {name} ... {word} ({:.1} s)", begin.elapsed().as_secs_f64());
    Row { name, result }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
    words.lines().next().unwrap_or_default().replace('|', "\\|")
}

/// Prints the table. Writes it to a file when all outages were run.
pub fn report(rows: &[Row], skipped: usize) -> ExitCode {
    let failed = rows.iter().filter(|row| row.result.is_err()).count();
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {} passed; {failed} failed; 0 ignored; 0 measured; {skipped} filtered out\n",
        rows.len() - failed
    );
    if !rows.is_empty() {
        println!("{}", table(rows));
    }
    if skipped == 0 {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        fs::write(target.join("outages.md"), table(rows)).unwrap();
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn table(rows: &[Row]) -> String {
    let lines = rows.iter().map(|Row { name, result }| match result {
        Ok(seen) => {
            let (recovery, limit) = (seen.recovery.as_millis(), BACK_WITHIN.as_secs());
            let verdict = match seen.recovery <= BACK_WITHIN {
                true => "held".to_owned(),
                false => format!("held, but for the {limit} s"),
            };
            let slowest = seen.slowest.as_secs_f64();
            format!(
                "| {name} | {} × 200, {} × 503, the slowest after {slowest:.1} s | {recovery} | {verdict} |\n",
                seen.served, seen.refused
            )
        }
        Err(words) => format!("| {name} | | | FAILED: {words} |\n"),
    });
    let head = "| outage | clients saw | recovery ms | verdict |\n|---|---|---|---|\n";
    head.to_owned() + &lines.collect::<String>() + NOTES
}
