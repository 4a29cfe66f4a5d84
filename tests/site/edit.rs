//! The form of an instance that is there already: what saving it does in each status, what is asked once more, and
//! that nothing that was typed or saved is lost.

use std::{sync::atomic::Ordering, time::Duration};

use ec_django_deployer::domain::{Failure, Reason, Role, Status, Wanted};
use reqwest::StatusCode;

use crate::helpers::{Answer, App, Options, Person, REPO, spawn_app, spawn_app_with};

const EDIT: &str = "/instances/shop1/edit";
const NEWER: &str = "90be12d90be12d90be12d90be12d90be12d90be1";

/// Opens the form and saves it with some fields changed.
async fn save(person: &mut Person, changes: &[(&str, &str)]) -> Answer {
    let form = person.get(EDIT).await;
    assert_eq!(form.status, StatusCode::OK, "{}", form.body);
    save_shown(person, &form, changes).await
}

/// Saves a form that was shown before, with some fields changed.
async fn save_shown(person: &mut Person, form: &Answer, changes: &[(&str, &str)]) -> Answer {
    let mut fields: Vec<(&str, String)> = ["version", "github_url", "project_name", "branch", "description"]
        .map(|name| (name, value(form, name)))
        .to_vec();
    for (name, text) in changes {
        fields.retain(|(known, _)| known != name);
        fields.push((name, (*text).to_owned()));
    }
    let fields: Vec<_> = fields.iter().map(|(name, text)| (*name, text.as_str())).collect();
    person.post(EDIT, &fields).await
}

/// The value of a field on a page.
fn value(form: &Answer, name: &str) -> String {
    form.between(&format!("name=\"{name}\" value=\""), "\"")
}

async fn live(app: &App, mira: &mut Person) {
    mira.deploy("shop1").await;
    app.live("shop1").await;
}

/// The newest deployment's number, why it was asked for, and whether it waits.
async fn newest(app: &App) -> (i64, Option<Reason>, bool) {
    let (row, _) = app.ids("shop1").await;
    let newest = app.store.deployments(row, 1).await.unwrap()[0].clone();
    (newest.number, newest.reason, newest.is_queued())
}

#[tokio::test]
async fn the_form_is_filled_in_and_saving_it_redeploys() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    live(&app, &mut mira).await;
    mira.get("/instances/shop1").await.has("<a href=\"/instances/shop1/edit\">Edit</a>");
    let form = mira.get(EDIT).await;
    for (name, text) in
        [("github_url", REPO), ("project_name", "backend"), ("branch", ""), ("description", "")]
    {
        assert_eq!(value(&form, name), text);
    }
    form.has("<input id=\"name\" value=\"shop1\" class=\"mono\" readonly");
    form.has_not("name=\"name\"");
    form.has("<a href=\"/instances/shop1/edit\" aria-current=\"page\">Edit</a>");
    form.has("Save and redeploy</button>");
    let answer = save(&mut mira, &[("branch", "spring"), ("name", "other")]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/instances/shop1"));
    let instance = app.found("shop1").await.instance;
    assert_eq!(instance.branch.unwrap().as_str(), "spring");
    assert_eq!(newest(&app).await, (2, Some(Reason::Edit), true));
    assert_eq!(app.store.instances(None).await.unwrap().len(), 1, "the name stays");
    // Nothing changed: the branch's newest commit.
    *app.tip.lock().unwrap() = NEWER.to_owned();
    save(&mut mira, &[]).await;
    assert_eq!(newest(&app).await, (3, Some(Reason::Redeploy), true));
}

#[tokio::test]
async fn another_description_alone_is_saved_without_a_look_at_the_repository() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    live(&app, &mut mira).await;
    // The repository is gone, and has a newer commit besides.
    *app.tip.lock().unwrap() = "gone".to_owned();
    let looks = app.looks.load(Ordering::SeqCst);
    let form = mira.get(EDIT).await;
    let answer = save_shown(&mut mira, &form, &[("description", "Shop & stock")]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    // The second click of a double click finds it saved.
    let again = save_shown(&mut mira, &form, &[("description", "Shop & stock")]).await;
    assert_eq!(again.status, StatusCode::SEE_OTHER);
    assert_eq!(app.found("shop1").await.instance.description, "Shop & stock");
    assert_eq!((newest(&app).await.0, app.looks.load(Ordering::SeqCst)), (1, looks));
    mira.get("/instances/shop1").await.has("Shop &#38; stock");
}

