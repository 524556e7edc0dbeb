//! One Markdown table of the whole run.

use std::{fs, process::Command, time::Duration};

use crate::{raw::Raw, traffic::Measured};

/// The targets of the project, each a ratio within one run.
const CPU_MOST: f64 = 2.4;
const RATE_LEAST: f64 = 0.45;

/// Rows as they are printed.
#[derive(Default)]
pub struct Table {
    rows: Vec<[String; 10]>,
    /// Certificates that OpenSSL has verified.
    pub verified: usize,
}

impl Table {
    pub fn raw(&mut self, name: &str, raw: Raw) {
        self.push(name, raw.per_second, raw.p50, raw.p99, [micros(raw.cpu), String::new()]);
    }

    pub fn issuance(
        &mut self,
        name: &str,
        concurrency: usize,
        measured: &Measured,
        raw: Raw,
        commit: Raw,
    ) {
        let kept_alive = !name.contains("handshake");
        let rate = measured.per_second / raw.per_second;
        let cpu = measured.cpu().as_secs_f64() / raw.cpu.as_secs_f64();
        let mut targets = Vec::new();
        if kept_alive {
            targets.push(format!("CPU ≤ {CPU_MOST}×"));
        }
        if kept_alive && concurrency >= 32 {
            targets.push(format!("rate ≥ {RATE_LEAST}×"));
        }
        if concurrency == 32 && kept_alive {
            let most = Duration::from_secs_f64(4.0 * 32.0 / measured.per_second);
            targets.push(format!("p99 ≤ {} ms", millis(most)));
        }
        if concurrency == 1 {
            targets.push(format!("p50 ≤ {} ms", millis(6 * raw.p50 + commit.p50)));
        }
        self.answers(name, measured, format!("{rate:.2}"), format!("{cpu:.2}"), &targets);
    }

    /// What would be left if all else cost nothing: TLS and HTTP, one `C_Sign`, one verification; and
    /// for one caller, who waits for an intent and an outcome, two commits.
    pub fn least(
        &mut self,
        (name, concurrency): (&str, usize),
        measured: &Measured,
        [raw, verification, commit]: [Raw; 3],
    ) {
        let all = (measured.cpu() + raw.cpu + verification.cpu).as_secs_f64();
        let cores = std::thread::available_parallelism().unwrap().get();
        let most =
            f64::from(u32::try_from(cores).unwrap()) / (all + measured.client_cpu.as_secs_f64());
        let bound = match concurrency {
            1 => {
                let p50 = measured.p50 + raw.p50 + verification.p50 + 2 * commit.p50;
                format!(
                    "with one C_Sign, one verification and two commits p50 ≥ {} ms",
                    millis(p50)
                )
            }
            _ => format!(
                "with one C_Sign and one verification CPU ≥ {:.1}×, rate ≤ {:.2}× with all cores full",
                all / raw.cpu.as_secs_f64(),
                most / raw.per_second
            ),
        };
        self.answers(name, measured, String::new(), String::new(), &[bound]);
    }

    pub fn slow_token(&mut self, concurrency: usize, measured: &Measured, most: f64) {
        let rate = measured.per_second / most;
        let front = measured.front_share * 100.0;
        let mut targets =
            vec![format!("rate ≥ 0.97× of {most:.0}/s; front {front:.0} % of a core, < 40 %")];
        if concurrency > 512 {
            targets.push("503 beyond 512 in flight".to_owned());
        }
        let name = format!("slow token (20 ms, 64 sessions), {concurrency} at once");
        self.answers(&name, measured, format!("{rate:.2}"), String::new(), &targets);
    }

    pub fn network_token(&mut self, measured: &Measured, raw: Raw) {
        let calls = measured.p50.saturating_sub(raw.p50).as_secs_f64() / 0.002;
        let target = format!("{calls:.1} round trips each, 2 wanted: C_SignInit and one more");
        let name = "slow token (2 ms each call), 1 at once";
        self.answers(name, measured, String::new(), String::new(), &[target]);
    }

