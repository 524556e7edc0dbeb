//! Certification requests: signed by the subject's key, audited, not stored.

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::{
    Call, Services,
    act::{self, Act, Finished, Made, ReadyKey, Records, perform},
    actor::Actor,
    error::{Error, Invalid},
    given,
    idempotency::Answer,
    known::Known,
    roles,
};
use crate::{
    audit::EntryKind,
    domain::{
        client::KeyPurpose,
        key::{KeyType, PublicKey, sha256},
        member::Message,
        path::KeyPath,
        request::{CsrKind, CsrRequest},
        time::Timestamp,
    },
    keys::{Key, KeyRole},
    ledger::Product,
    x509::csr::{SignedRequest, UnsignedRequest},
};

/// Writes the body of the answer from the request, the PEM and the key that signed.
pub type Render = fn(&CsrRequest, String, &PublicKey) -> serde_json::Result<Vec<u8>>;

/// Makes a PKCS#10 request (RFC 2986).
///
/// # Errors
/// [`Error`] says what the caller is told.
pub async fn make(
    services: &Services,
    call: &Call,
    request: &CsrRequest,
    render: Render,
    now: Timestamp,
) -> Result<Answer, Error> {
    given::check_jwk(services, &request.key)?;
    let role = KeyRole::Signing(KeyPurpose::Csr);
    let key = act::keys::find(services, call, &request.key, role).await?;
    check_type(services, request, key.public_key().key_type())?;
    let finish = |made: &Made<SignedRequest>| {
        let body = render(request, made.signed.pem(), key.public_key());
        Ok(Finished {
            product: Product::Request,
            audit: call.entry(EntryKind::CsrIssued, detail(request, &key, &made.tbs_sha256), now),
            body: body.map_err(|error| act::unwritable(&error))?,
            serial: None,
        })
    };
    perform(services, || Box::pin(prepare(services, call, request, &key, now)), finish).await
}

/// Which types of key a kind of request takes.
fn check_type(services: &Services, request: &CsrRequest, key_type: KeyType) -> Result<(), Invalid> {
    let member = request.key.member();
    let invalid = |what: Message| Invalid::at(member, what.at(member));
    let allowed = services.settings.key_policy.check(key_type);
    allowed.map_err(|error| invalid(error.to_string().into()))?;
    let is_fit = key_type.is_ec() || key_type == KeyType::Ed25519;
    match request.kind {
        CsrKind::DocumentSigner if !is_fit => Err(invalid(
            "RSA is not allowed for a document signer; use P-256, P-384 or P-521".into(),
        )),
        CsrKind::DocumentSigner | CsrKind::Generic => Ok(()),
    }
}

async fn prepare(
    services: &Services,
    call: &Call,
    request: &CsrRequest,
    key: &Key,
    now: Timestamp,
) -> Result<Act<UnsignedRequest>, Error> {
    let known = Known::of_key(services, call, key, now).await?;
    roles::refuse_iaca_use(KeyPurpose::Csr, &known, key, now).map_err(|message| {
        Error::Forbidden { message: message.into(), field: Some(request.key.key_member()) }
    })?;
    let ready = ReadyKey::wait(key).await?;
    let (subject, names) = (&request.subject, &request.subject_alternative_names);
    let unsigned = UnsignedRequest::encode(subject, names, key.public_key())
        .map_err(|error| Error::Internal(format!("certification request refused: {error}")))?;
    let detail = detail(request, key, &sha256(unsigned.tbs_der()));
    Ok(Act {
        actor: Actor::Client(call.clone()),
        service: call.target.clone(),
        purpose: KeyPurpose::Csr,
        key: ready,
        unsigned,
        audit: call.entry(EntryKind::CsrIntent, detail, now),
        records: Records {
            subject: Some(key.clone()),
            new_use: act::keys::new_use(key, KeyPurpose::Csr, &known),
            ..Records::default()
        },
        now,
    })
}

/// The detail of `csr-intent` and of `csr-issued`.
fn detail(request: &CsrRequest, key: &Key, tbs_sha256: &[u8; 32]) -> Value {
    let kind = match request.kind {
        CsrKind::Generic => "generic",
        CsrKind::DocumentSigner => "iso-document-signer",
    };
    json!({
        "kind": kind,
        "subjectKeyPath": key.path().map(KeyPath::as_str),
        "tbsSha256": HEXLOWER.encode(tbs_sha256),
        "devKey": key.is_dev(),
    })
}
