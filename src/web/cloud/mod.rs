//! The cloud, for admins: how many machines there are, whose they are, what they cost a month, and what there is that
//! no record knows. For anybody else there is nothing here.

mod adopt;
mod events;
mod orphan_notice;
mod orphans;
mod page;
mod terminate;
mod totals;

use axum::Router;
pub use orphan_notice::OrphanNotice;

use super::{Site, auth::Visit, error::WebError};
use crate::domain::{Orphan, OrphanId};

pub fn router() -> Router<Site> {
    Router::new()
        .merge(page::router())
        .merge(events::router())
        .merge(orphans::router())
        .merge(adopt::router())
        .merge(terminate::router())
}

/// The orphan of this number.
async fn find(visit: &Visit, number: &str) -> Result<Orphan, WebError> {
    let id = number.parse().map(OrphanId).map_err(|_| WebError::NotFound)?;
    visit.site.store.orphan(id).await?.ok_or(WebError::NotFound)
}
