//! Where machines report: the deploy log is the protocol. Each request carries the token of its
//! deployment; there is no session, no form token and no redirect.
//!
//! `PATCH /deployments/{id}/log` appends bytes at `Upload-Offset`: 204 with the log's new size, 409
//! with its size where bytes are missing in between, 401 for a bad token, 400 without a good offset,
//! 413 where the body or the log would be too large, 410 once the deployment takes no more.
//! `GET /deployments/{id}/environment` gives what the project is to find in its environment, `NAME=VALUE` and a NUL each,
//! until the step of that name is done; 410 after that, and 403 where it would go to EC2 over http.
//! `GET /deployments/{id}/first-admin` gives the username and the password of the admin that the deployment is to make in
//! the project; 204 where there is none, 410 once the deployment has ended.
//! `GET /deployments/{id}/programs` gives the programs that the deployment's script does not bring along.
//! `GET /deployments/{id}/requirements` gives what its plan lists to be installed; 404 where it lists nothing.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequestParts, Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, patch},
};

use serde_json::json;

use super::{Site, error::WebError};
use crate::{
    domain::{Deployment, DeploymentId, Step, StepState},
    store::Appended,
    user_data,
};

/// Most bytes of one request.
const PIECE_MAX: usize = 256 * 1024;

const OFFSET: HeaderName = HeaderName::from_static("upload-offset");

pub fn router() -> Router<Site> {
    Router::new()
        .route("/deployments/{id}/log", patch(append))
        .route("/deployments/{id}/environment", get(environment))
        .route("/deployments/{id}/first-admin", get(first_admin))
        .route("/deployments/{id}/programs", get(programs))
        .route("/deployments/{id}/requirements", get(requirements))
        .layer(DefaultBodyLimit::max(PIECE_MAX))
}

/// The machine that has this deployment: it showed the deployment's token.
struct Machine(DeploymentId);

impl FromRequestParts<Site> for Machine {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Response> {
        let (number, token) = shown(parts, site).await?;
        let id = DeploymentId(number);
        if site.log_key.accepts(id, &token) { Ok(Self(id)) } else { Err(refused()) }
    }
}

/// The number in the path of a machine's request, and the bearer token that it shows; 401 where either is missing.
pub(super) async fn shown(parts: &mut Parts, site: &Site) -> Result<(i64, String), Response> {
    let Path(number) = Path::<String>::from_request_parts(parts, site).await.map_err(|_| refused())?;
    let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|value| value.split_once(' '));
    let token =
        token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    number.parse().ok().zip(token.map(str::to_owned)).ok_or_else(refused)
}

/// The answer to who does not show the right token.
pub(super) fn refused() -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
    (StatusCode::UNAUTHORIZED, challenge).into_response()
}

async fn append(
    State(site): State<Site>,
    Machine(id): Machine,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, WebError> {
    let Some(offset) = offset(&headers) else { return Ok(StatusCode::BAD_REQUEST.into_response()) };
    let at = |offset: u64| [(OFFSET, HeaderValue::from(offset))];
    Ok(match site.store.append_log(id, offset, &bytes).await? {
        Appended::Taken(size) => (StatusCode::NO_CONTENT, at(size)).into_response(),
        Appended::Gap(size) => (StatusCode::CONFLICT, at(size)).into_response(),
        Appended::TooLarge => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Appended::Closed => StatusCode::GONE.into_response(),
    })
}

/// The offset, given once, in decimal digits, and within what the database can count.
fn offset(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(OFFSET).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let text = value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    text.parse().ok().filter(|offset| i64::try_from(*offset).is_ok())
}

async fn environment(State(site): State<Site>, Machine(id): Machine) -> Result<Response, WebError> {
    let Some(deployment) = site.store.deployment(id).await?.filter(wants_environment) else {
        return Ok(StatusCode::GONE.into_response());
    };
    if !site.settings.sends_secrets() && site.store.has_variables(deployment.instance).await? {
        return Ok(unsafe_way(id));
    }
    let environment = site.store.give_environment(id).await?;
    for name in &environment.lost {
        tracing::error!(deployment = %id, %name, "a variable was sealed by another key, and is left out");
    }
    let pairs = environment.variables.iter().map(|one| format!("{}={}\0", one.name, one.value.expose()));
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))];
    Ok((kind, pairs.collect::<String>()).into_response())
}

async fn first_admin(State(site): State<Site>, Machine(id): Machine) -> Result<Response, WebError> {
    let Some(deployment) = site.store.deployment(id).await?.filter(Deployment::is_running) else {
        return Ok(StatusCode::GONE.into_response());
    };
    if !site.settings.sends_secrets() && site.store.wants_first_admin(deployment.instance).await? {
        return Ok(unsafe_way(id));
    }
    let Some((name, password)) = site.store.give_first_admin(id).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    Ok(Json(json!({"username": name.as_str(), "password": password.expose()})).into_response())
}

/// The answer where what is asked for is secret and would be sent over http.
fn unsafe_way(id: DeploymentId) -> Response {
    tracing::error!(deployment = %id, "secrets are not sent over http: set CALLBACK_URL to https");
    StatusCode::FORBIDDEN.into_response()
}

async fn programs(_: Machine) -> Response {
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (kind, user_data::programs()).into_response()
}

async fn requirements(State(site): State<Site>, Machine(id): Machine) -> Result<Response, WebError> {
    let deployment = site.store.deployment(id).await?;
    let list = deployment.and_then(|deployment| user_data::requirements(&deployment.plan));
    Ok(list.map_or_else(|| StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response))
}

fn wants_environment(deployment: &Deployment) -> bool {
    let done = deployment
        .report
        .steps()
        .any(|(step, state)| step == Step::Environment && matches!(state, StepState::Ok { .. }));
    deployment.outcome.is_none() && !done
}
