//! Where a machine stands on this host, and how it is booted, entered and taken down. A golden image's
//! builder is such a machine too.

use std::{
    ffi::OsString,
    fs,
    io::{Read, Seek, SeekFrom},
    net::Ipv4Addr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    LocalConfig,
    command::{run, tool},
    host, mounts,
    names::{machine_id, machine_name},
    network::{Network, Port},
    paths::{Paths, write_whole},
    processes::{self, LOOK, Look, MachineProcesses},
    rooted::{Rooted, remove},
};
use crate::cloud::CloudError;

/// How long a machine's first process may take to begin. It takes a tenth of a second.
const BEGIN: Duration = Duration::from_secs(60);

/// How long a machine may take to power off when asked to. Most take half a second; a project's own
/// services may take longer to end well.
const POWER_OFF: Duration = Duration::from_secs(20);
/// How long a machine has to take a short command.
const ENTERED: Duration = Duration::from_secs(10);

/// How long processes take to be gone once killed.
const KILLED: Duration = Duration::from_secs(10);

/// How much of a machine's console is kept, in bytes.
const CONSOLE: u64 = 1024 * 1024;

/// The layers of a machine's root.
pub(super) struct Layers<'a> {
    /// What it stands on, and does not change.
    pub lower: &'a Path,
    /// What it wrote itself.
    pub upper: PathBuf,
    /// The kernel's own.
    pub work: PathBuf,
    /// Where both show as one.
    pub root: PathBuf,
}

impl<'a> Layers<'a> {
    /// The layers in a machine's directory over `lower`.
    pub(super) fn new(directory: &Path, lower: &'a Path) -> Self {
        let [upper, work, root] = ["upper", "work", "root"].map(|name| directory.join(name));
        Self { lower, upper, work, root }
    }
}

/// Where a machine stands on this host.
pub(super) struct Place<'a> {
    config: &'a LocalConfig,
    paths: &'a Paths,
    /// Its directory.
    pub directory: PathBuf,
    /// Its directory's name, which is its instance id if it is not a builder.
    pub label: String,
    /// Its name on this host.
    pub name: String,
}

impl<'a> Place<'a> {
    /// The place in a directory, which need not be there.
    pub(super) fn new(config: &'a LocalConfig, paths: &'a Paths, directory: PathBuf) -> Self {
        let label = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Two sites may share a host, and one site's id may be in two state directories.
        let owner = format!("{} {}", config.site, paths.state.display());
        let name = machine_name(&owner, &label);
        Self { config, paths, directory, label, name }
    }

