//! SIGHUP, and TLS files that change: what counts afterwards, and that nobody is turned away.

use std::time::{Duration, Instant};

use crate::{
    appliance::{Appliance, Daemon, SOON, signal, until},
    load::{Load, leaf},
    tls::CA,
};

/// A reload that is taken up is seen in the log; so is one that is refused.
#[track_caller]
fn reload(daemon: &Daemon, outcome: &str) {
    let before = daemon.log().matches(outcome).count();
    signal(daemon.pid(), "HUP");
    let seen = || (daemon.log().matches(outcome).count() > before).then_some(());
    until(SOON, seen).unwrap_or_else(|| panic!("not '{outcome}':\n{}", daemon.log()));
}

const TAKEN_UP: &str = "was read again and is in force";
const REFUSED: &str = "everything stays as it was";
const INVENTORY: &str = "/v1/test.tenant1.x509-service-1/x509-service-api/certificates";

/// The server's certificate made anew, under the same CA, with a key of its own.
const RENEW: &str = "
    openssl ecparam -name prime256v1 -genkey -noout -out new.key
    openssl req -new -key new.key -subj '/CN=renewed' | openssl x509 -req -CA server-ca.pem \
        -CAkey server-ca.key -days 2 -extfile <(echo subjectAltName=DNS:localhost,IP:127.0.0.1) \
        -out new.pem 2>/dev/null
";

/// The subject of the certificate that new connections see.
fn server_subject(appliance: &Appliance, daemon: &Daemon) -> String {
    appliance.shell(&format!(
        "openssl s_client -connect {} </dev/null 2>/dev/null | openssl x509 -noout -subject || true",
        daemon.api
    ))
}

#[test]
fn grants_clients_and_the_tree_change_for_connections_that_are_open() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let body = leaf("leaf-secp256r1", "Leaf");
    daemon.client.issue("certificate", &body).ok();
    let original = std::fs::read_to_string(appliance.config()).unwrap();

    appliance.configure(|text| text.replace("\"issue:generic\",", ""));
    reload(&daemon, TAKEN_UP);
    let refused = daemon.client.issue("certificate", &body);
    assert_eq!(refused.status, 403, "{}", refused.json);

    appliance.configure(|text| text.replace("CN=demo", "CN=somebody"));
    reload(&daemon, TAKEN_UP);
    assert_eq!(daemon.client.get(INVENTORY).status, 401);

    appliance.configure(|_| {
        format!(
            "{original}\n[[services]]\npath = \"test.tenant1.store-2\"\ntype = \"x509-store\"\n"
        )
    });
    reload(&daemon, TAKEN_UP);
    daemon.client.issue("certificate", &body).ok();
    let store = "/v1/test.tenant1.store-2/x509-store-api/certificates";
    assert_eq!(daemon.client.get(store).status, 200);
    assert_eq!(
        appliance.count(
            "select count(*) from audit_entries where cast(entry as text) like '%\"reloaded\"%'"
        ),
        3
    );
}

#[test]
fn a_reload_with_anything_wrong_names_all_of_it_and_changes_nothing() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let good = std::fs::read_to_string(appliance.config()).unwrap();
    appliance.shell("cp pki/client.key pki/bad.pem");
    appliance.configure(|text| {
        text.replace("client-ca.pem", "bad.pem")
            .replace("server.key", "client.key")
            .replace("processes = 2", "processes = 3")
            .replace("ledger.sqlite", "other.sqlite")
            .replace("\"issue:generic\",", "")
    });
    reload(&daemon, REFUSED);
    let problems = [
        "api.client_ca: ",
        "api.certificate, api.private_key: ",
        "ledger.path changes only with a restart",
        "tokens 'softhsm' changes only with a restart",
    ];
    let all = || problems.iter().all(|problem| daemon.log().contains(problem)).then_some(());
    until(SOON, all).unwrap_or_else(|| panic!("not all of it:\n{}", daemon.log()));
    daemon.client.issue("certificate", &leaf("leaf-secp256r1", "Leaf")).ok();

    appliance.configure(|_| format!("{good}\nfoo = 1\n[limits]\nbar = 1\n"));
    reload(&daemon, REFUSED);
    let both = || {
        let log = daemon.log();
        (log.contains("unknown setting: ") && log.contains("limits.bar")).then_some(())
    };
    until(SOON, both).unwrap_or_else(|| panic!("not both:\n{}", daemon.log()));
    daemon.client.issue("certificate", &leaf("leaf-secp256r1", "Leaf 2")).ok();
}

