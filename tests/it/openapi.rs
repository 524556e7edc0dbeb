//! The OpenAPI document is true of the daemon: accepted requests and all answers are valid by its schemas, and
//! two independent tools, openapi-spec-validator and schemathesis, find no fault.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::appliance::{
    Answer, Appliance, Client, Daemon, KMS, SERVICE, STORE, documented, generic_ca, key,
};

/// An appliance whose client has every permission, with a VICAL service and the compatibility login.
fn appliance() -> Appliance {
    let appliance = Appliance::new();
    appliance.configure(|text| {
        let (head, _) = text.split_once("grants = [").unwrap();
        let permissions: Vec<_> = PERMISSIONS.iter().map(|name| format!("{name:?}")).collect();
        let permissions = permissions.join(", ");
        format!("{head}grants = [{{ path = \"test\", permissions = [{permissions}] }}]\n")
    });
    appliance.declare(
        "[[services]]\npath = \"test.tenant1.vical\"\ntype = \"vical-service\"\n\
         signing_key = \"test.tenant1.kms1.leaf-secp256r1\"\n\
         signer_certificate = \"test.tenant1.x509-store-1.vical-signer\"\n\
         [compat]\nlogin = true\n",
    );
    appliance
}

const PERMISSIONS: [&str; 18] = [
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
    "ops:read",
];

/// The document, and the daemon that it comes from.
struct Checked {
    document: Value,
    client: Client,
}

impl Checked {
    fn new(daemon: &Daemon) -> Self {
        let document = daemon.client.get("/openapi.json").ok().json;
        Self { document: closed(document), client: daemon.client.clone() }
    }

    /// Sends JSON. The answer must have the status and be valid by the document; the request must be valid
    /// when it is accepted.
    #[track_caller]
    fn json(&self, method: &str, path: &str, body: &Value, status: u16) -> Answer {
        let headers = [("content-type", "application/json")];
        let answer = self.client.send(method, path, &headers, body.to_string()).unwrap();
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.json);
        let operation = self.operation(method, path);
        if status < 300 {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            self.assert_fits(schema, body, &format!("request {method} {path}"));
        }
        self.check(method, path, &answer);
        answer
    }

    /// Sends a request without body. The answer must have the status and be valid by the document.
    #[track_caller]
    fn bare(&self, method: &str, path: &str, status: u16) -> Answer {
        let answer = self.client.send(method, path, &[], "").unwrap();
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.json);
        self.check(method, path, &answer);
        answer
    }

    /// Asserts that status, headers, media type and body are documented.
    #[track_caller]
    fn check(&self, method: &str, path: &str, answer: &Answer) {
        let place = format!("{method} {path}: {}", answer.status);
        let operation = self.operation(method, path);
        let response = &operation["responses"][answer.status.to_string()];
        assert!(response.is_object(), "{place} is not documented");
        let response = self.resolved(response);
        for (name, header) in response["headers"].as_object().unwrap() {
            let header = self.resolved(header);
            match answer.header(name) {
                Some(value) => {
                    let value = match header["schema"]["type"] == "integer" {
                        true => value.parse::<u64>().unwrap().into(),
                        false => Value::from(value),
                    };
                    self.assert_fits(&header["schema"], &value, &format!("{place}: {name}"));
                }
                None => assert_ne!(header["required"], true, "{place}: {name} is missing"),
            }
        }
        let media_type = answer.header("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap();
        let content = &response["content"][media_type];
        assert!(content.is_object(), "{place}: {media_type} is not documented");
        if media_type == "application/json" {
            self.assert_fits(&content["schema"], &answer.json, &place);
        }
    }

    fn operation(&self, method: &str, path: &str) -> &Value {
        let path = path.split('?').next().unwrap();
        let given: Vec<_> = path.split('/').collect();
        let paths = self.document["paths"].as_object().unwrap();
        let fits = |pattern: &str| {
            let pattern: Vec<_> = pattern.split('/').collect();
            pattern.len() == given.len()
                && pattern.iter().zip(&given).all(|(p, g)| p.starts_with('{') || p == g)
        };
        // Of two paths that match, the one with fewer parameters is meant.
        let path = paths
            .keys()
            .filter(|pattern| fits(pattern))
            .min_by_key(|pattern| pattern.matches('{').count())
            .unwrap_or_else(|| panic!("{path} is not documented"));
        let operation = &paths[path][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {path} is not documented");
        operation
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.document.pointer(&reference[1..]).unwrap(),
            None => value,
        }
    }

    #[track_caller]
    fn assert_fits(&self, schema: &Value, value: &Value, place: &str) {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "components": self.document["components"],
            "allOf": [schema],
        });
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        if let Err(error) = validator.validate(value) {
            panic!("{place}: {error}\n{value:#}");
        }
    }
}

