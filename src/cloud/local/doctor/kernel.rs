//! What machines need of the kernel: rights, namespaces, control groups, cables, the firewall.

use std::{fs, net::Ipv4Addr, path::Path};

use nix::{
    sched::CloneFlags,
    sys::statvfs::{FsFlags, statvfs},
    unistd::geteuid,
};

use super::{
    super::{
        command::{is_installed, run, tool},
        firewall::Firewall,
        host,
    },
    Look, apart, parts,
};
use crate::cloud::CloudError;

/// Capabilities that machines are made with, by their bits.
/// <https://man7.org/linux/man-pages/man7/capabilities.7.html>
const CAPABILITIES: [(u32, &str); 5] = [
    (21, "CAP_SYS_ADMIN"),
    (12, "CAP_NET_ADMIN"),
    (27, "CAP_MKNOD"),
    (18, "CAP_SYS_CHROOT"),
    (19, "CAP_SYS_PTRACE"),
];

/// The namespaces that a machine has of its own.
const NAMESPACES: [(CloneFlags, &str); 6] = [
    (CloneFlags::CLONE_NEWNS, "mount"),
    (CloneFlags::CLONE_NEWNET, "network"),
    (CloneFlags::CLONE_NEWPID, "pid"),
    (CloneFlags::CLONE_NEWUTS, "uts"),
    (CloneFlags::CLONE_NEWIPC, "ipc"),
    (CloneFlags::CLONE_NEWCGROUP, "cgroup"),
];

/// Whether we are root with all of its rights; without them much cannot be looked at.
pub(super) fn rights(look: &Look<'_>) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    look.ok(format!("Linux {}", release.trim()));
    if !geteuid().is_root() {
        look.bad(
            "not root, which local machines need",
            "start the site, and this, as root: sudo -E ec-deployer",
        );
        return false;
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lacking = lacking(&status);
    if lacking.is_empty() {
        look.ok("root");
        return true;
    }
    look.bad(
        format!("root without {}", lacking.join(", ")),
        "run the site on the host itself or in a virtual machine, not in a container without these rights",
    );
    false
}

/// The capabilities that are not among the effective ones of a `status`.
fn lacking(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
    CAPABILITIES.iter().filter(|(bit, _)| effective & (1 << bit) == 0).map(|(_, name)| *name).collect()
}

pub(super) fn examine(look: &Look<'_>, root: bool) {
    groups(look);
    if !root {
        look.needs_root("namespaces, bridges, cables and firewall rules");
        return;
    }
    namespaces(look);
    cables(look);
    firewall(look);
}

fn groups(look: &Look<'_>) {
    let all = Path::new("/sys/fs/cgroup");
    let read_only = |path: &Path| statvfs(path).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_RDONLY));
    let kind = if all.join("cgroup.procs").exists() {
        let controllers = fs::read_to_string(all.join("cgroup.controllers")).unwrap_or_default();
        Some((all.to_owned(), format!("version 2: {}", controllers.trim())))
    } else {
        let hybrid = ["systemd", "unified"].map(|name| all.join(name));
        let found = hybrid.into_iter().find(|path| path.join("cgroup.procs").exists());
        found.map(|path| (path, "versions 1 and 2, mixed".to_owned()))
    };
    match kind {
        None => look.bad(
            "there are no control groups that systemd can use in /sys/fs/cgroup",
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        ),
        // Where systemd is the first process it makes the machines' groups.
        Some((path, _)) if read_only(&path) && !host::has_systemd() => look.bad(
            format!("the control groups in {} can only be read", path.display()),
            format!("mount -o remount,rw {}", path.display()),
        ),
        Some((_, kind)) => look.ok(format!("control groups, {kind}")),
    }
}

fn namespaces(look: &Look<'_>) {
    let lacking: Vec<_> =
        NAMESPACES.iter().filter(|(kind, _)| apart(*kind, || ()).is_err()).map(|(_, name)| *name).collect();
    if lacking.is_empty() {
        let names: Vec<_> = NAMESPACES.iter().map(|(_, name)| *name).collect();
        look.ok(format!("namespaces: {}", names.join(", ")));
    } else {
        look.bad(
            format!("the kernel gives no namespaces of kind {}", lacking.join(", ")),
            "use a kernel of the distribution, on the host itself or in a virtual machine",
        );
    }
}

/// Makes a bridge and a cable as machines have them, where nobody sees them.
fn cables(look: &Look<'_>) {
    if !is_installed("ip") || !is_installed("bridge") {
        return;
    }
    let made = apart(CloneFlags::CLONE_NEWNET, || {
        for words in [
            "link add name ecbr0 type bridge",
            "link add name ecport0 type veth peer name host0",
            "link set dev ecport0 master ecbr0",
        ] {
            run(tool("ip").args(words.split(' ')))?;
        }
        run(tool("bridge").args("link set dev ecport0 isolated on".split(' ')))?;
        run(tool("ip").args("link set dev ecport0 addrgenmode none up".split(' ')))
    });
    match made.map_err(unnamed).and_then(|made| made.map(drop)) {
        Ok(()) => look.ok("bridges and cables can be made"),
        Err(error) => look.bad(
            parts(&error).0,
            "modprobe -a bridge veth; where that fails, use a kernel of the distribution",
        ),
    }
}

/// Puts the rules of a bridge in place, where nobody sees them: it takes all that ours use of the kernel.
fn firewall(look: &Look<'_>) {
    if !is_installed("iptables") || !is_installed("iptables-restore") {
        return;
    }
    let firewall = Firewall {
        bridge: "ecbr0",
        gateway: Ipv4Addr::new(10, 213, 0, 1),
        subnet: "10.213.0.0/24".to_owned(),
        callback_port: look.config.callback_port,
    };
    match apart(CloneFlags::CLONE_NEWNET, || firewall.raise()).map_err(unnamed).and_then(|raised| raised) {
        Ok(()) => look.ok("firewall rules can be set, MASQUERADE among them"),
        Err(error) => look.bad(
            parts(&error).0,
            "modprobe -a iptable_nat iptable_mangle nf_conntrack, or choose the other kind of iptables by \
             update-alternatives --config iptables",
        ),
    }
}

fn unnamed(error: nix::Error) -> CloudError {
    CloudError::never("The kernel gives no network namespace.").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_that_are_lacking_are_named() {
        assert!(lacking("Name:\tx\nCapEff:\t000001ffffffffff\n").is_empty());
        // What a container without privileges has.
        assert_eq!(
            lacking("CapEff:\t00000000a80425fb\n"),
            ["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_PTRACE"]
        );
        assert_eq!(lacking("").len(), CAPABILITIES.len());
    }
}