#[test]
fn a_revoked_certificate_is_refused_on_a_connection_that_was_open_before() {
    let appliance = Appliance::new();
    appliance.shell(&format!(
        "{CA}
         make revoked 20200101000000Z 20810101000000Z
         make valid 20200101000000Z 20810101000000Z
         openssl ca -config ca.conf -gencrl -out client-ca.crl 2>/dev/null"
    ));
    for name in ["revoked", "valid"] {
        appliance.declare(&format!("[[clients]]\nname = \"{name}\"\nsubject = \"CN={name}\""));
    }
    appliance.configure(|text| {
        text.replacen("client_ca = ", "client_crl = \"pki/client-ca.crl\"\nclient_ca = ", 1)
    });
    let daemon = appliance.start();
    let client = |name: &str| daemon.client_with(&appliance, &appliance.path("pki").join(name));
    let (revoked, valid) = (client("revoked"), client("valid"));
    assert_eq!(revoked.get("/healthz").status, 200);
    assert_eq!(valid.get("/healthz").status, 200);

    appliance.shell(&format!(
        "{CA}
         openssl ca -config ca.conf -revoke revoked.pem 2>/dev/null
         openssl ca -config ca.conf -gencrl -out client-ca.crl 2>/dev/null"
    ));
    reload(&daemon, TAKEN_UP);
    let refused = revoked.get("/healthz");
    assert_eq!(refused.status, 401, "{}", refused.json);
    let message = refused.json["message"].as_str().unwrap();
    assert!(message.contains("not accepted any more") && message.contains("evoked"), "{message}");
    assert_eq!(valid.get("/healthz").status, 200);

    // The CA of both goes away.
    appliance.shell(
        "cd pki; openssl ecparam -name prime256v1 -genkey -noout -out other.key
         openssl req -x509 -new -key other.key -subj /CN=other -days 2 -out other.pem",
    );
    appliance.configure(|text| {
        text.replace("client_crl = \"pki/client-ca.crl\"\n", "")
            .replace("client-ca.pem", "other.pem")
    });
    reload(&daemon, TAKEN_UP);
    assert_eq!(valid.get("/healthz").status, 401);
}

#[test]
fn no_request_fails_while_certificate_and_configuration_are_reloaded_again_and_again() {
    const ROUNDS: usize = 8;
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let load = Load::of_leaves(&appliance, &daemon, 4);
    load.wait_for(200, 10, SOON);
    for round in 0..ROUNDS {
        appliance.shell(&format!("cd pki\n{RENEW}\ncp new.pem server.pem; cp new.key server.key"));
        appliance.configure(|text| format!("{text}\n[[tenants]]\npath = \"test.round{round}\"\n"));
        reload(&daemon, TAKEN_UP);
        // New connections, too.
        let fresh = daemon.client_with(&appliance, &appliance.path("pki/client"));
        assert_eq!(
            fresh.get(&format!("/v1/test.round{round}/resource-api/tenants")).status / 500,
            0
        );
        load.wait_for(200, 4, SOON);
    }
    let told = load.stop();
    let failed: Vec<_> = told
        .iter()
        .filter(|told| !told.answer.as_ref().is_ok_and(|answer| answer.status == 200))
        .map(|told| format!("{:?}", told.answer))
        .collect();
    assert!(failed.is_empty(), "{} of {}: {failed:?}", failed.len(), told.len());
    assert!(server_subject(&appliance, &daemon).contains("renewed"));
    println!("{} requests during {ROUNDS} reloads, none failed", told.len());
}

#[test]
fn a_renewed_certificate_is_taken_up_by_itself_but_not_before_its_key_is_there() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    appliance.shell(&format!("cd pki\n{RENEW}\ncp new.pem server.pem"));
    let reported = || daemon.log().contains("cannot be used; the old ones stay").then_some(());
    until(SOON, reported).unwrap_or_else(|| panic!("half a pair:\n{}", daemon.log()));
    let subject = server_subject(&appliance, &daemon);
    assert!(!subject.is_empty() && !subject.contains("renewed"), "{subject}");

    let since = Instant::now();
    appliance.shell("cp pki/new.key pki/server.key");
    let renewed =
        || server_subject(&appliance, &daemon).contains("renewed").then(|| since.elapsed());
    let took = until(SOON.max(Duration::from_secs(30)), renewed);
    println!("in use after {:?}", took.unwrap_or_else(|| panic!("{}", daemon.log())));
    assert_eq!(daemon.client.get("/healthz").status, 200);
}