#[tokio::test]
async fn every_error_comes_in_one_answer_and_what_was_typed_stays() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    live(&app, &mut mira).await;
    let changes = [("project_name", "shop"), ("branch", "spring"), ("description", "two\nlines")];
    let answer = save(&mut mira, &changes).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    insta::assert_snapshot!(answer.between("role=\"alert\">", "</div>"), @r##"<h2>Two fields need a change</h2> <p>Nothing was changed. Go to <a href="#project-name">Project name</a> or <a href="#description">Description</a>.</p>"##);
    answer.has("data-fill=\"project-name\">backend</button>");
    assert_eq!((value(&answer, "project_name"), value(&answer, "branch")), ("shop".into(), "spring".into()));
    assert_eq!(value(&answer, "version"), app.found("shop1").await.instance.version());
    let answer = save(&mut mira, &[("github_url", "https://evil.example/a/b")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("value=\"https://evil.example/a/b\"");
    assert_eq!(newest(&app).await.0, 1);
    assert_eq!(app.found("shop1").await.instance.branch, None);
}

#[tokio::test]
async fn another_repository_or_project_is_asked_for_once_more() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    live(&app, &mut mira).await;
    let other = "https://github.com/example/other";
    for change in [("project_name", "site"), ("github_url", other)] {
        let answer = save(&mut mira, &[change, ("description", "The other one")]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        answer.has("shop1 has another project on it");
        answer.has("Replace what is on shop1");
        answer.has("Replace and redeploy</button>");
        assert_eq!(value(&answer, change.0), change.1);
        assert_eq!(value(&answer, "description"), "The other one");
        assert_eq!(newest(&app).await.0, 1);
    }
    let changes = [("github_url", other), ("project_name", "site"), ("replace", "yes")];
    let answer = save(&mut mira, &changes).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    assert_eq!(newest(&app).await, (2, Some(Reason::Replace), true));
    assert_eq!(app.found("shop1").await.instance.repo.as_str(), other);
}

#[tokio::test]
async fn while_deploying_one_follow_up_waits_and_the_newest_wins() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let running = app.deploying("shop1").await;
    mira.get(EDIT).await.has("of several that wait, the newest is deployed");
    save(&mut mira, &[("branch", "spring")]).await;
    save(&mut mira, &[("branch", "autumn")]).await;
    let work = app.store.work(app.ids("shop1").await.0).await.unwrap().unwrap();
    assert_eq!(work.running.map(|running| running.id), Some(running));
    assert_eq!(work.queued.map(|queued| queued.plan.branch.to_string()).as_deref(), Some("autumn"));
    mira.get("/instances/shop1").await.has("Deployment 3 (<code>3f1c9ab</code>) waits for its turn.");
}

#[tokio::test]
async fn while_stopped_it_is_kept_and_deployed_on_start() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    live(&app, &mut mira).await;
    let (row, _) = app.ids("shop1").await;
    app.store.set_status(row, Status::Stopped).await.unwrap();
    let form = mira.get(EDIT).await;
    form.has("kept, and deployed when you start it");
    form.has("<button class=\"btn main\">Save</button>");
    save_shown(&mut mira, &form, &[("branch", "spring")]).await;
    assert_eq!(newest(&app).await, (2, Some(Reason::Edit), true));
    let instance = app.found("shop1").await.instance;
    assert!(instance.wanted == Wanted::Stopped && !instance.is_to_start(), "nothing starts by itself");
    let page = mira.get("/instances/shop1").await;
    page.has("Deployment 2 (<code>3f1c9ab</code>) waits until the machine is started.");
    page.has_not("http-equiv=\"refresh\"");
    mira.post("/instances/shop1/start", &[]).await;
    let work = app.store.work(row).await.unwrap().unwrap();
    assert!(work.instance.is_to_start() && work.queued.is_some());
    mira.get("/instances/shop1").await.has("Deployment 2 (<code>3f1c9ab</code>) waits for its turn.");
}

