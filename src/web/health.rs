//! Whether the site answers, for those who watch over it.

use std::time::Duration;

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use serde_json::json;
use tokio::time::timeout;

use super::Site;

/// How long the database may take to answer: it takes less than a millisecond, and who asks has no patience.
const PATIENCE: Duration = Duration::from_secs(3);

pub fn router() -> Router<Site> {
    Router::new().route("/healthz", get(health))
}

/// 200 while the database answers, else 503. A cloud that launches no machines does not make the site ill: what is
/// live goes on, and restarting the site would not cure the host.
async fn health(State(site): State<Site>) -> impl IntoResponse {
    let answers = match timeout(PATIENCE, site.store.ping()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the database does not answer");
            false
        }
        Err(_) => {
            tracing::error!("the database did not answer within {} s", PATIENCE.as_secs());
            false
        }
    };
    let (code, status, database) = if answers {
        (StatusCode::OK, "ok", "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "failing", "does not answer")
    };
    let cloud = if site.store.readiness().is_ready() { "ready" } else { "not ready" };
    let answer = json!({
        "status": status,
        "version": crate::VERSION,
        "release": site.settings.release,
        "database": database,
        "cloud": cloud,
    });
    (code, Json(answer))
}
