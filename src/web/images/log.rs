//! The log of one bake: as a page with its steps, and as text.

use askama::Template;
use axum::{
    Router,
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};

use super::{bake_view::BakeView, find};
use crate::{
    domain::ImageState,
    web::{
        Site,
        auth::Admin,
        error::WebError,
        page::{Section, Shell, page},
    },
};

pub fn router() -> Router<Site> {
    Router::new().route("/images/{id}/log", get(show)).route("/images/{id}/log.txt", get(text))
}

#[derive(Template)]
#[template(path = "image_log.html")]
struct LogPage {
    shell: Shell,
    bake: BakeView,
}

async fn show(Admin(visit): Admin, Path(number): Path<String>) -> Result<Response, WebError> {
    let image = find(&visit, &number).await?;
    if image.state == ImageState::Baking {
        // There it is live.
        return Ok(Redirect::to("/images").into_response());
    }
    let bake = BakeView::of(&visit, image).await?;
    let title = format!("Bake {}", bake.image.id);
    let mut shell = Shell::new(&visit, title, "How a golden image was baked.").await?;
    shell.section = Section::Images;
    page(StatusCode::OK, &LogPage { shell, bake })
}

async fn text(Admin(visit): Admin, Path(number): Path<String>) -> Result<Response, WebError> {
    let image = find(&visit, &number).await?;
    let log = visit.site.store.image_log(image.id).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], log).into_response())
}
