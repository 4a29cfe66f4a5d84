//! The project's own log: what gunicorn and nginx wrote last, errors first. It is fetched from the machine when
//! somebody looks; the page shows what was fetched last meanwhile.

use askama::Template;
use axum::{
    Router,
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};

use super::{
    fetch_events::digest,
    find,
    log_html::{clean, for_pre},
};
use crate::{
    domain::{Fetch, FetchKind, FetchState, Instance, ProjectLog, Timestamp, can_be_asked},
    web::{
        Site,
        auth::{CheckedForm, NoFields, Visit},
        error::WebError,
        format::{ago, escape},
        page::{Shell, html, page},
    },
};

/// Seconds after which a log is old: opening the page fetches it anew.
const FRESH: i64 = 10;

pub fn router() -> Router<Site> {
    Router::new()
        .route("/instances/{name}/logs", get(show).post(fetch))
        .route("/instances/{name}/logs.txt", get(text))
}

/// One of the logs on the page.
pub struct Part {
    pub id: &'static str,
    pub title: &'static str,
    pub from: &'static str,
    lines: Vec<String>,
}

impl Part {
    fn new<'a>(
        id: &'static str,
        title: &'static str,
        from: &'static str,
        lines: impl Iterator<Item = &'a str>,
    ) -> Self {
        Self { id, title, from, lines: lines.map(str::to_owned).collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn html(&self) -> String {
        if self.lines.is_empty() {
            return "<i>Nothing was written.</i>\n".to_owned();
        }
        for_pre(&self.lines.iter().map(|line| escape(line) + "\n").collect::<String>())
    }
}

/// The parts of a log as it was sent, errors first. Lines are cleaned before it is asked what they tell.
fn parts(bytes: &[u8]) -> Vec<Part> {
    let log = ProjectLog::read(bytes).cleaned(clean);
    vec![
        Part::new("errors", "Errors", "of all three", log.errors().into_iter()),
        Part::new("gunicorn", "Project", "gunicorn", log.gunicorn.lines()),
        Part::new("nginx-errors", "Web server, errors", "nginx", log.nginx_errors.lines()),
        Part::new("requests", "Requests", "nginx", log.nginx_access.lines()),
    ]
}

/// What the page shows.
#[derive(Template)]
#[template(path = "parts/logs_main.html")]
pub struct LogsView {
    instance: Instance,
    csrf: String,
    /// Whether it is being fetched.
    pub is_coming: bool,
    /// Why the newest did not come, and when, as HTML.
    failed: Option<(String, String)>,
    /// What was fetched last.
    fetched: Option<Fetch>,
    parts: Vec<Part>,
}

impl LogsView {
    /// The page as it is now.
    pub async fn of(visit: &Visit, instance: Instance) -> Result<Self, WebError> {
        let store = &visit.site.store;
        let fetches = store.fetches(instance.row).await?;
        let of_state = |state| {
            let mut logs = fetches.iter().filter(|fetch| fetch.kind == FetchKind::Log);
            logs.find(|fetch| fetch.state == state).cloned()
        };
        let fetched = of_state(FetchState::Ready);
        let newest = fetched.as_ref().map(|fetch| fetch.id);
        let failed = of_state(FetchState::Failed).filter(|failed| Some(failed.id) > newest);
        let bytes = match &fetched {
            Some(fetch) => store.fetched_log(fetch.id).await?,
            None => None,
        };
        Ok(Self {
            csrf: visit.csrf.token(),
            is_coming: fetches.iter().any(|fetch| fetch.kind == FetchKind::Log && fetch.state.is_open()),
            failed: failed.map(|fetch| {
                (clean(&fetch.error.unwrap_or_default()), ago(fetch.ended_at.unwrap_or(fetch.created_at)))
            }),
            parts: bytes.map(|bytes| parts(&bytes)).unwrap_or_default(),
            fetched,
            instance,
        })
    }

    /// The parts of the page that change.
    pub fn html(&self) -> Result<String, askama::Error> {
        html(self)
    }

    /// Why the machine cannot be asked.
    fn cannot(&self) -> Option<&'static str> {
        can_be_asked(&self.instance).err()
    }

    /// When the log was fetched, as HTML.
    fn fetched_ago(&self) -> Option<String> {
        self.fetched.as_ref().map(|fetch| ago(fetch.ended_at.unwrap_or(fetch.created_at)))
    }
}

/// Whether opening the page is to fetch the log: nothing of it is under way or has come or failed just now.
fn is_old(fetches: &[Fetch]) -> bool {
    let since = Timestamp::now().plus_seconds(-FRESH);
    let fresh = |fetch: &Fetch| fetch.state.is_open() || fetch.ended_at.is_some_and(|ended| ended > since);
    !fetches.iter().any(|fetch| fetch.kind == FetchKind::Log && fresh(fetch))
}

#[derive(Template)]
#[template(path = "logs.html")]
struct LogsPage<'a> {
    shell: Shell,
    name: String,
    main: String,
    tabs_of: String,
    tab: &'a str,
    can_edit: bool,
}

async fn show(visit: Visit, Path(name): Path<String>) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    let store = &visit.site.store;
    if can_be_asked(&instance).is_ok() && is_old(&store.fetches(instance.row).await?) {
        store.want_fetch(instance.row, FetchKind::Log, visit.user.id).await?;
    }
    let (name, can_edit) = (instance.name.to_string(), !instance.is_leaving());
    let view = LogsView::of(&visit, instance).await?;
    let title = format!("Logs of {name}");
    let mut shell = Shell::new(&visit, title, format!("What {name} and its web server wrote last.")).await?;
    let main = view.html()?;
    shell.moving = view.is_coming;
    shell.events = Some(format!("/instances/{name}/logs/events?seen={}", digest(&main)));
    page(StatusCode::OK, &LogsPage { shell, main, tabs_of: name.clone(), name, tab: "logs", can_edit })
}

async fn fetch(
    visit: Visit,
    Path(name): Path<String>,
    _form: CheckedForm<NoFields>,
) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    visit.site.store.want_fetch(instance.row, FetchKind::Log, visit.user.id).await?;
    Ok(Redirect::to(&format!("/instances/{}/logs", instance.name)).into_response())
}

/// The log that was fetched last, as text to keep.
async fn text(visit: Visit, Path(name): Path<String>) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    let fetches = visit.site.store.fetches(instance.row).await?;
    let ready = |fetch: &&Fetch| fetch.kind == FetchKind::Log && fetch.state == FetchState::Ready;
    let fetched = fetches.iter().find(ready).ok_or(WebError::NotFound)?;
    let bytes = visit.site.store.fetched_log(fetched.id).await?.ok_or(WebError::NotFound)?;
    let at = fetched.ended_at.unwrap_or(fetched.created_at).rfc3339();
    let mut text = format!("{name}, as its machine had it at {at}\n");
    for part in parts(&bytes) {
        text.push_str(&format!("\n==> {} ({})\n", part.title, part.from));
        for line in &part.lines {
            text.push_str(line);
            text.push('\n');
        }
    }
    let attachment = format!("attachment; filename=\"{}-logs.txt\"", instance.name);
    Ok(([(header::CONTENT_DISPOSITION, attachment)], text).into_response())
}
