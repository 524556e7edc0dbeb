//! No store, one store, several.

use serde_json::json;

use crate::{
    appliance::key,
    refusals::{
        bench::{BARE, Bench, ONLY_A, TWO_STORES},
        request::{document_signer, iaca, leaf},
    },
};

#[test]
fn without_a_store_the_id_is_not_looked_at() {
    let mut bench = Bench::new();
    for (index, id) in ["x", "a.b", "", "/../", "\u{0}\n", &"ä".repeat(4_000)].iter().enumerate() {
        let name = format!("Leaf {index}");
        let ask = leaf().at(BARE).set("/certificateData/subjectName/commonName", name);
        let answer = bench.accepted(&ask.set("/storedCertificateId", *id));
        assert_eq!(answer.json.get("storedCertificateIds"), None, "{}", answer.json);
        assert!(answer.header("chancery-serial").is_some());
    }
    bench.accepted(&iaca().at(BARE).set("/storedCertificateId", "a.b"));
    bench.accepted(&document_signer().at(BARE).set("/storedCertificateId", "a.b"));
    let [_, certificates, entries, _] = bench.counts();
    assert_eq!((certificates, entries), (8, 0));
    bench.verdict();
}

#[test]
fn every_attached_store_has_a_copy_in_order_of_attachment() {
    let mut bench = Bench::new();
    let answer = bench.accepted(&iaca().at(TWO_STORES).set("/storedCertificateId", "both"));
    let ids = json!(["test.tenant1.store-b.both", "test.tenant1.store-a.both"]);
    assert_eq!(answer.json["storedCertificateIds"], ids);
    for id in ids.as_array().unwrap() {
        let path = format!("/v1/{}/x509-store-api/certificates", id.as_str().unwrap());
        let entry = bench.daemon.client.get(&path).ok();
        assert_eq!(entry.json["_id"], *id);
        assert_eq!(entry.json["data"]["pem"], answer.json["certificatePEM"]);
        assert_eq!(entry.json["data"]["type"], "vical-entry");
    }
    // Without a given id, one is made for all of them.
    let answer = bench.accepted(&leaf().at(TWO_STORES).without("/storedCertificateId"));
    let made: Vec<_> = answer.json["storedCertificateIds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|path| path.as_str().unwrap().rsplit('.').next().unwrap().to_owned())
        .collect();
    assert_eq!(made.len(), 2);
    assert_eq!(made[0], made[1]);
    assert!(uuid::Uuid::parse_str(&made[0]).is_ok(), "{}", made[0]);
    bench.verdict();
}

#[test]
fn an_id_that_only_one_of_two_stores_has_keeps_both_as_they_are() {
    let mut bench = Bench::new();
    bench.accepted(&leaf().at(ONLY_A).set("/storedCertificateId", "half"));
    let before = bench.counts();
    let ask = leaf().at(TWO_STORES).set("/storedCertificateId", "half");
    bench.judge([ask.clone().blames(
        "20",
        409,
        "/storedCertificateId",
        "target already exists: test.tenant1.store-a.half",
    )]);
    assert_eq!(bench.counts(), before);
    bench.accepted(&ask.set("/storedCertificateId", "whole"));
    bench.verdict();
}

#[test]
fn of_two_requests_with_one_id_at_the_same_time_one_succeeds() {
    let bench = Bench::new();
    let client = &bench.daemon.client;
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..8)
            .map(|_| {
                let mut body = leaf().json().clone();
                body["subjectPublicKeySource"]["keyDescriptor"] = key("tls-secp256r1");
                scope.spawn(move || client.issue("certificate", &body).status)
            })
            .collect();
        asks.into_iter().map(|ask| ask.join().unwrap()).collect()
    });
    let of = |status| statuses.iter().filter(|found| **found == status).count();
    assert_eq!((of(200), of(409)), (1, 7), "{statuses:?}");
    let [intents, certificates, entries, _] = bench.counts();
    assert_eq!((intents, certificates, entries), (1, 1, 1));
}
