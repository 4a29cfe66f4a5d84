//! Deployments: who asked for each and why, and its whole log, also when the machine is gone.

use ec_django_deployer::domain::{Failure, Status, Step, Wanted};
use reqwest::StatusCode;

use crate::helpers::{App, Person, spawn_app};

/// Redeploys to an end, so many times.
async fn redeploy(app: &App, person: &mut Person, times: usize) {
    let (row, _) = app.ids("shop1").await;
    for i in 0..times {
        *app.tip.lock().unwrap() = format!("{:0<40}", format!("{:x}", 0xabc_0000 + i));
        assert_eq!(person.post("/instances/shop1/redeploy", &[]).await.status, StatusCode::SEE_OTHER);
        let work = app.store.work(row).await.unwrap().unwrap();
        let id = work.queued.unwrap().id;
        app.store.begin_deployment(row, id).await.unwrap();
        app.log(id, &crate::helpers::good_log()).await;
        app.store.deployment_live(row, id, None).await.unwrap();
    }
}

#[tokio::test]
async fn the_page_tells_who_asked_for_each_and_why() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    app.live("shop1").await;
    redeploy(&app, &mut mira, 1).await;
    let page = mira.get("/instances/shop1").await;
    let row = page.between("<tbody role=\"rowgroup\">", "</tr>");
    let row = row.split(" <td role=\"cell\" data-label=\"Took\"").next().unwrap();
    insta::assert_snapshot!(row, @r##"<tr role="row"> <th scope="row" role="rowheader"><a class="go" href="/instances/shop1/deployments/2">2</a></th> <td role="cell" data-label="Outcome" class="lead"><div><span class="chip" data-status="live">live</span></div></td> <td role="cell" data-label="Commit"><div><code>abc0000</code> Show the &#60;basket&#62; on every page</div></td> <td role="cell" data-label="Why"><div>Redeploy<span class="sub">mira</span></div></td>"##);
    page.has("<div>First deployment<span class=\"sub\">mira</span></div>");
    page.has_not(">All ");
}

#[tokio::test]
async fn all_of_them_are_reached_when_there_are_more_than_are_listed() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    app.live("shop1").await;
    redeploy(&app, &mut mira, 52).await;
    let page = mira.get("/instances/shop1").await;
    assert_eq!(page.body.matches("class=\"go\"").count(), 10);
    page.has("<a class=\"small\" href=\"/instances/shop1/deployments\">All 53</a>");
    let first = mira.get("/instances/shop1/deployments").await;
    assert_eq!(first.body.matches("class=\"go\"").count(), 50);
    first.has("href=\"/instances/shop1/deployments/53\">53</a>");
    first.has_not(">Newest</a>");
    first.has("href=\"/instances/shop1/deployments?before=4\" rel=\"next\">Older</a>");
    let second = mira.get("/instances/shop1/deployments?before=4").await;
    assert_eq!(second.body.matches("class=\"go\"").count(), 3);
    second.has("href=\"/instances/shop1/deployments/1\">1</a>");
    second.has_not(">Older</a>");
    second.has("href=\"/instances/shop1/deployments\">Newest</a>");
    mira.get("/instances/shop1/deployments?before=1").await.has("There are no older ones.");
    mira.get("/instances/shop1/deployments/1").await.has("the words of migrate");
}

#[tokio::test]
async fn a_deployments_page_has_its_whole_log_and_an_anchor_for_each_step() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let deployment = app.deploying("shop1").await;
    let line = "<script>alert(1)</script> \u{1b}[31mred \u{e4}\n";
    app.log(deployment, "::ec step environment start\nthe very first line\n").await;
    for _ in 0..40 {
        app.log(deployment, &line.repeat(700)).await;
    }
    let page = mira.get("/instances/shop1/deployments/1").await;
    page.has("It has not ended.");
    app.log(
        deployment,
        "::ec step environment ok 0.41\n::ec step clone start\n::ec step clone failed 1\nno line break",
    )
    .await;
    let (row, _) = app.ids("shop1").await;
    let failure = Failure { step: Some(Step::Clone), message: "Clone the project failed.".to_owned() };
    app.store.deployment_failed(row, &failure, None).await.unwrap();
    // Also when the machine is gone.
    app.store.want(row, Wanted::Absent).await.unwrap();
    app.store.set_status(row, Status::Terminating).await.unwrap();
    app.store.machine_gone(row, &failure).await.unwrap();

    let page = mira.get("/instances/shop1/deployments/1").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    page.has("<b id=\"step-environment\">==&gt; Create the virtual environment</b>\nthe very first line\n");
    page.has("<a href=\"#step-environment\">Create the virtual environment</a>");
    page.has("<b id=\"step-clone\">");
    page.has_not("href=\"#step-migrate\"");
    assert_eq!(page.body.matches("&lt;script&gt;alert(1)&lt;/script&gt; red \u{e4}\n").count(), 28_000);
    page.has_not("<script>alert");
    page.has("<mark>failed 1</mark>\n</span><span class=\"piece\">no line break\n</span></pre>");
    page.has("Deployment 1 stopped at step 3 of 11, <strong>Clone the project</strong>");
    page.has("<dt>Asked for by</dt><dd>mira</dd>");
    page.has("</html>");
    page.has_not("data-events");
    let text = mira.get("/instances/shop1/log?deployment=1").await;
    assert_eq!(text.body.matches("alert(1)").count(), 28_000);
    assert!(text.body.starts_with("::ec step environment start\nthe very first line\n"));
    assert!(text.body.ends_with("failed 1\nno line break"));
}

#[tokio::test]
async fn a_deployment_that_never_began_says_so_and_one_that_is_not_there_is_a_404() {
    let app = spawn_app().await;
    let (mut mira, mut aiko) = (app.owner("mira").await, app.owner("aiko").await);
    mira.deploy("shop1").await;
    mira.get("/instances/shop1/deployments/1").await.has("<i>Nothing was logged.</i>");
    mira.deploy("shop2").await;
    for number in ["0", "2", "-1", "x", "99999999999999999999", "%00", "1/"] {
        let answer = mira.get(&format!("/instances/shop1/deployments/{number}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{number}");
    }
    for before in ["x", "99999999999999999999"] {
        let answer = mira.get(&format!("/instances/shop1/deployments?before={before}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
    for path in ["deployments", "deployments/1", "log?deployment=1"] {
        assert_eq!(aiko.get(&format!("/instances/shop1/{path}")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn the_way_to_live_tells_how_long_each_stage_took() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let deployment = app.deploying("shop1").await;
    app.log(deployment, "::ec step environment start\n").await;
    let page = mira.get("/instances/shop1").await;
    let life = page.between("<ol class=\"life\" id=\"life\">", "</ol>");
    for stage in ["requested", "launching", "booting"] {
        assert!(life.contains(&format!("<span>{stage} <span class=\"num\">0.")), "{stage}: {life}");
    }
    assert!(life.contains("<span>live</span>"), "{life}");
    // A redeployment launches nothing.
    app.log(deployment, &crate::helpers::good_log()).await;
    let (row, _) = app.ids("shop1").await;
    app.store.deployment_live(row, deployment, None).await.unwrap();
    mira.post("/instances/shop1/redeploy", &[]).await;
    let second = app.store.work(row).await.unwrap().unwrap().queued.unwrap().id;
    app.store.begin_deployment(row, second).await.unwrap();
    let life = mira.get("/instances/shop1").await.between("<ol class=\"life\" id=\"life\">", "</ol>");
    assert!(!life.contains("class=\"num\""), "{life}");
}
