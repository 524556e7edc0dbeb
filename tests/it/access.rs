//! Who may do what: a generated matrix of clients, targets and routes, held against an oracle that
//! knows nothing of the program.

mod identity;
mod labels;
mod routes;
mod uses;

use std::collections::BTreeMap;

use crate::appliance::{Appliance, Client};

const PERMISSIONS: [&str; 5] =
    ["issue:iaca", "issue:document-signer", "issue:generic", "issue:csr", "store:read"];

/// Where clients have their grants. `m.b` and `m.bc` are siblings, `m.b.c` lies below `m.b`.
const GRANTED: [&str; 7] = ["m", "m.b", "m.bc", "m.b.c", "m.b.x509", "n", "m.b.certs.one"];

/// Method, API, tail, permission.
type Route = (&'static str, &'static str, &'static str, &'static str);

const ROUTES: [Route; 6] = [
    ("POST", "x509-service-api", "iso/iacas", "issue:iaca"),
    ("POST", "x509-service-api", "iso/document-signers", "issue:document-signer"),
    ("POST", "x509-service-api", "certificate", "issue:generic"),
    ("POST", "x509-service-api", "csrs", "issue:csr"),
    ("GET", "x509-store-api", "certificates", "store:read"),
    ("GET", "x509-store-api", "certificates/ids", "store:read"),
];

/// How a target is written in the request, and what it says; `None`: nothing that is a path.
const TARGETS: [(&str, Option<&str>); 28] = [
    ("m", Some("m")),
    ("m.b", Some("m.b")),
    ("m.b.x509", Some("m.b.x509")),
    ("m.bc.x509", Some("m.bc.x509")),
    ("m.b.c.x509", Some("m.b.c.x509")),
    ("n.b.x509", Some("n.b.x509")),
    ("m.b.certs", Some("m.b.certs")),
    ("m.b.certs.one", Some("m.b.certs.one")),
    ("m.b.certs.oneone", Some("m.b.certs.oneone")),
    ("m.bc.certs", Some("m.bc.certs")),
    ("m.b.nowhere", Some("m.b.nowhere")),
    ("nowhere", Some("nowhere")),
    ("M.b.x509", Some("M.b.x509")),
    ("m.B.x509", Some("m.B.x509")),
    ("m%2eb%2Ex509", Some("m.b.x509")),
    ("%6d.b.x50%39", Some("m.b.x509")),
    ("m.b.x509.", None),
    (".m.b.x509", None),
    ("m..b.x509", None),
    ("m.b%2fx509", None),
    ("m.b%2Fx509", None),
    ("m.b.x509%20", None),
    ("m.b.x509%00", None),
    ("m%252eb%252ex509", None),
    ("m.b.%D1%85509", None),
    ("m.b.x50%EF%BC%99", None),
    ("m.b*", None),
    ("*", None),
];

fn tree() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("m.b.x509", "x509-service"),
        ("m.bc.x509", "x509-service"),
        ("m.b.c.x509", "x509-service"),
        ("n.b.x509", "x509-service"),
        ("m.b.certs", "x509-store"),
        ("m.bc.certs", "x509-store"),
    ])
}

/// What the contract says: syntax, then grant, then existence, then the body.
fn oracle(grant: &str, permission: &str, target: Option<&str>, route: &Route) -> u16 {
    let (method, api, _, needed) = *route;
    let Some(target) = target else { return 400 };
    let (granted, asked): (Vec<_>, Vec<_>) =
        (grant.split('.').collect(), target.split('.').collect());
    if permission != needed || asked.len() < granted.len() || asked[..granted.len()] != granted[..]
    {
        return 403;
    }
    match (method, tree().get(target)) {
        // The body is not JSON.
        ("POST", Some(kind)) if api_of(kind) == api => 400,
        ("GET", Some(kind)) if api_of(kind) == api => 200,
        _ => 404,
    }
}

fn api_of(kind: &str) -> &str {
    if kind == "x509-service" { "x509-service-api" } else { "x509-store-api" }
}

/// A client for each place and permission.
fn clients(appliance: &Appliance) -> Vec<(&'static str, &'static str, std::path::PathBuf)> {
    let mut clients = Vec::new();
    let mut toml = String::new();
    for (index, grant) in GRANTED.into_iter().enumerate() {
        for (other, permission) in PERMISSIONS.into_iter().enumerate() {
            let name = format!("c{index}-{other}");
            toml.push_str(&format!(
                "[[clients]]\nname = \"{name}\"\nsubject = \"CN={name}\"\n\
                 grants = [{{ path = \"{grant}\", permissions = [\"{permission}\"] }}]\n"
            ));
            let certificate =
                appliance.client_certificate(&name, &format!("/CN={name}"), "-days 2");
            clients.push((grant, permission, certificate));
        }
    }
    appliance.declare(&toml);
    clients
}

