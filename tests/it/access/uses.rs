//! What a service may be made to use: a generated matrix of clients, ways to name a dependency and paths,
//! held against an oracle that knows nothing of the program. Whoever makes a service use something needs
//! `resource:write` on it, and is told nothing about it otherwise.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    appliance::{Answer, Appliance, Client, Daemon},
    support::refused,
};

/// Where every client of the matrix may make services.
const OWN: &str = "m.b.made";

/// Two organisations with two tenants each, and one that nests.
const TENANTS: [&str; 5] = ["m.a", "m.b", "m.b.made", "n.a", "n.b"];

/// What stands in each of these tenants.
const TENANTS_WITH_SERVICES: [&str; 4] = ["m.a", "m.b", "n.a", "n.b"];

/// Where a client of the matrix has `resource:write` beside its own tenant.
const GRANTED: [&str; 12] = [
    "m",
    "m.a",
    "m.b",
    "n",
    "n.a",
    "m.a.kms",
    "m.a.certs",
    "m.a.kms.key",
    "m.a.x509",
    "m.a.none",
    "m.a.km",
    "M.a",
];

/// What a client of the matrix has everywhere in its organisation, and what attaches nothing.
const OTHER_PERMISSIONS: [&str; 12] = [
    "resource:read",
    "kms:generate",
    "kms:import",
    "kms:read",
    "kms:delete",
    "issue:iaca",
    "issue:document-signer",
    "issue:generic",
    "issue:csr",
    "store:read",
    "store:write",
    "vical:publish",
];

/// What is named: services of each kind in each place, and what is no service.
const NAMED: [&str; 16] = [
    "m.a.kms",
    "m.a.certs",
    "m.a.x509",
    "m.a.vical",
    "m.a.none",
    "m.a.kms.key",
    "m.a",
    "m",
    "m.b.kms",
    "m.b.certs",
    "n.a.kms",
    "n.a.certs",
    "M.a.kms",
    "m.A.kms",
    "nowhere.kms",
    "m.b.made",
];

/// How a request names what the service will use.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    X509Created,
    VicalCreated,
    SigningKey,
    SignerCertificate,
    Chain,
    AddedAsObject,
    AddedAsJsonString,
    AddedAsText,
    AddedToVical,
}

const WAYS: [Way; 9] = [
    Way::X509Created,
    Way::VicalCreated,
    Way::SigningKey,
    Way::SignerCertificate,
    Way::Chain,
    Way::AddedAsObject,
    Way::AddedAsJsonString,
    Way::AddedAsText,
    Way::AddedToVical,
];

fn covers(granted: &str, path: &str) -> bool {
    let (granted, path): (Vec<_>, Vec<_>) =
        (granted.split('.').collect(), path.split('.').collect());
    path.len() >= granted.len() && path[..granted.len()] == granted[..]
}

/// What stands at a path: a service's type, or `tenant`.
fn stands(path: &str) -> Option<&'static str> {
    if ["m", "n"].contains(&path) || TENANTS.contains(&path) {
        return Some("tenant");
    }
    let (tenant, name) = path.rsplit_once('.')?;
    let kinds = BTreeMap::from([
        ("kms", "kms"),
        ("certs", "x509-store"),
        ("x509", "x509-service"),
        ("vical", "vical-service"),
    ]);
    TENANTS_WITH_SERVICES.contains(&tenant).then(|| kinds.get(name).copied()).flatten()
}

/// What the contract says of a way to name `path` when the client has `resource:write` on `granted`.
fn oracle(granted: &[&str], way: Way, path: &str) -> u16 {
    if !granted.iter().any(|granted| covers(granted, path)) {
        return 403;
    }
    let kind = stands(path);
    let own_organisation = path.starts_with("m.");
    let created = match way {
        Way::AddedAsObject | Way::AddedAsJsonString | Way::AddedAsText | Way::AddedToVical => 200,
        _ => 201,
    };
    let wanted: &[&str] = match way {
        Way::SigningKey => &["kms"],
        Way::SignerCertificate | Way::Chain => &["x509-store"],
        _ => &["kms", "x509-store"],
    };
    match kind {
        Some(kind) if wanted.contains(&kind) && own_organisation => created,
        Some(kind) if wanted.contains(&kind) => 400,
        _ if matches!(way, Way::SigningKey | Way::SignerCertificate | Way::Chain) => 404,
        Some(_) => 400,
        None => 404,
    }
}

