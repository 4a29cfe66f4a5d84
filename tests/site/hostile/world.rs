//! Who sends the hostile requests, and where to.

use std::{path::PathBuf, sync::Arc, time::Duration};

use ec_django_deployer::domain::Role;
use futures_util::stream;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    helpers::{Answer, App, Person, spawn_app},
    routes::{Route, Who},
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
    pub canary: PathBuf,
    _directory: Arc<tempfile::TempDir>,
}

impl World {
    pub async fn new() -> Self {
        let app = spawn_app().await;
        let mut mira = app.owner("mira").await;
        mira.deploy("shop1").await;
        app.deploying("shop1").await;
        let (aiko, root) = (app.owner("aiko").await, app.person("root", Role::Admin).await);
        let mut visitor = app.visitor();
        visitor.get("/login").await;
        let fresh = spawn_app().await;
        let first = fresh.visitor();
        let directory = tempfile::tempdir().unwrap();
        let canary = directory.path().join("canary");
        let (app, fresh) = (Arc::new(app), Arc::new(fresh));
        Self { app, fresh, mira, aiko, root, visitor, first, canary, _directory: Arc::new(directory) }
    }

    fn who(&mut self, who: Who) -> &mut Person {
        match who {
            Who::Anyone | Who::Machine => &mut self.visitor,
            Who::FirstAdmin => &mut self.first,
            Who::SignedIn => &mut self.mira,
            Who::Admin => &mut self.root,
        }
    }

    /// The path with what else leads there.
    pub fn path(&self, route: &Route, path: &str) -> String {
        match self.fresh.site.setup_link().split_once('?') {
            Some((_, token)) if route.who == Who::FirstAdmin => format!("{path}?{token}"),
            _ => path.to_owned(),
        }
    }

    /// The address of a machine's route.
    pub fn url_of(&self, route: &Route) -> String {
        format!("{}{}", self.app.callback, route.good())
    }

    /// A token for a form of this route.
    pub async fn token(&mut self, route: &Route) -> String {
        let path = match route.who {
            Who::FirstAdmin => self.path(route, "/setup"),
            Who::Anyone => "/login".to_owned(),
            _ => "/instances".to_owned(),
        };
        let person = self.who(route.who);
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
            return ask(self.who(route.who), method, path, body).await;
        }
        let (_, deployment) = self.app.ids("shop1").await;
        let token = self.app.log_key.token(deployment);
        let request = self.visitor.client.request(method, format!("{}{path}", self.app.callback));
        let request = request.header("upload-offset", "0").bearer_auth(token).body(body.1);
        in_time(&mut self.visitor, request, path).await
    }

    /// The same with an empty body.
    pub async fn send_to(&mut self, route: &Route, path: &str) -> Answer {
        let path = if route.who == Who::FirstAdmin && !path.contains('?') {
            self.path(route, path)
        } else {
            path.to_owned()
        };
        self.ask(route, &path, form(String::new())).await
    }

    /// Looks at what a form that was taken led to.
    pub async fn look_where_it_went(&mut self, route: &Route, answer: &Answer, what: &str) {
        let to = answer.location().to_owned();
        assert!(to.starts_with('/') && !to.starts_with("//"), "{what}: {to}");
        if route.who == Who::FirstAdmin {
            // It works once: the next one is of a new site.
            self.fresh = Arc::new(spawn_app().await);
            self.first = self.fresh.visitor();
            return;
        }
        for path in [to.as_str(), "/instances"] {
            super::shows_no_markup(&self.who(route.who).get(path).await, what);
        }
    }

    #[track_caller]
    pub fn nothing_was_executed(&self) {
        assert!(!self.canary.exists(), "something ran what was typed");
    }
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
