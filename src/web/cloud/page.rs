//! The page of the cloud.

use askama::Template;
use axum::{Router, http::StatusCode, response::Response, routing::get};

use super::totals::Totals;
use crate::web::{
    Site,
    auth::Admin,
    error::WebError,
    page::{Section, Shell, page},
};

pub fn router() -> Router<Site> {
    Router::new().route("/cloud", get(show))
}

#[derive(Template)]
#[template(path = "cloud.html")]
struct CloudPage {
    shell: Shell,
    totals: Totals,
}

async fn show(Admin(visit): Admin) -> Result<Response, WebError> {
    let mut shell = Shell::new(&visit, "Cloud", "The machines of this site, and what they cost.").await?;
    shell.section = Section::Cloud;
    let totals = Totals::of(&visit.site).await?;
    page(StatusCode::OK, &CloudPage { shell, totals })
}
