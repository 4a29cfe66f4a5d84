//! One instance: what its page says in each status, its JSON, its log, and who may see it.

use ec_django_deployer::domain::{Failure, Role, Status, Step, Wanted};
use reqwest::StatusCode;
use serde_json::json;

use crate::helpers::{COMMIT, spawn_app};

#[tokio::test]
async fn owners_see_and_touch_only_theirs_and_admins_all() {
    let app = spawn_app().await;
    let (mut mira, mut aiko) = (app.owner("mira").await, app.owner("aiko").await);
    let mut admin = app.person("tomasz", Role::Admin).await;
    mira.deploy("shop1").await;
    for path in
        ["", "/terminate", "/info", "/log", "/events", "/deployments", "/deployments/1", "/edit", "/stop"]
    {
        let hers = aiko.get(&format!("/instances/shop1{path}")).await;
        let none = aiko.get(&format!("/instances/nosuch{path}")).await;
        assert_eq!((hers.status, none.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND), "{path}");
        hers.has_not("bookshop");
    }
    aiko.get("/instances/shop1").await.has("There is no such page");
    aiko.get("/instances").await.has_not("shop1");
    for (path, fields) in [("terminate", vec![("confirm", "shop1")]), ("redeploy", vec![])] {
        let answer = aiko.post(&format!("/instances/shop1/{path}"), &fields).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(app.found("shop1").await.instance.wanted, Wanted::Present);

    let list = admin.get("/instances").await;
    list.has("shop1");
    list.has("<td role=\"cell\" data-label=\"Owner\">mira</td>");
    admin.get("/instances?whose=mine").await.has_not("shop1");
    mira.get("/instances").await.has_not("data-label=\"Owner\"");
    assert_eq!(admin.get("/instances/shop1").await.status, StatusCode::OK);
    let answer = admin.post("/instances/shop1/terminate", &[("confirm", "shop1")]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(app.found("shop1").await.instance.wanted, Wanted::Absent);
}

#[tokio::test]
async fn the_page_says_what_is_awaited_from_the_form_to_live() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let image = app.store.begin_image("script").await.unwrap();
    mira.deploy("shop1").await;
    app.store.image_reached(image, 2, 6, "Install packages").await.unwrap();
    let page = mira.get("/instances/shop1").await;
    page.has("Waiting for the golden image");
    page.has("It is being baked: step 2 of 6, Install packages");
    page.has("<noscript><meta http-equiv=\"refresh\" content=\"3\"></noscript>");
    mira.get("/instances").await.has("The golden image is being baked: step 2 of 6");

    let deployment = app.boot("shop1").await;
    let page = mira.get("/instances/shop1").await;
    page.has(">booting</span>");
    page.has("The machine boots; its first words come here.");
    page.has("<a href=\"http://203.0.113.1/\" rel=\"noreferrer\">");

    let (row, _) = app.ids("shop1").await;
    app.store.set_status(row, Status::Deploying).await.unwrap();
    app.log(deployment, "::ec step environment start\nUsing <CPython>\n::ec step environment ok 0.41\n::ec step gunicorn start\nhalf a li").await;
    let page = mira.get("/instances/shop1").await;
    insta::assert_snapshot!(page.between("<pre id=\"log\">", "</pre>"), @r#"<b>==&gt; Create the virtual environment</b> Using &lt;CPython&gt; <i>ok 0.41 s</i> <b>==&gt; Install Gunicorn</b>"#);
    page.has("<p class=\"now\" id=\"now\" role=\"status\">Install Gunicorn</p>");
    page.has("Step 2 of 11");
    page.has("<li data-state=\"done\"><span>Create the virtual environment<span class=\"unseen\">, done</span></span><span class=\"num\">0.41 s</span></li>");
    page.has("<li data-state=\"running\" aria-current=\"step\"><span>Install Gunicorn");
    page.has("<progress value=\"2\" max=\"100\"");
    page.has("Show the &#60;basket&#62; on every page");
    page.has_not("<basket>");
    mira.get("/instances").await.has("aria-label=\"Deployment of shop1\">2 %");

    app.log(deployment, "ne\n::ec step gunicorn ok 0.62\n").await;
    let page = mira.get("/instances/shop1").await;
    page.has("<p class=\"now\" id=\"now\" role=\"status\">Clone the project</p>");
    page.has("Step 3 of 11");

    app.store.set_public_ip(row, Some("2001:db8::7".parse().unwrap())).await.unwrap();
    mira.get("/instances/shop1").await.has("href=\"http://[2001:db8::7]/\"");
}

#[tokio::test]
async fn a_live_page_has_the_address_the_deployments_and_the_plan() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    app.live("shop1").await;
    let page = mira.get("/instances/shop1").await;
    page.has("<a id=\"url\" href=\"http://203.0.113.1/\" rel=\"noreferrer\">");
    page.has("<li><strong>/</strong> answers 200 with 2 stylesheets</li>");
    page.has("<code>config.settings</code>, named by manage.py");
    page.has("<code>requirements.txt</code> at the root, 23 packages");
    page.has("action=\"/instances/shop1/redeploy\"");
    page.has_not("http-equiv=\"refresh\"");
    page.has_not("id=\"log\"");
    mira.get("/instances/shop1/deployments/1").await.has("the words of migrate");
    assert_eq!(mira.get("/instances/shop1/deployments/2").await.status, StatusCode::NOT_FOUND);
    let (row, _) = app.ids("shop1").await;
    app.store.set_notice(row, Some("Not reachable from here: security group?")).await.unwrap();
    mira.get("/instances/shop1").await.has("Not reachable from here: security group?");
}

#[tokio::test]
async fn a_failed_page_names_step_cause_and_what_helps() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let deployment = app.deploying("shop1").await;
    let many: String = (0..50).map(|i| format!("line {i}\n")).collect();
    app.log(
        deployment,
        &format!("::ec step migrate start\n{many}ModuleNotFoundError: No module named 'crispy_forms'\n::ec step migrate failed 1\n"),
    )
    .await;
    let (row, _) = app.ids("shop1").await;
    let failure =
        Failure { step: Some(Step::Migrate), message: "Migrate failed with exit code 1.".to_owned() };
    app.store.deployment_failed(row, &failure, None).await.unwrap();
    let page = mira.get("/instances/shop1").await;
    page.has("Deployment 1 stopped at step 9 of 11, <strong>Migrate</strong>");
    page.has("The project imports <code>crispy_forms</code>, which its <code>requirements.txt</code> does not name.");
    page.has("add <code>django-crispy-forms</code> to");
    page.has(
        "<mark>ModuleNotFoundError: No module named &#39;crispy_forms&#39;</mark>\n<mark>failed 1</mark>",
    );
    page.has("line 49");
    page.has("line 21\n");
    page.has_not("line 20\n");
    page.has("<button class=\"btn main\">Try again</button>");
    page.has("Last lines of Migrate");
    mira.get("/instances").await.has("<span class=\"sub\">at Migrate</span>");
    let info = mira.get("/instances/shop1/info").await.json();
    assert_eq!(info["error"]["step"], "migrate");
    assert_eq!(info["error"]["message"], "Migrate failed with exit code 1.");
    let cause = "The project imports `crispy_forms`, which its `requirements.txt` does not name.";
    assert_eq!(info["error"]["cause"], cause);
    assert!(info["error"]["help"].as_str().unwrap().starts_with("add `django-crispy-forms` to"));
    assert_eq!(info["steps"][8]["state"], "failed");

    // Try again: the branch's newest commit, on the same machine.
    let answer = mira.post("/instances/shop1/redeploy", &[]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/instances/shop1"));
    let newest = app.found("shop1").await.newest.unwrap();
    assert!(newest.number == 2 && newest.is_queued());
    let page = mira.get("/instances/shop1").await;
    page.has("Deployment 1 stopped at step 9 of 11");
    page.has("Deployment 2 (<code>3f1c9ab</code>) waits for its turn.");
    page.has_not("Try again</button>");
    page.has("http-equiv=\"refresh\"");
}

#[tokio::test]
async fn an_unknown_failure_says_so_and_shows_the_last_lines() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let deployment = app.deploying("shop1").await;
    app.log(deployment, "::ec step start start\nsomething odd <here>\n::ec step start failed 3\n").await;
    let (row, _) = app.ids("shop1").await;
    let failure = Failure { step: Some(Step::Start), message: "Start the services failed.".to_owned() };
    app.store.deployment_failed(row, &failure, None).await.unwrap();
    let page = mira.get("/instances/shop1").await;
    page.has("We do not know this failure. The last lines say:");
    page.has("something odd &lt;here&gt;\n<mark>failed 3</mark>");
}

