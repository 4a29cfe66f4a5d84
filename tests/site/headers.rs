//! What every answer carries, and the pages of errors.

use reqwest::{Method, StatusCode};

use crate::helpers::spawn_app;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    for path in [
        "/instances",
        "/login",
        "/nosuch",
        "/static/site.css",
        "/healthz",
        "/instances/shop1/info",
        "/instances/shop1/log",
    ] {
        let answer = mira.get(path).await;
        assert_eq!(answer.header("content-security-policy"), POLICY, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "same-origin");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        assert!(answer.header("permissions-policy").contains("camera=()"));
        assert_eq!(answer.header("x-request-id").len(), 14);
        assert_eq!(answer.header("strict-transport-security"), "");
        let caching = if path.starts_with("/static") { "public, no-cache" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), caching, "{path}");
    }
    let request = mira.request(Method::GET, "/healthz").header("x-request-id", "forged");
    assert_ne!(mira.send(request).await.header("x-request-id"), "forged");
}

#[tokio::test]
async fn pages_have_nothing_inline_and_links_to_files_are_for_good() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    for path in ["/instances", "/instances/new", "/instances/shop1", "/instances/shop1/terminate", "/nosuch"]
    {
        let page = mira.get(path).await;
        for inline in [" style=", "<style", " onclick", " onload", "javascript:"] {
            page.has_not(inline);
        }
        let script = page.between("<script src=\"", "\"");
        let file = mira.get(&script).await;
        assert_eq!(file.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(file.header("content-type"), "text/javascript; charset=utf-8");
    }
    let request = mira.request(Method::GET, "/static/site.css").header("accept-encoding", "gzip");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let etag = mira.get("/static/site.css").await.header("etag").to_owned();
    let request = mira.request(Method::GET, "/static/site.css").header("if-none-match", etag);
    assert_eq!(mira.send(request).await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(mira.get("/static/../Cargo.toml").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn errors_are_pages_with_a_way_back() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let page = mira.get("/nosuch").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (StatusCode::NOT_FOUND, "text/html; charset=utf-8")
    );
    insta::assert_snapshot!(page.between("<div class=\"lost\">", "</div>"), @r#"<p class="code">404</p> <h1>There is no such page</h1> <p class="quiet">The address may be mistyped, or the instance it names is not one of yours.</p> <a class="btn" href="/instances">Back to your instances</a>"#);
    page.has("Sign out");
    let page = mira.get("/logout").await;
    assert_eq!((page.status, page.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
    page.has("This address does not take that");
    let page = app.visitor().get("/nosuch").await;
    page.has("href=\"/login\">To the sign-in page</a>");
    page.has_not("Sign out");
    let health = app.visitor().get("/healthz").await.json();
    assert_eq!((health["status"].as_str(), health["database"].as_str()), (Some("ok"), Some("ok")));
}

#[tokio::test]
async fn our_own_faults_are_a_page_with_the_number_of_the_request() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    // A look at a repository panics.
    *app.tip.lock().unwrap() = "no commit".to_owned();
    let fields = [("github_url", crate::helpers::REPO), ("project_name", "backend")];
    let page = mira.post("/instances/new", &fields).await;
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
    page.has("Your instances go on running.");
    page.has("Sign out");
    page.has_not("no commit");

    app.store.close().await;
    let page = mira.get("/instances").await;
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
    page.has("Something went wrong on our side");
    let id = page.header("x-request-id").to_owned();
    page.has(&format!("<code>{id}</code>"));
    page.has_not("pool");
    let health = mira.get("/healthz").await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(health.json()["database"], "does not answer");
}
