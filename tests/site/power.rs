//! Stop and Start: what is told first, what is wanted then, and what is refused.

use ec_django_deployer::domain::{Failure, Reason, Reboot, Status, Wanted};
use reqwest::StatusCode;

use crate::helpers::{App, Person, spawn_app};

const STOP: &str = "/instances/shop1/stop";
const START: &str = "/instances/shop1/start";

/// Does what the reconciler does with a wish to stop.
async fn stopped(app: &App) {
    let (row, _) = app.ids("shop1").await;
    let work = app.store.work(row).await.unwrap().unwrap();
    app.store.set_status(row, Status::Stopping).await.unwrap();
    app.store.observed(row, work.generation).await.unwrap();
    app.store.set_status(row, Status::Stopped).await.unwrap();
    app.store.set_public_ip(row, None).await.unwrap();
}

/// The number of the last wish.
async fn generation(app: &App) -> i64 {
    let (row, _) = app.ids("shop1").await;
    app.store.work(row).await.unwrap().unwrap().generation
}

/// Presses a button and is sent back to the instance's page.
async fn press(person: &mut Person, path: &str) {
    let answer = person.post(path, &[]).await;
    assert_eq!(
        (answer.status, answer.location()),
        (StatusCode::SEE_OTHER, "/instances/shop1"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_live_one_is_stopped_and_started_again() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    app.live("shop1").await;
    mira.get("/instances/shop1").await.has("<a class=\"btn\" href=\"/instances/shop1/stop\">Stop</a>");
    mira.get("/instances/shop1/terminate")
        .await
        .has("<a href=\"/instances/shop1/stop\">stop the instance</a> instead");
    let page = mira.get(STOP).await;
    page.has("The public IP may change.");
    page.has("http://203.0.113.1/</a> stops answering");
    assert_eq!(app.found("shop1").await.instance.wanted, Wanted::Present, "asking is not doing");
    press(&mut mira, STOP).await;
    let wished = generation(&app).await;
    press(&mut mira, STOP).await;
    assert_eq!(generation(&app).await, wished, "pressed twice");
    let page = mira.get("/instances/shop1").await;
    page.has("It is about to be stopped");
    page.has_not(">Stop</a>");
    page.has_not(">Redeploy</button>");
    page.has("http-equiv=\"refresh\"");
    assert_eq!(mira.get(STOP).await.location(), "/instances/shop1");

    stopped(&app).await;
    let page = mira.get("/instances/shop1").await;
    page.has("Once the machine is started, the public IP may be another one.");
    page.has("action=\"/instances/shop1/start\"");
    page.has_not("http-equiv=\"refresh\"");
    page.has_not("action=\"/instances/shop1/redeploy\"");
    press(&mut mira, START).await;
    let wished = generation(&app).await;
    press(&mut mira, START).await;
    assert_eq!(generation(&app).await, wished, "pressed twice");
    let page = mira.get("/instances/shop1").await;
    page.has("It is about to be started");
    page.has_not("action=\"/instances/shop1/start\"");
    page.has("http-equiv=\"refresh\"");
    let (row, _) = app.ids("shop1").await;
    app.store.set_status(row, Status::Starting).await.unwrap();
    press(&mut mira, START).await;
    assert_eq!(generation(&app).await, wished, "it is being started");
    assert_eq!(app.store.deployments(row, 10).await.unwrap().len(), 1, "nothing is deployed by it");
}

#[tokio::test]
async fn what_cannot_be_stopped_or_started_now_is_told_why() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let (row, _) = app.ids("shop1").await;
    let refused = async |person: &mut Person, path: &str, why: &str| {
        let before = generation(&app).await;
        let answer = person.post(path, &[]).await;
        assert_eq!(answer.status, StatusCode::CONFLICT);
        answer.has(why);
        assert_eq!(generation(&app).await, before);
    };
    refused(&mut mira, STOP, "It can be stopped once it is live, or has failed.").await;
    app.deploying("shop1").await;
    refused(&mut mira, STOP, "It can be stopped once it is live, or has failed.").await;
    assert_eq!(mira.get(STOP).await.location(), "/instances/shop1");
    press(&mut mira, START).await;
    let failure = Failure { step: None, message: "boom".to_owned() };
    app.store.deployment_failed(row, &failure, None).await.unwrap();
    refused(&mut mira, START, "Choose Try again").await;

    // A failed one with a machine can be stopped: its data is kept.
    mira.get("/instances/shop1").await.has("<a href=\"/instances/shop1/stop\">stop</a> or terminate it");
    mira.get(STOP).await.has("Stop shop1?");
    press(&mut mira, STOP).await;
    stopped(&app).await;
    // Nothing is on it that a start alone would bring up.
    let page = mira.get("/instances/shop1").await;
    page.has("Start and deploy</button>");
    page.has_not("action=\"/instances/shop1/start\"");
    press(&mut mira, "/instances/shop1/redeploy").await;
    let work = app.store.work(row).await.unwrap().unwrap();
    assert!(work.instance.is_to_start());
    assert_eq!(work.queued.unwrap().reason, Some(Reason::Start));

    app.store.want(row, Wanted::Absent).await.unwrap();
    for path in [STOP, START] {
        refused(&mut mira, path, "It is on its way out, or gone").await;
    }
    app.store.set_status(row, Status::Terminating).await.unwrap();
    app.store.machine_gone(row, &failure).await.unwrap();
    for path in [STOP, START] {
        refused(&mut mira, path, "One that is gone can be deployed again.").await;
    }
}

#[tokio::test]
async fn a_launch_that_failed_has_nothing_to_stop() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let (row, _) = app.ids("shop1").await;
    let failure = Failure { step: None, message: "The cloud has no room.".to_owned() };
    app.store.fail(row, &failure).await.unwrap();
    let answer = mira.post(STOP, &[]).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    answer.has("there is nothing to stop");
    mira.get("/instances/shop1/terminate").await.has_not("stop the instance");
}

