//! One's own account: the password, and where one is signed in.

use ec_django_deployer::domain::Role;
use reqwest::StatusCode;

use crate::helpers::{App, PASSWORD, Person, encode, spawn_app};

const NEW: &str = "some other unrelated words";

/// One more browser of somebody who has an account.
async fn browser(app: &App, username: &str, password: &str) -> Person {
    let mut person = app.visitor();
    person.get("/login").await;
    let answer = person.post("/login", &[("username", username), ("password", password)]).await;
    assert_eq!(answer.location(), "/instances", "{}", answer.body);
    person
}

async fn change(person: &mut Person, old: &str, new: &str) -> crate::helpers::Answer {
    person.post("/account/password", &[("password", old), ("new_password", new)]).await
}

#[tokio::test]
async fn the_page_says_who_one_is_and_where() {
    let app = spawn_app().await;
    let mut mira = app.person("mira", Role::Admin).await;
    assert_eq!(app.visitor().get("/account").await.location(), "/login?next=%2Faccount");
    mira.deploy("shop1").await;
    let page = mira.get("/account").await;
    page.has("<p>mira, admin. You have 1 instance.</p>");
    page.has("<a href=\"/account\" aria-current=\"page\">mira</a>");
    page.has("Signed in on 1 browser<");
    page.has_not("Sign out the other");
    let mut laptop = browser(&app, "mira", PASSWORD).await;
    let page = laptop.get("/account").await;
    page.has("Signed in on 2 browsers");
    page.has("This one, and one last seen <time");
    page.has("Sign out the other one<");
    for _ in 0..6 {
        browser(&app, "mira", PASSWORD).await;
    }
    let page = laptop.get("/account").await;
    page.has("Signed in on 8 browsers");
    page.has("This one, and 7 others, last seen <time");
    page.has(" and 2 before that.");
    page.has("Sign out the other ones<");
}

#[tokio::test]
async fn another_password_keeps_this_browser_and_signs_out_the_others() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let mut laptop = browser(&app, "mira", PASSWORD).await;
    let mut aiko = app.owner("aiko").await;
    let mut events = laptop.events("/events", None).await;
    events.next().await;
    mira.get("/account").await;
    let before = mira.cookies["ec-session"].clone();
    let done = change(&mut mira, PASSWORD, NEW).await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, "/account?done=password"));
    assert_ne!(mira.cookies["ec-session"], before, "the session has another id");
    let page = mira.get("/account?done=password").await;
    page.has("Your password was changed.");
    page.has("Signed in on 1 browser<");
    assert_eq!(events.until(|event| event.event == "end").await.data, "signed out");
    assert_eq!(laptop.get("/instances").await.location(), "/login");
    let mut old = mira.clone();
    old.cookies.insert("ec-session".to_owned(), before);
    assert_eq!(old.get("/instances").await.location(), "/login", "the old id is worth nothing");
    assert_eq!(aiko.get("/instances").await.status, StatusCode::OK);
    browser(&app, "mira", NEW).await;
    let mut eve = app.visitor();
    eve.get("/login").await;
    let answer = eve.post("/login", &[("username", "mira"), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it_only() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.get("/account").await;
    let answer = change(&mut mira, "not my password", "too short").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("This is not your password.");
    answer.has("This one has 9 characters; 12 are needed.");
    answer.has_not("not my password");
    answer.has_not("too short");
    let answer = change(&mut mira, PASSWORD, "").await;
    answer.has("This one has 0 characters; 12 are needed.");
    answer.has_not("This is not your password.");
    assert_eq!(change(&mut mira, PASSWORD, &"x".repeat(1001)).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    for _ in 0..4 {
        let answer = change(&mut mira, "a guess at it", NEW).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let answer = change(&mut mira, PASSWORD, NEW).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert!((1..=10).contains(&answer.header("retry-after").parse::<u64>().unwrap()));
    answer.has("Too many failed tries.");
    let fields = encode(&[("password", PASSWORD), ("new_password", NEW)]);
    assert_eq!(mira.post_raw("/account/password", fields).await.status, StatusCode::FORBIDDEN);
    assert!(app.store.user_to_sign_in("mira").await.unwrap().is_some());
    assert_eq!(mira.get("/account").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_other_browsers_are_signed_out_or_all() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let mut laptop = browser(&app, "mira", PASSWORD).await;
    let mut aiko = app.owner("aiko").await;
    let (mut here, mut there) = (mira.events("/events", None).await, laptop.events("/events", None).await);
    here.next().await;
    there.next().await;
    for path in ["/account/sessions/others", "/account/sessions/all"] {
        assert_eq!(mira.post_raw(path, "").await.status, StatusCode::FORBIDDEN, "{path}");
    }
    mira.get("/account").await;
    let done = mira.post("/account/sessions/others", &[]).await;
    assert_eq!(done.location(), "/account?done=sessions");
    assert_eq!(there.until(|event| event.event == "end").await.data, "signed out");
    assert_eq!(laptop.get("/instances").await.location(), "/login");
    mira.get("/account?done=sessions").await.has("Other browsers are signed out.");
    assert!(here.is_quiet().await, "this browser goes on");

    let mut phone = browser(&app, "mira", PASSWORD).await;
    mira.get("/account").await;
    let kept = mira.cookies.clone();
    assert_eq!(mira.post("/account/sessions/all", &[]).await.location(), "/login");
    assert!(!mira.cookies.contains_key("ec-session"));
    mira.cookies = kept;
    assert_eq!(here.until(|event| event.event == "end").await.data, "signed out");
    assert_eq!(mira.get("/instances").await.location(), "/login");
    assert_eq!(phone.get("/instances").await.location(), "/login");
    assert_eq!(aiko.get("/instances").await.status, StatusCode::OK, "nobody else notices");
}

#[tokio::test]
async fn signing_in_over_a_session_gives_its_id_up() {
    let app = spawn_app().await;
    app.owner("aiko").await;
    // Somebody has put a session of their own into another's browser, who signs in there.
    let mut planted = app.owner("eve").await;
    planted.get("/instances").await;
    let eves = planted.clone();
    let answer = planted.post("/login", &[("username", "aiko"), ("password", PASSWORD)]).await;
    assert_eq!(answer.location(), "/instances");
    planted.get("/account").await.has("aiko, owner.");
    assert_ne!(planted.cookies["ec-session"], eves.cookies["ec-session"]);
    let mut eve = eves;
    assert_eq!(eve.get("/account").await.location(), "/login?next=%2Faccount", "it ended with the sign-in");
}
