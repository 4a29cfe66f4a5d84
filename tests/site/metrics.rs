//! The counts that Prometheus reads, as a strict reader of its text format takes them.

use std::collections::BTreeMap;

use ec_django_deployer::domain::Readiness;
use reqwest::{Method, StatusCode};

use crate::helpers::{App, spawn_app};

/// The values by name and labels, as they stand in the text.
struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Reads a text, and fails where a family has not one HELP and one TYPE in front of its samples, or a sample comes
    /// twice.
    fn read(text: &str) -> Self {
        let (mut help, mut types) = (BTreeMap::new(), BTreeMap::new());
        let mut samples = BTreeMap::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, words) = rest.split_once(' ').unwrap();
                assert!(words.ends_with('.') && help.insert(name, words).is_none(), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(help.contains_key(name) && types.insert(name, kind).is_none(), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            } else {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                let name = sample.split('{').next().unwrap();
                let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
                    name.strip_suffix(end).filter(|family| types.get(family) == Some(&"histogram"))
                });
                assert!(types.contains_key(family.unwrap_or(name)), "{line} belongs to no family");
                let value = value.parse().unwrap_or_else(|_| panic!("{line} has no value"));
                assert!(samples.insert(sample.to_owned(), value).is_none(), "{line} comes twice");
            }
        }
        assert!(!samples.is_empty());
        Self(samples)
    }

    async fn of(app: &App) -> Self {
        let answer = reqwest::get(format!("{}/metrics", app.metrics)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        Self::read(&answer.text().await.unwrap())
    }

    #[track_caller]
    fn get(&self, sample: &str) -> f64 {
        *self.0.get(sample).unwrap_or_else(|| panic!("{sample} is not in {:#?}", self.0.keys()))
    }
}

#[tokio::test]
async fn what_happened_is_counted() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.get("/instances/new").await;
    mira.deploy("shop").await;
    mira.get("/instances/shop").await;
    mira.get("/instances/shop?secret=1").await;
    mira.get("/instances/another").await;
    mira.get("/no/such/page/17").await;
    let stream = mira.events("/instances/shop/events", None).await;

    let scrape = Scrape::of(&app).await;
    let requests = |labels: &str| scrape.get(&format!("ec_deployer_http_requests_total{{{labels}}}"));
    assert_eq!(requests(r#"method="GET",route="/instances/{name}",status="200""#), 2.0);
    assert_eq!(requests(r#"method="GET",route="/instances/{name}",status="404""#), 1.0);
    assert_eq!(requests(r#"method="POST",route="/instances/new",status="303""#), 1.0);
    assert_eq!(requests(r#"method="GET",route="none",status="404""#), 1.0);
    let seconds = r#"method="GET",route="/instances/{name}""#;
    let count = format!("ec_deployer_http_request_duration_seconds_count{{{seconds}}}");
    assert_eq!(scrape.get(&count), 3.0);
    let all = format!("ec_deployer_http_request_duration_seconds_bucket{{{seconds},le=\"+Inf\"}}");
    assert_eq!(scrape.get(&all), 3.0);
    assert_eq!(scrape.get("ec_deployer_event_streams"), 1.0);
    assert_eq!(scrape.get(r#"ec_deployer_instances{status="requested"}"#), 1.0);
    assert_eq!(scrape.get(r#"ec_deployer_instances{status="live"}"#), 0.0);
    assert_eq!(scrape.get(r#"ec_deployer_deployments_open{state="queued"}"#), 1.0);
    assert_eq!(scrape.get("ec_deployer_cloud_ready"), 1.0);
    let version = ec_django_deployer::VERSION;
    assert_eq!(scrape.get(&format!(r#"ec_deployer_build_info{{version="{version}"}}"#)), 1.0);
    for (sample, least) in [
        ("ec_deployer_database_bytes", 50_000.0),
        ("process_resident_memory_bytes", 1_000_000.0),
        ("process_open_fds", 5.0),
        ("process_max_fds", 100.0),
        ("process_cpu_seconds_total", 0.01),
        ("process_start_time_seconds", 1.7e9),
        (r#"ec_deployer_database_connections{state="open"}"#, 2.0),
    ] {
        assert!(scrape.get(sample) >= least, "{sample} is {}", scrape.get(sample));
    }

    drop(stream);
    app.live("shop").await;
    app.store.set_readiness(Readiness::NotReady("Local machines need root.".to_owned()));
    let cpu = scrape.get("process_cpu_seconds_total");
    let scrape = Scrape::of(&app).await;
    assert_eq!(scrape.get(r#"ec_deployer_instances{status="live"}"#), 1.0);
    assert_eq!(scrape.get(r#"ec_deployer_instances{status="requested"}"#), 0.0);
    assert_eq!(scrape.get(r#"ec_deployer_images{state="good"}"#), 1.0);
    assert_eq!(scrape.get(r#"ec_deployer_deployments_open{state="queued"}"#), 0.0);
    assert_eq!(scrape.get("ec_deployer_cloud_ready"), 0.0);
    assert!(scrape.get("process_cpu_seconds_total") >= cpu, "a counter never goes back");
    // No address that somebody typed is a label.
    assert!(
        scrape.0.keys().all(|sample| !sample.contains("shop") && !sample.contains("17")),
        "{:?}",
        scrape.0
    );
}

#[tokio::test]
async fn machines_requests_are_counted_by_their_pattern() {
    let app = spawn_app().await;
    let client = reqwest::Client::new();
    for id in 1..4 {
        let answer = client.patch(format!("{}/deployments/{id}/log", app.callback)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    let sample =
        r#"ec_deployer_http_requests_total{method="PATCH",route="/deployments/{id}/log",status="401"}"#;
    assert_eq!(Scrape::of(&app).await.get(sample), 3.0);
}

#[tokio::test]
async fn the_metrics_are_on_their_own_listener_and_nothing_else_is() {
    let app = spawn_app().await;
    for base in [&app.url, &app.callback] {
        let answer = reqwest::get(format!("{base}/metrics")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{base}");
    }
    for path in ["/", "/healthz", "/login", "/instances", "/deployments/1/log"] {
        let answer = reqwest::get(format!("{}{path}", app.metrics)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let client = reqwest::Client::new();
    let answer = client.request(Method::POST, format!("{}/metrics", app.metrics)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
}
