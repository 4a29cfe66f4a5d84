//! A server in an account of AWS, which is moto: its settings come from Parameter Store with each release, and every
//! night a copy of its data goes to the bucket.

use std::process::Command;

use reqwest::StatusCode;

use super::{agent::Agent, bundle::bundle, deploy, server::Server, signed_in};
use crate::{
    ec2::Door,
    moto::{self, REGION},
};

/// A secret among the settings.
const SECRET: &str = "p4ss 'word' $HOME";

/// Runs AWS's command line against moto, and gives what it prints.
fn aws(words: &[&str]) -> String {
    let output = Command::new(moto::programs().join("aws"))
        .args(words)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("AWS_ENDPOINT_URL", moto::moto())
        .env("AWS_ACCESS_KEY_ID", "AKIATEST")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_DEFAULT_REGION", REGION)
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn put(name: &str, kind: &str, value: &str) {
    let name = format!("/server/site/{name}");
    aws(&["ssm", "put-parameter", "--overwrite", "--name", &name, "--type", kind, "--value", value]);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_come_from_the_account_and_copies_go_there() {
    let server = Server::boot("account").await;
    // The one way of a machine to this host.
    let door = Door::open((server.host.config.gateway, server.host.config.callback_port).into()).await;
    door.lead_to(moto::moto().strip_prefix("http://").unwrap().parse().unwrap());
    server.write(
        "/etc/ec-deployer/server.env",
        &format!(
            "AWS_REGION={REGION}\nPARAMETERS=/server/site/\nBACKUP_BUCKET=copies-of-a-server\n\
             AWS_ENDPOINT_URL=http://{}\nAWS_ACCESS_KEY_ID=AKIATEST\nAWS_SECRET_ACCESS_KEY=test\n",
            door.address
        ),
    );
    let location = format!("LocationConstraint={REGION}");
    let make = ["s3api", "create-bucket", "--bucket", "copies-of-a-server"];
    aws(&[&make[..], &["--create-bucket-configuration", &location]].concat());
    put("CLOUD", "String", "ec2");
    put("KEY_PAIR", "SecureString", SECRET);

    let mut agent = Agent::new();
    let bundle = bundle();
    deploy(&mut agent, &server, "d-FIRST0001", bundle.path()).await;
    let settings = server.sh("cat /etc/ec-deployer/site.env").await;
    assert_eq!(settings, format!("CLOUD=ec2\nKEY_PAIR={SECRET}"));
    let environment = server.sh("tr '\\0' '\\n' </proc/$(supervisorctl pid site:site-1)/environ").await;
    assert!(environment.contains(&format!("\nKEY_PAIR={SECRET}\n")), "{environment}");
    assert!(!agent.log.contains("p4ss"), "{}", agent.log);

    // Changed settings come with the next release; wrong ones are told before anything is touched.
    put("MAX_INSTANCES_PER_OWNER", "String", "5");
    deploy(&mut agent, &server, "d-SECOND002", bundle.path()).await;
    assert!(server.sh("cat /etc/ec-deployer/site.env").await.contains("MAX_INSTANCES_PER_OWNER=5"));
    put("MAX_INSTANCES_PER_OWNER", "String", "many");
    let failed = agent.deploy(&server, "d-WRONG0003", bundle.path()).await.expect_err("a setting is wrong");
    assert!(
        failed.said.contains("MAX_INSTANCES_PER_OWNER") || failed.said.contains("max-instances"),
        "{}",
        failed.said
    );
    assert_eq!(super::serving(&server).await, "d-SECOND002");

    // What the timer runs every night, and back again.
    let mira = signed_in(&server).await;
    assert_eq!(server.sh("systemctl is-active ec-deployer-backup.timer").await, "active");
    let (well, said) = server.run(&["systemctl", "start", "ec-deployer-backup.service"]).await;
    assert!(well, "{said}\n{}", server.sh("journalctl -u ec-deployer-backup | tail -n 20").await);
    let list = ["s3api", "list-objects-v2", "--bucket", "copies-of-a-server", "--query", "Contents[].Key"];
    let key = aws(&[&list[..], &["--output", "text"]].concat());
    assert!(key.starts_with("backups/ec-deployer-"), "{key}");
    let add = "echo 'correct horse battery' | ec-deployer user add noor --admin --password-stdin";
    server.sh(&format!("{add}; ec-deployer user disable mira")).await;
    assert_ne!(mira.get("/users").await.status, StatusCode::OK);
    let restore = format!(
        "supervisorctl stop site:site-1; ec-deployer restore s3://copies-of-a-server/{}; supervisorctl start site:site-1",
        key.trim()
    );
    server.sh(&restore).await;
    mira.sign_in("mira", super::PASSWORD).await;

    // An older one that cannot be removed, since it is somebody else's, stays: this one is made all the same.
    let old = "/tmp/kept/ec-deployer-20200101T000000Z.tar.gz";
    let script =
        format!("install -d -m 1777 /tmp/kept; echo old >{old}; ec-deployer backup /tmp/kept --keep 1 2>&1");
    let said = server.sh(&script).await;
    assert!(said.contains("older ones stay: ") && said.contains(old), "{said}");
    assert_eq!(server.sh("ls /tmp/kept | wc -l").await, "2", "{said}");
}