    fn network(&self) -> Network<'a> {
        Network { config: self.config, paths: self.paths }
    }

    fn port<'b>(&'b self, namespace: &'b Path) -> Port<'b> {
        Port { holder: &self.label, name: &self.name, namespace }
    }

    /// Where its root shows while it is up.
    pub(super) fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// The file that its network namespace is mounted on.
    pub(super) fn namespace(&self) -> PathBuf {
        self.directory.join("netns")
    }

    fn console_log(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    /// Its processes, among those of a look.
    pub(super) fn processes(&self, look: &Look) -> MachineProcesses {
        look.machine(&self.name, &self.root())
    }

    /// Its processes now.
    pub(super) fn processes_now(&self) -> Result<MachineProcesses, CloudError> {
        Ok(self.processes(&Look::now().map_err(unseen)?))
    }

    /// Boots it over `lower`, after clearing what an earlier try left. `furnish` puts into its root what
    /// it finds there. Gives its address.
    pub(super) fn boot(
        &self,
        lower: &Path,
        furnish: impl FnOnce(&Rooted) -> std::io::Result<()>,
    ) -> Result<Ipv4Addr, CloudError> {
        self.take_down()?;
        mounts::mount_layers(&Layers::new(&self.directory, lower))?;
        let unwritten = |error| CloudError::later("The machine's root cannot be written.").because(error);
        let root = Rooted::open(&self.root()).map_err(unwritten)?;
        root.write("/etc/machine-id", format!("{}\n", machine_id(&self.name)).as_bytes(), 0o444)
            .and_then(|()| root.write("/etc/resolv.conf", host::resolv_conf().as_bytes(), 0o644))
            .and_then(|()| furnish(&root))
            .map_err(unwritten)?;
        drop(root);
        let address = self.network().attach(&self.port(&self.namespace()), self.last_address())?;
        write_whole(&self.directory.join("address"), format!("{address}\n").as_bytes()).map_err(unwritten)?;
        self.begin()?;
        self.wait_begun()?;
        Ok(address)
    }

    fn last_address(&self) -> Option<Ipv4Addr> {
        fs::read_to_string(self.directory.join("address")).ok()?.trim().parse().ok()
    }

    /// Starts its processes so that they outlive this program, and a signal to its process group.
    fn begin(&self) -> Result<(), CloudError> {
        let nspawn = self.nspawn();
        let mut command = if host::has_systemd() {
            let mut command = tool("systemd-run");
            command
                .args(["--quiet", "--collect", "--slice=machine.slice", "--service-type=exec"])
                // A unit that has just ended may still be known by its name.
                .arg(format!("--unit=ec-machine-{}-{}.service", self.name, boot_number()))
                .arg(format!("--description=Machine {}", self.name))
                .args(["--setenv=TERM=dumb", "--"]);
            command
        } else {
            // The machine's system makes control groups; without one of its own it would share them with
            // every other machine here, and stop their services for its own.
            let mut command = tool("setsid");
            command.args(["--fork", "--", "sh", "-c", ENTER_GROUPS, "sh"]).args(self.make_groups()).arg("--");
            command
        };
        // Not our own pipes: the holder keeps them as long as the machine lives.
        let said = self.directory.join("holder.log");
        let log = fs::File::create(&said).map_err(|error| {
            CloudError::later("The machine's directory cannot be written.").because(error)
        })?;
        run(command.args(nspawn).stdout(Stdio::null()).stderr(log)).map(drop)
    }

    fn nspawn(&self) -> Vec<OsString> {
        let joined = |option: &str, path: &Path| {
            let mut text = OsString::from(option);
            text.push(path);
            text
        };
        let mut words: Vec<OsString> = vec![self.config.program.clone().into(), "hold-console".into()];
        words.extend(["--log".into(), self.console_log().into()]);
        words.extend(["--max".into(), CONSOLE.to_string().into(), "--".into()]);
        words.extend(["nsenter".into(), joined("--net=", &self.namespace()), "--".into()]);
        // Its /tmp is on its disk, as on other clouds: in memory, a large installation would not fit.
        words.extend(["env".into(), "SYSTEMD_NSPAWN_TMPFS_TMP=0".into()]);
        words.extend(["systemd-nspawn".into(), "--quiet".into(), "--boot".into()]);
        words.extend(processes::arguments(&self.name, &self.root()));
        // Nothing of the host's is taken from outside these lines: no .nspawn file, time zone, journal.
        for option in ["--settings=no", "--timezone=off", "--link-journal=no", "--resolv-conf=off"] {
            words.push(option.into());
        }
        // A machine may have a firewall of its own, as on every cloud.
        words.push("--capability=CAP_NET_ADMIN".into());
        if !host::has_systemd() {
            words.extend(["--register=no".into(), "--keep-unit".into()]);
        }
        words
    }

    /// The control groups of its own, in each hierarchy that systemd uses, where there are any.
    fn groups(&self) -> Vec<PathBuf> {
        let all = Path::new("/sys/fs/cgroup");
        let named = |above: PathBuf| above.join(format!("ec-{}", self.name));
        if all.join("cgroup.procs").exists() {
            return vec![named(all.to_owned())];
        }
        let hybrid = ["systemd", "unified"].map(|name| all.join(name));
        hybrid.into_iter().filter(|above| above.join("cgroup.procs").exists()).map(named).collect()
    }

    fn make_groups(&self) -> Vec<PathBuf> {
        let mut made = self.groups();
        made.retain(|group| fs::create_dir_all(group).is_ok());
        made
    }

    /// Waits until its own first process runs.
    pub(super) fn wait_begun(&self) -> Result<(), CloudError> {
        let deadline = Instant::now() + BEGIN;
        // The holder forks and begins; until then nothing of it shows, for seconds on a busy host: given up too
        // early it would begin after all, with nobody to end it.
        let mut seen = false;
        loop {
            let processes = self.processes_now()?;
            if processes.leader.is_some() {
                return Ok(());
            }
            seen |= !processes.keepers.is_empty();
            let gone = seen && processes.keepers.is_empty();
            if gone || Instant::now() > deadline {
                let mut said = fs::read(self.directory.join("holder.log")).unwrap_or_default();
                said.extend(self.console(2048).unwrap_or_default());
                let said = String::from_utf8_lossy(&said).into_owned();
                return Err(
                    CloudError::later("The machine did not begin to boot on this host.").because(said)
                );
            }
            thread::sleep(LOOK);
        }
    }

    /// Asks it to power off, and waits for that a while. It may be up still after it.
    pub(super) fn power_off(&self) -> Result<(), CloudError> {
        let deadline = Instant::now() + POWER_OFF;
        let Some(leader) = self.processes_now()?.leader else { return Ok(()) };
        let mut asked = false;
        while leader.runs() && Instant::now() < deadline {
            // While it boots there may be nobody yet to ask.
            let mut ask = self.enter(leader.pid(), ENTERED);
            asked = asked || run(ask.args(["systemctl", "poweroff", "--no-block"])).is_ok();
            thread::sleep(if asked { LOOK } else { LOOK * 20 });
        }
        let keepers = self.processes_now()?.keepers;
        processes::wait_gone(&keepers, deadline.saturating_duration_since(Instant::now()));
        Ok(())
    }

    /// A command as root inside the machine whose first process is `leader`, for so long at most: a machine
    /// that goes down stops what was entered before it ends it, `nsenter` stops along, and neither could end.
    fn enter(&self, leader: i32, within: Duration) -> Command {
        let mut command = tool("timeout");
        command.arg("--signal=KILL").arg(within.as_secs().max(1).to_string());
        command.args(["nsenter", "--target", &leader.to_string(), "--all", "--"]);
        command
    }

    /// A command as root inside, for so long at most.
    pub(super) fn inside(&self, words: &[&str], within: Duration) -> Result<Command, CloudError> {
        let leader = self
            .processes_now()?
            .leader
            .ok_or_else(|| CloudError::later(format!("The machine {} is not running.", self.label)))?;
        let mut command = self.enter(leader.pid(), within);
        command.args(words);
        Ok(command)
    }

    /// `systemd-run` inside, with the environment that cloud-init gives scripts, and a home.
    pub(super) fn systemd_run(&self, within: Duration) -> Result<Command, CloudError> {
        self.inside(&["systemd-run", "--quiet", "--collect", "--setenv=HOME=/root"], within)
    }

    /// Runs a short command as root inside, and gives what came of it.
    pub(super) fn exec(&self, args: &[OsString], within: Duration) -> Result<Output, CloudError> {
        let mut command = self.systemd_run(within + ENTERED)?;
        command
            .args(["--pipe", "--wait", "--service-type=exec"])
            .arg(format!("--property=RuntimeMaxSec={}", within.as_secs().max(1)))
            .arg("--")
            .args(args);
        command
            .output()
            .map_err(|error| CloudError::later("The machine could not be entered.").because(error))
    }

    /// Ends its processes and takes away its network, mounts and control groups. What it wrote stays.
    /// Nothing there is no error.
    pub(super) fn take_down(&self) -> Result<(), CloudError> {
        self.end_processes()?;
        let namespace = self.namespace();
        self.network().detach(&self.port(&namespace))?;
        mounts::unmount(&self.directory)?;
        // systemd-nspawn leaves these where it was killed; nobody else uses them.
        for kind in ["propagate", "unix-export"] {
            let left = Path::new("/run/systemd/nspawn").join(kind).join(&self.name);
            mounts::unmount(&left)?;
            let _ = fs::remove_dir(left);
        }
        let _ = remove(&self.directory.join(".#root.lck"));
        for group in self.groups() {
            remove_group(&group);
        }
        Ok(())
    }

    fn end_processes(&self) -> Result<(), CloudError> {
        let found = self.processes_now()?;
        let unkilled = |error| CloudError::later("The machine could not be ended.").because(error);
        if let Some(leader) = found.leader {
            // With its first process all of the machine goes, and its keepers end by themselves, well.
            leader.kill().map_err(unkilled)?;
            if processes::wait_gone(&[leader], KILLED) && processes::wait_gone(&found.keepers, KILLED / 4) {
                return Ok(());
            }
        }
        let deadline = Instant::now() + KILLED;
        loop {
            let found = self.processes_now()?;
            let all: Vec<_> = found.keepers.into_iter().chain(found.leader).collect();
            if all.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(CloudError::later(format!(
                    "The processes of the machine {} do not end.",
                    self.label
                )));
            }
            for process in &all {
                process.kill().map_err(unkilled)?;
            }
            processes::wait_gone(&all, KILLED);
        }
    }

    /// The last of its console.
    pub(super) fn console(&self, last: u64) -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(self.console_log())?;
        let length = file.metadata()?.size();
        file.seek(SeekFrom::Start(length.saturating_sub(last)))?;
        let mut bytes = Vec::new();
        file.take(last).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The address it holds.
    pub(super) fn address(&self) -> std::io::Result<Option<Ipv4Addr>> {
        self.network().address_of(&self.label)
    }
}

/// A number that no other boot here has: milliseconds since 1970.
fn boot_number() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// Moves the shell into control groups and becomes what follows `--`.
const ENTER_GROUPS: &str = r#"
while [ "$1" != -- ]; do
  echo 0 > "$1/cgroup.procs"
  shift
done
shift
exec "$@"
"#;

/// Removes a control group with those below it. The kernel lets go of them a moment after their last
/// process; one that stays costs nothing and is used again.
fn remove_group(group: &Path) {
    for _ in 0..40 {
        remove_groups_below(group);
        if fs::remove_dir(group).is_ok() || !group.exists() {
            return;
        }
        thread::sleep(LOOK);
    }
    tracing::debug!(group = %group.display(), "a control group was not removed");
}

fn remove_groups_below(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups_below(&entry.path());
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn unseen(error: std::io::Error) -> CloudError {
    CloudError::later("The processes of this host could not be looked at.").because(error)
}
