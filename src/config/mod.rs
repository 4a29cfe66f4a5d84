//! The site's configuration: one struct, each field a flag and an environment variable.

mod ec2;
mod listen;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use clap::{Args, ValueEnum};
pub use ec2::Ec2Args;
pub use listen::Listen;

use crate::domain::{GitHosts, NameError};

/// The settings of `serve` and `bake`.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Address and port that the site listens on, or `stdin`: the listening socket that it is started with as standard
    /// input.
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8000")]
    pub listen: Listen,

    /// Address and port of the metrics, for Prometheus; they are not served where it is left out.
    #[arg(long, env = "METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,

    /// The site's own address as browsers see it; by default http:// and LISTEN, where that is an address.
    #[arg(long, env = "PUBLIC_URL")]
    pub public_url: Option<Origin>,

    /// The domain name that the site is to be served under: on its own server a certificate is made for it.
    #[arg(long, env = "SITE_DOMAIN")]
    pub site_domain: Option<String>,

    /// Where machines reach the site; by default port 8001 of the bridge's address for the local cloud, and PUBLIC_URL
    /// for EC2.
    #[arg(long, env = "CALLBACK_URL")]
    pub callback_url: Option<Origin>,

    /// The database; by default deployer.db in the state directory.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// Where the database, keys, images and machines are kept.
    #[arg(long, env = "STATE_DIR", default_value = "/var/lib/ec-deployer")]
    pub state_dir: PathBuf,

    /// Where machines run.
    #[arg(long, env = "CLOUD", default_value = "local")]
    pub cloud: CloudKind,

    /// The scheme, host and port that repositories may come from, separated by commas.
    #[arg(long, env = "GIT_HOSTS", default_value = "https://github.com")]
    pub git_hosts: GitHosts,

    /// Addresses of proxies whose X-Forwarded-For is believed, separated by commas.
    #[arg(long, env = "TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpAddr>,

    /// The bridge that local machines are on; at most 15 characters.
    #[arg(long, env = "LOCAL_BRIDGE", default_value = "ecbr0")]
    pub local_bridge: String,

    /// The subnet of local machines; its first address is the bridge's.
    #[arg(long, env = "LOCAL_SUBNET", default_value = "10.213.0.0/24")]
    pub local_subnet: Subnet,

    /// Instances that are worked on at once.
    #[arg(long, env = "PARALLEL_LAUNCHES", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub parallel_launches: u16,

    /// Most instances that an owner may have at once, the terminated ones not counted; 0 is no limit, and admins have
    /// none.
    #[arg(long, env = "MAX_INSTANCES_PER_OWNER", default_value_t = 0)]
    pub max_instances_per_owner: u32,

    /// The name of the release that runs, which `/healthz` tells. Whoever starts a release sets it.
    #[arg(long, env = "RELEASE", hide = true)]
    pub release: Option<String>,

    /// The settings of `CLOUD=ec2`.
    #[command(flatten, next_help_heading = "Settings of CLOUD=ec2")]
    pub ec2: Ec2Args,
}

impl Config {
    /// Whether the settings go together.
    ///
    /// # Errors
    /// Where one needs another that is not there.
    pub fn check(&self) -> Result<(), NameError> {
        if self.listen == Listen::Stdin && self.public_url.is_none() {
            return Err(NameError::new(
                "LISTEN=stdin needs PUBLIC_URL: a socket that others have opened does not say by which address people come to it",
            ));
        }
        Ok(())
    }

    /// The site's own address as browsers see it, without a slash at the end. Of a socket that others have opened it is
    /// known by the setting alone, which [`Config::check`] demands.
    pub fn public_url(&self) -> String {
        self.public_url.as_ref().map_or_else(|| format!("http://{}", self.listen), ToString::to_string)
    }

    /// Where machines reach the site, without a slash at the end.
    pub fn callback_url(&self) -> String {
        let by_default = || match self.cloud {
            CloudKind::Local => format!("http://{}:8001", self.local_subnet.gateway()),
            #[cfg(feature = "ec2")]
            CloudKind::Ec2 => self.public_url(),
        };
        self.callback_url.as_ref().map_or_else(by_default, ToString::to_string)
    }

    /// The database's URL.
    pub fn database_url(&self) -> String {
        self.database_url
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}", self.state_dir.join("deployer.db").display()))
    }
}

impl CloudKind {
    /// The value of `CLOUD`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            #[cfg(feature = "ec2")]
            Self::Ec2 => "ec2",
        }
    }
}

/// Which cloud machines run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CloudKind {
    /// Machines on this host.
    Local,
    /// Machines on AWS EC2.
    #[cfg(feature = "ec2")]
    Ec2,
}

/// An address of a site: scheme, host and perhaps a port, without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(url::Url);

impl Origin {
    /// Whether it is https.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The name or address of the host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// The port, or the scheme's own.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(80)
    }
}

impl FromStr for Origin {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        // The same rule as for the hosts of repositories: an origin and nothing more.
        text.parse::<GitHosts>()?;
        url::Url::parse(text).map(Self).map_err(|_| NameError::new("this is not an address"))
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// An IPv4 network of 6 to 16 host bits: `10.213.0.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    network: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// The bridge's address, the first of the subnet.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) + 1)
    }

    /// The length of the network's prefix, in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }
}

impl FromStr for Subnet {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::new(format!("{text:?} is not a private network like 10.213.0.0/24"));
        let (network, prefix) = text.split_once('/').ok_or_else(bad)?;
        let network: Ipv4Addr = network.parse().map_err(|_| bad())?;
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        let plain = (16..=26).contains(&prefix)
            && network.is_private()
            && u32::from(network).trailing_zeros() >= u32::from(32 - prefix);
        if plain { Ok(Self { network, prefix }) } else { Err(bad()) }
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_has_a_gateway_and_bad_ones_are_refused() {
        let subnet: Subnet = "10.213.0.0/24".parse().unwrap();
        assert_eq!(subnet.gateway(), Ipv4Addr::new(10, 213, 0, 1));
        for bad in ["10.213.0.1/24", "8.8.8.0/24", "10.0.0.0/8", "10.213.0.0", "10.213.0.0/30", ""] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_origin_has_no_path() {
        assert_eq!(
            "https://deploy.example.com/".parse::<Origin>().unwrap().to_string(),
            "https://deploy.example.com"
        );
        assert!("https://deploy.example.com/x".parse::<Origin>().is_err());
    }
}