#[tokio::test]
async fn a_cure_leads_to_the_page_where_it_is_done() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let deployment = app.deploying("shop1").await;
    app.log(deployment, "::ec step start start\nKeyError: 'MAIL_KEY'\nReason: Worker failed to boot.\n")
        .await;
    app.log(deployment, "::ec step start failed 1\n").await;
    let (row, _) = app.ids("shop1").await;
    let failure = Failure { step: Some(Step::Start), message: "Start the services failed.".to_owned() };
    app.store.deployment_failed(row, &failure, None).await.unwrap();
    let page = mira.get("/instances/shop1").await;
    page.has("The settings ask for the variable <code>MAIL_KEY</code>, which is not set.");
    page.has("<a href=\"/instances/shop1/environment\">Environment</a>");
    page.has("<mark>KeyError: &#39;MAIL_KEY&#39;</mark>");
}

#[tokio::test]
async fn a_deployment_that_took_too_long_says_so_and_what_helps() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let deployment = app.deploying("shop1").await;
    app.log(deployment, "::ec step dependencies start\nBuilding torch\n").await;
    let (row, _) = app.ids("shop1").await;
    let message = "The deployment did not end within 30 minutes; the log's last lines say how far it came.";
    let failure = Failure { step: Some(Step::Dependencies), message: message.to_owned() };
    app.store.deployment_failed(row, &failure, None).await.unwrap();
    let page = mira.get("/instances/shop1").await;
    page.has("did not end within 30 minutes");
    page.has("take out very large packages");
}

