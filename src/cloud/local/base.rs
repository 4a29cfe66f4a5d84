//! The base: a plain root of the host's own distribution and release with systemd and cloud-init, made
//! once from the host's own mirror, that every bake starts from.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::{
    LocalConfig,
    bake::Out,
    command::{run, tool},
    host::{self, Release, Sources},
    lock::Lock,
    machine::unwritable,
    mounts,
    names::digest,
    paths::{Paths, names_in},
    rooted::{Rooted, remove},
};
use crate::cloud::CloudError;

/// What is in a base besides the distribution's own minimum.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,ifupdown,ca-certificates,cloud-init,git,curl";

/// cloud-init, cut to what a machine here has: a seed, a name and user data. Its network is up before
/// it boots, it has no keys and no people, and each module left out saves a part of a second.
const CLOUD_INIT: &str = "\
datasource_list: [NoCloud]
network: {config: disabled}
cloud_init_modules: [bootcmd, write_files, set_hostname, update_hostname]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts_vendor, scripts_per_once, scripts_per_boot, scripts_per_instance, scripts_user, final_message]
";

/// Units that have nothing to do in a machine, or would hold up its boot: its network is there, its
/// clock and disks are the host's, its console is a log, and nobody but its deployment runs apt.
const MASKED: [&str; 19] = [
    "networking.service",
    "ifupdown-wait-online.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-networkd-wait-online.service",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
    "systemd-pstore.service",
    "cloud-init-hotplugd.socket",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "console-getty.service",
    "getty@.service",
    "getty@tty1.service",
    "getty-static.service",
    "dev-hugepages.mount",
];

/// The bundle of trusted authorities, on Debian and Ubuntu.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The variables by which programs find their way out of a company's network.
pub(super) const WAYS_OUT: [&str; 10] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "PIP_DEFAULT_TIMEOUT",
    "UV_HTTP_TIMEOUT",
    "UV_PYTHON_INSTALL_MIRROR",
    "UV_PYTHON_DOWNLOADS_JSON_URL",
];

/// How long making a base may take: it is under a minute from a near mirror.
const DEADLINE: Duration = Duration::from_secs(20 * 60);

/// A base that stays while this is held.
pub(super) struct Base {
    /// Its root.
    pub path: PathBuf,
    _shared: Lock,
}

/// All that decides how a base comes out. A changed recipe makes another base.
struct Recipe {
    release: Release,
    sources: Sources,
    apt_settings: String,
    environment: String,
    trust: bool,
    trusted: String,
}

impl Recipe {
    fn read(config: &LocalConfig) -> Result<Self, CloudError> {
        let release = Release::read()?;
        let sources = Sources::read(release.distribution);
        let trust = config.copy_host_trust;
        let (apt_settings, environment, trusted) = if trust {
            let bundle = fs::read(BUNDLE).unwrap_or_default();
            let pip = fs::read("/etc/pip.conf").unwrap_or_default();
            (host::apt_settings()?, environment(std::env::vars()), digest(&[bundle, pip]))
        } else {
            Default::default()
        };
        Ok(Self { release, sources, apt_settings, environment, trust, trusted })
    }

    fn name(&self) -> String {
        let list = self.sources.list.as_ref().map_or("", |(_, text)| text);
        let all = [
            &self.sources.mirror,
            list,
            &self.apt_settings,
            &self.environment,
            &self.trusted,
            PACKAGES,
            CLOUD_INIT,
            &MASKED.concat(),
        ];
        format!("base-{}-{}", self.release.codename, &digest(&all)[..8])
    }
}

/// The lines of `/etc/environment` by which programs in a machine trust whom the host trusts, and take
/// the host's ways out: `uv` and pip bring lists of authorities of their own.
fn environment(host: impl Iterator<Item = (String, String)>) -> String {
    let mut values: BTreeMap<_, _> = host
        .filter(|(name, value)| WAYS_OUT.contains(&name.as_str()) && !value.is_empty())
        .filter(|(_, value)| value.bytes().all(|b| b.is_ascii_graphic() && !b"\"'\\$`#".contains(&b)))
        .collect();
    for name in ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"] {
        values.insert(name.to_owned(), BUNDLE.to_owned());
    }
    values.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name}={value}");
        text
    })
}

