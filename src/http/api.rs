//! The route table: one file for each service API.

pub(super) mod inventory;
mod issuance;
mod resources;
mod stores;

use super::route::Route;

/// All routes below `/v1`.
pub(super) fn routes() -> impl Iterator<Item = &'static Route> {
    [resources::ROUTES, issuance::ROUTES, inventory::ROUTES, stores::ROUTES].into_iter().flatten()
}
