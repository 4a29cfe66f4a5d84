//! Whether admins are told that the site is served without TLS.

use ec_django_deployer::domain::Role;
use rstest::rstest;

use crate::helpers::{Options, spawn_app_with};

const TITLE: &str = "This site is served over http";

#[rstest]
#[case(Some("http://203.0.113.7"), true)]
#[case(Some("http://deploy.example.com"), true)]
#[case(Some("http://localhost:8000"), false)]
#[case(Some("http://[::1]:8000"), false)]
#[case(Some("https://deploy.example.com"), false)]
#[case(None, false)]
#[tokio::test]
async fn admins_are_told_where_others_can_listen(
    #[case] public_url: Option<&'static str>,
    #[case] told: bool,
) {
    let app = spawn_app_with(Options { public_url, ..Options::default() }).await;
    let mut admin = app.person("mira", Role::Admin).await;
    let list = admin.get("/instances").await;
    assert_eq!(list.body.contains(TITLE), told, "{}", list.body);
    admin.deploy("bookshop").await;
    assert_eq!(admin.get("/instances").await.body.contains(TITLE), told, "beside instances too");
    app.owner("noor").await.get("/instances").await.has_not(TITLE);
}

#[tokio::test]
async fn they_are_told_what_to_do() {
    let public_url = Some("http://203.0.113.7");
    let app = spawn_app_with(Options { public_url, ..Options::default() }).await;
    app.person("mira", Role::Admin).await.get("/instances").await.has("Set <code>SITE_DOMAIN</code>");
    let site_domain = Some("deploy.<b>example</b>.com");
    let app = spawn_app_with(Options { public_url, site_domain, ..Options::default() }).await;
    let list = app.person("mira", Role::Admin).await.get("/instances").await;
    list.has("no certificate for <code>deploy.&#60;b&#62;example&#60;/b&#62;.com</code> yet");
}
