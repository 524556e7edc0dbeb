//! A client that costs little: fixed octets out, status and length in, over keep-alive mutual TLS.

use std::{fs, io, net::SocketAddr, path::Path, sync::Arc};

use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A client certificate and where it is shown.
#[derive(Clone)]
pub struct Client {
    connector: TlsConnector,
    address: SocketAddr,
}

impl Client {
    /// The provisioned client. `resume`: whether a later connection may use the session of an
    /// earlier one. `alpn`: the protocol offered.
    pub fn new(pki: &Path, address: SocketAddr, resume: bool, alpn: &str) -> Self {
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_file_iter(pki.join("server-ca.pem")).unwrap() {
            roots.add(ca.unwrap()).unwrap();
        }
        let chain: Vec<_> = CertificateDer::pem_file_iter(pki.join("client.pem"))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let key = PrivateKeyDer::from_pem_slice(&fs::read(pki.join("client.key")).unwrap());
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key.unwrap())
            .unwrap();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        if !resume {
            config.resumption = Resumption::disabled();
        }
        Self { connector: TlsConnector::from(Arc::new(config)), address }
    }

    /// A connection after its handshake.
    pub async fn stream(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        self.connector.connect(name, stream).await
    }

    /// A connection for HTTP/1.1.
    pub async fn connect(&self) -> io::Result<Connection> {
        let buffer = Vec::with_capacity(8 * 1024);
        Ok(Connection { stream: self.stream().await?, buffer, is_closing: false })
    }
}

/// A POST with a JSON body, as it travels.
pub fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A keep-alive connection.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
    /// Whether the server has said that it closes after its last answer.
    pub is_closing: bool,
}

impl Connection {
    /// Whether the handshake resumed an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Sends a request and waits for its answer: status and body.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<(u16, &[u8])> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        let mut head = None;
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if head.is_none() {
                head = Head::read(&self.buffer)?;
            }
            if let Some(Head { status, octets, body, close }) = &head
                && self.buffer.len() >= octets + body
            {
                self.is_closing = *close;
                return Ok((*status, &self.buffer[*octets..octets + body]));
            }
        }
    }
}

struct Head {
    status: u16,
    octets: usize,
    body: usize,
    close: bool,
}

impl Head {
    /// `None` as long as it is not whole.
    fn read(octets: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = octets.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&octets[..end]).map_err(io::Error::other)?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok());
        let (mut body, mut close) = (None, false);
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            if name.eq_ignore_ascii_case("content-length") {
                body = value.parse().ok();
            } else if name.eq_ignore_ascii_case("connection") {
                close = value.eq_ignore_ascii_case("close");
            }
        }
        match (status, body) {
            (Some(status), Some(body)) => Ok(Some(Self { status, octets: end + 4, body, close })),
            _ => Err(io::Error::other(format!("an answer without status or length: {text}"))),
        }
    }
}
