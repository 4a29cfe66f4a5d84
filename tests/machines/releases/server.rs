//! The site's own server: a machine from the golden image, with the settings that people have written on it.

use std::{net::SocketAddr, path::Path, process::Command};

use ec_django_deployer::domain::InstanceId;

use crate::{host::Host, site::lend_images};

/// Settings of a site whose AWS nobody answers for: it serves its pages all the same, and says that it launches
/// nothing.
const SETTINGS: &str = "\
CLOUD=ec2
AWS_REGION=eu-central-1
AWS_ACCESS_KEY_ID=AKIDEXAMPLE
AWS_SECRET_ACCESS_KEY=nobody's $(secret) \"key\"
AWS_ENDPOINT_URL=http://127.0.0.1:9
AWS_EC2_METADATA_DISABLED=true
";

/// A server.
pub struct Server {
    pub host: Host,
    pub id: InstanceId,
    pub address: SocketAddr,
}

impl Server {
    /// Boots one.
    pub async fn boot(name: &str) -> Self {
        let host = Host::new().await;
        let image = lend_images(&host.config.state_dir);
        let machine = host.cloud.launch(&host.request(name, &image, "true")).await.unwrap();
        let server = Self { address: SocketAddr::new(machine.public_ip.unwrap(), 80), id: machine.id, host };
        server.host.wait_for(&server.id, "test -e /var/lib/cloud/instance/boot-finished").await;
        server.write("/etc/ec-deployer/site.env", SETTINGS);
        server.sh("install -d /opt/codedeploy-agent").await;
        server
    }

    /// Its site, as people reach it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address.ip())
    }

    /// Runs a command as root, however long it takes: whether it succeeded, and what it printed.
    pub async fn run(&self, command: &[&str]) -> (bool, String) {
        self.host.run_long(&self.id, command).await
    }

    /// What a script prints as root, once it succeeds.
    pub async fn sh(&self, script: &str) -> String {
        self.host.exec(&self.id, script).await
    }

    /// Where a file of the server is on this host.
    fn path(&self, path: &str) -> std::path::PathBuf {
        self.host.config.state_dir.join("machines").join(self.id.as_str()).join("root").join(&path[1..])
    }

    /// Writes a file.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Adds lines to the settings, as somebody who writes them by hand.
    pub async fn set(&self, lines: &str) {
        self.sh(&format!("printf '%s' '{lines}' >>/etc/ec-deployer/site.env")).await;
    }

    /// Takes a setting away.
    pub async fn unset(&self, name: &str) {
        self.sh(&format!("sed -i '/^{name}=/d' /etc/ec-deployer/site.env")).await;
    }

    /// Copies a directory of this host.
    pub fn copy_in(&self, from: &Path, to: &str) {
        let to = self.path(to);
        std::fs::create_dir_all(&to).unwrap();
        let copied = Command::new("cp").arg("-aT").arg(from).arg(&to).status().unwrap();
        assert!(copied.success(), "{}", to.display());
    }

    /// The process that is the site.
    pub async fn site_pid(&self) -> String {
        self.sh("supervisorctl pid site:site-1").await
    }
}
