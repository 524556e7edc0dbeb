//! The TLS files, read and found to fit together.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, UnixTime},
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

use super::{crl, pem};
use crate::{
    domain::{client_name::ComparableName, time::Timestamp},
    http::api_config::ApiConfig,
    x509::Certificate,
};

/// Where the files are, and what is done when the CRLs among them are old.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    certificate: PathBuf,
    private_key: PathBuf,
    client_ca: PathBuf,
    client_crl: Option<PathBuf>,
    /// Whether clients are refused whose CA has only a CRL with a nextUpdate that is past.
    expired_crl_refuses: bool,
}

/// The contents of the TLS files.
#[derive(Debug)]
pub(in crate::http) struct TlsFiles {
    pub(super) paths: Paths,
    /// Of just before they were read.
    pub(super) stamps: Vec<Option<Stamp>>,
    pub(super) certificate: Arc<CertifiedKey>,
    /// Clients of the configured CAs, on none of the configured CRLs.
    pub(super) clients: Arc<dyn ClientCertVerifier>,
    /// When the first CRL has to have a successor.
    pub(super) crl_next_update: Option<Timestamp>,
    cas: Vec<ClientCa>,
}

/// The CAs for clients that have one subject.
#[derive(Debug)]
struct ClientCa {
    /// `None` for those that our parser does not read.
    subject: Option<ComparableName>,
    /// Clients of these CAs, whether or not they are revoked.
    clients: Arc<dyn ClientCertVerifier>,
}

/// Metadata that differs when a file was replaced or written to; `None` where the file does not exist.
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
            expired_crl_refuses: config.expired_crl_refuses,
        })
    }

    /// That CRLs of the clients' CAs have expired, in words for the operator.
    pub(in crate::http) fn expired_crl(&self, now: Timestamp) -> Option<String> {
        let expired = self.crl_next_update.filter(|next_update| *next_update < now)?;
        let consequence = match self.paths.expired_crl_refuses {
            true => "clients of its CA are refused",
            false => "clients that were revoked since then are let in",
        };
        Some(format!("api.client_crl: a CRL has expired at {expired}; {consequence}"))
    }

    /// Reads the files at these places.
    pub(super) fn of(paths: Paths) -> Result<Self, Vec<String>> {
        let stamps = paths.stamps();
        match (own(&paths), clients(&paths)) {
            (Ok(certificate), Ok((clients, crl_next_update))) => {
                let cas = client_cas(&paths.client_ca).map_err(|error| vec![error])?;
                Ok(Self { paths, stamps, certificate, clients, crl_next_update, cas })
            }
            (own, clients) => Err(own.err().into_iter().chain(clients.err()).flatten().collect()),
        }
    }

    /// The subjects of the CAs for clients, each once.
    pub(in crate::http) fn client_ca_subjects(
        &self,
    ) -> impl Iterator<Item = &Option<ComparableName>> {
        self.cas.iter().map(|ca| &ca.subject)
    }

    /// The subjects of those CAs that a client's certificate, which has been found good, leads to. What
    /// it says of its issuer proves nothing, because each of the CAs may certify one of any name.
    pub(super) fn issuers(
        &self,
        own: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Vec<ComparableName> {
        let leads_to = |ca: &&ClientCa| {
            self.cas.len() == 1 || ca.clients.verify_client_cert(own, above, now).is_ok()
        };
        self.cas.iter().filter(leads_to).filter_map(|ca| ca.subject.clone()).collect()
    }
}

