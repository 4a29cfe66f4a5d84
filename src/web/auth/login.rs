//! Signing in and out.

use std::time::{Duration, Instant};

use askama::Template;
use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use secrecy::SecretString;
use serde::Deserialize;
use tower_sessions::Session;

use super::{CheckedForm, Csrf, NoFields, Visit, password, session, throttle};
use crate::web::{
    Site,
    address::ClientAddress,
    error::WebError,
    page::{Shell, page},
};

pub fn router() -> Router<Site> {
    Router::new().route("/login", get(show).post(sign_in)).route("/logout", post(sign_out))
}

/// Where to go after signing in.
#[derive(Deserialize)]
struct Next {
    next: Option<String>,
}

impl Next {
    /// A path of this site, or the list of instances. What a browser could take for another site's
    /// address is none.
    fn path(&self) -> &str {
        let local = |next: &&str| {
            next.starts_with('/')
                && !next.starts_with("//")
                && next.len() <= 500
                && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        };
        self.next.as_deref().filter(local).unwrap_or("/instances")
    }
}

#[derive(Deserialize)]
struct LoginForm {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    shell: Shell,
    action: String,
    username: &'a str,
    error: Option<String>,
    set_up: bool,
}

async fn show(
    State(site): State<Site>,
    session: Session,
    Query(next): Query<Next>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    if Visit::of(&site, session).await?.is_some() {
        return Ok(Redirect::to(next.path()).into_response());
    }
    form(&site, &headers, &next, StatusCode::OK, "", None).await
}

async fn sign_in(
    State(site): State<Site>,
    ClientAddress(address): ClientAddress,
    session: Session,
    Query(next): Query<Next>,
    headers: HeaderMap,
    CheckedForm(typed): CheckedForm<LoginForm>,
) -> Result<Response, WebError> {
    let name = typed.username.trim();
    let taken = match site.throttle.take(name, address, Instant::now()) {
        Ok(taken) => taken,
        Err(wait) => return too_many(&site, &headers, &next, name, wait).await,
    };
    let known = site.store.user_to_sign_in(name).await?;
    let hash = known.as_ref().map(|(_, hash)| hash.clone());
    let right = password::verify_aside(SecretString::from(typed.password), hash).await?;
    let begun = match known.filter(|_| right) {
        Some((user, hash)) => session::begin(&site, &session, &user, &hash).await?.then_some(user),
        None => None,
    };
    let Some(user) = begun else {
        tracing::info!(%address, "a sign-in failed");
        let error = "This username and password do not belong together.".to_owned();
        return form(&site, &headers, &next, StatusCode::UNPROCESSABLE_ENTITY, name, Some(error)).await;
    };
    site.throttle.give_back(taken);
    tracing::info!(user = %user.username, %address, "signed in");
    Ok(Redirect::to(next.path()).into_response())
}

async fn sign_out(session: Session, _form: CheckedForm<NoFields>) -> Result<Redirect, WebError> {
    session.flush().await?;
    Ok(Redirect::to("/login"))
}

async fn too_many(
    site: &Site,
    headers: &HeaderMap,
    next: &Next,
    name: &str,
    wait: Duration,
) -> Result<Response, WebError> {
    let (error, seconds) = throttle::too_many(wait);
    let mut response = form(site, headers, next, StatusCode::TOO_MANY_REQUESTS, name, Some(error)).await?;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    Ok(response)
}

async fn form(
    site: &Site,
    headers: &HeaderMap,
    next: &Next,
    status: StatusCode,
    username: &str,
    error: Option<String>,
) -> Result<Response, WebError> {
    let (csrf, cookie) = Csrf::of_visitor(site, headers);
    let mut shell = Shell::bare(site, None, "Sign in", "Sign in to see and deploy your instances.").await;
    shell.csrf = csrf.token();
    let action = match next.path() {
        "/instances" => "/login".to_owned(),
        path => {
            let query: String =
                url::form_urlencoded::Serializer::new(String::new()).append_pair("next", path).finish();
            format!("/login?{query}")
        }
    };
    let set_up = site.store.has_users().await?;
    let page = page(status, &LoginPage { shell, action, username, error, set_up })?;
    Ok(match cookie {
        Some(cookie) => ([cookie], page).into_response(),
        None => page,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_site_are_gone_to() {
        let next = |text: &str| Next { next: Some(text.to_owned()) }.path().to_owned();
        assert_eq!(next("/instances/shop?deployment=2"), "/instances/shop?deployment=2");
        for bad in
            ["https://example.com/", "//example.com", "/\\example.com", "", "javascript:x", "/a\r\nb", "/ü"]
        {
            assert_eq!(next(bad), "/instances", "{bad}");
        }
    }
}
