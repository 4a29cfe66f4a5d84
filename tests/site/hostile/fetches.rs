//! Machines that send what they should not, each with the token of its own fetch.

use std::time::Duration;

use ec_django_deployer::domain::{FetchId, FetchState};
use reqwest::{Body, StatusCode};

use super::world::{World, endless};

/// The fetches of `World`.
const FILE: FetchId = FetchId(1);
const LOG: FetchId = FetchId(2);

/// Sends this; the status that is answered within 20 seconds.
async fn put(world: &World, fetch: FetchId, format: Option<&[u8]>, body: Body) -> StatusCode {
    let url = format!("{}/fetches/{fetch}", world.app.callback);
    let request = reqwest::Client::new().put(url).bearer_auth(world.app.log_key.fetch_token(fetch));
    let request = match format {
        Some(format) => request.header("fetch-format", format),
        None => request,
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), request.body(body).send()).await;
    answer.expect("an answer in time").expect("an answer").status()
}

async fn state(world: &World, fetch: FetchId) -> FetchState {
    world.app.store.fetch(fetch).await.unwrap().unwrap().state
}

fn kept(world: &World) -> usize {
    std::fs::read_dir(world.app.directory.path().join("fetches")).unwrap().count()
}

#[tokio::test]
async fn a_format_that_a_fetch_has_not_is_refused_before_a_byte_is_kept() {
    let world = World::new().await;
    let formats: [Option<&[u8]>; 8] = [
        None,
        Some(b""),
        Some(b"text/html"),
        Some(b"TEXT"),
        Some(b"sqlite3, text"),
        Some(b"\xff\xfe"),
        Some(b"../x"),
        Some(&[b'x'; 9000]),
    ];
    for fetch in [FILE, LOG] {
        for format in formats {
            let status = put(&world, fetch, format, "bytes".into()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{fetch}: {format:?}");
        }
        assert_eq!(state(&world, fetch).await, FetchState::Sent);
    }
    assert_eq!(put(&world, FILE, Some(b"text"), "bytes".into()).await, StatusCode::BAD_REQUEST);
    assert_eq!(put(&world, LOG, Some(b"sqlite3"), "bytes".into()).await, StatusCode::BAD_REQUEST);
    assert_eq!(put(&world, FILE, Some(b"sqlite3"), "".into()).await, StatusCode::BAD_REQUEST, "nothing came");
    assert_eq!(kept(&world), 0);
}

#[tokio::test]
async fn a_machine_that_falls_silent_is_let_go_and_may_try_again() {
    let world = World::new().await;
    let (file, log, slow) = tokio::join!(
        put(&world, FILE, Some(b"sqlite3"), endless("hangs", "SQLite")),
        put(&world, LOG, Some(b"text"), endless("hangs", "gunicorn 5")),
        put(&world, LOG, Some(b"text"), endless("trickles", "gunicorn 5")),
    );
    assert_eq!(
        (file, log, slow),
        (StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST)
    );
    assert_eq!(kept(&world), 0);
    for (fetch, format) in [(FILE, &b"sqlite3"[..]), (LOG, b"text")] {
        assert_eq!(state(&world, fetch).await, FetchState::Sent);
        assert_eq!(put(&world, fetch, Some(format), "whole".into()).await, StatusCode::NO_CONTENT);
        assert_eq!(state(&world, fetch).await, FetchState::Ready);
    }
}

#[tokio::test]
async fn a_body_without_end_is_cut_off_where_it_is_too_large() {
    let world = World::new().await;
    for (fetch, format) in [(FILE, &b"tar.gz"[..]), (LOG, b"text")] {
        let status = put(&world, fetch, Some(format), endless("floods", "")).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(state(&world, fetch).await, FetchState::Failed);
        assert_eq!(put(&world, fetch, Some(format), "late".into()).await, StatusCode::GONE);
    }
    assert_eq!(kept(&world), 0);
}
