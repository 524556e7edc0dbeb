//! IACAs, and the keys that belong to them.

use serde_json::json;

use super::{
    bench::{Bench, TWO_STORES},
    keys::by_path,
    request::{iaca, leaf, leaf_under},
};
use crate::appliance::key;

#[test]
fn an_iaca_key_signs_no_generic_certificate() {
    let mut bench = Bench::new();
    bench.accepted(&iaca());
    let words = "key test.tenant1.kms1.secp256r1 belongs to an IACA and may not sign generic";
    let subject = "/subjectPublicKeySource/keyDescriptor";
    bench.judge([
        leaf().set(subject, key("secp256r1")).blames(
            "36 self-signed",
            403,
            &format!("{subject}/keyIdPath"),
            words,
        ),
        leaf_under("secp256r1").blames(
            "36 issuer",
            403,
            "/issuer/issuerKeyDescriptor/keyIdPath",
            words,
        ),
    ]);
    // Its policy may name generic certificates, and a subject is not a signer.
    let ask = iaca().at(TWO_STORES).set("/storedCertificateId", "second");
    bench.accepted(&ask.set("/iacaKeyDesc", by_path("test.tenant1.kms2.iaca")));
    bench.accepted(&leaf().at(TWO_STORES).set(subject, by_path("test.tenant1.kms2.tls")));
    bench.verdict();
}

#[test]
fn metadata_of_a_vical_entry_is_checked() {
    let mut bench = Bench::new();
    let place = "/vicalEntryComplementaryMetadata";
    let types = format!("{place}/docType");
    bench.judge([
        iaca().set(place, json!({})).blames("13 docType", 400, &types, "is required"),
        iaca().set(&types, json!([])).blames("80", 400, &types, "docType needs at least one value"),
        iaca().set(&types, json!([""])).blames("80 blank", 400, &format!("{types}/0"), "blank"),
        iaca().set(&types, json!(["a", "a"])).blames(
            "80 twice",
            400,
            &format!("{types}/1"),
            "twice",
        ),
        iaca().set(place, json!([])).blames("14", 400, place, "must be an object"),
        iaca().set(&format!("{place}/x"), 1).blames("12", 400, &format!("{place}/x"), "unknown"),
    ]);
    bench.verdict();
}
