//! A provisioned appliance, the daemon on it, and a client of that daemon.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use ureq::{
    Agent,
    http::Response,
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig},
};

/// The service of the documented examples.
pub const SERVICE: &str = "test.tenant1.x509-service-1";
/// Its store.
pub const STORE: &str = "test.tenant1.x509-store-1";
/// Its KMS.
pub const KMS: &str = "test.tenant1.kms1";
/// What `/healthz` says of its token, which is not for service.
pub const SOFTHSM_WARNING: &str =
    "token softhsm is SoftHSM: keys are files, there is no certified boundary";
/// How long anything may take that should happen at once.
pub const SOON: Duration = Duration::from_secs(20);
/// How long a start is waited for that may never end.
const SETTLED_WITHIN: Duration = Duration::from_secs(3);

/// Where a module looks for its configuration, the file in the appliance, its setting that says where keys
/// are, and where they are in the appliance.
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
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy(template(), directory.path());
        let appliance = Self { directory };
        // Whatever stands there: the template may have been copied from elsewhere, and nothing but this
        // copy may be written to.
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
        Daemon::start(self, Path::new(BINARY), arguments)
    }

    /// Starts another file than the one that was built.
    pub fn start_program(&self, program: &Path) -> Daemon {
        Daemon::start(self, program, &[])
    }

    /// Runs `chancery` to its end.
    pub fn run(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(BINARY).args(arguments).output().unwrap()
    }

    /// Runs a command in the appliance's directory, with its token; it must succeed.
    pub fn shell(&self, script: &str) -> String {
        self.try_shell(script).unwrap_or_else(|said| panic!("{said}"))
    }

    /// The same; the script and all that it said when it has failed.
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

    /// Makes a key pair on the token with another tool than ours.
    pub fn generate_key(&self, label: &str, id: &str, key_type: &str) {
        self.pkcs11_tool(&format!(
            "--keypairgen --key-type {key_type} --label {label} --id {id} --usage-sign"
        ));
    }

    /// Runs `pkcs11-tool` on the token, logged in. SoftHSM has moments without any token while
    /// another process logs in; nothing was done then, and it is run again.
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
    /// It is one of a client unless the options bring extensions of their own.
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

    /// The ledger, as another process sees it.
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

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_chancery");

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    /// Signers that it has when all are up.
    processes: usize,
    log: PathBuf,
    /// `https://host:port`.
    pub url: String,
    /// Where the API listens.
    pub api: SocketAddr,
    /// `http://host:port`.
    pub operations: String,
    /// `http://host:port` of what everyone may fetch.
    pub distribution: String,
    /// The client of the provisioned certificate.
    pub client: Client,
}

