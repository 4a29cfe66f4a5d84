//! The machines' network: a bridge with an address on the host, and for each machine a cable into a
//! network namespace of its own, made and addressed before the machine boots. So a machine's network
//! is up before its first process is, and stays isolated through a reboot inside.

use std::{
    collections::HashSet,
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use super::{
    LocalConfig,
    command::{run, tool},
    firewall::Firewall,
    lock::Lock,
    mounts,
    names::{digest, hardware_address, link_name},
    paths::Paths,
};
use crate::cloud::CloudError;

/// Whether the kernel forwards packets.
pub(super) const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// The machines' network on this host.
pub(super) struct Network<'a> {
    pub config: &'a LocalConfig,
    pub paths: &'a Paths,
}

/// One machine's end of the network.
pub(super) struct Port<'a> {
    /// Who holds the address: the name of the machine's directory.
    pub holder: &'a str,
    /// The machine's name on this host.
    pub name: &'a str,
    /// The file that its network namespace is mounted on.
    pub namespace: &'a Path,
}

impl Network<'_> {
    /// The network, as `10.213.0.0/24`.
    pub(super) fn subnet(&self) -> String {
        let bits = u32::from(self.config.gateway) & mask(self.config.prefix);
        format!("{}/{}", Ipv4Addr::from(bits), self.config.prefix)
    }

    fn firewall(&self) -> Firewall<'_> {
        Firewall {
            bridge: &self.config.bridge,
            gateway: self.config.gateway,
            subnet: self.subnet(),
            callback_port: self.config.callback_port,
        }
    }

    /// What our bridge is marked with, so that no site takes another's.
    fn mark(&self) -> String {
        format!("ec-deployer {}", &digest(&[self.paths.state.as_os_str().as_encoded_bytes()])[..16])
    }

    fn lock(&self) -> Result<Lock, CloudError> {
        Lock::hold(&self.paths.network_lock()).map_err(|error| {
            CloudError::later("The state directory of the machines cannot be written.").because(error)
        })
    }

    /// Makes the bridge with its address, where it is not there, and takes away rules that no machine
    /// needs any more: a launch may have been cut short.
    ///
    /// # Errors
    /// Where its name or its network is someone else's.
    pub(super) fn make_bridge(&self) -> Result<(), CloudError> {
        let _lock = self.lock()?;
        self.bridge_up()?;
        if self.has_ports() { Ok(()) } else { self.firewall().lower() }
    }

    fn bridge_up(&self) -> Result<(), CloudError> {
        let bridge = self.config.bridge.as_str();
        let (gateway, prefix) = (self.config.gateway, self.config.prefix);
        self.refuse_overlap()?;
        if !device(bridge).exists() {
            // Else it would take the lowest one of its cables, another with a machine that comes or goes, and who
            // remembers the former would not reach it for a while.
            let own = hardware_address(gateway);
            run(tool("ip").args(["link", "add", "name", bridge, "address", &own, "type", "bridge"]))?;
        } else if !self.is_ours()? {
            return Err(CloudError::never(format!(
                "The network device {bridge} belongs to something else on this host: choose another name for \
                 LOCAL_BRIDGE."
            )));
        }
        run(tool("ip").args(["link", "set", "dev", bridge, "alias", &self.mark()]))?;
        // Machines speak IPv4 with the host; over IPv6 they would reach all its ports past our rules.
        let no_ipv6 = format!("/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6");
        if Path::new(&no_ipv6).exists() {
            fs::write(&no_ipv6, "1").map_err(not_set_up)?;
        }
        run(tool("ip").args(["-4", "addr", "replace", &format!("{gateway}/{prefix}"), "dev", bridge]))?;
        run(tool("ip").args(["link", "set", "dev", bridge, "up"]))?;
        Ok(())
    }

    /// Whether there is a device of the bridge's name.
    pub(super) fn exists(&self) -> bool {
        device(&self.config.bridge).exists()
    }

    /// Whether the bridge of our name is marked as ours, or was made by us and not marked any more.
    pub(super) fn is_ours(&self) -> Result<bool, CloudError> {
        let bridge = self.config.bridge.as_str();
        let alias = fs::read_to_string(device(bridge).join("ifalias")).unwrap_or_default();
        if alias.trim_end() == self.mark() {
            return Ok(true);
        }
        let bare = self.addresses()?.iter().all(|(name, _, _)| name != bridge);
        Ok(alias.trim_end().is_empty() && device(bridge).join("bridge").exists() && !self.has_ports() && bare)
    }

    /// Refuses a network that another of the host's devices has addresses in.
    pub(super) fn refuse_overlap(&self) -> Result<(), CloudError> {
        for (name, address, prefix) in self.addresses()? {
            let mask = mask(prefix.min(self.config.prefix));
            if name != self.config.bridge
                && u32::from(address) & mask == u32::from(self.config.gateway) & mask
            {
                return Err(CloudError::never(format!(
                    "The network {} is in use on this host by {name} ({address}/{prefix}): choose another \
                     LOCAL_SUBNET.",
                    self.subnet()
                )));
            }
        }
        Ok(())
    }

    /// Every IPv4 address of the host with its device and prefix.
    fn addresses(&self) -> Result<Vec<(String, Ipv4Addr, u8)>, CloudError> {
        #[derive(serde::Deserialize)]
        struct Device {
            #[serde(default)]
            ifname: String,
            #[serde(default)]
            addr_info: Vec<Address>,
        }
        #[derive(serde::Deserialize)]
        struct Address {
            local: Ipv4Addr,
            prefixlen: u8,
        }
        let text = run(tool("ip").args(["-json", "-4", "addr", "show"]))?;
        let devices: Vec<Device> = serde_json::from_str(&text)
            .map_err(|error| CloudError::later("The host's addresses could not be read.").because(error))?;
        let all = devices.into_iter().flat_map(|Device { ifname, addr_info }| {
            addr_info.into_iter().map(move |address| (ifname.clone(), address.local, address.prefixlen))
        });
        Ok(all.collect())
    }

    fn has_ports(&self) -> bool {
        fs::read_dir(device(&self.config.bridge).join("brif")).is_ok_and(|mut ports| ports.next().is_some())
    }

    /// Gives a machine an address, another than `last` whenever one is free, and lays its cable; puts the
    /// rules in place with the first.
    pub(super) fn attach(&self, port: &Port<'_>, last: Option<Ipv4Addr>) -> Result<Ipv4Addr, CloudError> {
        let _lock = self.lock()?;
        self.bridge_up()?;
        self.forward()?;
        self.firewall().raise()?;
        let address = self.take_address(port.holder, last)?;
        self.lay_cable(port, address)?;
        Ok(address)
    }

    /// Gives an address and lays a cable for a look at the network. While a machine runs, the network is as its site
    /// has made it, and is left so: who looks may have been given other settings.
    pub(super) fn attach_beside(&self, port: &Port<'_>) -> Result<Ipv4Addr, CloudError> {
        let _lock = self.lock()?;
        if self.exists() {
            let (bridge, gateway) = (self.config.bridge.as_str(), self.config.gateway);
            if !self.is_ours()? {
                return Err(CloudError::never(format!(
                    "The network device {bridge} belongs to something else on this host: choose another name for \
                     LOCAL_BRIDGE."
                )));
            }
            let has_address =
                |(name, address, _): &(String, Ipv4Addr, u8)| name == bridge && *address == gateway;
            if !self.addresses()?.iter().any(has_address) {
                return Err(CloudError::never(format!(
                    "The bridge {bridge} has not the address {gateway}: give the settings that its site was started \
                     with."
                )));
            }
        } else {
            self.bridge_up()?;
        }
        self.forward()?;
        if !self.has_ports() {
            self.firewall().raise()?;
        }
        let address = self.take_address(port.holder, None)?;
        self.lay_cable(port, address)?;
        Ok(address)
    }

    fn forward(&self) -> Result<(), CloudError> {
        if fs::read_to_string(FORWARD).map_err(not_set_up)?.trim() == "0" {
            tracing::warn!(
                "turning on net.ipv4.ip_forward, which machines need to reach the internet; it stays on"
            );
            fs::write(FORWARD, "1").map_err(not_set_up)?;
        }
        Ok(())
    }

    fn lay_cable(&self, port: &Port<'_>, address: Ipv4Addr) -> Result<(), CloudError> {
        let link = link_name(port.name);
        let namespace = port.namespace;
        fs::write(namespace, "").map_err(not_set_up)?;
        let mut net = std::ffi::OsString::from("--net=");
        net.push(namespace);
        run(tool("unshare").arg(&net).args(["--", "true"]))?;
        let mtu = self.mtu();
        run(tool("ip")
            .args(["link", "add", "name", &link, "mtu", &mtu, "type", "veth", "peer", "name", "host0"])
            .args(["mtu", &mtu, "address", &hardware_address(address), "netns"])
            .arg(namespace))?;
        run(tool("ip").args(["link", "set", "dev", &link, "master", &self.config.bridge]))?;
        run(tool("bridge").args(["link", "set", "dev", &link, "isolated", "on"]))?;
        run(tool("ip").args(["link", "set", "dev", &link, "addrgenmode", "none", "up"]))?;
        let own = format!("{address}/{}", self.config.prefix);
        let gateway = self.config.gateway.to_string();
        for words in [
            vec!["link", "set", "dev", "lo", "up"],
            vec!["link", "set", "dev", "host0", "addrgenmode", "none", "up"],
            vec!["addr", "add", &own, "dev", "host0"],
            vec!["route", "add", "default", "via", &gateway],
        ] {
            run(tool("nsenter").arg(&net).args(["--", "ip"]).args(words))?;
        }
        Ok(())
    }

    /// The largest packet of the host's way out, so that a machine sends none that would not fit.
    fn mtu(&self) -> String {
        let route = run(tool("ip").args(["-4", "route", "show", "default"])).unwrap_or_default();
        let words: Vec<_> = route.lines().next().unwrap_or_default().split(' ').collect();
        let out = words.windows(2).find(|pair| pair[0] == "dev").map(|pair| pair[1]);
        out.and_then(|out| fs::read_to_string(device(out).join("mtu")).ok())
            .and_then(|mtu| mtu.trim().parse::<u32>().ok())
            .map_or(1500, |mtu| mtu.clamp(1280, 1500))
            .to_string()
    }

    /// Takes a machine's cable and address away; the rules with the last one. None there is no error.
    pub(super) fn detach(&self, port: &Port<'_>) -> Result<(), CloudError> {
        let _lock = self.lock()?;
        let link = link_name(port.name);
        if device(&link).exists() {
            run(tool("ip").args(["link", "del", "dev", &link]))?;
        }
        mounts::unmount(port.namespace)?;
        super::rooted::remove(port.namespace).map_err(not_set_up)?;
        for (address, holder) in self.held().map_err(not_set_up)? {
            if holder == port.holder {
                super::rooted::remove(&self.paths.address(address)).map_err(not_set_up)?;
            }
        }
        if self.has_ports() { Ok(()) } else { self.firewall().lower() }
    }

    /// Takes the bridge and the rules away, unless a machine is plugged in.
    pub(super) fn remove_bridge(&self) -> Result<(), CloudError> {
        let _lock = self.lock()?;
        let bridge = self.config.bridge.as_str();
        if self.has_ports() || !device(bridge).exists() || !self.is_ours()? {
            return Ok(());
        }
        self.firewall().lower()?;
        run(tool("ip").args(["link", "del", "dev", bridge]))?;
        Ok(())
    }

    /// The address that a machine holds.
    pub(super) fn address_of(&self, holder: &str) -> io::Result<Option<Ipv4Addr>> {
        Ok(self.held()?.into_iter().find(|(_, by)| by == holder).map(|(address, _)| address))
    }

    /// The addresses in use, each a link that points to its holder's name: made or refused in one call,
    /// whoever else takes one at that moment, and never there without its holder.
    fn held(&self) -> io::Result<Vec<(Ipv4Addr, String)>> {
        let mut held = Vec::new();
        for entry in fs::read_dir(self.paths.addresses())? {
            let entry = entry?;
            if let Some(address) = entry.file_name().to_str().and_then(|name| name.parse().ok())
                && let Ok(holder) = fs::read_link(entry.path())
            {
                held.push((address, holder.to_string_lossy().into_owned()));
            }
        }
        Ok(held)
    }

    fn take_address(&self, holder: &str, last: Option<Ipv4Addr>) -> Result<Ipv4Addr, CloudError> {
        let mut taken = HashSet::new();
        for (address, by) in self.held().map_err(not_set_up)? {
            if by == holder || !self.paths.has_place(&by) {
                super::rooted::remove(&self.paths.address(address)).map_err(not_set_up)?;
            } else {
                taken.insert(address);
            }
        }
        let newest = fs::read_to_string(self.paths.newest_address()).ok();
        let newest = newest.and_then(|text| text.trim().parse().ok());
        loop {
            let address = next_address(self.config.gateway, self.config.prefix, &taken, newest, last)
                .ok_or_else(|| {
                    CloudError::later(format!(
                        "Every address of {} is in use: terminate a machine, or choose a larger LOCAL_SUBNET.",
                        self.subnet()
                    ))
                })?;
            match std::os::unix::fs::symlink(holder, self.paths.address(address)) {
                Ok(()) => {
                    fs::write(self.paths.newest_address(), format!("{address}\n")).map_err(not_set_up)?;
                    return Ok(address);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    taken.insert(address);
                }
                Err(error) => return Err(not_set_up(error)),
            }
        }
    }
}

