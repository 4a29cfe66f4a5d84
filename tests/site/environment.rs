//! The variables of an instance: the page, the forms, what machines are given, what is asked for before a launch.

use ec_django_deployer::{
    domain::{Answer, Database, DatabasePart, Demanded, Role, Status, Vault},
    store::Store,
};
use reqwest::{Client, StatusCode};

use crate::helpers::{App, Options, Person, REPO, spawn_app, spawn_app_with};

const PAGE: &str = "/instances/shop1/environment";
const SECRET: &str = "sk_live_0123456789abcdef";

fn demanded(name: &str, line: u32, answer: Answer) -> Demanded {
    Demanded { name: name.to_owned(), file: "backend/config/settings.py".to_owned(), line, answer }
}

fn asked(name: &str, line: u32, offer: Option<&str>, secret: bool) -> Demanded {
    demanded(name, line, Answer::Asked { offer: offer.map(str::to_owned), secret })
}

async fn set(person: &mut Person, name: &str, value: &str) {
    let answer = person.post(PAGE, &[("variable", name), ("value", value)]).await;
    assert_eq!(answer.location(), format!("{PAGE}?done=saved"), "{}", answer.body);
}

/// What a machine is given, with the answer's status.
async fn given(app: &App, id: ec_django_deployer::domain::DeploymentId) -> (u16, String) {
    let url = format!("{}/deployments/{id}/environment", app.callback);
    let answer = Client::new().get(url).bearer_auth(app.log_key.token(id)).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn variables_are_set_changed_and_removed_and_never_shown() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let page = mira.get(PAGE).await;
    page.has("<a href=\"/instances/shop1/environment\" aria-current=\"page\">Environment</a>");
    page.has("made by the machine, kept between deployments");
    for path in
        ["/instances/shop1", "/instances/shop1/edit", "/instances/shop1/logs", "/instances/shop1/data"]
    {
        mira.get(path).await.has("<a href=\"/instances/shop1/environment\">Environment</a>");
    }
    set(&mut mira, "STRIPE_KEY", SECRET).await;
    let page = mira.get(&format!("{PAGE}?done=saved")).await;
    page.has("It is saved.");
    page.has("<code>STRIPE_KEY</code><span class=\"sub\">yours</span>");
    for path in [
        PAGE,
        "/instances/shop1",
        "/instances/shop1/info",
        "/instances/shop1/edit",
        "/instances/shop1/deployments/1",
    ] {
        mira.get(path).await.has_not(SECRET);
    }
    let same = mira.post(PAGE, &[("variable", "STRIPE_KEY"), ("value", SECRET)]).await;
    assert_eq!(same.location(), format!("{PAGE}?done=same"));
    // The name is in the field, the value is not.
    let page = mira.get(&format!("{PAGE}?variable=STRIPE_KEY")).await;
    page.has("name=\"variable\" value=\"STRIPE_KEY\"");
    page.has_not(SECRET);
    let removed = mira.post(&format!("{PAGE}/STRIPE_KEY/remove"), &[]).await;
    assert_eq!(removed.location(), format!("{PAGE}?done=removed"));
    mira.get(PAGE).await.has_not("STRIPE_KEY");
    // Another owner's is as if it were not there; an admin may.
    let mut aiko = app.owner("aiko").await;
    assert_eq!(aiko.get(PAGE).await.status, StatusCode::NOT_FOUND);
    let refused = aiko.post(PAGE, &[("variable", "A"), ("value", "b")]).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    let mut root = app.person("root", Role::Admin).await;
    root.get(PAGE).await;
    set(&mut root, "A", "b").await;
}

