//! An appliance after years: a token with many keys, a ledger with many certificates.

use std::{
    fs::File,
    ops::Range,
    process::Command,
    time::{Duration, Instant},
};

use cryptoki::{mechanism::Mechanism, object::Attribute};
use rusqlite::{Connection, params};

use crate::{SERVICE, appliance::Appliance, client::Client, raw};

/// The argument that makes this program a process that generates keys: `FROM TO PIN_FILE`.
pub const KEY_MAKER: &str = "raw-keys";
/// curveParams of P-256, an object identifier in DER.
const P256: [u8; 10] = [0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
/// Requests of the inventory, one after the other.
const LISTINGS: usize = 300;

/// Generates key pairs on the appliance's token.
pub fn generate_keys(appliance: &Appliance, numbers: Range<usize>) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args([KEY_MAKER, &numbers.start.to_string(), &numbers.end.to_string()])
        .arg(appliance.path("pin"))
        .env("SOFTHSM2_CONF", appliance.path("softhsm2.conf"))
        .status()
        .unwrap();
    assert!(status.success(), "a process that generates keys");
}

/// The life of that process.
pub fn run_key_maker(arguments: &[String]) {
    let numbers = arguments[0].parse().unwrap()..arguments[1].parse::<usize>().unwrap();
    let token = raw::RawToken::open(&arguments[2]);
    let session = token.pkcs11.open_rw_session(token.slot).unwrap();
    for number in numbers {
        let octets = [&number.to_be_bytes()[..], b"filler"].concat();
        let named = |is_private| {
            vec![
                Attribute::Token(true),
                Attribute::Private(is_private),
                Attribute::Label(format!("filler-{number}").into_bytes()),
                Attribute::Id(octets.clone()),
            ]
        };
        let public =
            [named(false), vec![Attribute::EcParams(P256.to_vec()), Attribute::Verify(true)]];
        let private = [named(true), vec![Attribute::Sensitive(true), Attribute::Sign(true)]];
        session
            .generate_key_pair(&Mechanism::EccKeyPairGen, &public.concat(), &private.concat())
            .unwrap();
    }
}

/// Adds copies of the newest certificate to the ledger of a daemon that does not run: each with a
/// serial number, an intent and two audit entries of its own.
pub fn fill_ledger(appliance: &Appliance, certificates: usize) {
    let ledger = appliance.path("ledger.sqlite");
    let mut connection = Connection::open(&ledger).unwrap();
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    connection.pragma_update(None, "cache_size", -512_000).unwrap();
    let columns: String = connection
        .prepare(
            "SELECT name FROM pragma_table_info('certificates') WHERE name NOT IN
                  ('audit_index', 'intent', 'serial', 'sha256')",
        )
        .unwrap()
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap()
        .map(|name| format!(", {}", name.unwrap()))
        .collect();
    let max = |table, column| {
        let statement = format!("SELECT MAX({column}) FROM {table}");
        connection.query_row(&statement, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let (audit, intent, model) =
        (max("audit_entries", "idx"), max("intents", "id"), max("certificates", "audit_index"));
    let transaction = connection.transaction().unwrap();
    let mut entries = transaction
        .prepare("INSERT INTO audit_entries SELECT ?1, entry, leaf_hash FROM audit_entries WHERE idx = ?2")
        .unwrap();
    let mut intents = transaction
        .prepare(
            "INSERT INTO intents SELECT ?1, 'issued', ?2, purpose, service, tbs_sha256, issuer_key_path,
                 subject_key_path, dev_key, client, request_id, created_at
             FROM intents WHERE id = ?3",
        )
        .unwrap();
    let mut rows = transaction
        .prepare(&format!(
            "INSERT INTO certificates (audit_index, intent, serial, sha256{columns})
             SELECT ?1, ?2, ?3, randomblob(32){columns} FROM certificates WHERE audit_index = ?4"
        ))
        .unwrap();
    for number in 1..=i64::try_from(certificates).unwrap() {
        let serial: [u8; 16] = random_serial();
        let index = audit + 2 * number;
        entries.execute([index - 1, model]).unwrap();
        entries.execute([index, model]).unwrap();
        intents.execute(params![intent + number, serial, intent]).unwrap();
        rows.execute(params![index, intent + number, serial, model]).unwrap();
    }
    drop((entries, intents, rows));
    transaction.commit().unwrap();
    connection.close().unwrap();
    // It is on the disk for years: its gigabytes are not to be written while something is measured.
    File::open(ledger).unwrap().sync_all().unwrap();
}

fn random_serial() -> [u8; 16] {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).unwrap();
    serial[0] = serial[0] & 0x3F | 0x40;
    serial
}

/// The median time of a page of the inventory: the newest, and the newest of a client.
pub fn listing(client: &Client) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = client.connect().await.unwrap();
        let mut times = Vec::new();
        for number in 0..LISTINGS {
            let filter = if number % 2 == 0 { "" } else { "&issuedBy=demo" };
            let request = format!(
                "GET {SERVICE}/certificates?limit=20{filter} HTTP/1.1\r\nhost: localhost\r\n\r\n"
            );
            let begin = Instant::now();
            let (status, body) = connection.exchange(request.as_bytes()).await.unwrap();
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        times[LISTINGS / 2]
    })
}
