//! Password links: an admin makes one, and whoever has it sets that person's password, once. Its secret
//! is in the query of the page alone, which is not logged, and from there on in the form; the store has a
//! digest. No tries are counted: nobody guesses 192 bits, and a wrong link costs one look at an index.

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
use sha2::{Digest, Sha256};
use tower_sessions::Session;

use super::{CheckedForm, Csrf, Visit, check_password_rules, password, session};
use crate::{
    domain::{Timestamp, User},
    store::PasswordLink,
    web::{
        Site,
        error::{Problem, WebError},
        format::field_error,
        page::{Shell, page},
    },
};

/// Days that a link works: over a holiday week, and not so long that it lies about forgotten.
pub const LASTS_DAYS: i64 = 7;

pub fn router() -> Router<Site> {
    Router::new().route("/password", get(show).post(set))
}

/// A new link: what the store keeps of it, and the address that is shown once.
pub struct Issued {
    /// What the store keeps.
    pub kept: PasswordLink,
    /// The whole address, with the secret.
    pub url: String,
}

/// Makes a link. It works once it is in the store.
pub fn issue(site: &Site) -> Issued {
    let token = hex::encode(rand::random::<[u8; 24]>());
    let expires_at = Timestamp::now().plus_seconds(LASTS_DAYS * 24 * 3600);
    Issued {
        kept: PasswordLink { digest: digest(&token), expires_at },
        url: format!("{}/password?token={token}", site.settings.public_url),
    }
}

fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
}

#[derive(Deserialize)]
struct PasswordForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    password: String,
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage<'a> {
    shell: Shell,
    token: &'a str,
    user: &'a User,
    error: Option<String>,
}

async fn show(
    State(site): State<Site>,
    session: Session,
    Query(Token { token }): Query<Token>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let user = site.store.user_of_link(&digest(&token)).await?.ok_or_else(worthless)?;
    form(&site, session, &headers, StatusCode::OK, &token, &user, None).await
}

async fn set(
    State(site): State<Site>,
    session: Session,
    headers: HeaderMap,
    CheckedForm(typed): CheckedForm<PasswordForm>,
) -> Result<Response, WebError> {
    let digest = digest(&typed.token);
    let user = site.store.user_of_link(&digest).await?.ok_or_else(worthless)?;
    if let Err(error) = check_password_rules(&typed.password) {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let error = field_error(&error, "password");
        return form(&site, session, &headers, status, &typed.token, &user, Some(error)).await;
    }
    let hash = password::hash_aside(SecretString::from(typed.password)).await?;
    let user = site.store.set_password_by_link(&digest, &hash).await?.ok_or_else(worthless)?;
    tracing::info!(user = %user.username, "a password was set by a link");
    let signed_in = session::begin(&site, &session, &user, &hash).await?;
    Ok(Redirect::to(if signed_in { "/instances" } else { "/login" }).into_response())
}

fn worthless() -> Problem {
    Problem {
        status: StatusCode::NOT_FOUND,
        title: "This password link does not work",
        sentence: "It was used already, is more than 7 days old, or a newer one took its place; or it was not copied whole. Ask an admin of this site for another one.",
        back: ("/login", "To the sign-in page"),
    }
}

async fn form(
    site: &Site,
    session: Session,
    headers: &HeaderMap,
    status: StatusCode,
    token: &str,
    user: &User,
    error: Option<String>,
) -> Result<Response, WebError> {
    // Somebody may be signed in here, an admin who tries the link for one: forms are theirs then.
    let (csrf, cookie) = match Visit::of(site, session).await? {
        Some(visit) => (visit.csrf, None),
        None => Csrf::of_visitor(site, headers),
    };
    let mut shell = Shell::bare(site, None, "Set a password", "Set the password of your account.").await;
    shell.csrf = csrf.token();
    let page = page(status, &PasswordPage { shell, token, user, error })?;
    Ok(match cookie {
        Some(cookie) => ([cookie], page).into_response(),
        None => page,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_link_is_not_its_secret() {
        let kept = digest("0123");
        assert_eq!(kept.len(), 64);
        assert_ne!(kept, digest("0124"));
        assert!(!kept.contains("0123"));
        assert!(worthless().sentence.contains(&format!("{LASTS_DAYS} days")));
    }
}
