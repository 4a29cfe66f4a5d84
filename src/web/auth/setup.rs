//! The set-up link: it creates the first admin, once, while there is no user.

use askama::Template;
use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use secrecy::SecretString;
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tower_sessions::Session;

use super::{CheckedForm, Csrf, check_password_rules, password, session};
use crate::{
    domain::Username,
    store::UserError,
    web::{
        Site,
        error::{Problem, WebError},
        format::field_error,
        page::{Shell, page},
    },
};

pub fn router() -> Router<Site> {
    Router::new().route("/setup", get(show).post(create))
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
}

#[derive(Deserialize)]
struct SetupForm {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage<'a> {
    shell: Shell,
    action: String,
    username: &'a str,
    username_error: Option<String>,
    password_error: Option<String>,
}

async fn show(
    State(site): State<Site>,
    Query(token): Query<Token>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    check_link(&site, &token).await?;
    form(&site, &headers, &token, StatusCode::OK, "", None, None).await
}

async fn create(
    State(site): State<Site>,
    session: Session,
    Query(token): Query<Token>,
    headers: HeaderMap,
    CheckedForm(typed): CheckedForm<SetupForm>,
) -> Result<Response, WebError> {
    check_link(&site, &token).await?;
    let name = typed.username.trim();
    let (username, rules) = (name.parse::<Username>(), check_password_rules(&typed.password));
    let username = match (username, rules) {
        (Ok(username), Ok(())) => username,
        (username, rules) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let username = username.err().map(|error| field_error(&error, "username"));
            let password = rules.err().map(|error| field_error(&error, "password"));
            return form(&site, &headers, &token, status, name, username, password).await;
        }
    };
    let hash = password::hash_aside(SecretString::from(typed.password)).await?;
    let user = match site.store.add_first_admin(&username, &hash).await {
        Ok(user) => user,
        Err(UserError::AlreadySetUp | UserError::Taken) => return Err(spent().into()),
        Err(UserError::Store(error)) => return Err(error.into()),
    };
    session::begin(&site, &session, &user, &hash).await?;
    tracing::info!(user = %user.username, "the first admin was created");
    Ok(Redirect::to("/instances").into_response())
}

/// The link must be this start's, and nobody may have been created.
async fn check_link(site: &Site, token: &Token) -> Result<(), WebError> {
    let ours: bool = token.token.as_bytes().ct_eq(site.setup_token.as_bytes()).into();
    if !ours {
        return Err(wrong().into());
    }
    if site.store.has_users().await? { Err(spent().into()) } else { Ok(()) }
}

fn wrong() -> Problem {
    Problem {
        status: StatusCode::NOT_FOUND,
        title: "This set-up link does not work",
        sentence: "The site makes another one at each start and prints it then. Take the newest, whole.",
        back: ("/login", "To the sign-in page"),
    }
}

fn spent() -> Problem {
    Problem {
        status: StatusCode::GONE,
        title: "This set-up link is spent",
        sentence: "The first admin has been created. Sign in, or ask an admin of this site for an account.",
        back: ("/login", "To the sign-in page"),
    }
}

async fn form(
    site: &Site,
    headers: &HeaderMap,
    token: &Token,
    status: StatusCode,
    username: &str,
    username_error: Option<String>,
    password_error: Option<String>,
) -> Result<Response, WebError> {
    let (csrf, cookie) = Csrf::of_visitor(site, headers);
    let mut shell = Shell::bare(site, None, "Set up", "Create the first admin of this site.").await;
    shell.csrf = csrf.token();
    // The token was compared with ours, so it holds nothing that a URL would not take.
    let action = format!("/setup?token={}", token.token);
    let page = page(status, &SetupPage { shell, action, username, username_error, password_error })?;
    Ok(match cookie {
        Some(cookie) => ([cookie], page).into_response(),
        None => page,
    })
}
