//! Who sends the hostile requests, and where to.

use std::{path::PathBuf, sync::Arc, time::Duration};

use ec_django_deployer::domain::{
    AVAILABLE, FetchId, FetchKind, Holding, HoldingKind, ImageId, Role, Timestamp,
};
use futures_util::stream;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    helpers::{Answer, App, Options, PASSWORD, Person, encode, spawn_app, spawn_app_with},
    routes::{Gives, KNOWN, Route, Who},
};

/// Longest time that any answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A content type, and a body.
pub type Body = (Option<&'static str>, reqwest::Body);

/// The body of a form.
pub fn form(body: String) -> Body {
    (Some("application/x-www-form-urlencoded"), body.into())
}

/// A site with people and an instance, and one without anybody.
#[derive(Clone)]
pub struct World {
    pub app: Arc<App>,
    fresh: Arc<App>,
    /// The owner of `shop1`.
    mira: Person,
    /// Somebody else.
    pub aiko: Person,
    root: Person,
    visitor: Person,
    /// Whoever has the set-up link.
    first: Person,
    /// Whoever changes their own password, and what it is.
    kim: Person,
    kims_password: String,
    /// Whoever has a password link, and its secret.
    lena: Person,
    link: String,
    pub canary: PathBuf,
    _directory: Arc<tempfile::TempDir>,
}

impl World {
    pub async fn new() -> Self {
        let proxied = Options { trusted_proxies: vec![[127, 0, 0, 1].into()], ..Options::default() };
        let app = spawn_app_with(proxied).await;
        let mut mira = app.owner("mira").await;
        mira.deploy("shop1").await;
        app.deploying("shop1").await;
        let (aiko, mut root) = (app.owner("aiko").await, app.person("root", Role::Admin).await);
        // From elsewhere, so that others' failed tries are not hers.
        let mut kim = app.owner("kim").await;
        let elsewhere = reqwest::header::HeaderMap::from_iter([(
            reqwest::header::HeaderName::from_static("x-forwarded-for"),
            reqwest::header::HeaderValue::from_static("198.51.100.7"),
        )]);
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        kim.client = client.default_headers(elsewhere).build().unwrap();
        root.get("/users").await;
        let added = root.post("/users", &[("username", "lena"), ("role", "owner")]).await;
        let (link, lena) = (secret_of(&added), app.visitor());
        let row = app.ids("shop1").await.0;
        let by = app.found("shop1").await.instance.owner;
        for kind in [FetchKind::Database, FetchKind::Log] {
            let fetch = app.store.want_fetch(row, kind, by).await.unwrap();
            app.store.fetch_sent(fetch).await.unwrap();
        }
        let image = Holding {
            number: Some(ImageId(9)),
            ..Holding::new(HoldingKind::Image, "img-9-0f3c9a41", AVAILABLE)
        };
        app.store.note_inventory(&[&image], Timestamp::now()).await.unwrap();
        let mut visitor = app.visitor();
        visitor.get("/login").await;
        let fresh = spawn_app().await;
        let first = fresh.visitor();
        let directory = tempfile::tempdir().unwrap();
        let canary = directory.path().join("canary");
        Self {
            app: Arc::new(app),
            fresh: Arc::new(fresh),
            mira,
            aiko,
            root,
            visitor,
            first,
            kim,
            kims_password: PASSWORD.to_owned(),
            lena,
            link,
            canary,
            _directory: Arc::new(directory),
        }
    }

    fn who(&mut self, route: &Route) -> &mut Person {
        match route.who {
            Who::Anyone | Who::Machine => &mut self.visitor,
            Who::FirstAdmin => &mut self.first,
            Who::WithLink => &mut self.lena,
            Who::SignedIn if route.path.starts_with("/account/") => &mut self.kim,
            Who::SignedIn => &mut self.mira,
            Who::Admin => &mut self.root,
        }
    }

    /// The path with what else leads there.
    pub fn path(&self, route: &Route, path: &str) -> String {
        match (route.who, self.fresh.site.setup_link().split_once('?')) {
            (Who::FirstAdmin, Some((_, token))) => format!("{path}?{token}"),
            (Who::WithLink, _) if route.method == "GET" => format!("{path}?token={}", self.link),
            _ => path.to_owned(),
        }
    }

    /// Good values of the route's fields.
    pub async fn good(&self, route: &Route) -> Vec<(&'static str, String)> {
        let version = self.app.found("shop1").await.instance.version();
        let good = |(name, good, _): &(&'static str, &'static str, _)| {
            let value = match (*name, *good) {
                ("version", KNOWN) => &version,
                ("token", KNOWN) => &self.link,
                ("password", KNOWN) => &self.kims_password,
                (name, KNOWN) => panic!("who knows {name} of {}?", route.path),
                (_, good) => good,
            };
            (*name, value.to_owned())
        };
        route.fields.iter().map(good).collect()
    }

    /// A body with a good token and good values.
    pub async fn good_form(&mut self, route: &Route) -> Body {
        let mut fields = self.good(route).await;
        fields.push(("csrf_token", self.token(route).await));
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
        form(encode(&fields))
    }

    /// The address of a machine's route.
    pub fn url_of(&self, route: &Route) -> String {
        format!("{}{}", self.app.callback, route.good())
    }

    /// A token for a form of this route.
    pub async fn token(&mut self, route: &Route) -> String {
        let path = match route.who {
            Who::FirstAdmin => self.path(route, "/setup"),
            Who::WithLink => format!("/password?token={}", self.link),
            Who::Anyone => "/login".to_owned(),
            _ => "/instances".to_owned(),
        };
        let person = self.who(route);
        if person.token.is_none() {
            person.get(&path).await;
        }
        person.token.clone().unwrap()
    }

    /// Sends the request by whom it is for.
    pub async fn ask(&mut self, route: &Route, path: &str, body: Body) -> Answer {
        self.ask_as(Method::from_bytes(route.method.as_bytes()).unwrap(), route, path, body).await
    }

    pub async fn ask_as(&mut self, method: Method, route: &Route, path: &str, body: Body) -> Answer {
        if route.who != Who::Machine {
            return ask(self.who(route), method, path, body).await;
        }
        let token = match route.path.starts_with("/fetches/") {
            true => self.app.log_key.fetch_token(FetchId(1)),
            false => self.app.log_key.token(self.app.ids("shop1").await.1),
        };
        let request = self.visitor.client.request(method, format!("{}{path}", self.app.callback));
        let request = request.header("upload-offset", "0").header("fetch-format", "sqlite3");
        let request = request.bearer_auth(token).body(body.1);
        in_time(&mut self.visitor, request, path).await
    }

    /// The same with a good form, where it is one.
    pub async fn send_to(&mut self, route: &Route, path: &str) -> Answer {
        let path = if path.contains('?') { path.to_owned() } else { self.path(route, path) };
        let body = match route.gives {
            Gives::Form => self.good_form(route).await,
            Gives::Page | Gives::Data => form(String::new()),
        };
        self.ask(route, &path, body).await
    }

    /// Looks at what a form led to that was taken with this value.
    pub async fn look_where_it_went(&mut self, route: &Route, answer: &Answer, value: &[u8], what: &str) {
        let to = answer.location().to_owned();
        assert!(to.starts_with('/') && !to.starts_with("//"), "{what}: {to}");
        if route.who == Who::FirstAdmin {
            // It works once: the next one is of a new site.
            self.fresh = Arc::new(spawn_app().await);
            self.first = self.fresh.visitor();
            return;
        }
        if route.who == Who::WithLink {
            // So does this one.
            self.link = secret_of(&self.root.post("/users/lena/password", &[]).await);
            self.lena = self.app.visitor();
            return;
        }
        if route.path == "/account/password" {
            self.kims_password = String::from_utf8(value.to_vec()).unwrap();
        }
        for path in [to.as_str(), "/instances"] {
            super::shows_no_markup(&self.who(route).get(path).await, what);
        }
    }

    #[track_caller]
    pub fn nothing_was_executed(&self) {
        assert!(!self.canary.exists(), "something ran what was typed");
    }
}

/// The secret of a password link, on the page that shows it.
fn secret_of(page: &Answer) -> String {
    page.between("/password?token=", "</code>")
}

/// Sends a request as this person.
pub async fn ask(person: &mut Person, method: Method, path: &str, (kind, body): Body) -> Answer {
    let request = person.request(method, path);
    let request = match kind {
        Some("") | None => request,
        Some(kind) => request.header("content-type", kind.as_bytes()),
    };
    let request = request.body(body);
    in_time(person, request, path).await
}

/// The answer, which comes in time; of a stream of events, its head.
async fn in_time(person: &mut Person, request: reqwest::RequestBuilder, what: &str) -> Answer {
    let answer = async {
        let response = request.send().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        person.keep_cookies(&response);
        let (status, headers) = (response.status(), response.headers().clone());
        let events = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = if events { String::new() } else { response.text().await.unwrap() };
        Answer { status, headers, body }
    };
    tokio::time::timeout(PATIENCE, answer)
        .await
        .unwrap_or_else(|_| panic!("{what} took more than 20 seconds"))
}

/// A body without end: one that hangs after its beginning, one that goes on slowly, one that never stops.
pub fn endless(how: &'static str, beginning: &str) -> reqwest::Body {
    let (piece, pause) = match how {
        "hangs" => ("", Duration::from_secs(3600)),
        "trickles" => ("a", Duration::from_millis(700)),
        _ => ("0123456789abcdef", Duration::from_millis(20)),
    };
    let first = beginning.as_bytes().to_vec();
    let rest = stream::unfold((), move |()| async move {
        tokio::time::sleep(pause).await;
        Some((piece.repeat(if piece.len() > 1 { 1024 } else { 1 }).into_bytes(), ()))
    });
    let pieces = futures_util::StreamExt::chain(stream::iter([first]), rest);
    reqwest::Body::wrap_stream(futures_util::StreamExt::map(pieces, Ok::<_, std::io::Error>))
}

/// Sends bytes as they are, and gives what is answered.
pub async fn raw(app: &App, text: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("an answer in time, or none");
    String::from_utf8_lossy(&answer).into_owned()
}
