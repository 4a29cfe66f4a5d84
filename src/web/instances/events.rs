//! Live updates of one instance's page, as server-sent events: `fragment` with the parts of the
//! page that have changed, `log` with the lines that have come. The id of an event is the log's
//! offset behind it, by which a stream that was cut off goes on.

use std::{convert::Infallible, time::Duration};

use askama::Template;
use axum::{
    Router,
    extract::{Path, Query},
    http::{HeaderMap, HeaderName, StatusCode},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
    routing::get,
};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, sleep_until},
};

use super::{
    find, log_html,
    streams::OpenStream,
    view::{Kind, View},
};
use crate::{
    domain::RowId,
    store::Change,
    web::{
        Site,
        auth::{ApiVisit, Visit},
        error::WebError,
        page::html,
    },
};

/// Least time between two updates of a stream, so that a chatty step costs a page five looks a second at most.
pub const PACE: Duration = Duration::from_millis(200);
/// How often an idle stream sees whether its session goes on: it may have run out without anybody ending it.
pub const RECHECK: Duration = Duration::from_secs(60);
/// A comment this often keeps proxies from taking a quiet stream for a dead one.
const COMMENT: Duration = Duration::from_secs(15);
/// Most bytes of the log in one event.
const PIECE: usize = 64 * 1024;
/// Bytes of the log that a page may be behind and still get all of them; after that it gets the log's end.
const BEHIND: u64 = 1024 * 1024;

pub fn router() -> Router<Site> {
    Router::new().route("/instances/{name}/events", get(events))
}

/// What the page shows that asks.
#[derive(Default, Deserialize)]
struct Shown {
    kind: Option<String>,
    number: Option<i64>,
    seen: Option<String>,
    from: Option<u64>,
}

async fn events(
    ApiVisit(visit): ApiVisit,
    Path(name): Path<String>,
    Query(mut shown): Query<Shown>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    // Listening begins before the first look, so that nothing falls between the two.
    let changes = visit.site.store.changes();
    let found = find(&visit, &name).await?;
    let Some(open) = visit.site.streams.open(visit.user.id) else {
        return Ok(StatusCode::TOO_MANY_REQUESTS.into_response());
    };
    let last_id = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    if last_id.is_some() && shown.kind.as_deref() != Some(Kind::Working.name()) {
        // The address says what the page showed when it was loaded; its stream may have changed it since.
        shown.seen = None;
    }
    let live = Live {
        row: found.instance.row,
        name,
        page: PageState::new(shown, last_id),
        pulse: Pulse::new(visit, changes, open),
        over: false,
    };
    Ok(respond(
        stream::unfold(live, |mut live| async {
            let events = live.next().await?;
            Some((stream::iter(events), live))
        })
        .flatten(),
    ))
}

/// An answer with a stream of events.
pub fn respond(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let sse = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(COMMENT));
    // Nginx would else hold events back until its buffer is full.
    ([(HeaderName::from_static("x-accel-buffering"), "no")], sse).into_response()
}

/// Why a stream woke up.
pub enum Wake {
    /// Something that was asked for has changed, or may have.
    Look,
    /// There will be no more: the site stops.
    Stop,
    /// There will be no more: the person signed out.
    SignedOut,
}

/// Wakes a stream when there is something to look at, and tells when it has to end.
pub struct Pulse {
    pub visit: Visit,
    changes: Receiver<Change>,
    next_look: Option<Instant>,
    /// When the session is asked for again: it may have ended where nobody here is told.
    recheck_at: Instant,
    _open: OpenStream,
}

impl Pulse {
    pub fn new(visit: Visit, changes: Receiver<Change>, open: OpenStream) -> Self {
        Self { visit, changes, next_look: None, recheck_at: Instant::now() + RECHECK, _open: open }
    }