fn not_set_up(error: io::Error) -> CloudError {
    CloudError::later("The machine's network could not be set up.").because(error)
}

fn device(name: &str) -> PathBuf {
    Path::new("/sys/class/net").join(name)
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

/// The next free address after the newest one given, round and round, so that one just let go is not
/// taken again at once. `last` only when there is no other.
fn next_address(
    gateway: Ipv4Addr,
    prefix: u8,
    taken: &HashSet<Ipv4Addr>,
    newest: Option<Ipv4Addr>,
    last: Option<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    let network = u32::from(gateway) & mask(prefix);
    let broadcast = network | !mask(prefix);
    let hosts = network + 1..broadcast;
    let from = newest.map(u32::from).filter(|newest| hosts.contains(newest)).unwrap_or(network);
    let free = |address: &Ipv4Addr| *address != gateway && !taken.contains(address);
    let mut round = (from + 1..broadcast).chain(network + 1..=from).map(Ipv4Addr::from).filter(free);
    round.clone().find(|address| Some(*address) != last).or_else(|| round.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 1);

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 1, 2, last)
    }

    #[test]
    fn addresses_go_round_and_skip_what_is_taken() {
        let next = |taken: &[u8], newest: Option<u8>, last: Option<u8>| {
            let taken = taken.iter().map(|n| ip(*n)).collect();
            next_address(GATEWAY, 29, &taken, newest.map(ip), last.map(ip))
        };
        assert_eq!(next(&[], None, None), Some(ip(2)));
        assert_eq!(next(&[], Some(2), None), Some(ip(3)));
        assert_eq!(next(&[3, 4], Some(2), None), Some(ip(5)));
        assert_eq!(next(&[], Some(6), None), Some(ip(2)), "round, past the broadcast and the gateway");
        assert_eq!(next(&[], Some(2), Some(3)), Some(ip(4)), "another than the last");
        assert_eq!(next(&[2, 4, 5, 6], Some(2), Some(3)), Some(ip(3)), "the last where no other is free");
        assert_eq!(next(&[2, 3, 4, 5, 6], Some(2), None), None);
        assert_eq!(next(&[], Some(200), None), Some(ip(2)), "a newest of another network");
    }

    #[test]
    fn masks_of_any_prefix() {
        assert_eq!(mask(24), 0xffff_ff00);
        assert_eq!(mask(32), u32::MAX);
        assert_eq!(mask(0), 0);
    }
}
