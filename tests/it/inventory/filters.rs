//! Every filter, alone and beside every other, against what the items say.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{appliance, issue_some, items, list, serials};
use crate::{
    appliance::{KMS, SOON, until},
    support::{leaf, refused},
};

/// Whether an item, or its subject's common name, passes a filter.
fn passes(name: &str, value: &str, item: &Value) -> bool {
    let is = |member: &str| item[member] == value;
    // Our own timestamps sort as text.
    let time = |member: &str| item[member].as_str().unwrap();
    match name {
        "profile" | "status" | "issuerKeyId" | "issuedBy" => is(name),
        "subjectCommonName" => {
            let subject = item["subject"].as_str().unwrap();
            subject.split(',').any(|part| part == format!("CN={value}"))
        }
        "keyIdPath" => is("issuerKeyIdPath") || is("subjectKeyIdPath"),
        "storedCertificateId" => item["storedCertificateIds"].as_array().is_some_and(|ids| {
            ids.iter().any(|id| id.as_str().unwrap().ends_with(&format!(".{value}")))
        }),
        "issuedAfter" => time("issuedAt") >= value,
        "issuedBefore" => time("issuedAt") <= value,
        "notAfterFrom" => time("notAfter") >= value,
        "notAfterTo" => time("notAfter") <= value,
        other => panic!("{other}"),
    }
}

#[test]
fn each_filter_and_each_pair_finds_what_it_should() {
    let (appliance, second) = appliance();
    let daemon = appliance.start();
    issue_some(&appliance, &daemon, &second);
    daemon.stop();
    // Everything was issued in one second; now it was not, and some of it has expired.
    let ledger = appliance.ledger();
    let spread = "update certificates set issued_at = issued_at - 1000000 + audit_index * 100";
    ledger.execute(spread, []).unwrap();
    let expire = "update certificates set not_after = not_before + 1
                      where profile = 'generic' and client = 'second'";
    assert_eq!(ledger.execute(expire, []).unwrap(), 2);
    drop(ledger);
    let daemon = appliance.start();
    let client = &daemon.client;
    let all = items(client, "limit=500");
    assert_eq!(all.len(), 12);

    let mut filters: Vec<(&str, String)> = Vec::new();
    let fixed = [
        ("profile", &["iaca", "iaca-link", "document-signer", "generic"][..]),
        ("status", &["valid", "not-yet-valid", "expired", "revoked"]),
        ("subjectCommonName", &["Leaf A", "Root B", "leaf a", "Leaf", ""]),
        ("storedCertificateId", &["root-a", "ds-2", "ROOT-A", "none"]),
        ("issuedBy", &["demo", "second", "third"]),
        ("notAfterFrom", &["2031-06-01T00:00:00Z", "2061-01-01T00:00:01Z"]),
        ("notAfterTo", &["2030-01-01T00:00:00Z", "2029-12-31T23:59:59Z"]),
    ];
    for (name, values) in fixed {
        filters.extend(values.iter().map(|value| (name, (*value).to_owned())));
    }
    for key in ["leaf-secp256r1", "iaca-secp256r1", "root-secp256r1", "ds-secp256r1", "none"] {
        filters.push(("keyIdPath", format!("{KMS}.{key}")));
    }
    let text = |item: &Value, member: &str| item[member].as_str().unwrap().to_owned();
    for item in [0, 5, 11] {
        filters.push(("issuerKeyId", text(&all[item], "issuerKeyId")));
        filters.push(("issuedAfter", text(&all[item], "issuedAt")));
        filters.push(("issuedBefore", text(&all[item], "issuedAt")));
    }
    let mut hits: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, first) in filters.iter().enumerate() {
        // With itself: alone.
        for second in &filters[index..] {
            if first.0 == second.0 && first != second {
                continue;
            }
            let pair: &[_] = if first == second { &[first] } else { &[first, second] };
            let query: Vec<_> =
                pair.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
            let query = query.join("&");
            let wanted: Vec<_> = all
                .iter()
                .filter(|item| pair.iter().all(|(name, value)| passes(name, value, item)))
                .cloned()
                .collect();
            assert_eq!(serials(&items(client, &query)), serials(&wanted), "{query}");
            if first == second && !wanted.is_empty() && wanted.len() < all.len() {
                *hits.entry(first.0).or_default() += 1;
            }
        }
    }
    // The question was a good one for each filter.
    assert_eq!(hits.len(), 11, "{hits:?}");
    // All at once.
    let query = format!(
        "profile=generic&status=valid&subjectCommonName=Leaf+A&keyIdPath={KMS}.leaf-secp256r1&\
         issuedBy=demo&issuedAfter=2000-01-01T00:00:00Z&issuedBefore=2099-01-01T00:00:00%2B01:00&\
         notAfterFrom=2020-01-01T00:00:00.999Z&notAfterTo=2099-01-01t00:00:00z&limit=1"
    );
    assert_eq!(items(client, &query).len(), 1, "the one to come is not valid yet");
    // Hex in either case.
    let upper = text(&all[0], "issuerKeyId").to_uppercase();
    assert!(!items(client, &format!("issuerKeyId={upper}")).is_empty());
}

