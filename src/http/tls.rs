//! Mutual TLS: the server's certificate and the CAs of clients, by the files as they are now.

mod crl;
mod files;
mod peer;
mod pem;
mod watch;

use std::sync::{Arc, PoisonError, RwLock};

pub(super) use files::TlsFiles;
pub use files::check_client_files;
pub(super) use peer::Peer;
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, UnixTime},
    server::{
        ClientHello, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
pub use watch::TlsWatch;

use crate::domain::time::Timestamp;

/// RFC 9113, section 3.1.
pub(super) const ALPN_HTTP2: &[u8] = b"h2";
/// RFC 7301, section 6.
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// The TLS configuration of new handshakes, replaced as a whole when files change.
#[derive(Debug)]
pub(super) struct Tls(RwLock<Arc<Generation>>);

/// The files as they were read at one moment.
#[derive(Debug)]
struct Generation {
    /// Counts up; what was judged under another one is judged again.
    number: u64,
    files: TlsFiles,
}

impl Tls {
    pub(super) fn new(files: TlsFiles) -> Self {
        Self(RwLock::new(Arc::new(Generation { number: 0, files })))
    }

    fn now(&self) -> Arc<Generation> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on, for handshakes and for the clients of open connections.
    pub(super) fn replace(&self, files: TlsFiles) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(Generation { number: current.number + 1, files });
    }

    /// When the first CRL of the clients' CAs has to have a successor.
    pub(super) fn crl_next_update(&self) -> Option<Timestamp> {
        self.now().files.crl_next_update
    }

    /// That CRLs of the clients' CAs have expired, in words for the operator.
    pub(super) fn expired_crl(&self) -> Option<String> {
        self.now().files.expired_crl(Timestamp::now())
    }

    /// [`Self::replace`], unless somebody else has replaced `seen` before.
    fn replace_if(&self, seen: u64, files: TlsFiles) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if current.number == seen {
            *current = Arc::new(Generation { number: seen + 1, files });
        }
    }

    /// TLS 1.2 and 1.3, a client certificate required.
    ///
    /// # Errors
    /// In words for the operator, when the library refuses its own defaults.
    pub(super) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, String> {
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_client_cert_verifier(Arc::clone(self) as Arc<dyn ClientCertVerifier>)
                .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
        Ok(config)
    }
}

impl ResolvesServerCert for Tls {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.now().files.certificate))
    }
}

impl ClientCertVerifier for Tls {
    /// None: names of CAs that a reload takes away would outlive it, and a client that goes by them
    /// would not offer its new certificate.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.now().files.clients.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.now().files.clients.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.now().files.clients.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.now().files.clients.supported_verify_schemes()
    }
}
