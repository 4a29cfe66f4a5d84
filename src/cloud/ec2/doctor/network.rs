//! Where machines run: subnets, their way to the internet, and what their security groups let through.

use std::{collections::BTreeSet, net::Ipv4Addr};

use aws_sdk_ec2::types::{IpPermission, RouteTable, SecurityGroup, Subnet, Vpc};

use super::{Look, listed};
use crate::{
    cloud::{CloudError, ec2::tags},
    config::Origin,
};

/// Where machines would run, as far as it could be looked at.
#[derive(Default)]
pub(super) struct Network {
    pub subnets: Vec<Subnet>,
    pub vpcs: Vec<Vpc>,
}

impl Network {
    /// The zones of the subnets.
    pub fn zones(&self) -> BTreeSet<String> {
        self.subnets.iter().filter_map(|subnet| subnet.availability_zone.clone()).collect()
    }

    /// Whether an address is one of a VPC that machines run in.
    pub fn has(&self, address: Ipv4Addr) -> bool {
        let blocks = self.vpcs.iter().flat_map(|vpc| {
            let more = vpc.cidr_block_association_set().iter().filter_map(|block| block.cidr_block());
            vpc.cidr_block().into_iter().chain(more)
        });
        blocks.into_iter().any(|block| within(address, block))
    }
}

/// To whom a port is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Open {
    Nobody,
    Some,
    Everybody,
}

