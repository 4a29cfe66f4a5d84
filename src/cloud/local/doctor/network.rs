//! The host's network around the machines' one: forwarding, the firewall of others, the bridge and its subnet.

use std::{fs, net::Ipv4Addr};

use serde::Deserialize;

use super::{
    super::{
        command::{is_installed, run, tool},
        network::{FORWARD, Network},
    },
    Look, parts,
};

pub(super) fn examine(look: &Look<'_>, root: bool) {
    forwarding(look);
    if is_installed("iptables") {
        if root {
            forward_policy(look);
        } else {
            look.needs_root("the policy of the firewall's chain FORWARD");
        }
    }
    if is_installed("ip") {
        bridge(look);
    }
}

fn forwarding(look: &Look<'_>) {
    match fs::read_to_string(FORWARD).unwrap_or_default().trim() {
        "1" => look.ok("net.ipv4.ip_forward is on"),
        "0" => look.ok("net.ipv4.ip_forward is off; the first machine turns it on"),
        _ => look.bad(format!("{FORWARD} cannot be read"), "use a kernel with IPv4, and mount /proc"),
    }
}

fn forward_policy(look: &Look<'_>) {
    let rules = match run(tool("iptables").args(["--wait", "5", "-S", "FORWARD"])) {
        Ok(rules) => rules,
        Err(error) => return look.bad(parts(&error).0, "see that `iptables -S FORWARD` works as root"),
    };
    match policy(&rules) {
        Some("ACCEPT") => look.ok("the chain FORWARD accepts what no rule refuses"),
        Some(policy) => look.ok(format!(
            "the chain FORWARD has the policy {policy}, as Docker or ufw sets it; machines' own rules come before it"
        )),
        None => look.warn("the policy of the chain FORWARD is not known", "look at `iptables -S FORWARD`"),
    }
}

/// The policy among the rules of a chain: `-P FORWARD DROP`.
fn policy(rules: &str) -> Option<&str> {
    rules.lines().find_map(|line| line.strip_prefix("-P FORWARD ")).map(str::trim)
}

/// A route of the host.
#[derive(Deserialize)]
struct Route {
    dst: String,
    #[serde(default)]
    dev: String,
}

fn bridge(look: &Look<'_>) {
    let network = Network { config: look.config, paths: look.paths };
    let (bridge, subnet) = (&look.config.bridge, network.subnet());
    if let Err(error) = super::super::check_config(look.config).and_then(|()| network.refuse_overlap()) {
        let (what, cure) = parts(&error);
        return look.bad(what, cure);
    }
    if !network.exists() {
        look.ok(format!("the bridge {bridge} is free, and made when the site starts"));
    } else {
        match network.is_ours() {
            Ok(true) => look.ok(format!("the bridge {bridge} is this site's")),
            Ok(false) => look.bad(
                format!("the network device {bridge} belongs to something else on this host"),
                "choose another name for LOCAL_BRIDGE; if it is another STATE_DIR's, give that one",
            ),
            Err(error) => look.bad(parts(&error).0, "see that `ip addr` works"),
        }
    }
    let routes = run(tool("ip").args(["-json", "-4", "route", "show"])).unwrap_or_default();
    let routes: Vec<Route> = serde_json::from_str(&routes).unwrap_or_default();
    let other = routes.iter().filter(|route| route.dev != *bridge);
    let crossing =
        other.filter_map(|route| Some((route, crosses(&route.dst, &subnet)?))).max_by_key(|(_, way)| *way);
    match crossing {
        None => look.ok(format!("the subnet {subnet} is free")),
        Some((Route { dst, dev }, Way::Around)) => look.warn(
            format!("the subnet {subnet} lies in {dst}, which goes by {dev}: a VPN's hosts there cannot be reached"),
            "choose a LOCAL_SUBNET that nobody here uses",
        ),
        Some((Route { dst, dev }, Way::Inside)) => look.bad(
            format!("{dst} of the subnet {subnet} goes by {dev}"),
            "choose a LOCAL_SUBNET that nobody here uses",
        ),
    }
}

/// How a route crosses the machines' subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// It is about more than the subnet, which is taken out of it.
    Around,
    /// It takes away from the subnet.
    Inside,
}

fn crosses(route: &str, subnet: &str) -> Option<Way> {
    let read = |text: &str| {
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        Some((u32::from(address.parse::<Ipv4Addr>().ok()?), prefix.parse::<u32>().ok().filter(|n| *n <= 32)?))
    };
    let ((route, wide), (subnet, narrow)) = (read(route)?, read(subnet)?);
    let common = wide.min(narrow);
    let mask = u32::MAX.checked_shl(32 - common).unwrap_or(0);
    (route & mask == subnet & mask).then_some(if wide < narrow { Way::Around } else { Way::Inside })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("default", None)]
    #[case("192.168.1.0/24", None)]
    #[case("10.214.0.0/16", None)]
    #[case("10.0.0.0/8", Some(Way::Around))]
    #[case("10.213.0.0/24", Some(Way::Inside))]
    #[case("10.213.0.128/25", Some(Way::Inside))]
    #[case("10.213.0.7", Some(Way::Inside))]
    fn routes_that_cross_the_subnet_are_seen(#[case] route: &str, #[case] way: Option<Way>) {
        assert_eq!(crosses(route, "10.213.0.0/24"), way);
    }

    #[test]
    fn the_policy_is_read() {
        assert_eq!(policy("-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n"), Some("DROP"));
        assert_eq!(policy(""), None);
    }
}
