//! Repositories and git hosts that mean no good, through the form and real git: told on its field, in time.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, Bytes},
    http::{StatusCode, header},
    response::Response,
    routing::{any, get},
};
use futures_util::{StreamExt, stream};
use reqwest::Method;

use super::{
    Value,
    answer::{is_told, keeps_what_was_typed, shows_no_markup},
    values,
    world::{ask, form},
};
use crate::{
    git_host::GitHost,
    helpers::{App, Options, Person, encode, spawn_app_with},
};

const MANAGE: &[u8] = b"import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n";
const SETTINGS: &[u8] = b"ROOT_URLCONF = 'shop.urls'\nWSGI_APPLICATION = 'shop.wsgi.application'\n";
/// A file's mode, path and bytes.
type File = (&'static str, &'static str, &'static [u8]);

const PROJECT: [File; 4] = [
    ("100644", "shop/manage.py", MANAGE),
    ("100644", "shop/shop/settings.py", SETTINGS),
    ("100644", "shop/shop/urls.py", b"urlpatterns = []\n"),
    ("100644", "shop/shop/wsgi.py", MANAGE),
];

/// A site that may ask this host alone.
async fn site_of(host: &GitHost) -> App {
    spawn_app_with(Options { git_host: Some(host.url("")), ..Options::default() }).await
}

/// Submits the form for the project `shop`; the error that is on the field.
async fn refused(person: &mut Person, url: &str, field: &str) -> String {
    let token = person.token.clone().unwrap();
    let fields = [("csrf_token", &*token), ("github_url", url), ("project_name", "shop")];
    let answer = ask(person, Method::POST, "/instances/new", form(encode(&fields))).await;
    is_told(&answer, url);
    keeps_what_was_typed(&answer, "github_url", url, url);
    answer.between(&format!("id=\"{field}-error\"><span>"), "</span>")
}

/// What a host answers under `/you`: whose name says how it behaves.
fn misbehaving(inside: String) -> Router {
    let refs = |body: Body| {
        let kind = "application/x-git-upload-pack-advertisement";
        Response::builder().header(header::CONTENT_TYPE, kind).body(body).unwrap()
    };
    let status = |status: StatusCode| async move {
        let challenge = (header::WWW_AUTHENTICATE, "Basic realm=\"you\"");
        Response::builder().status(status).header(challenge.0, challenge.1).body(Body::empty()).unwrap()
    };
    let to = move |to: String| async move {
        Response::builder()
            .status(StatusCode::FOUND)
            .header(header::LOCATION, to)
            .body(Body::empty())
            .unwrap()
    };
    let endless = move || async move {
        let head = Bytes::from_static(b"001e# service=git-upload-pack\n0000");
        let line = Bytes::from_static(b"003f1234567890123456789012345678901234567890 refs/heads/abcdefg\n");
        refs(Body::from_stream(stream::iter([head]).chain(stream::repeat(line)).map(Ok::<_, std::io::Error>)))
    };
    let slow = move || async move {
        let head = stream::iter([Bytes::from_static(b"001e# service=git-upload-pack\n0000")]);
        let rest = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((
                Bytes::from_static(b"003f1234567890123456789012345678901234567890 refs/heads/abcdefg\n"),
                (),
            ))
        });
        refs(Body::from_stream(head.chain(rest).map(Ok::<_, std::io::Error>)))
    };
    Router::new()
        .route("/you/private/{*rest}", any(move || status(StatusCode::UNAUTHORIZED)))
        .route("/you/private.git/{*rest}", any(move || status(StatusCode::UNAUTHORIZED)))
        .route("/you/broken.git/{*rest}", any(move || status(StatusCode::INTERNAL_SERVER_ERROR)))
        .route("/you/inside.git/{*rest}", any(move || to(inside.clone())))
        .route("/you/metadata.git/{*rest}", any(move || to("http://169.254.169.254/latest".to_owned())))
        .route("/you/file.git/{*rest}", any(move || to("file:///etc/passwd".to_owned())))
        .route("/you/page.git/{*rest}", any(async || "<!doctype html>\n<script>alert(1)</script>\n"))
        .route("/you/hangs.git/{*rest}", get(std::future::pending::<String>))
        .route("/you/endless.git/{*rest}", get(endless))
        .route("/you/slow.git/{*rest}", get(slow))
}