/// Whether what the command line shows and trusts can be used; the settings are its flags.
///
/// # Errors
/// Every problem, with the flag and the file.
pub fn check_client_files(cacert: &Path, cert: &Path, key: &Path) -> Result<(), Vec<String>> {
    let roots = read("--cacert", cacert, pem::roots).map(|_| ());
    let pair = pair(("--cert", cert), ("--key", key)).map(|_| ());
    let problems: Vec<_> =
        roots.err().into_iter().chain(pair.err().into_iter().flatten()).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn own(paths: &Paths) -> Result<Arc<CertifiedKey>, Vec<String>> {
    pair(("api.certificate", &paths.certificate), ("api.private_key", &paths.private_key))
        .map(Arc::new)
}

/// A chain and its key, each with its setting and its file.
fn pair(chain: (&str, &Path), key: (&str, &Path)) -> Result<CertifiedKey, Vec<String>> {
    let certificates = read(chain.0, chain.1, pem::certificates);
    let private_key = read(key.0, key.1, pem::private_key);
    match (certificates, private_key) {
        (Ok(certificates), Ok(private_key)) => {
            pem::pair(certificates, private_key).map_err(|words| {
                let (chain_file, key_file) = (chain.1.display(), key.1.display());
                vec![format!("{}, {}: {words}: {chain_file}, {key_file}", chain.0, key.0)]
            })
        }
        (certificates, private_key) => {
            Err(certificates.err().into_iter().chain(private_key.err()).collect())
        }
    }
}

/// Whom to let in, and until when the CRLs count.
type Clients = (Arc<dyn ClientCertVerifier>, Option<Timestamp>);

fn clients(paths: &Paths) -> Result<Clients, Vec<String>> {
    let roots = read("api.client_ca", &paths.client_ca, pem::roots);
    let crls = paths
        .client_crl
        .as_deref()
        .map_or(Ok(Vec::new()), |file| read("api.client_crl", file, pem::crls));
    let (roots, crls) = match (roots, crls) {
        (Ok(roots), Ok(crls)) => (roots, crls),
        (roots, crls) => return Err(roots.err().into_iter().chain(crls.err()).collect()),
    };
    let next_update = crl::next_update(&crls);
    let builder = WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::new(aws_lc_rs::default_provider()),
    )
    .with_crls(crls);
    let builder = match paths.expired_crl_refuses {
        true => builder.enforce_revocation_expiration(),
        false => builder,
    };
    let verifier = builder.build().map_err(|error| {
        let is_crl = matches!(error, VerifierBuilderError::InvalidCrl(_));
        vec![format!("api.{}: {error}", if is_crl { "client_crl" } else { "client_ca" })]
    })?;
    Ok((verifier, next_update))
}

/// The CAs by their subjects.
fn client_cas(file: &Path) -> Result<Vec<ClientCa>, String> {
    let mut by_subject: Vec<(Option<ComparableName>, rustls::RootCertStore)> = Vec::new();
    for der in read("api.client_ca", file, pem::certificates)? {
        let certificate = Certificate::from_der(&der).ok();
        let subject = certificate.map(|certificate| certificate.subject().comparable());
        let known = by_subject.iter().position(|(known, _)| *known == subject);
        let place = known.unwrap_or_else(|| {
            by_subject.push((subject, rustls::RootCertStore::empty()));
            by_subject.len() - 1
        });
        if let Some((_, roots)) = by_subject.get_mut(place) {
            roots
                .add(der)
                .map_err(|error| format!("api.client_ca: {}: {error}", file.display()))?;
        }
    }
    let verifier = |(subject, roots): (Option<ComparableName>, _)| {
        let provider = Arc::new(aws_lc_rs::default_provider());
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map(|clients| ClientCa { subject, clients })
            .map_err(|error| format!("api.client_ca: {error}"))
    };
    by_subject.into_iter().map(verifier).collect()
}

/// Reads a file as what it is to hold.
///
/// # Errors
/// Setting, file and problem.
fn read<T>(
    setting: &str,
    file: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<T, String> {
    let mut octets = Zeroizing::new(Vec::new());
    File::open(file)
        .and_then(|mut file| file.read_to_end(&mut octets))
        .map_err(|error| error.to_string())
        .and_then(|_| parse(&octets))
        .map_err(|words| format!("{setting}: {}: {words}", file.display()))
}
