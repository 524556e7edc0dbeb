//! CRLs of the clients' CAs that have expired.

use std::fs;

use crate::{
    appliance::{Appliance, Daemon, SOON, until},
    metrics::scrape,
    tls::CA,
};

/// An appliance whose clients have a CRL with this lifetime, and a client of its own, "valid".
fn with_crl(lifetime: &str) -> Appliance {
    let appliance = Appliance::new();
    let crl = make_crl(lifetime);
    appliance.shell(&format!("{CA}\nmake valid 20200101000000Z 20810101000000Z\n{crl}"));
    appliance.declare("[[clients]]\nname = \"valid\"\nsubject = \"CN=valid\"");
    appliance.configure(|text| {
        text.replacen("client_ca = ", "client_crl = \"pki/client-ca.crl\"\nclient_ca = ", 1)
    });
    appliance
}

/// In the directory of the CA.
fn make_crl(lifetime: &str) -> String {
    format!(
        "openssl ca -config ca.conf -gencrl {lifetime} -out client-ca.crl.new 2>/dev/null; mv client-ca.crl.new client-ca.crl"
    )
}

const EXPIRED: &str = "-crl_lastupdate 20200101000000Z -crl_nextupdate 20200102000000Z";
const LASTING: &str = "-crl_lastupdate 20200101000000Z -crl_nextupdate 20810101000000Z";
const WORDS: &str = "api.client_crl: a CRL has expired at 2020-01-02T00:00:00Z";

fn status(appliance: &Appliance, daemon: &Daemon) -> String {
    appliance.shell(&format!(
        "cd pki; curl -s --cacert server-ca.pem -o /dev/null -w '%{{http_code}}' \
         --cert valid.pem --key valid.key {}/healthz || true",
        daemon.url
    ))
}

#[test]
fn an_expired_crl_is_told_everywhere_and_refuses_where_that_is_configured() {
    let appliance = with_crl(EXPIRED);
    let check = || {
        let config = appliance.config().display().to_string();
        let output = appliance.run(&["check", "--config", &config]);
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(check().contains(&format!("warning: {WORDS}")), "{}", check());
    let daemon = appliance.start();
    until(SOON, || daemon.log().contains(WORDS).then_some(())).expect("no word in the log");
    assert_eq!(daemon.log().matches(WORDS).count(), 1);
    assert!(scrape(&daemon).contains("\nchancery_client_crl_next_update_seconds 1577923200\n"));
    let health = daemon.client_with(&appliance, &appliance.path("pki/valid"));
    let health = health.get("/healthz").ok().json;
    let told = health["warnings"].as_array().unwrap();
    assert!(told.iter().any(|told| told.as_str().unwrap().starts_with(WORDS)), "{health}");

    // A new one, put in its place, ends it; the next old one is told again.
    appliance.shell(&format!("cd pki; {}", make_crl(LASTING)));
    until(SOON, || scrape(&daemon).contains("next_update_seconds 3502915200").then_some(()))
        .expect("the new CRL is not in use");
    let health = daemon.client.get("/healthz").ok().json;
    assert!(!health.to_string().contains("CRL"), "{health}");
    appliance.shell(&format!("cd pki; {}", make_crl(EXPIRED)));
    until(SOON, || (daemon.log().matches(WORDS).count() == 2).then_some(()))
        .expect("no second word");
    daemon.stop();

    appliance.configure(|text| {
        text.replacen("client_ca = ", "client_crl_expired = \"refuse\"\nclient_ca = ", 1)
    });
    assert!(check().contains("clients of its CA are refused"), "{}", check());
    let daemon = appliance.start();
    assert_eq!(status(&appliance, &daemon), "000");
    appliance.shell(&format!("cd pki; {}", make_crl(LASTING)));
    until(SOON, || (status(&appliance, &daemon) == "200").then_some(())).expect("still refused");
    assert!(!check().contains("warning: api.client_crl"));
    daemon.stop();

    appliance.configure(|text| text.replace("\"refuse\"", "\"sometimes\""));
    let said = appliance.refuses_to_start();
    assert!(
        said.contains("api.client_crl_expired: 'sometimes' is not one of warn, refuse"),
        "{said}"
    );
    fs::remove_file(appliance.path("pki/client-ca.crl")).unwrap();
}
