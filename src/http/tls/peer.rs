//! The client of a connection.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustls::{
    ServerConnection,
    pki_types::{CertificateDer, UnixTime},
};

use super::Tls;
use crate::{
    domain::{client::ClientIdentity, key::sha256, time::Timestamp},
    x509::{Certificate, EncodedName},
};

/// A clock that is set ends the use of open connections after this time at most, where it matters to a
/// certificate of a CA.
const JUDGED_FOR: Duration = Duration::from_secs(30);

/// What the client of a connection has proved, and whether that still counts.
pub(in crate::http) struct Peer {
    /// As the certificate has it; which CA it leads to is found out when it is judged.
    identity: ClientIdentity,
    /// Its own certificate first.
    chain: Vec<CertificateDer<'static>>,
    /// The end of its own certificate; none if only TLS can read it.
    expires: Option<Timestamp>,
    judged: Mutex<Option<Judged>>,
}

/// What was found out about the certificate the last time. Also that it is not good is kept, because
/// judging it anew costs more than the request that it refuses.
struct Judged {
    generation: u64,
    at: Instant,
    verdict: Result<Arc<ClientIdentity>, rustls::Error>,
}

impl Peer {
    /// The client of a handshake that has ended, if it has shown a certificate.
    pub(in crate::http) fn of(session: &ServerConnection) -> Option<Self> {
        let chain = session.peer_certificates()?;
        let own = chain.first()?;
        // A certificate that TLS takes and our stricter parser does not has no subject to match; its
        // fingerprint still counts.
        let certificate = Certificate::from_der(own).ok();
        let subject = certificate.as_ref().map(Certificate::subject);
        Some(Self {
            identity: ClientIdentity {
                subject: subject.map(ToString::to_string).unwrap_or_default(),
                name: subject.map(EncodedName::comparable),
                issuers: Vec::new(),
                certificate_sha256: sha256(own),
            },
            expires: certificate.as_ref().map(|own| own.validity().not_after()),
            chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
            judged: Mutex::new(None),
        })
    }

    /// The client's identity, as the files of `tls` have it now: a connection outlives the handshake, and a
    /// resumed session had none, while CAs go and certificates are revoked and expire.
    ///
    /// # Errors
    /// The reason why the certificate is not accepted.
    pub(in crate::http) fn identity(
        &self,
        tls: &Tls,
    ) -> Result<Arc<ClientIdentity>, rustls::Error> {
        let generation = tls.now();
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = judged.as_ref().filter(|judged| {
            judged.generation == generation.number
                && judged.at.elapsed() < JUDGED_FOR
                && (judged.verdict.is_err() || !self.has_expired())
        });
        match fresh {
            Some(judged) => judged.verdict.clone(),
            None => {
                let (own, above) =
                    self.chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
                let (files, now) = (&generation.files, UnixTime::now());
                let verified = files.clients.verify_client_cert(own, above, now);
                let verdict = verified.map(|_verified| {
                    let issuers = files.issuers(own, above, now);
                    Arc::new(ClientIdentity { issuers, ..self.identity.clone() })
                });
                let (generation, at) = (generation.number, Instant::now());
                *judged = Some(Judged { generation, at, verdict: verdict.clone() });
                verdict
            }
        }
    }

    /// Whether its certificate has, by the clock of the day.
    pub(in crate::http) fn has_expired(&self) -> bool {
        self.expires.is_some_and(|expires| expires < Timestamp::now())
    }

    /// The subject, as the certificate has it.
    pub(in crate::http) fn subject(&self) -> &str {
        &self.identity.subject
    }

    /// Of its certificate.
    pub(in crate::http) fn certificate_sha256(&self) -> [u8; 32] {
        self.identity.certificate_sha256
    }
}
