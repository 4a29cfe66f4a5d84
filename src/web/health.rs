//! Whether the site answers, for those who watch over it.

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use serde_json::json;

use super::Site;

pub fn router() -> Router<Site> {
    Router::new().route("/healthz", get(health))
}

async fn health(State(site): State<Site>) -> impl IntoResponse {
    let version = env!("CARGO_PKG_VERSION");
    match site.store.ping().await {
        Ok(()) => (StatusCode::OK, Json(json!({"status": "ok", "version": version, "database": "ok"}))),
        Err(error) => {
            tracing::error!(%error, "the database does not answer");
            let body = json!({"status": "failing", "version": version, "database": "does not answer"});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body))
        }
    }
}
