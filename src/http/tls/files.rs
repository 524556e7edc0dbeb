//! The TLS files, read and found to fit together.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject},
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

use crate::http::ApiConfig;

/// Where the files are.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    certificate: PathBuf,
    private_key: PathBuf,
    client_ca: PathBuf,
    client_crl: Option<PathBuf>,
}

/// What is in the files.
#[derive(Debug)]
pub(in crate::http) struct TlsFiles {
    pub(super) paths: Paths,
    /// Of just before they were read.
    pub(super) stamps: Vec<Option<Stamp>>,
    pub(super) certificate: Arc<CertifiedKey>,
    /// Clients of the configured CAs, on none of the configured CRLs.
    pub(super) clients: Arc<dyn ClientCertVerifier>,
}

/// What differs when a file was replaced or written to; `None` where there is no such file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Paths {
    pub(super) fn stamps(&self) -> Vec<Option<Stamp>> {
        [&self.certificate, &self.private_key, &self.client_ca]
            .into_iter()
            .chain(&self.client_crl)
            .map(|file| {
                let is = fs::metadata(file).ok()?;
                Some(Stamp {
                    device: is.dev(),
                    inode: is.ino(),
                    length: is.len(),
                    seconds: is.mtime(),
                    nanoseconds: is.mtime_nsec(),
                })
            })
            .collect()
    }
}

impl TlsFiles {
    /// Reads the files of a configuration.
    ///
    /// # Errors
    /// Every problem, with the setting and the file that cannot be used.
    pub(in crate::http) fn read(config: &ApiConfig) -> Result<Self, Vec<String>> {
        Self::of(Paths {
            certificate: config.certificate.clone(),
            private_key: config.private_key.clone(),
            client_ca: config.client_ca.clone(),
            client_crl: config.client_crl.clone(),
        })
    }

    /// Reads the files at these places.
    pub(super) fn of(paths: Paths) -> Result<Self, Vec<String>> {
        let stamps = paths.stamps();
        match (own(&paths), clients(&paths)) {
            (Ok(certificate), Ok(clients)) => Ok(Self { paths, stamps, certificate, clients }),
            (own, clients) => Err(own.err().into_iter().chain(clients.err()).flatten().collect()),
        }
    }
}

fn own(paths: &Paths) -> Result<Arc<CertifiedKey>, Vec<String>> {
    let chain = certificates("api.certificate", &paths.certificate);
    let key = private_key(&paths.private_key);
    match (chain, key) {
        (Ok(chain), Ok(key)) => CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map(Arc::new)
            .map_err(|error| vec![format!("api.certificate, api.private_key: {error}")]),
        (chain, key) => Err(chain.err().into_iter().chain(key.err()).collect()),
    }
}

fn clients(paths: &Paths) -> Result<Arc<dyn ClientCertVerifier>, Vec<String>> {
    let roots = roots(&paths.client_ca);
    let crls = paths.client_crl.as_deref().map_or(Ok(Vec::new()), crls);
    match (roots, crls) {
        (Ok(roots), Ok(crls)) => WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::new(aws_lc_rs::default_provider()),
        )
        .with_crls(crls)
        .build()
        .map_err(|error| {
            let is_crl = matches!(error, VerifierBuilderError::InvalidCrl(_));
            vec![format!("api.{}: {error}", if is_crl { "client_crl" } else { "client_ca" })]
        }),
        (roots, crls) => Err(roots.err().into_iter().chain(crls.err()).collect()),
    }
}

fn roots(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for ca in certificates("api.client_ca", file)? {
        roots.add(ca).map_err(|error| format!("api.client_ca: {}: {error}", file.display()))?;
    }
    Ok(roots)
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
