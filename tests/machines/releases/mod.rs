//! The site's own deployments: `appspec.yml` and its hooks, on a server booted from the golden image.

mod account;
mod agent;
mod bundle;
mod front;
mod handbook;
mod hook;
mod server;
mod visitor;
mod volume;

use std::{path::Path, process::Command, time::Duration};

use agent::{Agent, Event};
use bundle::{broken, bundle, bundle_of, next_version};
use reqwest::StatusCode;
use serde_json::Value;
use server::Server;
use visitor::{Asked, Visitor};

use crate::person::Person;

const PASSWORD: &str = "correct horse battery";

/// What `/healthz` says through nginx.
async fn health(server: &Server) -> Value {
    let page = Person::new(&server.url()).get("/healthz").await;
    serde_json::from_str(&page.text).unwrap_or_else(|_| panic!("{} {}", page.status, page.text))
}

/// What a script of bash prints as root of this host, in a mount namespace of its own; `$1` is the checkout.
fn on_this_host(script: &str) -> String {
    let output = Command::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "bash",
            "-c",
            script,
            "bash",
            env!("CARGO_MANIFEST_DIR"),
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// The release that serves people.
async fn serving(server: &Server) -> String {
    health(server).await["release"].as_str().expect("a release").to_owned()
}

/// Adds somebody on the server, by what its handbook says, and signs in from outside.
async fn signed_in(server: &Server) -> Person {
    server.sh(&format!("echo '{PASSWORD}' | ec-deployer user add mira --admin --password-stdin")).await;
    let mira = Person::new(&server.url());
    mira.sign_in("mira", PASSWORD).await;
    mira
}

/// Deploys what must go well.
async fn deploy(agent: &mut Agent, server: &Server, deployment: &str, bundle: &Path) {
    if let Err(failed) = agent.deploy(server, deployment, bundle).await {
        panic!("{deployment} failed at {}:\n{}", failed.event, agent.log);
    }
    assert_eq!(serving(server).await, deployment);
}

/// Deploys what must fail at `event`, saying `words`, and leave `before` serving with its data.
async fn refused(
    agent: &mut Agent,
    server: &Server,
    deployment: &str,
    bundle: &Path,
    meanwhile: Option<(Event, &str)>,
    (event, words, before): (Event, &str, &str),
) {
    let mira = Person::new(&server.url());
    mira.sign_in("mira", PASSWORD).await;
    let visitor = Visitor::begin(&server.url(), "/instances", mira.cookies(&server.url()));
    let failed = agent.deploy_and(server, deployment, bundle, meanwhile).await.expect_err(deployment);
    assert_eq!(failed.event, event, "{}", failed.said);
    assert!(failed.said.contains(words), "{words:?} is not in:\n{}", failed.said);
    assert!(failed.said.contains("::ec step "), "it names its step:\n{}", failed.said);
    assert_eq!(serving(server).await, before);
    // Who asked meanwhile waited, at worst, or was answered by the release while it served.
    let mut asked = visitor.end().await;
    asked.failed.retain(|failure| event != Event::ValidateService || !failure.starts_with(words));
    nobody_was_refused(asked);
    let left =
        server.sh("ls -A /opt/ec-deployer/before /var/lib/ec-deployer/rehearsal 2>/dev/null || true").await;
    assert_eq!(left, "", "nothing is left half done");
}

fn nobody_was_refused(asked: Asked) {
    println!("{} requests, the slowest took {:.2} s", asked.requests, asked.slowest.as_secs_f64());
    assert_eq!(asked.failed, Vec::<String>::new(), "of {} requests", asked.requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_follow_each_other_and_nobody_is_refused() {
    let server = Server::boot("releases").await;
    let mut agent = Agent::new();
    let this = bundle();
    deploy(&mut agent, &server, "d-FIRST0001", this.path()).await;
    assert_eq!(server.sh("readlink /opt/ec-deployer/current").await, "/opt/ec-deployer/releases/d-FIRST0001");
    let rights =
        server.sh("stat -c '%U:%G %a' /var/lib/ec-deployer/deployer.db /etc/ec-deployer/site.env").await;
    assert_eq!(rights, "ec-deployer:ec-deployer 600\nroot:ec-deployer 640");
    assert_eq!(server.sh("ps -o user= -p \"$(supervisorctl pid site:site-1)\"").await, "ec-deployer");

    // What is of people: somebody's account, a session, a row that the site has written.
    let mira = signed_in(&server).await;
    let cookies = mira.cookies(&server.url());

    // A second release, every hook of it twice, while a client asks fifty times a second.
    let site = server.site_pid().await;
    let holder = server.sh("supervisorctl pid site:site-0").await;
    let visitor = Visitor::begin(&server.url(), "/instances", cookies.clone());
    agent.times = 2;
    deploy(&mut agent, &server, "d-SECOND002", this.path()).await;
    agent.times = 1;
    let asked = visitor.end().await;
    assert!(asked.requests > 100, "{asked:?}");
    nobody_was_refused(asked);
    assert_ne!(server.site_pid().await, site, "another process");
    assert_eq!(server.sh("supervisorctl pid site:site-0").await, holder, "who holds the socket stays");
    assert_eq!(mira.get("/users").await.status, StatusCode::OK, "still signed in");
    let copies = "ls /var/lib/ec-deployer/backups | grep -c '^ec-deployer-.*\\.tar\\.gz$'";
    assert_eq!(server.sh(copies).await, "2", "copied each time before anything was done");

    third_ones_that_are_broken(&server, &mut agent).await;

    // The next version, which really has a migration more, and back again by the older program.
    let next = bundle_of(&next_version());
    deploy(&mut agent, &server, "d-NEXT00010", next.path()).await;
    assert_eq!(mira.get("/users").await.status, StatusCode::OK, "still signed in after all of them");
    assert!(health(&server).await["version"].as_str().unwrap().ends_with("+feedfacefeed"));
    assert_eq!(
        server.sh(&format!("{SQLITE} 'SELECT count(*) FROM next_version'")).await,
        "0",
        "it has migrated"
    );
    let kept = server.sh("ls /opt/ec-deployer/releases").await;
    assert_eq!(kept, "d-FIRST0001\nd-NEXT00010\nd-SECOND002", "of those that were validated");
    deploy(&mut agent, &server, "d-BACK00011", this.path()).await;
    assert_eq!(mira.get("/users").await.status, StatusCode::OK, "an older program on a newer schema");
    let mira = Person::new(&server.url());
    mira.sign_in("mira", PASSWORD).await;

    // A reboot: the site is back by itself.
    server.sh("systemctl reboot").await;
    let back = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if mira.try_get("/users").await == Some(StatusCode::OK) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), back).await.expect("the site is back after a reboot");
    assert_eq!(serving(&server).await, "d-BACK00011");

    // Ten copies and five releases are kept, and none of the settings has come into a log.
    for n in 0..4 {
        deploy(&mut agent, &server, &format!("d-MORE0000{n}"), this.path()).await;
    }
    assert_eq!(server.sh(copies).await, "10");
    assert_eq!(server.sh("ls /opt/ec-deployer/releases | wc -l").await, "5");
    let logs = server.sh("cat /var/log/ec-deployer/site/*").await + &agent.log;
    assert!(logs.contains("AWS_SECRET_ACCESS_KEY"), "settings are named");
    assert!(!logs.contains("nobody's"), "and no more");
    assert!(!logs.contains("/setup?"), "nor a way to become the first admin");
}

/// The database, as root sees it.
const SQLITE: &str = "sqlite3 /var/lib/ec-deployer/deployer.db";

/// What the next version's migration cannot bear.
const IN_THE_WAY: &str = "sqlite3 /var/lib/ec-deployer/deployer.db 'CREATE TABLE next_version (x)'";

async fn third_ones_that_are_broken(server: &Server, agent: &mut Agent) {
    let second = "d-SECOND002";
    // The agent comes before the user data has told the server of its volume.
    let on_ec2 = "printf '#!/bin/sh\necho aws\n' >/usr/local/bin/cloud-id; chmod 755 /usr/local/bin/cloud-id";
    let this = bundle();
    let at = (Event::BeforeInstall, "There is no /etc/ec-deployer/server.env", second);
    refused(agent, server, "d-EARLY0002", this.path(), Some((Event::BeforeInstall, on_ec2)), at).await;
    server.sh("rm /usr/local/bin/cloud-id").await;
    // It does not run on this system at all.
    let odd = broken("echo 'version GLIBC_2.99 not found' >&2; exit 1");
    let at = (Event::AfterInstall, "must be built for", second);
    refused(agent, server, "d-ODD000003", odd.path(), None, at).await;
    // It does not start: the rehearsal is well, and then it ends at once.
    let dead = broken("if [[ $1 == serve ]]; then echo 'no such thing' >&2; exit 3; fi");
    let at = (Event::ApplicationStart, "no such thing", second);
    refused(agent, server, "d-DEAD00004", dead.path(), None, at).await;
    // It starts, and says that it is another.
    let liar = broken("if [[ $1 == serve ]]; then export RELEASE=d-OTHER; fi");
    let at = (Event::ApplicationStart, "release is d-OTHER, not d-LIAR00005", second);
    refused(agent, server, "d-LIAR00005", liar.path(), None, at).await;
    // It starts and says that it is well, and has no pages for people.
    let blank =
        broken(&format!("if [[ $1 == serve ]]; then exec python3 -c '{BLANK}' \"$($real --version)\"; fi"));
    let at = (Event::ValidateService, "404", second);
    refused(agent, server, "d-BLANK0006", blank.path(), None, at).await;
    // Nobody goes back to it by hand either.
    let back = "/opt/ec-deployer/current/scripts/codedeploy/roll_back.sh d-BLANK0006 2>&1 || true";
    assert!(server.sh(back).await.contains("no release d-BLANK0006 on this server that has served"));
    // Its migration fails on the data, which the rehearsal shows.
    let next = bundle_of(&next_version());
    let before = Some((Event::BeforeInstall, IN_THE_WAY));
    let at = (Event::AfterInstall, "does not open a copy of the data", second);
    refused(agent, server, "d-MIGRATE07", next.path(), before, at).await;
    server.sh(&format!("{SQLITE} 'DROP TABLE next_version'")).await;
    // And on the data alone, which has become another since it was copied.
    let before = Some((Event::ApplicationStart, IN_THE_WAY));
    let at = (Event::ApplicationStart, "does not answer", second);
    refused(agent, server, "d-MIGRATE08", next.path(), before, at).await;
    server.sh(&format!("{SQLITE} 'DROP TABLE next_version'")).await;
    // A deployment that is killed in the middle of the switch is taken back by the next one.
    let slow = broken("if [[ $1 == serve ]]; then sleep 30; fi");
    let switching = "test -L /opt/ec-deployer/before && ! curl -fs -m 1 http://127.0.0.1:8000/healthz";
    tokio::select! {
        ended = agent.deploy(server, "d-KILLED009", slow.path()) => panic!("{ended:?}"),
        () = server.host.wait_for(&server.id, switching) => {}
    }
    server.sh("pkill -9 -f '[a]pplication_start.sh'").await;
    assert_eq!(server.sh("readlink /opt/ec-deployer/before").await, "/opt/ec-deployer/releases/d-SECOND002");
}

/// A site that has no pages but `/healthz`, on the socket that is its standard input.
const BLANK: &str = r#"
import json, os, signal, socket, sys
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
door = socket.socket(fileno=0)
door.settimeout(0.1)
while not ended:
    try:
        line = door.accept()[0]
    except TimeoutError:
        continue
    line.settimeout(5)
    asked = line.recv(65536).split()[1:2]
    said = {"status": "ok", "release": os.environ["RELEASE"], "version": sys.argv[1].split()[-1]}
    head = "200 OK" if asked == [b"/healthz"] else "404 Not Found"
    line.sendall(f"HTTP/1.1 {head}\r\nConnection: close\r\n\r\n{json.dumps(said)}".encode())
    line.close()
"#;
