//! Live updates.

use std::time::Duration;

use ec_django_deployer::domain::{Status, Wanted};

use crate::helpers::{PASSWORD, spawn_app};

/// The stream that a page asks for.
async fn stream_of(page: &crate::helpers::Answer) -> String {
    page.between("data-events=\"", "\"").replace("&#38;", "&").replace("&amp;", "&")
}

#[tokio::test]
async fn what_changes_is_sent_and_lines_come_with_their_offset() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let deployment = app.deploying("shop1").await;
    app.log(deployment, "::ec step clone start\n").await;
    let page = mira.get("/instances/shop1").await;
    let path = stream_of(&page).await;
    assert!(path.starts_with("/instances/shop1/events?kind=working&number=1&from=22&seen="), "{path}");
    let mut events = mira.events(&path, None).await;
    assert_eq!(events.response.headers()["x-accel-buffering"], "no");
    assert!(!events.response.headers().contains_key("content-encoding"));
    let first = events.until(|event| event.event == "fragment").await;
    for id in ["status", "now", "of", "where", "life", "steps"] {
        assert!(first.data.contains(&format!("id=\"{id}\"")), "{id}");
    }
    assert!(!first.data.contains("id=\"main\""));

    app.log(deployment, "Cloning <into> it\nand").await;
    let log = events.until(|event| event.event == "log").await;
    assert_eq!((log.data.as_str(), log.id.as_str()), ("Cloning &lt;into&gt; it", "40"));
    app.log(deployment, " more\n\n::ec step clone ok 1.2\n").await;
    let fragment = events.until(|event| event.event == "fragment" && event.data.contains("1.20 s")).await;
    assert!(fragment.data.contains("<li data-state=\"done\"><span>Clone the project"), "{fragment:?}");
    let log = events.until(|event| event.event == "log").await;
    assert_eq!((log.data.as_str(), log.id.as_str()), ("and more\n\n<i>ok 1.20 s</i>", "73"));
}

#[tokio::test]
async fn a_stream_that_was_cut_off_goes_on_where_it_was() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let deployment = app.deploying("shop1").await;
    app.log(deployment, "one\ntwo\nthree\n").await;
    let page = mira.get("/instances/shop1").await;
    let path = &stream_of(&page).await.replace("from=14", "from=4");
    let mut events = mira.events(path, Some("8")).await;
    let log = events.until(|event| event.event == "log").await;
    assert_eq!((log.data.as_str(), log.id.as_str()), ("three", "14"));
    assert!(events.is_quiet().await);
    let mut events = mira.events(path, None).await;
    let log = events.until(|event| event.event == "log").await;
    assert_eq!((log.data.as_str(), log.id.as_str()), ("two\nthree", "14"));
    // One that knows of no page gets it all.
    let mut events = mira.events("/instances/shop1/events", None).await;
    let log = events.until(|event| event.event == "log").await;
    assert_eq!((log.data.as_str(), log.id.as_str()), ("one\ntwo\nthree", "14"));
    // What no stream of ours has sent is taken for nothing.
    for id in ["x", "-1", "99999", "18446744073709551616"] {
        let mut events = mira.events(path, Some(id)).await;
        events.until(|event| event.event == "fragment").await;
    }
}