/// Makes the request. Every client has a KMS and a store of its own to name beside it.
fn ask(client: &Client, way: Way, path: &str, serial: usize, own: &str) -> (Answer, &'static str) {
    let create = |body: Value| {
        let target = format!("/v1/{OWN}.s{serial}/resource-api/services/create");
        client.post_json(&target, &body)
    };
    let vical = |key: &str, certificate: &str, chain: &[&str], dependencies: &[&str]| {
        create(json!({
            "type": "vical-service", "signingKeyId": key, "signerCertificateId": certificate,
            "signerCertificateChainIds": chain, "dependencies": dependencies,
        }))
    };
    let (own_key, own_entry) = (format!("{OWN}.kms.key"), format!("{OWN}.certs.entry"));
    let entry = format!("{path}.entry");
    let add = |service: &str, api: &str, media_type: &str, body: String| {
        let target = format!("/v1/{service}/{api}/dependencies/add");
        client.send("POST", &target, &[("content-type", media_type)], body).unwrap()
    };
    let x509 = format!("{own}-x509");
    match way {
        Way::X509Created => (
            create(json!({ "type": "x509-service", "dependencies": [format!("{OWN}.kms"), path] })),
            "/dependencies/1",
        ),
        Way::VicalCreated => (vical(&own_key, &own_entry, &[], &[path]), "/dependencies/0"),
        Way::SigningKey => (vical(&format!("{path}.key"), &own_entry, &[], &[]), "/signingKeyId"),
        Way::SignerCertificate => (vical(&own_key, &entry, &[], &[]), "/signerCertificateId"),
        Way::Chain => (
            vical(&own_key, &own_entry, &[&own_entry, &entry], &[]),
            "/signerCertificateChainIds/1",
        ),
        Way::AddedAsObject => (
            add(
                &x509,
                "x509-service-api",
                "application/json",
                json!({ "dependency": path }).to_string(),
            ),
            "/dependency",
        ),
        Way::AddedAsJsonString => {
            (add(&x509, "x509-service-api", "application/json", json!(path).to_string()), "")
        }
        Way::AddedAsText => {
            (add(&x509, "x509-service-api", "text/plain", format!(" {path}\n")), "")
        }
        Way::AddedToVical => (
            add(
                &format!("{own}-vical"),
                "vical-service-api",
                "application/json",
                json!({ "dependency": path }).to_string(),
            ),
            "/dependency",
        ),
    }
}

