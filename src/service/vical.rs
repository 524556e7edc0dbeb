//! Publishing VICALs (ISO/IEC 18013-5 C.1), and reading what was published.

mod entries;
mod signer;

use data_encoding::HEXLOWER;
use entries::Collected;
pub use entries::Skipped;
use serde_json::{Value, json};
use signer::Signer;

use super::{
    Call, Services,
    act::{self, Act, Finished, Made, ReadyKey, Records, Unsigned, perform},
    actor::Actor,
    error::{Error, Invalid},
    fresh,
    idempotency::Answer,
    key_errors,
    known::Known,
    roles,
};
use crate::{
    audit::{AuditRecord, EntryKind},
    domain::{
        client::{KeyPurpose, Permission},
        key::Signature,
        member::{Member, Message, Part, RequestKey},
        path::{KeyPath, PathElement, ResourcePath},
        request::{KeyDescriptor, KeySource, PublishRequest},
        time::Timestamp,
        tree::{Service, Vical},
    },
    keys::{Key, KeyRefusal},
    ledger::{Product, PublishedVersion, TakenVersion, VicalReservation, VicalSigner},
    vical::{CertificateInfo, List, SignedVical, UnsignedVical, VicalError},
};
pub use crate::{
    ledger::{VicalArtifact, VicalVersion},
    vical::VERSION,
};

/// Rules of publication that can be switched.
#[derive(Debug, Clone, Copy)]
pub struct VicalSettings {
    /// Whether a signer or an entry that is not quite what the standard asks for is refused, and
    /// not only reported.
    pub strict: bool,
    /// Whether a list of nothing may be published.
    pub allow_empty: bool,
    /// Whether tag 18 stands before the structure.
    pub cose_tag: bool,
}

/// A version that is recorded and may be fetched by everyone.
#[derive(Debug)]
pub struct Published {
    /// `{service}.versions.{id}`.
    pub version: ResourcePath,
    /// How many certificates it lists.
    pub entry_count: usize,
    /// Who publishes.
    pub provider: String,
    /// The date within.
    pub date: Timestamp,
    /// Unique and growing within the service.
    pub issue_id: u64,
    /// When the next one is to be expected.
    pub next_update: Option<Timestamp>,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

/// Writes the body of the answer.
pub type Render = fn(&Published) -> serde_json::Result<Vec<u8>>;

/// Signs a list of all VICAL entries in the attached stores and makes it the newest version.
///
/// # Errors
/// [`Error`] says what the caller is told. After an error nothing of the request remains but its
/// audit entries and, when it had come so far, an issue id that is spent.
pub async fn publish(
    services: &Services,
    call: &Call,
    request: &PublishRequest,
    render: Render,
    now: Timestamp,
) -> Result<Answer, Error> {
    // Boxed: a publication that waits for its signature needs no room for what came before.
    let (publication, skipped) = Box::pin(collect(services, call, request, now)).await?;
    let mut published = publication.published(skipped);
    let finish = |made: &Made<SignedList>| {
        published.issue_id = made.signed.issue_id;
        let body = render(&published).map_err(|error| act::unwritable(&error))?;
        let (version, audit) = publication.outcome(made, &published.skipped);
        Ok(Finished { product: Product::Vical(Box::new(version)), audit, body, serial: None })
    };
    let answer = perform(services, || Box::pin(publication.prepare(services)), finish).await?;
    let (issue_id, audit_index) = (published.issue_id, answer.audit_index);
    tracing::info!(version = %published.version, issue_id, audit_index, "VICAL published");
    Ok(answer)
}

/// Decides what is published, and by which signer.
async fn collect<'a>(
    services: &Services,
    call: &'a Call,
    request: &PublishRequest,
    now: Timestamp,
) -> Result<(Publication<'a>, Vec<Skipped>), Error> {
    // 1. The rules of the fields.
    let vical = declared(call)?;
    let date = request.issuance_date.unwrap_or(now);
    if request.next_update.is_some_and(|next| next <= date) {
        let what = Message::name(Member::NextUpdate)
            .text(" must be later than ")
            .and(Part::Name(Member::IssuanceDate));
        return Err(Invalid::at(Member::NextUpdate, what).into());
    }
    let version = request.version.clone().unwrap_or_else(fresh::id);

    // 2. The key: allowed, there, the pinned one, and no IACA's.
    let key = key(services, call, vical).await?;
    let known = Known::of_key(services, call, &key, now).await?;
    roles::refuse_iaca_use(KeyPurpose::Vical, &known, &key, now)
        .map_err(|message| Error::Forbidden { message: message.into(), field: None })?;

    // 3. The version's id.
    let is_taken = services.ledger.is_version_taken(call.target.clone(), version.clone());
    if is_taken.await.map_err(key_errors::ledger)? {
        return Err(act::version_taken(&call.target, &version));
    }

    // 4. The signer's certificate, and those above it.
    let mut warnings = Vec::new();
    let signer = Signer::load(services, call, vical, &key, now).await?;
    for certificate in signer.certificates() {
        if let Ok(key) = certificate.public_key()
            && let Some(bad) = services.bad_keys.reason(&key).await?
        {
            let subject = certificate.subject();
            return Err(Invalid::body(format!("certificate {subject}: {bad}")).into());
        }
    }
    signer.hold_against_profile(services.vical.strict, &mut warnings)?;

    // 5. What is listed.
    let entries = services.ledger.vical_entries(call.stores()).await.map_err(key_errors::ledger)?;
    let collected = Collected::of(entries, now);
    collected.check(services.vical, &mut warnings)?;
    for warning in &warnings {
        tracing::warn!(service = %call.target, "{warning}");
    }
    let Collected { infos, skipped } = collected;
    let publication = Publication {
        call,
        version,
        new_use: act::keys::new_use(&key, KeyPurpose::Vical, &known),
        key,
        signer,
        provider: request.provider.clone(),
        date,
        next_update: request.next_update,
        infos,
        warnings,
        tagged: services.vical.cose_tag,
        now,
    };
    Ok((publication, skipped))
}

