//! Who is there: sessions, passwords, the token on every form, and the pages to sign in by.

mod csrf;
mod login;
mod password;
mod session;
mod setup;
mod throttle;

use axum::Router;
pub use csrf::{CheckedForm, Csrf, NoFields};
pub use password::{PasswordError, check_password_rules, hash_password};
pub use session::{Admin, ApiVisit, Visit, session_layer};
pub use throttle::Throttle;

use super::Site;

pub fn router() -> Router<Site> {
    Router::new().merge(login::router()).merge(setup::router())
}
