//! The network as a machine has it: a cable, an address, the rules and the resolver are a machine's, laid by what lays
//! them for machines, on the machines' own bridge; only nobody boots at its end. It has a bake's place in the state
//! directory and that place's lock, so that a site that runs leaves it alone, and one that starts later clears away
//! what a killed look has left.

use std::{
    fs::{self, DirBuilder, File},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns},
};
use url::Url;

use super::{
    super::{
        host::{self, Release, Sources},
        lock::Lock,
        machine::unwritable,
        network::{FORWARD, Network, Port},
        place::Place,
        rooted::remove,
    },
    Look, apart,
    dns::{self, Answer},
    fetch::{Reached, fetch},
    parts,
};
use crate::cloud::CloudError;

/// How long the site's listener may take to answer: it is on this host.
const NEAR: Duration = Duration::from_secs(2);

/// The package index that machines install from where the host's pip names no other.
const REGISTRY: &str = "https://pypi.org/simple";

pub(super) fn examine(look: &Look<'_>, root: bool) {
    if !root {
        look.needs_root("DNS and the way out of a machine");
        return;
    }
    match Trial::begin(look) {
        Ok(trial) => {
            trial.examine();
            if let Err(error) = trial.end() {
                look.bad(parts(&error).0, "see that `ip` and `iptables` work as root");
            }
        }
        Err(error) => {
            let (what, cure) = parts(&error);
            look.bad(format!("a machine's network cannot be laid: {what}"), cure);
        }
    }
}

/// A machine's network without a machine.
struct Trial<'a> {
    look: &'a Look<'a>,
    place: Place<'a>,
    lock: Lock,
    address: Ipv4Addr,
    /// What was not there before, and goes again.
    made: Made,
}

/// What was not there before.
struct Made {
    /// The topmost directory of those that had to be made.
    directory: Option<PathBuf>,
    bridge: bool,
    forwarding: bool,
}

impl<'a> Trial<'a> {
    fn begin(look: &'a Look<'a>) -> Result<Self, CloudError> {
        let (config, paths) = (look.config, look.paths);
        super::super::check_config(config)?;
        let network = Network { config, paths };
        let made = Made {
            directory: paths.state.ancestors().take_while(|path| !path.exists()).last().map(Path::to_owned),
            bridge: !network.exists(),
            forwarding: fs::read_to_string(FORWARD).unwrap_or_default().trim() == "0",
        };
        let above = paths.state.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o711).create(above).map_err(unwritable)?;
        paths.make().map_err(unwritable)?;
        let label = format!("doctor-{}", std::process::id());
        let place = Place::new(config, paths, paths.bakes().join(&label));
        let begun = Lock::hold(&paths.place_lock(&label)).map_err(unwritable).and_then(|lock| {
            fs::create_dir_all(&place.directory).map_err(unwritable)?;
            let namespace = place.namespace();
            let port = Port { holder: &place.label, name: &place.name, namespace: &namespace };
            Ok((lock, network.attach_beside(&port)?))
        });
        match begun {
            Ok((lock, address)) => Ok(Self { look, place, lock, address, made }),
            Err(error) => {
                let _ = clear(look, &place, &made);
                let _ = remove(&paths.place_lock(&label));
                Err(error)
            }
        }
    }

    fn end(self) -> Result<(), CloudError> {
        let cleared = clear(self.look, &self.place, &self.made);
        if self.made.directory.is_none() {
            self.lock.remove().map_err(unwritable)?;
        }
        cleared
    }

    /// Looks from inside; at what does not answer there, from the host as well.
    fn examine(&self) {
        let (look, address) = (self.look, self.address);
        let looked = apart(CloneFlags::CLONE_NEWNS, || {
            self.enter()?;
            self.site();
            self.names();
            let all = ways_out(look);
            Ok::<_, std::io::Error>(ask(all))
        });
        match looked.map_err(std::io::Error::from).and_then(|looked| looked) {
            Ok(asked) => {
                let (well, ill): (Vec<_>, Vec<_>) =
                    asked.into_iter().partition(|(_, _, reached)| *reached == Reached::Yes);
                for (way, url, _) in &well {
                    look.ok(format!("{} answers a machine: {url}", way.name()));
                }
                let here = ask(ill.iter().map(|(way, url, _)| (*way, url.clone())).collect());
                for ((way, url, there), (_, _, here)) in ill.into_iter().zip(here) {
                    way.tell(look, &url, there, here);
                }
            }
            Err(error) => look.bad(
                format!("the network of a machine at {address} cannot be entered: {error}"),
                "use a kernel of the distribution, on the host itself or in a virtual machine",
            ),
        }
    }

    /// Makes this thread see the network, the resolver and the names that a machine sees.
    fn enter(&self) -> std::io::Result<()> {
        setns(File::open(self.place.namespace())?, CloneFlags::CLONE_NEWNET)?;
        for (over, text) in [
            ("/etc/resolv.conf", host::resolv_conf()),
            ("/etc/hosts", "127.0.0.1 localhost\n".to_owned()),
            // Else the host's own resolver would be asked past the network.
            ("/etc/nsswitch.conf", "hosts: files dns\n".to_owned()),
        ] {
            // What a machine does not have cannot be hidden by nothing.
            let Ok(over) = Path::new(over).canonicalize() else { continue };
            let file = self.place.directory.join(over.file_name().unwrap_or_default());
            fs::write(&file, text)?;
            mount(Some(&file), &over, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        }
        Ok(())
    }

    /// Whether a machine reaches the site, where one runs.
    fn site(&self) {
        let (look, config) = (self.look, self.look.config);
        if (look.site)().is_none() {
            return;
        }
        let address = SocketAddr::new(IpAddr::V4(config.gateway), config.callback_port);
        match TcpStream::connect_timeout(&address, NEAR) {
            Ok(_) => look.ok(format!("a machine at {} reaches the site at {address}", self.address)),
            Err(error) => look.bad(
                format!("a machine does not reach the site at {address}: {error}"),
                "see whether a firewall of this host refuses what comes in by the bridge",
            ),
        }
    }

    fn names(&self) {
        let look = self.look;
        let name = host_of(&registry()).unwrap_or_default();
        let resolv_conf = host::resolv_conf();
        let servers = dns::servers(&resolv_conf);
        if servers.is_empty() {
            return look
                .bad("this host names no DNS server for machines", "put a nameserver into /etc/resolv.conf");
        }
        let mut said = Vec::new();
        for server in servers {
            if server.is_loopback() {
                said.push(format!("{server} is the host's own, which machines cannot ask"));
                continue;
            }
            match dns::ask(server, &name) {
                Ok(Answer::Address) => {
                    return look.ok(format!("DNS from a machine: {server} answers for {name}"));
                }
                Ok(Answer::None) => said.push(format!("{server} knows no address of {name}")),
                Ok(Answer::Refused(code)) => said.push(format!("{server} refuses to answer (code {code})")),
                Err(error) => said.push(format!("{server} does not answer ({})", error.kind())),
            }
        }
        let what = format!("DNS from a machine: {}", said.join("; "));
        let cure =
            "see that machines may ask it, or put a nameserver that they may ask into /etc/resolv.conf";
        // A proxy looks names up itself.
        if super::super::base::WAYS_OUT
            .iter()
            .any(|name| name.ends_with("proxy") && std::env::var_os(name).is_some())
        {
            look.warn(what, cure);
        } else {
            look.bad(what, cure);
        }
    }
}

