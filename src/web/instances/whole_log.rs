//! A whole deploy log as text, as the machine sent it.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Query},
    http::{HeaderValue, header},
    response::Response,
    routing::get,
};
use futures_util::stream;
use serde::Deserialize;

use super::find;
use crate::{
    domain::DeploymentId,
    store::{Store, StoreError},
    web::{Site, auth::Visit, error::WebError},
};

/// Bytes that are read at once: a whole log of an ordinary deployment, a fraction of the largest.
const PIECE: usize = 256 * 1024;

pub fn router() -> Router<Site> {
    Router::new().route("/instances/{name}/log", get(log))
}

/// Which deployment is meant; none is the one that runs, else the newest.
#[derive(Deserialize)]
struct Which {
    deployment: Option<i64>,
}

async fn log(
    visit: Visit,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Result<Response, WebError> {
    let found = find(&visit, &name).await?;
    let store = &visit.site.store;
    let deployment = match which.deployment {
        None => found.newest,
        Some(number) => store.numbered_deployment(found.instance.row, number).await?,
    };
    let deployment = deployment.ok_or(WebError::NotFound)?;
    let mut response = Response::new(Body::from_stream(pieces(store.clone(), deployment.id)));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// A deploy log, piece by piece.
pub fn pieces(
    store: Store,
    id: DeploymentId,
) -> impl stream::Stream<Item = Result<Bytes, StoreError>> + Send {
    stream::try_unfold((store, 0), move |(store, at)| async move {
        // The answer has begun: nobody but the log can be told.
        let read = store.log(id, at, PIECE).await;
        let piece = read.inspect_err(|error| {
            tracing::error!(%id, error = error as &dyn std::error::Error, "a log broke off on its way");
        })?;
        let next = at + piece.len() as u64;
        Ok((!piece.is_empty()).then(|| (Bytes::from(piece), (store, next))))
    })
}