    /// Process start to readiness, and the first certificate after it.
    pub fn first_certificate(&mut self, keys: usize, whole: Duration, issuing: Duration) {
        let mut row: [String; 10] = std::array::from_fn(|_| String::new());
        row[0] = format!("start to first certificate ({keys} keys)");
        row[2] = millis(whole);
        let most = if keys > 200 { "3 s" } else { "0.5 s" };
        row[9] = format!("≤ {most}; the certificate alone: {} ms", millis(issuing));
        self.rows.push(row);
    }

    /// A ledger of so many certificates beside an empty one.
    pub fn grown(
        &mut self,
        certificates: usize,
        [empty, grown]: [&Measured; 2],
        [page_before, page]: [Duration; 2],
    ) {
        let ratio = |grown: f64, empty: f64| format!("{:.2} of the empty one's", grown / empty);
        let rate = ratio(grown.per_second, empty.per_second);
        let cpu = ratio(grown.cpu().as_secs_f64(), empty.cpu().as_secs_f64());
        let name = format!("self-signed leaf, 32 at once, {certificates} certificates before");
        self.answers(&name, grown, rate, cpu, &["within 0.1 of 1".to_owned()]);
        let mut row: [String; 10] = std::array::from_fn(|_| String::new());
        row[0] = format!("page of the inventory, {certificates} certificates before");
        row[2] = millis(page);
        row[7] = ratio(page.as_secs_f64(), page_before.as_secs_f64());
        row[9] = "within 0.1 of 1".to_owned();
        self.rows.push(row);
    }

    fn answers(
        &mut self,
        name: &str,
        measured: &Measured,
        rate: String,
        cpu: String,
        targets: &[String],
    ) {
        let all = micros(measured.cpu());
        let (front, client) = (micros(measured.front_cpu), micros(measured.client_cpu));
        let cpu_each = [format!("{all} ({front} front)"), client];
        self.push(name, measured.per_second, measured.p50, measured.p99, cpu_each);
        let refused: Vec<_> =
            measured.refused.iter().map(|(status, count)| format!("{count}×{status}")).collect();
        if let Some(row) = self.rows.last_mut() {
            row[6] = format!("{:.0}", measured.resident_mib);
            row[7] = format!("{rate} / {cpu}");
            row[8] = if refused.is_empty() { "0".to_owned() } else { refused.join(" ") };
            row[9] = targets.join("; ");
        }
    }

    fn push(
        &mut self,
        name: &str,
        per_second: f64,
        p50: Duration,
        p99: Duration,
        cpu: [String; 2],
    ) {
        let [cpu, client] = cpu;
        let mut row: [String; 10] = std::array::from_fn(|_| String::new());
        for (cell, text) in row.iter_mut().zip([
            name.to_owned(),
            format!("{per_second:.0}"),
            millis(p50),
            millis(p99),
            cpu,
            client,
        ]) {
            *cell = text;
        }
        self.rows.push(row);
    }

    /// Prints machine and table.
    pub fn print(&self, took: Duration) {
        println!();
        println!(
            "{}; {:.0} s in all; {} certificates verified by openssl",
            machine(),
            took.as_secs_f64(),
            self.verified
        );
        println!();
        println!(
            "| what | per s | p50 ms | p99 ms | CPU µs each | client CPU µs | front MiB | × raw rate / CPU | not 200 | target |"
        );
        println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---|");
        for row in &self.rows {
            println!("| {} |", row.join(" | "));
        }
    }
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let softhsm = Command::new("softhsm2-util").arg("--version").output();
    let softhsm = softhsm.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!("{cores} cores of {model}, SoftHSM {}", softhsm.unwrap_or_default())
}

fn micros(duration: Duration) -> String {
    format!("{:.0}", duration.as_secs_f64() * 1e6)
}

fn millis(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1e3)
}
