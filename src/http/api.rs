//! The route table: one file for each service API.

pub(super) mod inventory;
mod issuance;
mod keys;
mod resources;
mod stores;
mod vical;
mod vical_public;

use super::{public::PublicRoute, route::Route};

/// All routes below `/v1`.
pub(super) fn routes() -> impl Iterator<Item = &'static Route> {
    [
        resources::ROUTES,
        keys::ROUTES,
        issuance::ROUTES,
        inventory::ROUTES,
        stores::ROUTES,
        vical::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// Those that need no grant.
pub(super) fn public_routes() -> impl Iterator<Item = &'static PublicRoute> {
    vical_public::ROUTES.iter()
}
