//! The file against the route table.

use super::*;
use crate::{
    domain::client::Permission,
    http::{api, plain},
};

/// `METHOD /path`, and what opens it, of every route.
fn table() -> BTreeSet<(String, &'static str)> {
    let under = |api: &str, tail: &[&str]| format!("/v1/{{target}}/{api}/{}", tail.join("/"));
    let targeted = api::routes().map(|route| {
        let path = under(route.api.segment(), route.tail);
        (format!("{} {path}", route.method), route.permission.name())
    });
    let public = api::public_routes()
        .map(|route| (format!("GET {}", under(route.kind.api(), route.tail)), "none"));
    let plain = plain::ROUTES.iter().map(|route| {
        let permission = route.permission.map_or("any client", Permission::name);
        (format!("{} /{}", route.method, route.path.join("/")), permission)
    });
    targeted.chain(public).chain(plain).collect()
}

#[test]
fn the_file_has_every_route_with_its_permission_and_no_other() {
    let documented = operations().map(|(path, method, operation)| {
        let parts = path.split('/').map(|part| match part {
            "{target}" => part,
            _ if part.starts_with('{') => PARAMETER,
            _ => part,
        });
        let path = parts.collect::<Vec<_>>().join("/");
        let name = format!("{} {path}", method.to_ascii_uppercase());
        (name, operation["x-permission"].as_str().unwrap())
    });
    assert_eq!(documented.collect::<BTreeSet<_>>(), table());
}
