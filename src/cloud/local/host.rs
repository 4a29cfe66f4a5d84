//! What this host is: whether it can run machines, and what its machines take over from it.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    Layers,
    command::{is_installed, run, tool},
    mounts,
    paths::Paths,
};
use crate::cloud::CloudError;

/// The tools that machines need, each with Debian's and Ubuntu's package of it.
pub(super) const TOOLS: [(&str, &str); 13] = [
    ("mmdebstrap", "mmdebstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("ip", "iproute2"),
    ("bridge", "iproute2"),
    ("iptables", "iptables"),
    ("iptables-restore", "iptables"),
    ("git", "git"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("setsid", "util-linux"),
    ("prlimit", "util-linux"),
    ("timeout", "coreutils"),
    ("apt-config", "apt"),
];

/// Says what this host lacks to run machines, all of it at once, with the cure.
pub(super) fn check() -> Result<(), CloudError> {
    if std::env::consts::OS != "linux" {
        return Err(CloudError::never("Local machines need a Linux host: run the site on Debian or Ubuntu."));
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(CloudError::never(
            "Local machines need root: start the site with sudo, or use another CLOUD.",
        ));
    }
    let mut packages: Vec<_> =
        TOOLS.iter().filter(|(name, _)| !is_installed(name)).map(|(_, package)| *package).collect();
    packages.dedup();
    if !packages.is_empty() {
        return Err(CloudError::never(format!(
            "This host lacks tools that local machines need: apt-get install {}",
            packages.join(" ")
        )));
    }
    Release::read().map(drop)
}

/// Says whether machines' roots can lie in the state directory, by mounting one.
pub(super) fn check_state(paths: &Paths) -> Result<(), CloudError> {
    if paths.state.as_os_str().as_encoded_bytes().iter().any(|b| matches!(b, b':' | b',' | b'\\' | b'"')) {
        return Err(CloudError::never(
            "STATE_DIR must not contain a colon, a comma, a quote or a backslash: roots of layers cannot be \
             mounted there.",
        ));
    }
    let trial = paths.state.join(format!(".trial-{}", std::process::id()));
    let lower = trial.join("lower");
    let layers = Layers::new(&trial, &lower);
    let result = fs::create_dir_all(&lower)
        .map_err(|error| CloudError::later("STATE_DIR cannot be written.").because(error))
        .and_then(|()| mounts::mount_layers(&layers))
        .map_err(|error| CloudError { retry: crate::cloud::Retry::Never, ..error });
    mounts::unmount(&trial)?;
    let removed = super::rooted::remove(&trial);
    result?;
    removed.map_err(|error| CloudError::later("STATE_DIR cannot be written.").because(error))
}

/// Whether the host's own first process is systemd.
pub(super) fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// A release of Debian or Ubuntu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Release {
    /// Debian or Ubuntu.
    pub distribution: Distribution,
    /// `bookworm`
    pub codename: String,
    /// `Debian GNU/Linux 12 (bookworm)`
    pub pretty_name: String,
}

/// A distribution that machines can be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distribution {
    /// <https://www.debian.org>
    Debian,
    /// <https://ubuntu.com>
    Ubuntu,
}

impl Distribution {
    /// Its name in file names.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Ubuntu => "ubuntu",
        }
    }

    /// The mirror for a host that names none.
    fn default_mirror(self) -> &'static str {
        match self {
            Self::Debian => "http://deb.debian.org/debian",
            Self::Ubuntu => "http://archive.ubuntu.com/ubuntu",
        }
    }

    /// The parts of the archive that machines may install from.
    pub(super) fn components(self) -> &'static str {
        match self {
            Self::Debian => "main",
            Self::Ubuntu => "main,universe",
        }
    }
}

impl Release {
    /// The host's own.
    pub(super) fn read() -> Result<Self, CloudError> {
        let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
        Self::parse(&text).ok_or_else(|| {
            CloudError::never(
                "Local machines are made of the host's own distribution, and this host is neither Debian nor \
                 Ubuntu: run the site on one of them, or use another CLOUD.",
            )
        })
    }

