//! Management commands: asked for on a form, run by a machine, shown as text.

use ec_django_deployer::domain::{FetchId, FetchKind, FetchState, Status};
use reqwest::StatusCode;

use crate::helpers::{App, Person, spawn_app};

const PAGE: &str = "/instances/shop1/commands";

async fn live(app: &App) -> Person {
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    app.live("shop1").await;
    mira
}

/// The command that is open, handed to its machine.
async fn sent(app: &App) -> FetchId {
    let (row, _) = app.ids("shop1").await;
    let runs = app.store.commands(row).await.unwrap();
    let open = runs.iter().find(|run| run.fetch.state.is_open()).expect("an open command");
    assert_eq!(open.fetch.kind, FetchKind::Command);
    app.store.fetch_sent(open.fetch.id).await.unwrap();
    open.fetch.id
}

/// What a machine sends of a command.
async fn put(app: &App, id: FetchId, body: impl Into<reqwest::Body>) -> StatusCode {
    let url = format!("{}/fetches/{id}", app.callback);
    let request = reqwest::Client::new().put(url).bearer_auth(app.log_key.fetch_token(id));
    request.header("fetch-format", "text").body(body).send().await.unwrap().status()
}

async fn asks(mira: &mut Person, command: &str) -> StatusCode {
    mira.post(PAGE, &[("command", command)]).await.status
}

#[tokio::test]
async fn a_command_is_asked_for_and_what_it_printed_is_text() {
    let app = spawn_app().await;
    let mut mira = live(&app).await;
    mira.get("/instances/shop1").await.has("action=\"/instances/shop1/commands\"");
    mira.get(PAGE).await.has("No command was run yet.");
    let answer = mira.post(PAGE, &[("command", "python manage.py greet 'two words' \"<b>$(id)\"")]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, PAGE));
    let page = mira.get(PAGE).await;
    page.has("python manage.py greet &#39;two words&#39; &#34;&#60;b&#62;$(id)&#34;");
    page.has("waiting</span>");
    page.has("http-equiv=\"refresh\"");

    let path = page.between("data-events=\"", "\"").replace("&#38;", "&").replace("&amp;", "&");
    let mut events = mira.events(&path, None).await;
    assert!(events.is_quiet().await, "the page is true");
    let id = sent(&app).await;
    assert_eq!(app.store.command_arguments(id).await.unwrap().unwrap(), ["greet", "two words", "<b>$(id)"]);
    assert!(events.next().await.unwrap().data.contains("running</span>"));

    assert_eq!(put(&app, id, "no code\n").await, StatusCode::BAD_REQUEST);
    assert_eq!(
        put(&app, id, "exit 3\n\u{1b}[31m<script>alert(1)</script>\u{1b}[0m\n::ec done\n").await,
        StatusCode::NO_CONTENT
    );
    let data = events.next().await.unwrap().data;
    assert!(data.contains("exit 3") && !data.contains("<script>alert"), "{data}");
    let page = mira.get(PAGE).await;
    page.has("exit 3</span>");
    page.has("<pre>&lt;script&gt;alert(1)&lt;/script&gt;\n::ec done\n</pre>");
    page.has_not("\u{1b}");
    page.has_not("http-equiv=\"refresh\"");
    page.has("mira</td>");
    let text = mira.get(&format!("{PAGE}.txt?run={id}")).await;
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    text.has("<script>alert(1)</script>\n::ec done\nexit 3\n");
    // What comes twice is refused.
    assert_eq!(put(&app, id, "exit 0\n").await, StatusCode::GONE);

    // Nobody else sees any of it.
    let mut lena = app.owner("lena").await;
    for path in [PAGE.to_owned(), format!("{PAGE}.txt?run={id}"), format!("{PAGE}?run={id}")] {
        assert_eq!(lena.get(&path).await.status, StatusCode::NOT_FOUND);
    }
    lena.deploy("other1").await;
    lena.get(&format!("/instances/other1/commands?run={id}")).await.has_not("alert(1)");
    assert_eq!(
        lena.get(&format!("/instances/other1/commands.txt?run={id}")).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn what_cannot_be_run_is_told_on_the_field_with_what_was_typed() {
    let app = spawn_app().await;
    let mut mira = live(&app).await;
    for (typed, shown, why) in [
        ("runserver 0:80", "runserver 0:80", "never ends; the project is served already."),
        ("greet 'open", "greet &#39;open", "A quote is not closed"),
        ("check\nflush", "check\nflush", "A command is one line"),
        ("check \0", "check ", "A command is one line"),
        ("<script>", "&#60;script&#62;", "Begin with the name"),
        ("", "", "Type a management command"),
    ] {
        let page = mira.post(PAGE, &[("command", typed)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{typed}");
        page.has(why);
        page.has(&format!("value=\"{shown}"));
        page.has("aria-invalid=\"true\"");
        page.has_not("<script>\"");
    }
    let (row, _) = app.ids("shop1").await;
    assert!(app.store.commands(row).await.unwrap().is_empty());

    // One at a time.
    assert_eq!(asks(&mut mira, "check").await, StatusCode::SEE_OTHER);
    let page = mira.post(PAGE, &[("command", "showmigrations")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.has("Another command has not ended yet");
    page.has("value=\"showmigrations\"");
    let id = sent(&app).await;
    app.store.fetch_failed(id, "The <machine> is gone.").await.unwrap();
    mira.get(PAGE).await.has("The &#60;machine&#62; is gone.");
    assert_eq!(asks(&mut mira, "showmigrations").await, StatusCode::SEE_OTHER);

    // Not during a deployment.
    app.store.fetch_failed(sent(&app).await, "x").await.unwrap();
    mira.post("/instances/shop1/redeploy", &[]).await;
    let (row, second) = app.ids("shop1").await;
    app.store.begin_deployment(row, second).await.unwrap();
    assert_eq!(app.found("shop1").await.instance.status, Status::Deploying);
    let page = mira.post(PAGE, &[("command", "migrate")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.has("A deployment is under way");
}

#[tokio::test]
async fn the_newest_are_kept_and_too_much_is_refused() {
    let app = spawn_app().await;
    let mut mira = live(&app).await;
    let (row, _) = app.ids("shop1").await;
    for n in 0..23 {
        assert_eq!(asks(&mut mira, &format!("check {n}")).await, StatusCode::SEE_OTHER);
        let id = sent(&app).await;
        match n % 3 {
            0 => app.store.fetch_failed(id, "It did not come.").await.unwrap(),
            _ => assert_eq!(put(&app, id, "exit 0\nfine\n").await, StatusCode::NO_CONTENT),
        }
    }
    let runs = app.store.commands(row).await.unwrap();
    assert_eq!(runs.len(), 20);
    assert_eq!((runs[0].command.line(), runs[19].command.line()), ("check 22", "check 3"));
    assert_eq!(runs[0].exit_code, Some(0));

    // A log is another kind: neither is in the other's way.
    mira.get("/instances/shop1/logs").await;
    assert_eq!(asks(&mut mira, "check").await, StatusCode::SEE_OTHER);
    let id = sent(&app).await;
    let huge = [b"exit 0\n".to_vec(), vec![b'x'; 1_200_000]].concat();
    assert_eq!(put(&app, id, huge).await, StatusCode::PAYLOAD_TOO_LARGE);
    let newest = &app.store.commands(row).await.unwrap()[0];
    assert_eq!(newest.fetch.state, FetchState::Failed);
    mira.get(PAGE).await.has("What the command printed is larger than");
}