#[tokio::test]
async fn a_launch_that_failed_has_its_message_and_no_lines() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let (row, _) = app.ids("shop1").await;
    let failure = Failure { step: None, message: "The cloud has no room for `one` more.".to_owned() };
    app.store.fail(row, &failure).await.unwrap();
    let page = mira.get("/instances/shop1").await;
    page.has("Deployment 1 did not begin");
    page.has("The cloud has no room for <code>one</code> more.");
    page.has("Nothing was logged.");
    page.has_not("We do not know this failure");
    page.has_not("The machine is kept");
    let info = mira.get("/instances/shop1/info").await.json();
    let message = "The cloud has no room for `one` more.";
    assert_eq!(info["error"], json!({"step": null, "message": message, "cause": null, "help": null}));
}

#[tokio::test]
async fn a_failed_redeployment_leaves_the_page_live_with_a_notice() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    app.live("shop1").await;
    *app.tip.lock().unwrap() = "90be12d90be12d90be12d90be12d90be12d90be1".to_owned();
    mira.get("/instances/shop1").await;
    mira.post("/instances/shop1/redeploy", &[]).await;
    let (row, second) = app.ids("shop1").await;
    app.store.begin_deployment(row, second).await.unwrap();
    mira.get("/instances/shop1").await.has("Deployment 1 serves meanwhile.");
    app.log(second, "::ec step migrate start\nboom\n::ec step migrate failed 1\n").await;
    let failure = Failure { step: Some(Step::Migrate), message: "Migrate failed.".to_owned() };
    app.store.deployment_failed(row, &failure, Some("Deployment 2 failed.")).await.unwrap();
    let page = mira.get("/instances/shop1").await;
    page.has("Deployment 2 failed at Migrate; the one before it goes on serving");
    page.has("Your project is live at");
    page.has("made for <code>3f1c9ab</code>");
    mira.get("/instances/shop1/deployments/2").await.has("Deployment 2 stopped at step 9 of 11");
    let info = mira.get("/instances/shop1/info").await.json();
    assert_eq!((info["status"].as_str(), info["error"]["step"].as_str()), (Some("live"), Some("migrate")));
}

