//! What machines may reach: the site's callback listener and DNS on the host, and the internet; not each
//! other, not the host's other ports, not the metadata service of a cloud that the host itself may be in.
//!
//! Chains of our own, named after the bridge, hooked in first place: Docker and ufw drop in FORWARD
//! what nobody accepted before them. What must never pass is dropped in `mangle`, which comes before
//! every `filter` chain, so that the chains of two sites on one host do not open each other's bridges.

use std::{io::Write, net::Ipv4Addr, process::Stdio};

use super::command::{run, tool};
use crate::cloud::CloudError;

/// The rules of one bridge.
#[derive(Debug)]
pub(super) struct Firewall<'a> {
    /// The bridge's name.
    pub bridge: &'a str,
    /// Its own address.
    pub gateway: Ipv4Addr,
    /// Its network, as `10.213.0.0/24`.
    pub subnet: String,
    /// The port on its address that machines may reach.
    pub callback_port: u16,
}

/// Where one of our chains is hooked into one of the kernel's.
struct Hook {
    table: &'static str,
    into: &'static str,
    only: Vec<String>,
    chain: String,
}

impl Firewall<'_> {
    fn chain(&self, what: &str) -> String {
        format!("EC-{}-{what}", self.bridge)
    }

    /// The chains with their rules, for `iptables-restore --noflush`.
    fn rules(&self) -> String {
        let Self { bridge, gateway, subnet, callback_port } = self;
        let [input, forward, deny, leave] = ["IN", "FWD", "DENY", "NAT"].map(|what| self.chain(what));
        let refuse = "REJECT --reject-with icmp-admin-prohibited";
        format!(
            "*filter\n\
             :{input} - [0:0]\n\
             -A {input} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n\
             -A {input} ! -s {subnet} -j DROP\n\
             -A {input} -d {gateway}/32 -p tcp --dport {callback_port} -j ACCEPT\n\
             -A {input} -p udp --dport 53 -j ACCEPT\n\
             -A {input} -p tcp --dport 53 -j ACCEPT\n\
             -A {input} -j {refuse}\n\
             :{forward} - [0:0]\n\
             -A {forward} -o {bridge} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n\
             -A {forward} -o {bridge} -j {refuse}\n\
             -A {forward} ! -s {subnet} -j DROP\n\
             -A {forward} -d 169.254.0.0/16 -j {refuse}\n\
             -A {forward} -j ACCEPT\n\
             COMMIT\n\
             *mangle\n\
             :{deny} - [0:0]\n\
             -A {deny} -m conntrack --ctstate NEW,INVALID -j DROP\n\
             COMMIT\n\
             *nat\n\
             :{leave} - [0:0]\n\
             -A {leave} -j MASQUERADE\n\
             COMMIT\n"
        )
    }

    fn hooks(&self) -> Vec<Hook> {
        let to = |table, into, only: &[&str], what: &str| Hook {
            table,
            into,
            only: only.iter().map(|&word| word.to_owned()).collect(),
            chain: self.chain(what),
        };
        let bridge = self.bridge;
        vec![
            to("filter", "INPUT", &["-i", bridge], "IN"),
            to("filter", "FORWARD", &["-i", bridge], "FWD"),
            to("filter", "FORWARD", &["-o", bridge], "FWD"),
            to("mangle", "FORWARD", &["-o", bridge], "DENY"),
            to("nat", "POSTROUTING", &["-s", &self.subnet, "!", "-o", bridge], "NAT"),
        ]
    }

    /// Puts the rules in place, those that are missing and those that are old.
    pub(super) fn raise(&self) -> Result<(), CloudError> {
        let unready = |error| CloudError::later("The host's firewall could not be set up.").because(error);
        let mut restore = tool("iptables-restore")
            .args(["--noflush", "--wait", "5"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(unready)?;
        if let Some(mut stdin) = restore.stdin.take() {
            stdin.write_all(self.rules().as_bytes()).map_err(unready)?;
        }
        let output = restore.wait_with_output().map_err(unready)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(
                CloudError::later("The host's firewall did not take the machines' rules.").because(said)
            );
        }
        for hook in self.hooks() {
            if run(&mut hook.command("-C", &[])).is_err() {
                run(&mut hook.command("-I", &["1"]))?;
            }
        }
        Ok(())
    }

    /// Takes the rules away. None there is no error.
    pub(super) fn lower(&self) -> Result<(), CloudError> {
        for hook in self.hooks() {
            if !hook.stands() {
                continue;
            }
            while run(&mut hook.command("-C", &[])).is_ok() {
                run(&mut hook.command("-D", &[]))?;
            }
        }
        for hook in self.hooks() {
            if hook.stands() {
                for action in ["-F", "-X"] {
                    run(iptables(hook.table).args([action, &hook.chain]))?;
                }
            }
        }
        Ok(())
    }
}

