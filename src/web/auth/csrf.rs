//! The token on every form. A form's fields are had only through [`CheckedForm`], which checks it.
//!
//! Who is signed in has the secret in their session. Before that a cookie holds it, made with the
//! form: so a visit costs no row, and the cookie cannot be read or, over https, be set by another site.

use axum::{
    Form, RequestExt,
    body::Bytes,
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;
use tower_sessions::{
    Session,
    cookie::{Cookie, SameSite},
};

use super::session::CSRF;
use crate::web::{
    Site,
    error::{Problem, WebError},
};

/// The secret that the tokens on a person's forms are made with.
#[derive(Clone)]
pub struct Csrf([u8; 32]);

impl Csrf {
    /// A new one.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Reads back what [`to_text`](Self::to_text) gave.
    pub fn from_text(text: &str) -> Option<Self> {
        hex::decode(text).ok()?.try_into().ok().map(Self)
    }

    /// As it is kept in a session or a cookie.
    pub fn to_text(&self) -> String {
        hex::encode(self.0)
    }

    /// A token for one page. It is another each time, so that the sizes of compressed pages tell nothing of the secret.
    pub fn token(&self) -> String {
        let pad: [u8; 32] = rand::random();
        let mut bytes = pad.to_vec();
        bytes.extend(self.0.iter().zip(pad).map(|(secret, pad)| secret ^ pad));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether a token is of this secret, in constant time.
    pub fn accepts(&self, token: &str) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(token) else { return false };
        let Ok(bytes) = <[u8; 64]>::try_from(bytes) else { return false };
        let (pad, masked) = bytes.split_at(32);
        let secret: Vec<u8> = masked.iter().zip(pad).map(|(masked, pad)| masked ^ pad).collect();
        secret.ct_eq(&self.0).into()
    }

    /// The secret in a visitor's cookie, where there is one.
    fn from_cookie(site: &Site, headers: &HeaderMap) -> Option<Self> {
        let name = cookie_name(site);
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(Cookie::split_parse)
            .filter_map(Result::ok)
            .find(|cookie| cookie.name() == name)
            .and_then(|cookie| Self::from_text(cookie.value()))
    }

    /// The secret of a visitor who is not signed in: their cookie's, else a new one with the header that sets it.
    pub fn of_visitor(site: &Site, headers: &HeaderMap) -> (Self, Option<(header::HeaderName, String)>) {
        if let Some(known) = Self::from_cookie(site, headers) {
            return (known, None);
        }
        let fresh = Self::random();
        let cookie = Cookie::build((cookie_name(site), fresh.to_text()))
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(site.settings.secure_cookies)
            .build();
        (fresh, Some((header::SET_COOKIE, cookie.to_string())))
    }
}

fn cookie_name(site: &Site) -> &'static str {
    if site.settings.secure_cookies { "__Host-ec-door" } else { "ec-door" }
}

/// A form of one button: nothing but its token.
#[derive(serde::Deserialize)]
pub struct NoFields {}

/// The fields of a form whose token was right.
pub struct CheckedForm<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest<Site> for CheckedForm<T> {
    type Rejection = WebError;

    async fn from_request(request: Request, site: &Site) -> Result<Self, WebError> {
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if kind.is_none_or(|kind| !kind.starts_with("application/x-www-form-urlencoded")) {
            return Err(status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let secret = match parts.extensions.get::<Session>() {
            Some(session) => session.get::<String>(CSRF).await?.as_deref().and_then(Csrf::from_text),
            None => None,
        };
        let secret = secret.or_else(|| Csrf::from_cookie(site, &parts.headers));
        let same_site = comes_from_here(&parts.headers);
        let mut request = Request::from_parts(parts, body);
        let limited = request.with_limited_body();
        let (parts, body) = limited.into_parts();
        let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), site)
            .await
            .map_err(|rejection: BytesRejection| status(rejection.into_response().status()))?;
        let token = url::form_urlencoded::parse(&bytes).find(|(name, _)| name == "csrf_token");
        let good = same_site && secret.zip(token).is_some_and(|(secret, (_, token))| secret.accepts(&token));
        if !good {
            return Err(refused().into());
        }
        request = Request::from_parts(parts, bytes.into());
        match Form::<T>::from_request(request, site).await {
            Ok(Form(fields)) => Ok(Self(fields)),
            Err(rejection) => Err(status(rejection.into_response().status())),
        }
    }
}

/// Browsers say where a request comes from, over https and on localhost; one from another site is none of ours.
fn comes_from_here(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_none_or(|value| matches!(value.as_bytes(), b"same-origin" | b"none"))
}

fn refused() -> Problem {
    Problem {
        status: StatusCode::FORBIDDEN,
        title: "This form is too old",
        sentence: "It was made before you signed in or out, or it does not come from this site. Nothing was changed: go back, reload the page and try again.",
        back: ("/instances", "Back to your instances"),
    }
}

/// An error that is told by its status alone.
fn status(status: StatusCode) -> WebError {
    let title = "This form was not understood";
    let sentence = match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            "What was sent is larger than any form of this site. Nothing was changed."
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            "What was sent is not a form of this site. Nothing was changed."
        }
        _ => {
            "A field is there twice or is not text. Nothing was changed: go back, reload the page and try again."
        }
    };
    Problem::new(status, title, sentence).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_its_secret_and_never_the_same_twice() {
        let (mine, other) = (Csrf::random(), Csrf::random());
        let (first, second) = (mine.token(), mine.token());
        assert_ne!(first, second);
        assert!(mine.accepts(&first) && mine.accepts(&second));
        assert!(!other.accepts(&first));
        for bad in ["", "x", &first[1..], &mine.to_text()] {
            assert!(!mine.accepts(bad), "{bad}");
        }
        assert!(Csrf::from_text(&mine.to_text()).unwrap().accepts(&first));
    }
}
