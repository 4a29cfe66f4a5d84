//! The page of users, and the links by which they set their passwords.

use std::time::Duration;

use ec_django_deployer::domain::Role;
use reqwest::{Method, StatusCode};

use crate::helpers::{Answer, App, PASSWORD, Person, encode, log_lines, spawn_app};

const NEW: &str = "some other unrelated words";

async fn admin(app: &App, username: &str) -> Person {
    app.person(username, Role::Admin).await
}

/// The path of the link that a page shows.
fn link(app: &App, page: &Answer) -> String {
    page.between("<code id=\"link\">", "</code>").strip_prefix(&app.url).unwrap().to_owned()
}

fn token(path: &str) -> &str {
    path.split_once("token=").unwrap().1
}

/// The row of a person in the table.
fn row(page: &Answer, username: &str) -> String {
    page.between(&format!("<th scope=\"row\" role=\"rowheader\">{username}"), "</tr>")
}

/// Tries to sign in, in a browser of its own.
async fn sign_in(app: &App, username: &str, password: &str) -> (Person, Answer) {
    let mut person = app.visitor();
    person.get("/login").await;
    let answer = person.post("/login", &[("username", username), ("password", password)]).await;
    (person, answer)
}

#[tokio::test]
async fn an_admin_adds_somebody_who_sets_a_password_by_a_link() {
    let app = spawn_app().await;
    let mut mira = admin(&app, "mira").await;
    let page = mira.get("/users").await;
    page.has("<a href=\"/users\" aria-current=\"page\">Users</a>");
    page.has("works once, and for 7 days");
    assert!(!row(&page, "mira").contains("Disable"), "nobody disables themselves by a slip");

    let shown = mira.post("/users", &[("username", "aiko"), ("role", "owner")]).await;
    assert_eq!((shown.status, shown.header("cache-control")), (StatusCode::OK, "no-store"));
    let path = link(&app, &shown);
    assert!(path.starts_with("/password?token=") && token(&path).len() == 48, "{path}");
    let page = mira.get("/users").await;
    assert!(row(&page, "aiko").contains("never") && row(&page, "aiko").contains("link until"));
    page.has_not(token(&path));
    assert_eq!(sign_in(&app, "aiko", "").await.1.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(sign_in(&app, "aiko", PASSWORD).await.1.status, StatusCode::UNPROCESSABLE_ENTITY);

    let mut aiko = app.visitor();
    let page = aiko.get(&path).await;
    page.has("You sign in as <strong>aiko</strong>");
    assert_eq!((page.header("cache-control"), page.header("referrer-policy")), ("no-store", "same-origin"));
    let short = aiko.post("/password", &[("token", token(&path)), ("password", "too short")]).await;
    assert_eq!(short.status, StatusCode::UNPROCESSABLE_ENTITY);
    short.has("This one has 9 characters; 12 are needed.");
    short.has_not("too short");
    let done = aiko.post("/password", &[("token", token(&path)), ("password", NEW)]).await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, "/instances"));
    aiko.get("/instances").await.has("href=\"/account\">aiko</a>");
    assert_eq!(sign_in(&app, "aiko", NEW).await.1.location(), "/instances");
    let page = mira.get("/users").await;
    assert!(row(&page, "aiko").contains("just now") && !row(&page, "aiko").contains("link until"));

    // The link is spent.
    let mut eve = app.visitor();
    let page = eve.get(&path).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    page.has("This password link does not work");
    page.has("href=\"/login\">To the sign-in page</a>");
    eve.get("/login").await;
    let again = eve.post("/password", &[("token", token(&path)), ("password", PASSWORD)]).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    assert_eq!(sign_in(&app, "aiko", NEW).await.1.location(), "/instances", "her password is still hers");
}