/// A client of the matrix: its name, where it may write resources, its certificate.
type Row = (String, Vec<&'static str>, PathBuf);

fn declare(appliance: &Appliance) -> Vec<Row> {
    let mut toml =
        String::from("[[organisations]]\npath = \"m\"\n[[organisations]]\npath = \"n\"\n");
    for tenant in TENANTS {
        toml.push_str(&format!("[[tenants]]\npath = \"{tenant}\"\n"));
    }
    for tenant in TENANTS_WITH_SERVICES.into_iter().chain([OWN]) {
        toml.push_str(&format!(
            "[[services]]\npath = \"{tenant}.kms\"\ntype = \"kms\"\n\
             [[services]]\npath = \"{tenant}.certs\"\ntype = \"x509-store\"\n"
        ));
    }
    for tenant in TENANTS_WITH_SERVICES {
        toml.push_str(&format!(
            "[[services]]\npath = \"{tenant}.x509\"\ntype = \"x509-service\"\n\
             [[services]]\npath = \"{tenant}.vical\"\ntype = \"vical-service\"\n\
             signing_key = \"{tenant}.kms.key\"\nsigner_certificate = \"{tenant}.certs.entry\"\n"
        ));
    }
    appliance.declare(&toml);
    let beside = GRANTED.into_iter().map(|path| ("resource:write", path));
    let others = OTHER_PERMISSIONS.into_iter().map(|permission| (permission, "m"));
    beside
        .chain(others)
        .enumerate()
        .map(|(index, (permission, path))| {
            let name = format!("u{index}");
            let grants = [(OWN, &["resource:write"][..]), (path, &[permission][..])];
            let certificate = appliance.add_client(&name, &grants);
            let mut granted = vec![OWN];
            granted.extend((permission == "resource:write").then_some(path));
            (name, granted, certificate)
        })
        .collect()
}

/// Services that the client changes.
fn own_services(client: &Client, own: &str) {
    let create = |path: String, body: Value| {
        let answer = client.post_json(&format!("/v1/{path}/resource-api/services/create"), &body);
        assert_eq!(answer.status, 201, "{}", answer.json);
    };
    create(format!("{own}-x509"), json!({ "type": "x509-service" }));
    let vical = json!({
        "type": "vical-service", "signingKeyId": format!("{OWN}.kms.key"),
        "signerCertificateId": format!("{OWN}.certs.entry"),
    });
    create(format!("{own}-vical"), vical);
}

#[test]
fn nothing_is_reachable_through_a_service_that_its_maker_could_not_reach_without_it() {
    let appliance = Appliance::new();
    let clients = declare(&appliance);
    let daemon = appliance.start();
    let mut wrong = Vec::new();
    let mut seen = BTreeMap::new();
    let mut serial = 0;
    for (name, granted, certificate) in &clients {
        let client = daemon.client_with(&appliance, certificate);
        let own = format!("{OWN}.{name}");
        own_services(&client, &own);
        for path in NAMED {
            let mut added = false;
            for way in WAYS {
                serial += 1;
                let (answer, field) = ask(&client, way, path, serial, &own);
                let is_to_x509 =
                    matches!(way, Way::AddedAsObject | Way::AddedAsJsonString | Way::AddedAsText);
                let wanted = match oracle(granted, way, path) {
                    200 if is_to_x509 && added => 409,
                    status => status,
                };
                added |= is_to_x509 && wanted == 200;
                *seen.entry(answer.status).or_insert(0_usize) += 1;
                let row = format!("{granted:?} {way:?} {path}");
                if answer.status != wanted {
                    wrong.push(format!("{row}: {} {}, not {wanted}", answer.status, answer.json));
                }
                if answer.status == 403 {
                    // One text, whatever stands there.
                    let message = answer.json["message"].as_str().unwrap();
                    let said = format!("client '{name}' has no resource:write on {path}");
                    let told = answer.json["field"].as_str().unwrap_or_default();
                    if message != said || told != field {
                        wrong.push(format!("{row}: {}", answer.json));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(
        seen.keys().copied().collect::<Vec<_>>(),
        [200, 201, 400, 403, 404, 409],
        "{seen:?}"
    );
    everything_used_is_granted(&appliance, &clients);
}

/// The same, asked of what is on record: who has made each service, and what it uses.
fn everything_used_is_granted(appliance: &Appliance, clients: &[Row]) {
    let ledger = appliance.ledger();
    let mut entries = ledger.prepare("select entry from audit_entries order by idx").unwrap();
    let entries = entries.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let mut uses = 0;
    for entry in entries {
        let entry: Value = serde_json::from_slice(&entry.unwrap()).unwrap();
        let detail = &entry["detail"];
        let mut used = Vec::new();
        match entry["type"].as_str().unwrap() {
            "service-created" => {
                let definition = &detail["definition"];
                let parent = |path: &Value| {
                    let (parent, _) = path.as_str().unwrap().rsplit_once('.').unwrap();
                    parent.to_owned()
                };
                for member in ["signingKey", "signerCertificate"] {
                    used.extend(definition.get(member).map(parent));
                }
                let chain = definition["signerCertificateChain"].as_array();
                used.extend(chain.into_iter().flatten().map(parent));
                let attached = definition["dependencies"].as_array();
                used.extend(
                    attached.into_iter().flatten().map(|path| path.as_str().unwrap().into()),
                );
            }
            "dependency-added" => used.push(detail["dependency"].as_str().unwrap().to_owned()),
            _ => continue,
        }
        let maker = entry["client"].as_str().unwrap();
        let (_, granted, _) = clients.iter().find(|(name, ..)| name == maker).unwrap();
        for path in used {
            uses += 1;
            assert!(granted.iter().any(|granted| covers(granted, &path)), "{entry}");
        }
    }
    assert!(uses > 100, "{uses}");
}

/// A tenant with every right on itself and a neighbour's paths known by heart.
#[test]
fn a_tenant_signs_and_publishes_with_no_key_and_no_store_of_its_neighbour() {
    let appliance = Appliance::new();
    appliance.declare("[[tenants]]\npath = \"test.b\"\n");
    let everything = [
        "resource:write",
        "issue:iaca",
        "issue:generic",
        "issue:csr",
        "store:write",
        "vical:publish",
    ];
    let certificate = appliance.add_client("b", &[("test.b", &everything)]);
    let daemon: Daemon = appliance.start();
    let client = daemon.client_with(&appliance, &certificate);
    let create = |path: &str, body: Value| {
        client.post_json(&format!("/v1/test.b.{path}/resource-api/services/create"), &body)
    };
    let (kms, store) = ("test.tenant1.kms1", "test.tenant1.x509-store-1");
    let denied = |path: &str| format!("has no resource:write on {path}");
    let evil = create("evil", json!({ "type": "x509-service", "dependencies": [kms, store] }));
    refused(&evil, 403, Some("/dependencies/0"), &denied(kms));
    let vical = create(
        "vical",
        json!({
            "type": "vical-service", "signingKeyId": format!("{kms}.secp256r1"),
            "signerCertificateId": format!("{store}.signer"), "dependencies": [store],
        }),
    );
    refused(&vical, 403, Some("/signingKeyId"), &denied(kms));

    // With a service of its own, the neighbour's key is one that is not attached.
    assert_eq!(create("own", json!({ "type": "x509-service" })).status, 201);
    let add = "/v1/test.b.own/x509-service-api/dependencies/add";
    refused(&client.post_json(add, &json!(kms)), 403, None, &denied(kms));
    let iaca = crate::support::iaca("secp256r1", "Evil");
    let issued = client.post_json("/v1/test.b.own/x509-service-api/iso/iacas", &iaca);
    refused(&issued, 400, Some("/iacaKeyDesc/keyIdPath"), "not attached");
    assert_eq!(appliance.count("select count(*) from intents"), 0);

    // Who has the grant on both may attach, as ever.
    let admin = &daemon.client;
    let attached = admin.post_json(add, &json!(kms)).ok();
    assert_eq!(attached.json["dependencies"], json!([kms]));
    let again = client.post_json(add, &json!(kms));
    refused(&again, 403, None, &denied(kms));
    // What was detached is not attached again without the grant.
    let remove = "/v1/test.b.own/x509-service-api/dependencies/remove";
    client.post_json(remove, &json!({ "dependency": kms })).ok();
    refused(&client.post_json(add, &json!(kms)), 403, None, &denied(kms));
}
