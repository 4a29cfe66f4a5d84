//! What the product talks about: names that cannot hold a bad value, instances and their life,
//! deployments, and the deploy log that machines report by. No I/O, and nothing of ours imported.

mod address_rule;
mod bake;
mod command;
mod deploy_log;
mod deployment;
pub mod distribution;
mod dotenv;
mod fetch;
mod first_admin;
mod image;
mod instance;
mod log_key;
mod machine_type;
mod names;
mod orphan;
mod plan;
pub mod price;
mod project_log;
mod readiness;
mod repo_url;
mod scrub;
mod status;
mod step;
mod time;
mod user;
mod variable;
mod vault;

pub use address_rule::AddressRule;
pub use bake::{BakeReport, BakeStep};
pub use command::{CommandOutput, CommandRun, ManagementCommand, can_run};
pub use deploy_log::{Line, Mark, Report, StepState, parse_line};
pub use deployment::{Deployment, DeploymentId, Failure, Outcome, Reason};
pub use dotenv::{DotenvLine, parse_dotenv};
pub use fetch::{Fetch, FetchFormat, FetchId, FetchKind, FetchState, UnknownOfFetch, can_be_asked};
pub use first_admin::{AdminName, AdminState, FirstAdmin, admin_password};
pub use image::{ADOPTED, GIVEN, Image, ImageId, ImageState};
pub use instance::{Instance, InstanceId, Reboot, RowId};
pub use log_key::LogKey;
pub use machine_type::MachineType;
pub use names::{Branch, CommitId, NameError, ProjectName, ServerName, Username};
pub use orphan::{
    AVAILABLE, Heir, Holding, HoldingKind, Known, Orphan, OrphanId, OrphanWish, RUNNING, STOPPED,
    UnknownOfOrphan, YOUNG_SECONDS, adopt_image, adopt_machine, orphans,
};
pub use plan::{Answer, Database, DatabasePart, Demanded, Dependencies, Encoding, Plan, PythonWish};
pub use project_log::ProjectLog;
pub use readiness::Readiness;
pub use repo_url::{GitHosts, PastedRepo, RepoUrl};
pub use scrub::Scrubber;
pub use status::{InvalidTransition, Status, Wanted};
pub use step::Step;
pub use time::Timestamp;
pub use user::{NO_PASSWORD, Role, User, UserId};
pub use variable::{SecretValue, Variable, VariableName, names_a_secret};
pub use vault::{Lost, Vault};