#[tokio::test]
async fn what_was_stopped_or_started_outside_takes_the_next_button() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    app.live("shop1").await;
    let (row, _) = app.ids("shop1").await;
    app.store.set_status(row, Status::Stopped).await.unwrap();
    mira.get("/instances/shop1").await;
    press(&mut mira, START).await;
    assert!(app.found("shop1").await.instance.is_to_start());
    // Started here, stopped here, started outside.
    for status in [Status::Starting, Status::Live] {
        app.store.set_status(row, status).await.unwrap();
    }
    press(&mut mira, STOP).await;
    stopped(&app).await;
    for status in [Status::Starting, Status::Live] {
        app.store.set_status(row, status).await.unwrap();
    }
    mira.get("/instances/shop1").await.has(">Stop</a>");
    press(&mut mira, STOP).await;
    assert!(app.found("shop1").await.instance.is_to_stop());
}

#[tokio::test]
async fn another_persons_stays_as_it_is() {
    let app = spawn_app().await;
    let (mut mira, mut aiko) = (app.owner("mira").await, app.owner("aiko").await);
    mira.deploy("shop1").await;
    app.live("shop1").await;
    let before = generation(&app).await;
    assert_eq!(aiko.get(STOP).await.status, StatusCode::NOT_FOUND);
    for path in [STOP, START] {
        assert_eq!(aiko.post(path, &[]).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!((generation(&app).await, app.found("shop1").await.instance.wanted), (before, Wanted::Present));
    assert_eq!(app.visitor().get(STOP).await.location(), "/login?next=%2Finstances%2Fshop1%2Fstop");
}

#[tokio::test]
async fn a_live_one_is_rebooted_and_only_that() {
    const REBOOT: &str = "/instances/shop1/reboot";
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let early = mira.post(REBOOT, &[]).await;
    assert_eq!(early.status, StatusCode::CONFLICT);
    early.has("Something is under way");
    app.live("shop1").await;
    mira.get(STOP).await.has("Reboot shop1</button>");
    press(&mut mira, REBOOT).await;
    assert_eq!(app.found("shop1").await.instance.reboot, Some(Reboot::Asked));
    press(&mut mira, REBOOT).await;
    mira.get("/instances/shop1").await.has("It is about to be rebooted");
    mira.get(STOP).await.has_not("Reboot shop1</button>");
    assert_eq!(app.owner("otto").await.post(REBOOT, &[]).await.status, StatusCode::NOT_FOUND);

    // The reconciler has asked the cloud, and the project answers again.
    let (row, _) = app.ids("shop1").await;
    app.store.reboot_sent(row).await.unwrap();
    let there = app.found("shop1").await.instance;
    assert_eq!(there.status, Status::Starting);
    assert!(matches!(there.reboot, Some(Reboot::Sent(_))));
    app.store.set_status(row, Status::Live).await.unwrap();
    assert_eq!(app.found("shop1").await.instance.reboot, None, "it is over");

    press(&mut mira, REBOOT).await;
    app.store.reboot_refused(row, "The machine was not rebooted: it is protected.").await.unwrap();
    assert_eq!(app.found("shop1").await.instance.reboot, None);
    mira.get("/instances/shop1").await.has("it is protected");
    stopped(&app).await;
    assert_eq!(mira.post(REBOOT, &[]).await.status, StatusCode::CONFLICT);
}
