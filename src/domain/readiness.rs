//! Whether the cloud can launch machines.

/// Whether the cloud can launch machines. It is seen anew at each start of the site, and never kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// It can, as far as is known.
    #[default]
    Ready,
    /// It cannot: a sentence that says why, with the cure where one is known. It is looked at again now and then.
    NotReady(String),
}

impl Readiness {
    /// Whether it can.
    pub fn is_ready(&self) -> bool {
        *self == Self::Ready
    }

    /// Why it cannot.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Ready => None,
            Self::NotReady(reason) => Some(reason),
        }
    }
}
