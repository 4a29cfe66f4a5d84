//! The local cloud, verb by verb, on real machines.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    os::unix::process::CommandExt,
    process::Command,
    time::{Duration, Instant},
};

use ec_django_deployer::{
    cloud::{
        BakeSpec, Job, Machine, MachineState, Retry, detached,
        local::{Local, LocalConfig},
    },
    domain::{DeploymentId, FetchId, ImageId, InstanceId},
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{io::AsyncReadExt, net::TcpStream, sync::mpsc};

use crate::host::{Host, IMAGE_SCRIPT, answer};

const SERVE: &str = "mkdir -p /srv/web; echo hello from \"$(hostname)\" > /srv/web/index.html
echo run >> /root/runs
systemd-run --unit=web python3 -m http.server 80 --directory /srv/web";

/// What the machine's page says, asked from the host.
async fn page(ip: IpAddr) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = async {
            let mut stream = TcpStream::connect((ip, 80)).await?;
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HTTP/1.0\r\n\r\n").await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            Ok::<_, std::io::Error>(text)
        };
        match tokio::time::timeout(Duration::from_secs(2), answer).await {
            Ok(Ok(text)) => return text,
            _ if Instant::now() > deadline => panic!("no page from {ip}"),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn only(host: &Host) -> Machine {
    let mut machines = host.cloud.list().await.unwrap();
    assert_eq!(machines.len(), 1, "{machines:?}");
    machines.pop().unwrap()
}

/// Fails where the two differ, and prints in what.
pub fn assert_same(before: &BTreeSet<String>, after: &BTreeSet<String>) {
    let lines = |sign: &str, a: &BTreeSet<String>, b: &BTreeSet<String>| {
        a.difference(b).fold(String::new(), |text, line| format!("{text}{sign} {line}\n"))
    };
    let difference = lines("-", before, after) + &lines("+", after, before);
    println!("difference before and after:\n{}", if difference.is_empty() { "none\n" } else { &difference });
    assert!(difference.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_lives_from_its_launch_to_its_end_and_leaves_nothing() {
    let host = Host::new().await;
    let image = host.image().await;
    assert_eq!(host.cloud.images().await.unwrap(), std::slice::from_ref(&image));
    let before = host.traces();

    // The same token twice, at once even, is one machine.
    let request = host.request("token", &image, SERVE);
    let started = Instant::now();
    let (one, two) = tokio::join!(host.cloud.launch(&request), host.cloud.launch(&request));
    let (machine, two) = (one.unwrap(), two.unwrap());
    assert_eq!(machine, two);
    assert_eq!(only(&host).await, machine);
    assert_eq!(
        (machine.state, machine.token.as_str(), machine.instance.as_ref().map(|name| name.as_str())),
        (MachineState::Running, request.token.as_str(), Some("shop"))
    );
    let first_ip = machine.public_ip.unwrap();
    assert!(page(first_ip).await.ends_with("hello from shop\n"));
    println!("{}: user data has run after {:.2} s", machine.id, started.elapsed().as_secs_f64());
    let id = machine.id;
    host.wait_for(&id, "test -e /var/lib/cloud/instance/boot-finished").await;
    assert_eq!(host.exec(&id, "cloud-id; cat /etc/baked").await, "nocloud\nbaked");
    assert_eq!(host.exec(&id, "systemctl --failed --no-legend").await, "");
    assert_eq!(host.exec(&id, "stat --file-system --format=%T /tmp").await, "overlayfs");
    let console = String::from_utf8_lossy(&host.cloud.console(&id).await.unwrap()).into_owned();
    assert!(console.contains("cloud-init"), "{console}");

    runs_a_script(&host, &id).await;

    // A reboot inside is no end.
    host.exec(&id, "echo kept > /root/kept; systemctl reboot").await;
    host.wait_for(&id, "test ! -e /run/before-reboot && grep -q kept /root/kept").await;
    assert_eq!(only(&host).await.public_ip, Some(first_ip));

    // Stopped it keeps its disk and no address; started again it has another one.
    host.cloud.stop(&id).await.unwrap();
    host.cloud.stop(&id).await.unwrap();
    let stopped = only(&host).await;
    assert_eq!((stopped.state, stopped.public_ip), (MachineState::Stopped, None));
    assert_eq!(host.cloud.launch(&request).await.unwrap().state, MachineState::Stopped);
    let refused = host.cloud.delete_image(&image).await.unwrap_err();
    assert_eq!(refused.retry, Retry::Never);
    assert!(host.cloud.exec(&id, &["true"]).await.is_err());
    host.cloud.start(&id).await.unwrap();
    host.cloud.start(&id).await.unwrap();
    let again = only(&host).await;
    assert_eq!(again.state, MachineState::Running);
    assert_ne!(again.public_ip, Some(first_ip));
    host.wait_for(&id, "test -e /var/lib/cloud/instance/boot-finished").await;
    assert_eq!(host.exec(&id, "cat /root/runs /root/kept").await, "run\nkept");
    let own = host.exec(&id, "ip -4 -oneline addr show host0").await;
    assert!(own.contains(&format!(" {}/24 ", again.public_ip.unwrap())), "{own}");

    host.cloud.terminate(&id).await.unwrap();
    host.cloud.terminate(&id).await.unwrap();
    assert_eq!(host.cloud.list().await.unwrap(), []);
    assert_same(&before, &host.traces());

    let gone = host.cloud.start(&id).await.unwrap_err();
    assert_eq!(gone.retry, Retry::Never);
    host.cloud.delete_image(&image).await.unwrap();
    assert_eq!(host.cloud.launch(&request).await.unwrap_err().retry, Retry::Never);
    host.cloud.teardown().await.unwrap();
    let left: Vec<_> = host.traces().into_iter().filter(|trace| !trace.starts_with("file: ")).collect();
    assert_eq!(left, [""; 0]);
}

async fn runs_a_script(host: &Host, id: &InstanceId) {
    let script = b"#!/bin/bash\necho begun >> /root/deployed\nsleep 2\nenv > /root/environment\ntouch /run/before-reboot\n";
    host.cloud.run(id, Job::Deploy(DeploymentId(7)), script).await.unwrap();
    host.cloud.run(id, Job::Deploy(DeploymentId(7)), script).await.unwrap();
    host.wait_for(id, "test -e /run/before-reboot").await;
    assert_eq!(host.exec(id, "cat /root/deployed").await, "begun");
    let environment = host.exec(id, "cat /root/environment").await;
    assert!(environment.contains("HOME=/root\n") && environment.contains("PATH="), "{environment}");
    assert!(!environment.contains("CARGO"), "{environment}");
    // It held a token.
    host.wait_for(id, "test -z \"$(ls /var/lib/ec-deployer/scripts)\"").await;

    // The same text by another way, two calls at one moment, as Systems Manager may deliver one: it runs once.
    let text = detached::command(Job::Fetch(FetchId(7)), b"#!/bin/sh\necho begun >>/root/fetched\nsleep 3\n");
    let sh = ["sh", "-c", &text];
    let (one, other) = tokio::join!(host.cloud.exec(id, &sh), host.cloud.exec(id, &sh));
    for said in [one.unwrap(), other.unwrap()] {
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }
    host.wait_for(id, "test -e /root/fetched").await;
    assert_eq!(host.exec(id, "cat /root/fetched; systemctl is-active ec-fetch-7").await, "begun\nactive");

    // What cannot start is told, and nothing of it stays.
    let error = host.cloud.run(id, Job::Deploy(DeploymentId(8)), b"#!/no/such/shell\n").await.unwrap_err();
    assert!(error.sentence.contains("No such file or directory"), "{}", error.sentence);
    host.wait_for(id, "test -z \"$(ls /var/lib/ec-deployer/scripts)\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_reach_the_callback_dns_and_the_internet_and_nothing_else() {
    let host = Host::new().await;
    let image = host.image().await;
    let gateway = host.config.gateway;
    answer((gateway, host.config.callback_port)).await;
    answer((gateway, 8002)).await;
    let one = host.cloud.launch(&host.request("one", &image, SERVE)).await.unwrap();
    let other = host.cloud.launch(&host.request("other", &image, SERVE)).await.unwrap();
    assert_ne!(one.public_ip, other.public_ip);
    page(other.public_ip.unwrap()).await;
    let id = &one.id;
    host.wait_for(id, "test -e /var/lib/cloud/instance/boot-finished").await;

    let cloud = &host.cloud;
    let reaches = |target: String| {
        let script = format!("timeout 3 bash -c '< /dev/tcp/{target}'");
        async move { cloud.exec(id, &["bash", "-c", &script]).await.unwrap().status.success() }
    };
    assert!(reaches(format!("{gateway}/8001")).await, "the callback listener");
    assert!(!reaches(format!("{gateway}/8002")).await, "another port of the host");
    assert!(!reaches(format!("{}/80", other.public_ip.unwrap())).await, "another machine");
    assert!(!reaches("169.254.169.254/80".to_owned()).await, "the metadata service");
    // Nor when it goes by way of the host, past the bridge's own isolation.
    host.exec(id, &format!("ip route add {}/32 via {gateway}", other.public_ip.unwrap())).await;
    assert!(!reaches(format!("{}/80", other.public_ip.unwrap())).await, "another machine by way of the host");
    // Nor with an address of its own choosing over IPv6.
    host.exec(id, "ip link set host0 addrgenmode eui64; ip link set host0 down; ip link set host0 up; sleep 2; ip -6 addr show host0").await;
    let bridge = &host.config.bridge;
    assert_eq!(crate::host::run("ip", &["-6", "addr", "show", "dev", bridge]), "");
    host.exec(id, &format!("ip route replace default via {gateway}")).await;

    host.exec(id, "getent ahostsv4 deb.debian.org").await;
    host.exec(id, "curl --silent --show-error --fail --max-time 20 http://deb.debian.org/debian/dists/stable/Release > /dev/null").await;
    host.exec(id, "curl --silent --show-error --fail --max-time 20 https://pypi.org/simple/pip/ > /dev/null")
        .await;
    host.exec(id, "apt-get update --error-on=any").await;
    // The other was there all the time.
    page(other.public_ip.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bake_that_fails_or_is_given_up_leaves_no_builder_and_no_image() {
    let host = Host::new().await;
    // Makes the base, where there is none yet.
    let image = host.image().await;
    let before = host.traces();

    let script =
        IMAGE_SCRIPT.replace("packages ok 0.01", "packages failed 3").replace("echo '::ec done'\n", "");
    let (failed, log) = host.bake(2, &script).await;
    let failed = failed.unwrap_err();
    assert_eq!(failed.sentence, "The image script failed at packages (exit code 3).");
    assert!(log.contains("::ec step packages start\n") && log.contains("SSL_CERT_FILE="), "{log}");
    assert_same(&before, &host.traces());

    let (markless, _) = host.bake(3, &IMAGE_SCRIPT.replace("echo '::ec done'\n", "")).await;
    assert_eq!(markless.unwrap_err().sentence, "The machine powered off before the image script was done.");

    let (send, mut log) = mpsc::channel(16);
    let script = IMAGE_SCRIPT.replace("echo '::ec done'\n", "sleep 600\n").into_bytes();
    {
        let bake = host.cloud.bake(BakeSpec { image: ImageId(4), script }, send);
        tokio::select! {
            ended = bake => panic!("{ended:?}"),
            _ = async { while !String::from_utf8_lossy(&log.recv().await.unwrap()).contains("packages ok") {} } => {}
        }
    }
    // It is given up now; the log closes when all of it is gone.
    while log.recv().await.is_some() {}
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_same(&before, &host.traces());
    assert_eq!(host.cloud.images().await.unwrap(), std::slice::from_ref(&image));

    // A bake of the same number and script after it is done is the same image.
    assert_eq!(host.bake(1, IMAGE_SCRIPT).await.0.unwrap().cloud_ref, image);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_killed_anywhere_and_repeated_is_one_machine_that_outlives_its_site() {
    // This test is also the site that it starts and kills.
    if let Ok(text) = std::env::var("EC_TEST_SITE") {
        return be_a_site(&text).await;
    }
    let host = Host::new().await;
    let image = host.image().await;
    let before = host.traces();
    for (n, wait) in [1, 15, 30, 45, 60, 80, 100, 130, 160, 200, 250, 350].into_iter().enumerate() {
        let token = format!("token-{n}");
        let site = |verb| {
            kill_a_site(site_text(&host.config, verb, &token, &image), Duration::from_millis(wait));
        };
        site("launch");
        let seen = host.cloud.list().await.unwrap();
        let machine = host.cloud.launch(&host.request(&token, &image, SERVE)).await.unwrap();
        println!("killed after {wait} ms, then {seen:?}");
        assert_eq!(machine.state, MachineState::Running);
        assert_eq!(only(&host).await, machine);
        page(machine.public_ip.unwrap()).await;
        assert_eq!(host.exec(&machine.id, "cat /root/runs").await, "run");
        // What ends it may be killed as well.
        site(if n % 2 == 0 { "terminate" } else { "stop" });
        host.cloud.terminate(&machine.id).await.unwrap();
        assert_same(&before, &host.traces());
    }
}

/// Starts a site that does this, and after so long kills it with all its process group.
fn kill_a_site(text: String, after: Duration) {
    let mut site = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "local_cloud::a_launch_killed_anywhere_and_repeated_is_one_machine_that_outlives_its_site",
        ])
        .env("EC_TEST_SITE", text)
        // Its harness would count its test among those of this run.
        .stdout(std::process::Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    std::thread::sleep(after);
    // A system call, not the tool: some versions of `kill` read a group's number digit by digit.
    let group = Pid::from_raw(site.id().try_into().unwrap());
    assert!(group.as_raw() > 1);
    killpg(group, Signal::SIGKILL).unwrap();
    site.wait().unwrap();
}

fn site_text(config: &LocalConfig, verb: &str, token: &str, image: &str) -> String {
    [
        &config.state_dir.display().to_string(),
        &config.bridge,
        &config.gateway.to_string(),
        &config.site,
        verb,
        token,
        image,
    ]
    .join("\n")
}

async fn be_a_site(text: &str) {
    let [state_dir, bridge, gateway, site, verb, token, image] = text.split('\n').collect::<Vec<_>>()[..]
    else {
        panic!("{text}")
    };
    let config = LocalConfig {
        state_dir: state_dir.into(),
        bridge: bridge.to_owned(),
        gateway: gateway.parse().unwrap(),
        site: site.to_owned(),
        prefix: 24,
        callback_port: 8001,
        program: env!("CARGO_BIN_EXE_ec-deployer").into(),
        copy_host_trust: true,
    };
    // Not a `Host`: that would clear up behind itself.
    let host = std::mem::ManuallyDrop::new(Host::of(config.clone()));
    let request = host.request(token, image, SERVE);
    let cloud = Local::new(config);
    let id = cloud.launch(&request).await.unwrap().id;
    match verb {
        "terminate" => cloud.terminate(&id).await.unwrap(),
        "stop" => cloud.stop(&id).await.unwrap(),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_someone_elses_are_refused_with_a_sentence() {
    let host = Host::new().await;
    host.cloud.prepare().await.unwrap();
    let sentence = |change: fn(&mut LocalConfig)| {
        let mut config = Host::free_config();
        change(&mut config);
        async move {
            let refused = Local::new(config.clone()).prepare().await.unwrap_err();
            std::fs::remove_dir_all(&config.state_dir).unwrap();
            assert_eq!(refused.retry, Retry::Never, "{refused:?}");
            refused.sentence
        }
    };
    assert!(sentence(|config| config.bridge = "lo".to_owned()).await.contains("LOCAL_BRIDGE"));
    assert!(sentence(|config| config.bridge = "a/b".to_owned()).await.contains("LOCAL_BRIDGE"));
    assert!(sentence(|config| config.prefix = 31).await.contains("LOCAL_SUBNET"));
    assert!(
        sentence(|config| config.gateway = [127, 0, 0, 9].into()).await.contains("in use on this host by lo")
    );

    // Another site's bridge, whose state directory is another.
    let mut theirs = Host::free_config();
    theirs.bridge.clone_from(&host.config.bridge);
    let refused = Local::new(theirs.clone()).prepare().await.unwrap_err();
    std::fs::remove_dir_all(&theirs.state_dir).unwrap();
    assert!(refused.sentence.contains("LOCAL_BRIDGE"), "{refused}");
    Local::new(theirs).teardown().await.unwrap_err();
    assert!(std::path::Path::new("/sys/class/net").join(&host.config.bridge).exists());
}
