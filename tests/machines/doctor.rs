//! The doctor as root: beside a machine that runs, and on a host where nothing is.

use std::{collections::BTreeSet, process::Command};

use ec_django_deployer::cloud::{
    Finding, Gravity,
    local::{Local, LocalConfig},
};
use tokio::sync::mpsc;

use crate::{
    host::{Host, answer, run},
    local_cloud::assert_same,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ec-deployer");

async fn examine(cloud: &Local, site: Option<i32>) -> Vec<Finding> {
    let (send, mut findings) = mpsc::unbounded_channel();
    cloud.examine(vec!["http://127.0.0.1:1".to_owned()], move || site, send).await;
    let mut all = Vec::new();
    while let Some(finding) = findings.recv().await {
        println!("{finding}");
        all.push(finding);
    }
    all
}

/// What can be seen of a host's part, but for what its machine does by itself, and for clocks.
fn traces(host: &Host) -> BTreeSet<String> {
    let all = host.traces().into_iter().filter(|trace| !trace.contains("/payload/"));
    all.map(|trace| {
        let words: Vec<_> = trace.split_whitespace().collect();
        let clock = |i: usize| i > 0 && words[i - 1].ends_with("_timer");
        (0..words.len()).filter(|i| !clock(*i)).map(|i| words[i]).collect::<Vec<_>>().join(" ")
    })
    .collect()
}

#[track_caller]
fn has(findings: &[Finding], gravity: Gravity, words: &str) {
    let found = findings.iter().any(|finding| finding.gravity == gravity && finding.what.contains(words));
    assert!(found, "{gravity:?} {words:?} in {findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_beside_a_machine_changes_nothing() {
    let host = Host::new().await;
    let image = host.image().await;
    let machine = host.cloud.launch(&host.request("doctor", &image, "true")).await.unwrap();
    host.wait_for(&machine.id, "test -e /var/lib/cloud/instance/boot-finished").await;
    answer((host.config.gateway, host.config.callback_port)).await;
    let before = traces(&host);
    let findings = examine(&host.cloud, Some(std::process::id() as i32)).await;
    assert_same(&before, &traces(&host));

    assert!(findings.iter().all(|finding| finding.gravity != Gravity::Bad), "{findings:#?}");
    has(&findings, Gravity::Ok, "firewall rules can be set");
    has(&findings, Gravity::Ok, "roots of layers (overlay) can be mounted");
    has(&findings, Gravity::Ok, "is this site's");
    has(&findings, Gravity::Ok, "golden images: 1");
    has(&findings, Gravity::Ok, "reaches the site at");
    has(&findings, Gravity::Ok, "DNS from a machine");
    has(&findings, Gravity::Ok, "the package registry answers a machine");
    has(&findings, Gravity::Ok, "the distribution's mirror answers a machine");
    has(&findings, Gravity::Warn, "the git host http://127.0.0.1:1 does not answer");
    host.cloud.terminate(&machine.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_machines_cannot_reach_on_the_host_is_bad() {
    let host = Host::new().await;
    // Nobody listens where machines would report.
    let findings = examine(&host.cloud, Some(std::process::id() as i32)).await;
    has(&findings, Gravity::Bad, "a machine does not reach the site at");
    // Another's network is refused and left alone.
    let before = traces(&host);
    let other = Local::new(LocalConfig { bridge: "lo".to_owned(), ..host.config.clone() });
    let findings = examine(&other, None).await;
    has(&findings, Gravity::Bad, &format!("is in use on this host by {}", host.config.bridge));
    has(&findings, Gravity::Bad, "The network device lo belongs to something else");
    assert_same(&before, &traces(&host));
}

/// What of the host a look could leave behind.
fn host_as_it_is(bridge: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for text in [run("ip", &["-oneline", "addr"]), run("iptables-save", &[]), run("findmnt", &["-rn"])] {
        all.extend(
            text.lines().filter(|line| line.contains(bridge) || line.contains("doctor")).map(str::to_owned),
        );
    }
    all
}

#[test]
fn on_a_host_where_nothing_is_it_leaves_nothing() {
    let config = Host::free_config();
    std::fs::remove_dir_all(&config.state_dir).unwrap();
    let place = config.state_dir.with_extension("doctor");
    let [a, b, c, _] = config.gateway.octets();
    let output = Command::new(PROGRAM)
        .arg("doctor")
        .env("STATE_DIR", place.join("not/yet"))
        .env("LOCAL_BRIDGE", &config.bridge)
        .env("LOCAL_SUBNET", format!("{a}.{b}.{c}.0/24"))
        .env("LISTEN", "127.0.0.1:0")
        .env_remove("CALLBACK_URL")
        .env_remove("GIT_HOSTS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("warn there is no golden image yet. Cure: "), "{said}");
    assert!(said.contains("ok   the package registry answers a machine"), "{said}");
    assert_eq!(host_as_it_is(&config.bridge), BTreeSet::new());
    assert!(!place.exists());
}
