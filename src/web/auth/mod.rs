//! Who is there: sessions, passwords, the token on every form, and the pages to sign in by.

mod csrf;
mod login;
mod password;
mod password_link;
mod session;
mod setup;
mod throttle;

use axum::Router;
pub use csrf::{CheckedForm, Csrf, NoFields};
pub use password::{PasswordError, check_password_rules, hash_aside, hash_password, verify_aside};
pub use password_link::{Issued, LASTS_DAYS, issue};
pub use session::{Admin, ApiVisit, Visit, begin, session_layer};
pub use throttle::{Throttle, too_many as too_many_tries};

use super::Site;

pub fn router() -> Router<Site> {
    Router::new().merge(login::router()).merge(setup::router()).merge(password_link::router())
}