/// Makes schemas strict, so that a member without a description is found. Those that ignore further members
/// say so.
fn closed(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: serde_json::Map<_, _> =
                members.into_iter().map(|(name, member)| (name, closed(member))).collect();
            if members.contains_key("properties") && members.get("type") == Some(&json!("object")) {
                members.entry("additionalProperties").or_insert(false.into());
            }
            Value::Object(members)
        }
        Value::Array(items) => items.into_iter().map(closed).collect(),
        other => other,
    }
}

#[test]
fn what_is_issued_fits_the_document() {
    let appliance = appliance();
    let daemon = appliance.start();
    let checked = Checked::new(&daemon);
    let at = |tail: &str| format!("/v1/{SERVICE}/x509-service-api/{tail}");
    checked.json("POST", &at("certificate"), &generic_ca("root-secp256r1", "Root"), 200);
    for (route, file) in [
        ("iso/iacas", "iacas-create"),
        ("iso/document-signers", "document-signers-create"),
        ("certificate", "certificate-self-signed-leaf"),
        ("certificate", "certificate-ca-signed-intermediate"),
    ] {
        let body = documented(&format!("{file}.request.json"));
        checked.json("POST", &at(route), &body, 200);
        // The same id again is a duplicate.
        checked.json("POST", &at(route), &body, 409);
    }
    let csr = checked.json(
        "POST",
        &at("csrs"),
        &json!({
            "type": "generic",
            "subjectKeyDescriptor": key("leaf-secp256r1"),
            "subjectName": { "commonName": "gateway.example", "country": "NL" },
            "subjectAlternativeNames": { "dnsNames": ["gateway.example"] },
        }),
        200,
    );
    let everything = json!({
        "certificateData": {
            "subjectName": { "commonName": "gateway.example", "organizationalUnitName": "Platform" },
            "notBefore": "2026-01-01T01:00:00.5+01:00",
            "notAfter": "2045-12-31T23:59:59Z",
            "keyUsage": ["DigitalSignature", "KeyAgreement"],
            "extendedKeyUsageOids": ["1.3.6.1.5.5.7.3.1"],
            "subjectAlternativeNames": {
                "dnsNames": ["*.gateway.example"],
                "uris": ["https://gateway.example/"],
                "emails": ["pki@gateway.example"],
                "ipAddresses": ["192.0.2.17", "2001:db8::1"],
            },
            "crlDistributionPointUri": "http://pki.example/root.crl",
        },
        "subjectPublicKeySource": { "type": "csr", "csr": csr.json["csrPem"] },
        "issuer": { "type": "ca-signed", "issuerKeyDescriptor": key("root-secp256r1") },
    });
    let mut everything = everything;
    everything["certificateData"].as_object_mut().unwrap().remove("notAfter");
    everything["certificateData"].as_object_mut().unwrap().remove("notBefore");
    checked.json("POST", &at("certificate"), &everything, 200);

    let page = checked.bare("GET", &at("certificates?limit=2"), 200);
    let cursor = page.json["nextCursor"].as_str().unwrap();
    checked.bare("GET", &at(&format!("certificates?cursor={cursor}")), 200);
    checked.bare("GET", &at("certificates?colour=red"), 400);
    let serial = page.json["items"][0]["serial"].as_str().unwrap();
    checked.bare("GET", &at(&format!("certificates/{serial}")), 200);
    checked.bare("GET", &at("certificates/00"), 404);
    checked.bare("GET", &at("certificates/xyz"), 400);

    // Idempotency.
    let send = |body: &Value| {
        let headers = [("content-type", "application/json"), ("idempotency-key", "one")];
        let answer = daemon.client.send("POST", &at("certificate"), &headers, body.to_string());
        let answer = answer.unwrap();
        checked.check("POST", &at("certificate"), &answer);
        answer
    };
    send(&everything).ok();
    assert_eq!(send(&everything).ok().header("idempotent-replayed"), Some("true"));
    assert_eq!(send(&generic_ca("root-secp256r1", "Other")).status, 409);
}

