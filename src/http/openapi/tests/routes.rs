//! The file against the route table.

use super::*;
use crate::http::{
    api,
    route::{Access, Route},
};

/// `METHOD /path`, and what opens it, of every route.
fn table() -> BTreeSet<(String, &'static str)> {
    let permission = |route: &Route| match (route.access, route.access.permission()) {
        (Access::Public, _) => "none",
        (_, Some(permission)) => permission.name(),
        (_, None) => "any client",
    };
    api::routes()
        .map(|route| (format!("{} {}", route.method, route.path), permission(route)))
        .collect()
}

#[test]
fn the_file_has_every_route_with_its_permission_and_no_other() {
    let documented = operations().map(|(path, method, operation)| {
        let parts = path.split('/').map(|part| match part {
            "{target}" => part,
            _ if part.starts_with('{') => "{}",
            _ => part,
        });
        let path = parts.collect::<Vec<_>>().join("/");
        let name = format!("{} {path}", method.to_ascii_uppercase());
        (name, operation["x-permission"].as_str().unwrap())
    });
    assert_eq!(documented.collect::<BTreeSet<_>>(), table());
}
