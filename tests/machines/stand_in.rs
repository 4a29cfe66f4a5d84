//! A stand-in for EC2's metadata service on a machine of this host, which takes it for one of EC2's.

use ec_django_deployer::{cloud::local::Local, domain::InstanceId};

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

/// A machine with the stand-in.
pub struct StandIn {
    cloud: Local,
    id: InstanceId,
}

impl StandIn {
    /// Installs it, for this boot and those to come. It says that the machine has this public address, none where
    /// it is empty.
    pub async fn install(cloud: Local, id: InstanceId, address: &str) -> Self {
        let machine = Self { cloud, id };
        let install = format!(
            "mkdir -p /var/lib/stand-in && cd /var/lib/stand-in && echo '{address}' >public-ipv4
             cat >service.py <<'END'\n{SERVICE}END\ncat >network.sh <<'END'\n{NETWORK}END\n\
             cat >/etc/systemd/system/stand-in.service <<'END'\n{UNIT}END\n\
             systemctl daemon-reload && systemctl enable --now stand-in 2>&1
             systemctl restart ec-deployer-watch 2>&1"
        );
        machine.sh(&install).await;
        machine
    }

    /// What a command as root prints, whatever comes of it.
    pub async fn sh(&self, script: &str) -> String {
        let output = self.cloud.exec(&self.id, &["bash", "-c", script]).await.unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Gives the machine another public address, or takes it away.
    pub async fn give(&self, address: &str) {
        self.sh(&format!("echo '{address}' >/var/lib/stand-in/public-ipv4")).await;
    }
}
