//! Where machines send what they were asked for. Each request carries the token of its fetch; there is no session, no
//! form token and no redirect.
//!
//! `PUT /fetches/{id}` takes the bytes, `Fetch-Format` says what they are: 204 when all are there, 400 for a format
//! that this fetch does not have or a body that breaks off, 401 for a bad token, 409 while the same is coming already,
//! 410 once the fetch has ended, 413 where it is too large, 507 where there is no room.
//! `POST /fetches/{id}/failed` says in a sentence why there are none.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, FromRequestParts, State},
    http::{HeaderMap, StatusCode, request::Parts},
    middleware::from_fn,
    response::{IntoResponse, Response},
    routing::{post, put},
};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

use super::{
    Site,
    callback::{refused, shown},
    error::WebError,
    format,
    middleware::{ARRIVAL, hear_out},
};
use crate::{
    domain::{CommandOutput, Fetch, FetchFormat, FetchId, FetchKind, ProjectLog},
    spool::SpoolError,
    store::StoreError,
};

/// How often it is noted how many bytes have come.
const NOTE: Duration = Duration::from_secs(1);
/// Most bytes of a sentence.
const SENTENCE: usize = 1024;

/// Where the bytes come. It is not to be under a limit of time: a large file takes as long as it takes.
pub fn files() -> Router<Site> {
    Router::new().route("/fetches/{id}", put(take)).layer(from_fn(hear_out))
}

/// Where it is said that none will come.
pub fn failures() -> Router<Site> {
    Router::new().route("/fetches/{id}/failed", post(failed)).layer(DefaultBodyLimit::max(SENTENCE))
}

/// The machine that was asked for this: it showed the fetch's token.
struct Machine(FetchId);

impl FromRequestParts<Site> for Machine {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Response> {
        let (number, token) = shown(parts, site).await?;
        let id = FetchId(number);
        if site.log_key.accepts_fetch(id, &token) { Ok(Self(id)) } else { Err(refused()) }
    }
}

/// Why nothing came of what was sent.
enum Refusal {
    /// The fetch has ended meanwhile.
    Ended,
    /// The connection broke, or nothing came for too long; the machine may try again.
    BrokeOff,
    /// It is not kept.
    NotKept(SpoolError),
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<SpoolError> for Refusal {
    fn from(error: SpoolError) -> Self {
        Self::NotKept(error)
    }
}

async fn take(
    State(site): State<Site>,
    Machine(id): Machine,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, WebError> {
    let open = site.store.fetch(id).await?.filter(|fetch| fetch.state.is_open());
    let Some(fetch) = open else { return Ok(StatusCode::GONE.into_response()) };
    let format = headers.get("fetch-format").and_then(|value| value.to_str().ok()?.parse().ok());
    let Some(format) = format.filter(|format: &FetchFormat| format.is_of(fetch.kind)) else {
        return Ok(StatusCode::BAD_REQUEST.into_response());
    };
    let taken = match fetch.kind {
        FetchKind::Log | FetchKind::Command => {
            timeout(ARRIVAL, take_log(&site, &fetch, body)).await.unwrap_or(Err(Refusal::BrokeOff))
        }
        FetchKind::Database | FetchKind::Media => take_file(&site, &fetch, format, body).await,
    };
    let status = match taken {
        Ok(status) => status,
        Err(Refusal::Ended) => StatusCode::GONE,
        Err(Refusal::BrokeOff) => StatusCode::BAD_REQUEST,
        Err(Refusal::NotKept(error)) => {
            let (status, sentence) = not_kept(&site, &fetch, &error);
            site.store.fetch_failed(id, &sentence).await?;
            status
        }
        Err(Refusal::Store(error)) => return Err(error.into()),
    };
    Ok(status.into_response())
}

/// What is answered and said of bytes that are not kept.
fn not_kept(site: &Site, fetch: &Fetch, error: &SpoolError) -> (StatusCode, String) {
    let what = match fetch.kind {
        FetchKind::Log => "The log is",
        FetchKind::Database => "The database is",
        FetchKind::Media => "The media files are",
        FetchKind::Command => "What the command printed is",
    };
    match error {
        SpoolError::TooLarge => {
            let most = match fetch.kind {
                FetchKind::Log | FetchKind::Command => text_max(fetch.kind) as u64,
                _ => site.settings.spool.limits().max,
            };
            let sentence =
                format!("{what} larger than {}, the most that this site takes.", format::size(most));
            (StatusCode::PAYLOAD_TOO_LARGE, sentence)
        }
        SpoolError::Full => {
            tracing::warn!(fetch = %fetch.id, "the disk has too little room for a fetch");
            let sentence = "The disk of this site has too little room left for it. Tell an admin.".to_owned();
            (StatusCode::INSUFFICIENT_STORAGE, sentence)
        }
        SpoolError::Io(error) => {
            tracing::error!(fetch = %fetch.id, %error, "a fetch could not be kept");
            let sentence = "This site could not keep what the machine sent. Tell an admin.".to_owned();
            (StatusCode::INTERNAL_SERVER_ERROR, sentence)
        }
    }
}

/// Most bytes of what is kept in the database.
fn text_max(kind: FetchKind) -> usize {
    if kind == FetchKind::Command { CommandOutput::MAX } else { ProjectLog::MAX }
}

async fn take_log(site: &Site, fetch: &Fetch, body: Body) -> Result<StatusCode, Refusal> {
    let mut log = Vec::new();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Refusal::BrokeOff)?;
        if log.len() + piece.len() > text_max(fetch.kind) {
            return Err(SpoolError::TooLarge.into());
        }
        log.extend_from_slice(&piece);
    }
    if fetch.kind == FetchKind::Command && CommandOutput::read(&log).is_none() {
        return Err(Refusal::BrokeOff);
    }
    let size = log.len() as u64;
    match site.store.fetch_ready(fetch.id, size, FetchFormat::Text, Some(&log)).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Refusal::Ended),
    }
}

async fn take_file(
    site: &Site,
    fetch: &Fetch,
    format: FetchFormat,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let spool = &site.settings.spool;
    let Some(mut coming) = spool.take(fetch.id).await? else { return Ok(StatusCode::CONFLICT) };
    let mut pieces = body.into_data_stream();
    let (mut noted_at, silence) = (None, spool.limits().silence);
    while let Some(piece) = timeout(silence, pieces.next()).await.map_err(|_| Refusal::BrokeOff)? {
        coming.write(&piece.map_err(|_| Refusal::BrokeOff)?).await?;
        if noted_at.is_none_or(|at: Instant| at.elapsed() >= NOTE) {
            noted_at = Some(Instant::now());
            if !site.store.fetch_heard(fetch.id, coming.size()).await? {
                return Err(Refusal::Ended);
            }
        }
    }
    let size = coming.size();
    if size == 0 {
        return Err(Refusal::BrokeOff);
    }
    let ready = coming.finish(site.store.fetch_ready(fetch.id, size, format, None)).await??;
    // The one before it goes; and this one, where it came too late.
    spool.sweep(&site.store).await?;
    if ready { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::Ended) }
}

async fn failed(
    State(site): State<Site>,
    Machine(id): Machine,
    sentence: Bytes,
) -> Result<Response, WebError> {
    let sentence: String =
        String::from_utf8_lossy(&sentence).chars().filter(|c| !c.is_control()).take(300).collect();
    let sentence = match sentence.trim() {
        "" => "The machine could not send it.",
        said => said,
    };
    site.store.fetch_failed(id, sentence).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
