//! The deploy log as machines send it, to the letter.

use ec_django_deployer::domain::{DeploymentId, LogKey};
use reqwest::{Client, Method, Response, StatusCode};

use crate::helpers::{App, spawn_app};

/// A machine: it knows its deployment and its token.
struct Machine {
    url: String,
    id: DeploymentId,
    token: String,
    client: Client,
}

impl Machine {
    async fn of(app: &App, name: &str) -> Self {
        let id = app.boot(name).await;
        Self { url: app.callback.clone(), id, token: app.log_key.token(id), client: Client::new() }
    }

    async fn send(&self, offset: &str, body: impl Into<reqwest::Body>) -> Response {
        let url = format!("{}/deployments/{}/log", self.url, self.id);
        let request = self.client.patch(url).header("authorization", format!("Bearer {}", self.token));
        request.header("upload-offset", offset).body(body).send().await.unwrap()
    }

    async fn environment(&self) -> Response {
        let url = format!("{}/deployments/{}/environment", self.url, self.id);
        self.client.get(url).header("authorization", format!("Bearer {}", self.token)).send().await.unwrap()
    }
}

fn seen(response: &Response) -> (u16, String) {
    let offset = response.headers().get("upload-offset").map_or("", |value| value.to_str().unwrap());
    (response.status().as_u16(), offset.to_owned())
}

fn is(status: u16, offset: &str) -> (u16, String) {
    (status, offset.to_owned())
}

async fn app_and_machine() -> (App, Machine) {
    let app = spawn_app().await;
    app.owner("mira").await.deploy("shop1").await;
    let machine = Machine::of(&app, "shop1").await;
    (app, machine)
}

#[tokio::test]
async fn bytes_are_taken_once_wherever_they_are_repeated() {
    let (app, machine) = app_and_machine().await;
    assert_eq!(seen(&machine.send("0", "::ec step clone start\n").await), is(204, "22"));
    assert_eq!(seen(&machine.send("0", "::ec step clone start\n").await), is(204, "22"));
    assert_eq!(seen(&machine.send("30", "later").await), is(409, "22"));
    assert_eq!(seen(&machine.send("10", "clone start\nmore\n").await), is(204, "27"));
    assert_eq!(seen(&machine.send("27", "").await), is(204, "27"));
    let log = app.store.log(machine.id, 0, 1000).await.unwrap();
    assert_eq!(String::from_utf8(log).unwrap(), "::ec step clone start\nmore\n");
}

#[tokio::test]
async fn a_bad_token_or_offset_is_refused() {
    let (app, machine) = app_and_machine().await;
    let url = format!("{}/deployments/{}/log", app.callback, machine.id);
    let other = LogKey::new([8; 64]).token(machine.id);
    let neighbour = app.log_key.token(DeploymentId(machine.id.0 + 1));
    for token in
        ["", "Bearer", "Bearer x", &format!("Bearer {other}"), &format!("Bearer {neighbour}"), &machine.token]
    {
        let request = machine.client.patch(&url).header("authorization", token).header("upload-offset", "0");
        assert_eq!(request.body("x").send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "{token}");
    }
    assert_eq!(machine.client.patch(&url).body("x").send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    for id in ["0", "-1", "x", "99999999999999999999", "1%2F..", "1e0"] {
        let url = format!("{}/deployments/{id}/log", app.callback);
        let request = machine.client.patch(url).header("authorization", format!("Bearer {}", machine.token));
        assert_eq!(request.body("x").send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "{id}");
    }
    for offset in ["", "x", "-1", "+1", "1.0", "0x1", "18446744073709551615", "9223372036854775808", "1 "] {
        let status = machine.send(offset, "x").await.status();
        // A header's own trailing space is dropped on the way, so that the last one is a gap.
        let expected = if offset == "1 " { StatusCode::CONFLICT } else { StatusCode::BAD_REQUEST };
        assert_eq!(status, expected, "{offset:?}");
    }
    let request = machine.client.patch(&url).header("authorization", format!("Bearer {}", machine.token));
    assert_eq!(request.body("x").send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert_eq!(app.store.deployment(machine.id).await.unwrap().unwrap().log_size, 0);
}

#[tokio::test]
async fn too_much_is_refused_and_nothing_of_it_is_kept() {
    let (app, machine) = app_and_machine().await;
    let piece = vec![b'x'; 256 * 1024];
    let mut large = piece.clone();
    large.push(b'x');
    assert_eq!(machine.send("0", large).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    for i in 0..64u64 {
        let offset = (i * 256 * 1024).to_string();
        assert_eq!(machine.send(&offset, piece.clone()).await.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(machine.send("16777216", "x").await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(seen(&machine.send("16777215", "x").await), is(204, "16777216"));
    assert_eq!(app.store.deployment(machine.id).await.unwrap().unwrap().log_size, 16 * 1024 * 1024);
}

#[tokio::test]
async fn an_ended_deployment_still_takes_its_last_bytes() {
    let (app, machine) = app_and_machine().await;
    let (row, _) = app.ids("shop1").await;
    let failure = ec_django_deployer::domain::Failure { step: None, message: "no".to_owned() };
    app.store.fail(row, &failure).await.unwrap();
    assert_eq!(machine.send("0", "late\n").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(machine.environment().await.status(), StatusCode::GONE);
}

#[tokio::test]
async fn the_environment_is_given_until_its_step_is_done() {
    let (_app, machine) = app_and_machine().await;
    let answer = machine.environment().await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    assert!(answer.bytes().await.unwrap().is_empty());
    machine.send("0", "::ec step environment start\n").await;
    assert_eq!(machine.environment().await.status(), StatusCode::OK);
    machine.send("28", "::ec step environment ok 0.1\n").await;
    assert_eq!(machine.environment().await.status(), StatusCode::GONE);
    let url = format!("{}/deployments/{}/environment", machine.url, machine.id);
    assert_eq!(machine.client.get(url).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_programs_that_a_script_does_not_bring_are_given_to_its_machine_alone() {
    let (_app, machine) = app_and_machine().await;
    let url = format!("{}/deployments/{}/programs", machine.url, machine.id);
    let ask =
        |token: &str| machine.client.get(&url).header("authorization", format!("Bearer {token}")).send();
    let answer = ask(&machine.token).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.bytes().await.unwrap(), ec_django_deployer::user_data::programs());
    assert_eq!(ask("nobody's").await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn machines_reach_nothing_else_and_people_no_deployments() {
    let (app, machine) = app_and_machine().await;
    for path in ["/", "/login", "/instances", "/healthz", "/deployments", "/deployments/1"] {
        let answer = machine.client.get(format!("{}{path}", app.callback)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let url = format!("{}/deployments/{}/log", app.url, machine.id);
    let request = machine.client.request(Method::PATCH, url).header("upload-offset", "0");
    let answer =
        request.header("authorization", format!("Bearer {}", machine.token)).body("x").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}
