//! A client that does as it likes with its connection: one that does not read, or hangs up.

use std::{fs, io::Write, net::TcpStream, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::Value;

use crate::appliance::{Appliance, Daemon, SERVICE};

/// A connection with the provisioned client certificate.
pub struct Connection(StreamOwned<ClientConnection, TcpStream>);

impl Connection {
    /// Connects.
    pub fn open(appliance: &Appliance, daemon: &Daemon) -> Self {
        let pem = |name: &str| fs::read(appliance.path("pki").join(name)).unwrap();
        let certificates = |name: &str| -> Vec<CertificateDer<'static>> {
            CertificateDer::pem_slice_iter(&pem(name)).map(Result::unwrap).collect()
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates("server-ca.pem"));
        let key = PrivateKeyDer::from_pem_slice(&pem("client.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates("client.pem"), key)
            .unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(daemon.api).unwrap();
        Self(StreamOwned::new(session, stream))
    }

    /// Sends a whole request to a route of the service of the examples, and reads nothing.
    pub fn send(&mut self, route: &str, body: &Value) {
        self.write(route, &body.to_string(), 0);
    }

    /// Sends all of a request but the second half of its body.
    pub fn send_half(&mut self, route: &str, body: &Value) {
        let body = body.to_string();
        self.write(route, &body, body.len() / 2);
    }

    fn write(&mut self, route: &str, body: &str, octets_kept: usize) {
        let head = format!(
            "POST /v1/{SERVICE}/x509-service-api/{route} HTTP/1.1\r\nhost: localhost\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.0.write_all(head.as_bytes()).unwrap();
        self.0.write_all(&body.as_bytes()[..body.len() - octets_kept]).unwrap();
        self.0.flush().unwrap();
    }
}
