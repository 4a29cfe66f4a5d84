//! The form for an instance: what is typed, what is kept, what is asked once more.

use std::{sync::atomic::Ordering, time::Duration};

use ec_django_deployer::domain::{Role, Wanted};
use reqwest::StatusCode;

use crate::helpers::{Options, REPO, spawn_app, spawn_app_with};

#[tokio::test]
async fn two_inputs_make_an_instance_and_its_deployment() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.get("/instances").await.has("No instances yet");
    let answer = mira.post("/instances/new", &[("github_url", REPO), ("project_name", "backend")]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/instances/backend"));
    let found = app.found("backend").await;
    assert_eq!((found.instance.repo.as_str(), found.instance.status.name()), (REPO, "requested"));
    assert_eq!(found.newest.unwrap().number, 1);
    mira.get("/instances/backend").await.has("Waiting for its turn");
    mira.get("/instances").await.has("1 instance, 0 live.");
}

#[tokio::test]
async fn every_error_comes_in_one_answer_and_what_was_typed_stays() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.get("/instances/new").await;
    let answer = mira
        .post(
            "/instances/new",
            &[
                ("github_url", REPO),
                ("project_name", "shop"),
                ("name", "Book Shop!"),
                ("branch", "main"),
                ("description", "Shop & stock, the \"new\" one"),
            ],
        )
        .await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    insta::assert_snapshot!(answer.between("role=\"alert\">", "</div>"), @r##"<h2>Two fields need a change</h2> <p>Nothing was launched. Go to <a href="#project-name">Project name</a> or <a href="#name">Name of the instance</a>.</p>"##);
    insta::assert_snapshot!(answer.between("id=\"project-name-error\">", "</p>"), @r#"<span>There is no <code>manage.py</code> in <code>shop/</code>; did you mean <button class="pick" type="button" data-fill="project-name">backend</button>.</span>"#);
    answer.has("<button class=\"pick\" type=\"button\" data-fill=\"name\">book-shop</button>");
    answer.has("<details class=\"fold\" open>");
    answer.has("value=\"Book Shop!\"");
    answer.has("value=\"Shop &#38; stock, the &#34;new&#34; one\"");
    answer.has("aria-invalid=\"true\" aria-describedby=\"name-error name-help\"");
    assert_eq!(app.looks.load(Ordering::SeqCst), 1, "preflight looked though the name was wrong");
    assert!(app.store.instances(None).await.unwrap().is_empty());

    let answer = mira.post("/instances/new", &[("github_url", ""), ("project_name", "")]).await;
    answer.has("Two fields need a change");
    let answer = mira
        .post("/instances/new", &[("github_url", "https://evil.example/a/b"), ("project_name", "backend")])
        .await;
    answer.has("can be deployed");
    let answer = mira
        .post(
            "/instances/new",
            &[("github_url", REPO), ("project_name", "backend"), ("description", "two\nlines")],
        )
        .await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("One line of text");
    let long = "x".repeat(201);
    let fields = [("github_url", REPO), ("project_name", "backend"), ("description", long.as_str())];
    mira.post("/instances/new", &fields).await.has("At most 200 characters.");
    let fields = [("github_url", REPO), ("project_name", "backend"), ("branch", "--upload-pack=x")];
    mira.post("/instances/new", &fields).await.has("This is not a branch&#39;s name");
    assert!(app.store.instances(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_double_click_makes_one_row_and_one_deployment() {
    let app = spawn_app_with(Options { look_takes: Duration::from_millis(150), ..Options::default() }).await;
    let mira = app.owner("mira").await;
    let mut clicks = [mira.clone(), mira.clone(), mira];
    let fields = [("github_url", REPO), ("project_name", "backend")];
    let [one, two, three] = &mut clicks;
    let answers = tokio::join!(
        one.post("/instances/new", &fields),
        two.post("/instances/new", &fields),
        three.post("/instances/new", &fields)
    );
    for answer in [&answers.0, &answers.1, &answers.2] {
        assert_eq!(answer.location(), "/instances/backend");
    }
    let found = app.store.instances(None).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(app.store.deployments(found[0].instance.row, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn who_goes_away_while_preflight_looks_loses_nothing() {
    let app = spawn_app_with(Options { look_takes: Duration::from_millis(300), ..Options::default() }).await;
    let mut mira = app.owner("mira").await;
    let fields = [("github_url", REPO), ("project_name", "backend"), ("name", "shop1")];
    let gone = tokio::time::timeout(Duration::from_millis(100), mira.post("/instances/new", &fields)).await;
    assert!(gone.is_err(), "the browser went away before the answer");
    let answer = mira.post("/instances/new", &fields).await;
    assert_eq!(answer.location(), "/instances/shop1");
    let (row, _) = app.ids("shop1").await;
    assert_eq!(app.store.deployments(row, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn another_persons_name_is_taken_and_ones_own_is_asked_for_once_more() {
    let app = spawn_app().await;
    let (mut mira, mut aiko) = (app.owner("mira").await, app.person("aiko", Role::Admin).await);
    mira.deploy("shop1").await;
    let fields = [("github_url", REPO), ("project_name", "backend"), ("name", "shop1")];
    let answer = aiko.post("/instances/new", &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("Another instance of this site has this name.");
    answer.has("data-fill=\"name\">shop1-2</button>");

    let other = "https://github.com/example/other";
    let fields = [("github_url", other), ("project_name", "site"), ("name", "shop1")];
    let answer = mira.post("/instances/new", &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("shop1 has another project on it");
    answer.has("name=\"replace\" value=\"yes\"");
    answer.has("value=\"https://github.com/example/other\"");
    assert_eq!(app.found("shop1").await.instance.repo.as_str(), REPO);
    let mut replaced = fields.to_vec();
    replaced.push(("replace", "yes"));
    assert_eq!(mira.post("/instances/new", &replaced).await.location(), "/instances/shop1");
    assert_eq!(app.found("shop1").await.instance.repo.as_str(), other);

    let (row, _) = app.ids("shop1").await;
    app.store.want(row, Wanted::Absent).await.unwrap();
    let later = [&fields[..], &[("description", "another wish")]].concat();
    let answer = mira.post("/instances/new", &later).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("This instance is being terminated.");
}

#[tokio::test]
async fn a_pasted_tree_fills_in_branch_and_project_but_what_was_typed_wins() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let pasted = format!("{REPO}/tree/spring/backend");
    let answer = mira.post("/instances/new", &[("github_url", &pasted)]).await;
    assert_eq!(answer.location(), "/instances/backend");
    let instance = app.found("backend").await.instance;
    assert_eq!((instance.repo.as_str(), instance.branch.unwrap().as_str()), (REPO, "spring"));

    let fields = [("github_url", pasted.as_str()), ("project_name", "site"), ("branch", "autumn")];
    assert_eq!(mira.post("/instances/new", &fields).await.location(), "/instances/site");
    assert_eq!(app.found("site").await.instance.branch.unwrap().as_str(), "autumn");

    let fields = [("github_url", "git@github.com:example/bookshop.git"), ("project_name", "api/")];
    assert_eq!(mira.post("/instances/new", &fields).await.location(), "/instances/api");
}

#[tokio::test]
async fn the_sample_fills_the_form() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let page = mira.get("/instances/new?sample=guestbook").await;
    let url = format!("{}/samples/guestbook.git", app.callback);
    page.has(&format!("value=\"{url}\""));
    page.has("value=\"guestbook\"");
    let fields = [("github_url", url.as_str()), ("project_name", "guestbook")];
    assert_eq!(mira.post("/instances/new", &fields).await.location(), "/instances/guestbook");
}

#[tokio::test]
async fn a_terminated_instance_is_deployed_again_from_the_form_filled_in() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let fields = [
        ("github_url", REPO),
        ("project_name", "backend"),
        ("name", "shop1"),
        ("branch", "spring"),
        ("description", "Shop and stock"),
    ];
    mira.post("/instances/new", &fields).await;
    app.live("shop1").await;
    let (row, _) = app.ids("shop1").await;
    app.store.want(row, Wanted::Absent).await.unwrap();
    let why = ec_django_deployer::domain::Failure { step: None, message: "terminated".to_owned() };
    app.store.machine_gone(row, &why).await.unwrap();
    mira.get("/instances/shop1").await.has("href=\"/instances/shop1/edit\">Deploy again</a>");
    let page = mira.get("/instances/shop1/edit").await;
    for value in [REPO, "backend", "shop1", "spring", "Shop and stock"] {
        page.has(&format!("value=\"{value}\""));
    }
    let again = [&fields[..4], &[("description", "Shop and stock, again")]].concat();
    assert_eq!(mira.post("/instances/new", &again).await.location(), "/instances/shop1");
    assert_eq!(app.found("shop1").await.newest.unwrap().number, 2);
    let mut aiko = app.owner("aiko").await;
    assert_eq!(aiko.get("/instances/shop1/edit").await.status, StatusCode::NOT_FOUND);
}
