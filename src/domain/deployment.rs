//! One attempt to put one commit on its instance.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Plan, Report, RowId, Step, Timestamp, Username};

/// A deployment's number over the whole site, in its log's URL and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeploymentId(pub i64);

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a deployment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its release serves.
    Live,
    /// A step failed or its deadline passed.
    Failed,
    /// A newer one took its place, or its release's.
    Replaced,
}

impl Outcome {
    /// The outcome in pages and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Failed => "failed",
            Self::Replaced => "replaced",
        }
    }
}

/// The text names no outcome.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no outcome is called {0:?}")]
pub struct UnknownOutcome(String);

impl FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        [Self::Live, Self::Failed, Self::Replaced]
            .into_iter()
            .find(|outcome| outcome.name() == text)
            .ok_or_else(|| UnknownOutcome(text.to_owned()))
    }
}

/// What went wrong: the step it happened in, where there is one, and a sentence for the owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step, where it happened in one; a launch or a boot has none.
    pub step: Option<Step>,
    /// What happened and what helps, for the owner.
    pub message: String,
}

/// One attempt to put one commit on its instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Its number over the whole site.
    pub id: DeploymentId,
    /// The instance.
    pub instance: RowId,
    /// Its number on its instance, from 1.
    pub number: i64,
    /// How its commit is to be deployed.
    pub plan: Plan,
    /// What its log has said so far.
    pub report: Report,
    /// Bytes of its log that have come.
    pub log_size: u64,
    /// Who asked for it.
    pub requested_by: Option<Username>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it was handed to a machine.
    pub begun_at: Option<Timestamp>,
    /// When its log's first byte came.
    pub first_byte_at: Option<Timestamp>,
    /// Since when the step under way is.
    pub step_since: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How it ended; none while it waits or runs.
    pub outcome: Option<Outcome>,
    /// What went wrong, where it failed.
    pub failure: Option<Failure>,
}

impl Deployment {
    /// Whether it waits for a machine, or for the one before it to end.
    pub fn is_queued(&self) -> bool {
        self.outcome.is_none() && self.begun_at.is_none()
    }

    /// Whether a machine has it and it has not ended.
    pub fn is_running(&self) -> bool {
        self.outcome.is_none() && self.begun_at.is_some()
    }
}