    /// Waits until something that `concerns` the stream has changed. The first call returns at once.
    pub async fn wait(&mut self, concerns: impl Fn(Change) -> bool) -> Wake {
        let shutdown = self.visit.site.shutdown.clone();
        let Some(next_look) = self.next_look else {
            self.next_look = Some(Instant::now() + PACE);
            return Wake::Look;
        };
        let mut found = false;
        loop {
            let change = tokio::select! {
                () = shutdown.cancelled() => return Wake::Stop,
                () = sleep_until(next_look), if found => break,
                () = sleep_until(self.recheck_at) => Ok(Change::Sessions),
                change = self.changes.recv() => change,
            };
            match change {
                Ok(Change::Sessions) => match self.visit.goes_on().await {
                    Ok(true) => self.recheck_at = Instant::now() + RECHECK,
                    Ok(false) => return Wake::SignedOut,
                    Err(error) => {
                        tracing::warn!(?error, "a stream could not see whether its session goes on");
                        return Wake::Stop;
                    }
                },
                Ok(change) => found |= concerns(change),
                // What was missed may concern the stream, its session included.
                Err(RecvError::Lagged(_)) => match self.visit.goes_on().await {
                    Ok(true) => found = true,
                    _ => return Wake::SignedOut,
                },
                Err(RecvError::Closed) => return Wake::Stop,
            }
        }
        self.next_look = Some(Instant::now() + PACE);
        Wake::Look
    }
}

/// A fragment of the page.
pub fn fragment(html: &str) -> Event {
    // A carriage return would end a field of an event.
    Event::default().event("fragment").data(html.replace('\r', ""))
}

#[derive(Template)]
#[template(path = "parts/detail_main.html")]
pub struct Main<'a> {
    pub view: &'a View,
}

#[derive(Template)]
#[template(path = "detail_parts.html")]
struct Parts<'a> {
    view: &'a View,
}

#[derive(Template)]
#[template(path = "parts/log.html")]
struct Log<'a> {
    view: &'a View,
}

#[derive(Template)]
#[template(path = "parts/status.html")]
struct Status<'a> {
    view: &'a View,
}

/// What the page at the other end shows.
#[derive(Default)]
struct PageState {
    kind: Option<String>,
    number: Option<i64>,
    /// The digest of what is sent as a whole when it changes.
    seen: Option<String>,
    /// How far its log is; none where it shows something else in its place.
    from: Option<u64>,
    /// The parts that were sent last.
    parts: String,
    /// The log, where it was sent as a whole last.
    log: String,
    /// Whether its log was sent anew with everything else: the script appends lines only to the
    /// log that came with the page.
    replaced: bool,
}

struct Live {
    row: RowId,
    name: String,
    page: PageState,
    pulse: Pulse,
    /// Whether the last event was sent.
    over: bool,
}

impl Live {
    /// The next events, once there are some; none where the stream is to end.
    async fn next(&mut self) -> Option<Vec<Event>> {
        if self.over {
            return None;
        }
        loop {
            let row = self.row;
            let concerns = |change| {
                let own = [Change::Instance(row), Change::Notice(row)].contains(&change);
                own || matches!(change, Change::Image(_) | Change::Readiness)
            };
            match self.pulse.wait(concerns).await {
                Wake::Look => {}
                // A browser that is cut off comes back by itself and goes on where it was.
                Wake::Stop => return None,
                Wake::SignedOut => {
                    self.over = true;
                    return Some(vec![Event::default().event("end").data("signed out")]);
                }
            }
            match self.look().await {
                Ok(events) if events.is_empty() => {}
                Ok(events) => return Some(events),
                Err(WebError::NotFound) => return None,
                Err(error) => {
                    tracing::error!(?error, "the live updates of an instance failed");
                    return None;
                }
            }
        }
    }

    /// What has changed since the page was last told.
    async fn look(&mut self) -> Result<Vec<Event>, WebError> {
        let found = find(&self.pulse.visit, &self.name).await?;
        let mut view = View::of(&self.pulse.visit, found).await?;
        let seen = digest(&view, &html(&Main { view: &view })?);
        view.scripted = true;
        let mut events = self.page.update(&view, seen, &self.pulse.visit).await?;
        if view.is_over() {
            events.push(Event::default().event("end").data("over"));
            self.over = true;
        }
        Ok(events)
    }
}

