//! Signing in and out, the set-up link, and who may see what before.

use ec_django_deployer::domain::Role;
use reqwest::StatusCode;

use crate::helpers::{Options, PASSWORD, spawn_app, spawn_app_with};

fn set_up(link: &str, url: &str) -> String {
    link.strip_prefix(url).unwrap().to_owned()
}

#[tokio::test]
async fn the_set_up_link_creates_the_first_admin_once() {
    let app = spawn_app().await;
    let path = set_up(&app.site.setup_link(), &app.url);
    let mut mira = app.visitor();
    mira.get("/login").await.has("The site printed a link");
    mira.get(&path).await.has("Create the first admin");

    let bad = mira.post(&path, &[("username", "Mira!"), ("password", "too short")]).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    bad.has("value=\"Mira!\"");
    bad.has("This one has 9 characters; 12 are needed.");
    bad.has_not("too short");

    let done = mira.post(&path, &[("username", "mira"), ("password", PASSWORD)]).await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, "/instances"));
    mira.get("/instances").await.has("mira");
    assert_eq!(app.store.users().await.unwrap()[0].role, Role::Admin);

    let mut other = app.visitor();
    assert_eq!(other.get(&path).await.status, StatusCode::GONE);
    other.get("/login").await;
    let again = other.post(&path, &[("username", "eve"), ("password", PASSWORD)]).await;
    assert_eq!(again.status, StatusCode::GONE);
    assert_eq!(app.store.users().await.unwrap().len(), 1);
}

#[tokio::test]
async fn two_at_once_with_the_set_up_link_make_one_admin() {
    let app = spawn_app().await;
    let path = set_up(&app.site.setup_link(), &app.url);
    let (mut one, mut two) = (app.visitor(), app.visitor());
    one.get(&path).await;
    two.get(&path).await;
    let (first, second) = tokio::join!(
        one.post(&path, &[("username", "mira"), ("password", PASSWORD)]),
        two.post(&path, &[("username", "eve"), ("password", PASSWORD)])
    );
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 410]);
    assert_eq!(app.store.users().await.unwrap().len(), 1);
}

