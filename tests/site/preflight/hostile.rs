//! Preflight against hosts that behave badly, and repositories that are made to hurt.

use std::time::{Duration, Instant};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{StatusCode, header},
    response::Response,
    routing::{any, get},
};
use ec_django_deployer::preflight::{Field, Limits};
use futures_util::StreamExt;

use super::{MANAGE, PLAIN, Site, only, request};
use crate::git_host::GitHost;

/// A host whose every answer is `status`.
fn answers(status: StatusCode, name: &'static str, value: String) -> Router {
    let answer = move || {
        let value = value.clone();
        async move { Response::builder().status(status).header(name, value).body(Body::from("No.\n")).unwrap() }
    };
    Router::new().route("/you/{*rest}", any(answer))
}

#[tokio::test]
async fn hosts_that_refuse() {
    let site = Site::new();
    for (status, said) in [
        (StatusCode::NOT_FOUND, "There is no public repository \u{201c}you/shop\u{201d}"),
        (StatusCode::UNAUTHORIZED, "private repositories cannot be deployed yet"),
        (StatusCode::TOO_MANY_REQUESTS, "it answered 429"),
        (StatusCode::INTERNAL_SERVER_ERROR, "it answered 500"),
        (StatusCode::OK, "is not a git repository"),
    ] {
        let host =
            GitHost::start_with(answers(status, "www-authenticate", "Basic realm=\"x\"".to_owned())).await;
        let (field, message, _) = only(site.look(&host, "/you/shop").await);
        assert_eq!(field, Field::Repo);
        assert!(message.contains(said), "{status}: {message}");
    }
    let host = GitHost::start().await;
    let (_, message, _) = only(site.look(&host, "/samples/none").await);
    assert!(message.contains("no public repository"), "{message}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = GitHost::start().await;
    elsewhere.with_files("shop", &PLAIN);
    let target = elsewhere.url("/samples/shop.git/info/refs?service=git-upload-pack");
    for status in [StatusCode::MOVED_PERMANENTLY, StatusCode::FOUND, StatusCode::TEMPORARY_REDIRECT] {
        let host = GitHost::start_with(answers(status, "location", target.clone())).await;
        let (field, message, _) = only(Site::new().look(&host, "/you/shop").await);
        assert_eq!(field, Field::Repo);
        assert!(message.contains("leads to another one"), "{message}");
    }
}

#[tokio::test]
async fn a_host_that_is_not_there() {
    let host = GitHost::start().await;
    let gone = request(&host, "/you/shop");
    drop(host);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (field, message, _) = only(Site::new().preflight.plan(&gone).await);
    assert_eq!(field, Field::Repo);
    assert!(message.contains("could not be reached") || message.contains("no public"), "{message}");
}

/// Limits for hosts that keep one waiting.
fn impatient() -> Limits {
    Limits { time: Duration::from_secs(2), ..Limits::default() }
}

/// A host that answers the first question with `first`.
fn endless(first: Body) -> Router {
    let first = std::sync::Arc::new(std::sync::Mutex::new(Some(first)));
    let answer = move || {
        let body = first.lock().unwrap().take().unwrap_or_default();
        async move {
            Response::builder()
                .header(header::CONTENT_TYPE, "application/x-git-upload-pack-advertisement")
                .body(body)
                .unwrap()
        }
    };
    Router::new().route("/you/{repo}/info/refs", get(answer))
}

#[tokio::test]
async fn a_host_that_never_answers_is_left() {
    let hang = Router::new().route("/you/{*rest}", get(std::future::pending::<String>));
    let host = GitHost::start_with(hang).await;
    let site = Site::with_limits(impatient());
    let begin = Instant::now();
    let (field, message, _) = only(site.look(&host, "/you/shop").await);
    assert_eq!(field, Field::Repo);
    assert!(message.contains("within 2 seconds"), "{message}");
    assert!(begin.elapsed() < Duration::from_secs(4));
    assert!(site.is_clean().await);
}

#[tokio::test]
async fn a_host_that_never_ends_is_left() {
    let line = Bytes::from_static(b"003f1234567890123456789012345678901234567890 refs/heads/abcdefg\n");
    let head = Bytes::from_static(b"001e# service=git-upload-pack\n0000");
    let lines = futures_util::stream::iter([head]).chain(futures_util::stream::repeat(line));
    let host = GitHost::start_with(endless(Body::from_stream(lines.map(Ok::<_, std::io::Error>)))).await;
    let site = Site::with_limits(impatient());
    let (field, message, _) = only(site.look(&host, "/you/shop").await);
    assert_eq!(field, Field::Repo);
    assert!(message.contains("within 2 seconds") || message.contains("too large"), "{message}");
    assert!(site.is_clean().await);
}

#[tokio::test]
async fn garbage_is_no_repository() {
    let host = GitHost::start_with(endless(Body::from("garbage"))).await;
    let (field, message, _) = only(Site::new().look(&host, "/you/shop").await);
    assert_eq!(field, Field::Repo);
    assert!(message.contains("is not a git repository"), "{message}");
}

#[tokio::test]
async fn a_look_that_is_given_up_leaves_nothing_running() {
    let hang = Router::new().route("/you/{*rest}", get(std::future::pending::<String>));
    let host = GitHost::start_with(hang).await;
    let site = Site::new();
    let asked = request(&host, "/you/shop");
    let look = tokio::time::timeout(Duration::from_millis(700), site.preflight.plan(&asked));
    assert!(look.await.is_err());
    let url = asked.repo.clone_url();
    for _ in 0..50 {
        if !is_running(&url) {
            assert!(site.is_clean().await);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("git still asks for {url}");
}

/// Whether any program has `argument` on its command line.
fn is_running(argument: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        std::fs::read(entry.path().join("cmdline"))
            .is_ok_and(|line| line.split(|&byte| byte == 0).any(|word| word == argument.as_bytes()))
    })
}

#[tokio::test]
async fn names_that_are_made_to_mislead_are_shown_harmless() {
    let host = GitHost::start().await;
    let repository = host.repository("shop");
    let hostile: [(&str, &str, &[u8]); 5] = [
        ("100644", "a\nb\u{202e}c<script>/deep/manage.py", MANAGE.as_bytes()),
        ("100644", "$(reboot)/manage.py", MANAGE.as_bytes()),
        ("100644", "-rf/manage.py", MANAGE.as_bytes()),
        ("100644", "back end/manage.py", MANAGE.as_bytes()),
        ("100644", "\"quoted\"\t/manage.py", MANAGE.as_bytes()),
    ];
    repository.commit_modes("x\x1b[2J\u{202e}evil\n\nbody", &hostile);
    let site = Site::new();
    let (_, message, suggestions) = only(site.look(&host, "/samples/shop").await);
    assert!(suggestions.is_empty(), "{suggestions:?}");
    assert!(!message.contains(|c: char| c.is_control() || c == '\u{202e}'), "{message:?}");

    let mut files: Vec<_> = PLAIN.iter().map(|(path, text)| ("100644", *path, text.as_bytes())).collect();
    files.extend(hostile);
    repository.commit_modes("x\x1b[2J\u{202e}evil\n\nbody", &files);
    assert_eq!(site.look(&host, "/samples/shop").await.unwrap().subject, "x[2Jevil");
}

#[tokio::test]
async fn thousands_of_files_are_no_hindrance() {
    let host = GitHost::start().await;
    let repository = host.with_files("shop", &PLAIN);
    let object = repository.git_with(&["hash-object", "-w", "--stdin"], b"x = 1\n");
    let index: String =
        (0..20_000).map(|n| format!("100644 {object}\tshop/a{}/m{n}.py\0", n % 100)).collect();
    repository.git_with(&["update-index", "-z", "--index-info"], index.as_bytes());
    let tree = repository.git(&["write-tree"]);
    repository.commit_tree(&tree, "Many");
    Site::new().look(&host, "/samples/shop").await.unwrap();
}

#[tokio::test]
async fn a_tree_that_unfolds_without_end_is_too_large() {
    // Twelve trees, each ten times the one before: a trillion paths in a few hundred bytes.
    let host = GitHost::start().await;
    let repository = host.repository("shop");
    let blob = repository.git_with(&["hash-object", "-w", "--stdin"], b"x");
    let mut entry = format!("100644 blob {blob}");
    for _ in 0..12 {
        let lines: String = (0..10).map(|n| format!("{entry}\tn{n}\n")).collect();
        entry = format!("040000 tree {}", repository.git_with(&["mktree"], lines.as_bytes()));
    }
    repository.commit_tree(entry.rsplit(' ').next().unwrap(), "x");
    let site = Site::with_limits(Limits { time: Duration::from_secs(10), ..Limits::default() });
    let begin = Instant::now();
    let (field, message, _) = only(site.look(&host, "/samples/shop").await);
    assert_eq!(field, Field::Repo);
    assert!(message.contains("too large") || message.contains("within 10 seconds"), "{message}");
    assert!(begin.elapsed() < Duration::from_secs(12));
    assert!(site.is_clean().await);
}

#[tokio::test]
async fn a_tree_of_endless_depth_is_no_crash() {
    let host = GitHost::start().await;
    let repository = host.repository("shop");
    let blob = repository.git_with(&["hash-object", "-w", "--stdin"], b"x");
    let mut entry = format!("100644 blob {blob}");
    for _ in 0..600 {
        entry =
            format!("040000 tree {}", repository.git_with(&["mktree"], format!("{entry}\td\n").as_bytes()));
    }
    repository.commit_tree(entry.rsplit(' ').next().unwrap(), "x");
    let (_, message, _) = only(Site::new().look(&host, "/samples/shop").await);
    assert!(message.contains("There is no directory"), "{message}");
}

#[tokio::test]
async fn a_file_that_inflates_a_thousandfold_is_not_read() {
    let host = GitHost::start().await;
    let repository = host.repository("shop");
    // The server sends it all the same.
    repository.git(&["config", "uploadpack.allowFilter", "false"]);
    let zeros = vec![b'#'; 64 << 20];
    let mut files: Vec<_> = PLAIN.iter().map(|(path, text)| ("100644", *path, text.as_bytes())).collect();
    files.push(("100644", "shop/shop/local.py", &zeros));
    repository.commit_modes("x", &files);
    Site::new().look(&host, "/samples/shop").await.unwrap();
}
