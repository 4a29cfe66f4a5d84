//! The data that only the machine has, to download before it goes: the database and the media files. Each is
//! prepared first, since it comes from the machine, and then kept for an hour.

use askama::Template;
use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use tokio_util::io::ReaderStream;

use super::{fetch_events::digest, find, log_html::clean};
use crate::{
    domain::{Fetch, FetchFormat, FetchKind, FetchState, Instance, ServerName, Timestamp, can_be_asked},
    web::{
        Site,
        auth::{CheckedForm, NoFields, Visit},
        error::{Problem, WebError},
        format::{ago, size},
        page::{Shell, html, page},
    },
};

/// Bytes that are read from a file at once.
const PIECE: usize = 256 * 1024;

pub fn router() -> Router<Site> {
    Router::new()
        .route("/instances/{name}/data", get(show))
        .route("/instances/{name}/data/{kind}", get(download).post(prepare))
}

/// What there is of one kind of file.
pub struct Card {
    pub kind: &'static str,
    pub title: &'static str,
    pub about: &'static str,
    /// What the button and the link are called.
    pub thing: &'static str,
    coming: Option<Fetch>,
    ready: Option<Fetch>,
    failed: Option<Fetch>,
}

impl Card {
    fn of(kind: FetchKind, fetches: &[Fetch]) -> Self {
        let (title, about, thing) = match kind {
            FetchKind::Media => (
                "Media files",
                "What people uploaded to the project, as a compressed archive. Links among the files are left out.",
                "the media files",
            ),
            _ => (
                "Database",
                "The project's database as it is at one moment, while the project goes on: SQLite's file, or a compressed archive of it where there are more, or where PostgreSQL or MySQL has it.",
                "the database",
            ),
        };
        let find = |wanted: &dyn Fn(&Fetch) -> bool| {
            fetches.iter().find(|fetch| fetch.kind == kind && wanted(fetch)).cloned()
        };
        let ready = find(&|fetch| fetch.kept_until().is_some_and(|until| until > Timestamp::now()));
        let newest = find(&|fetch| fetch.state == FetchState::Ready).map(|fetch| fetch.id);
        Self {
            kind: kind.name(),
            title,
            about,
            thing,
            coming: find(&|fetch| fetch.state.is_open()),
            failed: find(&|fetch| fetch.state == FetchState::Failed && Some(fetch.id) > newest),
            ready,
        }
    }

    /// How far it is, in words, while it is coming.
    fn coming(&self) -> Option<String> {
        let coming = self.coming.as_ref()?;
        Some(match (coming.state, coming.size) {
            (FetchState::Wanted, _) => "The machine is being asked.".to_owned(),
            (_, 0) => "It is being prepared on the machine.".to_owned(),
            (_, bytes) => format!("It is coming: {} so far.", size(bytes)),
        })
    }

    /// Why it did not come, and when, as HTML.
    fn failed(&self) -> Option<(String, String)> {
        let failed = self.failed.as_ref()?;
        let ended = failed.ended_at.unwrap_or(failed.created_at);
        Some((clean(failed.error.as_deref().unwrap_or_default()), ago(ended)))
    }

    /// What can be downloaded: its size, and when it was made, as HTML.
    fn ready(&self) -> Option<(String, String)> {
        let ready = self.ready.as_ref()?;
        Some((size(ready.size), ago(ready.ended_at?)))
    }
}

/// What the page shows.
#[derive(Template)]
#[template(path = "parts/data_main.html")]
pub struct DataView {
    instance: Instance,
    csrf: String,
    cards: Vec<Card>,
}

impl DataView {
    /// The page as it is now.
    pub async fn of(visit: &Visit, instance: Instance) -> Result<Self, WebError> {
        let fetches = visit.site.store.fetches(instance.row).await?;
        let cards = FetchKind::FILES.into_iter().map(|kind| Card::of(kind, &fetches)).collect();
        Ok(Self { csrf: visit.csrf.token(), cards, instance })
    }

    /// The parts of the page that change.
    pub fn html(&self) -> Result<String, askama::Error> {
        html(self)
    }

