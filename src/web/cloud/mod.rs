//! The cloud, for admins: how many machines there are, whose they are, and what they cost a month. For anybody else
//! there is nothing here.

mod page;
mod totals;

use axum::Router;

use super::Site;

pub fn router() -> Router<Site> {
    Router::new().merge(page::router())
}