#[tokio::test]
async fn a_wrong_name_is_told_and_the_value_need_not_be_typed_again() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    for (name, why) in [
        ("1A", "does not begin with a digit"),
        ("PATH", "is set by the machine itself"),
        ("DJANGO_SETTINGS_MODULE", "is read from the project"),
        ("", "letters, digits and underscores"),
    ] {
        let answer = mira.post(PAGE, &[("variable", name), ("value", SECRET)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
        answer.has(why);
        answer.has_not(SECRET);
        answer.has("The value that you typed is kept");
        let kept = answer.between("name=\"kept\" value=\"", "\"");
        let answer = mira.post(PAGE, &[("variable", "GOOD"), ("value", ""), ("kept", &kept)]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        // Another person's form does not open it.
        let mut root = app.person(&format!("root{}", name.len()), Role::Admin).await;
        root.get(PAGE).await;
        root.post(PAGE, &[("variable", "STOLEN"), ("value", ""), ("kept", &kept)]).await;
    }
    let deployment = app.boot("shop1").await;
    assert_eq!(given(&app, deployment).await, (200, format!("GOOD={SECRET}\0STOLEN=\0")));
    let long = "x".repeat(32 * 1024 + 1);
    let answer = mira.post(PAGE, &[("variable", "LONG"), ("value", &long)]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("A value has at most 32 KB.");
    let answer = mira.post(PAGE, &[("variable", "NUL"), ("value", "a\0b")]).await;
    answer.has("cannot hold the character NUL");
}

#[tokio::test]
async fn a_pasted_env_saves_the_good_lines_and_tells_the_others_by_number() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let text = format!(
        "# ours\nA=1\nexport KEY=\"{SECRET}\"\nPATH=/bin\nsk_live_in_the_wrong_place\nPEM=\"one\ntwo\"\n"
    );
    let answer = mira.post(&format!("{PAGE}/paste"), &[("dotenv", &text)]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("Line 4 (<code>PATH</code>):");
    answer.has("Line 5: There is no <code>=</code> in it.");
    answer.has("3 variables of the others: saved");
    answer.has_not(SECRET);
    answer.has_not("wrong_place");
    let deployment = app.boot("shop1").await;
    assert_eq!(given(&app, deployment).await.1, format!("A=1\0KEY={SECRET}\0PEM=one\ntwo\0"));
    let answer = mira.post(&format!("{PAGE}/paste"), &[("dotenv", "A=2\r\nB='x'\r\n")]).await;
    assert_eq!(answer.location(), format!("{PAGE}?done=saved"));
    let answer = mira.post(&format!("{PAGE}/paste"), &[("dotenv", "# nothing\n\n")]).await;
    answer.has("There is no line of the form");
    // All that an instance may have fits into the form, and no more is kept.
    let large: String = (0..8).map(|n| format!("L{n}={}\n", "x".repeat(32 * 1024 - 16))).collect();
    let answer = mira.post(&format!("{PAGE}/paste"), &[("dotenv", &large)]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    let answer = mira.post(&format!("{PAGE}/paste"), &[("dotenv", &format!("M={}", "x".repeat(9000)))]).await;
    answer.has("at most 256 KB together");
    answer.has("What you pasted has 9 KB.");
    let many: String = (0..90).map(|n| format!("V{n}=1\n")).collect();
    let many = format!("A=3\nPATH=/bin\n{many}");
    let answer = mira.post(&format!("{PAGE}/paste"), &[("dotenv", &many)]).await;
    answer.has("at most 100 variables");
    answer.has("This instance has 12 variables. Of what you pasted new are 90: <code>V0</code>, ");
    answer.has("That is 2 too many.");
    answer.has("Line 2 (<code>PATH</code>):");
}

#[tokio::test]
async fn a_variable_too_many_is_told_and_its_value_kept() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    mira.get(PAGE).await;
    let many: String = (0..100).map(|n| format!("V{n}=1\n")).collect();
    let answer = mira.post(&format!("{PAGE}/paste"), &[("dotenv", &many)]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    let answer = mira.post(PAGE, &[("variable", "TOKEN"), ("value", SECRET)]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer
        .has("<h2>It would be too much</h2><p>Nothing was saved: an instance has at most 100 variables.</p>");
    answer.has_not("value-error");
    answer.has_not(SECRET);
    let kept = answer.between("name=\"kept\" value=\"", "\"");
    mira.post(&format!("{PAGE}/V0/remove"), &[]).await;
    let fields = [("variable", "TOKEN"), ("value", ""), ("kept", kept.as_str())];
    assert_eq!(mira.post(PAGE, &fields).await.location(), format!("{PAGE}?done=saved"));
    let deployment = app.boot("shop1").await;
    assert!(given(&app, deployment).await.1.starts_with(&format!("TOKEN={SECRET}\0")));
    let answer = mira.post(&format!("{PAGE}/secret-key"), &[]).await;
    answer.has("<h2>It would be too much</h2>");
}

#[tokio::test]
async fn a_key_of_several_lines_keeps_them_and_one_line_has_no_other_behind_it() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.get("/instances/new").await;
    *app.demands.lock().unwrap() = vec![asked("APP_KEY", 3, None, true), asked("CERT", 4, None, false)];
    let key = "-----BEGIN KEY-----\r\nMIIEvQ\r\n-----END KEY-----\r\n";
    let source = [("github_url", REPO), ("project_name", "backend"), ("name", "shop1")];
    let mut fields = source.to_vec();
    fields.push(("env.CERT", key));
    let answer = mira.post("/instances/new", &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("help\">\n-----BEGIN KEY-----\nMIIEvQ\n-----END KEY-----\n</textarea>");
    fields.push(("env.APP_KEY", key));
    assert_eq!(mira.post("/instances/new", &fields).await.location(), "/instances/shop1");
    mira.get(PAGE).await.has("<textarea id=\"value\" name=\"value\" class=\"mono line masked\"");
    set(&mut mira, "KEY", key).await;
    set(&mut mira, "LINE", "one\r\n").await;
    let deployment = app.boot("shop1").await;
    let key = key.replace('\r', "");
    let all = format!("APP_KEY={key}\0CERT={key}\0KEY={key}\0LINE=one\0");
    assert_eq!(given(&app, deployment).await.1, all);
}

#[tokio::test]
async fn what_is_demanded_and_cannot_be_given_is_told_before_anything_is_launched() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.get("/instances/new").await;
    let source = [("github_url", REPO), ("project_name", "backend"), ("name", "shop1")];
    for name in ["EC_REGION", "UV_LEVEL", "my.setting"] {
        *app.demands.lock().unwrap() = vec![asked(name, 5, None, false), asked("PATH", 6, None, false)];
        let answer = mira.post("/instances/new", &source).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
        answer.has(&format!("The settings ask for the variable <code>{name}</code>"));
        answer.has("Give it a default there, or another name.");
        assert!(app.store.instances(None).await.unwrap().is_empty(), "nothing was made");
    }
    // Names that are a project's own, though programs have such, too.
    *app.demands.lock().unwrap() =
        vec![asked("ENV", 5, Some("production"), false), asked("GIT_SHA", 6, None, false)];
    let answer = mira.post("/instances/new", &source).await;
    answer.has("The settings ask for 2 variables");
    let mut fields = source.to_vec();
    fields.extend([("env.ENV", "production"), ("env.GIT_SHA", "abc")]);
    assert_eq!(mira.post("/instances/new", &fields).await.location(), "/instances/shop1");
    let deployment = app.live("shop1").await;
    assert_eq!(given(&app, deployment).await.0, 410);
    let given = app.store.give_environment(deployment).await.unwrap().variables;
    assert_eq!(given.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["ENV", "GIT_SHA"]);
    *app.demands.lock().unwrap() = vec![asked("EC_REGION", 5, None, false)];
    let answer = mira.post("/instances/shop1/redeploy", &[]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("The settings ask for the variable <code>EC_REGION</code>");
    let form = mira.get("/instances/shop1/edit").await;
    let version = form.between("name=\"version\" value=\"", "\"");
    let mut fields = source.to_vec();
    fields.extend([("version", version.as_str()), ("branch", "spring")]);
    let answer = mira.post("/instances/shop1/edit", &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("The settings ask for the variable <code>EC_REGION</code>");
}

#[tokio::test]
async fn a_change_waits_for_the_next_deployment_and_goes_with_it() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    set(&mut mira, "A", "first").await;
    mira.get(PAGE).await.has("1 change goes with deployment 1");
    let first = app.boot("shop1").await;
    mira.get(PAGE).await.has("1 change goes with deployment 1");
    assert_eq!(given(&app, first).await, (200, "A=first\0".to_owned()));
    mira.get(PAGE).await.has_not("with deployment 1");
    let (row, _) = app.ids("shop1").await;
    app.store.set_status(row, Status::Deploying).await.unwrap();
    app.log(first, &crate::helpers::good_log()).await;
    assert_eq!(given(&app, first).await, (410, String::new()), "the step is over");
    app.store.deployment_live(row, first, None).await.unwrap();
    set(&mut mira, "A", "second").await;
    set(&mut mira, "B", "two").await;
    let page = mira.get(PAGE).await;
    page.has("2 changes wait for the next deployment");
    page.has("<button class=\"btn\">Redeploy</button>");
    mira.post(&format!("{PAGE}/B/remove"), &[]).await;
    mira.get(PAGE).await.has("1 change waits for the next deployment");
    // Back to what the machine has.
    set(&mut mira, "A", "first").await;
    mira.get(PAGE).await.has_not("next deployment</h2>");
    mira.post(&format!("{PAGE}/A/remove"), &[]).await;
    let page = mira.get(PAGE).await;
    page.has("1 change waits for the next deployment");
    page.has("removed; the machine has it until the next deployment");
    // A change while the deployment waits goes with it.
    assert_eq!(mira.post("/instances/shop1/redeploy", &[]).await.status, StatusCode::SEE_OTHER);
    set(&mut mira, "C", "three").await;
    mira.get(PAGE).await.has("2 changes go with deployment 2");
    let (row, second) = app.ids("shop1").await;
    app.store.begin_deployment(row, second).await.unwrap();
    assert_eq!(given(&app, second).await, (200, "C=three\0".to_owned()));
    mira.get(PAGE).await.has_not("class=\"note warn row\"");
}

#[tokio::test]
async fn a_secret_key_is_made_anew() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    mira.get(PAGE).await;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let answer = mira.post(&format!("{PAGE}/secret-key"), &[]).await;
        assert_eq!(answer.location(), format!("{PAGE}?done=made"));
        let id = app.ids("shop1").await.1;
        let values = app.store.give_environment(id).await.unwrap().variables;
        assert_eq!((values.len(), values[0].name.as_str()), (1, "SECRET_KEY"));
        keys.push(values[0].value.expose().to_owned());
    }
    assert_ne!(keys[0], keys[1]);
    let page = mira.get(PAGE).await;
    page.has("made by this site, kept between deployments");
    page.has_not(&keys[1]);
}

#[tokio::test]
async fn to_ec2_no_value_goes_over_http() {
    let app = spawn_app_with(Options { cloud: Some("ec2"), ..Options::default() }).await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    let deployment = app.boot("shop1").await;
    assert_eq!(given(&app, deployment).await, (200, String::new()), "without variables nothing is told");
    mira.get(PAGE).await.has("set <code>CALLBACK_URL</code> to https");
    set(&mut mira, "KEY", SECRET).await;
    assert_eq!(given(&app, deployment).await, (403, String::new()));
    let (row, _) = app.ids("shop1").await;
    app.store.set_status(row, Status::Deploying).await.unwrap();
    app.log(deployment, &crate::helpers::good_log()).await;
    app.store.deployment_live(row, deployment, None).await.unwrap();
    let answer = mira.post("/instances/shop1/redeploy", &[]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("Variables cannot be sent over http");
    *app.demands.lock().unwrap() = vec![asked("TOKEN", 3, None, true)];
    let fields =
        [("github_url", REPO), ("project_name", "backend"), ("name", "shop2"), ("env.TOKEN", SECRET)];
    let answer = mira.post("/instances/new", &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("Variables cannot be sent over http");
    answer.has_not(SECRET);
    answer.has("name=\"kept.TOKEN\"");
}

#[tokio::test]
async fn what_the_settings_demand_is_asked_for_before_anything_is_launched() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.get("/instances/new").await;
    *app.demands.lock().unwrap() = vec![
        demanded("SECRET_KEY", 10, Answer::Secret),
        asked("STRIPE_KEY", 118, None, true),
        asked("EMAIL_HOST", 131, Some("localhost"), false),
        asked("PATH", 140, None, false),
        demanded("HOSTS", 150, Answer::Address),
        demanded("DB_NAME", 160, Answer::Database { part: DatabasePart::Name }),
        asked("STRIPE_KEY", 200, None, true),
    ];
    let source =
        [("github_url", REPO), ("project_name", "backend"), ("name", "shop1"), ("description", "Books")];
    let answer = mira.post("/instances/new", &source).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("<title>2 variables are needed: New instance");
    answer.has("The settings ask for 2 variables");
    answer.has("Read in <code>backend/config/settings.py</code>, line 118, no default.");
    assert_eq!(
        answer.between("name=\"env.EMAIL_HOST\"", "</textarea>").rsplit("> ").next(),
        Some("localhost")
    );
    answer.has("name=\"env.STRIPE_KEY\" class=\"mono line masked\"");
    answer.has("value=\"Books\"");
    answer.has("<h2 id=\"plan\">Plan</h2>");
    answer.has_not("env.PATH");
    answer.has_not("env.HOSTS");
    assert!(app.store.instances(None).await.unwrap().is_empty(), "nothing was made");
    // One of two, with another field wrong: the secret is kept, sealed, and what is missing is told.
    let mut fields = source.to_vec();
    fields.extend([("branch", "a..b"), ("env.STRIPE_KEY", SECRET), ("env.EMAIL_HOST", "")]);
    let answer = mira.post("/instances/new", &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("What you typed is kept");
    answer.has_not(SECRET);
    let kept = answer.between("name=\"kept.STRIPE_KEY\" value=\"", "\"");
    let mut fields = source.to_vec();
    fields.extend([("env.STRIPE_KEY", ""), ("kept.STRIPE_KEY", kept.as_str()), ("env.EMAIL_HOST", "")]);
    let answer = mira.post("/instances/new", &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("The settings ask for 1 variable");
    answer.has("Give it a value, or say that it is to be empty.");
    let kept = answer.between("name=\"kept.STRIPE_KEY\" value=\"", "\"");
    let mut fields = source.to_vec();
    fields.extend([("kept.STRIPE_KEY", kept.as_str()), ("env.EMAIL_HOST", ""), ("empty.EMAIL_HOST", "yes")]);
    let answer = mira.post("/instances/new", &fields).await;
    assert_eq!(answer.location(), "/instances/shop1", "{}", answer.body);
    let deployment = app.boot("shop1").await;
    assert_eq!(given(&app, deployment).await.1, format!("EMAIL_HOST=\0STRIPE_KEY={SECRET}\0"));
    let page = mira.get(PAGE).await;
    page.has("yours; read in <code>backend/config/settings.py</code>, line 118, no default");
    page.has("the address of the machine");
    page.has("the database on the machine");
    assert!(!serde_json::to_string(&app.found("shop1").await.newest.unwrap().plan).unwrap().contains(SECRET));
}

#[tokio::test]
async fn what_a_new_commit_demands_is_asked_for_on_redeploy_and_edit() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    app.live("shop1").await;
    *app.demands.lock().unwrap() = vec![asked("SENTRY_DSN", 7, None, true)];
    let answer = mira.post("/instances/shop1/redeploy", &[]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("Nothing was deployed");
    answer.has("<code>SENTRY_DSN</code> has no value");
    answer.has("href=\"/instances/shop1/environment?variable=SENTRY_DSN#value\"");
    let form = mira.get("/instances/shop1/edit").await;
    let version = form.between("name=\"version\" value=\"", "\"");
    let fields = [
        ("version", version.as_str()),
        ("github_url", REPO),
        ("project_name", "backend"),
        ("branch", "spring"),
    ];
    let answer = mira.post("/instances/shop1/edit", &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("The settings ask for 1 variable");
    let mut fields = fields.to_vec();
    fields.push(("env.SENTRY_DSN", SECRET));
    let answer = mira.post("/instances/shop1/edit", &fields).await;
    assert_eq!(answer.location(), "/instances/shop1", "{}", answer.body);
    let (row, deployment) = app.ids("shop1").await;
    app.store.begin_deployment(row, deployment).await.unwrap();
    assert_eq!(given(&app, deployment).await.1, format!("SENTRY_DSN={SECRET}\0"));
    assert_eq!(mira.post("/instances/shop1/redeploy", &[]).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn values_whose_key_is_lost_are_asked_for_anew() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    mira.get(PAGE).await;
    // Sealed by another key than the site has.
    let url = format!("sqlite://{}/site.db", app.directory.path().display());
    let other = Store::open(&url).await.unwrap().with_vault(Vault::random());
    let (row, _) = app.ids("shop1").await;
    let variable = ec_django_deployer::domain::Variable {
        name: "TOKEN".parse().unwrap(),
        value: SECRET.to_owned().try_into().unwrap(),
    };
    other.set_variables(row, &[variable]).await.unwrap();
    other.close().await;
    let page = mira.get(PAGE).await;
    page.has("the key that its value was encrypted with is gone");
    page.has("no value</span>");
    let deployment = app.live("shop1").await;
    let answer = mira.post("/instances/shop1/redeploy", &[]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("<code>TOKEN</code> was encrypted with is gone");
    mira.get(PAGE).await;
    set(&mut mira, "TOKEN", SECRET).await;
    assert_eq!(mira.post("/instances/shop1/redeploy", &[]).await.status, StatusCode::SEE_OTHER);
    assert_ne!(app.ids("shop1").await.1, deployment);
}

#[tokio::test]
async fn a_chosen_database_is_kept_and_goes_with_each_plan() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.get("/instances/new").await.has("<option value=\"\" selected>As the project says</option>");
    let source = [("github_url", REPO), ("project_name", "backend"), ("name", "shop1")];
    let mut fields = source.to_vec();
    fields.push(("database", "oracle"));
    let answer = mira.post("/instances/new", &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("id=\"database-error\"");
    let mut fields = source.to_vec();
    fields.push(("database", "postgresql"));
    assert_eq!(mira.post("/instances/new", &fields).await.location(), "/instances/shop1");
    let chosen = async || {
        let found = app.found("shop1").await;
        (found.instance.database, found.newest.unwrap().plan.chosen_database)
    };
    assert_eq!(chosen().await, (Some(Database::Postgresql), Some(Database::Postgresql)));
    app.live("shop1").await;
    mira.get("/instances/shop1").await.has("PostgreSQL, chosen here");
    assert_eq!(mira.get("/instances/shop1/info").await.json()["database"], "postgresql");
    mira.get("/instances/shop1").await;
    mira.post("/instances/shop1/redeploy", &[]).await;
    assert_eq!(chosen().await.1, Some(Database::Postgresql));
    let form = mira.get("/instances/shop1/edit").await;
    form.has("<option value=\"postgresql\" selected>PostgreSQL</option>");
    form.has("Data does not move");
    let version = form.between("name=\"version\" value=\"", "\"");
    let fields =
        [("version", version.as_str()), ("github_url", REPO), ("project_name", "backend"), ("database", "")];
    assert_eq!(mira.post("/instances/shop1/edit", &fields).await.status, StatusCode::SEE_OTHER);
    assert_eq!(chosen().await, (None, None));
    assert_ne!(app.found("shop1").await.instance.version(), version);
}
