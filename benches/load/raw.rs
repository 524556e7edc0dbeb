//! What everything is measured against: the token alone, the disk alone, a verification alone.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use chancery::domain::key::{KeyType, PublicKey, Signature};
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    mechanism::Mechanism,
    object::{Attribute, ObjectClass},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};

use crate::appliance::{Appliance, cpu_of};

/// The argument that makes this program a process that does nothing but sign.
pub const SIGNER: &str = "raw-signer";
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const TOKEN: &str = "chancery-dev";
const KMS: &str = "test.tenant1.kms1";
/// The key that everything is measured against.
pub const P256: &str = "secp256r1";

/// Rate, CPU time and duration of single operations.
#[derive(Clone, Copy)]
pub struct Raw {
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// Zero where it was not measured.
    pub cpu: Duration,
}

impl Raw {
    fn of(mut times: Vec<Duration>, took: Duration, cpu: Duration) -> Self {
        times.sort_unstable();
        let count = u32::try_from(times.len()).unwrap();
        Self {
            per_second: f64::from(count) / took.as_secs_f64(),
            p50: times[times.len() / 2],
            p99: times[times.len() * 99 / 100],
            cpu: cpu / count,
        }
    }

    pub fn mean(raws: &[Self]) -> Self {
        let count = u32::try_from(raws.len()).unwrap();
        Self {
            per_second: raws.iter().map(|raw| raw.per_second).sum::<f64>() / f64::from(count),
            p50: raws.iter().map(|raw| raw.p50).sum::<Duration>() / count,
            p99: raws.iter().map(|raw| raw.p99).sum::<Duration>() / count,
            cpu: raws.iter().map(|raw| raw.cpu).sum::<Duration>() / count,
        }
    }
}

/// `C_Sign` with a key on the appliance's token, by processes that do nothing else.
pub fn c_sign(
    appliance: &Appliance,
    key: &str,
    processes: usize,
    threads: usize,
    seconds: u64,
) -> Raw {
    // One after the other: SoftHSM may not see a token that another process is just opening.
    let mut children: Vec<_> =
        (0..processes).map(|_| RawSigner::start(appliance, key, threads, seconds)).collect();
    // All are logged in and hold their handles: now they begin together.
    for child in &mut children {
        child.process.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
    let raws: Vec<Raw> = children.into_iter().map(RawSigner::end).collect();
    Raw { per_second: raws.iter().map(|raw| raw.per_second).sum(), ..Raw::mean(&raws) }
}

struct RawSigner {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl RawSigner {
    fn start(appliance: &Appliance, key: &str, threads: usize, seconds: u64) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([SIGNER, key, &threads.to_string(), &seconds.to_string()])
            .arg(appliance.path("pin"))
            .env("SOFTHSM2_CONF", appliance.path("softhsm2.conf"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut started = Self { process, output };
        assert_eq!(started.line(), "ready", "a process that signs");
        started
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn end(mut self) -> Raw {
        let line = self.line();
        assert!(self.process.wait().unwrap().success());
        let numbers: Vec<u64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        let [per_second, p50, p99, cpu] = numbers[..] else { panic!("{line}") };
        let nanos = Duration::from_nanos;
        Raw {
            per_second: f64::from(u32::try_from(per_second).unwrap()),
            p50: nanos(p50),
            p99: nanos(p99),
            cpu: nanos(cpu),
        }
    }
}

/// The appliance's token, logged in.
pub struct RawToken {
    pub pkcs11: Pkcs11,
    pub slot: Slot,
    /// Holds the login.
    keeper: Session,
}

impl RawToken {
    pub fn open(pin_file: &str) -> Self {
        let pin = fs::read_to_string(pin_file).unwrap();
        let pkcs11 = Pkcs11::new(MODULE).unwrap();
        pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        let slot = pkcs11
            .get_slots_with_token()
            .unwrap()
            .into_iter()
            .find(|slot| pkcs11.get_token_info(*slot).is_ok_and(|info| info.label() == TOKEN))
            .expect("the token");
        let keeper = pkcs11.open_ro_session(slot).unwrap();
        let pin = AuthPin::new(pin.trim_end().to_owned().into_boxed_str());
        keeper.login(UserType::User, Some(&pin)).unwrap();
        Self { pkcs11, slot, keeper }
    }
}

/// The life of a process that signs: `KEY THREADS SECONDS PIN_FILE`.
pub fn run_signer(arguments: &[String]) {
    let label = format!("{KMS}.{}", arguments[0]);
    let is_rsa = arguments[0].starts_with("rsa");
    let threads: usize = arguments[1].parse().unwrap();
    let duration = Duration::from_secs(arguments[2].parse().unwrap());
    let RawToken { pkcs11, slot, keeper } = RawToken::open(&arguments[3]);
    let wanted = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(label.into_bytes())];
    let key = keeper.find_objects(&wanted).unwrap()[0];
    let barrier = Arc::new(Barrier::new(threads + 1));
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let session = pkcs11.open_ro_session(slot).unwrap();
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                // As long as the digest, or the DigestInfo (RFC 8017, 9.2), of SHA-256.
                let (mechanism, octets): (_, &[u8]) = match is_rsa {
                    true => (Mechanism::RsaPkcs, &[7; 51]),
                    false => (Mechanism::Ecdsa, &[7; 32]),
                };
                let sign = || session.sign(&mechanism, key, octets).unwrap();
                (0..200).for_each(|_| drop(sign()));
                barrier.wait();
                barrier.wait();
                times(duration, || drop(sign()))
            })
        })
        .collect();
    barrier.wait();
    println!("ready");
    std::io::stdin().lines().next().unwrap().unwrap();
    let (cpu, started) = (cpu_of("self"), Instant::now());
    barrier.wait();
    let times: Vec<Duration> =
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    let raw = Raw::of(times, started.elapsed(), cpu_of("self") - cpu);
    println!(
        "{:.0} {} {} {}",
        raw.per_second,
        raw.p50.as_nanos(),
        raw.p99.as_nanos(),
        raw.cpu.as_nanos()
    );
}

/// One small transaction after the other, each durable before the next begins, beside the ledger.
pub fn durable_commit(appliance: &Appliance, seconds: u64) -> Raw {
    let path = appliance.path("commit.sqlite");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, octets BLOB)").unwrap();
    let mut insert = connection.prepare("INSERT INTO t (octets) VALUES (?1)").unwrap();
    measure(seconds, || assert_eq!(insert.execute([[7_u8; 1_000]]), Ok(1)))
}

/// The verification that follows each signature.
pub fn verification(seconds: u64) -> Raw {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let key = PublicKey::from_ec_point(KeyType::P256, pair.public_key().as_ref()).unwrap();
    let message = [7; 600];
    let signature = pair.sign(&SystemRandom::new(), &message).unwrap();
    let signature = Signature::from_x509_octets(signature.as_ref().to_vec());
    measure(seconds, || assert!(key.verifies(&message, &signature)))
}

fn measure(seconds: u64, work: impl FnMut()) -> Raw {
    let (cpu, started) = (cpu_of("self"), Instant::now());
    let times = times(Duration::from_secs(seconds), work);
    Raw::of(times, started.elapsed(), cpu_of("self") - cpu)
}

fn times(duration: Duration, mut work: impl FnMut()) -> Vec<Duration> {
    let started = Instant::now();
    let mut times = Vec::new();
    while started.elapsed() < duration {
        let begin = Instant::now();
        work();
        times.push(begin.elapsed());
    }
    times
}
