//! Publishing VICALs (ISO/IEC 18013-5 C.1), and reading what was published.

mod entries;
mod signer;

use std::sync::Arc;

use entries::Collected;
pub use entries::Skipped;
use serde_json::{Value, json};
use signer::Signer;
use tokio::time::Instant;

use super::{
    Call, Services,
    error::{DuplicateKind, Error, Invalid},
    idempotency::Answer,
    issuers, key_errors,
    known::Known,
    signing,
};
use crate::{
    audit::{AuditRecord, EntryKind},
    domain::{
        client::{KeyPurpose, Permission},
        member::{Member, Message, Part, RequestKey},
        path::{PathElement, ResourcePath},
        request::{KeyDescriptor, KeySource, PublishRequest},
        time::Timestamp,
        tree::{Service, Vical},
    },
    keys::{Key, KeyRefusal},
    ledger::{
        BeginError, BegunPublication, Intent, IntentId, KeyPin, Outcome, Product, PublishedVersion,
        VicalSigner,
    },
    vical::{List, SignedVical, UnsignedVical},
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
    // 1. The rules of the fields.
    let vical = declared(call)?;
    let date = request.issuance_date.unwrap_or(now);
    if request.next_update.is_some_and(|next| next <= date) {
        let what = Message::name(Member::NextUpdate)
            .text(" must be later than ")
            .and(Part::Name(Member::IssuanceDate));
        return Err(Invalid::at(Member::NextUpdate, what).into());
    }
    let version = match &request.version {
        Some(version) => version.clone(),
        None => signing::random_id()?,
    };

    // 2. The key: allowed, there, the pinned one.
    let key = key(services, call, vical).await?;
    let stores = call.stores();
    let known = Known::load(services, call, (key.public_key(), key.path()), &stores, now).await?;
    issuers::refuse_iaca_use(KeyPurpose::Vical, &known, &key, now)
        .map_err(|message| Error::Forbidden { message: message.into(), field: None })?;

    // 3. The version's id.
    let is_taken = services.ledger.is_version_taken(call.target.clone(), version.clone());
    if is_taken.await.map_err(key_errors::ledger)? {
        return Err(taken(call, &version));
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
    let entries = services.ledger.vical_entries(stores).await.map_err(key_errors::ledger)?;
    let collected = Collected::of(entries, now);
    collected.check(services.vical, &mut warnings)?;
    for warning in &warnings {
        tracing::warn!(service = %call.target, "{warning}");
    }

    // 6. Somebody could sign. Encode with the next issue id; record the intent.
    let deadline = key.until_up().await.map_err(key_errors::signing)?;
    let Collected { infos, skipped } = collected;
    let publication = Arc::new(Publication {
        noted_key: signing::noted(&key, KeyPurpose::Vical, &known),
        call: call.clone(),
        version,
        key,
        signer,
        list: List {
            provider: request.provider.clone(),
            date,
            issue_id: 0,
            next_update: request.next_update,
            certificate_infos: infos,
        },
        warnings,
        now,
    });
    let Begun { intent, issue_id, unsigned, replaces } = publication.begin(services).await?;

    // 7. Sign, and verify in software.
    let detail = publication.detail(issue_id, &unsigned);
    let signed = match publication.sign(unsigned, services.vical.cose_tag, deadline).await {
        Ok(signed) => signed,
        Err(error) => return Err(signing::abort(services, call, intent, error, now).await),
    };

    // 8. Record the outcome. Then, and only then, anyone may have it.
    let published = publication.published(issue_id, skipped);
    let body = match render(&published) {
        Ok(body) => body,
        Err(error) => {
            let error = Error::Internal(format!("the answer could not be written: {error}"));
            return Err(signing::abort(services, call, intent, error, now).await);
        }
    };
    let kept = call.keyed.as_ref().map(|keyed| keyed.keep(&body, None, now));
    let (version, record) = publication.outcome(&signed, detail, &published.skipped);
    let signer_changed = replaces.map(|replaced| publication.signer_changed(&replaced));
    let product = Product::Vical(Box::new(PublishedVersion { signer_changed, ..version }));
    let outcome = Outcome { product, audit: record, answer: kept };
    match services.ledger.complete(intent, outcome).await {
        Ok(audit_index) => {
            tracing::info!(version = %published.version, issue_id, audit_index, "VICAL published");
            Ok(Answer { body, serial: None, audit_index, replayed: false })
        }
        Err(error) => {
            tracing::error!(%error, version = %published.version, "outcome not recorded");
            let told = Error::Unavailable {
                message: "storing failed; no VICAL was published".to_owned(),
                retry_after_seconds: STORING_RETRY_SECONDS,
            };
            Err(signing::abort(services, call, intent, told, now).await)
        }
    }
}

/// The paths of the published versions, newest first.
///
/// # Errors
/// [`Error::Unavailable`] when the ledger does not answer.
pub async fn ids(services: &Services, service: &ResourcePath) -> Result<Vec<ResourcePath>, Error> {
    let ids = services.ledger.vical_ids(service.clone()).await.map_err(key_errors::ledger)?;
    Ok(ids.iter().map(|id| version_path(service, id)).collect())
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

/// The path of a version: `versions` is the reserved child of a VICAL service.
pub fn version_path(service: &ResourcePath, version: &PathElement) -> ResourcePath {
    service.child(&PathElement::versions()).child(version)
}

const STORING_RETRY_SECONDS: u64 = 5;

fn declared(call: &Call) -> Result<&Vical, Error> {
    match call.tree.service(&call.target) {
        Some(Service::Vical(vical)) => Ok(vical),
        _ => Err(Error::Internal(format!("{} is not a vical-service", call.target))),
    }
}

fn missing(service: &ResourcePath, version: Option<&PathElement>) -> Error {
    let message = match version {
        Some(version) => format!("{} does not exist", version_path(service, version)),
        None => "no version published".to_owned(),
    };
    Error::NotFound { message, field: None }
}

fn taken(call: &Call, version: &PathElement) -> Error {
    Error::Duplicate {
        target: version_path(&call.target, version),
        kind: DuplicateKind::VicalVersion,
        field: Some(Member::VicalVersion),
    }
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

/// Everything that was decided about one publication, but its issue id.
struct Publication {
    call: Call,
    version: PathElement,
    key: Key,
    signer: Signer,
    list: List,
    warnings: Vec<String>,
    /// The key, when its use for VICALs is new.
    noted_key: Option<[u8; 32]>,
    now: Timestamp,
}

/// A recorded intent and what it is about.
struct Begun {
    intent: IntentId,
    issue_id: u64,
    unsigned: UnsignedVical,
    /// The signer on record, when this publication has another.
    replaces: Option<Vec<[u8; 32]>>,
}

impl Publication {
    async fn begin(self: &Arc<Self>, services: &Services) -> Result<Begun, Error> {
        let pin = signing::new_pin(services, &self.key, self.now);
        let pinned = pin.as_ref().map(signing::pinned);
        let publication = Arc::clone(self);
        let begun = services.ledger.begin_publication(
            self.call.target.clone(),
            self.version.clone(),
            VicalSigner {
                sha256s: self.signer.sha256s(),
                may_change: self.call.grants.may(Permission::ResourceWrite, &self.call.target),
            },
            move |issue_id| {
                let unsigned = publication.encode(issue_id)?;
                let intent = publication.intent(issue_id, &unsigned, pin.clone());
                Ok((intent, (issue_id, unsigned)))
            },
        );
        match begun.await {
            Ok(BegunPublication { intent, made: (issue_id, unsigned), replaces }) => {
                services.keyring.pinned(pinned);
                Ok(Begun { intent, issue_id, unsigned, replaces })
            }
            Err(BeginError::OtherSigner) => Err(signer::refused_change(&self.call)),
            Err(BeginError::VersionTaken) => Err(taken(&self.call, &self.version)),
            Err(error) => Err(signing::not_begun(error)),
        }
    }

    fn encode(&self, issue_id: u64) -> Result<UnsignedVical, String> {
        let list = List { issue_id, ..self.list.clone() };
        UnsignedVical::encode(&list, self.key.public_key(), &self.signer.der())
            .map_err(|error| error.to_string())
    }

    async fn sign(
        &self,
        unsigned: UnsignedVical,
        tagged: bool,
        deadline: Instant,
    ) -> Result<SignedVical, Error> {
        let signed = self.key.sign(&self.call.client, unsigned.to_be_signed(), deadline).await;
        let signature = signed.map_err(key_errors::signing)?;
        unsigned
            .assemble(&signature, tagged)
            .map_err(|error| signing::bad_signature(&self.key, &error))
    }

    fn intent(&self, issue_id: u64, unsigned: &UnsignedVical, pin: Option<KeyPin>) -> Intent {
        let pinning = |pin| signing::pinning(&self.call, pin, self.now);
        Intent {
            serial: None,
            purpose: KeyPurpose::Vical,
            service: self.call.target.clone(),
            tbs_sha256: unsigned.tbs_sha256(),
            issuer_key_path: self.key.path().cloned(),
            subject_key_path: None,
            dev_key: self.key.is_dev(),
            client: self.call.client.to_string(),
            request_id: self.call.request_id.clone(),
            created_at: self.now,
            reservations: Vec::new(),
            key_pins: pin.into_iter().map(pinning).collect(),
            iaca_pin: None,
            used_issuers: Vec::new(),
            claims: Vec::new(),
            noted_key: self.noted_key,
            audit: self.entry(EntryKind::Intent, self.detail(issue_id, unsigned)),
        }
    }

    fn outcome(
        &self,
        signed: &SignedVical,
        mut detail: Value,
        skipped: &[Skipped],
    ) -> (PublishedVersion, AuditRecord) {
        detail["artifactSha256"] = signing::hex(&signed.sha256()).into();
        detail["skipped"] = skipped.iter().map(|skipped| skipped.path.to_string()).collect();
        let version = PublishedVersion {
            provider: self.list.provider.clone(),
            date: self.list.date,
            next_update: self.list.next_update,
            entry_count: self.list.certificate_infos.len(),
            artifact: signed.octets().to_vec(),
            sha256: signed.sha256(),
            algorithm: signed.algorithm(),
            signer_certificate_pem: self.signer.certificate.pem(),
            signer_chain_pem: self.signer.chain.iter().map(|above| above.pem()).collect(),
            signer_sha256s: self.signer.sha256s(),
            signer_changed: None,
        };
        (version, self.entry(EntryKind::VicalPublished, detail))
    }

    /// The audit entry of a signer that takes the place of the one on record.
    fn signer_changed(&self, replaced: &[[u8; 32]]) -> AuditRecord {
        let texts = |sha256s: &[[u8; 32]]| -> Vec<_> {
            sha256s.iter().map(|sha256| signing::hex(sha256)).collect()
        };
        let detail = json!({
            "version": version_path(&self.call.target, &self.version).as_str(),
            "signerSha256s": texts(&self.signer.sha256s()),
            "replacedSha256s": texts(replaced),
        });
        self.entry(EntryKind::VicalSignerChanged, detail)
    }

    fn published(&self, issue_id: u64, skipped: Vec<Skipped>) -> Published {
        Published {
            version: version_path(&self.call.target, &self.version),
            entry_count: self.list.certificate_infos.len(),
            provider: self.list.provider.clone(),
            date: self.list.date,
            issue_id,
            next_update: self.list.next_update,
            skipped,
        }
    }

    /// What `intent` and `vical-published` say alike.
    fn detail(&self, issue_id: u64, unsigned: &UnsignedVical) -> Value {
        json!({
            "profile": KeyPurpose::Vical.name(),
            "version": version_path(&self.call.target, &self.version).as_str(),
            "vicalIssueId": issue_id,
            "entryCount": self.list.certificate_infos.len(),
            "issuerKeyPath": signing::path_text(self.key.path()),
            "signerCertificateSha256": signing::hex(&self.signer.certificate.sha256()),
            "tbsSha256": signing::hex(&unsigned.tbs_sha256()),
            "warnings": self.warnings,
            "devKey": self.key.is_dev(),
        })
    }

    fn entry(&self, kind: EntryKind, detail: Value) -> AuditRecord {
        signing::entry(&self.call, kind, detail, self.now)
    }
}
