//! Instances: the list, the form, one instance with its deployments, and what can be done with it.

mod asked;
mod commands;
mod cost;
mod data;
mod deployment;
mod detail;
mod edit;
mod environment;
mod environment_view;
pub(super) mod events;
mod failure;
mod failures;
mod fetch_events;
mod first_admin;
mod form;
mod history;
mod info;
mod limit;
mod list;
mod list_events;
pub(super) mod log_html;
mod logs;
mod new;
mod power;
mod progress;
mod redeploy;
mod streams;
mod terminate;
mod type_field;
mod typed_secret;
mod view;
mod whole_log;
mod words;

use axum::Router;
pub use streams::Streams;

use super::{Site, auth::Visit, error::WebError};
use crate::{domain::ServerName, store::Overview};

pub fn router() -> Router<Site> {
    Router::new()
        .merge(list::router())
        .merge(list_events::router())
        .merge(new::router())
        .merge(detail::router())
        .merge(edit::router())
        .merge(environment::router())
        .merge(first_admin::router())
        .merge(power::router())
        .merge(terminate::router())
        .merge(redeploy::router())
        .merge(history::router())
        .merge(deployment::router())
        .merge(info::router())
        .merge(whole_log::router())
        .merge(events::router())
        .merge(logs::router())
        .merge(data::router())
        .merge(commands::router())
        .merge(fetch_events::router())
}

/// The instance of this name, where the visitor may see it; another person's is as if it were not there.
async fn find(visit: &Visit, name: &str) -> Result<Overview, WebError> {
    let name: ServerName = name.parse().map_err(|_| WebError::NotFound)?;
    let found = visit.site.store.instance(&name).await?;
    found
        .filter(|found| visit.user.is_admin() || found.instance.owner == visit.user.id)
        .ok_or(WebError::NotFound)
}
