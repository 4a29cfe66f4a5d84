//! What happens to every request and answer.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream, HttpBody},
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout, timeout_at},
};
use tracing::{Instrument, Span};

use super::{Site, error::Problem};
use crate::{domain::Username, metrics::Metrics};

/// Longest wait for the head of an answer. A look at a repository may take 20 s with the wait for its
/// turn; everything else is far quicker. Event streams are not touched: their head comes at once.
pub const ANSWER: Duration = Duration::from_secs(60);

/// Longest wait for all that a request sends: ample for a form, or a piece of a log, on a bad line.
pub const ARRIVAL: Duration = Duration::from_secs(15);

/// How long, and how many bytes, are received that nobody wants any more. Who is cut off while
/// sending does not read the answer that says why.
const UNWANTED: (Duration, usize) = (Duration::from_secs(3), 32 << 20);

/// Nothing from elsewhere, nothing inline, and nobody may frame a page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The number by which a request is found in the log. It is always made here: one that came with
/// the request could be anybody's.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

impl RequestId {
    /// Twelve characters that are easily read aloud: `01J9-7C4K-Q2MV`.
    fn random() -> Self {
        const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let mut text = String::with_capacity(14);
        for (i, byte) in rand::random::<[u8; 12]>().into_iter().enumerate() {
            if i > 0 && i % 4 == 0 {
                text.push('-');
            }
            text.push(char::from(ALPHABET[usize::from(byte % 32)]));
        }
        Self(text)
    }
}

/// The span that everything logged for a request is in, so that what becomes known of it later is noted there.
#[derive(Clone, Debug)]
pub struct RequestSpan(Span);

impl RequestSpan {
    /// Notes who is signed in.
    pub fn signed_in(&self, username: &Username) {
        self.0.record("user", tracing::field::display(username));
    }
}

/// Numbers the request and its answer, logs the answer in one line, and counts it. The path alone is logged, since a
/// query may hold a secret; counted is the pattern that it matched, since addresses are without number.
pub async fn observe(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::random();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let path = request.uri().path();
    let span = tracing::info_span!("request", id = %id.0, %method, path, user = tracing::field::Empty);
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(RequestSpan(span.clone()));
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    let (took, status) = (started.elapsed(), response.status());
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| {
        if status.is_server_error() {
            tracing::error!(status = status.as_u16(), route, ms, "answered");
        } else {
            tracing::info!(status = status.as_u16(), route, ms, "answered");
        }
    });
    metrics.answered(method.as_str(), &route, status.as_u16(), took);
    response
}

/// The headers that tell browsers to be careful.
pub async fn headers(State(site): State<Site>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "permissions-policy",
            "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if site.settings.secure_cookies {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response
}

/// Bounds how long a request may take to arrive, and lets who sends too much read the answer.
pub async fn receive(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let (body, late) = (Arc::new(Mutex::new(body.into_data_stream())), Arc::new(AtomicBool::new(false)));
    let in_time = in_time(body.clone(), late.clone(), Instant::now() + ARRIVAL);
    let response = next.run(Request::from_parts(parts, in_time)).await;
    if !response.status().is_client_error() {
        return response;
    }
    if late.load(Ordering::Relaxed) {
        let title = "This took too long to arrive";
        let sentence =
            "Only a part of what was sent came in time. Nothing was changed: go back and try again.";
        return Problem::new(StatusCode::REQUEST_TIMEOUT, title, sentence).into_response();
    }
    receive_unwanted(body);
    response
}

/// Lets who is refused read the answer, and sets no limit to how long a request may take to arrive.
pub async fn hear_out(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = Arc::new(Mutex::new(body.into_data_stream()));
    let pieces = stream::unfold(body.clone(), async |body| {
        let piece = body.lock().await.next().await?;
        Some((piece, body))
    });
    let response = next.run(Request::from_parts(parts, Body::from_stream(pieces))).await;
    if !response.status().is_success() {
        receive_unwanted(body);
    }
    response
}

/// The same body, with an error where it is not whole at the deadline.
fn in_time(body: Arc<Mutex<BodyDataStream>>, late: Arc<AtomicBool>, deadline: Instant) -> Body {
    Body::from_stream(stream::try_unfold((body, late), move |(body, late)| async move {
        let piece = timeout_at(deadline, async { body.lock().await.next().await }).await;
        match piece {
            Ok(Some(Ok(piece))) => Ok(Some((piece, (body, late)))),
            Ok(Some(Err(error))) => Err(io::Error::other(error)),
            Ok(None) => Ok(None),
            Err(_) => {
                late.store(true, Ordering::Relaxed);
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }))
}

/// Receives what is left of a body for a while, beside the answer, which goes out at once: a proxy that is told so
/// sends no more.
fn receive_unwanted(body: Arc<Mutex<BodyDataStream>>) {
    let (time, most) = UNWANTED;
    tokio::spawn(timeout(time, async move {
        let mut size = 0;
        while size < most {
            match body.lock().await.next().await {
                Some(Ok(piece)) => size += piece.len(),
                _ => return,
            }
        }
    }));
}