#[test]
fn a_certificate_expires_while_it_stands_in_the_list() {
    let (appliance, _) = appliance();
    let daemon = appliance.start();
    let client = &daemon.client;
    let soon =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 3;
    let not_after = appliance.shell(&format!("date -u -d @{soon} +%FT%TZ"));
    let mut request = leaf("leaf-secp256r1", "Short");
    request["certificateData"]["notAfter"] = not_after.trim().into();
    client.issue("certificate", &request).ok();
    until(SOON, || (items(client, "status=expired").len() == 1).then_some(())).unwrap();
    assert_eq!(items(client, "status=valid").len(), 0);
    assert_eq!(items(client, "")[0]["status"], "expired");
}

#[test]
fn a_parameter_that_is_unknown_twice_or_unreadable_is_named() {
    let (appliance, second) = appliance();
    let daemon = appliance.start();
    issue_some(&appliance, &daemon, &second);
    for (query, named) in [
        ("nope=1", "nope"),
        ("Profile=iaca", "Profile"),
        ("profile=iaca&nope=1", "nope"),
        ("=1", ""),
        ("offset=1", "offset"),
        ("profile=iaca&profile=iaca", "profile"),
        ("limit=1&limit=2", "limit"),
        ("profile=", "profile"),
        ("profile=IACA", "profile"),
        ("profile=vical", "profile"),
        ("status=", "status"),
        ("status=on-hold", "status"),
        ("issuerKeyId=", "issuerKeyId"),
        ("issuerKeyId=abc", "issuerKeyId"),
        ("issuerKeyId=ab:cd", "issuerKeyId"),
        ("keyIdPath=x", "keyIdPath"),
        ("keyIdPath=a.b%20c", "keyIdPath"),
        ("storedCertificateId=a.b", "storedCertificateId"),
        ("storedCertificateId=", "storedCertificateId"),
        ("issuedAfter=2026-01-01", "issuedAfter"),
        ("issuedBefore=yesterday", "issuedBefore"),
        ("notAfterFrom=2026-13-01T00:00:00Z", "notAfterFrom"),
        // A plus sign is a space here.
        ("notAfterTo=2026-01-01T00:00:00+01:00", "notAfterTo"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=1.0", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("cursor=", "cursor"),
        ("cursor=x", "cursor"),
        ("cursor=eyJpIjo0NzEwfQ", "cursor"),
        ("cursor=__________8", "cursor"),
        ("cursor=AAAAAAAAAAA=", "cursor"),
    ] {
        let answer = list(&daemon.client, query);
        refused(&answer, 400, None, named);
        assert!(answer.json["message"].as_str().unwrap().starts_with(named), "{}", answer.json);
    }
    for (limit, found) in [(1, 1), (12, 12), (500, 12)] {
        let answer = list(&daemon.client, &format!("limit={limit}")).ok();
        assert_eq!(answer.json["items"].as_array().unwrap().len(), found);
        assert_eq!(answer.json.get("nextCursor").is_some(), limit < 12);
    }
}

fn encoded(value: &str) -> String {
    value.replace(' ', "+")
}