/// The paths of the published versions, newest first.
///
/// # Errors
/// [`Error::Unavailable`] when the ledger does not answer.
pub async fn ids(services: &Services, service: &ResourcePath) -> Result<Vec<ResourcePath>, Error> {
    let ids = services.ledger.vical_ids(service.clone()).await.map_err(key_errors::ledger)?;
    Ok(ids.iter().map(|id| service.vical_version(id)).collect())
}

/// The octets of a version; without `version`, of the newest.
///
/// # Errors
/// [`Error::NotFound`] when there is none, [`Error::Unavailable`] when the ledger does not answer.
pub async fn artifact(
    services: &Services,
    service: &ResourcePath,
    version: Option<&PathElement>,
) -> Result<VicalArtifact, Error> {
    let found = services.ledger.vical_artifact(service.clone(), version.cloned());
    found.await.map_err(key_errors::ledger)?.ok_or_else(|| missing(service, version))
}

/// What is known of a version; without `version`, of the newest.
///
/// # Errors
/// [`Error::NotFound`] when there is none, [`Error::Unavailable`] when the ledger does not answer.
pub async fn version(
    services: &Services,
    service: &ResourcePath,
    version: Option<&PathElement>,
) -> Result<VicalVersion, Error> {
    let found = services.ledger.vical_version(service.clone(), version.cloned());
    found.await.map_err(key_errors::ledger)?.ok_or_else(|| missing(service, version))
}

fn declared(call: &Call) -> Result<&Vical, Error> {
    match call.tree.service(&call.target) {
        Some(Service::Vical(vical)) => Ok(vical),
        _ => Err(Error::Internal(format!("{} is not a vical-service", call.target))),
    }
}

fn missing(service: &ResourcePath, version: Option<&PathElement>) -> Error {
    let message = match version {
        Some(version) => format!("{} does not exist", service.vical_version(version)),
        None => "no version published".to_owned(),
    };
    Error::NotFound { message, field: None }
}

/// The key that the service is declared with. No member of the request is to blame for it.
async fn key(services: &Services, call: &Call, vical: &Vical) -> Result<Key, Error> {
    let path = &vical.signing_key;
    let refused = |refusal: KeyRefusal| {
        let source = KeySource::Kms(path.clone());
        let descriptor = KeyDescriptor { key: RequestKey::Subject, source };
        key_errors::refused(&descriptor, refusal).without_field()
    };
    let keyring = &services.keyring;
    let admitted =
        keyring.admit_own(path, &call.tree, &call.target, KeyPurpose::Vical).map_err(refused)?;
    let key = keyring.find(admitted).await.map_err(refused)?;
    match services.bad_keys.reason(key.public_key()).await? {
        Some(bad) => Err(Invalid::body(format!("the signing key {path}: {bad}")).into()),
        None => Ok(key),
    }
}

/// Everything decided about one publication but its issue id.
struct Publication<'a> {
    call: &'a Call,
    version: PathElement,
    key: Key,
    signer: Signer,
    provider: String,
    date: Timestamp,
    next_update: Option<Timestamp>,
    infos: Vec<CertificateInfo>,
    warnings: Vec<String>,
    /// The key, when its use for VICALs is new.
    new_use: Option<[u8; 32]>,
    /// Whether tag 18 stands before the structure.
    tagged: bool,
    now: Timestamp,
}

/// An encoded list with its number.
struct UnsignedList {
    unsigned: UnsignedVical,
    /// Keeps the version from others until the intent has reserved it.
    taken: TakenVersion,
    tagged: bool,
}

/// A signed list with its number.
struct SignedList {
    signed: SignedVical,
    issue_id: u64,
}

impl Unsigned for UnsignedList {
    type Signed = SignedList;
    type Error = VicalError;

    fn to_be_signed(&self) -> &[u8] {
        self.unsigned.to_be_signed()
    }

