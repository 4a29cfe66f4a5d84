//! `docs/operate.md`, followed on a server: every block of commands that is marked as the server's, in order.

use std::{fs, path::Path};

use super::{agent::Agent, bundle::bundle, deploy, server::Server, serving};
use crate::person::Person;

/// Begins a block of commands that are typed on the server.
const BLOCK: &str = "```sh server\n";

/// The password that the handbook gives the first admin.
const PASSWORD: &str = "a long password of your own";

#[tokio::test(flavor = "multi_thread")]
async fn the_handbook_can_be_followed_on_a_server() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operate.md")).unwrap();
    let blocks: Vec<_> = text.split(BLOCK).skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 7, "{blocks:?}");
    assert!(blocks[0].contains(PASSWORD));

    let server = Server::boot("handbook").await;
    let mut agent = Agent::new();
    let bundle = bundle();
    for release in ["d-FIRST0001", "d-SECOND002"] {
        deploy(&mut agent, &server, release, bundle.path()).await;
    }
    // Whoever is at this server is root already.
    server.write("/usr/local/bin/sudo", "#!/bin/sh\nexec \"$@\"\n");
    server.sh("chmod 755 /usr/local/bin/sudo").await;
    for block in blocks {
        println!("server$ {}", block.trim_end().replace('\n', "\nserver$ "));
        let said = server.sh(&format!("set -euo pipefail\n{block}")).await;
        println!("{said}");
        // A block may end with the site being started.
        server.host.wait_for(&server.id, "curl -fsS http://127.0.0.1:8000/healthz").await;
    }
    assert_eq!(serving(&server).await, "d-FIRST0001", "it went back to the release before");
    let mira = Person::new(&server.url());
    mira.sign_in("mira", PASSWORD).await;
    // And the next release goes on from there.
    deploy(&mut agent, &server, "d-THIRD0003", bundle.path()).await;
}
