//! Live updates of the cloud's page, as server-sent events: the whole of it whenever it has changed.

use askama::Template;
use axum::{
    Router,
    extract::Query,
    http::StatusCode,
    response::{IntoResponse, Response, sse::Event},
    routing::get,
};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::page::CloudView;
use crate::{
    store::Change,
    web::{
        Site,
        auth::ApiVisit,
        error::WebError,
        instances::events::{Pulse, Wake, fragment, respond, still},
        page::html,
    },
};

pub fn router() -> Router<Site> {
    Router::new().route("/cloud/events", get(events))
}

/// What the page shows that asks.
#[derive(Default, Deserialize)]
struct Shown {
    seen: Option<String>,
}

async fn events(ApiVisit(visit): ApiVisit, Query(shown): Query<Shown>) -> Result<Response, WebError> {
    if !visit.user.is_admin() {
        return Err(WebError::NotFound);
    }
    // Listening begins before the first look, so that nothing falls between the two.
    let changes = visit.site.store.changes();
    let Some(open) = visit.site.streams.open(visit.user.id) else {
        return Ok(StatusCode::TOO_MANY_REQUESTS.into_response());
    };
    let live = Live { seen: shown.seen, pulse: Pulse::new(visit, changes, open), over: false };
    Ok(respond(
        stream::unfold(live, |mut live| async {
            let event = live.next().await?;
            Some((stream::iter([event]), live))
        })
        .flatten(),
    ))
}

#[derive(Template)]
#[template(path = "parts/cloud_main.html")]
struct Main<'a> {
    view: &'a CloudView,
}

/// A short digest of what the page shows.
pub fn seen(view: &CloudView) -> Result<String, askama::Error> {
    Ok(hex::encode(&Sha256::digest(still(&html(&Main { view })?))[..8]))
}

struct Live {
    /// A digest of what the page shows.
    seen: Option<String>,
    pulse: Pulse,
    /// Whether the last event was sent.
    over: bool,
}

impl Live {
    /// The next event, once there is one; none where the stream is to end.
    async fn next(&mut self) -> Option<Event> {
        while !self.over {
            let shown = |change| matches!(change, Change::Orphans | Change::OrphanWish | Change::Instance(_));
            match self.pulse.wait(shown).await {
                Wake::Look => {}
                Wake::Stop => return None,
                Wake::SignedOut => {
                    self.over = true;
                    return Some(Event::default().event("end").data("signed out"));
                }
            }
            match self.look().await {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(?error, "the live updates of the cloud failed");
                    return None;
                }
            }
        }
        None
    }

    async fn look(&mut self) -> Result<Option<Event>, WebError> {
        let view = CloudView::of(&self.pulse.visit).await?;
        let seen = Some(seen(&view)?);
        if self.seen == seen {
            return Ok(None);
        }
        self.seen = seen;
        Ok(Some(fragment(&html(&Main { view: &view })?)))
    }
}