/// What machines fetch from.
fn ways_out(look: &Look<'_>) -> Vec<(Way, String)> {
    let mirror = Release::read().ok().map(|release| Sources::read(release.distribution).mirror);
    let mut all = vec![(Way::Registry, registry())];
    all.extend(mirror.map(|mirror| (Way::Mirror, mirror)));
    all.extend(look.git_hosts.iter().map(|url| (Way::GitHost, url.clone())));
    all
}

/// Asks all at once, since one that is silent takes seconds.
fn ask(all: Vec<(Way, String)>) -> Vec<(Way, String, Reached)> {
    thread::scope(|scope| {
        let asked: Vec<_> = all
            .into_iter()
            .map(|(way, url)| {
                let asked = scope.spawn({
                    let url = url.clone();
                    move || fetch(&url)
                });
                (way, url, asked)
            })
            .collect();
        asked
            .into_iter()
            .map(|(way, url, asked)| (way, url, asked.join().unwrap_or(Reached::Silent)))
            .collect()
    })
}

/// Takes the network away, and what was made for it.
fn clear(look: &Look<'_>, place: &Place<'_>, made: &Made) -> Result<(), CloudError> {
    let network = Network { config: look.config, paths: look.paths };
    let namespace = place.namespace();
    network.detach(&Port { holder: &place.label, name: &place.name, namespace: &namespace })?;
    remove(&place.directory).map_err(unwritable)?;
    // A site that began meanwhile has the bridge for itself.
    if made.bridge && (look.site)().is_none() {
        network.remove_bridge()?;
        if made.forwarding {
            fs::write(FORWARD, "0").map_err(unwritable)?;
        }
        if let Some(directory) = &made.directory {
            remove(directory).map_err(unwritable)?;
        }
    }
    Ok(())
}

/// What a machine fetches from an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Packages of Python.
    Registry,
    /// Packages of the distribution.
    Mirror,
    /// Repositories.
    GitHost,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Registry => "the package registry",
            Self::Mirror => "the distribution's mirror",
            Self::GitHost => "the git host",
        }
    }

    /// Tells what does not answer a machine; `here` is what it answers this host.
    fn tell(self, look: &Look<'_>, url: &str, there: Reached, here: Reached) {
        let also = if here == Reached::Yes {
            "this host reaches it, so that something between the two keeps machines from it"
        } else {
            "this host does not reach it either"
        };
        let what = format!("from a machine, {} {url} {}; {also}", self.name(), there.in_words());
        match self {
            Self::Registry => look.bad(what, "let machines reach it, or name another index in /etc/pip.conf"),
            Self::Mirror => look.bad(what, "let machines reach it: golden images are baked from it"),
            // The sample, and repositories elsewhere, can be deployed all the same.
            Self::GitHost => look.warn(what, "let machines reach it, or take it out of GIT_HOSTS"),
        }
    }
}

fn host_of(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}

/// The index that machines install Python's packages from: they take over the host's `pip.conf`.
fn registry() -> String {
    index(&fs::read_to_string("/etc/pip.conf").unwrap_or_default()).unwrap_or_else(|| REGISTRY.to_owned())
}

/// The index that a `pip.conf` names, without what may be secret in it.
fn index(pip_conf: &str) -> Option<String> {
    let value = pip_conf.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        matches!(name.trim(), "index-url" | "index_url").then(|| value.trim())
    })?;
    let mut url = Url::parse(value).ok()?;
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(url.to_string().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_the_hosts_own_without_its_password() {
        assert_eq!(index("[global]\ncert = /x\n"), None);
        assert_eq!(
            index("[global]\nindex-url = https://me:secret@pypi.example.com/simple/\n").as_deref(),
            Some("https://pypi.example.com/simple")
        );
        assert_eq!(host_of("https://pypi.org/simple").as_deref(), Some("pypi.org"));
    }
}