#[test]
fn every_client_may_do_what_its_grants_say_and_nothing_else() {
    let appliance = Appliance::new();
    let mut toml = String::from(
        "[[organisations]]\npath = \"m\"\n[[organisations]]\npath = \"n\"\n\
         [[tenants]]\npath = \"m.b\"\n[[tenants]]\npath = \"m.bc\"\n[[tenants]]\npath = \"m.b.c\"\n\
         [[tenants]]\npath = \"n.b\"\n",
    );
    for (path, kind) in tree() {
        toml.push_str(&format!("[[services]]\npath = \"{path}\"\ntype = \"{kind}\"\n"));
    }
    appliance.declare(&toml);
    let clients = clients(&appliance);
    let daemon = appliance.start();
    let mut wrong = Vec::new();
    let mut seen = BTreeMap::new();
    for (grant, permission, certificate) in &clients {
        let client = daemon.client_with(&appliance, certificate);
        for (written, target) in TARGETS {
            for route in &ROUTES {
                let status = ask(&client, written, route);
                let wanted = oracle(grant, permission, target, route);
                *seen.entry(status).or_insert(0_usize) += 1;
                if status != wanted {
                    let (method, _, tail, _) = route;
                    wrong.push(format!(
                        "{permission} on {grant}: {method} {tail} at {written}: {status}, not {wanted}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [200, 400, 403, 404], "{seen:?}");
    assert_eq!(appliance.count("select count(*) from intents"), 0);
}

fn ask(client: &Client, target: &str, route: &Route) -> u16 {
    let (method, api, tail, _) = *route;
    let path = format!("/v1/{target}/{api}/{tail}");
    let headers = [("content-type", "application/json")];
    let answer = client.send(method, &path, &headers, "no JSON").unwrap();
    if method == "POST" && answer.status == 400 {
        let message = answer.json["message"].as_str().unwrap();
        assert!(message.starts_with("target: ") || message.starts_with("body is not JSON"));
    }
    answer.status
}

#[test]
fn a_path_that_climbs_leads_nowhere() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    for path in [
        "/v1/test.tenant1.x509-service-1/../test/x509-service-api/csrs",
        "/v1/test.tenant1.x509-service-1/x509-service-api/iso/../csrs",
        "/v1/test.tenant1.x509-service-1/x509-service-api//csrs",
        "//v1/test.tenant1.x509-service-1/x509-service-api/csrs",
        "/v1/test.tenant1.x509-service-1/x509-service-api/iso%2fiacas",
        "/V1/test.tenant1.x509-service-1/x509-service-api/csrs",
        "/v1;x/test.tenant1.x509-service-1/x509-service-api/csrs",
    ] {
        assert_eq!(daemon.client.post(path, "{}").status, 404, "{path}");
    }
}

#[test]
fn a_client_is_its_whole_subject_or_its_fingerprint() {
    let appliance = Appliance::new();
    let grants = "[{ path = \"test\", permissions = [\"store:read\"] }]";
    let known = appliance.client_certificate("one", "/O=Acme/CN=one", "-days 2");
    let printed = appliance.client_certificate("two", "/CN=anything", "-days 2");
    let twin = appliance.client_certificate("twin", "/CN=anything", "-days 2");
    let sha256 = appliance.shell("openssl x509 -in pki/two.pem -noout -fingerprint -sha256");
    let sha256 = sha256.trim().rsplit('=').next().unwrap();
    appliance.declare(&format!(
        "[[clients]]\nname = \"one\"\nsubject = \"O=Acme,CN=one\"\ngrants = {grants}\n\
         [[clients]]\nname = \"two\"\ncertificate_sha256 = \"{sha256}\"\ngrants = {grants}\n"
    ));
    let daemon = appliance.start();
    let status = |certificate: &std::path::Path| {
        daemon
            .client_with(&appliance, certificate)
            .get("/v1/test.tenant1.x509-store-1/x509-store-api/certificates/ids")
            .status
    };
    assert_eq!((status(&known), status(&printed), status(&twin)), (200, 200, 401));
    for (index, subject) in [
        "/CN=one/O=Acme",
        "/CN=one",
        "/O=Acme/CN=One",
        "/O=Acme/CN=one/OU=x",
        "/CN=O=Acme,CN=one",
        "/O=Acme,CN=one",
        "/",
    ]
    .iter()
    .enumerate()
    {
        let other = appliance.client_certificate(&format!("x{index}"), subject, "-days 2");
        assert_eq!(status(&other), 401, "{subject}");
    }
}