#[tokio::test]
async fn a_redeployment_that_preflight_refuses_says_why_on_the_page() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    app.live("shop1").await;
    mira.get("/instances/shop1").await;
    // The repository has lost the directory meanwhile.
    *app.tip.lock().unwrap() = "gone".to_owned();
    let refused = mira.post("/instances/shop1/redeploy", &[]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    refused.has("Nothing was deployed");
    refused
        .has("There is no <code>manage.py</code> in <code>shop/</code>; did you mean <code>backend</code>");
    refused.has("href=\"/instances/shop1/edit\"");
    refused.has_not("data-events");
    refused.has_not("http-equiv=\"refresh\"");
    assert_eq!(app.found("shop1").await.newest.unwrap().number, 1);
    *app.tip.lock().unwrap() = COMMIT.to_owned();
    let first = mira.post("/instances/shop1/redeploy", &[]).await;
    let second = mira.post("/instances/shop1/redeploy", &[]).await;
    assert_eq!((first.status, second.status), (StatusCode::SEE_OTHER, StatusCode::SEE_OTHER));
    let (row, _) = app.ids("shop1").await;
    assert_eq!(app.store.deployments(row, 10).await.unwrap().len(), 2, "a double click is one deployment");
    app.store.want(row, Wanted::Absent).await.unwrap();
    let answer = mira.post("/instances/shop1/redeploy", &[]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "the same wish a moment later is the one before");
    *app.tip.lock().unwrap() = "90be12d90be12d90be12d90be12d90be12d90be1".to_owned();
    let answer = mira.post("/instances/shop1/redeploy", &[]).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    answer.has("It is being terminated");
}