    /// Reads an `os-release` text.
    /// <https://www.freedesktop.org/software/systemd/man/latest/os-release.html>
    pub(super) fn parse(text: &str) -> Option<Self> {
        let values: BTreeMap<_, _> = text
            .lines()
            .filter_map(|line| line.trim().split_once('='))
            .map(|(name, value)| (name, value.trim_matches(|c| c == '"' || c == '\'')))
            .collect();
        let distribution = match *values.get("ID")? {
            "debian" => Distribution::Debian,
            "ubuntu" => Distribution::Ubuntu,
            _ => return None,
        };
        let codename = (*values.get("VERSION_CODENAME")?).to_owned();
        let good = !codename.is_empty() && codename.bytes().all(|b| b.is_ascii_lowercase());
        let pretty_name = values.get("PRETTY_NAME").unwrap_or(&codename.as_str()).to_string();
        good.then_some(Self { distribution, codename, pretty_name })
    }
}

/// Where the host's own packages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sources {
    /// The mirror to make a base from.
    pub mirror: String,
    /// The host's own list of sources and its path, for the machines' apt.
    pub list: Option<(String, String)>,
}

impl Sources {
    /// The host's own, or the distribution's.
    pub(super) fn read(distribution: Distribution) -> Self {
        let candidates = [
            format!("/etc/apt/sources.list.d/{}.sources", distribution.name()),
            "/etc/apt/sources.list".to_owned(),
        ];
        for path in candidates {
            if let Ok(text) = fs::read_to_string(&path)
                && let Some(mirror) = first_mirror(&text)
            {
                return Self { mirror, list: Some((path, text)) };
            }
        }
        Self { mirror: distribution.default_mirror().to_owned(), list: None }
    }
}

/// The first mirror of a list of sources in either of apt's forms, if it is one that a machine can reach
/// too.
/// <https://manpages.debian.org/bookworm/apt/sources.list.5.en.html>
fn first_mirror(text: &str) -> Option<String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let (name, rest) = line.split_once(char::is_whitespace)?;
            match name.to_ascii_lowercase().as_str() {
                "uris:" => rest.split_whitespace().next(),
                // deb [arch=amd64 signed-by=…] URI suite component…
                "deb" => rest.split(']').next_back()?.split_whitespace().next(),
                _ => None,
            }
        })
        .filter(|uri| uri.starts_with("http://") || uri.starts_with("https://"))
        .map(|uri| uri.trim_end_matches('/').to_owned())
}

/// The keys that a list of sources names by path.
pub(super) fn keys(sources: &str) -> Vec<&str> {
    sources
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Signed-By:"))
        .flat_map(str::split_whitespace)
        .filter(|path| path.starts_with('/'))
        .collect()
}

/// The settings by which the host's apt reaches its mirrors, as lines of an apt.conf: proxies and how
/// far a mirror's age is checked. Hooks and caches stay the host's own.
pub(super) fn apt_settings() -> Result<String, CloudError> {
    Ok(fetch_settings(&run(tool("apt-config").arg("dump"))?))
}

fn fetch_settings(dump: &str) -> String {
    const KEPT: [&str; 7] = [
        "Acquire::http::",
        "Acquire::https::",
        "Acquire::Check-Valid-Until ",
        "Acquire::Check-Date ",
        "Acquire::ForceIPv4 ",
        "Acquire::Retries ",
        "Acquire::Max-FutureTime ",
    ];
    // Programs and keys of the host's are not in a machine.
    const LEFT: [&str; 3] = ["Auto-Detect", "AutoDetect", "SslKey"];
    dump.lines()
        .filter(|line| KEPT.iter().any(|kept| line.starts_with(kept)))
        .filter(|line| !LEFT.iter().any(|left| line.contains(left)) && !line.ends_with(" \"\";"))
        .fold(String::new(), |text, line| text + line + "\n")
}