/// The base of this host, made if it is not there yet.
pub(super) fn ensure(config: &LocalConfig, paths: &Paths, out: &Out) -> Result<Base, CloudError> {
    let recipe = Recipe::read(config)?;
    let path = paths.state.join(recipe.name());
    loop {
        out.check_wanted()?;
        if let Some(shared) = Lock::try_share(&paths.base_lock()).map_err(unwritable)?
            && path.exists()
        {
            return Ok(Base { path, _shared: shared });
        }
        if let Some(_alone) = Lock::try_hold(&paths.base_lock()).map_err(unwritable)?
            && !path.exists()
        {
            make(&recipe, paths, &path, out)?;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Makes a base and removes what is no base of this host any more; nobody stands on one meanwhile.
fn make(recipe: &Recipe, paths: &Paths, path: &Path, out: &Out) -> Result<(), CloudError> {
    sweep(paths)?;
    let started = Instant::now();
    out.say("::ec step base start\n");
    let unfinished = paths.state.join(".base");
    let made = bootstrap(recipe, &unfinished, out).and_then(|()| {
        furnish(recipe, &unfinished).map_err(|error| {
            CloudError::later("The base of the golden image could not be finished.").because(error)
        })
    });
    if let Err(error) = made {
        out.say("::ec step base failed 1\n");
        mounts::unmount(&unfinished)?;
        remove(&unfinished).map_err(unwritable)?;
        return Err(error);
    }
    let _ = run(tool("sync").arg("--file-system").arg(&unfinished));
    fs::rename(&unfinished, path).map_err(unwritable)?;
    out.say(&format!("::ec step base ok {:.2}\n", started.elapsed().as_secs_f64()));
    Ok(())
}

/// Removes old bases and what an interrupted bake left of a new one.
fn sweep(paths: &Paths) -> Result<(), CloudError> {
    let unfinished = paths.state.join(".base");
    mounts::unmount(&unfinished)?;
    remove(&unfinished).map_err(unwritable)?;
    for name in names_in(&paths.state).map_err(unwritable)? {
        if name.starts_with("base-") {
            remove(&paths.state.join(name)).map_err(unwritable)?;
        }
    }
    Ok(())
}

fn bootstrap(recipe: &Recipe, target: &Path, out: &Out) -> Result<(), CloudError> {
    let mut command = tool("mmdebstrap");
    command.args(["--variant=minbase", "--mode=root", "--format=directory"]);
    command.arg(format!("--include={PACKAGES}"));
    command.arg(format!("--components={}", recipe.release.distribution.components()));
    command.arg("--aptopt=Acquire::Languages \"none\"");
    for line in recipe.apt_settings.lines() {
        command.arg(format!("--aptopt={}", line.trim_end_matches(';')));
    }
    command.arg(&recipe.release.codename).arg(target).arg(&recipe.sources.mirror);
    // A process group of its own, so that all of it can be ended.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child =
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|error| {
            CloudError::later("mmdebstrap could not be started on this host.").because(error)
        })?;
    let lines = lines_of(&mut child);
    let deadline = Instant::now() + DEADLINE;
    let mut last = String::new();
    loop {
        match lines.recv_timeout(Duration::from_millis(250)) {
            Ok(line) => {
                out.say(&format!("{line}\n"));
                if line.starts_with("E:") || last.is_empty() {
                    last = line;
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        let unwanted = out.check_wanted();
        if unwanted.is_err() || Instant::now() > deadline {
            end(&mut child);
            unwanted?;
            return Err(CloudError::later("The base of the golden image took over 20 minutes to make."));
        }
    }
    let status = child.wait().map_err(unwritable)?;
    if status.success() {
        return Ok(());
    }
    Err(CloudError::later(format!(
        "The base of the golden image could not be made from {}: {}",
        recipe.sources.mirror,
        last.trim_start_matches("E:").trim()
    ))
    .because(format!("mmdebstrap ended with {status}")))
}

/// What a child says about its work, line by line.
fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel();
    if let Some(said) = child.stderr.take() {
        thread::spawn(move || {
            for line in BufReader::new(said).split(b'\n').map_while(Result::ok) {
                if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
    }
    lines
}

/// Ends a child and all it started; it is let clean up first.
fn end(child: &mut Child) {
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or_default());
    for (signal, patience) in [(Signal::SIGTERM, 100), (Signal::SIGKILL, 100)] {
        if group.as_raw() > 1 {
            let _ = killpg(group, signal);
        }
        for _ in 0..patience {
            if matches!(child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Puts into a new base what machines here need.
fn furnish(recipe: &Recipe, base: &Path) -> std::io::Result<()> {
    let root = Rooted::open(base)?;
    root.make_directories("/var/lib/cloud/seed/nocloud", 0o755)?;
    root.make_directories("/var/log/ec-deployer", 0o755)?;
    root.write("/etc/cloud/cloud.cfg.d/95-ec-deployer.cfg", CLOUD_INIT.as_bytes(), 0o644)?;
    for unit in MASKED {
        root.link(&format!("/etc/systemd/system/{unit}"), "/dev/null")?;
    }
    root.link("/etc/systemd/system/default.target", "/usr/lib/systemd/system/multi-user.target")?;
    root.write("/etc/machine-id", b"", 0o444)?;
    root.write("/etc/hostname", b"localhost\n", 0o644)?;
    if let Some((path, text)) = &recipe.sources.list {
        for key in host::keys(text) {
            if !root.exists(key)
                && let (Ok(bytes), Some((above, _))) = (fs::read(key), key.rsplit_once('/'))
            {
                root.make_directories(above, 0o755)?;
                root.write(key, &bytes, 0o644)?;
            }
        }
        root.remove("/etc/apt/sources.list")?;
        root.write(path, text.as_bytes(), 0o644)?;
    }
    if recipe.trust { trust(recipe, &root, base) } else { Ok(()) }
}

/// Makes a base trust whom the host trusts.
fn trust(recipe: &Recipe, root: &Rooted, base: &Path) -> std::io::Result<()> {
    for directory in ["/usr/local/share/ca-certificates", "/etc/ssl/certs"] {
        root.make_directories(directory, 0o755)?;
        if Path::new(directory).is_dir() {
            // Nothing has run in the base but its packages' own set-up, so its directories are directories.
            run(tool("cp").args(["-a", &format!("{directory}/.")]).arg(base.join(&directory[1..])))
                .map_err(std::io::Error::other)?;
        }
    }
    if let Ok(text) = fs::read("/etc/pip.conf") {
        root.write("/etc/pip.conf", &text, 0o644)?;
    }
    root.write("/etc/environment", recipe.environment.as_bytes(), 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_holds_trust_and_ways_out_and_nothing_else() {
        let host = [
            ("https_proxy", "http://proxy:3128"),
            ("no_proxy", "a b"),
            ("SSL_CERT_FILE", "/home/me/x.pem"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("HTTP_PROXY", "http://$(id)"),
        ];
        let text = environment(host.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        insta::assert_snapshot!(text, @r"
        PIP_CERT=/etc/ssl/certs/ca-certificates.crt
        REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
        SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
        https_proxy=http://proxy:3128
        ");
    }
}
