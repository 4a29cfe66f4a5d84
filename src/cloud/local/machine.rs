//! A machine from its launch to its end. Every verb can be cut short at any line and called again.

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    LocalConfig,
    lock::Lock,
    names::instance_id,
    paths::{Paths, names_in, write_whole},
    place::Place,
    processes::Look,
    rooted::{Rooted, remove},
};
use crate::{
    cloud::{CloudError, LaunchRequest, Machine, MachineState},
    domain::{InstanceId, ServerName},
};

/// What is known of a machine whether it runs or not: `machine.json`. Its image, and its tags.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    site: String,
    instance: ServerName,
    token: String,
    /// The golden image it stands on.
    pub image: String,
}

/// A machine of this site, nobody else at work on it.
pub(super) struct Held<'a> {
    id: InstanceId,
    paths: &'a Paths,
    site: &'a str,
    place: Place<'a>,
    lock: Lock,
}

impl<'a> Held<'a> {
    /// Waits until nobody else is at work on the machine.
    pub(super) fn hold(
        config: &'a LocalConfig,
        paths: &'a Paths,
        id: &InstanceId,
    ) -> Result<Self, CloudError> {
        let lock = Lock::hold(&paths.place_lock(id.as_str())).map_err(unwritable)?;
        let place = Place::new(config, paths, paths.machine(id.as_str()));
        Ok(Self { id: id.clone(), paths, site: &config.site, place, lock })
    }

    /// Its record, if it stands and is this site's.
    fn record(&self) -> Result<Option<Record>, CloudError> {
        let Some(record) = read_record(self.paths, self.id.as_str())? else { return Ok(None) };
        if record.site == self.site {
            Ok(Some(record))
        } else {
            Err(CloudError::never(format!("The machine {} is not of this site.", self.id)))
        }
    }

    fn needed(&self) -> Result<Record, CloudError> {
        self.record()?
            .ok_or_else(|| CloudError::never(format!("There is no machine {} on this host.", self.id)))
    }

    /// The file that says that the machine has been up: from then on it is what its processes are.
    fn launched(&self) -> PathBuf {
        self.place.directory.join("launched")
    }

    /// Launches it, or goes on where a launch was cut short, or gives it as it is.
    pub(super) fn launch(&self, request: &LaunchRequest) -> Result<Machine, CloudError> {
        let record = match self.record()? {
            Some(record) => record,
            None => self.create(request)?,
        };
        if !self.launched().exists() {
            // A site killed in the middle of a launch leaves keepers that are about to begin.
            let begun = !self.place.processes_now()?.keepers.is_empty() && self.place.wait_begun().is_ok();
            if !begun {
                self.boot(&record, |root| furnish(root, &self.id, request))?;
            }
            fs::write(self.launched(), "").map_err(unwritable)?;
        }
        describe(&self.place, &self.id, record, &look()?)
    }

    /// Makes its directory, whole or not at all, and so claims its image.
    fn create(&self, request: &LaunchRequest) -> Result<Record, CloudError> {
        let _images = Lock::hold(&self.paths.images_lock()).map_err(unwritable)?;
        if !self.paths.image_tags(&request.image).exists() {
            return Err(CloudError::never(format!(
                "The golden image {} is not on this host any more: bake one.",
                request.image
            )));
        }
        let record = Record {
            site: request.site.clone(),
            instance: request.instance.clone(),
            token: request.token.clone(),
            image: request.image.clone(),
        };
        let unfinished = self.paths.machine(&format!(".new-{}", self.id));
        let text = serde_json::to_vec_pretty(&record).expect("a record is plain text");
        remove(&unfinished)
            .and_then(|()| fs::create_dir(&unfinished))
            .and_then(|()| write_whole(&unfinished.join("machine.json"), &text))
            .and_then(|()| fs::rename(&unfinished, &self.place.directory))
            .map_err(unwritable)?;
        Ok(record)
    }

    fn boot(
        &self,
        record: &Record,
        furnish: impl FnOnce(&Rooted) -> std::io::Result<()>,
    ) -> Result<(), CloudError> {
        self.place.boot(&self.paths.image(&record.image), furnish).map(drop)
    }

    /// Where it stands, once it is sure that it does and is this site's.
    pub(super) fn stands(&self) -> Result<&Place<'a>, CloudError> {
        self.needed().map(|_| &self.place)
    }

    /// Stops it and keeps its disk.
    pub(super) fn stop(&self) -> Result<(), CloudError> {
        self.needed()?;
        fs::write(self.launched(), "").map_err(unwritable)?;
        self.place.power_off()?;
        self.place.take_down()
    }

    /// Starts it, with another address whenever one is free.
    pub(super) fn start(&self) -> Result<(), CloudError> {
        let record = self.needed()?;
        let begun = !self.place.processes_now()?.keepers.is_empty() && self.place.wait_begun().is_ok();
        if begun { Ok(()) } else { self.boot(&record, |_| Ok(())) }
    }

    /// Ends it and removes all there is of it. One that is gone already is no error.
    pub(super) fn terminate(self) -> Result<(), CloudError> {
        let going = self.paths.machine(&format!(".gone-{}", self.id));
        if self.record()?.is_some() {
            self.place.take_down()?;
            remove(&going).and_then(|()| fs::rename(&self.place.directory, &going)).map_err(unwritable)?;
        }
        remove(&going)
            .and_then(|()| remove(&self.paths.machine(&format!(".new-{}", self.id))))
            .and_then(|()| self.lock.remove())
            .map_err(unwritable)
    }

    /// Lets go; the lock of a machine that does not stand goes as well.
    pub(super) fn let_go(self) {
        if !self.place.directory.exists() {
            let _ = self.lock.remove();
        }
    }
}

