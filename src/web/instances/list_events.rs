//! Live updates of the list, as server-sent events. While its rows are the same ones in the same
//! order, what changes inside of them is sent; else the whole of it.

use askama::Template;
use axum::{
    Router,
    extract::Query,
    http::StatusCode,
    response::{IntoResponse, Response, sse::Event},
    routing::get,
};
use futures_util::{StreamExt, stream};

use super::{
    events::{Pulse, Wake, fragment, respond, still},
    list::{ListView, Whose},
};
use crate::{
    store::Change,
    web::{Site, auth::ApiVisit, error::WebError, page::html},
};

pub fn router() -> Router<Site> {
    Router::new().route("/events", get(events))
}

async fn events(ApiVisit(visit): ApiVisit, Query(whose): Query<Whose>) -> Result<Response, WebError> {
    let changes = visit.site.store.changes();
    let Some(open) = visit.site.streams.open(visit.user.id) else {
        return Ok(StatusCode::TOO_MANY_REQUESTS.into_response());
    };
    let live = Live {
        whose,
        pulse: Pulse::new(visit, changes, open),
        order: None,
        sent: String::new(),
        over: false,
    };
    Ok(respond(
        stream::unfold(live, |mut live| async {
            let event = live.next().await?;
            Some((stream::iter([event]), live))
        })
        .flatten(),
    ))
}

#[derive(Template)]
#[template(path = "parts/list_main.html")]
struct Main<'a> {
    view: &'a ListView,
}

#[derive(Template)]
#[template(path = "list_parts.html")]
struct Parts<'a> {
    view: &'a ListView,
}

struct Live {
    whose: Whose,
    pulse: Pulse,
    /// The names of the rows on the page; none until the first look, which is taken for what the page has.
    order: Option<Vec<String>>,
    sent: String,
    over: bool,
}

impl Live {
    async fn next(&mut self) -> Option<Event> {
        while !self.over {
            let shown = |change| {
                matches!(
                    change,
                    Change::Instance(_)
                        | Change::Notice(_)
                        | Change::Image(_)
                        | Change::Readiness
                        | Change::Orphans
                )
            };
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
                    tracing::error!(?error, "the live updates of the list failed");
                    return None;
                }
            }
        }
        None
    }

    async fn look(&mut self) -> Result<Option<Event>, WebError> {
        let view = ListView::of(&self.pulse.visit, &self.whose).await?;
        let mut order: Vec<_> = view.rows.iter().map(|row| row.outline()).collect();
        if view.bake.is_some() {
            order.push("the golden image's notice".to_owned());
        }
        if let Some(image) = &view.image {
            order.push(html(image)?);
        }
        if let Some(orphans) = &view.orphans {
            order.push(html(orphans)?);
        }
        if view.readiness.is_some() {
            order.push("the cloud's notice".to_owned());
        }
        let parts = html(&Parts { view: &view })?;
        // The first time everything is sent: the page may be older than the stream.
        let same = self.order.as_ref() == Some(&order);
        let news = still(&parts) != self.sent;
        self.sent = still(&parts);
        self.order = Some(order);
        Ok(match (same, news) {
            (true, false) => None,
            (true, true) => Some(fragment(&parts)),
            (false, _) => Some(fragment(&html(&Main { view: &view })?)),
        })
    }
}
