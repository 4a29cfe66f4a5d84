//! The log: a line for every request, by which it is found again, and no secret.

use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    helpers::{Lines, PASSWORD, REPO, good_log, log_lines, spawn_app},
    program::Program,
};

/// The only line that has all of these words.
#[track_caller]
fn line(log: &Lines, words: &[&str]) -> String {
    let text = log.text();
    let lines: Vec<_> = text.lines().filter(|line| words.iter().all(|word| line.contains(word))).collect();
    assert_eq!(lines.len(), 1, "{words:?} in {lines:#?}");
    lines[0].to_owned()
}

#[tokio::test]
async fn every_request_has_a_line_and_no_secret_is_in_any() {
    let log = log_lines();
    let app = spawn_app().await;

    let setup = app.site.setup_link();
    let mut visitor = app.visitor();
    let setup_path = setup.strip_prefix(&app.url).unwrap();
    visitor.get(setup_path).await;
    let setup_form = visitor.token.clone().unwrap();
    visitor.post(setup_path, &[("username", "eve"), ("password", PASSWORD)]).await;
    let mut mira = app.owner("mira").await;
    let form = mira.get("/instances/not-there?x=query-of-mine").await;
    assert_eq!(form.status, StatusCode::NOT_FOUND);
    mira.deploy("shop-of-logs").await;
    let page = mira.get("/instances/shop-of-logs").await;
    let wrong = mira.post("/instances/new", &[("github_url", REPO), ("project_name", "shop")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);

    let deployment = app.deploying("shop-of-logs").await;
    let token = app.log_key.token(deployment);
    let client = reqwest::Client::new();
    let sent = client
        .patch(format!("{}/deployments/{deployment}/log", app.callback))
        .bearer_auth(&token)
        .header("upload-offset", "0")
        .body(good_log())
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), StatusCode::NO_CONTENT);
    let refused = client
        .patch(format!("{}/deployments/{deployment}/log?x=query-of-a-machine", app.callback))
        .bearer_auth("a-wrong-token-that-somebody-tried")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);

    // Found by the number that the answer has, with who asked for what.
    let found = line(&log, &["answered", page.header("x-request-id")]);
    for word in [
        "method=GET",
        "path=\"/instances/shop-of-logs\"",
        "user=mira",
        "status=200",
        "/instances/{name}",
        "ms=",
    ] {
        assert!(found.contains(word), "{word} is not in {found}");
    }
    let found = line(&log, &["answered", wrong.header("x-request-id")]);
    assert!(found.contains("status=422") && found.contains("method=POST"), "{found}");
    let found = line(&log, &["answered", sent.headers()["x-request-id"].to_str().unwrap()]);
    assert!(found.contains("status=204") && found.contains("/deployments/{id}/log"), "{found}");
    let found = line(&log, &["answered", refused.headers()["x-request-id"].to_str().unwrap()]);
    assert!(found.contains("status=401"), "{found}");

    line(&log, &["a form was accepted", "instance=shop-of-logs", "user=mira", "path=\"/instances/new\""]);
    let session = mira.cookies["ec-session"].clone();
    let csrf = mira.token.clone().unwrap();
    let setup_token = setup.split_once("token=").unwrap().1.to_owned();
    let text = log.text();
    for secret in [
        PASSWORD,
        &encoded(PASSWORD),
        &session,
        &csrf,
        &setup_form,
        &setup_token,
        &token,
        "a-wrong-token",
        "query-of-mine",
        "query-of-a-machine",
        "$argon2",
    ] {
        assert!(secret.len() > 6, "{secret:?} would be found by chance");
        let leaks: Vec<_> = text.lines().filter(|line| line.contains(secret)).collect();
        assert!(leaks.is_empty(), "{secret:?} is in {leaks:#?}");
    }
}

fn encoded(text: &str) -> String {
    text.replace(' ', "+")
}

#[tokio::test]
async fn the_number_on_an_error_page_finds_its_cause() {
    let log = log_lines();
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    app.store.close().await;
    let answer = mira.get("/instances").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    let number = answer.header("x-request-id");
    answer.has(&format!("<code>{number}</code>"));
    let found = line(&log, &["ERROR", "answered", number]);
    assert!(found.contains("status=500"), "{found}");
    let text = log.text();
    let cause =
        text.lines().any(|line| line.contains(number) && line.contains("ERROR") && line.contains("closed"));
    assert!(cause, "no cause of {number}");
}

#[tokio::test]
async fn the_program_logs_json_where_it_is_asked_to() {
    let program = Program::serve(&[("LOG_FORMAT", "json"), ("RUST_LOG", "debug")]).await;
    let mut admin = program.first_admin().await;
    let answer = admin.get("/instances?whose=mine").await;
    let number = answer.header("x-request-id");
    let text = program.log();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let of_it = |line: &&Value| line["spans"][0]["id"] == number && line["message"] == "answered";
    let line = lines.iter().find(of_it).unwrap_or_else(|| panic!("{number} is not in:\n{text}"));
    assert_eq!(
        (&line["level"], &line["status"], &line["route"]),
        (&"INFO".into(), &200.into(), &"/instances".into())
    );
    assert!(line["ms"].is_u64() && line["timestamp"].is_string(), "{line}");
    let span = &line["spans"][0];
    assert_eq!(
        (&span["method"], &span["path"], &span["user"]),
        (&"GET".into(), &"/instances".into(), &"mira".into())
    );
    let session = admin.cookies["ec-session"].clone();
    for secret in
        [program.setup_token(), PASSWORD, &encoded(PASSWORD), &session, admin.token.as_deref().unwrap()]
    {
        assert!(!text.contains(secret), "{secret:?} is in the log:\n{text}");
    }
}

#[tokio::test]
async fn the_program_serves_metrics_where_it_is_asked_to_and_else_nowhere() {
    let port = crate::program::free_port();
    let address = format!("127.0.0.1:{port}");
    let program = Program::serve(&[("METRICS_LISTEN", &address)]).await;
    let text = reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap();
    assert!(text.contains("\nec_deployer_cloud_ready 0\n"), "{text}");
    assert!(text.contains("\nec_deployer_launches_total{result=\"launched\"} 0\n"), "{text}");
    let answer = reqwest::get(format!("{}/metrics", program.url)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert!(program.log().contains("metrics are served"), "{}", program.log());

    let program = Program::serve(&[]).await;
    assert!(!program.log().contains("metrics are served"), "{}", program.log());
}