#[tokio::test]
async fn hosts_that_misbehave_are_told_on_the_field_in_time() {
    let inside = GitHost::start().await;
    inside.repository("shop").commit_modes("x", &PROJECT);
    let inside_url = inside.url("/samples/shop.git/info/refs?service=git-upload-pack");
    let host = GitHost::start_with(misbehaving(inside_url)).await;
    host.repository("empty");
    let app = site_of(&host).await;
    // Each by a person of its own, at once: a look at a host that hangs takes its time.
    let mut asked = Vec::new();
    for (i, (path, said)) in [
        ("/you/private", "private repositories cannot be deployed yet"),
        ("/you/missing", "There is no public repository"),
        ("/you/broken", "it answered 500"),
        ("/samples/empty", "no branch yet"),
        ("/you/inside", "leads to another one"),
        ("/you/metadata", "leads to another one"),
        ("/you/file", "leads to another one"),
        ("/you/page", "is not a git repository"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut person = app.owner(&format!("owner{i}")).await;
        let error = refused(&mut person, &host.url(path), "github-url").await;
        assert!(error.contains(said), "{path}: {error}");
    }
    for path in ["/you/hangs", "/you/endless", "/you/slow"] {
        let (mut person, url) = (app.owner(path.trim_start_matches("/you/")).await, host.url(path));
        asked.push(tokio::spawn(async move { refused(&mut person, &url, "github-url").await }));
    }
    for error in asked {
        let error = error.await.unwrap();
        assert!(
            ["did not answer in full within", "could not be reached", "too large"]
                .iter()
                .any(|said| error.contains(said)),
            "{error}"
        );
    }
    assert!(app.store.instances(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn trees_that_lead_elsewhere_are_told_on_their_field() {
    let host = GitHost::start().await;
    let app = site_of(&host).await;
    let mut mira = app.owner("mira").await;
    let link = |path: &'static str, to: &'static [u8]| ("120000", path, to);
    let trees: [(&str, Vec<File>); 6] = [
        ("a link to a directory outside", vec![link("shop", b"../../../etc")]),
        ("manage.py as a link out of the tree", vec![link("shop/manage.py", b"/etc/passwd")]),
        ("settings as a link out of the tree", {
            let mut files = PROJECT.to_vec();
            files[1] = link("shop/shop/settings.py", b"../../../../../etc/passwd");
            files
        }),
        ("manage.py at the root", vec![("100644", "manage.py", MANAGE)]),
        ("manage.py too deep", vec![("100644", "src/shop/manage.py", MANAGE)]),
        ("the project as a submodule", vec![("160000", "shop", b"")]),
    ];
    for (i, (name, files)) in trees.iter().enumerate() {
        host.repository(&format!("shop{i}")).commit_modes("x", files);
        let error = refused(&mut mira, &host.url(&format!("/samples/shop{i}")), "project-name").await;
        assert!(!error.contains("root:x:"), "{name}: {error}");
        println!("{name}: {error}");
    }
    assert!(app.store.instances(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn nothing_that_is_typed_is_executed_by_git() {
    let host = GitHost::start().await;
    host.repository("shop").commit_modes("x", &PROJECT);
    let app = site_of(&host).await;
    let mut mira = app.owner("mira").await;
    let directory = tempfile::tempdir().unwrap();
    let canary = directory.path().join("canary");
    let good = [("github_url", host.url("/samples/shop")), ("project_name", "shop".to_owned())];
    let token = mira.token.clone().unwrap();
    let mut of_the_host: Vec<Value> = values::values(&canary);
    // On the host that may be asked, so that it is git that has to withstand it.
    let paths = of_the_host.iter().filter_map(|(name, value)| {
        Some((*name, format!("{}/samples/{}", host.url(""), std::str::from_utf8(value).ok()?).into_bytes()))
    });
    of_the_host = paths.collect();
    for (field, values) in [
        ("github_url", of_the_host),
        ("project_name", values::values(&canary)),
        ("branch", values::values(&canary)),
    ] {
        for (name, value) in values {
            if field == "branch" && value.trim_ascii().is_empty() {
                continue;
            }
            let others: Vec<_> =
                good.iter().filter(|(name, _)| *name != field).map(|(n, v)| (*n, &**v)).collect();
            let body = format!("csrf_token={token}&{}&{field}={}", encode(&others), values::encode(&value));
            let answer = ask(&mut mira, Method::POST, "/instances/new", form(body)).await;
            let what = format!("{field}: {name}");
            shows_no_markup(&answer, &what);
            is_told(&answer, &what);
        }
    }
    assert!(!canary.exists(), "something ran what was typed");
    assert!(app.store.instances(None).await.unwrap().is_empty());
    // The same form with nothing hostile in it is taken.
    let answer = mira.post("/instances/new", &good.each_ref().map(|(name, value)| (*name, &**value))).await;
    assert_eq!(answer.location(), "/instances/shop", "{}", answer.body);
}
