//! The first admin of a project: asked for, given to one machine, told by its log, its password shown once.

use ec_django_deployer::domain::{DeploymentId, Failure, Status};
use reqwest::{Client, StatusCode};

use crate::helpers::{App, Person, REPO, good_log, spawn_app};

async fn given(app: &App, id: DeploymentId) -> (u16, serde_json::Value) {
    let url = format!("{}/deployments/{id}/first-admin", app.callback);
    let answer = Client::new().get(url).bearer_auth(app.log_key.token(id)).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
}

async fn deploy_with_admin(mira: &mut Person) {
    deploy_described(mira, "").await;
}

async fn deploy_described(mira: &mut Person, description: &str) {
    mira.get("/instances/new").await;
    let fields = [
        ("github_url", REPO),
        ("project_name", "backend"),
        ("name", "shop1"),
        ("description", description),
        ("first_admin", "mira.b"),
    ];
    assert_eq!(mira.post("/instances/new", &fields).await.location(), "/instances/shop1");
}

/// Ends the deployment under way well, with a mark about its admin.
async fn live(app: &App, id: DeploymentId, mark: &str) {
    let (row, _) = app.ids("shop1").await;
    app.log(id, &format!("::ec admin {mark}\n{}", good_log())).await;
    app.store.deployment_live(row, id, None).await.unwrap();
}

#[tokio::test]
async fn an_admin_is_made_and_the_password_shown_once() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    deploy_with_admin(&mut mira).await;
    let id = app.deploying("shop1").await;
    mira.get("/instances/shop1").await.has("First admin: mira.b");
    let (status, admin) = given(&app, id).await;
    assert_eq!((status, &admin["username"]), (200, &"mira.b".into()));
    let password = admin["password"].as_str().unwrap().to_owned();
    assert_eq!(password.len(), 20);
    assert_eq!(given(&app, id).await.1, admin, "an answer that was lost is given again");
    let early = mira.post("/instances/shop1/admin/password", &[]).await;
    assert_eq!(early.status, StatusCode::CONFLICT);
    live(&app, id, "created").await;
    assert_eq!(given(&app, id).await.0, 410);
    let page = mira.get("/instances/shop1").await;
    page.has("Show the password once</button>");
    page.has_not(&password);
    let mut aiko = app.owner("aiko").await;
    assert_eq!(aiko.post("/instances/shop1/admin/password", &[]).await.status, StatusCode::NOT_FOUND);
    mira.get("/instances/shop1").await;
    let shown = mira.post("/instances/shop1/admin/password", &[]).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert_eq!(shown.header("cache-control"), "no-store");
    shown.has(&format!("<code>{password}</code>"));
    shown.has_not("data-events");
    let page = mira.get("/instances/shop1").await;
    page.has("Its password was shown on");
    page.has_not(&password);
    assert_eq!(mira.post("/instances/shop1/admin/password", &[]).await.status, StatusCode::CONFLICT);
    // The next deployment makes none, and another can be asked for.
    mira.post("/instances/shop1/redeploy", &[]).await;
    let (row, second) = app.ids("shop1").await;
    app.store.begin_deployment(row, second).await.unwrap();
    assert_eq!(given(&app, second).await.0, 204);
    mira.get("/instances/shop1/environment").await;
    let bad = mira.post("/instances/shop1/admin", &[("username", "two words")]).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    bad.has("value=\"two words\"");
    let asked = mira.post("/instances/shop1/admin", &[("username", "other")]).await;
    assert_eq!(asked.location(), "/instances/shop1/environment?done=admin");
    assert_eq!(given(&app, second).await.1["username"], "other");
}

#[tokio::test]
async fn an_admin_of_a_deployment_that_failed_is_made_by_the_next() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    deploy_with_admin(&mut mira).await;
    let id = app.deploying("shop1").await;
    let (_, admin) = given(&app, id).await;
    app.log(id, "::ec step migrate start\n::ec admin created\n::ec step health failed 1\n").await;
    let (row, _) = app.ids("shop1").await;
    let failure = Failure { step: None, message: "The check failed.".to_owned() };
    app.store.deployment_failed(row, &failure, None).await.unwrap();
    let page = mira.get("/instances/shop1").await;
    page.has("It is made by a deployment, once that has ended well.");
    page.has_not("Show the password");
    // The form once more: the admin of the deployment that failed is not in the way.
    deploy_described(&mut mira, "Books").await;
    let (row, second) = app.ids("shop1").await;
    assert_ne!(second, id);
    app.store.begin_deployment(row, second).await.unwrap();
    assert_eq!(
        given(&app, second).await,
        (200, admin),
        "with the same password: the project may have it already"
    );
    app.store.set_status(row, Status::Deploying).await.unwrap();
    live(&app, second, "created").await;
    mira.get("/instances/shop1").await.has("Show the password once</button>");
    let refused = mira.post("/instances/shop1/admin", &[("username", "other")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    refused.has("whose password was not shown yet");
    let same = mira.post("/instances/shop1/admin", &[("username", "mira.b")]).await;
    assert_eq!(same.location(), "/instances/shop1#first-admin");
}

#[tokio::test]
async fn who_is_there_already_or_could_not_be_made_is_told() {
    for (mark, told) in [("exists", "who was left alone"), ("failed", "The next one tries again")] {
        let app = spawn_app().await;
        let mut mira = app.owner("mira").await;
        deploy_with_admin(&mut mira).await;
        let id = app.deploying("shop1").await;
        given(&app, id).await;
        live(&app, id, mark).await;
        let page = mira.get("/instances/shop1").await;
        page.has(told);
        page.has_not("Show the password");
    }
    // What a project prints is no mark, and a mark of a deployment that was given none is about nobody.
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    deploy_with_admin(&mut mira).await;
    let id = app.deploying("shop1").await;
    live(&app, id, "created").await;
    mira.get("/instances/shop1").await.has_not("Show the password");
}
