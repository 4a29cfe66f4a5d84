//! Actors: a site that is started for one test, people with a browser's cookies, and machines with a token.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ec_django_deployer::{
    domain::{
        Database, Demanded, Dependencies, DeploymentId, Encoding, GitHosts, ImageId, InstanceId, LogKey,
        NameError, Plan, Role, RowId,
    },
    preflight::{Field, Finding, Preflight, Request},
    spool::{Limits, Spool},
    store::{BakedImage, Overview, Store},
    web::{self, Looker, Offer, Settings, Site},
};
use reqwest::{Method, Response, StatusCode};
use tokio_util::sync::CancellationToken;

pub const PASSWORD: &str = "a few unrelated words";
pub const COMMIT: &str = "3f1c9ab3f1c9ab3f1c9ab3f1c9ab3f1c9ab3f1c9";
pub const REPO: &str = "https://github.com/example/bookshop";

/// What a test's site keeps of files, however full the disk is that tests run on.
pub const LIMITS: Limits = Limits { max: 100_000, keep_free: 0, silence: Duration::from_secs(8) };

/// A site that is started for one test.
pub struct App {
    pub url: String,
    pub callback: String,
    /// The listener of the metrics.
    pub metrics: String,
    pub site: Site,
    pub store: Store,
    pub log_key: LogKey,
    pub shutdown: CancellationToken,
    /// Looks at repositories so far.
    pub looks: Arc<AtomicUsize>,
    /// The commit that the next look finds.
    pub tip: Arc<Mutex<String>>,
    /// The variables that the next look finds demanded.
    pub demands: Arc<Mutex<Vec<Demanded>>>,
    pub directory: tempfile::TempDir,
}

/// How a test's site differs from the usual one.
pub struct Options {
    pub secure: bool,
    pub trusted_proxies: Vec<std::net::IpAddr>,
    /// Where people are told that the site is, if that is not where it is.
    pub public_url: Option<&'static str>,
    pub site_domain: Option<&'static str>,
    pub look_takes: Duration,
    pub limits: Limits,
    /// The one git host of a site that looks at repositories by git; else a stand-in looks.
    pub git_host: Option<String>,
    pub serves_samples: bool,
    pub offer: Option<Offer>,
    pub max_instances: u32,
    /// The cloud's name, where it is not the one that has such an offer.
    pub cloud: Option<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            secure: false,
            trusted_proxies: Vec::new(),
            public_url: None,
            site_domain: None,
            look_takes: Duration::ZERO,
            limits: LIMITS,
            git_host: None,
            serves_samples: true,
            offer: None,
            max_instances: 0,
            cloud: None,
        }
    }
}

pub async fn spawn_app() -> App {
    spawn_app_with(Options::default()).await
}

pub async fn spawn_app_with(options: Options) -> App {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("sqlite://{}/site.db", directory.path().display())).await.unwrap();
    let store = store.with_max_instances(options.max_instances);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let callbacks = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let watchers = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let metrics = format!("http://{}", watchers.local_addr().unwrap());
    let url = format!("http://{}", listener.local_addr().unwrap());
    let callback = format!("http://{}", callbacks.local_addr().unwrap());
    let git_hosts: GitHosts = options.git_host.as_deref().unwrap_or("https://github.com").parse().unwrap();
    let settings = Settings {
        public_url: options.public_url.map_or_else(|| url.clone(), str::to_owned),
        callback_url: callback.clone(),
        git_hosts,
        serves_samples: Arc::new(options.serves_samples.into()),
        trusted_proxies: options.trusted_proxies,
        cloud: options.cloud.unwrap_or(if options.offer.is_some() { "ec2" } else { "local" }),
        offer: options.offer,
        site_domain: options.site_domain.map(str::to_owned),
        secure_cookies: options.secure,
        spool: Spool::open(directory.path().join("fetches"), options.limits).unwrap(),
        release: None,
    };
    let looks = Arc::new(AtomicUsize::new(0));
    let tip = Arc::new(Mutex::new(COMMIT.to_owned()));
    let demands: Arc<Mutex<Vec<Demanded>>> = Arc::default();
    let stand_in = Looker::Fixed {
        takes: options.look_takes,
        finds: Arc::new({
            let (looks, tip, demands) = (looks.clone(), tip.clone(), demands.clone());
            move |request| {
                looks.fetch_add(1, Ordering::SeqCst);
                let plan = look(request, &tip.lock().unwrap())?;
                Ok(Plan { variables: demands.lock().unwrap().clone(), ..plan })
            }
        }),
    };
    let preflight = || Preflight::new(directory.path().join("preflight")).into();
    let looker = if options.git_host.is_some() { preflight() } else { stand_in };
    let (log_key, shutdown) = (LogKey::new([7; 64]), CancellationToken::new());
    let site = Site::new(store.clone(), looker, log_key.clone(), settings, shutdown.clone());
    for (listener, router) in [
        (listener, web::router(site.clone())),
        (callbacks, web::callback_router(site.clone())),
        (watchers, web::metrics_router(site.clone())),
    ] {
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
                .with_graceful_shutdown(shutdown.cancelled_owned())
                .await
                .unwrap();
        });
    }
    App { url, callback, metrics, site, store, log_key, shutdown, looks, tip, demands, directory }
}

