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
    switch::keep_asking,
};

/// The service, version 2 alone, with a file for the public address; none is a 404, as on EC2.
const SERVICE: &str = r#"
import http.server, os, socket

class Service(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        wanted = self.path == "/latest/api/token" and "X-aws-ec2-metadata-token-ttl-seconds" in self.headers
        self.say(200 if wanted else 400, b"token")

    def do_GET(self):
        if self.headers["X-aws-ec2-metadata-token"] != "token":
            return self.say(401, b"")
        address = open("/var/lib/stand-in/public-ipv4", "rb").read().strip()
        found = self.path == "/latest/meta-data/public-ipv4" and address
        self.say(200 if found else 404, address)

    def say(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6

Server(("::", 80), Service).serve_forever()
"#;

/// It has a network of its own, since nginx has port 80 of the machine, and is there before anyone asks.
const NETWORK: &str = "set -eux
echo aws >/run/cloud-init/cloud-id
ip netns add imds
ip link add imds0 type veth peer name imds1 netns imds
ip link set imds0 up
ip -n imds link set lo up
ip -n imds link set imds1 up
ip -n imds address add 169.254.169.254/32 dev imds1
ip -n imds address add fd00:ec2::254/128 dev imds1 nodad
ip -n imds route add default dev imds1
ip address add fd00:ec2::1/128 dev imds0 nodad
ip -n imds route add fd00:ec2::1/128 dev imds1
ip route add 169.254.169.254/32 dev imds0
ip -6 route add fd00:ec2::254/128 dev imds0
";

const UNIT: &str = "[Unit]
After=network-online.target cloud-init.service
Before=ec-deployer-address.service ec-deployer-watch.service
[Service]
ExecStartPre=/bin/bash /var/lib/stand-in/network.sh
ExecStart=/usr/bin/nsenter --net=/run/netns/imds /usr/bin/python3 /var/lib/stand-in/service.py
[Install]
WantedBy=multi-user.target
";

const FIRST: &str = "203.0.113.7";
const SECOND: &str = "198.51.100.9";
const THIRD: &str = "192.0.2.11";

/// A machine's side of the test.
struct Machine<'a> {
    site: &'a Site,
    id: String,
}

impl Machine<'_> {
    async fn sh(&self, script: &str) -> String {
        self.site.exec(&self.id, &["bash", "-c", script]).await.trim().to_owned()
    }

    async fn is_given(&self, address: &str) {
        self.sh(&format!("echo '{address}' >/var/lib/stand-in/public-ipv4")).await;
    }

    /// What curl's exit codes are for the service, asked as root and as the project, in IPv4 and in IPv6.
    async fn reached(&self) -> String {
        let ask = "curl -s -o /dev/null --noproxy '*' --max-time 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60'";
        let script = format!(
            "for host in 169.254.169.254 '[fd00:ec2::254]' '[::ffff:169.254.169.254]'; do
               {ask} http://$host/latest/api/token; root=$?
               python3 -IS /opt/ec-deployer/run.py {ask} http://$host/latest/api/token; echo $root:$?
             done"
        );
        self.sh(&script).await.replace('\n', " ")
    }

    /// gunicorn's first process, and its workers.
    async fn processes(&self) -> (String, String) {
        let first = "supervisorctl status | sed -n 's/.*RUNNING *pid \\([0-9]*\\),.*/\\1/p'";
        (self.sh(first).await, self.sh(&format!("pgrep -P \"$({first})\" | sort | paste -sd,")).await)
    }
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
async fn sign_at(address: &str, host: &str, words: &str) {
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
    let machine = Machine { site: &site, id: id.clone() };
    assert_eq!(answer(&address, FIRST).await, StatusCode::BAD_REQUEST);
    assert_eq!(machine.sh("systemctl is-active ec-deployer-watch").await, "inactive", "it is for EC2 alone");

    let install = format!(
        "mkdir -p /var/lib/stand-in && cd /var/lib/stand-in && echo >public-ipv4 && cat >service.py <<'END'\n{SERVICE}END\n\
         cat >network.sh <<'END'\n{NETWORK}END\ncat >/etc/systemd/system/stand-in.service <<'END'\n{UNIT}END\n\
         systemctl daemon-reload && systemctl enable --now stand-in 2>&1; systemctl restart ec-deployer-watch 2>&1"
    );
    machine.sh(&install).await;
    let start = Instant::now();
    while machine.reached().await != "0:7 0:7 0:7" {
        let said = machine.sh("journalctl --no-pager -n 30 -u stand-in; nft list ruleset").await;
        assert!(start.elapsed() < Duration::from_secs(20), "{}\n{said}", machine.reached().await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // The control: it is our rule that keeps the project from it.
    machine.sh("nft delete table inet ec_deployer").await;
    assert_eq!(machine.reached().await, "0:0 0:0 0:0");
    machine.sh("nft -f /etc/ec-deployer/metadata.nft").await;
    assert_eq!(machine.reached().await, "0:7 0:7 0:7");

    // An Elastic IP is associated, another one takes its place, and is taken away: the project answers to each, is not
    // started anew for it, and nobody who visits meanwhile notices.
    let before = machine.processes().await;
    let ended = Arc::new(AtomicBool::new(false));
    let visitors = tokio::spawn(keep_asking(address.clone(), ended.clone()));
    machine.is_given(FIRST).await;
    until_answer(&address, FIRST, StatusCode::OK).await;
    assert_eq!(machine.sh("head -n1 /etc/ec-deployer/hosts").await, FIRST);
    let visitor = Person::new(&address);
    machine.is_given(SECOND).await;
    until_answer(&address, SECOND, StatusCode::OK).await;
    assert_eq!(answer(&address, FIRST).await, StatusCode::BAD_REQUEST, "it is nobody's any more");
    sign_at(&address, SECOND, "written at an Elastic IP").await;
    assert!(visitor.get("/").await.text.contains("written at an Elastic IP"));
    machine.is_given("").await;
    until_answer(&address, SECOND, StatusCode::BAD_REQUEST).await;
    // While the service is silent, all stays as it is.
    machine.is_given(SECOND).await;
    until_answer(&address, SECOND, StatusCode::OK).await;
    machine.sh("systemctl stop stand-in").await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(answer(&address, SECOND).await, StatusCode::OK);
    assert_eq!(machine.processes().await, before);
    ended.store(true, Ordering::Relaxed);
    let (asked, failed) = visitors.await.unwrap();
    assert_eq!(failed, Vec::<String>::new(), "of {asked} requests");

    // Stopped and started, it has another address, and the project is kept from the service from the first moment on.
    machine.is_given(THIRD).await;
    let cloud = site.cloud();
    cloud.stop(&id.parse().unwrap()).await.unwrap();
    mira.until(&name, "stopped", 60).await;
    cloud.start(&id.parse().unwrap()).await.unwrap();
    mira.until(&name, "live", 120).await;
    assert_eq!(machine.reached().await, "0:7 0:7 0:7");
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