impl Look<'_> {
    /// Looks at the subnets and the security groups.
    pub async fn network(&self) -> Network {
        let template = self.ec2.find_template().await.ok().flatten();
        let ids = match self.ec2.subnets(template.as_ref()).await {
            Ok(ids) => ids,
            Err(error) => {
                self.failed("the subnets", &error);
                return Network::default();
            }
        };
        let filter = tags::filter("subnet-id", ids.iter().map(String::as_str));
        let subnets = match self.ec2.0.ec2.describe_subnets().filters(filter).send().await {
            Ok(answer) => answer.subnets.unwrap_or_default(),
            Err(error) => {
                self.failed("the subnets", &self.ec2.explain("DescribeSubnets", error));
                return Network::default();
            }
        };
        for id in &ids {
            if !subnets.iter().any(|subnet| subnet.subnet_id() == Some(id)) {
                self.bad(
                    format!("there is no subnet {id} in {}", self.ec2.region()),
                    "correct SUBNET_IDS; a subnet is of one region",
                );
            }
        }
        let tables = self.route_tables(&subnets).await;
        // Beside security groups of a launch template's own, none asks for a public IP.
        let asks = template.is_none_or(|template| template.groups.is_empty());
        for subnet in &subnets {
            self.subnet(subnet, asks, tables.as_deref());
        }
        let vpcs = self.vpcs(&subnets).await;
        let network = Network { subnets, vpcs };
        self.groups(&network).await;
        network
    }

    fn subnet(&self, subnet: &Subnet, asks: bool, tables: Option<&[RouteTable]>) {
        let id = subnet.subnet_id().unwrap_or_default();
        let zone = subnet.availability_zone().unwrap_or("no zone");
        let by_itself = subnet.map_public_ip_on_launch() == Some(true);
        let free = subnet.available_ip_address_count().unwrap_or_default();
        if free == 0 {
            return self.bad(
                format!("the subnet {id} in {zone} has no address left"),
                "take it out of SUBNET_IDS, or end what has its addresses",
            );
        }
        if !by_itself && !asks {
            return self.bad(
                format!("the subnet {id} in {zone} gives no public IPs, and the launch template asks for none"),
                "turn on \"auto-assign public IPv4 address\" of the subnet, or take the security groups out of the template and set SECURITY_GROUP_IDS",
            );
        }
        if tables.is_some_and(|tables| !reaches_internet(subnet, tables)) {
            return self.warn(
                format!("the subnet {id} in {zone} has no route to an internet gateway: visitors do not reach machines there"),
                "route 0.0.0.0/0 to an internet gateway in its route table, or take it out of SUBNET_IDS",
            );
        }
        let public = if by_itself {
            "gives public IPs by itself"
        } else {
            "gives the public IPs that launches ask for"
        };
        self.ok(format!("the subnet {id} in {zone} {public}, and has {free} addresses left"));
    }

    async fn route_tables(&self, subnets: &[Subnet]) -> Option<Vec<RouteTable>> {
        let filter = tags::filter("vpc-id", vpcs_of(subnets));
        match self.ec2.0.ec2.describe_route_tables().filters(filter).send().await {
            Ok(answer) => answer.route_tables,
            Err(error) => {
                self.failed("the ways to the internet", &self.ec2.explain("DescribeRouteTables", error));
                None
            }
        }
    }

    async fn vpcs(&self, subnets: &[Subnet]) -> Vec<Vpc> {
        let filter = tags::filter("vpc-id", vpcs_of(subnets));
        match self.ec2.0.ec2.describe_vpcs().filters(filter).send().await {
            Ok(answer) => answer.vpcs.unwrap_or_default(),
            Err(error) => {
                self.failed("the subnets' VPC", &self.ec2.explain("DescribeVpcs", error));
                Vec::new()
            }
        }
    }

    /// What the machines' security groups let in and out.
    async fn groups(&self, network: &Network) {
        if network.subnets.is_empty() {
            return;
        }
        let (named, groups) = match self.security_groups(network).await {
            Ok(found) => found,
            Err(error) => return self.failed("the security groups", &error),
        };
        for id in &named {
            if !groups.iter().any(|group| group.group_id() == Some(id)) {
                self.bad(
                    format!("there is no security group {id} in {}", self.ec2.region()),
                    "correct SECURITY_GROUP_IDS",
                );
            }
        }
        let vpcs = vpcs_of(&network.subnets).collect::<BTreeSet<_>>();
        for group in &groups {
            if group.vpc_id().is_some_and(|vpc| !vpcs.contains(vpc)) {
                self.bad(
                    format!("the security group {} is in another VPC than the subnets", name(group)),
                    "set SECURITY_GROUP_IDS and SUBNET_IDS to those of one VPC",
                );
            }
        }
        if groups.is_empty() {
            return;
        }
        let ids: Vec<_> = groups.iter().map(name).collect();
        let (ids, of) = (listed(&ids), if groups.len() == 1 { "security group" } else { "security groups" });
        match open(groups.iter().flat_map(SecurityGroup::ip_permissions), 80) {
            Open::Everybody => self.ok(format!("the {of} {ids}: port 80 is open to everybody")),
            Open::Some => self.warn(
                format!("the {of} {ids}: port 80 is open to some addresses only"),
                "add an inbound rule, HTTP from 0.0.0.0/0, unless only they are to see projects; this site has to be among them",
            ),
            Open::Nobody => self.bad(
                format!("the {of} {ids}: port 80 is closed, so that nobody sees projects"),
                "add an inbound rule: HTTP (TCP 80) from 0.0.0.0/0",
            ),
        }
        let back = self.ec2.0.config.callback_url.parse::<Origin>().map_or(443, |origin| origin.port());
        for port in BTreeSet::from([443, i32::from(back)]) {
            match open(groups.iter().flat_map(SecurityGroup::ip_permissions_egress), port) {
                Open::Everybody => self.ok(format!("the {of} {ids}: machines get out to port {port}")),
                Open::Some => self.warn(
                    format!("the {of} {ids}: machines get out to port {port} of some addresses only"),
                    "see that repositories, PyPI, AWS and this site are among them",
                ),
                Open::Nobody => self.bad(
                    format!("the {of} {ids}: machines do not get out to port {port}, which they fetch repositories and packages from and report to this site by"),
                    format!("add an outbound rule: TCP {port} to 0.0.0.0/0"),
                ),
            }
        }
    }

    /// The security groups that machines get, and what of them is named by the settings.
    async fn security_groups(
        &self,
        network: &Network,
    ) -> Result<(Vec<String>, Vec<SecurityGroup>), CloudError> {
        let mut named = self.ec2.0.config.security_groups.clone();
        // That there is none of that name was told with the image.
        if let Ok(Some(template)) = self.ec2.find_template().await
            && named.is_empty()
        {
            named = template.interface_groups.unwrap_or(template.groups);
        }
        let call = self.ec2.0.ec2.describe_security_groups();
        let call = if named.is_empty() {
            call.filters(tags::filter("group-name", ["default"]))
                .filters(tags::filter("vpc-id", vpcs_of(&network.subnets)))
        } else {
            call.filters(tags::filter("group-id", named.iter().map(String::as_str)))
        };
        let answer = call.send().await.map_err(|error| self.ec2.explain("DescribeSecurityGroups", error))?;
        Ok((named, answer.security_groups.unwrap_or_default()))
    }

    /// Whether the key pair is there.
    pub async fn key_pair(&self) {
        let Some(name) = &self.ec2.0.config.key_pair else { return };
        let filter = tags::filter("key-name", [name.as_str()]);
        match self.ec2.0.ec2.describe_key_pairs().filters(filter).send().await {
            Ok(answer) if answer.key_pairs().is_empty() => self.bad(
                format!("there is no key pair {name} in {}", self.ec2.region()),
                "create it, correct KEY_PAIR or leave it out: it is for SSH only",
            ),
            Ok(_) => self.ok(format!("the key pair {name} is there")),
            Err(error) => self.failed("the key pair", &self.ec2.explain("DescribeKeyPairs", error)),
        }
    }
}

fn name(group: &SecurityGroup) -> &str {
    group.group_id().unwrap_or_default()
}

fn vpcs_of(subnets: &[Subnet]) -> impl Iterator<Item = &str> {
    subnets.iter().filter_map(Subnet::vpc_id).collect::<BTreeSet<_>>().into_iter()
}