impl PageState {
    /// What a page says of itself in the address of its stream. One that says nothing is taken for
    /// a page that is true, with an empty log.
    fn new(shown: Shown, last_id: Option<u64>) -> Self {
        let from =
            if shown.kind.is_none() { shown.from.or(Some(0)) } else { shown.from.filter(|from| *from > 0) };
        Self {
            kind: shown.kind,
            number: shown.number,
            seen: shown.seen,
            // Offset 0 is that of what is awaited before the first line, which that line replaces.
            from: last_id.filter(|id| *id > 0).or(from),
            ..Self::default()
        }
    }

    async fn update(&mut self, view: &View, seen: String, visit: &Visit) -> Result<Vec<Event>, WebError> {
        let (kind, number, seen) = (Some(view.kind.name().to_owned()), Some(view.number()), Some(seen));
        let first = self.parts.is_empty();
        let same = self.kind.is_none() || (self.kind == kind && self.number == number && self.seen == seen);
        (self.kind, self.number, self.seen) = (kind, number, seen);
        let parts = match view.kind {
            Kind::Working => html(&Parts { view })?,
            _ => html(&Status { view })?,
        };
        if !same {
            let whole = html(&Main { view })? + &parts;
            (self.replaced, self.from, self.parts) = (true, Some(view.log.end), parts);
            return Ok(vec![fragment(&whole).id(view.log.end.to_string())]);
        }
        let mut events = Vec::new();
        if first || (view.kind == Kind::Working && parts != self.parts) {
            events.push(fragment(&parts));
            self.parts = parts;
        }
        if view.kind == Kind::Working {
            events.extend(self.log(view, visit).await?);
        }
        Ok(events)
    }

    /// The lines that have come since.
    async fn log(&mut self, view: &View, visit: &Visit) -> Result<Vec<Event>, WebError> {
        let end = view.log.end;
        let from = match self.from {
            Some(from) if !self.replaced && end.saturating_sub(from) <= BEHIND => from,
            // The first lines take the place of what was awaited; so does a log that was left far behind.
            _ => {
                let log = html(&Log { view })?;
                if log == self.log {
                    return Ok(Vec::new());
                }
                self.log.clone_from(&log);
                self.from = (end > 0).then_some(end);
                return Ok(vec![fragment(&log).id(end.to_string())]);
            }
        };
        let Some(shown) = &view.shown else { return Ok(Vec::new()) };
        let mut events = Vec::new();
        let mut at = from;
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            let bytes = visit.site.store.log(shown.id, at, want).await?;
            let used = match log_html::complete(&bytes) {
                0 => bytes.len(),
                used => used,
            };
            if used == 0 {
                break;
            }
            at += used as u64;
            let lines = log_html::bytes_html(&bytes[..used]);
            let lines = log_html::for_pre(lines.strip_suffix('\n').unwrap_or(&lines));
            events.push(Event::default().event("log").id(at.to_string()).data(lines));
        }
        self.from = Some(at);
        Ok(events)
    }
}

/// A short digest of what is sent as a whole when it changes: of a page where nothing moves all of
/// its main part, of one that moves what no part of it holds.
pub fn digest(view: &View, main: &str) -> String {
    let text = if view.kind == Kind::Working { view.frame() } else { still(main) };
    hex::encode(&Sha256::digest(text)[..8])
}

/// A page's HTML without what changes at every look: tokens and times.
pub fn still(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    for (i, piece) in html.split(r#"name="csrf_token" value=""#).enumerate() {
        let piece = if i == 0 { piece } else { piece.split_once('"').map_or(piece, |(_, rest)| rest) };
        for (i, piece) in piece.split(" data-relative>").enumerate() {
            text.push_str(if i == 0 { piece } else { piece.split_once('<').map_or(piece, |(_, rest)| rest) });
        }
    }
    text
}
