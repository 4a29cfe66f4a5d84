//! nginx in front of the site, and the certificate of its name, by pebble: a stand-in for Let's Encrypt by those who
//! run it (<https://github.com/letsencrypt/pebble>), on the server itself.

use std::{path::Path, time::Duration};

use futures_util::StreamExt;
use reqwest::{StatusCode, header, redirect::Policy};

use super::{agent::Agent, bundle::bundle, deploy, health, server::Server, signed_in};
use crate::person::{Person, hidden};

/// An ACME server on the server, which asks at port 80 as Let's Encrypt does, and is trusted there.
const PEBBLE: &str = r#"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y pebble >/dev/null
install -d /etc/pebble
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
  -keyout /etc/pebble/key.pem -out /etc/pebble/cert.pem 2>/dev/null
cp /etc/pebble/cert.pem /usr/local/share/ca-certificates/pebble.crt
update-ca-certificates >/dev/null 2>&1
cat >/etc/pebble/config.json <<'END'
{"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
  "certificate": "/etc/pebble/cert.pem", "privateKey": "/etc/pebble/key.pem", "httpPort": 80, "tlsPort": 5001,
  "ocspResponderURL": "", "externalAccountBindingRequired": false}}
END
systemd-run --quiet --unit=pebble --setenv=PEBBLE_VA_NOSLEEP=1 --setenv=PEBBLE_WFE_NONCEREJECT=0 \
  pebble -config /etc/pebble/config.json
curl -fsS --retry 20 --retry-connrefused --retry-delay 1 https://localhost:14000/dir >/dev/null
"#;

/// The serial number of the certificate that visitors are shown.
const SERIAL: &str = "openssl s_client -connect 127.0.0.1:443 -servername site.test </dev/null 2>/dev/null |
  openssl x509 -noout -serial -ext subjectAltName";

/// What the newest try to get a certificate said.
const LAST_TRY: &str = "journalctl -u ec-deployer-tls | tail -n 40";