/// Whether what leaves a subnet gets to an internet gateway. A subnet without a route table has its VPC's main one.
fn reaches_internet(subnet: &Subnet, tables: &[RouteTable]) -> bool {
    let own = tables.iter().find(|table| {
        table.associations().iter().any(|of| of.subnet_id().is_some() && of.subnet_id() == subnet.subnet_id())
    });
    let main = || {
        tables.iter().find(|table| {
            table.vpc_id() == subnet.vpc_id() && table.associations().iter().any(|of| of.main() == Some(true))
        })
    };
    own.or_else(main).is_some_and(|table| {
        table.routes().iter().any(|route| {
            route.destination_cidr_block() == Some("0.0.0.0/0")
                && route.gateway_id().is_some_and(|gateway| gateway.starts_with("igw-"))
        })
    })
}

/// To whom rules open a TCP port.
fn open<'a>(rules: impl Iterator<Item = &'a IpPermission>, port: i32) -> Open {
    rules
        .filter(|rule| match rule.ip_protocol() {
            Some("-1") => true,
            Some("tcp" | "6") => {
                rule.from_port().is_none_or(|from| from <= port) && rule.to_port().is_none_or(|to| to >= port)
            }
            _ => false,
        })
        .map(|rule| {
            let everybody = rule.ip_ranges().iter().any(|range| range.cidr_ip() == Some("0.0.0.0/0"));
            let nobody = rule.ip_ranges().is_empty()
                && rule.ipv6_ranges().is_empty()
                && rule.prefix_list_ids().is_empty()
                && rule.user_id_group_pairs().is_empty();
            match (everybody, nobody) {
                (true, _) => Open::Everybody,
                (_, true) => Open::Nobody,
                _ => Open::Some,
            }
        })
        .max()
        .unwrap_or(Open::Nobody)
}

/// Whether an address is of a network like `172.31.0.0/16`.
fn within(address: Ipv4Addr, block: &str) -> bool {
    let Some((network, prefix)) = block.split_once('/') else { return false };
    let (Ok(network), Ok(prefix @ 1..=32)) = (network.parse::<Ipv4Addr>(), prefix.parse::<u32>()) else {
        return false;
    };
    let mask = u32::MAX << (32 - prefix);
    u32::from(address) & mask == u32::from(network) & mask
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{IpRange, Route, RouteTableAssociation};

    use super::*;

    fn rule(protocol: &str, ports: Option<(i32, i32)>, source: &str) -> IpPermission {
        let rule = IpPermission::builder().ip_protocol(protocol);
        let rule = rule.ip_ranges(IpRange::builder().cidr_ip(source).build());
        match ports {
            Some((from, to)) => rule.from_port(from).to_port(to).build(),
            None => rule.build(),
        }
    }

    #[test]
    fn rules_open_a_port_to_everybody_to_some_or_to_nobody() {
        let of = |rules: &[IpPermission]| open(rules.iter(), 80);
        assert_eq!(of(&[rule("tcp", Some((80, 80)), "0.0.0.0/0")]), Open::Everybody);
        assert_eq!(of(&[rule("-1", None, "0.0.0.0/0")]), Open::Everybody);
        assert_eq!(of(&[rule("tcp", Some((0, 1024)), "10.0.0.0/8")]), Open::Some);
        assert_eq!(of(&[rule("udp", Some((80, 80)), "0.0.0.0/0")]), Open::Nobody);
        assert_eq!(of(&[rule("tcp", Some((443, 443)), "0.0.0.0/0")]), Open::Nobody);
        assert_eq!(
            of(&[rule("tcp", Some((80, 80)), "10.0.0.0/8"), rule("tcp", Some((80, 80)), "0.0.0.0/0")]),
            Open::Everybody
        );
        assert_eq!(of(&[]), Open::Nobody);
    }

    #[test]
    fn a_subnets_own_route_table_goes_before_the_main_one() {
        let out = Route::builder().destination_cidr_block("0.0.0.0/0").gateway_id("igw-1").build();
        let local = Route::builder().destination_cidr_block("10.0.0.0/16").gateway_id("local").build();
        let main = RouteTableAssociation::builder().main(true).build();
        let own = RouteTableAssociation::builder().subnet_id("subnet-1").build();
        let subnet = Subnet::builder().subnet_id("subnet-1").vpc_id("vpc-1").build();
        let main = RouteTable::builder().vpc_id("vpc-1").associations(main).routes(out).build();
        let own = RouteTable::builder().vpc_id("vpc-1").associations(own).routes(local).build();
        assert!(reaches_internet(&subnet, std::slice::from_ref(&main)));
        assert!(!reaches_internet(&subnet, &[main, own]));
        assert!(!reaches_internet(&subnet, &[]));
    }

    #[test]
    fn an_address_is_within_a_block_or_not() {
        let address = Ipv4Addr::new(172, 31, 4, 5);
        assert!(within(address, "172.31.0.0/16") && within(address, "172.31.4.5/32"));
        assert!(!within(address, "172.30.0.0/16") && !within(address, "0.0.0.0/0") && !within(address, "x"));
    }
}