#[tokio::test]
async fn on_its_way_out_it_is_refused_and_then_deployed_again_on_the_same_record() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    live(&app, &mut mira).await;
    let (row, _) = app.ids("shop1").await;
    let form = mira.get(EDIT).await;
    app.store.want(row, Wanted::Absent).await.unwrap();
    for answer in [mira.get(EDIT).await, save_shown(&mut mira, &form, &[("branch", "spring")]).await] {
        assert_eq!(answer.status, StatusCode::CONFLICT);
        answer.has("Wait until it is gone, then deploy it again.");
    }
    for page in ["", "/logs", "/data"] {
        mira.get(&format!("/instances/shop1{page}")).await.has_not(EDIT);
    }
    app.store.set_status(row, Status::Terminating).await.unwrap();
    let why = Failure { step: None, message: "The instance was terminated.".to_owned() };
    app.store.machine_gone(row, &why).await.unwrap();
    mira.get("/instances/shop1").await.has("href=\"/instances/shop1/edit\">Deploy again</a>");
    let form = mira.get(EDIT).await;
    form.has("<button class=\"btn main\">Deploy again</button>");
    form.has("A new machine is launched");
    // Another repository is nothing to ask about once nothing is there to be replaced.
    let changes = [("github_url", "https://github.com/example/other"), ("description", "Anew")];
    let answer = save_shown(&mut mira, &form, &changes).await;
    assert_eq!(answer.location(), "/instances/shop1", "{}", answer.body);
    assert_eq!(newest(&app).await, (2, Some(Reason::DeployAgain), true));
    let found = app.found("shop1").await;
    assert_eq!((found.instance.row, found.instance.wanted), (row, Wanted::Present));
}

#[tokio::test]
async fn an_admin_edits_anothers_and_it_stays_theirs() {
    let app = spawn_app().await;
    let (mut mira, mut aiko) = (app.owner("mira").await, app.owner("aiko").await);
    let mut root = app.person("root", Role::Admin).await;
    live(&app, &mut mira).await;
    assert_eq!(save(&mut root, &[("branch", "spring")]).await.status, StatusCode::SEE_OTHER);
    let found = app.found("shop1").await;
    assert_eq!(found.instance.owner_name.as_str(), "mira");
    assert_eq!(found.newest.unwrap().requested_by.unwrap().as_str(), "root");
    mira.get("/instances/shop1/deployments").await.has("Edit<span class=\"sub\">root</span>");
    let version = found.instance.version();
    let fields = [
        ("version", version.as_str()),
        ("github_url", REPO),
        ("project_name", "backend"),
        ("branch", "hers"),
    ];
    assert_eq!(aiko.get(EDIT).await.status, StatusCode::NOT_FOUND);
    assert_eq!(aiko.post(EDIT, &fields).await.status, StatusCode::NOT_FOUND);
    assert_eq!(app.found("shop1").await.instance.branch.unwrap().as_str(), "spring");
}

