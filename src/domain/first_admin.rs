//! The first admin of a project: a superuser that the deployment makes, whose password is shown once.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{NameError, SecretValue, Timestamp, names::name_type};

/// The username of a project's admin, by the rule of Django's own: letters, digits and `@.+-_`, at most 150.
/// <https://docs.djangoproject.com/en/5.2/ref/contrib/auth/#django.contrib.auth.models.User.username>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminName(String);

impl FromStr for AdminName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = |c: char| c.is_alphanumeric() || "@.+-_".contains(c);
        if text.is_empty() || text.chars().count() > 150 || !text.chars().all(good) {
            return Err(NameError::new("At most 150 letters, digits and `@ . + - _`, without spaces."));
        }
        Ok(Self(text.to_owned()))
    }
}

name_type!(AdminName);

/// How far a first admin has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdminState {
    /// It waits for a deployment to make it.
    Wanted,
    /// A deployment has made it.
    Created,
    /// The project had a user of this name already, who was left alone.
    Exists,
    /// A deployment could not make it; the next one tries again.
    Failed,
}

impl AdminState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Wanted, Self::Created, Self::Exists, Self::Failed];

    /// The state in the database, and in the mark that tells of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Created => "created",
            Self::Exists => "exists",
            Self::Failed => "failed",
        }
    }
}

/// The text names no state.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no state of an admin is called {0:?}")]
pub struct UnknownAdminState(String);

impl FromStr for AdminState {
    type Err = UnknownAdminState;

    fn from_str(text: &str) -> Result<Self, UnknownAdminState> {
        Self::ALL
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or_else(|| UnknownAdminState(text.to_owned()))
    }
}

/// The first admin of an instance's project, without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstAdmin {
    /// Its username.
    pub name: AdminName,
    /// How far it is. One whose deployment has not ended well yet is still wanted.
    pub state: AdminState,
    /// Whether the password can still be shown.
    pub has_password: bool,
    /// When the password was shown.
    pub shown_at: Option<Timestamp>,
}

/// Letters and digits that are not taken for one another.
const CLEAR: &[u8; 54] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ234567";

/// A random password of 20 of them: 115 bits.
pub fn admin_password() -> SecretValue {
    let text: String = (0..20).map(|_| char::from(CLEAR[rand::random_range(0..CLEAR.len())])).collect();
    SecretValue::try_from(text).expect("letters and digits are a value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_django_takes() {
        for good in ["mira", "Mira.B", "mira@example.com", "a+b_c-d", "\u{e9}va", &"a".repeat(150)] {
            assert!(good.parse::<AdminName>().is_ok(), "{good}");
        }
        for bad in ["", "two words", "a\n", "<b>", "a'b", "-\0", &"a".repeat(151)] {
            assert!(bad.parse::<AdminName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn passwords_are_clear_to_read_and_never_the_same() {
        let (one, two) = (admin_password(), admin_password());
        assert_ne!(one.expose(), two.expose());
        assert_eq!(one.expose().len(), 20);
        assert!(!CLEAR.iter().any(|c| b"0Oo1lI89".contains(c)));
    }

    #[test]
    fn every_state_reads_back() {
        for state in AdminState::ALL {
            assert_eq!(state.name().parse(), Ok(state));
        }
        assert!("made".parse::<AdminState>().is_err());
    }
}
