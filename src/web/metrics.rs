//! What the site counts of itself, as Prometheus reads it. It is on a listener of its own, since it is nobody's
//! business who reads the pages.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::Site;
use crate::metrics::{Asked, Metrics};

pub fn router() -> Router<Site> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(site): State<Site>) -> Response {
    let counts = match site.store.counts().await {
        Ok(counts) => counts,
        Err(error) => return failed(&error),
    };
    let asked =
        Asked { counts: &counts, ready: site.store.readiness().is_ready(), streams: site.streams.count() };
    match site.metrics.text(&asked) {
        Ok(text) => ([(header::CONTENT_TYPE, Metrics::content_type())], text).into_response(),
        Err(error) => failed(&error),
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Response {
    tracing::error!(error, "the metrics could not be gathered");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}
