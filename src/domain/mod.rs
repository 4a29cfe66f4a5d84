//! What the product talks about: names that cannot hold a bad value, instances and their life,
//! deployments, and the deploy log that machines report by. No I/O, and nothing of ours imported.

mod deploy_log;
mod deployment;
mod image;
mod instance;
mod log_key;
mod names;
mod plan;
mod readiness;
mod repo_url;
mod status;
mod step;
mod time;
mod user;

pub use deploy_log::{Line, Mark, Report, StepState, parse_line};
pub use deployment::{Deployment, DeploymentId, Failure, Outcome};
pub use image::{Image, ImageId, ImageState};
pub use instance::{Instance, InstanceId, RowId};
pub use log_key::LogKey;
pub use names::{Branch, CommitId, NameError, ProjectName, ServerName, Username};
pub use plan::{Database, Dependencies, Encoding, Plan};
pub use readiness::Readiness;
pub use repo_url::{GitHosts, PastedRepo, RepoUrl};
pub use status::{InvalidTransition, Status, Wanted};
pub use step::Step;
pub use time::Timestamp;
pub use user::{Role, User, UserId};
