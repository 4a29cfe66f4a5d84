//! One instance: what it is doing, or where it is live, or why it failed.

use askama::Template;
use axum::{Router, extract::Path, http::StatusCode, response::Response, routing::get};

use super::{
    events::{Main, digest},
    find,
    view::View,
};
use crate::web::{
    Site,
    auth::Visit,
    error::WebError,
    page::{Shell, html, page},
};

pub fn router() -> Router<Site> {
    Router::new().route("/instances/{name}", get(show))
}

#[derive(Template)]
#[template(path = "detail.html")]
struct DetailPage {
    shell: Shell,
    /// The page's main part, which its stream sends anew when it changes.
    main: String,
}

async fn show(visit: Visit, Path(name): Path<String>) -> Result<Response, WebError> {
    let view = View::of(&visit, find(&visit, &name).await?).await?;
    answer(&visit, StatusCode::OK, view).await
}

/// The page of a view.
pub async fn answer(visit: &Visit, status: StatusCode, view: View) -> Result<Response, WebError> {
    let main = html(&Main { view: &view })?;
    let mut shell = Shell::new(visit, view.title(), view.summary()).await?;
    // What a look at the repository found, and a password, stay until they were read: no reload and no updates take
    // them away.
    let stays = !view.findings.is_empty() || view.shown_password.is_some();
    shell.moving = view.is_moving() && !stays;
    if !view.is_over() && !stays {
        // The stream is told what this page shows and how far its log is, so that it goes on from there.
        shell.events = Some(format!(
            "/instances/{}/events?kind={}&number={}&from={}&seen={}",
            view.instance.name,
            view.kind.name(),
            view.number(),
            view.log.end,
            digest(&view, &main)
        ));
    }
    page(status, &DetailPage { shell, main })
}