/// Asks for the site by its name, on the server, and prints the head of the answer.
fn head(url: &str) -> String {
    format!("curl -sSk -o /dev/null -D - --connect-to ::127.0.0.1: '{url}'")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_site_is_served_as_its_name_says() {
    let server = Server::boot("front").await;
    let mut agent = Agent::new();
    let bundle = bundle();
    deploy(&mut agent, &server, "d-HTTP00001", bundle.path()).await;
    let mira = signed_in(&server).await;
    as_people_need_it(&server, &mira).await;

    // A name that does not lead here yet: the release is well, the site serves http, and it is tried again.
    server.set("SITE_DOMAIN=site.test\nACME_SERVER=https://localhost:14000/dir\n").await;
    deploy(&mut agent, &server, "d-NAMED0002", bundle.path()).await;
    let sentence = format!("site.test leads to nowhere, and this server is at {}", server.address.ip());
    assert!(agent.log.contains(&sentence), "{}", agent.log);
    assert_eq!(server.sh("systemctl is-active ec-deployer-tls.timer").await, "active");

    // Now it does, and nobody gives it a certificate: it is tried again, and the site serves http.
    server.sh(&format!("echo '{} site.test' >>/etc/hosts", server.address.ip())).await;
    let (well, said) = server.run(&["systemctl", "start", "ec-deployer-tls.service"]).await;
    assert!(!well, "{said}");
    assert!(server.sh(LAST_TRY).await.contains("There is no certificate for site.test"));
    assert_eq!(server.sh("systemctl is-active ec-deployer-tls.timer").await, "active");
    assert_eq!(health(&server).await["status"], "ok");

    // What the timer runs gets the certificate, and the site is told of its new address.
    let (well, said) = server.run(&["bash", "-euc", PEBBLE]).await;
    assert!(well, "{said}");
    let secure = async || {
        let (well, said) = server.run(&["systemctl", "start", "ec-deployer-tls.service"]).await;
        assert!(well, "{said}\n{}", server.sh(LAST_TRY).await);
        assert_eq!(server.sh("systemctl is-active ec-deployer-tls.timer || true").await, "inactive");
    };
    secure().await;
    // Also where it was cut short before nginx and the site knew.
    server
        .sh("rm /etc/ec-deployer/told; sed -i 's/listen 443/listen 444/' /etc/nginx/conf.d/ec-deployer.conf")
        .await;
    server.sh("systemctl reload nginx; supervisorctl stop site:site-1").await;
    secure().await;
    let answer = server.sh(&head("https://site.test/login")).await.to_lowercase();
    assert!(answer.contains(" 200"), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age=31536000"), "{answer}");
    assert!(answer.contains("; secure"), "its cookies are for https alone: {answer}");
    let answer = server.sh(&head("http://site.test/instances/new?x=1")).await;
    assert!(
        answer.contains(" 301 ") && answer.contains("Location: https://site.test/instances/new?x=1"),
        "{answer}"
    );
    let answer = server.sh(&head("https://other.test/login")).await.to_lowercase();
    assert!(answer.contains("location: https://site.test/login"), "by another name nobody uses it: {answer}");

    // It is renewed by certbot itself, and nginx shows the new one.
    let serial = server.sh(SERIAL).await;
    assert!(serial.contains("DNS:site.test"), "{serial}");
    assert_eq!(server.sh("systemctl is-enabled certbot.timer").await, "enabled");
    server.sh("certbot renew --force-renewal --no-random-sleep-on-renew").await;
    server.host.wait_for(&server.id, &format!("test \"$({SERIAL})\" != '{serial}'")).await;

    // A release under TLS is asked for by its name, in whatever letters that is written.
    server.unset("SITE_DOMAIN").await;
    server.set("SITE_DOMAIN=Site.Test\n").await;
    deploy_secured(&mut agent, &server, "d-TLS000003", bundle.path()).await;

    // Machines that were told of the site before it had TLS still report; what is secret they do not get in the clear.
    let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
    for (path, status) in [("log", 401), ("environment", 301), ("first-admin", 301)] {
        let url = format!("{}/deployments/1/{path}", server.url());
        let request = if path == "log" { client.patch(url) } else { client.get(url) };
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{path}");
    }

    // Another name that leads nowhere, or for which there is no certificate: the site is where it was.
    server.unset("SITE_DOMAIN").await;
    server.set("SITE_DOMAIN=new.test\n").await;
    deploy_secured(&mut agent, &server, "d-OTHER0004", bundle.path()).await;
    assert!(agent.log.contains("new.test leads to nowhere"), "{}", agent.log);
    server.sh(&format!("echo '{} new.test' >>/etc/hosts; systemctl stop pebble", server.address.ip())).await;
    deploy_secured(&mut agent, &server, "d-OTHER0005", bundle.path()).await;
    assert!(agent.log.contains("There is no certificate for new.test"), "{}", agent.log);
    assert_eq!(server.sh("systemctl is-active ec-deployer-tls.timer").await, "active");
    // A release before it leads back there, and so does nginx, though it was cut off before it had read what it is given.
    server.sh("cp /etc/nginx/conf.d/ec-deployer.conf /etc/nginx/conf.d/ec-deployer.conf.old").await;
    let (well, said) =
        server.run(&["/opt/ec-deployer/current/scripts/codedeploy/roll_back.sh", "previous"]).await;
    assert!(well, "{said}");
    assert!(server.sh(&head("https://site.test/healthz")).await.contains(" 200"), "{said}");

    // Without a name the site is what it was.
    server.unset("SITE_DOMAIN").await;
    deploy(&mut agent, &server, "d-HTTP00006", bundle.path()).await;
    assert_eq!(health(&server).await["status"], "ok");
    // What is no name does not reach nginx, and fails nothing.
    server.set("SITE_DOMAIN=x.test; return 200 pwned\n").await;
    deploy(&mut agent, &server, "d-BAD000007", bundle.path()).await;
    assert!(agent.log.contains("which is no domain name"), "{}", agent.log);
}

/// Deploys what must go well while the site is served as <https://site.test>.
async fn deploy_secured(agent: &mut Agent, server: &Server, deployment: &str, bundle: &Path) {
    let deployed = agent.deploy(server, deployment, bundle).await;
    assert!(deployed.is_ok(), "{}", agent.log);
    assert!(agent.log.contains(&format!("https://site.test/healthz: {deployment}")), "{}", agent.log);
    let environment = server.sh("tr '\\0' '\\n' </proc/$(supervisorctl pid site:site-1)/environ").await;
    assert!(environment.contains("\nPUBLIC_URL=https://site.test\n"), "{environment}");
}

/// Events as they come, the visitor's own address, large uploads for machines alone.
async fn as_people_need_it(server: &Server, mira: &Person) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = server.url();
    let events =
        client.get(format!("{url}/events")).header(header::COOKIE, mira.cookies(&url)).send().await.unwrap();
    assert_eq!(events.status(), StatusCode::OK);
    let first = tokio::time::timeout(Duration::from_secs(20), events.bytes_stream().next()).await;
    assert!(first.expect("an event or a comment comes through nginx as it is sent").unwrap().is_ok());

    // Failed sign-ins are counted by the address that nginx sees, whatever a visitor says of theirs.
    let stranger = Person::new(&url);
    let token = hidden(&stranger.get("/login").await.text, "csrf_token").unwrap();
    let mut answers = Vec::new();
    for n in 0..8 {
        let request = client
            .post(format!("{url}/login"))
            .header("x-forwarded-for", format!("192.0.2.{n}"))
            .header(header::COOKIE, stranger.cookies(&url))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(format!("csrf_token={token}&username=nobody{n}&password=guessed-as-well"));
        answers.push(request.send().await.unwrap().status());
    }
    assert_eq!(answers[0], StatusCode::UNPROCESSABLE_ENTITY, "{answers:?}");
    assert_eq!(answers[7], StatusCode::TOO_MANY_REQUESTS, "{answers:?}");

    let large = vec![b'x'; 1_000_000];
    let answer = client.post(format!("{url}/login")).body(large.clone()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let answer = client.put(format!("{url}/fetches/1")).body(large).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "it is the site that refuses who has no token");
}
