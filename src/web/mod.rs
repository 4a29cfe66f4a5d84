//! What people see, and where machines report. Routes by feature: each file has a `router()`, and
//! a page's form, template and handler are in one file. Nothing here waits for a cloud: a form
//! becomes a row, a row becomes a page.

mod account;
mod address;
mod assets;
mod auth;
mod callback;
mod cloud;
mod error;
mod fetched;
mod format;
mod health;
mod images;
mod instances;
mod metrics;
mod middleware;
mod offer;
mod page;
mod plain_http;
mod readiness;
mod site;
mod users;

pub use auth::{PasswordError, check_password_rules, hash_password};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware::{from_fn, from_fn_with_state},
    response::Redirect,
    routing::get,
};
pub use offer::Offer;
pub use site::{Finds, Inner, Looker, Settings, Site};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{CompressionLayer, DefaultPredicate, Predicate, predicate::NotForContentType},
    timeout::TimeoutLayer,
};

/// Most bytes of a form: its longest field has 500, and a person's browser adds little.
const FORM_MAX: usize = 64 * 1024;

/// Everything that people see, with all of its middleware. To be served with `ConnectInfo<SocketAddr>`.
pub fn router(site: Site) -> Router {
    let pages = Router::new()
        .route("/", get(async || Redirect::to("/instances")))
        .merge(auth::router())
        .merge(instances::router())
        .merge(images::router())
        .merge(cloud::router())
        .merge(users::router())
        .merge(account::router())
        .fallback(async || error::WebError::NotFound)
        .layer(DefaultBodyLimit::max(FORM_MAX))
        .layer(CatchPanicLayer::custom(error::caught))
        .layer(from_fn_with_state(site.clone(), error::dress))
        .layer(auth::session_layer(&site));
    let bare = Router::new().merge(assets::router()).merge(health::router());
    Router::new()
        .merge(bare)
        .merge(pages)
        .layer(CatchPanicLayer::custom(error::caught))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, middleware::ANSWER))
        .layer(from_fn(middleware::receive))
        // Once more for what fails outside of the pages: it has no navigation, but the site's look.
        .layer(from_fn_with_state(site.clone(), error::dress))
        .layer(CompressionLayer::new().compress_when(compressible()))
        .layer(from_fn_with_state(site.clone(), middleware::headers))
        .layer(from_fn_with_state(site.metrics.clone(), middleware::observe))
        .with_state(site)
}

/// All but what is compressed already, or is large and downloaded with its size known.
fn compressible() -> impl Predicate {
    DefaultPredicate::new()
        .and(NotForContentType::const_new("application/gzip"))
        .and(NotForContentType::const_new("application/vnd.sqlite3"))
}

/// What machines reach: the deploy log and the environment of their deployment, what they were asked for, and
/// nothing else.
pub fn callback_router(site: Site) -> Router {
    Router::new()
        .merge(callback::router())
        .merge(fetched::failures())
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, middleware::ANSWER))
        .layer(from_fn(middleware::receive))
        .merge(fetched::files())
        .layer(CatchPanicLayer::custom(error::caught))
        .layer(from_fn_with_state(site.metrics.clone(), middleware::observe))
        .with_state(site)
}

/// Requests to `router`, which is none of ours, logged and counted as ours are.
pub fn observed(site: &Site, router: Router) -> Router {
    router.layer(from_fn_with_state(site.metrics.clone(), middleware::observe))
}

/// What those who watch over the site ask, on a listener of its own: counts, for Prometheus.
pub fn metrics_router(site: Site) -> Router {
    metrics::router().with_state(site)
}
