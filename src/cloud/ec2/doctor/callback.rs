//! Whether machines can reach this site, as far as that can be told from here.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{Look, network::Network};
use crate::config::Origin;

/// How long the site, or the name's server, may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where an address is, as a machine sees it.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Everywhere.
    Public,
    /// In a network of its own.
    Private,
    /// On the machine itself, or its link: never the site.
    Nowhere,
}

impl Look<'_> {
    /// Looks at the address that machines are told to report to.
    pub async fn callback(&self, network: &Network) {
        let url = self.ec2.0.config.callback_url.as_str();
        let Ok(origin) = url.parse::<Origin>() else {
            return self.bad(format!("machines cannot reach {url}, which is no address"), SET);
        };
        let addresses = match timeout(PATIENCE, lookup_host((origin.host(), origin.port()))).await {
            Ok(Ok(found)) => found.collect::<BTreeSet<_>>(),
            Ok(Err(_)) | Err(_) => BTreeSet::new(),
        };
        if addresses.is_empty() {
            return self.bad(
                format!("the name of {url} is not known"),
                "correct PUBLIC_URL or CALLBACK_URL, or add the name to its domain",
            );
        }
        if self.reachable(url, &addresses, network) && !origin.is_https() {
            self.warn(
                format!("machines report to {url} without encryption: their tokens, and the values of projects' variables in later deployments, travel in the clear"),
                "put a proxy with a certificate before the site, and set PUBLIC_URL to its https address",
            );
        }
        self.answers(url, &origin, &addresses).await;
    }

    /// Whether these addresses may lead here from a machine; says where they do not.
    fn reachable(&self, url: &str, addresses: &BTreeSet<SocketAddr>, network: &Network) -> bool {
        let places: Vec<_> = addresses.iter().map(|address| (address.ip(), place(address.ip()))).collect();
        if let Some((ip, _)) = places.iter().find(|(_, place)| *place == Place::Nowhere) {
            self.bad(format!("machines cannot reach {url}: {ip} is the machine itself to them"), SET);
            return false;
        }
        let outside = places.iter().find(|(ip, place)| {
            *place == Place::Private && !matches!(ip, IpAddr::V4(four) if network.has(*four))
        });
        match outside {
            Some((ip, _)) => self.warn(
                format!("{url}: {ip} is a private address, and not one of the subnets' VPC; machines reach it by peering or a VPN only"),
                SET,
            ),
            None if places.iter().any(|(_, place)| *place == Place::Private) => {
                self.ok(format!("machines report to {url}, an address of their own VPC"));
            }
            None => self.ok(format!("machines report to {url}, a public address")),
        }
        true
    }

    /// Whether the site itself answers at its address, seen from here.
    async fn answers(&self, url: &str, origin: &Origin, addresses: &BTreeSet<SocketAddr>) {
        let Some(pid) = self.site else {
            return self.ok(format!("no site runs now: whether it answers at {url} was not looked at"));
        };
        let cure =
            "see that this address leads to LISTEN of the site, through every proxy and firewall on the way";
        if origin.is_https() {
            for address in addresses {
                if matches!(timeout(PATIENCE, TcpStream::connect(address)).await, Ok(Ok(_))) {
                    return self.ok(format!(
                        "{address} listens for {url}; that it is this site shows: curl {url}/healthz"
                    ));
                }
            }
            return self.bad(format!("nothing listens for {url}, seen from here"), cure);
        }
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy();
        let client = client.redirect(reqwest::redirect::Policy::none()).build();
        let Ok(client) = client else {
            return self.warn(format!("whether the site answers at {url} could not be looked at"), cure);
        };
        let said = match client.get(format!("{url}/healthz")).send().await {
            Ok(answer) => answer.text().await.ok(),
            Err(_) => None,
        };
        let is_site = said.as_deref().is_some_and(is_site);
        match said {
            Some(_) if is_site => self.ok(format!("the site, process {pid}, answers at {url}")),
            Some(_) => self.bad(format!("something else than this site answers at {url}"), cure),
            None => self.bad(format!("the site runs, but does not answer at {url}, seen from here"), cure),
        }
    }
}

const SET: &str = "set PUBLIC_URL to the address by which the site is reached from the internet, https://deploy.example.com";

/// Whether this is what a site of ours says of its health.
fn is_site(said: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(said).is_ok_and(|health| {
        ["status", "version", "database", "cloud"].iter().all(|key| health[key].is_string())
    })
}

fn place(ip: IpAddr) -> Place {
    match ip {
        _ if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() => Place::Nowhere,
        IpAddr::V4(four) if four.is_link_local() || four.is_broadcast() => Place::Nowhere,
        IpAddr::V4(four) if four.is_private() => Place::Private,
        // 100.64.0.0/10: what providers translate addresses in. https://www.rfc-editor.org/rfc/rfc6598
        IpAddr::V4(four) if four.octets()[0] == 100 && four.octets()[1] & 0xc0 == 64 => Place::Private,
        IpAddr::V6(six) if six.is_unicast_link_local() => Place::Nowhere,
        IpAddr::V6(six) if six.is_unique_local() => Place::Private,
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(Place::Public, |four| place(IpAddr::V4(four))),
        IpAddr::V4(_) => Place::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_reach_public_addresses_and_perhaps_private_ones() {
        let of = |text: &str| place(text.parse().unwrap());
        for nowhere in ["127.0.0.1", "::1", "0.0.0.0", "169.254.169.254", "fe80::1", "::ffff:127.0.0.1"] {
            assert_eq!(of(nowhere), Place::Nowhere, "{nowhere}");
        }
        for private in ["10.1.2.3", "172.31.0.5", "192.168.1.1", "100.64.0.1", "fd00::1"] {
            assert_eq!(of(private), Place::Private, "{private}");
        }
        for public in ["203.0.113.7", "100.128.0.1", "2001:db8::1"] {
            assert_eq!(of(public), Place::Public, "{public}");
        }
    }

    #[test]
    fn a_site_says_how_it_is() {
        assert!(is_site(r#"{"status":"ok","version":"0.1.0","database":"ok","cloud":"ready"}"#));
        assert!(!is_site(r#"{"status":"ok"}"#) && !is_site("<html>"));
    }
}