/// What the stand-in for preflight finds: a project in every repository, under any name but `shop`,
/// until the tip is `gone`.
fn look(request: &Request, tip: &str) -> Result<Plan, Vec<Finding>> {
    if request.project.as_str() == "shop" || tip == "gone" {
        let error = NameError::new("There is no `manage.py` in `shop/`; did you mean").suggest("backend");
        return Err(vec![Finding { field: Field::Project, error }]);
    }
    let branch = request.branch.clone().unwrap_or_else(|| "main".parse().unwrap());
    Ok(Plan {
        commit: tip.parse().unwrap(),
        subject: "Show the <basket> on every page".to_owned(),
        branch,
        project: request.project.clone(),
        settings: "config.settings".to_owned(),
        settings_from: "manage.py".to_owned(),
        wsgi: Some("config.wsgi".to_owned()),
        dependencies: Dependencies::Requirements {
            path: "requirements.txt".to_owned(),
            packages: 23,
            encoding: Encoding::Utf8,
            names_django: true,
        },
        django: Some("5.2".to_owned()),
        database: Database::Sqlite,
        chosen_database: None,
        variables: Vec::new(),
        python: None,
        committed: None,
        migrations: 14,
        warnings: Vec::new(),
    })
}

impl App {
    /// Somebody with a browser, not signed in.
    pub fn visitor(&self) -> Person {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Person { url: self.url.clone(), client, cookies: BTreeMap::new(), token: None }
    }

    /// Somebody who has an account and is signed in.
    pub async fn person(&self, username: &str, role: Role) -> Person {
        // One hash for everybody: what is tested is not how fast hashing is.
        static HASH: tokio::sync::OnceCell<String> = tokio::sync::OnceCell::const_new();
        let hash = HASH.get_or_init(async || web::hash_password(PASSWORD).unwrap()).await;
        self.store.add_user(&username.parse().unwrap(), hash, role).await.unwrap();
        let mut person = self.visitor();
        person.get("/login").await;
        let answer = person.post("/login", &[("username", username), ("password", PASSWORD)]).await;
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/instances"));
        person.get("/instances").await;
        person
    }

    pub async fn owner(&self, username: &str) -> Person {
        self.person(username, Role::Owner).await
    }

    /// The instance of this name, as the store has it.
    pub async fn found(&self, name: &str) -> Overview {
        self.store.instance(&name.parse().unwrap()).await.unwrap().expect("the instance is there")
    }

    /// The instance's row and its newest deployment.
    pub async fn ids(&self, name: &str) -> (RowId, DeploymentId) {
        let found = self.found(name).await;
        (found.instance.row, found.newest.unwrap().id)
    }

    pub async fn good_image(&self) -> ImageId {
        let image = self.store.begin_image("script").await.unwrap();
        let made = BakedImage { cloud_ref: "image-1", base: "Debian GNU/Linux 12", size: 881_000_000 };
        self.store.end_image(image, Ok(made)).await.unwrap();
        image
    }

    /// Does what the reconciler does up to a machine that boots.
    pub async fn boot(&self, name: &str) -> DeploymentId {
        let (row, deployment) = self.ids(name).await;
        let image = self.good_image().await;
        self.store.begin_attempt(row, deployment, image, name, "{}").await.unwrap();
        // One id for each row, of hexadecimal digits.
        let id: InstanceId = format!("i-{:017x}", row.0).parse().unwrap();
        let ip = format!("203.0.113.{}", row.0).parse().unwrap();
        assert!(self.store.attempt_launched(name, &id, Some(ip)).await.unwrap());
        deployment
    }

    /// The machine has begun to report, as the reconciler sees it.
    pub async fn deploying(&self, name: &str) -> DeploymentId {
        let deployment = self.boot(name).await;
        let (row, _) = self.ids(name).await;
        self.store.set_status(row, ec_django_deployer::domain::Status::Deploying).await.unwrap();
        deployment
    }

    /// Appends text to a deploy log.
    pub async fn log(&self, deployment: DeploymentId, text: &str) {
        let size = self.store.deployment(deployment).await.unwrap().unwrap().log_size;
        self.store.append_log(deployment, size, text.as_bytes()).await.unwrap();
    }

    /// Up to a live project.
    pub async fn live(&self, name: &str) -> DeploymentId {
        let deployment = self.deploying(name).await;
        self.log(deployment, &good_log()).await;
        let (row, _) = self.ids(name).await;
        self.store.deployment_live(row, deployment, None).await.unwrap();
        let wished = self.store.work(row).await.unwrap().unwrap().generation;
        self.store.observed(row, wished).await.unwrap();
        deployment
    }
}

