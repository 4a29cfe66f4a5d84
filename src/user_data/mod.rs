//! What a machine runs: the typed block of values, then one library of steps, then a static script.

use crate::domain::{CommitId, DeploymentId, Plan, RepoUrl, ServerName};

/// What a deployment's script is told. Nothing else from outside reaches it.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Where the machine reaches the site, without a slash at the end.
    pub callback_url: &'a str,
    /// The deployment's bearer token.
    pub token: &'a str,
    /// The instance's name.
    pub instance: &'a ServerName,
    /// The repository.
    pub repo: &'a RepoUrl,
    /// How the commit is to be deployed.
    pub plan: &'a Plan,
}

/// The whole deployment script: the same text serves as user data at first boot and, through
/// [`Cloud::run`](crate::cloud::Cloud::run), for every later deployment.
pub fn provision(values: &Values<'_>) -> Vec<u8> {
    let _: &CommitId = &values.plan.commit;
    unimplemented!()
}

/// The whole image script that a bake runs.
pub fn image() -> Vec<u8> {
    unimplemented!()
}

/// digest
pub fn image_digest() -> String {
    unimplemented!()
}
/// compressed
pub fn compressed(script: &[u8]) -> Vec<u8> {
    let _ = script;
    unimplemented!()
}
