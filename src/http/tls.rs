//! Mutual TLS: who we are, whom we let in.

use std::{any::Any, fs::File, io::Read, path::Path, sync::Arc};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{dev::Extensions, rt::net::TcpStream};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject},
    server::{VerifierBuilderError, WebPkiClientVerifier},
};
use zeroize::Zeroizing;

use super::ApiConfig;
use crate::{
    domain::{client::ClientIdentity, key::sha256},
    x509::Certificate,
};

/// TLS 1.2 and 1.3, a client certificate required, from one of the configured CAs and on none of
/// the configured CRLs.
///
/// # Errors
/// Names the setting and the file that cannot be used.
pub(super) fn server_config(config: &ApiConfig) -> Result<ServerConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for ca in certificates("api.client_ca", &config.client_ca)? {
        roots
            .add(ca)
            .map_err(|error| format!("api.client_ca: {}: {error}", config.client_ca.display()))?;
    }
    let crls = match &config.client_crl {
        Some(file) => crls(file)?,
        None => Vec::new(),
    };
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .with_crls(crls)
            .build()
            .map_err(|error| {
                let is_crl = matches!(error, VerifierBuilderError::InvalidCrl(_));
                format!("api.{}: {error}", if is_crl { "client_crl" } else { "client_ca" })
            })?;
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            certificates("api.certificate", &config.certificate)?,
            private_key(&config.private_key)?,
        )
        .map_err(|error| format!("api.certificate, api.private_key: {error}"))
}

/// Runs once for each connection, after the handshake: what the client has proved.
pub(super) fn remember_peer(connection: &dyn Any, extensions: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<TlsStream<TcpStream>>() else { return };
    let Some(certificate) = stream.get_ref().1.peer_certificates().and_then(<[_]>::first) else {
        return;
    };
    // A certificate that TLS takes and our stricter parser does not has no subject to match; its
    // fingerprint still counts.
    let subject = Certificate::from_der(certificate)
        .map(|certificate| certificate.subject().to_string())
        .unwrap_or_default();
    extensions
        .insert(Arc::new(ClientIdentity { subject, certificate_sha256: sha256(certificate) }));
}

fn certificates(setting: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{setting}: {}: {error}", file.display()))?;
    if found.is_empty() {
        return Err(format!("{setting}: {}: no certificate in it", file.display()));
    }
    Ok(found)
}

fn crls(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let found: Vec<_> = CertificateRevocationListDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| format!("api.client_crl: {}: {error}", file.display()))?;
    if found.is_empty() {
        return Err(format!("api.client_crl: {}: no CRL in it", file.display()));
    }
    Ok(found)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let named =
        |error: &dyn std::fmt::Display| format!("api.private_key: {}: {error}", file.display());
    let mut pem = Zeroizing::new(Vec::new());
    File::open(file)
        .and_then(|mut file| file.read_to_end(&mut pem))
        .map_err(|error| named(&error))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| named(&error))
}
