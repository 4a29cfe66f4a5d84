//! Looks at a repository over git: a plan, or what to fix.

use std::path::PathBuf;

use crate::domain::{Branch, NameError, Plan, ProjectName, RepoUrl, UserId};

/// What to look at.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks: one look at a time for each.
    pub owner: UserId,
    /// The repository.
    pub repo: RepoUrl,
    /// The directory that is to hold `manage.py`.
    pub project: ProjectName,
    /// The branch; else the repository's default.
    pub branch: Option<Branch>,
}

/// The form's field that a finding belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The repository's URL.
    Repo,
    /// The project's name.
    Project,
    /// The branch.
    Branch,
}

/// What has to be fixed before anything is launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it is shown.
    pub field: Field,
    /// What is wrong and what to do, with values that would do.
    pub error: NameError,
}

/// Looks at repositories, a few at once.
#[derive(Clone, Debug)]
pub struct Preflight {}

#[allow(missing_docs, unused_variables)]
impl Preflight {
    /// `scratch` is a directory for short-lived bare repositories.
    pub fn new(scratch: PathBuf) -> Self {
        Self {}
    }

    pub async fn plan(&self, request: &Request) -> Result<Plan, Vec<Finding>> {
        unimplemented!()
    }
}
