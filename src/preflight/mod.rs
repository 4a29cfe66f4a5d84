//! Looks at a repository over git: a plan, or what to fix.
//!
//! What a stranger's repository holds is read and never run. git fetches one commit without its big files, as an
//! account without rights and within limits that the kernel keeps ([`crate::process`]); its paths and texts
//! become one value, and all that is concluded from them are plain functions of that value.

mod apps;
mod conditions;
mod database;
mod dependencies;
mod django;
mod evaluate;
mod git;
mod guards;
mod imports;
mod layout;
mod modules;
mod nearest;
mod objects;
mod plan;
mod python;
mod remote;
mod scratch;
mod series;
mod settings;
mod snapshot;
mod stdlib;
mod text;
mod turns;
mod variables;
mod wish;

use std::{path::PathBuf, sync::Arc, time::Duration};

use git::Git;
use remote::RemoteError;
use scratch::Scratch;
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout},
};
use turns::Turns;

use crate::{
    domain::{Branch, NameError, Plan, ProjectName, RepoUrl, UserId},
    process::Account,
};

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

/// What one look may take, and how many there are at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// All that one look may take, the wait for its turn included.
    pub time: Duration,
    /// How long of it one waits for its turn.
    pub wait: Duration,
    /// What is fetched at most, in bytes.
    pub size: u64,
    /// Looks at once; an owner has one.
    pub at_once: usize,
}

/// 19 seconds are ample for a commit without its big files, and with all that is around them a person waits for
/// less than 20. A look of the ordinary kind has its turn late and is still in time.
impl Default for Limits {
    fn default() -> Self {
        let (time, wait) = (Duration::from_secs(19), Duration::from_secs(14));
        Self { time, wait, size: 200 << 20, at_once: 4 }
    }
}

/// Looks at repositories, a few at once.
#[derive(Clone, Debug)]
pub struct Preflight {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limits: Limits,
    turns: Turns,
    account: Option<Account>,
    /// None where the directory could not be made: each look then says so.
    scratch: Option<Scratch>,
}

impl Preflight {
    /// `scratch` is a directory for short-lived bare repositories; what killed sites left there is removed.
    ///
    /// As root, git runs as `nobody`. Where that account cannot pass through `scratch`, the host's directory
    /// for temporary files takes its place.
    pub fn new(scratch: PathBuf) -> Self {
        Self::with_limits(scratch, Limits::default())
    }

    /// The same with other limits.
    pub fn with_limits(scratch: PathBuf, limits: Limits) -> Self {
        let opened = Account::unprivileged()
            .and_then(|account| Ok((account, Scratch::open(&scratch, account)?)))
            .inspect_err(
                |error| tracing::error!(scratch = %scratch.display(), %error, "preflight cannot work"),
            );
        let (account, scratch) = opened.map_or((None, None), |(account, scratch)| (account, Some(scratch)));
        let turns = Turns::new(limits.at_once);
        Self { inner: Arc::new(Inner { limits, turns, account, scratch }) }
    }

    /// Looks at the tip of a branch: how it is to be deployed, or what to fix.
    ///
    /// Takes at most [`Limits::time`]. Dropped before it is done, it ends git and
    /// removes what was fetched.
    ///
    /// # Errors
    /// What to fix, each on its field: also where the repository cannot be reached.
    pub async fn plan(&self, request: &Request) -> Result<Plan, Vec<Finding>> {
        let Inner { limits, turns, .. } = &*self.inner;
        let on_repo = |message: &str| vec![Finding { field: Field::Repo, error: NameError::new(message) }];
        let begin = Instant::now();
        let Ok(_turn) = timeout(limits.wait, turns.take(request.owner)).await else {
            return Err(on_repo("Many repositories are being looked at just now. Try again in a minute."));
        };
        let rest = limits.time.saturating_sub(begin.elapsed());
        timeout(rest, self.look(request)).await.unwrap_or_else(|_| {
            let message = format!(
                "The repository did not answer in full within {:.0} seconds. Try again in a minute.",
                rest.as_secs_f64()
            );
            Err(on_repo(&message))
        })
    }

    async fn look(&self, request: &Request) -> Result<Plan, Vec<Finding>> {
        let Inner { limits, account, scratch, .. } = &*self.inner;
        let ours = |error: RemoteError| {
            tracing::error!(repo = %request.repo, %error, "preflight made no plan");
            vec![error.finding(&request.repo, *limits)]
        };
        let on_repo = |error: RemoteError| {
            tracing::info!(repo = %request.repo, %error, "preflight found no repository");
            vec![error.finding(&request.repo, *limits)]
        };
        let scratch = scratch.as_ref().ok_or_else(|| on_repo(RemoteError::Ours("no scratch".to_owned())))?;
        let look = scratch.look().map_err(|error| on_repo(RemoteError::Ours(error.to_string())))?;
        let git = Git { directory: look.path(), account: *account, limits: *limits };
        let branches = git.branches(&request.repo).await.map_err(on_repo)?;
        let branch = branches.choose(request.branch.as_ref()).map_err(|finding| vec![finding])?;
        git.fetch(&request.repo, &branch, branches.is_sha256()).await.map_err(on_repo)?;
        let snapshot = objects::read(git, &request.project).await.map_err(on_repo)?;
        // A stranger's repository may take a while to think about: not on a thread that others wait for.
        let asked = request.clone();
        let made = spawn_blocking(move || plan::make(&snapshot, &asked, branch)).await;
        made.unwrap_or_else(|error| Err(ours(RemoteError::Ours(error.to_string()))))
    }
}
