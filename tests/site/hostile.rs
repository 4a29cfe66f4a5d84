//! Whatever is sent, the site answers with a sentence and never with a fault of its own.

use reqwest::{Method, StatusCode};

use crate::helpers::{encode, spawn_app};

const NASTY: [&str; 12] = [
    "",
    " ",
    "\0",
    "'; DROP TABLE instances; --",
    "<script>alert(1)</script>",
    "../../../etc/passwd",
    "%00%0d%0a",
    "\r\nSet-Cookie: a=b",
    "\u{202e}\u{feff}\u{1f980}",
    "{{7*7}}{% raw %}",
    "$(reboot)`reboot`",
    "https://user:pass@github.com/a/b?x=1#y",
];

#[tokio::test]
async fn no_field_of_the_form_makes_a_fault() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    for field in ["github_url", "project_name", "name", "branch", "description", "replace"] {
        let long = "ä".repeat(10_000);
        for nasty in NASTY.into_iter().chain([long.as_str()]) {
            let mut fields =
                vec![("github_url", crate::helpers::REPO), ("project_name", "backend"), ("name", "shop1")];
            fields.retain(|(name, _)| *name != field);
            fields.push((field, nasty));
            let answer = mira.post("/instances/new", &fields).await;
            let status = answer.status.as_u16();
            assert!(matches!(status, 303 | 422), "{field} {nasty:?}: {status}");
            answer.has_not("<script>alert");
            assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 0);
        }
    }
}

#[tokio::test]
async fn a_form_that_is_none_is_refused() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let token = mira.token.clone().unwrap();
    let twice = encode(&[("csrf_token", &token), ("name", "a1"), ("name", "b2")]);
    assert_eq!(mira.post_raw("/instances/new", twice).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    for body in ["", "&&&=", "csrf_token", "%", "csrf_token=%ff%fe"] {
        assert_eq!(mira.post_raw("/instances/new", body).await.status, StatusCode::FORBIDDEN, "{body:?}");
    }
    let large = encode(&[("csrf_token", &token), ("description", &"x".repeat(70_000))]);
    let answer = mira.post_raw("/instances/new", large).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    answer.has("larger than any form");
    for kind in ["application/json", "multipart/form-data; boundary=x", "text/plain"] {
        let request = mira.request(Method::POST, "/instances/new").header("content-type", kind);
        let answer = mira.send(request.body("{}")).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        answer.has("not a form of this site");
    }
    assert!(app.store.instances(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn no_path_query_or_cookie_makes_a_fault() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    for path in [
        "/instances/%00",
        "/instances/..%2f..",
        "/instances/%ff%fe",
        "/instances/SHOP1",
        "/instances/new/info",
        "/instances/shop1/nosuch",
        "/instances/shop1/deployments/x",
        "/instances/shop1/deployments/99999999999999999999",
        "/instances/shop1/deployments/-1",
        "/instances/shop1/log?deployment=%00",
        "/instances/shop1/deployments/%ff",
        "/instances/shop1/deployments?before=%00",
        "/instances/shop1/events?from=x",
        "/instances/shop1/events?kind=x&number=x",
        "/static/%2e%2e%2fsite.db",
        "/static/",
        "/login?next=%00",
        "/setup?token[]=x",
        "//example.com//",
        "/instances/new?sample=<script>",
        "/instances/%27/edit",
    ] {
        let request = mira.client.request(Method::GET, format!("{}{path}", app.url));
        let cookies: Vec<_> = mira.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let status = request.header("cookie", cookies.join("; ")).send().await.unwrap().status().as_u16();
        assert!(status < 500, "{path}: {status}");
    }
    for cookie in [
        "ec-session=",
        "ec-session=x",
        "ec-session=AAAAAAAAAAAAAAAAAAAAAA",
        "=;;;",
        "ec-door=zz; ec-session=\u{7f}",
    ] {
        let request = mira.client.get(format!("{}/instances", app.url));
        let Ok(value) = reqwest::header::HeaderValue::from_bytes(cookie.as_bytes()) else { continue };
        let status = request.header("cookie", value).send().await.unwrap().status();
        assert_eq!(status, StatusCode::SEE_OTHER, "{cookie}");
    }
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS, Method::HEAD] {
        for path in ["/login", "/instances", "/instances/shop1", "/nosuch", "/static/site.js"] {
            let status = mira.request(method.clone(), path).send().await.unwrap().status().as_u16();
            assert!(status < 500, "{method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn what_a_project_and_its_people_write_is_text_everywhere() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let bad = "<img src=x onerror=alert(1)>";
    let fields = [
        ("github_url", crate::helpers::REPO),
        ("project_name", "backend"),
        ("name", "shop1"),
        ("description", bad),
    ];
    assert_eq!(mira.post("/instances/new", &fields).await.location(), "/instances/shop1");
    let deployment = app.deploying("shop1").await;
    app.log(deployment, &format!("{bad}\n::ec step {bad} start\n::ec saw {bad}\n::ec step migrate start\nModuleNotFoundError: No module named 'x'{bad}\nKeyError: '{bad}'\n")).await;
    let (row, _) = app.ids("shop1").await;
    for path in ["/instances", "/instances/shop1", "/instances/shop1/edit"] {
        mira.get(path).await.has_not("<img");
    }
    let step = Some(ec_django_deployer::domain::Step::Migrate);
    let failure = ec_django_deployer::domain::Failure { step, message: bad.to_owned() };
    app.store.deployment_failed(row, &failure, None).await.unwrap();
    app.store.set_notice(row, Some(bad)).await.unwrap();
    let page = mira.get("/instances/shop1").await;
    page.has_not("<img");
    page.has("&lt;img");
    let mut events = mira.events("/instances/shop1/events", None).await;
    assert!(!events.next().await.unwrap().data.contains("<img"));
    mira.get("/instances/shop1/deployments/1").await.has_not("<img");
}
