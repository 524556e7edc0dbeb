//! Every route there is, and the one permission that opens it: a table by hand, held against what the
//! daemon documents and what it does.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::appliance::{Answer, Appliance, Client, KMS, SERVICE, STORE};

/// Open to every client.
const ANY: &str = "any client";
/// Open to everyone.
const NONE: &str = "none";

/// Method, path, permission.
const ROUTES: [(&str, &str, &str); 40] = [
    ("POST", "/auth/account/emailpass", ANY),
    ("GET", "/healthz", ANY),
    ("GET", "/readyz", ANY),
    ("GET", "/metrics", "ops:read"),
    ("GET", "/v1/status", "ops:read"),
    ("GET", "/openapi.json", ANY),
    ("GET", "/swagger", ANY),
    ("GET", "/swagger/{asset}", ANY),
    ("POST", "/v1/{target}/resource-api/tenants/create", "resource:write"),
    ("GET", "/v1/{target}/resource-api/tenants", "resource:read"),
    ("POST", "/v1/{target}/resource-api/services/create", "resource:write"),
    ("GET", "/v1/{target}/resource-api/services", "resource:read"),
    ("POST", "/v1/{target}/x509-service-api/dependencies/add", "resource:write"),
    ("POST", "/v1/{target}/x509-service-api/dependencies/remove", "resource:write"),
    ("GET", "/v1/{target}/x509-service-api/dependencies", "resource:read"),
    ("POST", "/v1/{target}/vical-service-api/dependencies/add", "resource:write"),
    ("POST", "/v1/{target}/vical-service-api/dependencies/remove", "resource:write"),
    ("GET", "/v1/{target}/vical-service-api/dependencies", "resource:read"),
    ("POST", "/v1/{target}/kms-service-api/keys/generate", "kms:generate"),
    ("POST", "/v1/{target}/kms-service-api/keys/import/jwk", "kms:import"),
    ("GET", "/v1/{target}/kms-service-api/keys", "kms:read"),
    ("DELETE", "/v1/{target}/kms-service-api/keys", "kms:delete"),
    ("GET", "/v1/{target}/kms-service-api/iaca-pins", "kms:read"),
    ("DELETE", "/v1/{target}/kms-service-api/iaca-pins", "kms:delete"),
    ("POST", "/v1/{target}/x509-service-api/iso/iacas", "issue:iaca"),
    ("POST", "/v1/{target}/x509-service-api/iso/document-signers", "issue:document-signer"),
    ("POST", "/v1/{target}/x509-service-api/certificate", "issue:generic"),
    ("POST", "/v1/{target}/x509-service-api/csrs", "issue:csr"),
    ("GET", "/v1/{target}/x509-service-api/certificates", "inventory:read"),
    ("GET", "/v1/{target}/x509-service-api/certificates/{serialHex}", "inventory:read"),
    ("GET", "/v1/{target}/x509-store-api/certificates/ids", "store:read"),
    ("GET", "/v1/{target}/x509-store-api/certificates", "store:read"),
    ("POST", "/v1/{target}/x509-store-api/certificates", "store:write"),
    ("PUT", "/v1/{target}/x509-store-api/certificates", "store:write"),
    ("DELETE", "/v1/{target}/x509-store-api/certificates", "store:write"),
    ("POST", "/v1/{target}/vical-service-api/publish", "vical:publish"),
    ("GET", "/v1/{target}/vical-service-api/versions/ids", "vical:read"),
    ("GET", "/v1/{target}/vical-service-api/latest", NONE),
    ("GET", "/v1/{target}/vical-service-api/latest/manifest", NONE),
    ("GET", "/v1/{target}/vical-service-api/latest/trust-material", NONE),
];

/// What the table leaves out: their targets have another form than those of their neighbours.
const VERSIONS: [&str; 3] = [
    "/v1/{target}/vical-service-api/versions",
    "/v1/{target}/vical-service-api/versions/manifest",
    "/v1/{target}/vical-service-api/versions/trust-material",
];

