//! TLS connections on which a test sends bytes of its own.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::Value;

use crate::{appliance::Appliance, daemon::Daemon, processes::SOON};

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

/// A TLS connection on which a test sends any bytes at any time.
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

    /// Sends bytes.
    pub fn write(&mut self, octets: impl AsRef<[u8]>) {
        self.0.write_all(octets.as_ref()).unwrap();
        self.0.flush().unwrap();
    }

    /// Sends bytes to a peer that may have closed the connection.
    pub fn try_write(&mut self, octets: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.0.write_all(octets.as_ref())?;
        self.0.flush()
    }

    /// Sends a request for `/healthz`; `None` if the connection has ended.
    pub fn status(&mut self) -> Option<u16> {
        self.try_write("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").ok()?;
        let mut beginning = [0];
        self.0.read_exact(&mut beginning).ok()?;
        assert_eq!(&beginning, b"H");
        Some(self.answer().0)
    }

    /// Whether the peer closes the connection before the read timeout.
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
