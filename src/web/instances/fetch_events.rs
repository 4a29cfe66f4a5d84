//! Live updates of the pages that show what a machine was asked for: the part of the page that changes is sent as
//! a whole whenever it has.

use axum::{
    Router,
    extract::{Path, Query},
    http::StatusCode,
    response::{IntoResponse, Response, sse::Event},
    routing::get,
};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    commands::CommandsView,
    data::DataView,
    events::{Pulse, Wake, fragment, respond, still},
    find,
    logs::LogsView,
};
use crate::{
    domain::RowId,
    store::Change,
    web::{
        Site,
        auth::{ApiVisit, Visit},
        error::WebError,
    },
};

pub fn router() -> Router<Site> {
    Router::new()
        .route("/instances/{name}/logs/events", get(logs))
        .route("/instances/{name}/data/events", get(data))
        .route("/instances/{name}/commands/events", get(commands))
}

/// Which page asks.
enum Shows {
    Logs,
    Data,
    /// With the output of the command that is named.
    Commands(String),
}

impl Shows {
    async fn html(&self, visit: &Visit, name: &str) -> Result<String, WebError> {
        let instance = find(visit, name).await?.instance;
        Ok(match self {
            Self::Logs => LogsView::of(visit, instance).await?.html()?,
            Self::Data => DataView::of(visit, instance).await?.html()?,
            Self::Commands(which) => CommandsView::of(visit, instance, which).await?.html()?,
        })
    }
}

/// What the page shows that asks.
#[derive(Default, Deserialize)]
struct Shown {
    #[serde(default)]
    seen: String,
    /// The command whose output the page has.
    #[serde(default)]
    run: String,
}

async fn logs(visit: ApiVisit, name: Path<String>, shown: Query<Shown>) -> Result<Response, WebError> {
    events(visit, name, shown, Shows::Logs).await
}

async fn data(visit: ApiVisit, name: Path<String>, shown: Query<Shown>) -> Result<Response, WebError> {
    events(visit, name, shown, Shows::Data).await
}

async fn commands(
    visit: ApiVisit,
    name: Path<String>,
    Query(shown): Query<Shown>,
) -> Result<Response, WebError> {
    let shows = Shows::Commands(shown.run.clone());
    events(visit, name, Query(shown), shows).await
}

async fn events(
    ApiVisit(visit): ApiVisit,
    Path(name): Path<String>,
    Query(shown): Query<Shown>,
    shows: Shows,
) -> Result<Response, WebError> {
    // Listening begins before the first look, so that nothing falls between the two.
    let changes = visit.site.store.changes();
    let row = find(&visit, &name).await?.instance.row;
    let Some(open) = visit.site.streams.open(visit.user.id) else {
        return Ok(StatusCode::TOO_MANY_REQUESTS.into_response());
    };
    let pulse = Pulse::new(visit, changes, open);
    let live = Live { row, name, shows, seen: shown.seen, pulse, over: false };
    Ok(respond(
        stream::unfold(live, |mut live| async {
            let event = live.next().await?;
            Some((stream::iter([event]), live))
        })
        .flatten(),
    ))
}

/// A short digest of what changes of a page, without its tokens and times.
pub fn digest(html: &str) -> String {
    hex::encode(&Sha256::digest(still(html))[..8])
}

struct Live {
    row: RowId,
    name: String,
    shows: Shows,
    /// The digest of what the page has.
    seen: String,
    pulse: Pulse,
    /// Whether the last event was sent.
    over: bool,
}

impl Live {
    /// The next event, once there is one; none where the stream is to end.
    async fn next(&mut self) -> Option<Event> {
        let row = self.row;
        while !self.over {
            match self
                .pulse
                .wait(|change| change == Change::Fetch(row) || change == Change::Instance(row))
                .await
            {
                Wake::Look => {}
                // A browser that is cut off comes back by itself.
                Wake::Stop => return None,
                Wake::SignedOut => {
                    self.over = true;
                    return Some(Event::default().event("end").data("signed out"));
                }
            }
            match self.shows.html(&self.pulse.visit, &self.name).await {
                Ok(html) => {
                    let seen = digest(&html);
                    if seen != self.seen {
                        self.seen = seen;
                        return Some(fragment(&html));
                    }
                }
                Err(WebError::NotFound) => return None,
                Err(error) => {
                    tracing::error!(?error, "the live updates of what was fetched failed");
                    return None;
                }
            }
        }
        None
    }
}
