//! A git host on loopback for tests: repositories made by git, served over smart HTTP.

use std::{
    io::Write,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use axum::Router;
use ec_django_deployer::{
    domain::{GitHosts, RepoUrl},
    samples::Samples,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// A host that ends with its test.
pub struct GitHost {
    directory: TempDir,
    pub address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for GitHost {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A directory that an account without rights can pass through, as a site's samples are.
pub fn open_dir() -> TempDir {
    tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap()
}

impl GitHost {
    /// A host without repositories.
    pub async fn start() -> Self {
        Self::start_with(Router::new()).await
    }

    /// A host that also answers `more`.
    pub async fn start_with(more: Router) -> Self {
        let directory = open_dir();
        let router = Samples::open(directory.path()).unwrap().router().merge(more);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { directory, address, serving }
    }

    /// Where its repositories are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// An empty repository.
    pub fn repository(&self, name: &str) -> Repository {
        let repository = Repository { path: self.directory.path().join(format!("{name}.git")) };
        std::fs::create_dir(&repository.path).unwrap();
        repository.git(&["init", "--quiet", "--bare", "--initial-branch=main"]);
        repository.git(&["config", "uploadpack.allowFilter", "true"]);
        repository.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
        repository
    }

    /// A repository with these files on `main`.
    pub fn with_files(&self, name: &str, files: &[(&str, &str)]) -> Repository {
        let repository = self.repository(name);
        repository.commit(files);
        repository
    }

    /// The URL of anything on this host.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The repository's URL as a site that allows this host reads it.
    pub fn repo(&self, path: &str) -> RepoUrl {
        let hosts: GitHosts = format!("http://{}", self.address).parse().unwrap();
        RepoUrl::parse_pasted(&self.url(path), &hosts).unwrap().url
    }
}

/// A bare repository of the host.
pub struct Repository {
    path: PathBuf,
}

impl Repository {
    /// Commits exactly these files to `main`; its id.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        let files: Vec<_> = files.iter().map(|(path, text)| ("100644", *path, text.as_bytes())).collect();
        self.commit_modes("Change the shop", &files)
    }

    /// The same with modes (`120000` is a symbolic link, `160000` a submodule) and any bytes.
    pub fn commit_modes(&self, message: &str, files: &[(&str, &str, &[u8])]) -> String {
        let mut index = Vec::new();
        for (mode, path, bytes) in files {
            let object = match *mode {
                "160000" => "1".repeat(40),
                _ => self.git_with(&["hash-object", "-w", "--stdin"], bytes),
            };
            index.extend_from_slice(format!("{mode} {object}\t{path}\0").as_bytes());
        }
        self.git(&["read-tree", "--empty"]);
        self.git_with(&["update-index", "-z", "--index-info"], &index);
        let tree = self.git(&["write-tree"]);
        self.commit_tree(&tree, message)
    }

    /// Commits a tree that is there to `main`; its id.
    pub fn commit_tree(&self, tree: &str, message: &str) -> String {
        let commit = self.git_with(&["commit-tree", tree], message.as_bytes());
        self.git(&["update-ref", "refs/heads/main", &commit]);
        commit
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_with(arguments, b"")
    }

    pub fn git_with(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut child = Command::new("git")
            .args(["-c", "user.name=A", "-c", "user.email=a@example.com"])
            .arg("--git-dir")
            .arg(&self.path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}
