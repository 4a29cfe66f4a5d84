//! All of this site's on this host: its machines and its golden images.

use std::{fs, path::Path};

use super::{LocalConfig, bake, machine, paths::Paths};
use crate::{
    cloud::{CloudError, MachineState},
    domain::{AVAILABLE, Holding, HoldingKind, ImageId, RUNNING, STOPPED, Timestamp},
};

/// Machines and images of this site; builders are no machines of a listing.
pub(super) fn inventory(config: &LocalConfig, paths: &Paths) -> Result<Vec<Holding>, CloudError> {
    let mut found = Vec::new();
    for machine in machine::list(config, paths)? {
        let state = match machine.state {
            MachineState::Pending => "pending",
            MachineState::Running => RUNNING,
            MachineState::Stopping => "stopping",
            MachineState::Stopped => STOPPED,
            MachineState::Terminating | MachineState::Terminated => continue,
        };
        let id = machine.id.as_str();
        found.push(Holding {
            name: machine.instance.map(|name| name.to_string()),
            token: Some(machine.token).filter(|token| !token.is_empty()),
            created_at: written(&paths.machine(id).join("machine.json")),
            image: machine::read_record(paths, id)?.map(|record| record.image),
            public_ip: machine.public_ip,
            ..Holding::new(HoldingKind::Machine, id, state)
        });
    }
    for name in bake::images(config, paths)? {
        found.push(Holding {
            number: number(&name),
            created_at: written(&paths.image_tags(&name)),
            ..Holding::new(HoldingKind::Image, name, AVAILABLE)
        });
    }
    Ok(found)
}

/// The number of an image, from its name: `img-7-0f3c9a41`.
fn number(name: &str) -> Option<ImageId> {
    name.strip_prefix("img-")?.split('-').next()?.parse().ok().map(ImageId)
}

/// When a file was written last.
fn written(file: &Path) -> Option<Timestamp> {
    let since = fs::metadata(file).ok()?.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_name_begins_with_its_number() {
        assert_eq!(number("img-7-0f3c9a41"), Some(ImageId(7)));
        assert_eq!(number("img-7"), Some(ImageId(7)));
        assert_eq!(number("img-x-0f3c9a41"), None);
    }
}