impl Daemon {
    fn start(appliance: &Appliance, program: &Path, arguments: &[&str]) -> Self {
        let log = appliance.path(&format!("log.{}", rand_suffix()));
        let mut child = Command::new(program)
            .args(["serve", "--config"])
            .arg(appliance.config())
            .args(arguments)
            .stderr(fs::File::create(&log).unwrap())
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let addresses = until(SOON, || {
            let text = fs::read_to_string(&log).unwrap();
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the daemon ended with {status}:\n{text}");
            }
            let line = text.lines().find(|line| line.contains(" serving api="))?;
            let word = |key: &str| {
                let rest = line.split_once(key)?.1;
                Some(rest.split(' ').next()?.trim_matches('"').to_owned())
            };
            let or_none = |key: &str| word(key).unwrap_or_default();
            Some((word("api=")?, or_none("operations="), or_none("distribution=")))
        });
        let (api, operations, distribution) = addresses.expect("the daemon did not start in time");
        let url = format!("https://{api}");
        let client = Client::new(&appliance.path("pki"), &appliance.path("pki/client"), &url);
        let config = fs::read_to_string(appliance.config()).unwrap();
        let processes = config.lines().filter_map(|line| line.strip_prefix("processes = "));
        let daemon = Self {
            child,
            processes: processes.map(|number| number.parse::<usize>().unwrap()).sum(),
            log,
            url,
            api: api.parse().unwrap(),
            operations: format!("http://{operations}"),
            distribution: format!("http://{distribution}"),
            client,
        };
        daemon.settle();
        daemon
    }

    /// A client with another certificate.
    pub fn client_with(&self, appliance: &Appliance, certificate: &Path) -> Client {
        self.connector(appliance, certificate)()
    }

    /// Makes such clients one after the other, wherever it is taken.
    pub fn connector(
        &self,
        appliance: &Appliance,
        certificate: &Path,
    ) -> impl Fn() -> Client + use<> {
        let (pki, certificate) = (appliance.path("pki"), certificate.to_owned());
        let url = self.url.clone();
        move || Client::new(&pki, &certificate, &url)
    }

    /// Waits until `/readyz` says so.
    pub fn wait_until_ready(&self) {
        let ready = until(SOON, || {
            let status = ureq::get(format!("{}/readyz", self.operations)).call().ok()?.status();
            (status == 200).then_some(())
        });
        ready.unwrap_or_else(|| panic!("not ready:\n{}", self.log()));
    }

    /// Has these keys sign once: a key that has not signed yet proves itself before it is used, and a
    /// test that freezes signers is to hold back the signature itself.
    pub fn prove(&self, keys: &[&str]) {
        for name in keys {
            let listed = self.client.get(&format!("/v1/{KMS}.{name}/kms-service-api/keys")).ok();
            assert!(listed.json.to_string().contains(name), "{}", listed.json);
        }
    }

    /// Status and checks of `/readyz`.
    pub fn readiness(&self) -> (u16, Value) {
        let agent = Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut answer = agent.get(format!("{}/readyz", self.operations)).call().unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        let mut json: Value = serde_json::from_str(&text).unwrap();
        (answer.status().as_u16(), json["checks"].take())
    }

    /// Waits until `/readyz` says `word` of the token.
    #[track_caller]
    pub fn wait_for_token(&self, word: &str) {
        let said = until(SOON, || (self.readiness().1["token:softhsm"] == word).then_some(()));
        assert!(said.is_some(), "/readyz: {:?}, not {word}\n{}", self.readiness(), self.log());
    }

    /// The process id of the front.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process ids of its signers.
    pub fn signers(&self) -> Vec<u32> {
        children_of(self.pid())
    }

    /// The process ids of its signers when no other is being started. SoftHSM writes its token anew
    /// at each login, in place: one that is frozen or killed meanwhile leaves a token that is none.
    pub fn settled_signers(&self) -> Vec<u32> {
        let settled = until(SOON, || settled_signers(self.pid(), self.processes));
        settled.unwrap_or_else(|| panic!("not all signers are up:\n{}", self.log()))
    }

    /// Waits for its signers, unless there is a token that lets none in: a key that is made, or read,
    /// while another signer logs in may meet a token of SoftHSM that is just being written.
    fn settle(&self) {
        let fails = || self.log().contains(" no signer token=").then_some(());
        until(SETTLED_WITHIN, || {
            settled_signers(self.pid(), self.processes).map(|_signers| ()).or_else(fails)
        });
    }

    /// Everything that was logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; it must end by itself, in order.
    pub fn stop(mut self) {
        signal(self.pid(), "TERM");
        let status = until(SOON, || self.child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| panic!("did not stop:\n{}", self.log()));
        assert!(status.success(), "{status}\n{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The signers of a daemon, stopped where they stand: an HSM that does not answer.
pub struct Frozen(Vec<u32>);

impl Frozen {
    /// Stops them.
    pub fn signers_of(daemon: &Daemon) -> Self {
        Self::these(daemon.settled_signers())
    }

    /// Stops some of them.
    pub fn these(signers: Vec<u32>) -> Self {
        assert!(!signers.is_empty());
        for pid in &signers {
            signal(*pid, "STOP");
        }
        Self(signers)
    }

    /// Their process ids.
    pub fn pids(&self) -> &[u32] {
        &self.0
    }

    /// Lets them go on.
    pub fn thaw(mut self) {
        for pid in self.0.drain(..) {
            signal(pid, "CONT");
        }
    }
}

impl Drop for Frozen {
    /// Stopped processes do not notice that their front is gone.
    fn drop(&mut self) {
        let read = |pid: &u32, file: &str| {
            fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
        };
        for pid in &self.0 {
            let is_ours = read(pid, "cmdline").ends_with("\0signer\0");
            if is_ours && read(pid, "stat").contains(") T ") {
                signal(*pid, "KILL");
            }
        }
    }
}

/// A client over mutual TLS, with keep-alive.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    url: String,
}

impl Client {
    fn new(pki: &Path, certificate: &Path, url: &str) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let read = |path: PathBuf| fs::read(path).unwrap();
        let chain = Certificate::from_pem(&read(certificate.with_extension("pem"))).unwrap();
        let key = PrivateKey::from_pem(&read(certificate.with_extension("key"))).unwrap();
        let ca = Certificate::from_pem(&read(pki.join("server-ca.pem"))).unwrap();
        let tls = TlsConfig::builder()
            .client_cert(Some(ClientCert::new_with_certs(&[chain.to_owned()], key)))
            .root_certs(RootCerts::Specific(Arc::new(vec![ca.to_owned()])))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        Self { agent, url: url.to_owned() }
    }

    /// POSTs JSON to a route of the service of the examples.
    pub fn issue(&self, route: &str, body: &Value) -> Answer {
        self.post(&format!("/v1/{SERVICE}/x509-service-api/{route}"), &body.to_string())
    }

    /// The same to a daemon that may be gone.
    pub fn try_issue(&self, route: &str, body: &Value) -> Result<Answer, ureq::Error> {
        self.try_post(&format!("/v1/{SERVICE}/x509-service-api/{route}"), &body.to_string())
    }

    /// POSTs JSON text.
    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.try_post(path, body).unwrap()
    }

    /// POSTs JSON text to a daemon that may be gone.
    pub fn try_post(&self, path: &str, body: &str) -> Result<Answer, ureq::Error> {
        self.send("POST", path, &[("content-type", "application/json")], body)
    }

    /// GETs a path.
    pub fn get(&self, path: &str) -> Answer {
        let request = ureq::http::Request::get(format!("{}{path}", self.url)).body(()).unwrap();
        Answer::read(self.agent.run(request).unwrap()).unwrap()
    }

    /// Any request.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Result<Answer, ureq::Error> {
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.as_ref().to_vec()).unwrap();
        let config = self.agent.configure_request(request).allow_non_standard_methods(true);
        Answer::read(self.agent.run(config.build())?)
    }
}