const PERMISSIONS: [&str; 19] = [
    "resource:write",
    "resource:read",
    "kms:generate",
    "kms:import",
    "kms:read",
    "kms:delete",
    "issue:iaca",
    "issue:iaca-link",
    "issue:document-signer",
    "issue:generic",
    "issue:csr",
    "inventory:read",
    "revoke",
    "store:read",
    "store:write",
    "vical:publish",
    "vical:read",
    "audit:read",
    "ops:read",
];

fn appliance() -> Appliance {
    let appliance = Appliance::new();
    appliance.declare(&format!(
        "[[services]]\npath = \"test.tenant1.vical\"\ntype = \"vical-service\"\n\
         signing_key = \"{KMS}.leaf-secp256r1\"\nsigner_certificate = \"{STORE}.signer\"\n\
         [compat]\nlogin = true\n[dev]\nimport_keys = true"
    ));
    appliance
}

/// A request that comes to nothing once it is let in.
fn ask(client: &Client, method: &str, path: &str) -> Answer {
    let target = match path.split('/').nth(3) {
        Some("x509-service-api") => SERVICE.to_owned(),
        Some("x509-store-api") if path.ends_with("/ids") => STORE.to_owned(),
        Some("x509-store-api") => format!("{STORE}.nothing"),
        Some("kms-service-api") => format!("{KMS}.nothing"),
        Some("vical-service-api") => "test.tenant1.vical".to_owned(),
        _ => "test.tenant1".to_owned(),
    };
    let path = path.replace("{target}", &target).replace("{serialHex}", "00ff");
    let path = path.replace("{asset}", "swagger-ui.css");
    client.send(method, &path, &[("content-type", "application/json")], "no JSON").unwrap()
}

#[test]
fn the_table_has_every_route() {
    let appliance = appliance();
    let daemon = appliance.start();
    let document = daemon.client.get("/openapi.json").ok().json;
    let mut documented = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let permission = operation["x-permission"].as_str().unwrap().to_owned();
            documented.insert((method.to_uppercase(), path.clone()), permission);
        }
    }
    documented.retain(|(_, path), _| !VERSIONS.contains(&path.as_str()));
    let table: BTreeMap<_, _> = ROUTES
        .iter()
        .map(|(method, path, permission)| {
            (((*method).to_owned(), (*path).to_owned()), (*permission).to_owned())
        })
        .collect();
    assert_eq!(documented, table);
}

#[test]
fn each_route_is_opened_by_one_permission_and_by_no_other() {
    let appliance = appliance();
    let certificates: Vec<_> = PERMISSIONS
        .iter()
        .map(|permission| {
            let name = permission.replace(':', "-");
            (*permission, appliance.add_client(&name, &[("test.tenant1", &[permission])]))
        })
        .collect();
    // The same everywhere else: what has a target is out of reach, and the metrics have none.
    let beside = appliance.add_client("beside", &[("test.tenant", &PERMISSIONS)]);
    let daemon = appliance.start();
    let mut wrong = Vec::new();
    let mut judge = |who: &str, is_open: bool, (method, path): (&str, &str), answer: &Answer| {
        let is_let_in = !matches!(answer.status, 401 | 403);
        if is_let_in != is_open {
            wrong.push(format!("{who}: {method} {path}: {} {}", answer.status, answer.json));
        }
        if answer.status == 403 {
            let message = &answer.json["message"];
            let said = message.as_str().unwrap_or_default().contains(" has no ");
            assert!(said && answer.json["field"] == Value::Null, "{message}");
        }
    };
    for (permission, certificate) in &certificates {
        let client = daemon.client_with(&appliance, certificate);
        for (method, path, needed) in ROUTES {
            let is_open = [ANY, NONE, *permission].contains(&needed);
            judge(permission, is_open, (method, path), &ask(&client, method, path));
        }
    }
    let client = daemon.client_with(&appliance, &beside);
    for (method, path, needed) in ROUTES {
        let is_open = [ANY, NONE, "ops:read"].contains(&needed);
        judge("beside", is_open, (method, path), &ask(&client, method, path));
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
