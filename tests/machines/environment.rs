//! The owner's variables and the first admin, on a real machine.

use std::time::Duration;

use reqwest::StatusCode;

use crate::{
    person::{Person, hidden},
    repository::Repository,
    site::Site,
};

const TOKEN: &str = "tok_7hQx-2vN9'pL \"4\" $m";

/// A project that prints its secret, as careless ones do, and shows what it was greeted with.
const SETTINGS: &str = "
import os
GREETING = os.environ['GREETING']
TOKEN = os.environ['SHOP_TOKEN']
print('the settings have', TOKEN, flush=True)
";
const URLS: &str = "
import hashlib
from django.conf import settings
from django.contrib import admin
from django.http import HttpResponse
from django.urls import path

def home(request):
    return HttpResponse(settings.GREETING + ' ' + hashlib.sha256(settings.TOKEN.encode()).hexdigest())

urlpatterns = [path('', home), path('admin/', admin.site.urls)]
";

#[tokio::test(flavor = "multi_thread")]
async fn variables_reach_the_project_alone_and_its_first_admin_signs_in() {
    use sha2::{Digest, Sha256};

    let (site, mira) = Site::start("environment").await;
    let repository = Repository::of(&site, "careless", "tests/machines/projects/plain");
    let settings = repository.read("mysite/mysite/settings.py") + SETTINGS;
    repository.commit(
        "Read the environment",
        &[("mysite/mysite/settings.py", settings.as_bytes()), ("mysite/mysite/urls.py", URLS.as_bytes())],
    );
    let fields = [
        ("github_url", repository.url.as_str()),
        ("project_name", "mysite"),
        ("name", "shop"),
        ("env.SHOP_TOKEN", TOKEN),
        ("env.GREETING", "hello"),
        ("first_admin", "mira"),
    ];
    let answer = mira.post("/instances/new", &fields).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    let id = mira.until("shop", "live", 240).await["instance_id"].as_str().unwrap().to_owned();
    let address = mira.address("shop").await;
    let visitor = Person::new(&address);
    let digest = hex::encode(Sha256::digest(TOKEN));
    assert_eq!(visitor.get("/").await.text, format!("hello {digest}"));

    // It is in the project's environment and in no other place but what the project itself prints.
    let log = mira.get("/instances/shop/log").await.text;
    assert!(log.contains(&format!("the settings have {}\n", "*".repeat(TOKEN.len()))), "{log}");
    assert!(log.contains("Variables of the owner: GREETING, SHOP_TOKEN"), "{log}");
    for path in ["", "/info", "/log", "/environment", "/edit", "/deployments/1"] {
        let page = mira.get(&format!("/instances/shop{path}")).await.text;
        assert!(!page.contains("7hQx") && !page.contains(&digest), "{path}:\n{page}");
    }
    let places = "grep -rlF 7hQx /etc /opt /var/lib/cloud /var/lib/ec-deployer /srv/app/releases/*/{values,app.env}; true";
    assert_eq!(site.exec(&id, &["bash", "-c", places]).await.trim(), "/srv/app/releases/1/app.env");
    let mode = site.exec(&id, &["stat", "-c", "%a %U %G", "/srv/app/releases/1/app.env"]).await;
    assert_eq!(mode.trim(), "640 root app");
    let database = std::fs::read(site.state_dir.join("deployer.db")).unwrap();
    assert!(!database.windows(4).any(|part| part == b"7hQx"));

    // The admin's password is shown once, and opens the project's admin.
    let shown = mira.post_from("/instances/shop", "/instances/shop/admin/password", &[]).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text);
    let password = shown.text.split("The password is <code>").nth(1).unwrap().split('<').next().unwrap();
    assert!(!log.contains(password) && log.contains("Made the superuser mira."), "{log}");
    let form = visitor.get("/admin/login/").await;
    let token = hidden(&form.text, "csrfmiddlewaretoken").unwrap();
    let fields = [
        ("csrfmiddlewaretoken", token.as_str()),
        ("username", "mira"),
        ("password", password),
        ("next", "/admin/"),
    ];
    let signed_in = visitor.post_to(&format!("{address}/admin/login/"), &fields).await;
    assert_eq!((signed_in.status, signed_in.location.as_deref()), (StatusCode::FOUND, Some("/admin/")));
    assert!(visitor.get("/admin/").await.text.contains("Site administration"));
    let again = mira.post_from("/instances/shop", "/instances/shop/admin/password", &[]).await;
    assert_eq!(again.status, StatusCode::CONFLICT);

    // What the project logs is masked, too.
    for _ in 0..300 {
        let page = mira.get("/instances/shop/logs").await.text;
        assert!(!page.contains("7hQx"), "{page}");
        if page.contains("the settings have ****") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(mira.get("/instances/shop/logs.txt").await.text.contains("the settings have ****"));

    // A change waits until it is deployed, and so does another admin, of a name that is taken.
    let page = "/instances/shop/environment";
    let set = mira.post(page, &[("variable", "GREETING"), ("value", "goodbye")]).await;
    assert_eq!(set.status, StatusCode::SEE_OTHER, "{}", set.text);
    mira.post_from(page, "/instances/shop/admin", &[("username", "mira")]).await;
    assert!(mira.get(page).await.text.contains("1 change waits for the next deployment"));
    assert_eq!(visitor.get("/").await.text, format!("hello {digest}"));
    mira.redeploy("shop").await;
    mira.wait("shop", 120, |info| {
        info["status"] == "live" && info["step"].is_null() && info["progress"] == 1.0
    })
    .await;
    for _ in 0..100 {
        if visitor.get("/").await.text.starts_with("goodbye") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(visitor.get("/").await.text, format!("goodbye {digest}"));
    mira.until("shop", "live", 60).await;
    assert!(!mira.get(page).await.text.contains("waits for the next deployment"));
    let overview = mira.get("/instances/shop").await.text;
    assert!(overview.contains("who was left alone"), "{overview}");
    assert!(visitor.get("/admin/").await.text.contains("Site administration"), "the admin is who it was");
}