#[tokio::test]
async fn another_kind_of_page_is_sent_as_a_whole() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let page = mira.get("/instances/shop1").await;
    let mut events = mira.events(&stream_of(&page).await, None).await;
    let deployment = app.deploying("shop1").await;
    events.until(|event| event.data.contains("data-status=\"deploying\"")).await;
    app.log(deployment, "hello there\n").await;
    // The first lines take the place of what was awaited.
    let log = events.until(|event| event.data.contains("hello there")).await;
    assert_eq!((log.event.as_str(), log.id.as_str()), ("fragment", "12"));
    assert!(log.data.contains("<pre id=\"log\">hello there"), "{log:?}");

    app.log(deployment, &crate::helpers::good_log()).await;
    let (row, _) = app.ids("shop1").await;
    app.store.deployment_live(row, deployment, None).await.unwrap();
    let main = events.until(|event| event.data.contains("<main id=\"main\"")).await;
    assert!(main.data.contains("Your project is live at"));
    assert!(main.data.contains("data-title=\"shop1 is live"));
    assert!(main.data.contains("name=\"csrf_token\""));

    app.store.set_notice(row, Some("Not reachable from here.")).await.unwrap();
    events.until(|event| event.data.contains("Not reachable from here.")).await;

    // Redeployed in another tab: the log comes with the page, and then anew as a whole.
    app.store.set_notice(row, None).await.unwrap();
    *app.tip.lock().unwrap() = "90be12d90be12d90be12d90be12d90be12d90be1".to_owned();
    mira.post("/instances/shop1/redeploy", &[]).await;
    let (_, second) = app.ids("shop1").await;
    app.store.begin_deployment(row, second).await.unwrap();
    events
        .until(|event| event.data.contains("<main id=\"main\"") && event.data.contains("id=\"steps\""))
        .await;
    app.log(second, "second words\n").await;
    let log = events.until(|event| event.data.contains("second words")).await;
    assert_eq!(log.event, "fragment");

    app.store.want(row, Wanted::Absent).await.unwrap();
    app.store.set_status(row, Status::Terminating).await.unwrap();
    events.until(|event| event.data.contains("are being removed")).await;
    let why = ec_django_deployer::domain::Failure { step: None, message: "gone".to_owned() };
    app.store.machine_gone(row, &why).await.unwrap();
    events.until(|event| event.data.contains("Deploy again")).await;
    assert_eq!(events.until(|event| event.event == "end").await.data, "over");
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_quiet_page_hears_nothing_and_a_chatty_one_is_told_in_batches() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    mira.deploy("shop2").await;
    let deployment = app.deploying("shop1").await;
    let page = mira.get("/instances/shop1").await;
    let mut events = mira.events(&stream_of(&page).await, None).await;
    events.next().await;
    while !events.is_quiet().await {}
    let (other, _) = app.ids("shop2").await;
    app.store.set_notice(other, Some("of another instance")).await.unwrap();
    assert!(events.is_quiet().await);

    let begun = tokio::time::Instant::now();
    for i in 0..200 {
        app.log(deployment, &format!("line {i}\n")).await;
    }
    let took = begun.elapsed();
    let mut count = 0;
    events.until(|event| event.data.contains("line 199")).await;
    while !events.is_quiet().await {
        count += 1;
    }
    assert!(count < 10, "{count} events after {took:?}");
}

#[tokio::test]
async fn streams_end_at_shutdown_and_at_sign_out() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let mut elsewhere = app.visitor();
    elsewhere.get("/login").await;
    elsewhere.post("/login", &[("username", "mira"), ("password", PASSWORD)]).await;
    let page = mira.get("/instances/shop1").await;
    let path = stream_of(&page).await;
    let (mut mine, mut list) = (mira.events(&path, None).await, mira.events("/events", None).await);
    let mut hers = elsewhere.events(&path, None).await;
    mine.next().await.unwrap();
    list.next().await.unwrap();
    while !hers.is_quiet().await {}
    mira.post("/logout", &[]).await;
    mine.until(|event| event.event == "end").await;
    list.until(|event| event.event == "end").await;
    assert_eq!((mine.next().await, list.next().await), (None, None));
    assert!(hers.is_quiet().await, "the other session goes on");

    app.shutdown.cancel();
    let ended =
        tokio::time::timeout(Duration::from_secs(2), async { while hers.next().await.is_some() {} }).await;
    assert!(ended.is_ok());
}

#[tokio::test]
async fn the_list_is_kept_true() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let page = mira.get("/instances").await;
    assert_eq!(stream_of(&page).await, "/events?whose=mine");
    let mut events = mira.events("/events?whose=mine", None).await;
    let first = events.next().await.unwrap();
    assert!(first.data.contains("<main id=\"main\""));
    let deployment = app.deploying("shop1").await;
    events.until(|event| event.data.contains("data-status=\"deploying\"")).await;
    app.log(deployment, "::ec step environment start\n::ec step environment ok 0.4\n").await;
    let parts = events.until(|event| event.data.contains("2 %")).await;
    assert!(parts.data.contains("<div id=\"status-shop1\">") && !parts.data.contains("<main"), "{parts:?}");
    let mut aiko = app.owner("aiko").await;
    aiko.deploy("hers").await;
    mira.deploy("shop2").await;
    let main = events.until(|event| event.data.contains("shop2")).await;
    assert!(main.data.contains("<main id=\"main\"") && !main.data.contains("hers"));
}

#[tokio::test]
async fn a_person_has_so_many_streams_and_no_more() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(mira.events("/events", None).await);
    }
    assert_eq!(mira.get("/events").await.status.as_u16(), 429);
    drop(open);
    let again = async {
        while mira.get("/healthz").await.status != 200 {}
        loop {
            let response = mira.request(reqwest::Method::GET, "/events").send().await.unwrap();
            if response.status() == 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again).await.expect("closed streams do not count");
}
