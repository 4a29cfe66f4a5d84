//! What those who watch over the site ask first.

use ec_django_deployer::domain::Readiness;
use reqwest::StatusCode;

use crate::helpers::spawn_app;

#[tokio::test]
async fn a_site_is_well_while_its_database_answers() {
    let app = spawn_app().await;
    let mut visitor = app.visitor();
    let answer = visitor.get("/healthz").await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::OK, "no-store"));
    let json = answer.json();
    assert_eq!(json["version"], ec_django_deployer::VERSION);
    assert_eq!(
        (&json["status"], &json["database"], &json["cloud"]),
        (&"ok".into(), &"ok".into(), &"ready".into())
    );

    // What is live goes on though nothing can be launched, so that the site is well.
    app.store.set_readiness(Readiness::NotReady("Local machines need root.".to_owned()));
    let answer = visitor.get("/healthz").await;
    assert_eq!((answer.status, &answer.json()["cloud"]), (StatusCode::OK, &"not ready".into()));

    app.store.close().await;
    let answer = visitor.get("/healthz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["database"], "does not answer");
    assert_eq!(answer.json()["version"], ec_django_deployer::VERSION);
}
