//! What the daemon and its signers have, again and again, and whether it grows.

use std::{collections::BTreeMap, fs};

use crate::appliance::Daemon;

/// The figures: name, by how much the last third may exceed the middle one in any case, and whether a
/// tenth is allowed beside that.
const FIGURES: [(&str, u64, bool); 9] = [
    ("front: resident memory, KiB", 4 * 1024, true),
    ("front: open descriptors", 2, false),
    ("front: threads", 1, false),
    ("signers: processes", 0, false),
    ("signer: resident memory, KiB", 4 * 1024, true),
    ("signer: memory by its own word, KiB", 4 * 1024, true),
    ("signer: open descriptors", 1, false),
    ("signer: threads", 0, false),
    ("signer: PKCS#11 sessions", 0, false),
];

/// The rule, for those who read the table.
const RULE: &str = "
Each column is the median of a third of the samples; of several signers, the one that has most counts.
Flat: the last third has no more than the middle third, but for a tenth and 4 MiB of memory, 2 descriptors
and 1 thread of the front, 1 descriptor of a signer. What is taken while all warms up is in the first.
";

/// The figures of one moment, in their order.
pub struct Sample([u64; FIGURES.len()]);

impl Sample {
    pub fn of(daemon: &Daemon) -> Self {
        let signers = daemon.signers();
        let most = |field| signers.iter().map(|pid| status(*pid, field)).max().unwrap_or(0);
        let front = daemon.pid();
        let told = told_by(daemon);
        let told = |name: &str| told.get(name).copied().unwrap_or(0);
        Self([
            status(front, "VmRSS"),
            fs::read_dir(format!("/proc/{front}/fd")).unwrap().count() as u64,
            status(front, "Threads"),
            signers.len() as u64,
            most("VmRSS"),
            told("chancery_signer_memory_bytes") / 1024,
            told("chancery_signer_descriptors"),
            most("Threads"),
            told("chancery_signer_sessions"),
        ])
    }
}

/// A number in `/proc/PID/status`; 0 of a process that has just ended.
fn status(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Gauges of the only token.
fn told_by(daemon: &Daemon) -> BTreeMap<String, u64> {
    let url = format!("{}/metrics", daemon.operations);
    let page = ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap();
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        Some((series.split_once('{')?.0.to_owned(), value.parse().ok()?))
    };
    page.lines().filter(|line| line.starts_with("chancery_signer_")).filter_map(sample).collect()
}

/// All samples.
#[derive(Default)]
pub struct Figures(Vec<Sample>);

/// Medians of the thirds.
struct Thirds {
    first: u64,
    middle: u64,
    last: u64,
    most: u64,
}

impl Figures {
    pub fn add(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    fn thirds(&self, figure: usize) -> Thirds {
        let values: Vec<_> = self.0.iter().map(|Sample(values)| values[figure]).collect();
        let third = values.len() / 3;
        let median = |values: &[u64]| {
            let mut values = values.to_vec();
            values.sort_unstable();
            values[values.len() / 2]
        };
        Thirds {
            first: median(&values[..third]),
            middle: median(&values[third..2 * third]),
            last: median(&values[2 * third..]),
            most: values.into_iter().max().unwrap(),
        }
    }

    fn is_flat(&self, figure: usize) -> bool {
        let Thirds { middle, last, .. } = self.thirds(figure);
        let (_, more, and_a_tenth) = FIGURES[figure];
        // What is nowhere to be seen was not looked at.
        middle > 0 && last <= middle + more + if and_a_tenth { middle / 10 } else { 0 }
    }

    pub fn are_flat(&self) -> bool {
        (0..FIGURES.len()).all(|figure| self.is_flat(figure))
    }

    pub fn table(&self) -> String {
        let lines = FIGURES.iter().enumerate().map(|(figure, (name, ..))| {
            let Thirds { first, middle, last, most } = self.thirds(figure);
            let verdict = if self.is_flat(figure) { "flat" } else { "GROWS" };
            format!("| {name} | {first} | {middle} | {last} | {most} | {verdict} |\n")
        });
        let head = "| figure | first third | middle third | last third | most | verdict |\n\
                    |---|---|---|---|---|---|\n";
        head.to_owned() + &lines.collect::<String>() + RULE
    }
}
