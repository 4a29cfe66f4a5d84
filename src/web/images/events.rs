//! Live updates of the golden images' page, as server-sent events. While the images are the same, what
//! changes in the bake under way is sent, and the lines of its log; else the whole page.

use askama::Template;
use axum::{
    Router,
    extract::Query,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response, sse::Event},
    routing::get,
};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{bake_view::BakeView, list::ImagesView};
use crate::{
    domain::ImageId,
    store::Change,
    web::{
        Site,
        auth::ApiVisit,
        error::WebError,
        instances::{
            events::{Pulse, Wake, fragment, respond, still},
            log_html::{bytes_html, for_pre},
        },
        page::html,
    },
};

pub fn router() -> Router<Site> {
    Router::new().route("/images/events", get(events))
}

/// What the page shows that asks.
#[derive(Default, Deserialize)]
struct Shown {
    seen: Option<String>,
    bake: Option<i64>,
    from: Option<usize>,
}

async fn events(
    ApiVisit(visit): ApiVisit,
    Query(shown): Query<Shown>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    if !visit.user.is_admin() {
        return Err(WebError::NotFound);
    }
    // Listening begins before the first look, so that nothing falls between the two.
    let changes = visit.site.store.changes();
    let Some(open) = visit.site.streams.open(visit.user.id) else {
        return Ok(StatusCode::TOO_MANY_REQUESTS.into_response());
    };
    let resumed = headers.get("last-event-id").and_then(|value| read_event_id(value.to_str().ok()?));
    let page = PageState {
        seen: shown.seen,
        log: resumed.or(shown.bake.map(|bake| (ImageId(bake), shown.from.unwrap_or_default()))),
        parts: String::new(),
    };
    let live = Live { page, pulse: Pulse::new(visit, changes, open), over: false };
    Ok(respond(
        stream::unfold(live, |mut live| async {
            let events = live.next().await?;
            Some((stream::iter(events), live))
        })
        .flatten(),
    ))
}

/// The id of an event: whose log the page has, and how far.
fn event_id(bake: &BakeView) -> String {
    format!("{}-{}", bake.image.id, bake.log.len())
}

fn read_event_id(text: &str) -> Option<(ImageId, usize)> {
    let (image, from) = text.split_once('-')?;
    Some((ImageId(image.parse().ok()?), from.parse().ok()?))
}

#[derive(Template)]
#[template(path = "parts/images_main.html")]
struct Main<'a> {
    view: &'a ImagesView,
}

#[derive(Template)]
#[template(path = "parts/images_table.html")]
struct Table<'a> {
    view: &'a ImagesView,
}

#[derive(Template)]
#[template(path = "images_parts.html")]
struct Parts<'a> {
    bake: &'a BakeView,
}

/// A short digest of what is sent as a whole when it changes: all but what moves in a bake.
pub fn seen(view: &ImagesView) -> Result<String, askama::Error> {
    let mut text = html(&Table { view })?;
    if let Some(readiness) = &view.readiness {
        text += &html(readiness)?;
    }
    if let Some(notice) = &view.notice {
        text += &html(notice)?;
    }
    Ok(hex::encode(&Sha256::digest(still(&text))[..8]))
}

/// What the page at the other end shows.
struct PageState {
    seen: Option<String>,
    /// Whose log it shows, and how many bytes of it.
    log: Option<(ImageId, usize)>,
    /// The parts that were sent last.
    parts: String,
}

struct Live {
    page: PageState,
    pulse: Pulse,
    /// Whether the last event was sent.
    over: bool,
}

impl Live {
    /// The next events, once there are some; none where the stream is to end.
    async fn next(&mut self) -> Option<Vec<Event>> {
        while !self.over {
            // Instances too: how many stand on an image is in the table.
            match self.pulse.wait(|change| change != Change::Sessions).await {
                Wake::Look => {}
                Wake::Stop => return None,
                Wake::SignedOut => {
                    self.over = true;
                    return Some(vec![Event::default().event("end").data("signed out")]);
                }
            }
            match self.look().await {
                Ok(events) if events.is_empty() => {}
                Ok(events) => return Some(events),
                Err(error) => {
                    tracing::error!(?error, "the live updates of the golden images failed");
                    return None;
                }
            }
        }
        None
    }

    async fn look(&mut self) -> Result<Vec<Event>, WebError> {
        let view = ImagesView::of(&self.pulse.visit).await?;
        self.page.update(&view)
    }
}

impl PageState {
    fn update(&mut self, view: &ImagesView) -> Result<Vec<Event>, WebError> {
        let seen = Some(seen(view)?);
        let parts = match &view.bake {
            Some(bake) => html(&Parts { bake })?,
            None => String::new(),
        };
        if self.seen != seen {
            self.seen = seen;
            self.parts = parts;
            let whole = fragment(&html(&Main { view })?);
            self.log = view.bake.as_ref().map(|bake| (bake.image.id, bake.log.len()));
            return Ok(vec![match &view.bake {
                Some(bake) => whole.id(event_id(bake)),
                None => whole,
            }]);
        }
        let Some(bake) = &view.bake else { return Ok(Vec::new()) };
        let mut events = Vec::new();
        if parts != self.parts {
            events.push(fragment(&parts));
            self.parts = parts;
        }
        let from = match self.log {
            Some((image, from)) if image == bake.image.id => from,
            _ => 0,
        };
        if let Some(fresh) = bake.log.get(from..).filter(|fresh| !fresh.is_empty()) {
            let lines = bytes_html(fresh);
            let lines = for_pre(lines.strip_suffix('\n').unwrap_or(&lines));
            events.push(Event::default().event("log").id(event_id(bake)).data(lines));
        }
        self.log = Some((bake.image.id, bake.log.len()));
        Ok(events)
    }
}