#[tokio::test]
async fn a_new_link_ends_the_one_before_and_every_session_once_it_is_used() {
    let app = spawn_app().await;
    let mut mira = admin(&app, "mira").await;
    let mut aiko = app.owner("aiko").await;
    mira.get("/users").await;
    let first = link(&app, &mira.post("/users/aiko/password", &[]).await);
    mira.get("/users").await;
    let second = link(&app, &mira.post("/users/aiko/password", &[]).await);
    assert_ne!(first, second);
    let mut visitor = app.visitor();
    assert_eq!(visitor.get(&first).await.status, StatusCode::NOT_FOUND);
    assert_eq!(aiko.get("/instances").await.status, StatusCode::OK, "nothing has happened to her yet");
    assert_eq!(sign_in(&app, "aiko", PASSWORD).await.1.location(), "/instances");

    let mut events = aiko.events("/events", None).await;
    events.next().await;
    visitor.get(&second).await;
    let done = visitor.post("/password", &[("token", token(&second)), ("password", NEW)]).await;
    assert_eq!(done.location(), "/instances");
    assert_eq!(events.until(|event| event.event == "end").await.data, "signed out");
    assert_eq!(aiko.get("/instances").await.location(), "/login");
    assert_eq!(visitor.get("/instances").await.status, StatusCode::OK);
    assert_eq!(sign_in(&app, "aiko", PASSWORD).await.1.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn who_is_signed_in_can_use_a_link_and_is_then_its_person() {
    let app = spawn_app().await;
    let mut mira = admin(&app, "mira").await;
    mira.get("/users").await;
    let path = link(&app, &mira.post("/users", &[("username", "aiko"), ("role", "owner")]).await);
    let before = mira.cookies["ec-session"].clone();
    mira.get(&path).await.has("You sign in as <strong>aiko</strong>");
    let done = mira.post("/password", &[("token", token(&path)), ("password", NEW)]).await;
    assert_eq!(done.location(), "/instances", "{}", done.body);
    assert_ne!(mira.cookies["ec-session"], before);
    mira.get("/account").await.has("aiko, owner.");
    mira.cookies.insert("ec-session".to_owned(), before);
    assert_eq!(mira.get("/account").await.location(), "/login?next=%2Faccount", "the old one is over");
}

#[tokio::test]
async fn a_link_that_is_none_says_so() {
    let app = spawn_app().await;
    let mut eve = app.visitor();
    let long = format!("/password?token={}", "a".repeat(5000));
    for path in ["/password", "/password?token=", "/password?token=%00", "/password?token=%27--", &long] {
        let page = eve.get(path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        page.has("This password link does not work");
    }
    assert_eq!(eve.get("/password?token=a&token=b").await.status, StatusCode::BAD_REQUEST);
    let answer = eve.post_raw("/password", encode(&[("token", "x"), ("password", NEW)])).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_form_of_a_user_says_what_is_wrong_and_loses_nothing() {
    let app = spawn_app().await;
    let mut mira = admin(&app, "mira").await;
    mira.get("/users").await;
    for name in
        ["", "Aiko", "a", "ai ko", "aiko\u{202e}", "<script>alert(1)</script>", "../mira", "'--", "\0"]
    {
        let answer = mira.post("/users", &[("username", name), ("role", "admin")]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{name:?}");
        answer.has("id=\"username-error\"");
        answer.has("value=\"admin\" checked");
        answer.has_not("<script>alert");
    }
    let answer = mira.post("/users", &[("username", "ai ko"), ("role", "admin")]).await;
    answer.has("value=\"ai ko\"");
    let answer = mira.post("/users", &[("username", "mira"), ("role", "owner")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("Somebody has this name already.");
    let answer = mira.post("/users", &[("username", "aiko"), ("role", "king")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("id=\"role-error\"");
    assert_eq!(app.store.users().await.unwrap().len(), 1);
}

#[tokio::test]
async fn who_is_disabled_is_out_and_their_instances_go_on() {
    let app = spawn_app().await;
    let mut mira = admin(&app, "mira").await;
    let mut aiko = app.owner("aiko").await;
    aiko.deploy("shop1").await;
    app.live("shop1").await;
    mira.get("/users").await;
    let path = link(&app, &mira.post("/users/aiko/password", &[]).await);
    let mut events = aiko.events("/instances/shop1/events", None).await;
    events.next().await;

    mira.get("/users").await;
    assert_eq!(mira.post("/users/aiko/disable", &[]).await.location(), "/users");
    assert_eq!(events.until(|event| event.event == "end").await.data, "signed out");
    assert_eq!(aiko.get("/instances").await.location(), "/login");
    let page = mira.get("/users").await;
    let aikos = row(&page, "aiko");
    assert!(aikos.contains("data-status=\"stopped\">disabled") && aikos.contains("Enable"), "{aikos}");
    assert!(aikos.contains("class=\"num\">1<"), "{aikos}");
    let found = app.found("shop1").await.instance;
    assert_eq!((found.status.name(), found.wanted.name()), ("live", "present"));

    // The same answer as for a wrong password, and no way round it.
    let (_, right) = sign_in(&app, "aiko", PASSWORD).await;
    let (_, unknown) = sign_in(&app, "nobody", PASSWORD).await;
    assert_eq!((right.status, unknown.status), (StatusCode::UNPROCESSABLE_ENTITY, unknown.status));
    let note = |answer: &Answer| answer.between("role=\"alert\">", "</div>");
    assert_eq!(note(&right), note(&unknown));
    assert_eq!(app.visitor().get(&path).await.status, StatusCode::NOT_FOUND);
    let refused = mira.post("/users/aiko/password", &[]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    refused.has("aiko is disabled");

    mira.get("/users").await;
    assert_eq!(mira.post("/users/aiko/enable", &[]).await.location(), "/users");
    assert_eq!(app.visitor().get(&path).await.status, StatusCode::NOT_FOUND, "the link does not come back");
    assert_eq!(aiko.get("/instances").await.location(), "/login", "nor does the session");
    assert_eq!(sign_in(&app, "aiko", PASSWORD).await.1.location(), "/instances");
}

#[tokio::test]
async fn a_session_that_is_there_is_worth_nothing_while_its_person_is_disabled() {
    let app = spawn_app().await;
    admin(&app, "mira").await;
    let mut aiko = app.owner("aiko").await;
    app.store.disable(&"aiko".parse().unwrap()).await.unwrap();
    // As if it had been written just after the others were ended.
    let user = app.store.users().await.unwrap().remove(0);
    let data = format!(r#"{{"user":{},"csrf":"{}","seen":1}}"#, user.id.0, "00".repeat(32));
    use sha2::Digest;
    let id = hex::encode(sha2::Sha256::digest(&aiko.cookies["ec-session"]));
    let later = ec_django_deployer::domain::Timestamp::now().plus_seconds(600);
    assert!(app.store.create_session(&id, Some(user.id), &data, None, later).await.unwrap());
    assert_eq!(aiko.get("/instances").await.location(), "/login");
    app.store.enable(&"aiko".parse().unwrap()).await.unwrap();
    assert_eq!(aiko.get("/instances").await.status, StatusCode::OK, "it was the disabling that kept it out");
}

#[tokio::test]
async fn a_role_is_another_at_once() {
    let app = spawn_app().await;
    let mut mira = admin(&app, "mira").await;
    let mut aiko = admin(&app, "aiko").await;
    app.owner("tomasz").await.deploy("shop1").await;
    let mut events = aiko.events("/events", None).await;
    events.next().await;
    mira.get("/users").await;
    assert_eq!(mira.post("/users/aiko/role", &[("role", "owner")]).await.location(), "/users");
    assert_eq!(events.until(|event| event.event == "end").await.data, "signed out");
    assert_eq!(aiko.get("/users").await.status, StatusCode::NOT_FOUND);
    assert_eq!(aiko.get("/instances/shop1").await.status, StatusCode::NOT_FOUND);
    aiko.get("/instances").await.has_not("href=\"/users\"");
    mira.post("/users/aiko/role", &[("role", "admin")]).await;
    assert_eq!(aiko.get("/users").await.status, StatusCode::OK);
    let answer = mira.post("/users/aiko/role", &[("role", "king")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(app.store.users().await.unwrap()[0].is_admin());
}

#[tokio::test]
async fn an_admin_stays_whatever_is_sent() {
    let app = spawn_app().await;
    let mut mira = admin(&app, "mira").await;
    let mut aiko = admin(&app, "aiko").await;
    mira.get("/users").await;
    for (path, role) in [("/users/mira/disable", ""), ("/users/mira/role", "owner")] {
        let answer = mira.post(path, &[("role", role)]).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{path}");
        answer.has("This is your own account.");
    }
    aiko.get("/users").await;
    let (one, two) =
        tokio::join!(mira.post("/users/aiko/disable", &[]), aiko.post("/users/mira/disable", &[]));
    let left: Vec<_> =
        app.store.users().await.unwrap().into_iter().filter(|user| !user.is_disabled()).collect();
    assert_eq!(left.len(), 1, "{} {}", one.status, two.status);
    let mut left = if left[0].username.as_str() == "mira" { mira } else { aiko };
    left.get("/users").await.has("Enable");
}

#[tokio::test]
async fn for_an_owner_the_page_is_not_there() {
    let app = spawn_app().await;
    let mut mira = admin(&app, "mira").await;
    let mut aiko = app.owner("aiko").await;
    let page = aiko.get("/instances").await;
    page.has_not("href=\"/users\"");
    assert_eq!(aiko.get("/users").await.status, StatusCode::NOT_FOUND);
    aiko.get("/account").await;
    let forms = [
        ("/users", vec![("username", "ruth"), ("role", "admin")]),
        ("/users/aiko/role", vec![("role", "admin")]),
        ("/users/mira/disable", vec![]),
        ("/users/mira/enable", vec![]),
        ("/users/mira/password", vec![]),
    ];
    for (path, fields) in &forms {
        let answer = aiko.post(path, fields).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        answer.has("There is no such page");
    }
    // An admin without the form's token changes nothing either; who is not signed in is sent to do so.
    for (path, fields) in &forms {
        assert_eq!(mira.post_raw(path, encode(fields)).await.status, StatusCode::FORBIDDEN, "{path}");
        let answer = app.visitor().post_raw(path, encode(fields)).await;
        assert_eq!(answer.location(), "/login", "{path}");
    }
    mira.get("/users").await;
    for name in ["ruth", "Mira", "%00", "..%2Fmira", "m%C3%AFra", "mira%20"] {
        for act in ["disable", "enable", "password", "role"] {
            let answer = mira.post(&format!("/users/{name}/{act}"), &[("role", "owner")]).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{name} {act}");
        }
    }
    let users = app.store.users().await.unwrap();
    let seen: Vec<_> =
        users.iter().map(|user| (user.username.as_str(), user.role, user.is_disabled())).collect();
    assert_eq!(seen, [("aiko", Role::Owner, false), ("mira", Role::Admin, false)]);
    assert!(app.store.people().await.unwrap().iter().all(|person| person.link_until.is_none()));
    let request = mira.request(Method::GET, "/users/aiko/disable");
    assert_eq!(mira.send(request).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn whoever_signs_in_while_being_disabled_is_not_in_afterwards() {
    let app = spawn_app().await;
    admin(&app, "mira").await;
    app.owner("aiko").await;
    let name = "aiko".parse().unwrap();
    for wait in [0, 2, 5, 10, 15, 20, 30, 60] {
        let mut aiko = app.visitor();
        aiko.get("/login").await;
        let (_, disabled) =
            tokio::join!(aiko.post("/login", &[("username", "aiko"), ("password", PASSWORD)]), async {
                tokio::time::sleep(Duration::from_millis(wait)).await;
                app.store.disable(&name).await
            });
        assert!(disabled.unwrap());
        app.store.enable(&name).await.unwrap();
        assert_eq!(aiko.get("/instances").await.location(), "/login", "after {wait} ms");
    }
}

#[tokio::test]
async fn the_log_tells_who_did_what_and_no_secret() {
    let lines = log_lines();
    let app = spawn_app().await;
    let mut mira = admin(&app, "mira-logs").await;
    mira.get("/users").await;
    let path = link(&app, &mira.post("/users", &[("username", "aiko-logs"), ("role", "owner")]).await);
    let mut aiko = app.visitor();
    aiko.get(&path).await;
    let password = "words that only this test has";
    aiko.post("/password", &[("token", token(&path)), ("password", password)]).await;
    aiko.get(&path).await;
    mira.get("/users").await;
    mira.post("/users/aiko-logs/role", &[("role", "admin")]).await;
    mira.post("/users/aiko-logs/disable", &[]).await;
    mira.post("/users/aiko-logs/enable", &[]).await;
    let text = lines.text();
    for line in [
        "a user was added user=aiko-logs role=\"owner\" by=mira-logs",
        "a password was set by a link user=aiko-logs",
        "a user has another role user=aiko-logs role=\"admin\" by=mira-logs",
        "a user was disabled user=aiko-logs by=mira-logs",
        "a user was enabled user=aiko-logs by=mira-logs",
        "path=\"/password\"",
    ] {
        assert!(text.contains(line), "{line:?} is not in the log");
    }
    assert!(!text.contains(token(&path)) && !text.contains(password));
}
