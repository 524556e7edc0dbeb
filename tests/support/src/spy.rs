//! Records what the token is asked, with OpenSC's pkcs11-spy between the signers and SoftHSM.

use std::{collections::BTreeSet, fs, path::PathBuf};

use crate::appliance::{Appliance, key_label};

const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// The log of the spy.
pub struct Spy {
    notes: PathBuf,
}

impl Spy {
    /// Puts the spy between signers and token. It configures one signer with one session, because the lines of several
    /// threads would mix. Canary signatures are made with a P-384 key, so that every SHA-256 digest belongs to a
    /// request.
    pub fn on(appliance: &Appliance) -> Self {
        let notes = appliance.path("spy.log");
        fs::write(&notes, "").unwrap();
        appliance.configure_token(&format!(
            "module = {:?}\n\
             environment = {{ PKCS11SPY = {SOFTHSM:?}, PKCS11SPY_OUTPUT = {:?} }}\n\
             canary_seconds = 3600\n\
             canary_label = {:?}\n\
             processes = 1\n\
             sessions = 1\n\
             sandbox = {{ write = [{:?}] }}",
            spy_module().display().to_string(),
            notes.display().to_string(),
            key_label("iaca-secp384r1"),
            notes.display().to_string(),
        ));
        Self { notes }
    }

    /// The SHA-256 digests that were to be signed, without those of test signatures before the first use of a key, which
    /// the daemon's log names.
    pub fn digests(&self) -> BTreeSet<[u8; 32]> {
        let notes = self.notes();
        let mut lines = notes.lines();
        let mut digests = BTreeSet::new();
        while let Some(line) = lines.next() {
            if line.starts_with("[in] pData[ulDataLen]") && line.ends_with("/ 32") {
                let octets: Vec<u8> = lines.by_ref().take(2).flat_map(dumped).collect();
                let digest = octets.try_into();
                digests.insert(digest.unwrap_or_else(|_| panic!("the spy's notes: {line}")));
            }
        }
        let proofs = self.proofs();
        digests.retain(|digest| !proofs.contains(digest));
        digests
    }

    fn proofs(&self) -> BTreeSet<[u8; 32]> {
        let directory = self.notes.parent().unwrap();
        let files = fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path());
        let logs = files.filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log."))
        });
        let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let mut proofs = BTreeSet::new();
        for line in logs.map(text).collect::<Vec<_>>().iter().flat_map(|text| text.lines()) {
            if line.contains("a key is to prove itself")
                && let Some((_, digest)) = line.split_once("digest=")
            {
                let digest: String =
                    digest.chars().filter(char::is_ascii_hexdigit).take(64).collect();
                let octets = data_encoding::HEXLOWER.decode(digest.as_bytes()).unwrap();
                proofs.extend(<[u8; 32]>::try_from(octets));
            }
        }
        proofs
    }

    fn notes(&self) -> String {
        fs::read(&self.notes)
            .map(|octets| String::from_utf8_lossy(&octets).into_owned())
            .unwrap_or_default()
    }
}

/// The bytes of a line such as `    00000010  98 DA  ..`.
fn dumped(line: &str) -> Vec<u8> {
    line.split_whitespace()
        .skip(1)
        .take(16)
        .filter_map(|word| u8::from_str_radix(word, 16).ok().filter(|_| word.len() == 2))
        .collect()
}

fn spy_module() -> PathBuf {
    let places = fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    places
        .map(|place| place.join("pkcs11-spy.so"))
        .find(|module| module.exists())
        .expect("these tests need pkcs11-spy: apt-get install opensc-pkcs11")
}