/// Puts into a new machine's root what makes it this machine: cloud-init's seed and its name.
/// <https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html>
fn furnish(root: &Rooted, id: &InstanceId, request: &LaunchRequest) -> std::io::Result<()> {
    seed(root, id.as_str(), request.instance.as_str(), &request.user_data)
}

/// Writes cloud-init's seed and the machine's name.
pub(super) fn seed(root: &Rooted, id: &str, name: &str, user_data: &[u8]) -> std::io::Result<()> {
    const SEED: &str = "/var/lib/cloud/seed/nocloud";
    root.make_directories(SEED, 0o755)?;
    let meta_data = format!("instance-id: {id}\nlocal-hostname: {name}\n");
    root.write(&format!("{SEED}/meta-data"), meta_data.as_bytes(), 0o600)?;
    root.write(&format!("{SEED}/user-data"), user_data, 0o600)?;
    root.write("/etc/hostname", format!("{name}\n").as_bytes(), 0o644)?;
    let hosts = format!("127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost ip6-localhost ip6-loopback\n");
    root.write("/etc/hosts", hosts.as_bytes(), 0o644)
}

/// Every machine of this site.
pub(super) fn list(config: &LocalConfig, paths: &Paths) -> Result<Vec<Machine>, CloudError> {
    let look = look()?;
    let mut machines = Vec::new();
    for name in names_in(&paths.machines()).map_err(unwritable)? {
        let (Ok(id), Some(record)) = (name.parse::<InstanceId>(), read_record(paths, &name)?) else {
            continue;
        };
        if record.site == config.site {
            let place = Place::new(config, paths, paths.machine(&name));
            machines.push(describe(&place, &id, record, &look)?);
        }
    }
    Ok(machines)
}

/// Removes what launches and terminations that were cut short left, but for those under way.
pub(super) fn sweep(paths: &Paths) -> Result<(), CloudError> {
    for entry in fs::read_dir(paths.machines()).map_err(unwritable)? {
        let entry = entry.map_err(unwritable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(id) = name.strip_prefix(".new-").or_else(|| name.strip_prefix(".gone-")) else { continue };
        if let Some(lock) = Lock::try_hold(&paths.place_lock(id)).map_err(unwritable)? {
            remove(&entry.path()).map_err(unwritable)?;
            drop(lock);
        }
    }
    for file in names_in(&paths.locks()).map_err(unwritable)? {
        if let Some(label) = file.strip_suffix(".lock")
            && let Some(lock) = Lock::try_hold(&paths.place_lock(label)).map_err(unwritable)?
            && !paths.has_place(label)
        {
            lock.remove().map_err(unwritable)?;
        }
    }
    Ok(())
}

/// Whether any machine, of whatever site and stopped or not, stands on an image.
pub(super) fn stands_on(paths: &Paths, image: &str) -> Result<bool, CloudError> {
    for name in names_in(&paths.machines()).map_err(unwritable)? {
        if read_record(paths, &name)?.is_some_and(|record| record.image == image) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn describe(place: &Place<'_>, id: &InstanceId, record: Record, look: &Look) -> Result<Machine, CloudError> {
    let processes = place.processes(look);
    let state = if processes.leader.is_some() {
        MachineState::Running
    } else if !processes.keepers.is_empty() || !place.directory.join("launched").exists() {
        MachineState::Pending
    } else {
        MachineState::Stopped
    };
    let address = if state == MachineState::Stopped { None } else { place.address().map_err(unwritable)? };
    Ok(Machine {
        id: id.clone(),
        token: record.token,
        instance: Some(record.instance),
        state,
        reason: None,
        public_ip: address.map(Into::into),
    })
}

pub(super) fn read_record(paths: &Paths, name: &str) -> Result<Option<Record>, CloudError> {
    let path = paths.machine(name).join("machine.json");
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
            CloudError::never(format!("{} does not hold a machine's record.", path.display())).because(error)
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unwritable(error)),
    }
}

/// Says why a launch cannot be, whatever is on this host, and which machine it is.
pub(super) fn check(config: &LocalConfig, request: &LaunchRequest) -> Result<InstanceId, CloudError> {
    let token = request.token.as_str();
    if token.is_empty() || token.len() > 64 || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(CloudError::never("The launch token is not 1 to 64 ASCII characters."));
    }
    if request.site != config.site {
        return Err(CloudError::never("The launch was asked for by another site."));
    }
    check_image_name(&request.image)?;
    Ok(instance_id(token))
}

/// Refuses what cannot be an image's name, so that it cannot lead out of the images' directory.
pub(super) fn check_image_name(name: &str) -> Result<(), CloudError> {
    let good = name.starts_with("img-") && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if good { Ok(()) } else { Err(CloudError::never(format!("No golden image is called {name:?}."))) }
}

fn look() -> Result<Look, CloudError> {
    Look::now().map_err(|error| {
        CloudError::later("The processes of this host could not be looked at.").because(error)
    })
}

pub(super) fn unwritable(error: std::io::Error) -> CloudError {
    CloudError::later("The state directory of the machines cannot be used.").because(error)
}
