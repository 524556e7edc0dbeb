//! The door for IACA roots: ISO/IEC 18013-5 Table B.1.

use super::{Keys, Order, refused, trust::Trust};
use crate::{
    domain::{client::KeyPurpose, request::IacaIssuance},
    keys::KeyRole,
    ledger::{CaRole, Reservation},
    service::{
        act::{Act, ReadyKey, keys, perform},
        bad_keys,
        error::Error,
        fresh, given,
        idempotency::Answer,
        known::Known,
        roles,
    },
    x509::{
        UnsignedCertificate,
        profile::iaca::{self, VALIDITY},
    },
};

pub(super) async fn issue(order: &Order<'_>, request: &IacaIssuance) -> Result<Answer, Error> {
    let Order { services, call, .. } = *order;
    // 1. The fields, as far as they need no key.
    given::check_jwk(services, &request.key)?;
    let reservations = order.reservations()?;
    order.check_validity(request.data.validity, VALIDITY)?;
    bad_keys::refuse_jwk(services, &request.key).await?;

    // 2. The key.
    let role = KeyRole::Signing(KeyPurpose::Iaca);
    let keys = Keys::one(Box::pin(keys::find(services, call, &request.key, role)).await?);

    // 3. Profile, number, signature.
    let metadata = request.metadata.as_ref();
    perform(
        services,
        || Box::pin(prepare(order, request, &keys, &reservations)),
        |made| order.finish(&keys, &reservations, metadata, made),
    )
    .await
}

async fn prepare(
    order: &Order<'_>,
    request: &IacaIssuance,
    keys: &Keys,
    reservations: &[Reservation],
) -> Result<Act<UnsignedCertificate>, Error> {
    let Order { services, call, now, .. } = *order;
    let (key, member) = (keys.signer.public_key(), request.key.member());
    let known = Known::of_key(services, call, &keys.signer, now).await?;
    roles::refuse_other_ca(&request.key, &keys.signer, &known, now)?;
    order.refuse_taken(reservations).await?;

    order.check_type(member, key)?;
    iaca::check_key(key).map_err(|error| refused(error, member, member))?;
    let mut trust = Trust::new(call, &keys.signer, now);
    trust.claim(key, CaRole::Iaca, &known);
    let validity = order.validity(request.data.validity, VALIDITY, None)?;

    let ready = ReadyKey::wait(&keys.signer).await?;
    let options = iaca::Options { authority_key_id: services.settings.iaca_aki };
    let plan = iaca::plan(fresh::serial()?, &request.data, validity, key, options)
        .map_err(|error| refused(error, member, member))?;
    order.act(ready, keys, plan, reservations, trust.records)
}
