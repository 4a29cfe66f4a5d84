//! One's own account: the password, and the browsers one is signed in with.

use std::time::{Duration, Instant};

use askama::Template;
use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use secrecy::SecretString;
use serde::Deserialize;
use tower_sessions::Session;

use crate::{
    store::SignedIn,
    web::{
        Site,
        address::ClientAddress,
        auth::{
            CheckedForm, NoFields, Visit, begin, check_password_rules, hash_aside, too_many_tries,
            verify_aside,
        },
        error::WebError,
        format::{ago, count, field_error},
        page::{Section, Shell, page},
    },
};

pub fn router() -> Router<Site> {
    Router::new()
        .route("/account", get(show))
        .route("/account/password", post(change_password))
        .route("/account/sessions/others", post(sign_out_others))
        .route("/account/sessions/all", post(sign_out_everywhere))
}

/// What has just been done, for the notice on top of the page.
#[derive(Default, Deserialize)]
struct Done {
    #[serde(default)]
    done: String,
}

impl Done {
    fn sentence(&self) -> Option<&'static str> {
        match self.done.as_str() {
            "password" => Some("Your password was changed. Other browsers are signed out."),
            "sessions" => Some("Other browsers are signed out."),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct PasswordForm {
    #[serde(default)]
    password: String,
    #[serde(default)]
    new_password: String,
}

/// What is wrong with the fields of the password's form.
#[derive(Default)]
struct Errors {
    old: Option<String>,
    new: Option<String>,
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    shell: Shell,
    visit: Visit,
    instances: String,
    done: Option<&'static str>,
    errors: Errors,
    /// The other browsers, the one that was seen last first.
    others: Vec<SignedIn>,
}

impl AccountPage {
    /// Other browsers that are told of one by one.
    const TOLD: usize = 5;

    async fn of(visit: &Visit) -> Result<Self, WebError> {
        let mut shell = Shell::new(visit, "Account", "Your password and where you are signed in.").await?;
        shell.section = Section::Account;
        let mut others = visit.site.store.sessions_of(visit.user.id).await?;
        others.retain(|other| Some(other.id.as_str()) != visit.session());
        let instances = count(visit.site.store.instances_of(visit.user.id).await?, "instance");
        Ok(Self { shell, visit: visit.clone(), instances, done: None, errors: Errors::default(), others })
    }

    fn browsers(&self) -> String {
        count(self.others.len() as u64 + 1, "browser")
    }

    /// When the other browsers were last seen, as HTML: those seen last, and how many more there are.
    fn seen(&self) -> String {
        let told = self.others.iter().take(Self::TOLD);
        let mut parts: Vec<_> =
            told.map(|other| other.seen_at.map_or_else(|| "some time ago".to_owned(), ago)).collect();
        match self.others.len().saturating_sub(Self::TOLD) {
            0 => {}
            1 => parts.push("one before that".to_owned()),
            more => parts.push(format!("{more} before that")),
        }
        match parts.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
            _ => parts.concat(),
        }
    }
}

async fn show(visit: Visit, Query(done): Query<Done>) -> Result<Response, WebError> {
    page(StatusCode::OK, &AccountPage { done: done.sentence(), ..AccountPage::of(&visit).await? })
}

async fn change_password(
    State(site): State<Site>,
    visit: Visit,
    ClientAddress(address): ClientAddress,
    session: Session,
    CheckedForm(typed): CheckedForm<PasswordForm>,
) -> Result<Response, WebError> {
    let user = &visit.user;
    // Whoever sits at an open browser has no more guesses than at the door.
    let taken = match site.throttle.take(user.username.as_str(), address, Instant::now()) {
        Ok(taken) => taken,
        Err(wait) => return too_many(&visit, wait).await,
    };
    let Some((_, old)) = site.store.user_to_sign_in(user.username.as_str()).await? else {
        return Err(WebError::SignIn(None));
    };
    let right = verify_aside(SecretString::from(typed.password), Some(old.clone())).await?;
    if right {
        site.throttle.give_back(taken);
    }
    let rules = check_password_rules(&typed.new_password).err();
    let errors = Errors {
        old: (!right).then(|| "This is not your password.".to_owned()),
        new: rules.map(|error| field_error(&error, "new")),
    };
    if errors.old.is_some() || errors.new.is_some() {
        return again(&visit, StatusCode::UNPROCESSABLE_ENTITY, errors).await;
    }
    let new = hash_aside(SecretString::from(typed.new_password)).await?;
    if !site.store.change_password(user.id, &old, &new).await? {
        // Changed elsewhere while this was under way, which has ended this session too.
        return Err(WebError::SignIn(None));
    }
    tracing::info!(user = %user.username, %address, "a password was changed");
    let signed_in = begin(&site, &session, user, &new).await?;
    Ok(Redirect::to(if signed_in { "/account?done=password" } else { "/login" }).into_response())
}

async fn sign_out_others(visit: Visit, _form: CheckedForm<NoFields>) -> Result<Redirect, WebError> {
    let ended = visit.site.store.end_sessions(visit.user.id, visit.session()).await?;
    tracing::info!(user = %visit.user.username, ended, "other browsers were signed out");
    Ok(Redirect::to("/account?done=sessions"))
}

async fn sign_out_everywhere(
    visit: Visit,
    session: Session,
    _form: CheckedForm<NoFields>,
) -> Result<Redirect, WebError> {
    let ended = visit.site.store.end_sessions(visit.user.id, None).await?;
    session.flush().await?;
    tracing::info!(user = %visit.user.username, ended, "signed out everywhere");
    Ok(Redirect::to("/login"))
}

async fn too_many(visit: &Visit, wait: Duration) -> Result<Response, WebError> {
    let (error, seconds) = too_many_tries(wait);
    let errors = Errors { old: Some(error), new: None };
    let mut response = again(visit, StatusCode::TOO_MANY_REQUESTS, errors).await?;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    Ok(response)
}

/// The page once more. No password is ever shown again.
async fn again(visit: &Visit, status: StatusCode, errors: Errors) -> Result<Response, WebError> {
    page(status, &AccountPage { errors, ..AccountPage::of(visit).await? })
}
