//! The samples as git clients see them, over a real connection.

use std::{
    path::Path,
    process::{Command, Output},
};

use ec_django_deployer::samples::Samples;

use crate::git_host::{GitHost, open_dir};

const FILES: [(&str, &str); 2] = [("shop/manage.py", "import django\n"), ("README.md", "A shop.\n")];

/// git as anybody runs it, without this host's configuration.
async fn git(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("git");
    command
        .current_dir(directory)
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn succeeds(directory: &Path, arguments: &[&str]) -> String {
    let output = git(directory, arguments).await;
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn fails(directory: &Path, arguments: &[&str]) -> String {
    let output = git(directory, arguments).await;
    assert!(!output.status.success(), "git {arguments:?} succeeded");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_sample_is_cloned_in_every_version_of_the_protocol() {
    let host = GitHost::start().await;
    let commit = host.with_files("shop", &FILES).git(&["rev-parse", "main"]);
    let place = tempfile::tempdir().unwrap();
    for version in ["0", "1", "2"] {
        let protocol = format!("protocol.version={version}");
        let url = host.url("/samples/shop.git");
        succeeds(place.path(), &["-c", &protocol, "clone", "--quiet", "--depth=1", &url, version]).await;
        let clone = place.path().join(version);
        assert_eq!(std::fs::read_to_string(clone.join("shop/manage.py")).unwrap(), "import django\n");
        assert_eq!(succeeds(&clone, &["rev-parse", "HEAD"]).await, commit);
        assert_eq!(succeeds(&clone, &["branch", "--show-current"]).await, "main");
    }
}

#[tokio::test]
async fn a_fetch_leaves_out_big_files_and_takes_a_commit_by_its_id() {
    let host = GitHost::start().await;
    let big = "x".repeat(300 * 1024);
    let repository = host.with_files("shop", &[FILES[0], ("shop/big.bin", &big)]);
    let first = repository.git(&["rev-parse", "main"]);
    repository.commit(&[("shop/manage.py", "import sys\n")]);
    let place = tempfile::tempdir().unwrap();
    let url = host.url("/samples/shop.git");
    succeeds(place.path(), &["init", "--quiet", "."]).await;
    let fetch = ["fetch", "--quiet", "--depth=1", "--filter=blob:limit=256k", &url, &first];
    succeeds(place.path(), &fetch).await;
    let missing = ["rev-list", "--objects", "--missing=print", &first];
    let listed = succeeds(place.path(), &missing).await;
    assert_eq!(listed.lines().filter(|line| line.starts_with('?')).count(), 1, "{listed}");
}

#[tokio::test]
async fn many_commits_are_negotiated_in_compressed_requests() {
    // git compresses a request's body from 1024 bytes on: some tens of commits that both have.
    let host = GitHost::start().await;
    let repository = host.repository("shop");
    for n in 0..60 {
        repository.commit(&[("n", &n.to_string())]);
        let id = repository.git(&["rev-parse", "main"]);
        repository.git(&["update-ref", &format!("refs/heads/b{n}"), &id]);
    }
    let place = tempfile::tempdir().unwrap();
    succeeds(place.path(), &["clone", "--quiet", "--bare", &host.url("/samples/shop.git"), "."]).await;
    repository.commit(&FILES);
    succeeds(place.path(), &["fetch", "--quiet", "origin", "+refs/heads/*:refs/heads/*"]).await;
    let tip = repository.git(&["rev-parse", "main"]);
    assert_eq!(succeeds(place.path(), &["rev-parse", "main"]).await, tip);
}

#[tokio::test]
async fn pushing_and_reading_files_is_refused() {
    let host = GitHost::start().await;
    let repository = host.with_files("shop", &FILES);
    // Even where the repository itself would let anybody.
    repository.git(&["config", "http.receivepack", "true"]);
    let place = tempfile::tempdir().unwrap();
    let url = host.url("/samples/shop.git");
    succeeds(place.path(), &["clone", "--quiet", &url, "."]).await;
    let said = fails(place.path(), &["push", "--quiet", "origin", "HEAD:refs/heads/mine"]).await;
    assert!(said.contains("403"), "{said}");
    for (path, status) in [
        ("/samples/shop.git/info/refs", 403),
        ("/samples/shop.git/info/refs?service=git-receive-pack", 403),
        ("/samples/shop.git/info/refs?service=git-upload-pack&service=git-receive-pack", 403),
        ("/samples/shop.git/git-receive-pack", 404),
        ("/samples/shop.git/config", 404),
        ("/samples/shop.git/HEAD", 404),
        ("/samples/shop.git", 404),
    ] {
        assert_eq!(get(&host, path).await.0, status, "{path}");
    }
}

#[tokio::test]
async fn only_repositories_of_the_directory_are_served() {
    let host = GitHost::start().await;
    host.with_files("shop", &FILES);
    let place = tempfile::tempdir().unwrap();
    let said = fails(place.path(), &["clone", &host.url("/samples/none.git"), "x"]).await;
    assert!(said.contains("not found"), "{said}");
    for repository in
        ["..", "%2e%2e", "..%2fshop.git", "shop.git%2f..", "%00.git", "SHOP.git", "sh%0aop.git", ".git"]
    {
        let path = format!("/samples/{repository}/info/refs?service=git-upload-pack");
        assert_eq!(get(&host, &path).await.0, 404, "{path}");
    }
    assert_eq!(get(&host, "/samples/shop.git/info/refs?service=git-upload-pack").await.0, 200);
}

#[tokio::test]
async fn the_answer_is_not_kept_by_caches_and_names_its_type() {
    let host = GitHost::start().await;
    host.with_files("shop", &FILES);
    let (_, head) = get(&host, "/samples/shop.git/info/refs?service=git-upload-pack").await;
    assert!(head.contains("content-type: application/x-git-upload-pack-advertisement"), "{head}");
    assert!(head.contains("cache-control: no-cache"), "{head}");
}

#[tokio::test]
async fn a_request_that_is_no_request_gets_an_error_and_ends() {
    let host = GitHost::start().await;
    host.with_files("shop", &FILES);
    let url = host.url("/samples/shop.git/git-upload-pack");
    let client = reqwest::Client::new();
    let wrong_type = client.post(&url).body("0000").send().await.unwrap();
    assert_eq!(wrong_type.status(), 415);
    let garbage = client
        .post(&url)
        .header("content-type", "application/x-git-upload-pack-request")
        .body(vec![b'x'; 5 << 20])
        .send()
        .await;
    // Refused, answered with git's complaint, or cut off: not taken for a fetch.
    if let Ok(answer) = garbage {
        let packed = answer.bytes().await.is_ok_and(|bytes| bytes.windows(4).any(|four| four == b"PACK"));
        assert!(!packed);
    }
}

#[tokio::test]
async fn what_the_binary_embeds_is_served() {
    let directory = open_dir();
    let samples = Samples::prepare(directory.path()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, samples.router()).await.unwrap() });
    let place = tempfile::tempdir().unwrap();
    for name in Samples::NAMES {
        let url = format!("http://{address}/samples/{name}.git");
        succeeds(place.path(), &["clone", "--quiet", "--depth=1", &url, name]).await;
        assert!(place.path().join(name).join(name).join("manage.py").is_file());
    }
    serving.abort();
}

#[cfg(unix)]
#[test]
fn a_closed_directory_is_refused_with_the_reason() {
    use std::os::unix::fs::PermissionsExt;
    let closed = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o700)).tempdir().unwrap();
    let opened = Samples::open(&closed.path().join("samples"));
    if nix::unistd::Uid::effective().is_root() {
        let error = opened.unwrap_err().to_string();
        assert!(error.contains("closed to the unprivileged account"), "{error}");
    } else {
        opened.unwrap();
    }
}

/// A plain GET without any tidying of the path; status and head.
async fn get(host: &GitHost, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(host.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned())
}
