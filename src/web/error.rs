//! One error becomes one page: people see a title, a sentence and a way back; the log has the cause,
//! once, here at the boundary.

use std::{any::Any, error::Error};

use askama::Template;
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use tower_sessions::Session;

use super::{
    Site,
    auth::Visit,
    middleware::RequestId,
    page::{Shell, html},
};
use crate::store::StoreError;

/// Why a handler has no page of its own to give.
#[derive(Debug)]
pub enum WebError {
    /// There is nothing here, or nothing for this person.
    NotFound,
    /// Signing in comes first; then on to this path.
    SignIn(Option<String>),
    /// Something to tell, with a status of its own.
    Problem(Problem),
    /// Our own fault. The cause is for the log alone.
    Internal(Box<dyn Error + Send + Sync>),
}

/// What the page of an error says.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The answer's status.
    pub status: StatusCode,
    /// What happened, in few words.
    pub title: &'static str,
    /// What it means and what to do.
    pub sentence: &'static str,
    /// The way back: where to, and what it is called.
    pub back: (&'static str, &'static str),
}

const HOME: (&str, &str) = ("/instances", "Back to your instances");

impl Problem {
    /// A problem whose way back is the list of instances.
    pub fn new(status: StatusCode, title: &'static str, sentence: &'static str) -> Self {
        Self { status, title, sentence, back: HOME }
    }

    /// What is said of a status that came without words.
    fn of_status(status: StatusCode) -> Self {
        let (title, sentence) = match status.as_u16() {
            404 => (
                "There is no such page",
                "The address may be mistyped, or the instance it names is not one of yours.",
            ),
            405 => (
                "This address does not take that",
                "The page may have been opened in a way it is not made for. Go back and use its buttons.",
            ),
            413 => (
                "That is too much",
                "What was sent is larger than any form of this site. Nothing was changed.",
            ),
            415 => ("This is not a form", "What was sent is not a form of this site. Nothing was changed."),
            400..=499 => (
                "This request was not understood",
                "Go back, reload the page and try again. Nothing was changed.",
            ),
            503 | 504 => (
                "This takes too long just now",
                "The site is busy. What you asked for may still be under way: look at your instances before you try again.",
            ),
            _ => (
                "Something went wrong on our side",
                "Your instances go on running. Try again in a minute; if it stays, tell an admin this number, which finds the cause in the log:",
            ),
        };
        Self::new(status, title, sentence)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::SignIn(next) => Redirect::to(&sign_in_path(next.as_deref())).into_response(),
            Self::Problem(problem) => problem.into_response(),
            Self::Internal(error) => {
                let mut causes = vec![error.to_string()];
                let mut cause = error.source();
                while let Some(error) = cause {
                    causes.push(error.to_string());
                    cause = error.source();
                }
                tracing::error!(error = causes.join(": "), "a request failed");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

fn sign_in_path(next: Option<&str>) -> String {
    match next {
        Some(next) if next != "/instances" => {
            let query: String =
                url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
            format!("/login?{query}")
        }
        _ => "/login".to_owned(),
    }
}

macro_rules! internal {
    ($($error:ty),*) => {
        $(impl From<$error> for WebError {
            fn from(error: $error) -> Self {
                Self::Internal(Box::new(error))
            }
        })*
    };
}
internal!(
    StoreError,
    askama::Error,
    tower_sessions::session::Error,
    tokio::task::JoinError,
    super::auth::PasswordError
);

impl From<Problem> for WebError {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// What a panic is answered with; the page comes from [`dress`].
pub fn caught(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!(panic = message, "a handler panicked");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    shell: Shell,
    code: u16,
    title: &'static str,
    sentence: &'static str,
    request_id: Option<String>,
    back: (&'static str, &'static str),
}

/// Makes a page of every error that is none yet, ours and the framework's alike.
pub async fn dress(State(site): State<Site>, request: Request, next: Next) -> Response {
    let session = request.extensions().get::<Session>().cloned();
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
    let head = request.method() == Method::HEAD;
    let response = next.run(request).await;
    let status = response.status();
    let kind =
        response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let dressed = kind.starts_with("text/html") || kind.starts_with("application/json");
    if !(status.is_client_error() || status.is_server_error()) || dressed {
        return response;
    }
    let problem =
        response.extensions().get::<Problem>().cloned().unwrap_or_else(|| Problem::of_status(status));
    let visit = match session {
        Some(session) => Visit::of(&site, session).await.ok().flatten(),
        None => None,
    };
    let page = ErrorPage {
        shell: Shell::bare(&site, visit.as_ref(), problem.title, problem.sentence).await,
        code: status.as_u16(),
        title: problem.title,
        sentence: problem.sentence,
        request_id: id.filter(|_| status.is_server_error()),
        back: if visit.is_none() && problem.back == HOME {
            ("/login", "To the sign-in page")
        } else {
            problem.back
        },
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let body = match html(&page) {
        Ok(_) if head => Body::empty(),
        Ok(page) => Body::from(page),
        Err(error) => {
            tracing::error!(%error, "the page of an error failed");
            Body::from(problem.title)
        }
    };
    Response::from_parts(parts, body)
}
