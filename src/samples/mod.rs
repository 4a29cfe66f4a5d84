//! The sample projects, embedded in the binary and served as git repositories over smart HTTP, so that the
//! main job also runs where no git host can be reached.
//!
//! The repositories are made by `git fast-import` with fixed author and date, so the same files are the same
//! commit everywhere. They are served by git's own `git http-backend`, an ordinary CGI program, which is what
//! makes partial fetches and fetches by commit work as they do on a real host.

mod cgi;
mod repository;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    Router,
    body::Body,
    extract::{Path as UrlPath, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::sync::Semaphore;

use crate::process::{self, Account};

/// Programs that serve at once; a git client asks twice for a clone, and each answer takes milliseconds.
const AT_ONCE: usize = 16;

/// A sample project as embedded.
struct Sample {
    name: &'static str,
    /// Paths from the repository's root, and contents.
    files: &'static [(&'static str, &'static [u8])],
}

/// Every directory of `samples/`, as `build.rs` lists it.
const EMBEDDED: &[Sample] = include!(concat!(env!("OUT_DIR"), "/samples.rs"));

/// The sample repositories of a directory.
#[derive(Clone, Debug)]
pub struct Samples {
    directory: PathBuf,
    account: Option<Account>,
    turns: Arc<Semaphore>,
}

/// Why the samples cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SamplesError {
    /// The directory cannot be made or used.
    #[error("{path}: {cause}", path = path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        cause: io::Error,
    },
    /// git could not make a repository.
    #[error("the sample {name}: git {action} failed: {cause}")]
    Git {
        /// The sample.
        name: String,
        /// What git was to do.
        action: &'static str,
        /// What it said.
        cause: String,
    },
    /// A sample that the site offers is not in this binary.
    #[error("the sample {0} is not embedded in this binary")]
    Missing(&'static str),
}

impl Samples {
    /// The names of the samples, each the repository's and its project's.
    pub const NAMES: [&str; 1] = ["guestbook"];

    /// Makes `<dir>/<name>.git` of each embedded sample, or adds a commit where its files have changed; blocks
    /// for some tens of milliseconds.
    ///
    /// Any other bare repository of that directory is served as well.
    ///
    /// # Errors
    /// Where `dir` cannot be used (run as root, git serves as `nobody`, who must be able to pass through every
    /// directory on the way), or git fails.
    pub fn prepare(dir: &Path) -> Result<Self, SamplesError> {
        let samples = Self::open(dir)?;
        for name in Self::NAMES {
            let sample =
                EMBEDDED.iter().find(|sample| sample.name == name).ok_or(SamplesError::Missing(name))?;
            repository::prepare(&samples.directory, sample.name, sample.files)?;
        }
        Ok(samples)
    }

    /// Serves whatever bare repositories `dir` holds; makes none.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub fn open(dir: &Path) -> Result<Self, SamplesError> {
        let fail = |cause| SamplesError::Directory { path: dir.to_owned(), cause };
        std::fs::create_dir_all(dir).map_err(fail)?;
        let directory = dir.canonicalize().map_err(fail)?;
        let account = Account::unprivileged().map_err(fail)?;
        if account.is_some() {
            process::check_reachable(&directory).map_err(fail)?;
        }
        Ok(Self { directory, account, turns: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// `/samples/{repo}.git/…` of the smart HTTP protocol, for fetching only.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/samples/{repo}/info/refs", get(info_refs))
            .route("/samples/{repo}/git-upload-pack", post(upload_pack))
            .with_state(self.clone())
    }

    /// The directory of the repository that a URL calls `segment`: `[a-z0-9-]+\.git`, and there.
    fn repository(&self, segment: &str) -> Option<PathBuf> {
        let name = segment.strip_suffix(".git")?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > 100 || name.starts_with('-') || !name.bytes().all(plain) {
            return None;
        }
        let path = self.directory.join(segment);
        path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()).then_some(path)
    }
}

/// What the repository has: the first half of every fetch. Pushing, and reading files without git, is refused.
async fn info_refs(
    State(samples): State<Samples>,
    UrlPath(segment): UrlPath<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(repository) = samples.repository(&segment) else { return not_found() };
    if query.as_deref() != Some("service=git-upload-pack") {
        return (StatusCode::FORBIDDEN, "This repository can be fetched with git, and nothing else.\n")
            .into_response();
    }
    let request =
        cgi::Request { method: "GET", path: "info/refs", query: "service=git-upload-pack", headers };
    samples.run(&repository, request, Body::empty()).await
}

/// The objects that the client lacks: the second half.
async fn upload_pack(
    State(samples): State<Samples>,
    UrlPath(segment): UrlPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Some(repository) = samples.repository(&segment) else { return not_found() };
    let request = cgi::Request { method: "POST", path: "git-upload-pack", query: "", headers };
    samples.run(&repository, request, body).await
}

impl Samples {
    async fn run(&self, repository: &Path, request: cgi::Request, body: Body) -> Response {
        let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else {
            let headers = [("retry-after", "1")];
            return (StatusCode::SERVICE_UNAVAILABLE, headers, "Busy; try again.\n").into_response();
        };
        match cgi::run(repository, self.account, request, body, turn).await {
            Ok(response) => response,
            Err(error) => {
                tracing::error!(repository = %repository.display(), %error, "git http-backend failed");
                (StatusCode::BAD_GATEWAY, "The repository could not be read.\n").into_response()
            }
        }
    }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "There is no such repository.\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_that_is_offered_is_embedded_with_its_project() {
        for name in Samples::NAMES {
            let sample = EMBEDDED.iter().find(|sample| sample.name == name).expect("embedded");
            let manage = format!("{name}/manage.py");
            assert!(sample.files.iter().any(|(path, _)| *path == manage), "{name} has {manage}");
        }
    }

    #[test]
    fn only_plain_names_are_looked_up() {
        let directory = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir()
            .unwrap();
        std::fs::create_dir(directory.path().join("shop.git")).unwrap();
        std::fs::create_dir(directory.path().join("Shop.git")).unwrap();
        std::os::unix::fs::symlink("/etc", directory.path().join("etc.git")).unwrap();
        let samples = Samples::open(directory.path()).unwrap();
        assert!(samples.repository("shop.git").is_some());
        for bad in ["shop", "Shop.git", "etc.git", "..", "../shop.git", ".git", "-x.git", "none.git", ""] {
            assert!(samples.repository(bad).is_none(), "{bad}");
        }
    }
}