#[test]
fn stores_and_the_tree_fit_the_document() {
    let appliance = appliance();
    let daemon = appliance.start();
    let checked = Checked::new(&daemon);
    let issued = daemon.client.issue("iso/iacas", &documented("iacas-create.request.json")).ok();
    let (pem, store) = (issued.certificate(), "x509-store-api/certificates");
    let base = json!({ "type": "base", "certificatePem": pem });
    let vical = json!({
        "type": "vical-entry", "certificatePem": pem,
        "complementaryMetadata": { "docType": ["org.iso.18013.5.1.mDL"] },
    });
    checked.json("POST", &format!("/v1/{STORE}/{store}"), &base, 201);
    checked.json("POST", &format!("/v1/{STORE}.a/{store}"), &vical, 201);
    checked.json("POST", &format!("/v1/{STORE}.a/{store}"), &vical, 409);
    checked.json("PUT", &format!("/v1/{STORE}.a/{store}"), &base, 200);
    checked.json("PUT", &format!("/v1/{STORE}.b/{store}"), &base, 404);
    checked.json("PUT", &format!("/v1/{STORE}/{store}"), &base, 405);
    checked.bare("GET", &format!("/v1/{STORE}/{store}"), 200);
    checked.bare("GET", &format!("/v1/{STORE}/{store}/ids"), 200);
    checked.bare("GET", &format!("/v1/{STORE}.a/{store}"), 200);
    checked.bare("DELETE", &format!("/v1/{STORE}.a/{store}"), 200);
    checked.bare("DELETE", &format!("/v1/{STORE}.a/{store}"), 404);
    checked.bare("DELETE", &format!("/v1/{STORE}/{store}"), 405);

    let named = json!({ "name": "Second", "colour": "red" });
    checked.json("POST", "/v1/test.tenant2/resource-api/tenants/create", &named, 201);
    checked.json("POST", "/v1/test.tenant2/resource-api/tenants/create", &named, 409);
    checked.json("POST", "/v1/test.none.x/resource-api/tenants/create", &named, 404);
    checked.bare("GET", "/v1/test/resource-api/tenants", 200);
    let create = |name: &str, body: Value, status| {
        let path = format!("/v1/test.tenant2.{name}/resource-api/services/create");
        checked.json("POST", &path, &body, status);
    };
    create("kms", json!({ "type": "kms" }), 201);
    create("certs", json!({ "type": "x509-store", "_id": "test.tenant2.certs" }), 201);
    create("x509", json!({ "type": "x509-service", "dependencies": ["test.tenant2.kms"] }), 201);
    create(
        "vical",
        json!({
            "type": "vical-service",
            "signingKeyId": "test.tenant2.kms.vical",
            "signerCertificateId": "test.tenant2.certs.vical",
            "signerCertificateChainIds": ["test.tenant2.certs.root"],
            "dependencies": ["test.tenant2.certs"],
        }),
        201,
    );
    create("vical", json!({ "type": "kms" }), 409);
    create("wallet", json!({ "type": "wallet" }), 400);
    checked.bare("GET", "/v1/test.tenant2/resource-api/services", 200);
    checked.bare("GET", "/v1/test.tenant2.vical/resource-api/services", 200);
    for (service, api) in [("x509", "x509-service-api"), ("vical", "vical-service-api")] {
        let at = |tail: &str| format!("/v1/test.tenant2.{service}/{api}/dependencies{tail}");
        checked.bare("GET", &at(""), 200);
        let object = json!({ "dependency": STORE });
        checked.json("POST", &at("/add"), &object, 200);
        checked.json("POST", &at("/add"), &STORE.into(), 409);
        checked.json("POST", &at("/remove"), &object, 200);
        checked.json("POST", &at("/remove"), &object, 404);
        checked.json("POST", &at("/add"), &STORE.into(), 200);
        let text = [("content-type", "text/plain")];
        let answer = daemon.client.send("POST", &at("/add"), &text, KMS).unwrap();
        checked.check("POST", &at("/add"), &answer);
    }
}

#[test]
fn refusals_and_operations_fit_the_document() {
    let appliance = appliance();
    let stray = appliance.client_certificate("stray", "/CN=stray", "");
    let daemon = appliance.start();
    let checked = Checked::new(&daemon);
    let at = |target: &str| format!("/v1/{target}/x509-service-api/iso/iacas");
    let good = documented("iacas-create.request.json");
    let mut bad = good.clone();
    bad["certificateData"]["country"] = "us".into();
    let refused = checked.json("POST", &at(SERVICE), &bad, 400);
    assert_eq!(refused.json["field"], "/certificateData/country");
    checked.json("POST", &at("a%20b"), &good, 400);
    checked.json("POST", &at("elsewhere"), &good, 403);
    checked.json("POST", &at("test.none"), &good, 404);
    checked.json("POST", &at(STORE), &good, 404);
    let large = "x".repeat(70_000).into();
    checked.json("POST", &at(SERVICE), &large, 413);
    let text = daemon.client.send("POST", &at(SERVICE), &[("content-type", "text/csv")], "");
    assert_eq!(text.as_ref().unwrap().status, 415);
    checked.check("POST", &at(SERVICE), &text.unwrap());
    let unknown = daemon.client_with(&appliance, &stray).get("/healthz");
    assert_eq!(unknown.status, 401);
    checked.check("GET", "/healthz", &unknown);

    checked.bare("GET", "/healthz", 200);
    daemon.wait_until_ready();
    checked.bare("GET", "/readyz", 200);
    checked.bare("GET", "/v1/status", 200);
    checked.bare("GET", "/openapi.json", 200);
    let login = json!({ "email": "a@b.example", "password": "c" });
    checked.json("POST", "/auth/account/emailpass", &login, 200);
    checked.json("POST", "/auth/account/emailpass", &json!({}), 400);
}

