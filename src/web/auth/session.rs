//! Sessions: tower-sessions' cookie over the store's rows. A row is written at sign-in and not
//! before, and its id is a digest of the cookie's, so that whoever reads the database cannot sign in by it.

use async_trait::async_trait;
use axum::{
    Json,
    extract::FromRequestParts,
    http::{Method, StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde_json::json;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use tower_sessions::{
    Expiry, Session, SessionManagerLayer, SessionStore,
    cookie::SameSite,
    session::{Id, Record},
    session_store,
};

use super::Csrf;
use crate::{
    domain::{Timestamp, User, UserId},
    store::Store,
    web::{Site, error::WebError, middleware::RequestSpan},
};

/// The session's field with the secret of its forms.
pub const CSRF: &str = "csrf";
/// The session's field with the person's row.
const USER: &str = "user";
/// The session's field with the time, in milliseconds, at which its browser was last seen and its end put off.
const SEEN: &str = "seen";

/// How long a session lives that nobody uses: two weeks, so that who comes back now and then stays signed in.
const IDLE: Duration = Duration::days(14);
/// How often that is noted: once an hour, so that reading pages does not write, and people can tell their
/// browsers apart by when they were last seen.
const RENEW: Duration = Duration::hours(1);

/// The layer that reads and writes the session cookie.
pub fn session_layer(site: &Site) -> SessionManagerLayer<Sessions> {
    let secure = site.settings.secure_cookies;
    SessionManagerLayer::new(Sessions(site.store.clone()))
        .with_name(if secure { "__Host-ec-session" } else { "ec-session" })
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        .with_secure(secure)
        .with_path("/")
        .with_expiry(Expiry::OnInactivity(IDLE))
}

/// The store's rows as tower-sessions wants them.
#[derive(Clone, Debug)]
pub struct Sessions(Store);

fn row_id(id: &Id) -> String {
    hex::encode(Sha256::digest(id.to_string()))
}

fn user_of(record: &Record) -> Option<UserId> {
    record.data.get(USER).and_then(serde_json::Value::as_i64).map(UserId)
}

fn seen(record: &Record) -> Option<Timestamp> {
    record.data.get(SEEN).and_then(serde_json::Value::as_i64).map(Timestamp)
}

fn backend(error: impl ToString) -> session_store::Error {
    session_store::Error::Backend(error.to_string())
}

fn expiry(record: &Record) -> Timestamp {
    Timestamp(record.expiry_date.unix_timestamp().saturating_mul(1000))
}

fn encode(record: &Record) -> session_store::Result<String> {
    serde_json::to_string(&record.data).map_err(|error| session_store::Error::Encode(error.to_string()))
}

#[async_trait]
impl SessionStore for Sessions {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        let data = encode(record)?;
        while !self
            .0
            .create_session(&row_id(&record.id), user_of(record), &data, seen(record), expiry(record))
            .await
            .map_err(backend)?
        {
            record.id = Id::default();
        }
        // Signing in is rare: a good moment to forget those who did not come back.
        self.0.prune_sessions().await.map_err(backend)
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        let data = encode(record)?;
        // One that was ended meanwhile stays ended.
        self.0
            .save_session(&row_id(&record.id), user_of(record), &data, seen(record), expiry(record))
            .await
            .map_err(backend)
            .map(|_| ())
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        let Some((data, expires_at)) = self.0.session(&row_id(id)).await.map_err(backend)? else {
            return Ok(None);
        };
        let data =
            serde_json::from_str(&data).map_err(|error| session_store::Error::Decode(error.to_string()))?;
        let expiry_date = OffsetDateTime::from_unix_timestamp(expires_at.0 / 1000).map_err(backend)?;
        Ok(Some(Record { id: *id, data, expiry_date }))
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        self.0.delete_session(&row_id(id)).await.map_err(backend)
    }
}

/// Begins the session of somebody who has shown who they are, by the password of this hash. Whatever
/// session the browser had before is ended and its id given up, so that nobody who planted it is signed
/// in with it. False where the password was changed or the person disabled meanwhile: nobody is signed in.
pub async fn begin(site: &Site, session: &Session, user: &User, hash: &str) -> Result<bool, WebError> {
    session.clear().await;
    session.cycle_id().await?;
    session.insert(USER, user.id.0).await?;
    session.insert(CSRF, Csrf::random().to_text()).await?;
    session.insert(SEEN, Timestamp::now().0).await?;
    // Written before the second look: what ends this person's sessions from here on ends this one too.
    session.save().await?;
    let now = site.store.user_to_sign_in(user.username.as_str()).await?;
    let still = now.is_some_and(|(now, now_hash)| now.id == user.id && now_hash == hash);
    if !still {
        session.flush().await?;
    }
    Ok(still)
}

/// Somebody who is signed in, and what a page for them needs.
#[derive(Clone)]
pub struct Visit {
    /// The site.
    pub site: Site,
    /// Who it is.
    pub user: User,
    /// The secret of the forms they are given.
    pub csrf: Csrf,
    /// Their session's row.
    session: Option<String>,
}

impl Visit {
    /// The visit of a session, where somebody is signed in with it.
    pub async fn of(site: &Site, session: Session) -> Result<Option<Self>, WebError> {
        let Some(user) = session.get::<i64>(USER).await? else { return Ok(None) };
        let Some(csrf) = session.get::<String>(CSRF).await?.as_deref().and_then(Csrf::from_text) else {
            return Ok(None);
        };
        let user = site.store.user(UserId(user)).await?;
        let Some(user) = user.filter(|user| !user.is_disabled()) else { return Ok(None) };
        let seen = session.get::<i64>(SEEN).await?.map_or(Timestamp(0), Timestamp);
        if Timestamp::now().seconds_since(seen) > RENEW.as_seconds_f64() {
            session.insert(SEEN, Timestamp::now().0).await?;
        }
        let session = session.id().as_ref().map(row_id);
        Ok(Some(Self { site: site.clone(), user, csrf, session }))
    }

    /// Whether the visit goes on as it began: the session may have been ended elsewhere or have run out,
    /// the person be disabled or have another role.
    pub async fn goes_on(&self) -> Result<bool, WebError> {
        let Some(row) = &self.session else { return Ok(false) };
        if self.site.store.session(row).await?.is_none() {
            return Ok(false);
        }
        let now = self.site.store.user(self.user.id).await?;
        Ok(now.is_some_and(|now| !now.is_disabled() && now.role == self.user.role))
    }

    /// The row of the session.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }
}

/// Who is not signed in is sent to do so, and back to the page they asked for.
impl FromRequestParts<Site> for Visit {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, WebError> {
        let visit = match parts.extensions.get::<Session>().cloned() {
            Some(session) => Self::of(site, session).await?,
            None => None,
        };
        if let (Some(visit), Some(span)) = (&visit, parts.extensions.get::<RequestSpan>()) {
            span.signed_in(&visit.user.username);
        }
        visit.ok_or_else(|| {
            let read = matches!(parts.method, Method::GET | Method::HEAD);
            let next = parts.uri.path_and_query().filter(|_| read).map(ToString::to_string);
            WebError::SignIn(next)
        })
    }
}

/// An admin's visit; for an owner the page is as if it were not there.
pub struct Admin(pub Visit);

impl FromRequestParts<Site> for Admin {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, WebError> {
        let visit = Visit::from_request_parts(parts, site).await?;
        if visit.user.is_admin() { Ok(Self(visit)) } else { Err(WebError::NotFound) }
    }
}

/// A visit of what programs ask for: who is not signed in gets a 401 in JSON.
pub struct ApiVisit(pub Visit);

impl FromRequestParts<Site> for ApiVisit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Response> {
        match Visit::from_request_parts(parts, site).await {
            Ok(visit) => Ok(Self(visit)),
            Err(WebError::SignIn(_)) => {
                let body = Json(json!({"error": "You are not signed in."}));
                Err((StatusCode::UNAUTHORIZED, body).into_response())
            }
            Err(error) => Err(error.into_response()),
        }
    }
}
