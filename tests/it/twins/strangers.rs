//! Tokens that have nothing to do with each other, side by side in one daemon.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{B, wait_for_check};
use crate::{
    appliance::{Appliance, SOON, key, until},
    load::leaf,
};

const OTHER_SERVICE: &str = "test.tenant1.other-x509";
const CALLERS: usize = 12;

/// A service over a KMS of the other token alone.
fn with_strangers(settings: &str) -> Appliance {
    let appliance = Appliance::new();
    appliance
        .configure(|text| text.replace("type = \"kms\"", "type = \"kms\"\ntoken = \"softhsm\""));
    appliance.add_token_b(settings);
    appliance.shell(
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key-b
         export SOFTHSM2_CONF=$PWD/softhsm2-b.conf
         softhsm2-util --import key-b --token b --label test.tenant1.kms-b.key --id 01 \
            --pin $(cat pin-b)",
    );
    appliance.declare(&format!(
        "[[services]]\npath = \"test.tenant1.kms-b\"\ntype = \"kms\"\ntoken = {B:?}\n\
         [[services]]\npath = {OTHER_SERVICE:?}\ntype = \"x509-service\"\n\
         dependencies = [\"test.tenant1.kms-b\"]"
    ));
    appliance
}

fn leaf_of_b() -> String {
    let mut body = leaf("key", "Of the other token");
    let mut descriptor = key("key");
    descriptor["keyIdPath"] = "test.tenant1.kms-b.key".into();
    body["subjectPublicKeySource"]["keyDescriptor"] = descriptor;
    body.to_string()
}

#[test]
fn a_frozen_token_never_delays_the_requests_of_another() {
    // Nothing of the frozen token is answered or given up while this test runs.
    let appliance = with_strangers("sign_deadline_ms = 120000");
    let daemon = appliance.start();
    wait_for_check(&daemon, "token:other", "ok");
    wait_for_check(&daemon, "token:softhsm", "ok");
    let route = format!("/v1/{OTHER_SERVICE}/x509-service-api/certificate");
    daemon.client.post(&route, &leaf_of_b()).ok();

    let frozen = appliance.freeze(&daemon, B);
    let answered = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let client = daemon.client_with(&appliance, &appliance.path("pki/client"));
            let (route, answered) = (route.clone(), Arc::clone(&answered));
            thread::spawn(move || {
                let answer = client.post(&route, &leaf_of_b());
                answered.fetch_add(1, Ordering::SeqCst);
                answer.ok();
            })
        })
        .collect();
    let asked = "select count(*) from intents where state = 'open'";
    let all = until(SOON, || (appliance.count(asked) == CALLERS as i64).then_some(()));
    assert!(all.is_some(), "{}", daemon.log());
    for round in 0..50 {
        daemon.client.issue("certificate", &leaf("leaf-secp256r1", &format!("{round}"))).ok();
    }
    assert_eq!(answered.load(Ordering::SeqCst), 0, "the other is still frozen");
    assert_eq!(daemon.readiness().1["token:softhsm"], "ok");
    // They are held up, not lost.
    frozen.thaw();
    for caller in callers {
        caller.join().unwrap();
    }
    daemon.stop();
}
