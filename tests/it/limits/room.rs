//! Requests that are worked on: one client's do not keep another's out.

use super::super::{
    appliance::{Appliance, SERVICE, SOON, STORE, until},
    support::{Raw, refused},
};

#[test]
fn a_client_that_takes_all_the_room_there_is_leaves_some_for_another() {
    let appliance = Appliance::new();
    appliance.declare("[limits]\nin_flight_max = 8\nrequest_body_ms = 60000");
    let other = appliance.add_client("other", &[("test", &["store:read"])]);
    let daemon = appliance.start();
    let ids = format!("/v1/{STORE}/x509-store-api/certificates/ids");
    // Each takes a place until its body has come, which is never.
    let begun = || {
        let mut raw = Raw::demo(&appliance, &daemon);
        raw.write(format!(
            "POST /v1/{SERVICE}/x509-service-api/certificate HTTP/1.1\r\nhost: localhost\r\n\
             content-type: application/json\r\ncontent-length: 1000\r\n\r\n{{"
        ));
        raw
    };
    let held: Vec<_> = (0..12).map(|_| begun()).collect();
    let full = until(SOON, || Some(daemon.client.get(&ids)).filter(|answer| answer.status != 200));
    refused(&full.expect("no room for a flood"), 503, None, "busy; try again in 1 s");
    let other = daemon.client_with(&appliance, &other);
    for _ in 0..50 {
        other.get(&ids).ok();
    }
    assert_eq!(daemon.readiness().1["queue"], "ok");
    drop(held);
    until(SOON, || (daemon.client.get(&ids).status == 200).then_some(())).expect("room again");
}