    fn assemble(self, signature: Signature) -> Result<SignedList, VicalError> {
        let signed = self.unsigned.assemble(&signature, self.tagged)?;
        Ok(SignedList { signed, issue_id: self.taken.issue_id })
    }
}

impl Publication<'_> {
    /// Takes the next issue id, and encodes the list with it. The id is taken before the list is
    /// encoded, in a transaction of its own: one that is not used leaves a gap, which does no harm.
    async fn prepare(&self, services: &Services) -> Result<Act<UnsignedList>, Error> {
        let ready = ReadyKey::wait(&self.key).await?;
        let service = self.call.target.clone();
        let taken = services.ledger.take_vical_version(service.clone(), self.version.clone());
        let taken = taken.await.map_err(key_errors::ledger)?;
        let taken = taken.ok_or_else(|| act::version_taken(&service, &self.version))?;
        let issue_id = taken.issue_id;
        let list = List {
            provider: self.provider.clone(),
            date: self.date,
            issue_id,
            next_update: self.next_update,
            certificate_infos: self.infos.clone(),
        };
        let unsigned = UnsignedVical::encode(&list, self.key.public_key(), &self.signer.der())
            .map_err(|error| Error::Internal(format!("the VICAL was not encoded: {error}")))?;
        let signer = VicalSigner {
            sha256s: self.signer.sha256s(),
            may_change: self.call.grants.may(Permission::ResourceWrite, &service),
        };
        let detail = self.detail(issue_id, &unsigned.tbs_sha256());
        Ok(Act {
            actor: Actor::Client(self.call.clone()),
            service,
            purpose: KeyPurpose::Vical,
            key: ready,
            unsigned: UnsignedList { unsigned, taken, tagged: self.tagged },
            audit: self.call.entry(EntryKind::Intent, detail, self.now),
            records: Records {
                version: Some(VicalReservation { version: self.version.clone(), issue_id, signer }),
                new_use: self.new_use,
                ..Records::default()
            },
            now: self.now,
        })
    }

    /// What is kept, and the audit entry that says so.
    fn outcome(
        &self,
        Made { signed, tbs_sha256, replaced_signer }: &Made<SignedList>,
        skipped: &[Skipped],
    ) -> (PublishedVersion, AuditRecord) {
        let SignedList { signed, issue_id } = signed;
        let mut detail = self.detail(*issue_id, tbs_sha256);
        detail["artifactSha256"] = HEXLOWER.encode(&signed.sha256()).into();
        detail["skipped"] = skipped.iter().map(|skipped| skipped.path.to_string()).collect();
        let version = PublishedVersion {
            provider: self.provider.clone(),
            date: self.date,
            next_update: self.next_update,
            entry_count: self.infos.len(),
            artifact: signed.octets().to_vec(),
            sha256: signed.sha256(),
            algorithm: signed.algorithm(),
            signer_certificate_pem: self.signer.certificate.pem(),
            signer_chain_pem: self.signer.chain.iter().map(|above| above.pem()).collect(),
            signer_sha256s: self.signer.sha256s(),
            signer_changed: replaced_signer
                .as_deref()
                .map(|replaced| self.signer_changed(replaced)),
        };
        (version, self.call.entry(EntryKind::VicalPublished, detail, self.now))
    }

    /// The audit entry of a signer that takes the place of the one on record.
    fn signer_changed(&self, replaced: &[[u8; 32]]) -> AuditRecord {
        let texts = |sha256s: &[[u8; 32]]| -> Vec<_> {
            sha256s.iter().map(|sha256| HEXLOWER.encode(sha256)).collect()
        };
        let detail = json!({
            "version": self.path().as_str(),
            "signerSha256s": texts(&self.signer.sha256s()),
            "replacedSha256s": texts(replaced),
        });
        self.call.entry(EntryKind::VicalSignerChanged, detail, self.now)
    }

    /// The answer, without the issue id.
    fn published(&self, skipped: Vec<Skipped>) -> Published {
        Published {
            version: self.path(),
            entry_count: self.infos.len(),
            provider: self.provider.clone(),
            date: self.date,
            issue_id: 0,
            next_update: self.next_update,
            skipped,
        }
    }

    /// The detail of `intent` and of `vical-published`.
    fn detail(&self, issue_id: u64, tbs_sha256: &[u8; 32]) -> Value {
        json!({
            "profile": KeyPurpose::Vical.name(),
            "version": self.path().as_str(),
            "vicalIssueId": issue_id,
            "entryCount": self.infos.len(),
            "issuerKeyPath": self.key.path().map(KeyPath::as_str),
            "signerCertificateSha256": HEXLOWER.encode(&self.signer.certificate.sha256()),
            "tbsSha256": HEXLOWER.encode(tbs_sha256),
            "warnings": self.warnings,
            "devKey": self.key.is_dev(),
        })
    }

    fn path(&self) -> ResourcePath {
        self.call.target.vical_version(&self.version)
    }
}
