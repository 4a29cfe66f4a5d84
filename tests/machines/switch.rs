//! Visitors are there while a release takes another's place, and notice nothing.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::StatusCode;
use serde_json::Value;

use crate::{person::Person, repository::Repository, site::Site};

/// Another address of the static files and another page: all that nginx and the project tell visitors changes.
fn next_release(repository: &Repository) {
    let settings = repository
        .read("guestbook/config/settings.py")
        .replace("STATIC_URL = \"static/\"", "STATIC_URL = \"assets/\"");
    assert!(settings.contains("\"assets/\""), "{settings}");
    repository.commit("Move the static files", &[("guestbook/config/settings.py", settings.as_bytes())]);
}

async fn redeploy(person: &Person, name: &str) {
    person.redeploy(name).await;
    person.wait(name, 20, |info| info["status"] == "deploying").await;
    person.wait(name, 180, |info| info["status"] == "live" && info["progress"] == 1.0).await;
}

/// What a connection says to a request for the page.
fn ask_on(mut line: TcpStream, host: &str) -> String {
    line.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(line, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    line.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_visitor_is_refused_while_one_release_takes_the_place_of_another() {
    let (site, mira) = Site::start("switch").await;
    let repository = Repository::of(&site, "book", "samples/guestbook");
    let name = mira.deploy(&repository.url, "guestbook").await;
    let first = mira.until(&name, "live", 180).await;
    let id = first["instance_id"].as_str().unwrap();
    let address = mira.address(&name).await;

    let ended = Arc::new(AtomicBool::new(false));
    let visitors = tokio::spawn(keep_asking(address.clone(), ended.clone()));
    let host = address.strip_prefix("http://").unwrap().to_owned();
    let server: SocketAddr = format!("{host}:80").parse().unwrap();
    // Browsers open connections before they have anything to ask; nginx's old processes hold them.
    let early = TcpStream::connect(server).unwrap();
    redeploy(&mira, &name).await;
    let after = ask_on(early, &host);
    assert!(after.starts_with("HTTP/1.1 200"), "{after}");

    let early = TcpStream::connect(server).unwrap();
    next_release(&repository);
    redeploy(&mira, &name).await;
    let after = ask_on(early, &host);
    assert!(after.starts_with("HTTP/1.1 200"), "{after}");
    assert!(after.contains("/assets/"), "{after}");

    // What nobody needs any more is stopped, a moment later.
    let programs = || site.exec(id, &["supervisorctl", "status"]);
    for _ in 0..100 {
        if programs().await.lines().count() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let running = programs().await;
    assert_eq!(running.lines().count(), 1, "{running}");
    assert!(running.contains("RUNNING"), "{running}");
    // The three deployments share one environment, since their dependencies are the same.
    let environments = site.exec(id, &["ls", "/srv/app/environments"]).await;
    assert_eq!(environments.split_whitespace().count(), 2, "{environments}");
    // Its programs outlive the release that it was made for.
    let programs = site.exec(id, &["sh", "-c", "head -qn1 /srv/app/environments/*/bin/gunicorn"]).await;
    assert!(programs.starts_with("#!/srv/app/environments/"), "{programs}");

    ended.store(true, Ordering::Relaxed);
    let (asked, failed) = visitors.await.unwrap();
    assert_eq!(failed, Vec::<String>::new(), "of {asked} requests");
    assert!(asked > 50, "{asked}");
    let last = mira.info(&name).await;
    assert_eq!(last["error"], Value::Null, "{last:#}");
}

/// Asks for the page until it is told to end, on a kept connection and on new ones in turn.
pub async fn keep_asking(address: String, ended: Arc<AtomicBool>) -> (usize, Vec<String>) {
    let kept = Person::new(&address);
    let (mut asked, mut failed) = (0, Vec::new());
    while !ended.load(Ordering::Relaxed) {
        for person in [&kept, &Person::new(&address)] {
            asked += 1;
            let page = person.get("/").await;
            if page.status != StatusCode::OK {
                failed.push(page.text);
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (asked, failed)
}