/// Status, headers and JSON of an answer.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: ureq::http::HeaderMap,
    /// Body; `null` when empty.
    pub json: Value,
    /// Body as it came.
    pub text: String,
    /// The same, octet for octet.
    pub body: Vec<u8>,
}

impl Answer {
    fn read(mut response: Response<ureq::Body>) -> Result<Self, ureq::Error> {
        let body = response.body_mut().read_to_vec()?;
        Ok(Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            json: serde_json::from_slice(&body).unwrap_or(Value::Null),
            text: String::from_utf8_lossy(&body).into_owned(),
            body,
        })
    }

    /// The answer, which must be a 200.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.json);
        self
    }

    /// The certificate.
    #[track_caller]
    pub fn certificate(&self) -> &str {
        self.json["certificatePEM"].as_str().unwrap_or_else(|| panic!("{}", self.json))
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A documented request.
pub fn documented(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/requests").join(name);
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// A descriptor of a key of the KMS of the examples.
pub fn key(name: &str) -> Value {
    serde_json::json!({ "type": "kms-hosted-key-descriptor", "keyIdPath": format!("{KMS}.{name}") })
}

/// `CKA_LABEL` of a key of the KMS of the examples.
pub fn key_label(name: &str) -> String {
    format!("{KMS}.{name}")
}

/// A self-signed generic CA over a key, as other requests need one.
pub fn generic_ca(key_name: &str, common_name: &str) -> Value {
    serde_json::json!({
        "certificateData": {
            "subjectName": { "commonName": common_name, "country": "US" },
            "isCertificateAuthority": true,
            "keyUsage": ["KeyCertSign", "CRLSign"],
        },
        "subjectPublicKeySource": { "type": "key-descriptor", "keyDescriptor": key(key_name) },
        "issuer": { "type": "self-signed" },
    })
}

/// Asks until there is an answer or the time is over.
pub fn until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
}

/// The signers of a front when there are as many as it wants and all of them sign.
pub fn settled_signers(front: u32, wanted: usize) -> Option<Vec<u32>> {
    let is_up = |pid: &u32| {
        let threads = fs::read_dir(format!("/proc/{pid}/task"));
        threads.is_ok_and(|threads| {
            threads.flatten().any(|thread| {
                fs::read(thread.path().join("comm")).is_ok_and(|name| name == b"signing\n")
            })
        })
    };
    let signers = children_of(front);
    (signers.len() == wanted && signers.iter().all(is_up)).then_some(signers)
}

/// The processes that a process has started.
pub fn children_of(pid: u32) -> Vec<u32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|child| {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            // The name stands in parentheses and may hold anything.
            let after = stat.rsplit(')').next().unwrap_or_default();
            let fields: Vec<_> = after.split_whitespace().collect();
            fields.get(1) == Some(&pid.to_string().as_str()) && fields.first() != Some(&"Z")
        })
        .collect()
}

/// The module of the token.
fn module() -> String {
    let text = fs::read_to_string(template().join("chancery.toml")).unwrap();
    let module = text.lines().find_map(|line| line.strip_prefix("module = ")).unwrap();
    module.trim_matches('"').to_owned()
}

/// Provisioned once for all tests of a run; or where `CHANCERY_APPLIANCE` says, by `tests/modules.sh`,
/// which has done so with another module.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        if let Some(directory) = std::env::var_os("CHANCERY_APPLIANCE") {
            return directory.into();
        }
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("appliance");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("softhsm/demo.sh");
        // Two test programs may come here at the same time.
        let lock = fs::File::create(directory.with_extension("lock")).unwrap();
        lock.lock().unwrap();
        // What is there is kept; a configuration from before a change of ours would be, too.
        let made = directory.join("chancery.toml");
        let of = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/dev.toml");
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

fn rand_suffix() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
