//! The module that injects faults (`tests/chaos`), between the signers and a real module.

use std::{
    env, fs,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

/// A directory with orders for the module and traces of its calls.
pub struct Chaos {
    directory: PathBuf,
}

impl Chaos {
    /// Makes the directory, without orders.
    pub fn new(directory: PathBuf) -> Self {
        fs::create_dir(&directory).unwrap();
        Self::of(directory)
    }

    /// Uses an existing directory.
    pub fn of(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The file of the module, which cargo builds with this test program.
    pub fn module() -> PathBuf {
        let module = env::current_exe().unwrap().with_file_name("libchancery_chaos.so");
        assert!(module.exists(), "{} is not there", module.display());
        module
    }

    /// The environment variables of signers: the wrapped module, and this directory.
    pub fn environment(&self, wrapped: &str) -> [(String, String); 2] {
        let directory = self.directory.to_str().unwrap().to_owned();
        [("CHAOS_MODULE".to_owned(), wrapped.to_owned()), ("CHAOS_DIR".to_owned(), directory)]
    }

    /// Replaces all orders, one on each line. Their counts start at zero.
    pub fn order(&self, orders: &str) {
        static VERSION: AtomicU64 = AtomicU64::new(0);
        let version = VERSION.fetch_add(1, Ordering::Relaxed);
        let draft = self.directory.join(format!("draft.{version}"));
        fs::write(&draft, format!("# {version}\n{orders}\n")).unwrap();
        fs::rename(draft, self.directory.join("orders")).unwrap();
    }

    /// The functions that were called since the trace was cleared, in order.
    pub fn trace(&self) -> Vec<String> {
        let trace = fs::read_to_string(self.directory.join("trace")).unwrap_or_default();
        let begun = trace.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        begun.filter(|words| words.len() == 4).map(|words| words[3].to_owned()).collect()
    }

    /// The calls that have returned since then, in order: process, function and code.
    pub fn returned(&self) -> Vec<(u32, String, String)> {
        let trace = fs::read_to_string(self.directory.join("trace")).unwrap_or_default();
        let lines = trace.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let returned = lines.filter(|words| words.len() == 6);
        returned
            .map(|words| (words[1].parse().unwrap(), words[3].to_owned(), words[4].to_owned()))
            .collect()
    }

    /// How often a function was called since then.
    pub fn calls(&self, function: &str) -> usize {
        self.trace().iter().filter(|called| *called == function).count()
    }

    /// Clears the trace.
    pub fn forget(&self) {
        fs::write(self.directory.join("trace"), "").unwrap();
    }
}
