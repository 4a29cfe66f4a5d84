//! A host that cannot run machines: the site is there, says so and why, and goes on once it is cured.

use ec_django_deployer::{domain::Readiness, store::Change};
use reqwest::StatusCode;

use crate::helpers::{Options, spawn_app, spawn_app_with};
use crate::program::Program;

const WHY: &str = "This host lacks tools that local machines need: apt-get install mmdebstrap";

#[tokio::test]
async fn pages_say_why_nothing_can_be_launched_until_it_can() {
    let app = spawn_app_with(Options { serves_samples: false, ..Options::default() }).await;
    let mut mira = app.owner("mira").await;
    mira.get("/instances").await.has_not("No machines can be launched now");
    assert!(app.store.set_readiness(Readiness::NotReady(WHY.to_owned())));
    assert!(!app.store.set_readiness(Readiness::NotReady(WHY.to_owned())), "that is no news");

    let empty = mira.get("/instances").await;
    empty.has("No machines can be launched now");
    empty.has(WHY);
    empty.has("ec-deployer doctor");
    empty.has_not("Try the sample");
    empty.has("The sample is served where machines report");
    let form = mira.get("/instances/new").await;
    form.has(WHY);
    form.has_not("Try the sample");

    // What is submitted is taken, and waits.
    mira.deploy("shop").await;
    let detail = mira.get("/instances/shop").await;
    detail.has("Waiting for the cloud");
    detail.has(WHY);
    mira.get("/instances").await.has(WHY);

    // Open pages are told of the cure.
    let mut list = mira.events("/events?whose=mine", None).await;
    list.until(|event| event.data.contains(WHY)).await;
    let mut page = mira.events("/instances/shop/events", None).await;
    page.until(|event| event.data.contains("Waiting for the cloud")).await;
    let mut changes = app.store.changes();
    app.store.set_readiness(Readiness::Ready);
    assert_eq!(changes.recv().await.unwrap(), Change::Readiness);
    page.until(|event| event.data.contains("Waiting for its turn")).await;
    list.until(|event| event.event == "fragment" && !event.data.contains(WHY)).await;
    mira.get("/instances/shop").await.has_not("launched now");
}

#[tokio::test]
async fn where_machines_can_be_launched_the_sample_is_offered() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.get("/instances").await.has(r#"href="/instances/new?sample=guestbook""#);
    mira.get("/instances/new").await.has(r#"href="/instances/new?sample=guestbook""#);
}

/// The program itself as an account without rights, which cannot run machines.
#[tokio::test]
async fn the_program_starts_without_rights_and_says_what_it_lacks() {
    let program = Program::serve(&[]).await;
    let mut admin = program.first_admin().await;
    let list = admin.get("/instances").await;
    list.has("No machines can be launched now");
    list.has("Local machines need root");
    list.has_not("golden image could not be baked");
    assert_eq!(admin.get("/instances/new").await.status, StatusCode::OK);
    assert_eq!(admin.get("/healthz").await.json()["cloud"], "not ready");
}
