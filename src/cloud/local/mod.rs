//! Machines on this host: real ones, with systemd, cloud-init and an address of their own, made by
//! `systemd-nspawn` over a golden image. They share the host's kernel, and root inside is root: they are
//! for trusted code.
//!
//! Every machine is a directory, and what runs is read off the host's processes, never off a record of
//! them. So a verb may be cut short at any line, by a signal or a power failure, and the next call goes
//! on. The work is done on threads of its own: a caller that no longer waits does not stop it half-way.

mod bake;
mod base;
mod command;
mod doctor;
mod firewall;
mod host;
mod inventory;
mod lock;
mod machine;
mod mounts;
mod names;
mod network;
mod paths;
mod place;
mod processes;
mod rooted;

use std::{
    ffi::OsStr,
    net::Ipv4Addr,
    path::PathBuf,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, task::spawn_blocking};

use self::{
    machine::Held,
    network::Network,
    paths::Paths,
    place::{Layers, Place},
};
use super::{BakeSpec, Baked, CloudError, Finding, Job, LaunchRequest, Machine, detached};
use crate::domain::{Holding, HoldingKind, InstanceId};

/// How much of a console [`Local::console`] gives, in bytes.
const CONSOLE: u64 = 64 * 1024;

/// How long a command of [`Local::exec`] may take.
const EXEC: Duration = Duration::from_secs(30);

/// How this host runs machines.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// Where base, images and machines are kept: `STATE_DIR/local`.
    pub state_dir: PathBuf,
    /// The bridge's name, at most 15 characters: `LOCAL_BRIDGE`.
    pub bridge: String,
    /// The bridge's own address, the first of the subnet.
    pub gateway: Ipv4Addr,
    /// The subnet's prefix length: `LOCAL_SUBNET` is gateway's network and this.
    pub prefix: u8,
    /// The port on the bridge's address that machines may reach: the callback listener's.
    pub callback_port: u16,
    /// The site's random id, the tag of its machines.
    pub site: String,
    /// This program, which also holds a machine's terminal.
    pub program: PathBuf,
    /// Whether machines trust the authorities that the host trusts, and take its proxies and its settings
    /// of apt and pip: what a private authority or a company's network needs.
    pub copy_host_trust: bool,
}

/// Machines on this host.
#[derive(Clone, Debug)]
pub struct Local(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: LocalConfig,
    paths: Paths,
}

/// Sets the flag when dropped: nobody waits any more.
struct Unwanted(Arc<AtomicBool>);

impl Drop for Unwanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Local {
    /// Machines by this configuration. Does nothing on the host yet.
    pub fn new(config: LocalConfig) -> Self {
        let paths = Paths::new(&config.state_dir);
        Self(Arc::new(Inner { config, paths }))
    }