/// The resolv.conf for machines: the real resolvers where the host's own is only a stub on its loopback,
/// which a machine cannot reach.
/// <https://www.freedesktop.org/software/systemd/man/latest/systemd-resolved.service.html#/etc/resolv.conf>
pub(super) fn resolv_conf() -> String {
    let of = |path: &str| fs::read_to_string(path).ok();
    choose_resolv_conf(of("/run/systemd/resolve/resolv.conf"), of("/etc/resolv.conf"))
}

fn choose_resolv_conf(behind_stub: Option<String>, own: Option<String>) -> String {
    let reachable = |text: &String| {
        text.lines()
            .filter_map(|line| line.trim().strip_prefix("nameserver"))
            .any(|address| !address.trim().starts_with("127.") && address.trim() != "::1")
    };
    let both = [behind_stub, own];
    let chosen = both.iter().flatten().find(|text| reachable(text));
    chosen.or(both.iter().flatten().next()).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn releases_of_debian_and_ubuntu_are_known_and_no_others() {
        let debian = Release::parse(
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n",
        );
        let debian = debian.unwrap();
        assert_eq!((debian.distribution, debian.codename.as_str()), (Distribution::Debian, "bookworm"));
        assert_eq!(debian.pretty_name, "Debian GNU/Linux 12 (bookworm)");
        assert!(Release::parse("ID=ubuntu\nVERSION_CODENAME=noble\n").is_some());
        assert_eq!(Release::parse("ID=fedora\nVERSION_CODENAME=x\n"), None);
        assert_eq!(Release::parse("ID=debian\nVERSION_CODENAME=../x\n"), None);
    }

    #[rstest]
    #[case("Types: deb\n# old\nURIs: http://a/debian/ http://b\n", Some("http://a/debian"))]
    #[case(
        "# deb http://no/ x main\ndeb [arch=amd64 signed-by=/k] https://m/ubuntu noble main\n",
        Some("https://m/ubuntu")
    )]
    #[case("deb http://m/debian bookworm main\n", Some("http://m/debian"))]
    #[case("URIs: mirror+file:/etc/apt/mirrors/debian.list\n", None)]
    #[case("", None)]
    fn the_hosts_mirror_is_its_first(#[case] text: &str, #[case] mirror: Option<&str>) {
        assert_eq!(first_mirror(text).as_deref(), mirror);
    }

    #[test]
    fn keys_are_named_by_path() {
        assert_eq!(
            keys("Signed-By: /a.gpg\nSigned-By:\n -----BEGIN\n Signed-By: /b.asc /c\n"),
            ["/a.gpg", "/b.asc", "/c"]
        );
    }

    #[test]
    fn of_apts_settings_only_those_that_reach_mirrors_are_taken() {
        let dump = "Acquire::Check-Valid-Until \"false\";\nAcquire::http::Proxy \"http://p:3128\";\n\
            Acquire::http::Proxy-Auto-Detect \"/usr/bin/x\";\nAcquire::https::Verify-Peer \"\";\n\
            APT::Update::Post-Invoke:: \"rm -rf /\";\nAcquire::GzipIndexes \"true\";\n";
        assert_eq!(
            fetch_settings(dump),
            "Acquire::Check-Valid-Until \"false\";\nAcquire::http::Proxy \"http://p:3128\";\n"
        );
    }

    #[rstest]
    #[case(None, Some("nameserver 10.0.0.1\n"), "nameserver 10.0.0.1\n")]
    #[case(Some("nameserver 192.168.1.1\n"), Some("nameserver 127.0.0.53\n"), "nameserver 192.168.1.1\n")]
    #[case(Some("# none\n"), Some("nameserver 10.0.0.1\n"), "nameserver 10.0.0.1\n")]
    #[case(None, Some("nameserver 127.0.0.1\n"), "nameserver 127.0.0.1\n")]
    #[case(None, None, "")]
    fn machines_ask_resolvers_that_they_can_reach(
        #[case] behind_stub: Option<&str>,
        #[case] own: Option<&str>,
        #[case] chosen: &str,
    ) {
        assert_eq!(choose_resolv_conf(behind_stub.map(Into::into), own.map(Into::into)), chosen);
    }
}
