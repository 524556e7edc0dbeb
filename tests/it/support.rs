//! What the tests of the wider API share: words for refusals, and a client that speaks octets.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};

use crate::appliance::{Answer, Appliance, BINARY, Client, Daemon, SERVICE, SOON, generic_ca, key};

/// Asserts status, `field` and a part of the message.
#[track_caller]
pub fn refused(answer: &Answer, status: u16, field: Option<&str>, message: &str) {
    let shown = || format!("{}: {}", answer.status, answer.json);
    assert_eq!(answer.status, status, "{}", shown());
    assert_eq!(answer.json["field"].as_str(), field, "{}", shown());
    let said = answer.json["message"].as_str().unwrap_or_default();
    assert!(said.contains(message), "'{message}' in {}", shown());
    assert_eq!(answer.json["code"], status.to_string(), "{}", shown());
    assert_eq!(answer.json["exception"], true, "{}", shown());
    assert_eq!(answer.json["requestId"].as_str(), answer.header("x-request-id"), "{}", shown());
    assert_eq!(answer.header("content-type"), Some("application/json"), "{}", shown());
    // Existing clients take these two words, and nothing else, for "it is there".
    assert_eq!(said.contains("already exists"), message.contains("already exists"), "{}", shown());
}

/// Asserts the shape of a duplicate, member for member.
#[track_caller]
pub fn duplicate(answer: &Answer, target: &str, kind: &str, field: Option<&str>) {
    let mut wanted = json!({
        "type": "DuplicateTarget",
        "status": 409,
        "message": format!("target already exists: {target}"),
        "target": target,
        "target_entry_type": kind,
        "exception": true,
        "id": "ConflictException",
        "code": "409",
        "requestId": answer.header("x-request-id"),
    });
    if let Some(field) = field {
        wanted["field"] = field.into();
    }
    assert_eq!(answer.json, wanted);
    assert_eq!(answer.status, 409);
}

/// The members of an object, sorted.
pub fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> =
        value.as_object().unwrap_or_else(|| panic!("{value}")).keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// A self-signed leaf over a key of the KMS of the examples.
pub fn leaf(key_name: &str, common_name: &str) -> Value {
    let mut request = generic_ca(key_name, common_name);
    request["certificateData"]["isCertificateAuthority"] = false.into();
    request["certificateData"]["keyUsage"] = json!(["DigitalSignature"]);
    request
}

/// An IACA over a key of the KMS of the examples.
pub fn iaca(key_name: &str, common_name: &str) -> Value {
    json!({
        "certificateData": {
            "country": "NL",
            "commonName": common_name,
            "issuerAlternativeNameConf": { "uri": "https://iaca.example.com" },
        },
        "iacaKeyDesc": key(key_name),
    })
}

impl Appliance {
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

    /// What the daemon says when it does not start.
    pub fn refuses_to_start(&self) -> String {
        let limit = SOON.as_secs().to_string();
        let output = Command::new("timeout")
            .args([&limit, BINARY, "serve", "--config"])
            .arg(self.config())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let ended = output.status.code();
        assert!(ended.is_some_and(|code| code != 0 && code != 124), "{ended:?}\n{said}");
        said
    }
}

impl Client {
    /// POSTs JSON to a route.
    pub fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, &body.to_string())
    }

    /// POSTs JSON to a route of the service of the examples, with an Idempotency-Key.
    pub fn issue_once(&self, route: &str, idempotency_key: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json"), ("idempotency-key", idempotency_key)];
        let path = format!("/v1/{SERVICE}/x509-service-api/{route}");
        self.send("POST", &path, &headers, body.to_string()).unwrap()
    }
}

/// TLS with a client certificate, given without suffix.
pub fn tls_of(appliance: &Appliance, certificate: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let server_ca = appliance.path("pki/server-ca.pem");
    roots.add(CertificateDer::from_pem_file(server_ca).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_file(certificate.with_extension("pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(certificate.with_extension("key")).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

/// A TLS connection on which a test sends what it likes, when it likes.
pub struct Raw(StreamOwned<ClientConnection, TcpStream>);

impl Raw {
    /// Connects with a client certificate, given without suffix.
    pub fn open(appliance: &Appliance, daemon: &Daemon, certificate: &Path) -> Self {
        let name = "localhost".try_into().unwrap();
        let connection = ClientConnection::new(tls_of(appliance, certificate), name).unwrap();
        let socket = TcpStream::connect(daemon.api).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.set_write_timeout(Some(SOON)).unwrap();
        Self(StreamOwned::new(connection, socket))
    }

    /// With the provisioned certificate.
    pub fn demo(appliance: &Appliance, daemon: &Daemon) -> Self {
        Self::open(appliance, daemon, &appliance.path("pki/client"))
    }

    /// Sends octets.
    pub fn write(&mut self, octets: impl AsRef<[u8]>) {
        self.0.write_all(octets.as_ref()).unwrap();
        self.0.flush().unwrap();
    }

    /// Sends octets to a peer that may not want them any more.
    pub fn try_write(&mut self, octets: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.0.write_all(octets.as_ref())?;
        self.0.flush()
    }

    /// Asks whether the daemon is there, over this connection; none when it has ended.
    pub fn status(&mut self) -> Option<u16> {
        self.try_write("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").ok()?;
        let mut beginning = [0];
        self.0.read_exact(&mut beginning).ok()?;
        assert_eq!(&beginning, b"H");
        Some(self.answer().0)
    }

    /// Whether the other end has closed the connection, or does within some time.
    pub fn ends(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(octets) => octets == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }

    /// Reads one answer: status, head, body.
    pub fn answer(&mut self) -> (u16, String, Value) {
        let mut read = Vec::new();
        let end = loop {
            if let Some(end) = read.windows(4).position(|octets| octets == b"\r\n\r\n") {
                break end + 4;
            }
            let mut octet = [0];
            self.0.read_exact(&mut octet).unwrap();
            read.push(octet[0]);
        };
        let head = String::from_utf8(read[..end].to_vec()).unwrap().to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.trim().parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}