#[test]
fn swagger_ui_comes_from_the_daemon_alone() {
    let appliance = appliance();
    let daemon = appliance.start();
    let checked = Checked::new(&daemon);
    checked.bare("GET", "/swagger", 200);
    for asset in ["swagger-ui.css", "swagger-ui-bundle.js", "start.js", "favicon-32x32.png"] {
        let path = format!("/swagger/{asset}");
        // By curl, because the client of these tests reads bodies as text, and a picture is not.
        let answer = appliance.shell(&format!(
            "curl -sf -D - -o /dev/null --cacert pki/server-ca.pem --cert pki/client.pem \
             --key pki/client.key {}{path}",
            daemon.url
        ));
        let policy = answer
            .lines()
            .find_map(|line| line.strip_prefix("content-security-policy: "))
            .unwrap_or_else(|| panic!("{asset}: {answer}"));
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    }
    let get = |path: &str| {
        appliance.shell(&format!(
            "curl -sf --cacert pki/server-ca.pem --cert pki/client.pem --key pki/client.key {}{path}",
            daemon.url
        ))
    };
    for path in ["/swagger", "/swagger/start.js"] {
        assert!(!get(path).contains("://"), "{path} names another host");
    }
    checked.bare("GET", "/swagger/other.js", 404);
}

#[test]
fn another_method_than_those_of_the_document_is_405_and_allow_names_them() {
    let appliance = appliance();
    let daemon = appliance.start();
    let document = daemon.client.get("/openapi.json").ok().json;
    for (path, item) in document["paths"].as_object().unwrap() {
        let target = match path.split('/').nth(3) {
            Some("x509-service-api") => SERVICE,
            // An entry, because it has all the methods of a store and further ones.
            Some("x509-store-api") if !path.ends_with("/ids") => "test.tenant1.x509-store-1.a",
            Some("x509-store-api") => STORE,
            Some("vical-service-api") if path.contains("/versions") && !path.ends_with("/ids") => {
                "test.tenant1.vical.versions.a"
            }
            Some("vical-service-api") => "test.tenant1.vical",
            Some("kms-service-api") => "test.tenant1.kms1.a",
            _ => "test.tenant1",
        };
        let url = path.replace("{target}", target).replace("{serialHex}", "00");
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            if item.get(method.to_lowercase()).is_some() {
                continue;
            }
            let answer = daemon.client.send(method, &url, &[], "").unwrap();
            assert_eq!(answer.status, 405, "{method} {url}: {}", answer.json);
            let allowed = answer.header("allow").unwrap_or_default();
            // A public GET answers HEAD too (RFC 9110, 9.3.2); the document names only GET.
            let mut allowed: Vec<_> = allowed
                .split(", ")
                .map(str::to_lowercase)
                .filter(|method| method != "head")
                .collect();
            allowed.sort();
            let documented: Vec<_> = item.as_object().unwrap().keys().cloned().collect();
            assert_eq!(allowed, documented, "{method} {url}");
        }
    }
}

#[test]
fn the_document_is_openapi_3_1() {
    let appliance = appliance();
    let daemon = appliance.start();
    let file = appliance.path("openapi.json");
    fs::write(&file, daemon.client.get("/openapi.json").ok().json.to_string()).unwrap();
    let output = judge("openapi-spec-validator").arg("--schema").arg("3.1").arg(&file).output();
    assert_content(&output.unwrap());
}

#[test]
fn schemathesis_finds_nothing_that_contradicts_the_document() {
    let appliance = appliance();
    let daemon = appliance.start();
    daemon.client.issue("iso/iacas", &documented("iacas-create.request.json")).ok();
    judge("schemathesis");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges/schemathesis.sh");
    let output = Command::new(script)
        .arg(bin())
        .arg(&daemon.url)
        .arg(appliance.path("pki"))
        .current_dir(appliance.path("."))
        .output();
    assert_content(&output.unwrap());
}

/// Where `tests/run.sh` installs the tools that judge the document.
fn bin() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/judges-openapi/bin")
}

fn judge(name: &str) -> Command {
    let program = bin().join(name);
    assert!(program.exists(), "{name} is not installed: run ./tests/run.sh");
    Command::new(program)
}

fn assert_content(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
}
