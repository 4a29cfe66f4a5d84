//! The people of a site.

use std::str::FromStr;

use super::{Timestamp, Username};

/// A person's row in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub i64);

/// Stands in the place of a password's hash for who has none yet. No password has this hash; it has the
/// parameters of all others, so that comparing with it takes as long as with a person's own.
pub const NO_PASSWORD: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IGhlcmUhIQ$0000000000000000000000000000000000000000000";

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sees and touches only their own instances.
    Owner,
    /// Sees everyone's instances and manages users and images.
    Admin,
}

impl Role {
    /// The role in pages and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
        }
    }
}

/// The text names no role.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no role is called {0:?}: owner or admin")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        match text {
            "owner" => Ok(Self::Owner),
            "admin" => Ok(Self::Admin),
            _ => Err(UnknownRole(text.to_owned())),
        }
    }
}

/// A person who may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their row.
    pub id: UserId,
    /// The name they sign in by.
    pub username: Username,
    /// What they may do.
    pub role: Role,
    /// When they were added.
    pub created_at: Timestamp,
    /// Since when they cannot sign in, where an admin has disabled them.
    pub disabled_at: Option<Timestamp>,
}

impl User {
    /// Whether this person sees everyone's instances.
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }

    /// Whether this person cannot sign in.
    pub fn is_disabled(&self) -> bool {
        self.disabled_at.is_some()
    }
}
