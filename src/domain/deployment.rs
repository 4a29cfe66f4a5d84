//! One attempt to put one commit on its instance.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Plan, RepoUrl, Report, RowId, Step, Timestamp, Username};

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

/// Why a deployment was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The instance was made with it.
    First,
    /// The branch's newest commit was wanted on the instance as it is.
    Redeploy,
    /// The one before it failed.
    TryAgain,
    /// The branch or the description was changed.
    Edit,
    /// Another repository or project takes the place of the one before.
    Replace,
    /// A stopped machine was to be started and deployed on.
    Start,
    /// The machine was terminated, and a new one is wanted.
    DeployAgain,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::First,
        Self::Redeploy,
        Self::TryAgain,
        Self::Edit,
        Self::Replace,
        Self::Start,
        Self::DeployAgain,
    ];

    /// The reason in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Redeploy => "redeploy",
            Self::TryAgain => "try_again",
            Self::Edit => "edit",
            Self::Replace => "replace",
            Self::Start => "start",
            Self::DeployAgain => "deploy_again",
        }
    }

    /// The reason as people read it in a list.
    pub fn title(self) -> &'static str {
        match self {
            Self::First => "First deployment",
            Self::Redeploy => "Redeploy",
            Self::TryAgain => "Try again",
            Self::Edit => "Edit",
            Self::Replace => "Another project",
            Self::Start => "Start",
            Self::DeployAgain => "Deploy again",
        }
    }
}

/// The text names no reason.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no reason is called {0:?}")]
pub struct UnknownReason(String);

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.name() == text)
            .ok_or_else(|| UnknownReason(text.to_owned()))
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
    /// The repository that its commit is of; none where an older program asked for it.
    pub repo: Option<RepoUrl>,
    /// How its commit is to be deployed.
    pub plan: Plan,
    /// What its log has said so far.
    pub report: Report,
    /// Bytes of its log that have come.
    pub log_size: u64,
    /// Who asked for it.
    pub requested_by: Option<Username>,
    /// Why; none where it was asked for before this was kept.
    pub reason: Option<Reason>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back_and_no_other() {
        for reason in Reason::ALL {
            assert_eq!(reason.name().parse(), Ok(reason));
        }
        assert_eq!("whim".parse::<Reason>().unwrap_err().to_string(), "no reason is called \"whim\"");
    }
}