#[tokio::test]
async fn two_who_edit_at_once_do_not_undo_each_other_unawares() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let mut root = app.person("root", Role::Admin).await;
    live(&app, &mut mira).await;
    let (hers, his) = (mira.get(EDIT).await, root.get(EDIT).await);
    save_shown(&mut root, &his, &[("branch", "autumn"), ("description", "\"New\" <one>")]).await;
    let answer = save_shown(&mut mira, &hers, &[("branch", "spring")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    insta::assert_snapshot!(answer.between("role=\"alert\">", "</div>"), @r##"<h2>shop1 was changed since this form was shown</h2> <p>It is made from <a href="https://github.com/example/bookshop" rel="noreferrer">https://github.com/example/bookshop</a> now, project <code>backend</code>, branch <code>autumn</code>, described as “&#34;New&#34; &#60;one&#62;”.</p> <p>What you typed is still in the form, and nothing of it is saved. Save it once more to put it in that place.</p>"##);
    assert_eq!((value(&answer, "branch"), value(&answer, "description")), ("spring".into(), String::new()));
    assert_eq!(
        (newest(&app).await.0, app.found("shop1").await.instance.branch.unwrap().as_str()),
        (2, "autumn")
    );
    // Saved once more, knowing it.
    let answer = save_shown(&mut mira, &answer, &[]).await;
    assert_eq!(answer.location(), "/instances/shop1");
    assert_eq!(app.found("shop1").await.instance.branch.unwrap().as_str(), "spring");
    // A form that says nothing of what it was filled in from is asked the same.
    let fields = [("github_url", REPO), ("project_name", "backend"), ("branch", "winter")];
    assert_eq!(mira.post(EDIT, &fields).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_double_click_is_one_deployment_also_while_preflight_looks() {
    let app = spawn_app_with(Options { look_takes: Duration::from_millis(150), ..Options::default() }).await;
    let mut mira = app.owner("mira").await;
    live(&app, &mut mira).await;
    for (number, changes) in [(2, &[("branch", "spring")][..]), (3, &[])] {
        let form = mira.get(EDIT).await;
        let (mut one, mut two) = (mira.clone(), mira.clone());
        let (first, second) =
            tokio::join!(save_shown(&mut one, &form, changes), save_shown(&mut two, &form, changes));
        assert_eq!((first.location(), second.location()), ("/instances/shop1", "/instances/shop1"));
        assert_eq!(newest(&app).await.0, number);
        // What was asked for longer ago than a double click takes is another wish.
        tokio::time::sleep(Duration::from_millis(2100)).await;
    }
}

#[tokio::test]
async fn no_field_of_the_form_makes_a_fault_and_a_token_is_wanted() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    live(&app, &mut mira).await;
    let long = "ä".repeat(10_000);
    for field in ["github_url", "project_name", "branch", "description", "replace", "version"] {
        for nasty in ["", "\0", "<script>alert(1)</script>", "--upload-pack=x", "\r\nA: b", "\u{202e}", &long]
        {
            let answer = save(&mut mira, &[(field, nasty)]).await;
            assert!(matches!(answer.status.as_u16(), 303 | 422), "{field} {nasty:?}: {}", answer.status);
            answer.has_not("<script>alert");
        }
    }
    for path in ["edit", "stop", "start"] {
        let answer = mira.post_raw(&format!("/instances/shop1/{path}"), "branch=x").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_ne!(
        app.found("shop1").await.instance.branch.map(|branch| branch.to_string()).as_deref(),
        Some("x")
    );
}

#[tokio::test]
async fn a_pasted_tree_says_the_branch_and_the_project_where_they_were_left_as_they_are() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    live(&app, &mut mira).await;
    let pasted = format!("{REPO}/tree/spring/website");
    // Another project asks once more; the form has what the address said.
    let asked = save(&mut mira, &[("github_url", &pasted)]).await;
    assert_eq!(asked.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!((value(&asked, "project_name"), value(&asked, "branch")), ("website".into(), "spring".into()));
    let saved = save_shown(&mut mira, &asked, &[("replace", "yes")]).await;
    assert_eq!(saved.location(), "/instances/shop1");
    let instance = app.found("shop1").await.instance;
    assert_eq!((instance.project.as_str(), instance.branch.unwrap().as_str()), ("website", "spring"));
}

#[tokio::test]
async fn each_deployment_keeps_the_repository_that_its_commit_is_of() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    live(&app, &mut mira).await;
    let other = "https://github.com/example/other";
    let answer = save(&mut mira, &[("github_url", other), ("replace", "yes")]).await;
    assert_eq!(answer.location(), "/instances/shop1", "{}", answer.body);
    let link = |url: &str| format!("<a href=\"{url}\" rel=\"noreferrer\">");
    let first = mira.get("/instances/shop1/deployments/1").await;
    first.has(&link(REPO));
    first.has_not(&link(other));
    mira.get("/instances/shop1/deployments/2").await.has(&link(other));
}

#[tokio::test]
async fn what_is_to_be_deployed_again_can_be_given_up_before_it_begins() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    live(&app, &mut mira).await;
    let (row, _) = app.ids("shop1").await;
    app.store.want(row, Wanted::Absent).await.unwrap();
    app.store.set_status(row, Status::Terminating).await.unwrap();
    let gone = Failure { step: None, message: "gone".to_owned() };
    app.store.machine_gone(row, &gone).await.unwrap();
    save(&mut mira, &[]).await;
    assert!(newest(&app).await.2, "it waits to be deployed again");
    assert!(app.store.want(row, Wanted::Absent).await.unwrap());
    assert!(!newest(&app).await.2);
    assert_eq!(app.found("shop1").await.instance.status, Status::Terminated);
    assert!(!app.store.want(row, Wanted::Absent).await.unwrap(), "once is enough");
}
