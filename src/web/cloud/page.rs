//! The page of the cloud.

use askama::Template;
use axum::{Router, http::StatusCode, response::Response, routing::get};

use super::{events::seen, orphans::OrphansView, totals::Totals};
use crate::web::{
    Site,
    auth::{Admin, Visit},
    error::WebError,
    page::{Section, Shell, page},
};

pub fn router() -> Router<Site> {
    Router::new().route("/cloud", get(show))
}

/// What the page shows.
pub struct CloudView {
    pub csrf: String,
    pub totals: Totals,
    pub orphans: OrphansView,
}

impl CloudView {
    /// The cloud as it is now.
    pub async fn of(visit: &Visit) -> Result<Self, WebError> {
        Ok(Self {
            csrf: visit.csrf.token(),
            totals: Totals::of(&visit.site).await?,
            orphans: OrphansView::of(&visit.site).await?,
        })
    }
}

#[derive(Template)]
#[template(path = "cloud.html")]
struct CloudPage {
    shell: Shell,
    view: CloudView,
}

async fn show(Admin(visit): Admin) -> Result<Response, WebError> {
    let mut shell = Shell::new(&visit, "Cloud", "The machines of this site, and what they cost.").await?;
    shell.section = Section::Cloud;
    let view = CloudView::of(&visit).await?;
    shell.moving = view.orphans.is_moving();
    shell.events = Some(format!("/cloud/events?seen={}", seen(&view)?));
    page(StatusCode::OK, &CloudPage { shell, view })
}
