//! git as preflight uses it: asks a remote for its branches, fetches one branch's tip into a bare repository
//! without big files, and then reads that without ever going back to the network.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::process::Command;

use super::{
    Limits,
    remote::{RemoteBranches, RemoteError},
};
use crate::{
    domain::{Branch, RepoUrl},
    process::{self, Account, Output, OutputError, Running},
};

/// Where the fetched commit is kept in the bare repository.
pub(super) const TIP: &str = "refs/preflight/tip";

/// Files beyond this size stay on the remote, as git writes it; [`BLOB_LIMIT_BYTES`] is the same.
const BLOB_LIMIT: &str = "blob:limit=256k";

/// Files beyond this size are never read, also where a server ignores the filter.
pub(super) const BLOB_LIMIT_BYTES: u64 = 256 * 1024;

/// What a list of branches and tags may be long, in bytes: some hundred thousand of them.
const REFS_LIMIT: u64 = 32 << 20;

/// git's address space, in bytes. A server that never stops sending its list of branches is kept in memory by git.
const MEMORY: u64 = 768 << 20;

/// What the site's own time limit has to spare before the kernel's end of a program whose site was killed.
const GRACE: Duration = Duration::from_secs(5);

/// For every command: no helper, no hook, no maintenance, one file for all that comes, and little memory for it.
const CONFIG: [&str; 17] = [
    "protocol.allow=never",
    "http.followRedirects=false",
    // Where a server stops sending, git need not wait for our time limit.
    "http.lowSpeedLimit=100",
    "http.lowSpeedTime=15",
    "credential.helper=",
    "core.askPass=",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "fetch.unpackLimit=1",
    "fetch.writeCommitGraph=false",
    "transfer.bundleURI=false",
    // A blob beyond this is written as it comes and never held in memory.
    "core.bigFileThreshold=1m",
    "pack.threads=1",
    "core.packedGitLimit=128m",
    "core.deltaBaseCacheLimit=32m",
];

/// git in the directory of one look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Git<'a> {
    pub directory: &'a Path,
    pub account: Option<Account>,
    pub limits: Limits,
}

impl Git<'_> {
    /// The branches of `repo`, and which is the default.
    pub(super) async fn branches(self, repo: &RepoUrl) -> Result<RemoteBranches, RemoteError> {
        let mut command = self.online(repo);
        command.args(["ls-remote", "--symref", "--end-of-options"]).arg(repo.clone_url());
        let output = finish(&mut command, REFS_LIMIT).await?;
        if !output.status.success() {
            return Err(RemoteError::of_git(&output.stderr));
        }
        Ok(RemoteBranches::parse(&output.stdout))
    }

    /// Fetches the tip of `branch` to [`TIP`]; `sha256` is the remote's way of naming objects.
    pub(super) async fn fetch(
        self,
        repo: &RepoUrl,
        branch: &Branch,
        sha256: bool,
    ) -> Result<(), RemoteError> {
        let mut init = self.offline();
        init.args(["init", "--quiet", "--bare", "--template="]);
        init.arg(if sha256 { "--object-format=sha256" } else { "--object-format=sha1" });
        let output = finish(&mut init, 4096).await?;
        if !output.status.success() {
            return Err(RemoteError::Ours(output.stderr));
        }
        let mut command = self.online(repo);
        command
            .args(["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules"])
            .arg("--no-write-fetch-head")
            .arg(format!("--filter={BLOB_LIMIT}"))
            .args(["--end-of-options", &repo.clone_url(), &format!("+refs/heads/{branch}:{TIP}")]);
        let output = finish(&mut command, 1 << 20).await?;
        if !output.status.success() {
            let full = self.is_full();
            return Err(if full { RemoteError::TooLarge } else { RemoteError::of_git(&output.stderr) });
        }
        self.forget(repo).await
    }

    /// Forgets where what was not fetched could be had. `GIT_NO_LAZY_FETCH` alone is not enough: versions before
    /// 2.45 do not know it, and fail on a missing file where they may not fetch it.
    async fn forget(self, repo: &RepoUrl) -> Result<(), RemoteError> {
        let mut command = self.offline();
        command.args(["config", "--local", "--remove-section", &format!("remote.{}", repo.clone_url())]);
        // Where there is no such section, there is nothing to forget.
        finish(&mut command, 4096).await.map(|_| ())
    }

    /// Whether a file has reached the limit: the kernel ends the program that writes it, and git says only that
    /// its answer was invalid.
    fn is_full(self) -> bool {
        let packs = std::fs::read_dir(self.directory.join("objects/pack"));
        let sizes =
            packs.into_iter().flatten().flatten().filter_map(|pack| Some(pack.metadata().ok()?.len()));
        sizes.into_iter().any(|size| size >= self.limits.size)
    }

    /// Starts a command that reads what was fetched, with pipes both ways.
    pub(super) fn read(self, arguments: &[&str]) -> std::io::Result<Running> {
        let mut command = self.offline();
        command.args(arguments).stdin(Stdio::piped()).stderr(Stdio::null());
        Running::spawn(&mut command)
    }

    /// git that may speak the one scheme of `repo`, and no other.
    fn online(self, repo: &RepoUrl) -> Command {
        let mut command = self.offline();
        command.arg("-c").arg(format!("protocol.{}.allow=always", repo.scheme()));
        process::with_network(&mut command);
        command
    }

    /// git that may speak to nobody: a file that was not fetched is missing, and cannot be fetched by reading it.
    fn offline(self) -> Command {
        let limits =
            process::Limits { file_size: self.limits.size, memory: MEMORY, time: self.limits.time + GRACE };
        let mut command = process::command("git", self.account, limits);
        command
            .current_dir(self.directory)
            .env("HOME", self.directory)
            .env("GIT_DIR", self.directory)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1");
        for setting in CONFIG {
            command.args(["-c", setting]);
        }
        command
    }
}

async fn finish(command: &mut Command, most: u64) -> Result<Output, RemoteError> {
    let running = Running::spawn(command).map_err(|error| RemoteError::Ours(error.to_string()))?;
    running.output(most).await.map_err(|error| match error {
        OutputError::TooLong(_) => RemoteError::TooLarge,
        OutputError::Io(error) => RemoteError::Ours(error.to_string()),
    })
}
