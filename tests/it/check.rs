//! `chancery check`, and the configuration files that come along.

use std::{fs, path::Path};

use crate::appliance::Appliance;

mod places;

fn check(appliance: &Appliance) -> (bool, String) {
    let config = appliance.config();
    let output = appliance.run(&["check", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.into_owned())
}

fn shipped(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    fs::read_to_string(file).unwrap()
}

/// The file for production, with what it refers to in the appliance's directory.
fn production(appliance: &Appliance) {
    let text = shipped("chancery.toml")
        .replace("/etc/chancery/tls/", "pki/")
        .replace("/etc/chancery/", "")
        .replace("/var/lib/chancery/", "")
        .replace("label = \"chancery\"", "label = \"chancery-dev\"")
        .replace("0.0.0.0:8443", "127.0.0.1:0")
        .replace("127.0.0.1:9443", "127.0.0.1:0")
        .replace("0.0.0.0:8080", "127.0.0.1:0");
    assert!(!text.contains("= \"/etc") && !text.contains("= \"/var"), "{text}");
    appliance.configure(|_| text);
}

#[test]
fn a_good_configuration_has_no_problems_and_every_key_signs() {
    let appliance = Appliance::new();
    let (good, text) = check(&appliance);
    assert!(good && text.contains("no problems"), "{text}");
    assert_eq!(text.matches(", signs").count(), 13, "{text}");
    assert!(text.contains("key test.tenant1.kms1.root-rsa4096: RSA-4096, signs"), "{text}");
    assert!(text.contains("token softhsm: SoftHSM v2 by SoftHSM project, with "), "{text}");
    assert!(text.contains("CKM_SHA256_RSA_PKCS_PSS (512 to 16384)"), "{text}");
}

/// Each line of the configuration below is wrong, and each is told.
#[test]
fn every_problem_is_reported_at_once() {
    let appliance = Appliance::new();
    appliance.configure(|_| {
        r#"
colour = "red"
[api]
listen = "127.0.0.1:0"
certificate = "pki/none.pem"
private_key = "credential:server-key"
client_ca = "pki/client-ca.pem"
client_crl = "pki/none.crl"
lissten = 1
[operations]
listen = "192.0.2.1:9443"
[ledger]
path = "ledger.sqlite"
[log]
format = "xml"
filter = "chancery=loud"
[limits]
connections_max = 0
[issuance]
described_iaca = "guess"
[[tokens]]
name = "a b"
module = "none.so"
label = "x"
pin_file = "no-pin"
user_type = "so"
module_arguments = "a\u0000b"
processes = 0
sign_deadline_ms = 1
canary_seconds = 100000
recycling = { memory_mb = 2000, descriptors = 3 }
[[tokens]]
name = "two"
module = "chancery.toml"
label = "x"
pin_file = "pin"
user_type = 0
environment_paths = { SOFTHSM2_CONF = "no.conf" }
[[tokens]]
name = "two"
module = "chancery.toml"
label = "x"
pin_file = "pin"
[[organisations]]
path = "audit"
[[organisations]]
path = "acme"
[[organisations]]
path = "other"
[[organisations]]
path = "acme.x"
[[tenants]]
path = "acme.dmv"
[[tenants]]
path = "acme.dmv"
[[tenants]]
path = "nowhere.dmv"
[[tenants]]
path = "acme.d v"
[[services]]
path = "acme.kms"
type = "kms"
token = "three"
label_template = "{tenant}"
labels = { "a.b" = "x" }
policies = { a = ["everything"] }
[[services]]
path = "acme.unclear"
type = "kms"
[[services]]
path = "other.certs"
type = "x509-store"
dependencies = ["acme.kms"]
token = "two"
[[services]]
path = "acme.wallet"
type = "wallet"
[[services]]
path = "acme.vical"
type = "vical-service"
signing_key = "acme.kms.vical"
signer_certificate = "other.certs.vical"
[[services]]
path = "acme.kms.below"
type = "x509-store"
[[services]]
path = "acme.x509"
type = "x509-service"
dependencies = ["acme.kms", "acme.kms", "other.certs", "acme.vical", "acme.none", "acme..x"]
[[clients]]
name = "nobody"
[[clients]]
name = "blank"
subject = " "
[[clients]]
name = "both"
subject = "CN=both"
certificate_sha256 = "00"
[[clients]]
name = "short"
certificate_sha256 = "0011"
[[clients]]
name = " "
subject = "CN=blank name"
[[clients]]
name = "registrar"
subject = "CN=registrar"
grants = [{ path = "acme..x", permissions = ["issue:everything"] }]
[[clients]]
name = "registrar"
subject = "CN=registrar"
color = 1
"#
        .to_owned()
    });
    let (good, text) = check(&appliance);
    assert!(!good);
    let mut untold = Vec::new();
    for words in [
        "unknown setting: colour",
        "unknown setting: api.lissten",
        "unknown setting: clients.6.color",
        "api.certificate: ",
        "credentials/server-key: No such file",
        "api.client_crl: ",
        "operations.listen: 192.0.2.1:9443 is not a loopback address",
        "log.format: 'xml' is not one of auto, text, json",
        "log.filter: ",
        "limits: connections_max and in_flight_max are at least 1",
        "issuance.described_iaca: 'guess' is not one of pin, registered-only",
        "tokens 'a b': a name holds only",
        "tokens 'a b': module: ",
        "tokens 'a b': pin_file: ",
        "tokens 'a b': module_arguments has a NUL",
        "tokens 'a b': user_type is 'so', not",
        "tokens 'two': user_type is 0, not 1 or 3 to",
        "tokens 'a b': processes is 0, not 1 to 64",
        "tokens 'a b': sign_deadline_ms is 1, not 100 to 600000",
        "tokens 'a b': canary_seconds is 100000, not 1 to 3600",
        "tokens 'a b': recycling.memory_mb is 2000, not 32 to 1024",
        "tokens 'a b': recycling.descriptors is 3, not 16 to 1024",
        "tokens 'two': environment_paths.SOFTHSM2_CONF: ",
        "tokens 'two': declared twice",
        "'audit' cannot be an organisation",
        "acme.x: organisations, and nothing else, have one element",
        "tenants: acme.dmv is declared twice",
        "nowhere.dmv: nowhere is not declared",
        "tenants: path 'acme.d v'",
        "services 'acme.kms': token 'three' is not configured",
        "services 'acme.kms': label template '{tenant}' needs {key}",
        "services 'acme.kms': key 'a.b'",
        "services 'acme.kms': policy 'everything' is not a profile",
        "services 'acme.unclear': token is required when several are configured",
        "services 'other.certs': an x509-store has no dependencies",
        "services 'other.certs': token, tokens, labels and policies are for a kms",
        "services 'acme.wallet': type 'wallet' is not offered",
        "acme.kms.below: acme.kms is a service, not a tenant",
        "services 'acme.x509': acme.kms is attached twice",
        "services 'acme.x509': other.certs belongs to another organisation",
        "services 'acme.x509': an x509-service cannot depend on a vical-service",
        "services 'acme.x509': dependency acme.none is not declared",
        "services 'acme.x509': path 'acme..x'",
        "clients 'nobody': give subject or certificate_sha256",
        "clients 'blank': a subject is not blank",
        "clients 'both': give subject or certificate_sha256",
        "clients 'short': certificate_sha256 has 64 hex digits",
        "clients ' ': a name is not blank",
        "clients 'registrar': 'issue:everything' is not a permission",
        "clients 'registrar': path 'acme..x'",
        "clients 'registrar': declared twice",
        "clients 'registrar': another client has the same certificate",
    ] {
        if !text.contains(words) {
            untold.push(words);
        }
    }
    assert!(untold.is_empty(), "untold:\n{}\n\ntold:\n{text}", untold.join("\n"));
    // And `serve` says the same instead of starting.
    let config = appliance.config();
    let output = appliance.run(&["serve", "--config", config.to_str().unwrap()]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("unknown setting: colour") && text.contains("acme.none"), "{text}");
}

#[test]
fn what_only_the_token_knows_is_reported_too() {
    let appliance = Appliance::new();
    appliance.generate_key("test.tenant1.kms1.twice", "0a", "EC:secp256r1");
    appliance.generate_key("test.tenant1.kms1.twice", "0b", "EC:secp256r1");
    appliance.configure(|text| {
        text.replacen("type = \"kms\"", "type = \"kms\"\nlabels = { gone = \"nothing\" }", 1)
    });
    fs::write(appliance.path("pki/server.key"), "no key").unwrap();
    let (good, text) = check(&appliance);
    assert!(!good, "{text}");
    for words in [
        "problem: api.private_key: ",
        "problem: key test.tenant1.kms1.gone: not on the token",
        "problem: key test.tenant1.kms1.twice: 2 private keys answer to its label",
        "key test.tenant1.kms1.secp256r1: P-256, signs",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    let pin = fs::read_to_string(appliance.path("pin")).unwrap();
    fs::write(appliance.path("pin"), "00000000").unwrap();
    let (good, text) = check(&appliance);
    assert!(!good && text.contains("problem: token softhsm: "), "{text}");
    fs::write(appliance.path("pin"), pin).unwrap();
    appliance.configure(|text| text.replace("label = \"chancery-dev\"", "label = \"unknown\""));
    let (good, text) = check(&appliance);
    assert!(!good && text.contains("problem: token softhsm: "), "{text}");
}

#[test]
fn a_file_that_is_no_toml_or_not_there_is_told() {
    let appliance = Appliance::new();
    appliance.configure(|_| "[api\n".to_owned());
    assert!(!check(&appliance).0);
    appliance.configure(|_| "[api]\nlisten = 7\n".to_owned());
    let (good, text) = check(&appliance);
    assert!(!good && text.contains("listen"), "{text}");
    fs::remove_file(appliance.config()).unwrap();
    let (good, text) = check(&appliance);
    assert!(!good && text.contains("chancery.toml"), "{text}");
}

#[test]
fn the_production_configuration_starts_where_its_files_are() {
    let appliance = Appliance::new();
    production(&appliance);
    let (good, text) = check(&appliance);
    assert!(good && text.contains("no problems"), "{text}");
    let registrar = appliance.client_certificate("registrar-1", "/CN=registrar-1", "-days 2");
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let client = daemon.client_with(&appliance, &registrar);
    let ids = client.get("/v1/acme.dmv.certs/x509-store-api/certificates/ids").ok();
    assert_eq!(ids.json, serde_json::json!([]));
    daemon.stop();
}

#[test]
fn every_setting_that_the_production_configuration_explains_is_known() {
    let appliance = Appliance::new();
    production(&appliance);
    let mut uncommented = 0;
    appliance.configure(|text| {
        text.lines()
            .map(|line| {
                let sentence = line.ends_with('.');
                let setting = line.strip_prefix("# ").filter(|_| !sentence).filter(|rest| {
                    rest.starts_with('[')
                        || rest.split_once(" = ").is_some_and(|(name, _)| {
                            name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
                        })
                });
                uncommented += usize::from(setting.is_some());
                format!("{}\n", setting.unwrap_or(line))
            })
            .collect()
    });
    assert!(uncommented >= 6, "{uncommented}");
    let (_, text) = check(&appliance);
    assert!(!text.contains("unknown setting") && !text.contains("TOML"), "{text}");
    // The CRL and the list of keys are not there, and of two ways one is chosen.
    let problems: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(problems.len(), 3, "{text}");
    assert!(problems[0].contains("api.client_crl"), "{text}");
    assert!(problems[1].contains("issuance.bad_keys"), "{text}");
    assert!(problems[2].contains("token and tokens exclude each other"), "{text}");
}

/// As the package has them: for root alone, and read by nobody who needs none.
#[test]
fn credentials_lie_beside_the_configuration_where_no_service_manager_gives_them() {
    let appliance = Appliance::new();
    appliance.configure(|text| {
        text.replace("\"pki/server.key\"", "\"credential:tls-key\"")
            .replace("\"pin\"", "\"credential:pin\"")
    });
    appliance
        .shell("mkdir credentials; mv pki/server.key credentials/tls-key; mv pin credentials/pin");
    let (good, text) = check(&appliance);
    assert!(good && text.contains(", signs"), "{text}");
    let daemon = appliance.start();
    daemon.wait_until_ready();
    daemon.stop();
    appliance.shell("mv credentials elsewhere");
    let (good, text) = check(&appliance);
    assert!(!good && text.contains("credentials/pin: No such file"), "{text}");
    let (config, backup) = (appliance.config(), appliance.path("backup"));
    let (config, backup) = (config.to_str().unwrap(), backup.to_str().unwrap());
    for command in [
        &["check", "--config-only", "--config", config][..],
        &["backup", backup, "--config", config],
    ] {
        let output = appliance.run(command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    appliance.declare("nonsense = 1");
    let output = appliance.run(&["check", "--config-only", "--config", config]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("unknown setting: "), "{text}");
}

#[test]
fn the_development_configuration_starts() {
    let appliance = Appliance::new();
    appliance.configure(|_| {
        shipped("dev.toml")
            .replace("../target/dev/", "")
            .replace("127.0.0.1:8443", "127.0.0.1:0")
            .replace("127.0.0.1:9443", "127.0.0.1:0")
            .replace("127.0.0.1:8080", "127.0.0.1:0")
    });
    let daemon = appliance.start_with(&["--dev"]);
    daemon.wait_until_ready();
    assert_eq!(daemon.client.get("/healthz").ok().json["dev"], true);
    daemon.stop();
}