    /// Why the machine cannot be asked.
    fn cannot(&self) -> Option<&'static str> {
        can_be_asked(&self.instance).err()
    }

    fn is_moving(&self) -> bool {
        self.cards.iter().any(|card| card.coming.is_some())
    }
}

#[derive(Template)]
#[template(path = "data.html")]
struct DataPage<'a> {
    shell: Shell,
    name: String,
    main: String,
    tabs_of: String,
    tab: &'a str,
    can_edit: bool,
}

async fn show(visit: Visit, Path(name): Path<String>) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    let (name, can_edit) = (instance.name.to_string(), !instance.is_leaving());
    let view = DataView::of(&visit, instance).await?;
    let title = format!("Data of {name}");
    let mut shell =
        Shell::new(&visit, title, format!("Download the database and the media files of {name}.")).await?;
    let main = view.html()?;
    shell.moving = view.is_moving();
    shell.events = Some(format!("/instances/{name}/data/events?seen={}", digest(&main)));
    page(StatusCode::OK, &DataPage { shell, main, tabs_of: name.clone(), name, tab: "data", can_edit })
}

/// The kind of file that a path names.
fn kind(text: &str) -> Result<FetchKind, WebError> {
    FetchKind::FILES.into_iter().find(|kind| kind.name() == text).ok_or(WebError::NotFound)
}

async fn prepare(
    visit: Visit,
    Path((name, file)): Path<(String, String)>,
    _form: CheckedForm<NoFields>,
) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    let kind = kind(&file)?;
    visit.site.store.want_fetch(instance.row, kind, visit.user.id).await?;
    tracing::info!(instance = %instance.name, by = %visit.user.username, file, "a download is to be prepared");
    Ok(Redirect::to(&format!("/instances/{}/data", instance.name)).into_response())
}

async fn download(visit: Visit, Path((name, file)): Path<(String, String)>) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    let kind = kind(&file)?;
    let fetches = visit.site.store.fetches(instance.row).await?;
    let kept = |fetch: &&Fetch| {
        fetch.kind == kind && fetch.kept_until().is_some_and(|until| until > Timestamp::now())
    };
    let Some(fetch) = fetches.iter().find(kept) else { return Err(over().into()) };
    let Some(file) = visit.site.settings.spool.file(fetch.id, fetch.size).await else {
        return Err(over().into());
    };
    let format = fetch.format.unwrap_or(FetchFormat::TarGz);
    let type_ = match format {
        FetchFormat::Sqlite => "application/vnd.sqlite3",
        FetchFormat::TarGz | FetchFormat::Text => "application/gzip",
    };
    let attachment = format!("attachment; filename=\"{}\"", file_name(&instance.name, kind, format));
    let headers = [
        (header::CONTENT_TYPE, type_.to_owned()),
        (header::CONTENT_LENGTH, fetch.size.to_string()),
        (header::CONTENT_DISPOSITION, attachment),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    tracing::info!(instance = %instance.name, by = %visit.user.username, kind = kind.name(), "data is downloaded");
    Ok((headers, Body::from_stream(ReaderStream::with_capacity(file, PIECE))).into_response())
}

/// The name of a file on the disk of who downloads it, of letters, digits and hyphens as the instance's is.
fn file_name(instance: &ServerName, kind: FetchKind, format: FetchFormat) -> String {
    let what = match (kind, format) {
        (FetchKind::Media, _) => "-media",
        (_, FetchFormat::TarGz) => "-databases",
        _ => "",
    };
    format!("{instance}{what}.{}", format.name())
}

fn over() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "There is nothing to download here",
        "A download is kept for an hour. Prepare it anew on the instance's page Data.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_after_its_instance() {
        let name: ServerName = "shop1".parse().unwrap();
        let called = |kind, format| file_name(&name, kind, format);
        assert_eq!(called(FetchKind::Database, FetchFormat::Sqlite), "shop1.sqlite3");
        assert_eq!(called(FetchKind::Database, FetchFormat::TarGz), "shop1-databases.tar.gz");
        assert_eq!(called(FetchKind::Media, FetchFormat::TarGz), "shop1-media.tar.gz");
    }
}
