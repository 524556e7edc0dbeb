//! The route table: one file for each service API, and for what has no target.

mod documents;
pub(super) mod inventory;
mod issuance;
mod keys;
pub(super) mod login;
mod operations;
mod resources;
mod stores;
mod vical;
mod vical_public;

use std::sync::LazyLock;

use super::{route::Route, router::Router};

/// All routes, prepared for matching.
pub(super) static ROUTER: LazyLock<Router> = LazyLock::new(|| Router::new(routes()));

/// All routes.
pub(super) fn routes() -> impl Iterator<Item = &'static Route> {
    [
        issuance::ROUTES,
        inventory::ROUTES,
        stores::ROUTES,
        keys::ROUTES,
        resources::ROUTES,
        vical::ROUTES,
        vical_public::ROUTES,
        operations::ROUTES,
        documents::ROUTES,
        login::ROUTES,
    ]
    .into_iter()
    .flatten()
}