impl Hook {
    fn command(&self, action: &str, position: &[&str]) -> std::process::Command {
        let mut command = iptables(self.table);
        command.args([action, self.into]).args(position).args(&self.only).args(["-j", &self.chain]);
        command
    }

    /// Whether the chain is there.
    fn stands(&self) -> bool {
        run(iptables(self.table).args(["-S", &self.chain])).is_ok()
    }
}

fn iptables(table: &str) -> std::process::Command {
    let mut command = tool("iptables");
    // Others, Docker for one, change rules at any time; the kernel lets one in at once.
    command.args(["--wait", "5", "-t", table]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIREWALL: Firewall<'_> = Firewall {
        bridge: "fifteenletters0",
        gateway: Ipv4Addr::new(10, 213, 0, 1),
        subnet: String::new(),
        callback_port: 8001,
    };

    #[test]
    fn chains_are_named_after_the_bridge_and_fit() {
        for hook in FIREWALL.hooks() {
            assert!(hook.chain.starts_with("EC-fifteenletters0-"));
            // The kernel's limit is 28 characters.
            assert!(hook.chain.len() <= 28, "{}", hook.chain);
            assert!(FIREWALL.rules().contains(&format!(":{} - ", hook.chain)));
        }
    }

    #[test]
    fn rules_open_the_callback_port_and_dns_and_end_in_a_refusal() {
        let firewall = Firewall { bridge: "ec0", subnet: "10.213.0.0/24".to_owned(), ..FIREWALL };
        insta::assert_snapshot!(firewall.rules(), @r"
        *filter
        :EC-ec0-IN - [0:0]
        -A EC-ec0-IN -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
        -A EC-ec0-IN ! -s 10.213.0.0/24 -j DROP
        -A EC-ec0-IN -d 10.213.0.1/32 -p tcp --dport 8001 -j ACCEPT
        -A EC-ec0-IN -p udp --dport 53 -j ACCEPT
        -A EC-ec0-IN -p tcp --dport 53 -j ACCEPT
        -A EC-ec0-IN -j REJECT --reject-with icmp-admin-prohibited
        :EC-ec0-FWD - [0:0]
        -A EC-ec0-FWD -o ec0 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
        -A EC-ec0-FWD -o ec0 -j REJECT --reject-with icmp-admin-prohibited
        -A EC-ec0-FWD ! -s 10.213.0.0/24 -j DROP
        -A EC-ec0-FWD -d 169.254.0.0/16 -j REJECT --reject-with icmp-admin-prohibited
        -A EC-ec0-FWD -j ACCEPT
        COMMIT
        *mangle
        :EC-ec0-DENY - [0:0]
        -A EC-ec0-DENY -m conntrack --ctstate NEW,INVALID -j DROP
        COMMIT
        *nat
        :EC-ec0-NAT - [0:0]
        -A EC-ec0-NAT -j MASQUERADE
        COMMIT
        ");
    }
}
