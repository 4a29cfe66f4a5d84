//! The stylesheet, the script and the icon, in the program itself. A page links each with a digest
//! of its content, so that browsers may keep it for good and still get a new one at once.

use std::sync::LazyLock;

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use sha2::{Digest, Sha256};

use super::{Site, error::WebError};

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    digest: String,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    let asset = |name, kind, bytes| Asset { name, kind, bytes, digest: digest(bytes) };
    [
        asset("site.css", "text/css; charset=utf-8", include_bytes!("../../static/site.css")),
        asset("site.js", "text/javascript; charset=utf-8", include_bytes!("../../static/site.js")),
        asset("favicon.svg", "image/svg+xml", include_bytes!("../../static/favicon.svg")),
    ]
});

fn digest(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes)[..8])
}

/// The link to an asset, with its digest.
pub fn link(name: &str) -> String {
    let digest = ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| &asset.digest);
    format!("/static/{name}?{digest}")
}

pub fn router() -> Router<Site> {
    Router::new().route("/static/{name}", get(serve)).route("/favicon.ico", get(icon))
}

async fn serve(
    Path(name): Path<String>,
    uri: axum::http::Uri,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or(WebError::NotFound)?;
    Ok(answer(asset, uri.query(), &headers))
}

async fn icon(headers: HeaderMap) -> Response {
    answer(&ASSETS[2], None, &headers)
}

/// For good where the link named this very content; else to be asked for again each time.
fn answer(asset: &Asset, asked_for: Option<&str>, headers: &HeaderMap) -> Response {
    let caching = if asked_for == Some(&asset.digest) {
        "public, max-age=31536000, immutable"
    } else {
        "public, no-cache"
    };
    let etag = format!("\"{}\"", asset.digest);
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == etag.as_bytes());
    let mut response =
        if known { StatusCode::NOT_MODIFIED.into_response() } else { asset.bytes.into_response() };
    let set = response.headers_mut();
    set.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    set.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        set.insert(header::ETAG, etag);
    }
    response
}