/// The log of a deployment that goes well.
pub fn good_log() -> String {
    use ec_django_deployer::domain::Step;
    let mut log = format!("::ec commit {COMMIT}\n");
    for step in Step::ALL {
        log.push_str(&format!("::ec step {step} start\nthe words of {step}\n::ec step {step} ok 0.41\n"));
    }
    log + "::ec saw / answers 200 with 2 stylesheets\n::ec done\n"
}

/// Somebody with a browser: cookies, and the token of the form that was looked at last.
#[derive(Clone)]
pub struct Person {
    url: String,
    pub client: reqwest::Client,
    pub cookies: BTreeMap<String, String>,
    pub token: Option<String>,
}

/// What a site answered.
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn location(&self) -> &str {
        self.header("location")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// What stands between the first `from` and the next `to`, on one line.
    pub fn between(&self, from: &str, to: &str) -> String {
        let rest =
            self.body.split_once(from).unwrap_or_else(|| panic!("{from:?} is not in:\n{}", self.body)).1;
        let text = rest.split_once(to).unwrap().0;
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    pub fn has(&self, text: &str) {
        assert!(self.body.contains(text), "{text:?} is not in:\n{}", self.body);
    }

    #[track_caller]
    pub fn has_not(&self, text: &str) {
        assert!(!self.body.contains(text), "{text:?} is in:\n{}", self.body);
    }
}

pub fn encode(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

impl Person {
    pub fn new(url: String, client: reqwest::Client, cookies: BTreeMap<String, String>) -> Self {
        Self { url, client, cookies, token: None }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Posts a form with the token of the page that was looked at last.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.token.clone().expect("a page with a form was looked at");
        let mut all = vec![("csrf_token", token.as_str())];
        all.extend_from_slice(fields);
        self.post_raw(path, encode(&all)).await
    }

    /// Posts a form exactly as it is given.
    pub async fn post_raw(&mut self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.request(Method::POST, path);
        self.send(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await
    }

    /// Makes an instance through the form.
    pub async fn deploy(&mut self, name: &str) {
        let fields = [("github_url", REPO), ("project_name", "backend"), ("name", name)];
        let answer = self.post("/instances/new", &fields).await;
        assert_eq!(answer.location(), format!("/instances/{name}"), "{}", answer.body);
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.client.request(method, format!("{}{path}", self.url));
        if cookies.is_empty() { request } else { request.header("cookie", cookies.join("; ")) }
    }

    pub async fn send(&mut self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        self.keep_cookies(&response);
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await.unwrap();
        if let Some((_, rest)) = body.split_once(r#"name="csrf_token" value=""#) {
            self.token = rest.split('"').next().map(str::to_owned);
        }
        Answer { status, headers, body }
    }

    pub fn keep_cookies(&mut self, response: &Response) {
        for value in response.headers().get_all("set-cookie") {
            let cookie = value.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = cookie.split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Opens an event stream.
    pub async fn events(&self, path: &str, last_id: Option<&str>) -> Events {
        let mut request = self.request(Method::GET, path);
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { response, buffer: Vec::new() }
    }
}

/// An open event stream.
pub struct Events {
    pub response: Response,
    buffer: Vec<u8>,
}

/// A server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub event: String,
    pub id: String,
    pub data: String,
}

impl Events {
    /// The next event; none where the stream ends. A stream that says nothing for ten seconds is an error.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let rest = self.buffer.split_off(at + 2);
                let event = std::mem::replace(&mut self.buffer, rest);
                let event = read_event(std::str::from_utf8(&event).unwrap().trim_end_matches('\n'));
                if !event.event.is_empty() {
                    return Some(event);
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(10), self.response.chunk()).await;
            match chunk.expect("the stream says something").unwrap_or(None) {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => return None,
            }
        }
    }

    /// Goes on to the first event that `wanted` accepts.
    pub async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Whether nothing comes for a while.
    pub async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(700), self.next()).await.is_err()
    }
}

fn read_event(text: &str) -> Event {
    let mut event = Event::default();
    let mut data = Vec::new();
    for line in text.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event.event = value.to_owned(),
            "id" => event.id = value.to_owned(),
            "data" => data.push(value),
            _ => {}
        }
    }
    event.data = data.join("\n");
    event
}

/// What is logged, by all tests of this process from the first that asks for it.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Collects what is logged. For all tests at once: a subscriber of one thread would miss what another
/// has found silent before.
pub fn log_lines() -> Lines {
    static LINES: std::sync::OnceLock<Lines> = std::sync::OnceLock::new();
    let lines = LINES.get_or_init(|| {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter("debug,ec_django_deployer=trace")
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        lines
    });
    lines.clone()
}