#[tokio::test]
async fn terminating_asks_for_the_name() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    app.live("shop1").await;
    let page = mira.get("/instances/shop1/terminate").await;
    page.has("<code>i-00000000000000001</code>");
    page.has("<code>203.0.113.1</code>");
    for wrong in ["", "shop", "SHOP1", "<b>"] {
        let answer = mira.post("/instances/shop1/terminate", &[("confirm", wrong)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        answer.has("This is not its name.");
        answer.has_not("<b>\"");
    }
    let answer = mira.post("/instances/shop1/terminate", &[("confirm", "shop1")]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/instances/shop1"));
    let page = mira.get("/instances/shop1").await;
    page.has("It is about to be terminated");
    page.has_not("action=\"/instances/shop1/redeploy\"");
    assert_eq!(mira.get("/instances/shop1/terminate").await.location(), "/instances/shop1");
    let again = mira.post("/instances/shop1/terminate", &[("confirm", "shop1")]).await;
    assert_eq!(again.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn info_is_the_page_as_json_and_absent_is_null() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let mut info = mira.get("/instances/shop1/info").await.json();
    for time in ["created_at", "updated_at"] {
        let text = info[time].as_str().unwrap();
        assert!(text.ends_with('Z') && text.contains('T'), "{text}");
        info[time] = json!("time");
    }
    let steps = info["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 11);
    assert_eq!(steps[0], json!({"name": "environment", "state": "waiting", "seconds": null}));
    info["steps"] = json!([]);
    assert_eq!(
        info,
        json!({
            "name": "shop1", "status": "requested", "wanted": "present", "instance_id": null, "public_ip": null,
            "machine_type": null, "month": null, "progress": 0.0, "step": null, "steps": [], "commit": COMMIT, "error": null,
            "created_at": "time", "updated_at": "time"
        })
    );
    let deployment = app.deploying("shop1").await;
    app.log(
        deployment,
        "::ec step environment start\n::ec step environment ok 0.41\n::ec step gunicorn start\n",
    )
    .await;
    let info = mira.get("/instances/shop1/info").await.json();
    assert_eq!(info["instance_id"], "i-00000000000000001");
    assert_eq!(info["public_ip"], "203.0.113.1");
    assert_eq!((info["step"].as_str(), info["progress"].as_f64()), (Some("gunicorn"), Some(0.02)));
    assert_eq!(info["steps"][0], json!({"name": "environment", "state": "ok", "seconds": 0.41}));
    assert_eq!(info["steps"][1]["state"], "running");
    assert!(info["steps"][1]["seconds"].as_f64().unwrap() >= 0.0);

    let mut visitor = app.visitor();
    let answer = visitor.get("/instances/shop1/info").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(visitor.get("/instances/shop1/events").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_whole_log_is_text_as_the_machine_sent_it() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let deployment = app.deploying("shop1").await;
    let line = "<script>alert(1)</script> \u{1b}[31mred\n";
    let mut whole = String::new();
    for _ in 0..20 {
        let piece = line.repeat(700);
        app.log(deployment, &piece).await;
        whole.push_str(&piece);
    }
    let answer = mira.get("/instances/shop1/log").await;
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.body, whole);
    assert_eq!(mira.get("/instances/shop1/log?deployment=1").await.body, whole);
    assert_eq!(mira.get("/instances/shop1/log?deployment=2").await.status, StatusCode::NOT_FOUND);
    let page = mira.get("/instances/shop1").await;
    page.has("The beginning is in the whole log.");
    page.has("&lt;script&gt;alert(1)&lt;/script&gt; red\n");
    assert_eq!(page.body.matches("alert(1)").count(), 500);
}

#[tokio::test]
async fn a_redeployment_of_a_stopped_instance_starts_it() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    app.live("shop1").await;
    let (row, _) = app.ids("shop1").await;
    app.store.set_status(row, Status::Stopped).await.unwrap();
    *app.tip.lock().unwrap() = "90be12d90be12d90be12d90be12d90be12d90be1".to_owned();
    let answer = mira.post("/instances/shop1/redeploy", &[]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let work = app.store.work(row).await.unwrap().unwrap();
    assert!(work.queued.is_some() && work.instance.is_to_start());
}

#[tokio::test]
async fn an_admin_deploys_anothers_instance_again_as_it_is() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let mut admin = app.person("root", Role::Admin).await;
    mira.deploy("shop1").await;
    app.live("shop1").await;
    let (row, _) = app.ids("shop1").await;
    app.store.want(row, Wanted::Absent).await.unwrap();
    app.store.set_status(row, Status::Terminating).await.unwrap();
    let why = Failure { step: None, message: "The instance was terminated.".into() };
    app.store.machine_gone(row, &why).await.unwrap();
    let button = "<a class=\"btn main\" href=\"/instances/shop1/edit\">Deploy again</a>";
    mira.get("/instances/shop1").await.has(button);
    let page = admin.get("/instances/shop1").await;
    page.has(button);
    page.has_not("action=\"/instances/shop1/redeploy\"");
}

#[tokio::test]
async fn a_step_that_a_deadline_ended_is_under_way_no_more() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let deployment = app.deploying("shop1").await;
    app.log(deployment, "::ec step environment ok 0.4\n::ec step migrate start\n").await;
    let (row, _) = app.ids("shop1").await;
    let why = Failure { step: Some(Step::Migrate), message: "It did not end in time.".into() };
    app.store.deployment_failed(row, &why, None).await.unwrap();
    let info = mira.get("/instances/shop1/info").await.json();
    let states: Vec<_> = info["steps"].as_array().unwrap().iter().map(|step| step["state"].clone()).collect();
    assert_eq!((&states[8], &states[9]), (&"failed".into(), &"waiting".into()));
}