#[tokio::test]
async fn another_starts_set_up_link_or_none_does_not_work() {
    let app = spawn_app().await;
    let mut eve = app.visitor();
    for path in ["/setup", "/setup?token=", "/setup?token=0000", "/setup?token=%00", "/setup?token=a&token=b"]
    {
        let answer = eve.get(path).await;
        assert!(answer.status.is_client_error(), "{path}: {}", answer.status);
        answer.has_not("name=\"password\"");
    }
    let other = spawn_app().await;
    let path = set_up(&other.site.setup_link(), &other.url);
    assert_eq!(eve.get(&path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_get_the_same_answer() {
    let app = spawn_app().await;
    app.owner("mira").await;
    let mut eve = app.visitor();
    eve.get("/login").await;
    let wrong = eve.post("/login", &[("username", "mira"), ("password", "not the password")]).await;
    let unknown = eve.post("/login", &[("username", "aiko"), ("password", "not the password")]).await;
    assert_eq!(
        (wrong.status, unknown.status),
        (StatusCode::UNPROCESSABLE_ENTITY, StatusCode::UNPROCESSABLE_ENTITY)
    );
    let without_token = |body: &str| {
        let (before, rest) = body.split_once("name=\"csrf_token\" value=\"").unwrap();
        format!("{before}{}", rest.split_once('"').unwrap().1)
    };
    assert_eq!(without_token(&wrong.body).replace("mira", "aiko"), without_token(&unknown.body));
    wrong.has("This username and password do not belong together.");
    wrong.has_not("not the password");
    assert_eq!(eve.get("/instances").await.location(), "/login");
}

#[tokio::test]
async fn signing_in_renews_the_session_and_signing_out_ends_it() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let first = mira.cookies.clone();
    mira.cookies.remove("ec-door");
    mira.get("/instances/new").await;

    // The same browser signs in once more: the session it had before is not the one it gets.
    let mut again = app.visitor();
    again.cookies = first.clone();
    again.cookies.remove("ec-session");
    again.get("/login").await;
    again.cookies.insert("ec-session".to_owned(), "AAAAAAAAAAAAAAAAAAAAAA".to_owned());
    again.post("/login", &[("username", "mira"), ("password", PASSWORD)]).await;
    assert_ne!(again.cookies["ec-session"], "AAAAAAAAAAAAAAAAAAAAAA");
    assert_ne!(again.cookies["ec-session"], first["ec-session"]);

    let kept = mira.cookies.clone();
    let out = mira.post("/logout", &[]).await;
    assert_eq!((out.status, out.location()), (StatusCode::SEE_OTHER, "/login"));
    assert!(!mira.cookies.contains_key("ec-session"));
    mira.cookies = kept;
    assert_eq!(mira.get("/instances").await.location(), "/login", "the old cookie is worth nothing");
    assert_eq!(again.get("/instances").await.status, StatusCode::OK, "the other session goes on");
}

#[tokio::test]
async fn a_visit_costs_no_row_and_the_cookies_are_careful() {
    let app = spawn_app().await;
    let mut eve = app.visitor();
    let answer = eve.get("/login").await;
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("ec-door=") && cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"));
    assert!(!eve.cookies.contains_key("ec-session"));

    let app = spawn_app_with(Options { secure: true, ..Options::default() }).await;
    let mut mira = app.owner("mira").await;
    assert!(mira.cookies.contains_key("__Host-ec-session") && mira.cookies.contains_key("__Host-ec-door"));
    let answer = mira.get("/instances").await;
    assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
    let mut other = app.visitor();
    other.get("/login").await;
    let answer = other.post("/login", &[("username", "mira"), ("password", PASSWORD)]).await;
    let cookie = answer.header("set-cookie");
    for part in ["__Host-ec-session=", "HttpOnly", "SameSite=Lax", "Secure", "Path=/", "Max-Age=1209600"] {
        assert!(cookie.contains(part), "{part} is not in {cookie}");
    }
}

#[tokio::test]
async fn failed_sign_ins_are_slowed_and_right_ones_are_not() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.get("/instances").await;
    for _ in 0..6 {
        let mut again = app.visitor();
        again.get("/login").await;
        let answer = again.post("/login", &[("username", "mira"), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
    }
    let mut eve = app.visitor();
    eve.get("/login").await;
    for _ in 0..5 {
        let answer = eve.post("/login", &[("username", "mira"), ("password", "a guess at it")]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let answer = eve.post("/login", &[("username", "mira"), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    answer.has("Too many failed tries.");
    answer.has("value=\"mira\"");
    assert_eq!(mira.get("/instances").await.status, StatusCode::OK, "who is signed in notices nothing");
}

#[tokio::test]
async fn addresses_are_told_apart_behind_a_trusted_proxy_only() {
    let proxies = vec!["127.0.0.1".parse().unwrap()];
    let app = spawn_app_with(Options { trusted_proxies: proxies, ..Options::default() }).await;
    let mut eve = app.visitor();
    eve.get("/login").await;
    let token = eve.token.clone().unwrap();
    for i in 0..12 {
        let name = format!("user{i}");
        let body = crate::helpers::encode(&[
            ("csrf_token", &token),
            ("username", &name),
            ("password", "guess guess"),
        ]);
        let request = eve.request(reqwest::Method::POST, "/login");
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        let request = request.header("x-forwarded-for", format!("198.51.100.{}", i % 3));
        assert_eq!(eve.send(request).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{i}");
    }
}

#[tokio::test]
async fn who_is_not_signed_in_is_sent_to_and_comes_back() {
    let app = spawn_app().await;
    app.owner("mira").await;
    let mut visitor = app.visitor();
    let answer = visitor.get("/instances/new?sample=guestbook").await;
    let login = answer.location().to_owned();
    assert_eq!(login, "/login?next=%2Finstances%2Fnew%3Fsample%3Dguestbook");
    visitor.get(&login).await.has("action=\"/login?next=");
    let answer = visitor.post(&login, &[("username", "mira"), ("password", PASSWORD)]).await;
    assert_eq!(answer.location(), "/instances/new?sample=guestbook");
    assert_eq!(visitor.get("/login?next=/instances/x").await.location(), "/instances/x");

    let mut eve = app.visitor();
    eve.get("/login?next=//example.com").await.has("action=\"/login\"");
    let answer =
        eve.post("/login?next=https://example.com", &[("username", "mira"), ("password", PASSWORD)]).await;
    assert_eq!(answer.location(), "/instances");
    assert_eq!(app.visitor().get("/").await.location(), "/instances");
}

#[tokio::test]
async fn a_form_without_its_token_changes_nothing() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let mut aiko = app.owner("aiko").await;
    mira.deploy("shop1").await;
    let (mine, hers) = (mira.token.clone().unwrap(), aiko.token.clone().unwrap());
    for token in ["", "x", &hers, &mine[1..]] {
        let body = crate::helpers::encode(&[("csrf_token", token), ("confirm", "shop1")]);
        let answer = mira.post_raw("/instances/shop1/terminate", body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        answer.has("This form is too old");
        answer.has("Back to your instances");
    }
    assert_eq!(mira.post_raw("/logout", "").await.status, StatusCode::FORBIDDEN);
    let mut eve = app.visitor();
    eve.get("/login").await;
    eve.cookies.clear();
    let answer = eve.post("/login", &[("username", "mira"), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "a token without its cookie is none");
    let found = app.found("shop1").await;
    assert_eq!(found.instance.wanted.name(), "present");
    // A browser says that a form was sent from another site.
    let body = crate::helpers::encode(&[("csrf_token", &mine), ("confirm", "shop1")]);
    let request = mira.request(reqwest::Method::POST, "/instances/shop1/terminate").body(body);
    let request = request
        .header("content-type", "application/x-www-form-urlencoded")
        .header("sec-fetch-site", "cross-site");
    assert_eq!(mira.send(request).await.status, StatusCode::FORBIDDEN);
    aiko.get("/instances").await;
}

#[tokio::test]
async fn another_password_ends_every_session() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    app.store.set_password(&"mira".parse().unwrap(), "$argon2id$x").await.unwrap();
    assert_eq!(mira.get("/instances").await.location(), "/login");
}
