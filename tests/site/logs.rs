//! The project's own log and its data, asked of a machine and sent by it.

use std::time::Duration;

use ec_django_deployer::{
    domain::{DeploymentId, Failure, FetchId, FetchKind, FetchState, Status, Wanted},
    spool::Limits,
};
use reqwest::{StatusCode, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::helpers::{App, LIMITS, Options, Person, encode, spawn_app, spawn_app_with};

/// What a machine sends of its logs.
fn sections(gunicorn: &str, nginx: &str, access: &str) -> Vec<u8> {
    let part = |name: &str, text: &str| format!("{name} {}\n{text}", text.len());
    [part("gunicorn", gunicorn), part("nginx-error", nginx), part("nginx-access", access)].concat().into()
}

/// A machine that answers a fetch.
struct Machine {
    client: reqwest::Client,
    url: String,
    token: String,
}

impl Machine {
    fn of(app: &App, id: FetchId) -> Self {
        let url = format!("{}/fetches/{id}", app.callback);
        Self { client: reqwest::Client::new(), url, token: app.log_key.fetch_token(id) }
    }

    async fn put(&self, format: &str, body: impl Into<reqwest::Body>) -> StatusCode {
        let request = self.client.put(&self.url).bearer_auth(&self.token).header("fetch-format", format);
        request.body(body).send().await.unwrap().status()
    }

    async fn failed(&self, sentence: &'static str) -> StatusCode {
        let request = self.client.post(format!("{}/failed", self.url)).bearer_auth(&self.token);
        request.body(sentence).send().await.unwrap().status()
    }
}

/// The fetch of this kind that is open, handed to its machine.
async fn sent(app: &App, name: &str, kind: FetchKind) -> FetchId {
    let (row, _) = app.ids(name).await;
    let fetches = app.store.fetches(row).await.unwrap();
    let open: Vec<_> =
        fetches.iter().filter(|fetch| fetch.kind == kind && fetch.state.is_open()).map(|f| f.id).collect();
    assert_eq!(open.len(), 1, "{fetches:?}");
    app.store.fetch_sent(open[0]).await.unwrap();
    open[0]
}

async fn live(app: &App) -> Person {
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    app.live("shop1").await;
    mira
}

/// Files in the directory of what machines sent.
fn files(app: &App) -> Vec<String> {
    let entries = std::fs::read_dir(app.directory.path().join("fetches")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn opening_the_page_fetches_the_log_and_errors_stand_first() {
    let app = spawn_app().await;
    let mut mira = live(&app).await;
    let page = mira.get("/instances/shop1/logs").await;
    assert_eq!(page.status, StatusCode::OK);
    page.has("The log is being fetched");
    page.has("<noscript><meta http-equiv=\"refresh\"");
    page.has("aria-current=\"page\">Logs</a>");
    // Reloading it is the same wish.
    mira.get("/instances/shop1/logs").await;
    let id = sent(&app, "shop1", FetchKind::Log).await;

    let gunicorn = "Starting gunicorn\n\u{1b}[31mInternal Server Error: /<script>alert(1)</script>\u{1b}[0m\n\
                    Traceback (most recent call last):\n  File \"views.py\"\nValueError: \u{202e}no\nGoodbye\n";
    let access = "10.0.0.9 - - [x] \"GET /boom/ HTTP/1.1\" 500 145 \"-\" \"-\"\n\
                  10.0.0.9 - - [x] \"GET /fine/ HTTP/1.1\" 200 145 \"-\" \"-\"\n";
    let machine = Machine::of(&app, id);
    assert_eq!(machine.put("text", sections(gunicorn, "", access)).await, StatusCode::NO_CONTENT);

    let page = mira.get("/instances/shop1/logs").await;
    page.has_not("http-equiv=\"refresh\"");
    page.has_not("is being fetched");
    page.has_not("<script>alert");
    page.has_not("\u{1b}");
    page.has_not("\u{202e}");
    let errors = page.between("id=\"errors-title\">Errors", "</section>");
    assert!(errors.contains("Internal Server Error: /&lt;script&gt;alert(1)"), "{errors}");
    assert!(errors.contains("ValueError: no") && errors.contains("/boom/"), "{errors}");
    assert!(!errors.contains("Goodbye") && !errors.contains("/fine/"), "{errors}");
    let at = |text: &str| page.body.find(text).unwrap_or_else(|| panic!("{text}"));
    assert!(at("errors-title") < at("gunicorn-title") && at("gunicorn-title") < at("nginx-errors-title"));
    assert!(page.between("id=\"gunicorn-title\"", "</section>").contains("Goodbye"));
    assert!(page.between("id=\"requests-title\"", "</section>").contains("/fine/"));
    assert!(page.between("id=\"nginx-errors-title\"", "</section>").contains("Nothing was written."));

    let text = mira.get("/instances/shop1/logs.txt").await;
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(text.header("content-disposition"), "attachment; filename=\"shop1-logs.txt\"");
    assert_eq!(text.header("x-content-type-options"), "nosniff");
    text.has("==> Requests (nginx)\n");
    text.has("Internal Server Error: /<script>alert(1)</script>\n");
    text.has_not("\u{1b}");

    // The newest is kept alone; a fresh one is not fetched again by looking, but by its button.
    let (row, _) = app.ids("shop1").await;
    assert_eq!(app.store.fetches(row).await.unwrap().len(), 1);
    let answer = mira.post("/instances/shop1/logs", &[]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/instances/shop1/logs"));
    let second = sent(&app, "shop1", FetchKind::Log).await;
    assert!(second > id);
    mira.get("/instances/shop1/logs").await.has("Goodbye");
    assert_eq!(
        Machine::of(&app, second).put("text", sections("Hello\n", "", "")).await,
        StatusCode::NO_CONTENT
    );
    let page = mira.get("/instances/shop1/logs").await;
    page.has("Hello");
    page.has_not("Goodbye");
    page.has("No line of these tells of an error.");
    assert_eq!(app.store.fetches(row).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_page_follows_by_itself() {
    let app = spawn_app().await;
    let mut mira = live(&app).await;
    let page = mira.get("/instances/shop1/logs").await;
    let path = page.between("data-events=\"", "\"").replace("&#38;", "&").replace("&amp;", "&");
    assert!(path.starts_with("/instances/shop1/logs/events?seen="), "{path}");
    let mut events = mira.events(&path, None).await;
    assert!(events.is_quiet().await, "the page is true");
    let id = sent(&app, "shop1", FetchKind::Log).await;
    Machine::of(&app, id).put("text", sections("Hello <you>\n", "", "")).await;
    let fragment = events.until(|event| event.data.contains("Hello")).await;
    assert_eq!(fragment.event, "fragment");
    assert!(fragment.data.starts_with("<div class=\"stack logs\" id=\"project-log\">"), "{}", fragment.data);
    assert!(fragment.data.contains("Hello &lt;you&gt;") && fragment.data.contains("csrf_token"));

    mira.get("/instances/shop1/data").await;
    mira.post("/instances/shop1/data/media", &[]).await;
    let mut events = mira.events("/instances/shop1/data/events", None).await;
    events.until(|event| event.data.contains("The machine is being asked.")).await;
    let id = sent(&app, "shop1", FetchKind::Media).await;
    events.until(|event| event.data.contains("being prepared on the machine")).await;
    app.store.fetch_heard(id, 12_345).await.unwrap();
    events.until(|event| event.data.contains("12.3 kB so far")).await;
    app.store.fetch_failed(id, "There are no media files on this machine.").await.unwrap();
    events.until(|event| event.data.contains("There are no media files")).await;
}

#[tokio::test]
async fn a_file_is_prepared_kept_and_downloaded() {
    let app = spawn_app().await;
    let mut mira = live(&app).await;
    mira.get("/instances/shop1/terminate").await.has("href=\"/instances/shop1/data\"");
    let page = mira.get("/instances/shop1/data").await;
    page.has("Prepare the database");
    page.has("Prepare the media files");
    assert_eq!(mira.get("/instances/shop1/data/database").await.status, StatusCode::NOT_FOUND);
    let answer = mira.post("/instances/shop1/data/database", &[]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/instances/shop1/data"));
    mira.post("/instances/shop1/data/database", &[]).await;
    let page = mira.get("/instances/shop1/data").await;
    page.has("The machine is being asked.");
    page.has_not("Prepare the database");
    page.has("http-equiv=\"refresh\"");

    let id = sent(&app, "shop1", FetchKind::Database).await;
    let machine = Machine::of(&app, id);
    let content = b"SQLite format 3\0".repeat(1000);
    assert_eq!(machine.put("text", content.clone()).await, StatusCode::BAD_REQUEST);
    assert_eq!(machine.put("sqlite3", content.clone()).await, StatusCode::NO_CONTENT);
    assert_eq!(machine.put("sqlite3", content.clone()).await, StatusCode::GONE, "it has come");
    assert_eq!(files(&app), [id.to_string()]);
    let page = mira.get("/instances/shop1/data").await;
    page.has("<strong>Ready:</strong> 16.0 kB");
    page.has("It is kept for an hour after that.");
    page.has("href=\"/instances/shop1/data/database\"");

    let request = mira.request(reqwest::Method::GET, "/instances/shop1/data/database");
    let answer = request.header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let header = |name: header::HeaderName| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header(header::CONTENT_DISPOSITION), "attachment; filename=\"shop1.sqlite3\"");
    assert_eq!(header(header::CONTENT_TYPE), "application/vnd.sqlite3");
    assert_eq!(header(header::CONTENT_LENGTH), content.len().to_string());
    assert_eq!(header(header::CACHE_CONTROL), "no-store");
    assert_eq!(header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
    assert_eq!(answer.bytes().await.unwrap(), content);

    // A newer one takes its place.
    mira.post("/instances/shop1/data/database", &[]).await;
    let second = sent(&app, "shop1", FetchKind::Database).await;
    assert_eq!(Machine::of(&app, second).put("tar.gz", &b"several"[..]).await, StatusCode::NO_CONTENT);
    assert_eq!(files(&app), [second.to_string()]);
    let answer = mira.get("/instances/shop1/data/database").await;
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"shop1-databases.tar.gz\"");
    assert_eq!((answer.header("content-type"), answer.body.as_str()), ("application/gzip", "several"));

    // It outlives its machine.
    let (row, _) = app.ids("shop1").await;
    app.store.want(row, Wanted::Absent).await.unwrap();
    app.store.set_status(row, Status::Terminating).await.unwrap();
    let why = Failure { step: None, message: "gone".to_owned() };
    app.store.machine_gone(row, &why).await.unwrap();
    let page = mira.get("/instances/shop1/data").await;
    page.has("The machine is gone.");
    page.has_not("Prepare the");
    assert_eq!(mira.get("/instances/shop1/data/database").await.body, "several");
}

#[tokio::test]
async fn what_cannot_be_sent_is_said_in_a_sentence() {
    let app = spawn_app().await;
    let mut mira = live(&app).await;
    mira.get("/instances/shop1/data").await;
    mira.post("/instances/shop1/data/media", &[]).await;
    let id = sent(&app, "shop1", FetchKind::Media).await;
    let machine = Machine::of(&app, id);
    let sentence = "There are no\n <b>media</b> files on this machine.";
    assert_eq!(machine.failed(sentence).await, StatusCode::NO_CONTENT);
    let page = mira.get("/instances/shop1/data").await;
    page.has("There are no &#60;b&#62;media&#60;/b&#62; files on this machine.");
    page.has("Prepare the media files");
    assert_eq!(machine.put("tar.gz", "late").await, StatusCode::GONE);
    assert_eq!(machine.failed("later").await, StatusCode::NO_CONTENT);
    mira.get("/instances/shop1/data").await.has_not("later");
    assert!(files(&app).is_empty());
}

#[tokio::test]
async fn too_much_is_refused_and_nothing_of_it_stays() {
    let app = spawn_app().await;
    let mut mira = live(&app).await;
    mira.get("/instances/shop1/data").await;
    mira.post("/instances/shop1/data/media", &[]).await;
    let id = sent(&app, "shop1", FetchKind::Media).await;
    let body = vec![b'x'; 100_001];
    assert_eq!(Machine::of(&app, id).put("tar.gz", body).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(files(&app).is_empty());
    mira.get("/instances/shop1/data").await.has("The media files are larger than 100.0 kB");

    mira.get("/instances/shop1/logs").await;
    let id = sent(&app, "shop1", FetchKind::Log).await;
    let body = vec![b'x'; 512 * 1024 + 1];
    assert_eq!(Machine::of(&app, id).put("text", body).await, StatusCode::PAYLOAD_TOO_LARGE);
    let page = mira.get("/instances/shop1/logs").await;
    page.has("The log did not come");
    page.has("The log is larger than 524.3 kB");
    page.has_not("is being fetched");
}

/// A connection that breaks while a proxy sends is answered by the proxy, which knows nothing of why.
#[tokio::test]
async fn who_is_refused_at_once_reads_why_though_it_goes_on_sending() {
    let app = spawn_app().await;
    let address = app.callback.strip_prefix("http://").unwrap();
    let (size, piece) = (4_000_000, [b'x'; 50_000]);
    let mut line = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!("PUT /fetches/1 HTTP/1.1\r\nhost: {address}\r\ncontent-length: {size}\r\n\r\n");
    line.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    line.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 401");
    for _ in 0..size / piece.len() {
        line.write_all(&piece).await.expect("it is still listened to");
    }
    // And nothing has gone wrong on the connection: it takes the next one.
    line.write_all(b"GET /fetches/1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut rest = String::new();
    line.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("HTTP/1.1 405"), "{rest}");
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_so() {
    let limits = Limits { keep_free: u64::MAX, ..LIMITS };
    let app = spawn_app_with(Options { limits, ..Options::default() }).await;
    let mut mira = live(&app).await;
    mira.get("/instances/shop1/data").await;
    mira.post("/instances/shop1/data/database", &[]).await;
    let id = sent(&app, "shop1", FetchKind::Database).await;
    assert_eq!(Machine::of(&app, id).put("sqlite3", "x").await, StatusCode::INSUFFICIENT_STORAGE);
    assert!(files(&app).is_empty());
    mira.get("/instances/shop1/data").await.has("too little room left");
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_the_wish_open() {
    let app = spawn_app().await;
    let mut mira = live(&app).await;
    mira.get("/instances/shop1/data").await;
    mira.post("/instances/shop1/data/database", &[]).await;
    let id = sent(&app, "shop1", FetchKind::Database).await;
    let machine = Machine::of(&app, id);
    let address = app.callback.strip_prefix("http://").unwrap();
    let mut line = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "PUT /fetches/{id} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\nfetch-format: sqlite3\r\n\
         transfer-encoding: chunked\r\n\r\nb\r\nfirst piece\r\n",
        machine.token
    );
    line.write_all(head.as_bytes()).await.unwrap();
    let (row, _) = app.ids("shop1").await;
    let heard = async {
        while app.store.fetches(row).await.unwrap()[0].size != 11 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), heard).await.expect("what came is noted");
    assert_eq!(files(&app), [format!("{id}.part")]);
    mira.get("/instances/shop1/data").await.has("It is coming: 11 B so far.");
    assert_eq!(machine.put("sqlite3", "another").await, StatusCode::CONFLICT);
    drop(line);
    let gone = async {
        while !files(&app).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("nothing of it stays");
    assert_eq!(app.store.fetch(id).await.unwrap().unwrap().state, FetchState::Sent);
    assert_eq!(machine.put("sqlite3", "whole").await, StatusCode::NO_CONTENT);
    assert_eq!(mira.get("/instances/shop1/data/database").await.body, "whole");
}

#[tokio::test]
async fn a_token_opens_its_fetch_and_nothing_else() {
    let app = spawn_app().await;
    let mut mira = live(&app).await;
    mira.get("/instances/shop1/logs").await;
    let id = sent(&app, "shop1", FetchKind::Log).await;
    let machine = Machine::of(&app, id);
    let same_number = app.log_key.token(DeploymentId(id.0));
    let neighbour = app.log_key.fetch_token(FetchId(id.0 + 1));
    for token in ["", "x", &same_number, &neighbour] {
        for request in
            [machine.client.put(&machine.url), machine.client.post(format!("{}/failed", machine.url))]
        {
            let request = request.bearer_auth(token).header("fetch-format", "text").body("x");
            assert_eq!(request.send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "{token}");
        }
    }
    let url = format!("{}/deployments/{id}/log", app.callback);
    let request =
        machine.client.patch(url).bearer_auth(&machine.token).header("upload-offset", "0").body("x");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    // The right token of a fetch that never was.
    assert_eq!(Machine::of(&app, FetchId(99)).put("text", "x").await, StatusCode::GONE);
    for id in ["0x1", "-", "1%2F..", "99999999999999999999"] {
        let request =
            machine.client.put(format!("{}/fetches/{id}", app.callback)).bearer_auth(&machine.token);
        assert_eq!(request.body("x").send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "{id}");
    }
    // People reach no such address, machines no pages.
    let request = machine.client.put(format!("{}/fetches/{id}", app.url)).bearer_auth(&machine.token);
    assert_eq!(request.body("x").send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(app.store.fetch(id).await.unwrap().unwrap().state, FetchState::Sent);
}

#[tokio::test]
async fn a_machine_that_does_not_run_is_not_asked() {
    let app = spawn_app().await;
    let mut mira = live(&app).await;
    let (row, _) = app.ids("shop1").await;
    for status in [Status::Stopping, Status::Stopped] {
        app.store.set_status(row, status).await.unwrap();
    }
    let page = mira.get("/instances/shop1/logs").await;
    page.has("The machine is stopped.");
    page.has("No log was fetched yet");
    page.has_not("<button class=\"btn main\">Fetch");
    assert!(app.store.fetches(row).await.unwrap().is_empty());
    assert_eq!(mira.get("/instances/shop1/logs.txt").await.status, StatusCode::NOT_FOUND);
    mira.get("/instances/shop1/data").await.has("The machine is stopped.");
}

#[tokio::test]
async fn anothers_logs_and_data_are_as_if_they_were_not_there() {
    let app = spawn_app().await;
    let mut mira = live(&app).await;
    mira.get("/instances/shop1/data").await;
    mira.post("/instances/shop1/data/database", &[]).await;
    let id = sent(&app, "shop1", FetchKind::Database).await;
    Machine::of(&app, id).put("sqlite3", "secret").await;
    let mut aiko = app.owner("aiko").await;
    aiko.get("/instances/new").await;
    for path in ["logs", "logs.txt", "logs/events", "data", "data/events", "data/database"] {
        let answer = aiko.get(&format!("/instances/shop1/{path}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        answer.has_not("secret");
    }
    aiko.get("/instances/new").await;
    for path in ["logs", "data/database", "data/media"] {
        let answer = aiko.post(&format!("/instances/shop1/{path}"), &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let (row, _) = app.ids("shop1").await;
    assert_eq!(app.store.fetches(row).await.unwrap().len(), 1);
    let mut root = app.person("root", ec_django_deployer::domain::Role::Admin).await;
    assert_eq!(root.get("/instances/shop1/data/database").await.body, "secret");

    // A form without its token does nothing, and there is no such file.
    for path in ["logs", "data/media"] {
        let answer = mira.post_raw(&format!("/instances/shop1/{path}"), encode(&[("csrf_token", "x")])).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
    mira.get("/instances/shop1/data").await;
    for path in ["log", "..%2f..%2fdeployer.db", "DATABASE"] {
        assert_eq!(
            mira.get(&format!("/instances/shop1/data/{path}")).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    assert_eq!(app.store.fetches(row).await.unwrap().len(), 1);
}
