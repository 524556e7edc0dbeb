//! An appliance under load, with its token behind the module that fails on order.

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    appliance::{Appliance, Daemon, SOON, key_label, signal, until},
    chaos::Chaos,
    evidence::assert_sound,
    load::{Load, Told, assert_clean},
    network::Server,
    outage::{ANSWER_WITHIN, appliance, assert_ledger_knows, refusals, wait_for_signers},
};

/// The key that the load signs with.
pub const KEY: &str = "leaf-secp256r1";
/// An outage fails if service is not back after this time: `BACK_WITHIN` and an allowance for a busy machine.
const BACK_AT_LAST: Duration = Duration::from_secs(15);
const CLIENTS: usize = 4;
/// Descriptors that the daemon may have open in addition to those at rest: connections to its ledger.
const DESCRIPTORS_MORE: usize = 4;
const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Which clients may be told 503.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// None.
    Nobody,
    /// Any.
    Anybody,
    /// At least one, else it was no outage.
    Somebody,
}

/// How an outage ended.
pub enum End {
    /// The HSM was back at that moment. Recovery is the time until a request that was sent after it is
    /// served.
    Mended(Instant),
    /// The HSM was not away. Recovery is the longest time since then in which no request was served.
    Healed { since: Instant },
}

/// An outage, and what it may cost clients.
pub struct Outage {
    pub name: &'static str,
    refused: Refused,
    bed: fn(&Appliance) -> Bed,
    /// Additional settings of the token.
    settings: &'static str,
    /// Creates the program that is started in place of the daemon.
    program: Option<fn(&Appliance) -> PathBuf>,
    /// Whether a certificate may be recorded whose client was told 503.
    late_records: bool,
    /// Causes the outage, waits for its effect, and ends it.
    act: Box<dyn Fn(&mut Scene) -> End + Send + Sync>,
}

/// The real module behind the one that fails on order.
pub struct Bed {
    pub module: &'static str,
    pub environment: Vec<(String, String)>,
    pub server: Option<Server>,
}

/// What was observed.
pub struct Seen {
    pub served: usize,
    pub refused: usize,
    pub slowest: Duration,
    pub recovery: Duration,
}

/// An outage with SoftHSM.
pub fn outage(
    name: &'static str,
    refused: Refused,
    act: impl Fn(&mut Scene) -> End + Send + Sync + 'static,
) -> Outage {
    let bed = |_: &Appliance| Bed { module: SOFTHSM, environment: Vec::new(), server: None };
    let act = Box::new(act);
    Outage { name, refused, bed, settings: "", program: None, late_records: false, act }
}

impl Outage {
    /// With another real module.
    pub fn of(self, bed: fn(&Appliance) -> Bed) -> Self {
        Self { bed, ..self }
    }

    /// With additional settings of the token, one per line.
    pub fn with(self, settings: &'static str) -> Self {
        Self { settings, ..self }
    }

    /// With a daemon that is started by another program.
    pub fn started_by(self, program: fn(&Appliance) -> PathBuf) -> Self {
        Self { program: Some(program), ..self }
    }

    /// Allows records of certificates whose clients were told 503.
    pub fn with_late_records(self) -> Self {
        Self { late_records: true, ..self }
    }

    /// Runs the outage from beginning to end.
    pub fn run(&self) -> Seen {
        let mut scene = Scene::set(self);
        let end = (self.act)(&mut scene);
        if let End::Mended(back) = end {
            let served = || (scene.load().count_since(back, 200) > 0).then_some(());
            let served = until(BACK_AT_LAST, served);
            assert!(
                served.is_some(),
                "no service after {BACK_AT_LAST:?}\n{}",
                scene.daemon().log()
            );
        }
        scene.load().wait_for(200, 20, BACK_AT_LAST);
        wait_for_signers(scene.daemon(), &[]);
        let told = scene.end(self.late_records);
        let served = told.iter().filter(|told| told.is(200)).count();
        let refused = refusals(&told);
        match self.refused {
            Refused::Nobody => assert_eq!(refused, 0, "requests were refused"),
            Refused::Somebody => assert!(refused > 0, "nobody noticed"),
            Refused::Anybody => {}
        }
        let recovery = match end {
            End::Mended(back) => served_after(&told, back),
            End::Healed { since } => longest_pause(&told, since),
        };
        let slowest = told.iter().map(|told| told.took).max().unwrap();
        Seen { served, refused, slowest, recovery }
    }
}