    /// Does blocking work on a thread of its own, to its end whoever waits for it.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LocalConfig, &Paths) -> Result<T, CloudError> + Send + 'static,
    ) -> Result<T, CloudError> {
        let inner = Arc::clone(&self.0);
        spawn_blocking(move || work(&inner.config, &inner.paths)).await.unwrap_or_else(|error| {
            Err(CloudError::later("The site gave up this work on a machine.").because(error))
        })
    }

    /// Does blocking work on one machine, nobody else at work on it.
    async fn work_on<T: Send + 'static>(
        &self,
        id: &InstanceId,
        work: impl FnOnce(&Held<'_>) -> Result<T, CloudError> + Send + 'static,
    ) -> Result<T, CloudError> {
        let id = id.clone();
        self.work(move |config, paths| {
            let held = Held::hold(config, paths, &id)?;
            let done = work(&held);
            held.let_go();
            done
        })
        .await
    }

    /// Checks the host, makes the directories and the bridge, and clears what interrupted bakes left.
    /// Idempotent.
    ///
    /// # Errors
    /// Where the host cannot run machines, with the cure.
    pub async fn prepare(&self) -> Result<(), CloudError> {
        self.work(|config, paths| {
            host::check()?;
            check_config(config)?;
            paths.make().map_err(|error| {
                CloudError::never(format!("The directory {} cannot be made.", paths.state.display()))
                    .because(error)
            })?;
            host::check_state(paths)?;
            Network { config, paths }.make_bridge()?;
            machine::sweep(paths)?;
            bake::sweep(config, paths)
        })
        .await
    }

    /// Launches a machine, or gives the one that this token launched already.
    ///
    /// # Errors
    /// [`Retry::Later`](super::Retry::Later) where it is not known whether a machine came of it.
    pub async fn launch(&self, request: &LaunchRequest) -> Result<Machine, CloudError> {
        let id = machine::check(&self.0.config, request)?;
        let request = request.clone();
        self.work_on(&id, move |held| held.launch(&request)).await
    }

    /// Every machine of this site.
    ///
    /// # Errors
    /// Where the state directory cannot be read.
    pub async fn list(&self) -> Result<Vec<Machine>, CloudError> {
        self.work(machine::list).await
    }

    /// Powers a machine off, by force where it does not in 20 seconds, and keeps its disk.
    ///
    /// # Errors
    /// Where there is no such machine of this site, or the host does not let go of it.
    pub async fn stop(&self, id: &InstanceId) -> Result<(), CloudError> {
        self.work_on(id, |held| held.stop()).await
    }

    /// Boots a stopped machine, with another address whenever one is free.
    ///
    /// # Errors
    /// Where there is no such machine of this site, or it does not begin to boot.
    pub async fn start(&self, id: &InstanceId) -> Result<(), CloudError> {
        self.work_on(id, |held| held.start()).await
    }

    /// Ends a machine and leaves nothing of it.
    ///
    /// # Errors
    /// Where the machine is another site's, or the host does not let go of it.
    pub async fn terminate(&self, id: &InstanceId) -> Result<(), CloudError> {
        let id = id.clone();
        self.work(move |config, paths| Held::hold(config, paths, &id)?.terminate()).await
    }

    /// Gives up a launch, however far it came: the token's machine goes, where it is there.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate).
    pub async fn abandon(&self, request: &LaunchRequest) -> Result<(), CloudError> {
        self.terminate(&names::instance_id(&request.token)).await
    }

    /// Starts a script as root on a running machine, as a unit of its own that outlives us. While the
    /// same job's script runs there, it does nothing.
    ///
    /// # Errors
    /// Where the machine is not running or does not take it.
    pub async fn run(&self, id: &InstanceId, job: Job, script: &[u8]) -> Result<(), CloudError> {
        let script = script.to_vec();
        self.work_on(id, move |held| run_script(held.stands()?, job, &script)).await
    }

    /// Runs a short command as root on a running machine, at most 30 seconds.
    ///
    /// # Errors
    /// Where the machine is not running or cannot be entered. A command that fails is no error.
    pub async fn exec(&self, id: &InstanceId, command: &[impl AsRef<OsStr>]) -> Result<Output, CloudError> {
        let command: Vec<_> = command.iter().map(|word| word.as_ref().to_owned()).collect();
        let id = id.clone();
        self.work(move |config, paths| {
            Place::new(config, paths, paths.machine(id.as_str())).exec(&command, EXEC)
        })
        .await
    }

    /// The last of the machine's console, at most 64 KiB.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn console(&self, id: &InstanceId) -> Result<Vec<u8>, CloudError> {
        let id = id.clone();
        self.work(move |config, paths| {
            let place = Place::new(config, paths, paths.machine(id.as_str()));
            place.console(CONSOLE).map_err(|error| {
                CloudError::never(format!("There is no console of the machine {id}.")).because(error)
            })
        })
        .await
    }

    /// Bakes a golden image. Dropped before its end, it leaves no builder and no half image; a builder
    /// that outlives the program is removed by the next [`prepare`](Self::prepare) or bake.
    ///
    /// # Errors
    /// Where the base cannot be made, the script fails, or its mark is missing.
    pub async fn bake(&self, spec: BakeSpec, log: mpsc::Sender<Vec<u8>>) -> Result<Baked, CloudError> {
        let unwanted = Arc::new(AtomicBool::new(false));
        let _while_waiting = Unwanted(Arc::clone(&unwanted));
        self.work(move |config, paths| bake::bake(config, paths, &spec, &bake::Out { log, unwanted })).await
    }

    /// The names of this site's images.
    ///
    /// # Errors
    /// Where the state directory cannot be read.
    pub async fn images(&self) -> Result<Vec<String>, CloudError> {
        self.work(bake::images).await
    }

    /// Deletes an image of this site. One that is gone already is no error.
    ///
    /// # Errors
    /// Where a machine stands on it, a stopped one too, or it is another site's.
    pub async fn delete_image(&self, name: &str) -> Result<(), CloudError> {
        let name = name.to_owned();
        self.work(move |config, paths| bake::delete_image(config, paths, &name)).await
    }

    /// Machines and images of this site, with what is known of each.
    ///
    /// # Errors
    /// Where the state directory cannot be read.
    pub async fn inventory(&self) -> Result<Vec<Holding>, CloudError> {
        self.work(inventory::inventory).await
    }

    /// Ends a machine or an image of this site. One that is gone already is no error.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate) and [`delete_image`](Self::delete_image).
    pub async fn discard(&self, kind: HoldingKind, id: &str) -> Result<(), CloudError> {
        match kind {
            HoldingKind::Machine => {
                let id = id.parse().map_err(|error| {
                    CloudError::never(format!("No machine of this host is called {id}.")).because(error)
                })?;
                self.terminate(&id).await
            }
            HoldingKind::Image => self.delete_image(id).await,
            HoldingKind::Address | HoldingKind::Volume | HoldingKind::Snapshot => {
                Err(CloudError::never(format!("This host has no {}s.", kind.name())))
            }
        }
    }

    /// Looks whether this host can run machines, and tells what it finds as it comes. It changes nothing that stays,
    /// and nothing of a site that runs meanwhile, whose process is `site`.
    pub async fn examine(
        &self,
        git_hosts: Vec<String>,
        site: impl Fn() -> Option<i32> + Send + Sync + 'static,
        findings: mpsc::UnboundedSender<Finding>,
    ) {
        let inner = Arc::clone(&self.0);
        let unwanted = findings.clone();
        let looked = spawn_blocking(move || {
            doctor::examine(&doctor::Look {
                config: &inner.config,
                paths: &inner.paths,
                git_hosts: &git_hosts,
                site: &site,
                unwanted: &|| unwanted.is_closed(),
                // Nobody listens any more: the look ends by itself.
                tell: &|finding| drop(findings.send(finding)),
            });
        });
        if let Err(error) = looked.await {
            tracing::error!(error = &error as &dyn std::error::Error, "the look at this host broke off");
        }
    }

    /// Removes the bridge and the firewall's rules, unless a machine runs. For when the site ends; the
    /// next [`prepare`](Self::prepare) or launch makes them again.
    ///
    /// # Errors
    /// Where the host does not let go of them.
    pub async fn teardown(&self) -> Result<(), CloudError> {
        self.work(|config, paths| Network { config, paths }.remove_bridge()).await
    }
}

fn check_config(config: &LocalConfig) -> Result<(), CloudError> {
    let bridge = &config.bridge;
    let good = (1..=15).contains(&bridge.len())
        && bridge.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && bridge.starts_with(|c: char| c.is_ascii_alphabetic());
    if !good {
        return Err(CloudError::never(format!(
            "LOCAL_BRIDGE is {bridge:?}: a network device's name has 1 to 15 letters, digits, hyphens, dots or \
             underscores, a letter first."
        )));
    }
    if !(8..=29).contains(&config.prefix) {
        return Err(CloudError::never(
            "LOCAL_SUBNET must have a prefix of /8 to /29, for example 10.213.0.0/24.",
        ));
    }
    Ok(())
}

/// Starts a script on a running machine.
fn run_script(place: &Place<'_>, job: Job, script: &[u8]) -> Result<(), CloudError> {
    // On its standard input: a command line, with the job's token in it, would be everybody's to read.
    let mut sh = place.inside(&["sh"], EXEC)?;
    command::feed(&mut sh, detached::command(job, script).as_bytes()).map(drop)
}
