//! The machine's end of `CLOUD=ec2`: what a site asks of EC2 arrives at moto, and a machine of this host does it. Its
//! user data is read back through EC2's own API and booted unchanged; a later deployment is the text of a command
//! that the site sent through Systems Manager.
//!
//! The public IP is one that moto made up: it is a name here, which the machine hears from a stand-in for the metadata
//! service and visitors say in their requests. Every connection goes to this host.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{
    ec2_site::World,
    host::Host,
    metadata::sign_at,
    sample::{deploy_sample, stylesheets},
    site::lend_images,
    stand_in::StandIn,
};

/// A listener that passes connections on to where it leads, once it leads somewhere.
pub struct Door {
    pub address: SocketAddr,
    leads_to: Arc<Mutex<Option<SocketAddr>>>,
    serving: JoinHandle<io::Result<()>>,
}

impl Door {
    pub async fn open(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let leads_to: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let target = leads_to.clone();
        let serving = tokio::spawn(async move {
            loop {
                let (mut inner, _) = listener.accept().await?;
                let Some(target) = *target.lock().unwrap() else { continue };
                tokio::spawn(async move {
                    let mut outer = TcpStream::connect(target).await?;
                    tokio::io::copy_bidirectional(&mut inner, &mut outer).await
                });
            }
        });
        Self { address, leads_to, serving }
    }

    pub fn lead_to(&self, address: SocketAddr) {
        *self.leads_to.lock().unwrap() = Some(address);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A visitor's request to the machine for what is at the public IP.
async fn get(machine: SocketAddr, public_ip: &str, path: &str) -> (StatusCode, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer =
        client.get(format!("http://{machine}{path}")).header("host", public_ip).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_does_what_the_site_asks_of_ec2() {
    let host = Host::new().await;
    let image = lend_images(&host.config.state_dir);
    // Where the machine reaches the site, and where the site asks for the project's page.
    let to_site = Door::open((host.config.gateway, host.config.callback_port).into()).await;
    let to_project = Door::open(([127, 0, 0, 1], 0).into()).await;
    let callback = format!("http://{}", to_site.address);
    let map = format!("*={}", to_project.address);
    let world = World::start_with(&[("CALLBACK_URL", &callback), ("ADDRESS_MAP", &map)]).await;
    to_site.lead_to(world.site.url.strip_prefix("http://").unwrap().parse().unwrap());

    // The form, one machine at EC2, and what it was given to run.
    let mira = &world.mira;
    let name = deploy_sample(mira).await;
    let id = world.launched(&name).await;
    let user_data = world.account.user_data(&id).await;
    assert!(user_data.starts_with(&[0x1f, 0x8b]), "it is compressed");
    let public_ip = world.account.machine(&id).await.public_ip_address.expect("moto invents one");
    let machine = host.cloud.launch(&host.request_with("ec2", &image, user_data)).await.unwrap();
    host.wait_for(&machine.id, "test -s /run/cloud-init/cloud-id").await;
    let stand_in = StandIn::install(host.cloud.clone(), machine.id.clone(), &public_ip).await;
    let server = SocketAddr::new(machine.public_ip.unwrap(), 80);
    to_project.lead_to(server);

    let info = mira.wait(&name, 240, |info| info["status"] == "live").await;
    assert_eq!(
        (&info["instance_id"], &info["public_ip"]),
        (&Value::from(id.as_str()), &public_ip.clone().into())
    );
    assert_eq!((&info["progress"], &info["error"]), (&Value::from(1.0), &Value::Null));
    assert_eq!(stand_in.sh("head -n1 /etc/ec-deployer/hosts").await, public_ip);
    let (status, page) = get(server, &public_ip, "/").await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let sheets = stylesheets(&page);
    assert!(!sheets.is_empty(), "{page}");
    for sheet in sheets {
        assert_eq!(get(server, &public_ip, &sheet).await.0, StatusCode::OK, "{sheet}");
    }
    assert_eq!(get(server, "192.0.2.77", "/").await.0, StatusCode::BAD_REQUEST, "it is not its name");
    sign_at(&format!("http://{server}"), &public_ip, "written before the redeployment").await;

    // A redeployment comes through Systems Manager; a command may be delivered twice.
    let release = stand_in.sh("readlink /srv/app/current").await;
    world.proxy.ssm(|ssm| ssm.agents.insert(id.clone(), "Online"));
    mira.redeploy(&name).await;
    let begun = Instant::now();
    let script = loop {
        let sent = world.proxy.ssm(|ssm| ssm.commands.first().map(|(_, command)| command.clone()));
        if let Some(command) = sent {
            assert_eq!(command.instance, id);
            break command.script;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "no command was sent");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for _ in 0..2 {
        let output = host.cloud.exec(&machine.id, &["sh", "-c", &script]).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    mira.wait(&name, 60, |info| info["status"] == "deploying").await;
    let info = mira.wait(&name, 240, |info| info["status"] == "live" && info["progress"] == 1.0).await;
    assert_eq!(info["error"], Value::Null, "{info:#}");
    assert_ne!(stand_in.sh("readlink /srv/app/current").await, release);
    let (status, page) = get(server, &public_ip, "/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("written before the redeployment"), "{page}");
    assert_eq!(stand_in.sh("ls /var/lib/ec-deployer/begun").await, "1\n2", "each ran once");
    // It held a token.
    host.wait_for(&machine.id, "test -z \"$(ls /var/lib/ec-deployer/scripts)\"").await;
    assert_eq!(world.machines_of(&name).await, [id], "the same machine");
}