/// How long after `back` a request was served that was sent after it.
fn served_after(told: &[Told], back: Instant) -> Duration {
    let served = told.iter().filter(|told| told.is(200) && told.sent >= back);
    served.map(|told| told.sent + told.took - back).min().unwrap()
}

/// The longest time in which no request was served.
fn longest_pause(told: &[Told], since: Instant) -> Duration {
    let served = told.iter().filter(|told| told.is(200)).map(|told| told.sent + told.took);
    let mut moments: Vec<_> = served.filter(|moment| *moment >= since).collect();
    moments.push(since);
    moments.sort_unstable();
    moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
}

/// See the module.
pub struct Scene {
    pub appliance: Appliance,
    pub chaos: Chaos,
    pub server: Option<Server>,
    daemon: Option<Daemon>,
    load: Option<Load>,
    told: Vec<Told>,
    /// Open descriptors of the daemon at rest.
    descriptors: usize,
}

/// The open descriptors of a process.
fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

impl Scene {
    fn set(outage: &Outage) -> Self {
        let Outage { bed, settings, program, .. } = outage;
        let appliance = appliance();
        let chaos = Chaos::new(appliance.path("chaos"));
        let Bed { module, environment, server } = bed(&appliance);
        let ours = chaos.environment(module);
        let environment: Vec<_> = environment
            .iter()
            .chain(&ours)
            .map(|(name, value)| format!("{name} = {value:?}"))
            .collect();
        // A link, which can be made to point to something else.
        let link = appliance.path("module.so");
        symlink(Chaos::module(), &link).unwrap();
        // Canaries are made with a P-384 key, so that orders can leave them out.
        appliance.configure_token(&format!(
            "module = {:?}\n\
             environment = {{ {} }}\n\
             canary_label = {:?}\n\
             start_deadline_ms = 4000\n\
             generate_deadline_ms = 6000\n\
             {settings}",
            link.display().to_string(),
            environment.join(", "),
            key_label("iaca-secp384r1"),
        ));
        let daemon = match program {
            Some(program) => appliance.start_program(&program(&appliance)),
            None => appliance.start(),
        };
        wait_for_signers(&daemon, &[]);
        let descriptors = descriptors(daemon.pid());
        let load = Load::of_leaves(&appliance, &daemon, CLIENTS);
        load.wait_for(200, 20, SOON);
        let (daemon, load) = (Some(daemon), Some(load));
        Self { appliance, chaos, server, daemon, load, told: Vec::new(), descriptors }
    }

    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    pub fn load(&self) -> &Load {
        self.load.as_ref().unwrap()
    }

    /// Stops the daemon as an operator does.
    pub fn stop(&mut self) {
        self.told.extend(self.load.take().unwrap().stop());
        self.daemon.take().unwrap().stop();
    }

    /// Starts it again, under load from the first moment.
    pub fn start(&mut self) {
        let daemon = self.appliance.start();
        self.load = Some(Load::of_leaves(&self.appliance, &daemon, CLIENTS));
        self.daemon = Some(daemon);
    }

    /// `kill -9`.
    pub fn kill_signers(&self) {
        for pid in self.daemon().signers() {
            signal(pid, "KILL");
        }
    }

    /// Waits until clients are told 503.
    pub fn wait_until_refused(&self) {
        self.load().wait_for(503, 5, SOON);
    }

    /// Waits until the daemon has logged this.
    pub fn wait_for_log(&self, words: &str) {
        let said = until(SOON, || self.daemon().log().contains(words).then_some(()));
        assert!(said.is_some(), "'{words}' is not in the log:\n{}", self.daemon().log());
    }

    /// Removes all orders: the HSM is back.
    pub fn mend(&self) -> End {
        self.chaos.order("");
        End::Mended(Instant::now())
    }

    /// Checks the end: clients were told what they may be told, the ledger has exactly what they hold, and
    /// the daemon has no more descriptors open than before. The daemon is the one that was started last.
    fn end(mut self, late_records: bool) -> Vec<Told> {
        self.told.extend(self.load.take().unwrap().stop());
        let held = assert_clean(&self.told, ANSWER_WITHIN);
        if !late_records {
            assert_ledger_knows(&self.appliance, &held);
        }
        let daemon = self.daemon.take().unwrap();
        daemon.wait_for_token("ok");
        let left = || descriptors(daemon.pid());
        let flat = until(SOON, || (left() <= self.descriptors + DESCRIPTORS_MORE).then_some(()));
        assert!(flat.is_some(), "{} descriptors, of {} at rest", left(), self.descriptors);
        daemon.stop();
        assert_sound(&self.appliance, &held, None);
        self.told
    }
}
