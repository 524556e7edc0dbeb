//! Tenants, services and dependencies over the API.

mod creating;
mod dependencies;
mod lasting;

use serde_json::{Value, json};

use crate::appliance::{Answer, Appliance, Client, Daemon};

/// A daemon beside the documented tree: another organisation, and a VICAL service, both declared.
fn daemon() -> (Appliance, Daemon) {
    let appliance = Appliance::new();
    declare_more(&appliance);
    let daemon = appliance.start();
    (appliance, daemon)
}

fn declare_more(appliance: &Appliance) {
    // What belongs to another organisation is told only to those who have a grant there.
    appliance.configure(|text| {
        let other = "{ path = \"other\", permissions = [\"resource:write\"] },\n    ";
        text.replace("{ path = \"test\", ", &format!("{other}{{ path = \"test\", "))
    });
    appliance.declare(
        r#"
        [[organisations]]
        path = "other"
        [[services]]
        path = "other.store"
        type = "x509-store"
        [[services]]
        path = "test.tenant1.vical"
        type = "vical-service"
        signing_key = "test.tenant1.kms1.secp256r1"
        signer_certificate = "test.tenant1.x509-store-1.signer"
        "#,
    );
}

fn create_tenant(client: &Client, path: &str, body: &Value) -> Answer {
    client.post_json(&format!("/v1/{path}/resource-api/tenants/create"), body)
}

fn create_service(client: &Client, path: &str, body: &Value) -> Answer {
    client.post_json(&format!("/v1/{path}/resource-api/services/create"), body)
}

fn dependencies(client: &Client, action: &str, service: &str, body: &Value) -> Answer {
    let path = format!("/v1/{service}/x509-service-api/dependencies/{action}");
    client.post_json(&path, body)
}

fn attach(client: &Client, service: &str, dependency: &str) -> Answer {
    dependencies(client, "add", service, &json!({ "dependency": dependency }))
}

fn attached(client: &Client, service: &str) -> Value {
    let path = format!("/v1/{service}/x509-service-api/dependencies");
    client.get(&path).ok().json["dependencies"].clone()
}

fn services(client: &Client, path: &str) -> Answer {
    client.get(&format!("/v1/{path}/resource-api/services"))
}

fn tenants(client: &Client, path: &str) -> Answer {
    client.get(&format!("/v1/{path}/resource-api/tenants"))
}

#[track_caller]
fn created(answer: Answer) -> Value {
    assert_eq!(answer.status, 201, "{}", answer.json);
    answer.json
}
