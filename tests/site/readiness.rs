//! A host that cannot run machines: the site is there, says so and why, and goes on once it is cured.

use std::time::Duration;

use ec_django_deployer::{
    cloud::{
        Cloud,
        local::{Local, LocalConfig},
    },
    domain::{Readiness, Status},
    reconciler::{self, Baker, Reconciler},
    store::Change,
};
use reqwest::StatusCode;

use crate::{
    helpers::{Options, spawn_app, spawn_app_with},
    program::Program,
};

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

/// The reconciler over a cloud that was never prepared, which launches nothing: each try is told to wait.
#[tokio::test]
async fn what_waits_for_the_cure_goes_on_by_itself() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let image = app.store.begin_image("script").await.unwrap();
    let baked =
        ec_django_deployer::store::BakedImage { cloud_ref: "img-1", base: "Debian GNU/Linux 12", size: 1 };
    app.store.end_image(image, Ok(baked)).await.unwrap();
    app.store.set_readiness(Readiness::NotReady(WHY.to_owned()));
    mira.deploy("shop").await;
    let place = tempfile::tempdir().unwrap();
    let cloud = Cloud::Local(Local::new(LocalConfig {
        state_dir: place.path().join("local"),
        bridge: "ecsitetest0".to_owned(),
        gateway: "10.199.199.1".parse().unwrap(),
        prefix: 24,
        callback_port: 8001,
        site: app.store.site().await.unwrap(),
        program: "/nonexistent".into(),
        copy_host_trust: false,
    }));
    let baker = Baker::new(app.store.clone(), cloud.clone());
    let settings = reconciler::Settings {
        site: app.store.site().await.unwrap(),
        callback_url: app.callback.clone(),
        parallel: 2,
        address_map: Vec::new(),
    };
    let reconciler = Reconciler::new(app.store.clone(), cloud, app.log_key.clone(), baker, settings).unwrap();
    let running = tokio::spawn(reconciler.with_metrics(app.site.metrics().clone()).run(app.shutdown.clone()));

    let count = async |sample: &str| {
        let text = reqwest::get(format!("{}/metrics", app.metrics)).await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(sample)).map(str::trim);
        line.map_or(0.0, |value| value.parse::<f64>().unwrap())
    };
    let waits = r#"ec_deployer_reconciler_steps_total{action="wait"}"#;
    until(async || count(waits).await >= 1.0).await;
    assert_eq!(app.found("shop").await.instance.status, Status::Requested);
    assert_eq!(count("ec_deployer_attempts_total").await, 0.0);

    // At once, and not when the wait that it was told is over.
    app.store.set_readiness(Readiness::Ready);
    until(async || app.found("shop").await.instance.notice.is_some()).await;
    assert_eq!(app.found("shop").await.instance.status, Status::Launching);
    assert_eq!(count("ec_deployer_attempts_total").await, 1.0);
    assert!(count(r#"ec_deployer_launches_total{result="retried"}"#).await >= 1.0);
    assert!(count("ec_deployer_cloud_retries_total").await >= 1.0);
    assert_eq!(count(r#"ec_deployer_launches_total{result="launched"}"#).await, 0.0);
    app.shutdown.cancel();
    running.await.unwrap();
}

/// Waits until it is so, at most ten seconds.
async fn until(so: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    waited.await.expect("it comes about");
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
