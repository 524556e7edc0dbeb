//! An empty SoftHSM token.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Path of the PKCS#11 module.
pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// The user's PIN of each token.
pub const PIN: &str = "7391";

/// An instance of SoftHSM: directory, configuration, one token. Removed when dropped.
pub struct SoftHsm {
    /// Has all its files.
    pub directory: PathBuf,
}

impl SoftHsm {
    /// With an initialized token `test`; `name` tells its directory from those of other tests.
    pub fn new(name: &str) -> Self {
        assert!(
            Path::new(MODULE).exists(),
            "these tests need SoftHSM2 and OpenSC: apt-get install softhsm2 opensc"
        );
        let directory =
            std::env::temp_dir().join(format!("chancery-hsm-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(directory.join("tokens")).unwrap();
        let hsm = Self { directory };
        let tokens = hsm.tokens();
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        std::fs::write(hsm.conf(), text).unwrap();
        hsm.write_pin(PIN);
        hsm.init_token("test");
        hsm
    }

    /// Where SoftHSM has its tokens.
    pub fn tokens(&self) -> PathBuf {
        self.directory.join("tokens")
    }

    /// The configuration file of SoftHSM.
    pub fn conf(&self) -> PathBuf {
        self.directory.join("softhsm2.conf")
    }

    /// Writes the file that the daemon reads the PIN from.
    pub fn write_pin(&self, pin: &str) {
        std::fs::write(self.directory.join("pin"), format!("{pin}\n")).unwrap();
    }

    /// Initializes another token.
    pub fn init_token(&self, label: &str) {
        self.run(
            "softhsm2-util",
            &["--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", PIN],
        );
    }

    /// Runs a program that uses this SoftHSM; it must succeed.
    pub fn run(&self, tool: &str, arguments: &[&str]) {
        let output = Command::new(tool)
            .args(arguments)
            .env("SOFTHSM2_CONF", self.conf())
            .env("CHANCERY_TEST_PIN", PIN)
            .output()
            .unwrap_or_else(|error| panic!("{tool} is needed: {error}"));
        assert!(output.status.success(), "{tool} {arguments:?}: {output:?}");
    }

    /// Runs `pkcs11-tool` on the token `test`, logged in.
    pub fn tool(&self, arguments: &[&str]) {
        let common = [
            "--module",
            MODULE,
            "--token-label",
            "test",
            "--login",
            "--pin",
            "env:CHANCERY_TEST_PIN",
        ];
        self.run("pkcs11-tool", &[&common, arguments].concat());
    }

    /// Generates a key pair; `kind` as pkcs11-tool spells it: `EC:prime256v1`, `rsa:2048`.
    pub fn keygen(&self, label: &str, kind: &str, id: &str) {
        self.tool(&[
            "--keypairgen",
            "--key-type",
            kind,
            "--label",
            label,
            "--id",
            id,
            "--usage-sign",
        ]);
    }

    /// The signer processes with this configuration, without zombies.
    pub fn signers(&self) -> Vec<u32> {
        let marker = format!("SOFTHSM2_CONF={}\0", self.conf().display()).into_bytes();
        let contains =
            |environment: Vec<u8>| environment.windows(marker.len()).any(|window| window == marker);
        std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                std::fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| line.ends_with(b"\0signer\0"))
            })
            .filter(|pid| std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(contains))
            .collect()
    }
}

impl Drop for SoftHsm {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
