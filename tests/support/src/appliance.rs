//! A provisioned appliance: token, TLS files and configuration.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tempfile::TempDir;

use crate::processes::{repository, scratch};
pub use crate::{
    client::{Answer, Client},
    daemon::{Daemon, Frozen},
    processes::{SOON, binary, children_of, settled_signers, signal, until},
    requests::{KMS, SERVICE, STORE, documented, generic_ca, key, key_label},
};

/// The warning in `/healthz` about its token.
pub const SOFTHSM_WARNING: &str =
    "token softhsm is SoftHSM: keys are files, there is no certified boundary";
/// For each module: the environment variable with its configuration file, the name of that file in the appliance,
/// the setting for the place of its keys, and that place in the appliance.
const MODULE_CONFIGURATIONS: [(&str, &str, &str, &str); 2] = [
    ("SOFTHSM2_CONF", "softhsm2.conf", "directories.tokendir", "tokens"),
    ("KRYOPTIC_CONF", "kryoptic.conf", "dbargs", "db/token.sql"),
];

/// A token, TLS files and a configuration in a directory of their own.
pub struct Appliance {
    directory: TempDir,
}

impl Appliance {
    /// A copy of what `softhsm/demo.sh --provision` makes, listening on ports of the kernel's choice.
    #[expect(
        clippy::new_without_default,
        reason = "it makes files, which a default value does not"
    )]
    pub fn new() -> Self {
        Self::below(&env::temp_dir())
    }

    /// The same, in a directory below `parent`.
    pub fn below(parent: &Path) -> Self {
        let directory = tempfile::tempdir_in(parent).unwrap();
        copy(template(), directory.path());
        let appliance = Self { directory };
        // Replace any path, because the template may be a copy itself, and only this copy may be written to.
        for (_, file, setting, store) in MODULE_CONFIGURATIONS {
            let conf = appliance.path(file);
            let Ok(text) = fs::read_to_string(&conf) else { continue };
            let store = appliance.path(store).display().to_string();
            let moved = |line: &str| match line.split_once(" = ") {
                Some((name, value)) if name == setting && value.starts_with('"') => {
                    format!("{name} = {store:?}\n")
                }
                Some((name, _)) if name == setting => format!("{name} = {store}\n"),
                Some(_) | None => format!("{line}\n"),
            };
            fs::write(&conf, text.lines().map(moved).collect::<String>()).unwrap();
            assert!(fs::read_to_string(&conf).unwrap().contains(&store), "{}", conf.display());
        }
        appliance.configure(|text| {
            text.lines()
                .map(|line| match line.starts_with("listen = ") {
                    true => "listen = \"127.0.0.1:0\"\n".to_owned(),
                    false => format!("{line}\n"),
                })
                .collect()
        });
        appliance
    }

    /// A file of the appliance.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path("chancery.toml")
    }

    /// Changes the configuration.
    pub fn configure(&self, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), change(text)).unwrap();
    }

    /// Adds to the configuration.
    pub fn declare(&self, toml: &str) {
        self.configure(|text| format!("{text}\n{toml}\n"));
    }

    /// Changes settings of the token: `name = value`, each on its line.
    pub fn configure_token(&self, settings: &str) {
        let names: Vec<_> =
            settings.lines().filter_map(|line| Some(line.split_once(" = ")?.0.trim())).collect();
        self.configure(|text| {
            let stays =
                |line: &&str| line.split_once(" = ").is_none_or(|(name, _)| !names.contains(&name));
            let text: Vec<_> = text.lines().filter(stays).collect();
            text.join("\n").replace("[[tokens]]", &format!("[[tokens]]\n{settings}"))
        });
    }

    /// Starts the daemon and waits until it serves.
    pub fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    /// Starts the daemon with more arguments.
    pub fn start_with(&self, arguments: &[&str]) -> Daemon {
        Daemon::start(self, Path::new(binary()), arguments).settled()
    }

    /// Starts another program than the one that was built.
    pub fn start_program(&self, program: &Path) -> Daemon {
        self.start_unsettled(program).settled()
    }

    /// The same, without waiting for the signers.
    pub fn start_unsettled(&self, program: &Path) -> Daemon {
        Daemon::start(self, program, &[])
    }

    /// Runs `chancery` to its end.
    pub fn run(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(binary()).args(arguments).output().unwrap()
    }

    /// Runs a command in the appliance's directory, with its token; it must succeed.
    pub fn shell(&self, script: &str) -> String {
        self.try_shell(script).unwrap_or_else(|said| panic!("{said}"))
    }

    /// The same; an error is the script and its output.
    fn try_shell(&self, script: &str) -> Result<String, String> {
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(self.directory.path())
            .envs(MODULE_CONFIGURATIONS.map(|(variable, file, ..)| (variable, self.path(file))))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(text) } else { Err(format!("{script}\n{text}{errors}")) }
    }

    /// Generates a key pair on the token, without the daemon.
    pub fn generate_key(&self, label: &str, id: &str, key_type: &str) {
        self.pkcs11_tool(&format!(
            "--keypairgen --key-type {key_type} --label {label} --id {id} --usage-sign"
        ));
    }

    /// Runs `pkcs11-tool` on the token, logged in. While another process logs in, SoftHSM may show no token for a
    /// moment; the tool has done nothing then, and is run again.
    pub fn pkcs11_tool(&self, arguments: &str) -> String {
        let script = format!(
            "PIN=$(cat pin) pkcs11-tool --module {} \
             --token-label chancery-dev --login --pin env:PIN {arguments}",
            module()
        );
        let ran = until(SOON, || match self.try_shell(&script) {
            Err(said) if said.contains("No slot with token") => None,
            ran => Some(ran),
        });
        ran.expect("SoftHSM has no token").unwrap_or_else(|said| panic!("{said}"))
    }

    /// Makes a client certificate and returns the paths of certificate and key, without suffix.
    /// It has extendedKeyUsage clientAuth, unless the options set extensions.
    pub fn client_certificate(&self, name: &str, subject: &str, options: &str) -> PathBuf {
        let extensions = match options.contains("-extfile") {
            true => "",
            false => "-extfile <(echo extendedKeyUsage=clientAuth)",
        };
        self.shell(&format!(
            "cd pki; openssl ecparam -name prime256v1 -genkey -noout -out {name}.key; \
             openssl req -new -key {name}.key -subj '{subject}' | openssl x509 -req \
             -CA client-ca.pem -CAkey client-ca.key -set_serial 0x$(openssl rand -hex 16) \
             {options} {extensions} -out {name}.pem"
        ));
        self.path("pki").join(name)
    }

    /// Adds a client with a certificate of its own.
    pub fn add_client(&self, name: &str, grants: &[(&str, &[&str])]) -> std::path::PathBuf {
        let certificate = self.client_certificate(name, &format!("/CN={name}"), "-days 2");
        let grants: Vec<_> = grants
            .iter()
            .map(|(path, permissions)| {
                format!("{{ path = {path:?}, permissions = {permissions:?} }}")
            })
            .collect();
        self.declare(&format!(
            "[[clients]]\nname = {name:?}\nsubject = \"CN={name}\"\ngrants = [{}]",
            grants.join(", ")
        ));
        certificate
    }

    /// What the daemon prints; it must refuse to start.
    pub fn refuses_to_start(&self) -> String {
        let limit = SOON.as_secs().to_string();
        let output = Command::new("timeout")
            .args([&limit, binary(), "serve", "--config"])
            .arg(self.config())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let ended = output.status.code();
        assert!(ended.is_some_and(|code| code != 0 && code != 124), "{ended:?}\n{said}");
        said
    }

    /// A connection to the ledger, as of another process.
    pub fn ledger(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.path("ledger.sqlite")).unwrap();
        connection.busy_timeout(SOON).unwrap();
        connection
    }

    /// The number of rows that a query counts.
    pub fn count(&self, query: &str) -> i64 {
        self.ledger().query_row(query, [], |row| row.get(0)).unwrap()
    }
}

/// The module of the token.
fn module() -> String {
    let text = fs::read_to_string(template().join("chancery.toml")).unwrap();
    let module = text.lines().find_map(|line| line.strip_prefix("module = ")).unwrap();
    module.trim_matches('"').to_owned()
}

/// The appliance that all others are copies of. It is provisioned once for all tests of a run, or is in the directory
/// `CHANCERY_APPLIANCE`, where `tests/modules.sh` has made one with another module.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        if let Some(directory) = env::var_os("CHANCERY_APPLIANCE") {
            return directory.into();
        }
        let directory = scratch().join("appliance");
        let script = repository("softhsm/demo.sh");
        // Two test programs may do this at the same time.
        let lock = fs::File::create(directory.with_extension("lock")).unwrap();
        lock.lock().unwrap();
        // The script keeps existing files, so remove a configuration that is older than its source.
        let made = directory.join("chancery.toml");
        let of = repository("config/dev.toml");
        let modified = |file: &Path| fs::metadata(file).and_then(|file| file.modified()).ok();
        if modified(&made) < modified(&of) && made.exists() {
            fs::remove_file(made).unwrap();
        }
        let output = Command::new(script).arg("--provision").arg(&directory).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        directory
    })
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-rT").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}
