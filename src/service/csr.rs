//! Certification requests: signed by the subject's key, audited, not stored.

use tokio::time::Instant;

use super::{
    Call, Services, bad_keys,
    error::{Error, Invalid},
    idempotency::Answer,
    issuers, key_errors,
    known::Known,
    signing,
};
use crate::{
    audit::EntryKind,
    domain::{
        client::KeyPurpose,
        key::{KeyType, PublicKey},
        member::Message,
        request::{CsrKind, CsrRequest},
        time::Timestamp,
    },
    keys::{Key, KeyRole},
    ledger::{Intent, Outcome, Product},
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
    // 1. The key: allowed, there, the pinned one, of a type that the kind takes.
    signing::check_jwk(services, &request.key)?;
    let role = KeyRole::Signing(KeyPurpose::Csr);
    let admitted = signing::admit(services, call, &request.key, role)?;
    let key = signing::find(services, &request.key, admitted).await?;
    bad_keys::refuse(services, &request.key, key.public_key()).await?;
    let key_type = key.public_key().key_type();
    let member = request.key.member();
    services
        .settings
        .key_policy
        .check(key_type)
        .map_err(|error| Invalid::at(member, Message::from(error.to_string()).at(member)))?;
    let is_fit = key_type.is_ec() || key_type == KeyType::Ed25519;
    if request.kind == CsrKind::DocumentSigner && !is_fit {
        return Err(Error::Invalid(Invalid::at(
            member,
            Message::from("RSA is not allowed for a document signer; use P-256, P-384 or P-521")
                .at(member),
        )));
    }

    let stores = call.stores();
    let known = Known::load(services, call, (key.public_key(), key.path()), &stores, now).await?;
    issuers::refuse_iaca_use(KeyPurpose::Csr, &known, &key, now).map_err(|message| {
        Error::Forbidden { message: message.into(), field: Some(request.key.key_member()) }
    })?;

    // 2. Somebody could sign. Encode once; record the intent.
    let deadline = key.until_up().await.map_err(key_errors::signing)?;
    let unsigned = UnsignedRequest::encode(
        &request.subject,
        &request.subject_alternative_names,
        key.public_key(),
    )
    .map_err(|error| Error::Internal(format!("certification request refused: {error}")))?;
    let tbs_sha256 = unsigned.tbs_sha256();
    let detail = |kind: &str| {
        serde_json::json!({
            "kind": kind,
            "subjectKeyPath": signing::path_text(key.path()),
            "tbsSha256": signing::hex(&tbs_sha256),
            "devKey": key.is_dev(),
        })
    };
    let kind = match request.kind {
        CsrKind::Generic => "generic",
        CsrKind::DocumentSigner => "iso-document-signer",
    };
    let pin = signing::new_pin(services, &key, now);
    let pinned = pin.as_ref().map(signing::pinned);
    let intent = services
        .ledger
        .begin(Intent {
            serial: None,
            purpose: KeyPurpose::Csr,
            service: call.target.clone(),
            tbs_sha256,
            issuer_key_path: key.path().cloned(),
            subject_key_path: key.path().cloned(),
            dev_key: key.is_dev(),
            client: call.client.to_string(),
            request_id: call.request_id.clone(),
            created_at: now,
            reservations: Vec::new(),
            key_pins: pin.into_iter().map(|pin| signing::pinning(call, pin, now)).collect(),
            iaca_pin: None,
            used_issuers: Vec::new(),
            claims: Vec::new(),
            noted_key: signing::noted(&key, KeyPurpose::Csr, &known),
            audit: signing::entry(call, EntryKind::CsrIntent, detail(kind), now),
        })
        .await
        .map_err(signing::not_begun)?;
    services.keyring.pinned(pinned);

    // 3. Sign, and verify in software.
    let signed = match sign(call, &key, unsigned, deadline).await {
        Ok(signed) => signed,
        Err(error) => return Err(signing::abort(services, call, intent, error, now).await),
    };

    // 4. Record the outcome, then hand it out.
    let body = match render(request, signed.pem(), key.public_key()) {
        Ok(body) => body,
        Err(error) => {
            let error = Error::Internal(format!("the answer could not be written: {error}"));
            return Err(signing::abort(services, call, intent, error, now).await);
        }
    };
    let kept = call.keyed.as_ref().map(|keyed| keyed.keep(&body, None, now));
    let record = signing::entry(call, EntryKind::CsrIssued, detail(kind), now);
    let outcome = Outcome { product: Product::Request, audit: record, answer: kept };
    match services.ledger.complete(intent, outcome).await {
        Ok(audit_index) => Ok(Answer { body, serial: None, audit_index, replayed: false }),
        Err(error) => {
            let told = key_errors::ledger(error);
            Err(signing::abort(services, call, intent, told, now).await)
        }
    }
}

async fn sign(
    call: &Call,
    key: &Key,
    unsigned: UnsignedRequest,
    deadline: Instant,
) -> Result<SignedRequest, Error> {
    let signed = key.sign(&call.client, unsigned.tbs_der(), deadline).await;
    let signature = signed.map_err(key_errors::signing)?;
    unsigned.assemble(signature).map_err(|error| signing::bad_signature(key, &error))
}
