//! A machine as on EC2: the metadata service tells it its public address, which may change at any time, and tells
//! secrets that the project's code must not hear. A stand-in for the service runs on a machine of this host.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{StatusCode, redirect::Policy};

use crate::{
    person::{Person, hidden},
    sample::deploy_sample,
    site::Site,
    stand_in::StandIn,
    switch::keep_asking,
};

const FIRST: &str = "203.0.113.7";
const SECOND: &str = "198.51.100.9";
const THIRD: &str = "192.0.2.11";

/// What curl's exit codes are for the service, asked as root and as the project, in IPv4 and in IPv6.
async fn reached(machine: &StandIn) -> String {
    let ask = "curl -s -o /dev/null --noproxy '*' --max-time 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60'";
    let script = format!(
        "for host in 169.254.169.254 '[fd00:ec2::254]' '[::ffff:169.254.169.254]'; do
               {ask} http://$host/latest/api/token; root=$?
               python3 -IS /opt/ec-deployer/run.py {ask} http://$host/latest/api/token; echo $root:$?
             done"
    );
    machine.sh(&script).await.replace('\n', " ")
}

/// gunicorn's first process, and its workers.
async fn processes(machine: &StandIn) -> (String, String) {
    let first = "supervisorctl status | sed -n 's/.*RUNNING *pid \\([0-9]*\\),.*/\\1/p'";
    (machine.sh(first).await, machine.sh(&format!("pgrep -P \"$({first})\" | sort | paste -sd,")).await)
}

/// What a visitor at `address` gets who asks for `host`.
async fn answer(address: &str, host: &str) -> StatusCode {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.get(format!("{address}/")).header("host", host).send().await.unwrap().status()
}

/// Waits until the project answers so to a name.
async fn until_answer(address: &str, host: &str, wanted: StatusCode) {
    let start = Instant::now();
    while answer(address, host).await != wanted {
        assert!(start.elapsed() < Duration::from_secs(40), "{host} does not get {wanted}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Writes into the guestbook as a visitor's browser does who came to `host`.
pub async fn sign_at(address: &str, host: &str, words: &str) {
    let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
    let page = client.get(format!("{address}/")).header("host", host).send().await.unwrap();
    let cookie = page.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let token = hidden(&page.text().await.unwrap(), "csrfmiddlewaretoken").expect("a form");
    let fields = [("csrfmiddlewaretoken", token.as_str()), ("name", "Visitor"), ("message", words)];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let sent = client
        .post(format!("{address}/"))
        .header("host", host)
        .header("origin", format!("http://{host}"))
        .header("cookie", cookie)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let answer = sent.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FOUND, "{}", answer.text().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_project_answers_to_each_address_that_ec2_gives_and_hears_no_secrets() {
    let (site, mira) = Site::start("metadata").await;
    let name = deploy_sample(&mira).await;
    let id = mira.until(&name, "live", 180).await["instance_id"].as_str().unwrap().to_owned();
    let address = mira.address(&name).await;
    assert_eq!(answer(&address, FIRST).await, StatusCode::BAD_REQUEST);
    let watch = site.exec(&id, &["systemctl", "is-active", "ec-deployer-watch"]).await;
    assert_eq!(watch, "inactive\n", "it is for EC2 alone");

    let machine = StandIn::install(site.cloud(), id.parse().unwrap(), "").await;
    let start = Instant::now();
    while reached(&machine).await != "0:7 0:7 0:7" {
        let said = machine.sh("journalctl --no-pager -n 30 -u stand-in; nft list ruleset").await;
        assert!(start.elapsed() < Duration::from_secs(20), "{}\n{said}", reached(&machine).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // The control: it is our rule that keeps the project from it.
    machine.sh("nft delete table inet ec_deployer").await;
    assert_eq!(reached(&machine).await, "0:0 0:0 0:0");
    machine.sh("nft -f /etc/ec-deployer/metadata.nft").await;
    assert_eq!(reached(&machine).await, "0:7 0:7 0:7");

    // An Elastic IP is associated, another one takes its place, and is taken away: the project answers to each, is not
    // started anew for it, and nobody who visits meanwhile notices.
    let before = processes(&machine).await;
    let ended = Arc::new(AtomicBool::new(false));
    let visitors = tokio::spawn(keep_asking(address.clone(), ended.clone()));
    machine.give(FIRST).await;
    until_answer(&address, FIRST, StatusCode::OK).await;
    assert_eq!(machine.sh("head -n1 /etc/ec-deployer/hosts").await, FIRST);
    let visitor = Person::new(&address);
    machine.give(SECOND).await;
    until_answer(&address, SECOND, StatusCode::OK).await;
    assert_eq!(answer(&address, FIRST).await, StatusCode::BAD_REQUEST, "it is nobody's any more");
    sign_at(&address, SECOND, "written at an Elastic IP").await;
    assert!(visitor.get("/").await.text.contains("written at an Elastic IP"));
    machine.give("").await;
    until_answer(&address, SECOND, StatusCode::BAD_REQUEST).await;
    // While the service is silent, all stays as it is.
    machine.give(SECOND).await;
    until_answer(&address, SECOND, StatusCode::OK).await;
    machine.sh("systemctl stop stand-in").await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(answer(&address, SECOND).await, StatusCode::OK);
    assert_eq!(processes(&machine).await, before);
    ended.store(true, Ordering::Relaxed);
    let (asked, failed) = visitors.await.unwrap();
    assert_eq!(failed, Vec::<String>::new(), "of {asked} requests");

    // Stopped and started, it has another address, and the project is kept from the service from the first moment on.
    machine.give(THIRD).await;
    let cloud = site.cloud();
    cloud.stop(&id.parse().unwrap()).await.unwrap();
    mira.until(&name, "stopped", 60).await;
    cloud.start(&id.parse().unwrap()).await.unwrap();
    mira.until(&name, "live", 120).await;
    assert_eq!(reached(&machine).await, "0:7 0:7 0:7");
    let address = mira.address(&name).await;
    until_answer(&address, THIRD, StatusCode::OK).await;
    assert_eq!(machine.sh("systemctl is-active ec-deployer-watch").await, "active");
    let began = "for unit in ec-deployer-address supervisor; do systemctl show -P ActiveEnterTimestampMonotonic $unit; done; \
                 systemctl show -P InactiveEnterTimestampMonotonic ec-deployer-address";
    let began = machine.sh(began).await;
    let times: Vec<u64> = began.lines().map(|line| line.parse().unwrap()).collect();
    assert!(times[2] <= times[1], "the rule is there before the project: {began}");
    let visitor = Person::new(&address);
    assert_eq!(visitor.get("/").await.status, StatusCode::OK);
}
