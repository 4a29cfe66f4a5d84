//! Where images and machines are kept: the state directory, its file system, and room in it; and memory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::{
    sched::CloneFlags,
    sys::statvfs::{FsFlags, statvfs},
};

use super::{
    super::{host, paths::Paths},
    Look, apart, parts,
};
use crate::cloud::CloudError;

const GIB: u64 = 1 << 30;
/// What a base and a golden image take: 0.4 and 1.3 GiB, and the builder's layer while it is baked.
const IMAGE: u64 = 4 * GIB;
/// What a machine takes: a project's environment in three releases, its packages' caches and its data.
const MACHINE: u64 = GIB;
/// Files of a base and a golden image, and of a few projects' environments.
const FILES: u64 = 200_000;
/// What a machine takes of memory while it installs and serves a small project.
const MEMORY: u64 = GIB / 2;

pub(super) fn examine(look: &Look<'_>, root: bool) {
    let state = &look.paths.state;
    let there = nearest(state);
    writable(look, &there);
    let baked = images(look, root);
    if root {
        layers(look, &there);
    }
    room(look, &there, baked);
    memory(look);
}

/// The state directory, or the one that it would be made in.
fn nearest(state: &Path) -> PathBuf {
    let found = state.ancestors().find(|path| path.is_dir());
    found.unwrap_or(Path::new("/")).to_owned()
}

fn writable(look: &Look<'_>, there: &Path) {
    let state = look.paths.state.display();
    let Ok(fs) = statvfs(there) else {
        return look.bad(format!("{state} cannot be looked at"), "choose another STATE_DIR");
    };
    if fs.flags().contains(FsFlags::ST_RDONLY) {
        look.bad(format!("{state} is on a file system that can only be read"), "choose another STATE_DIR");
    } else if nix::unistd::access(there, nix::unistd::AccessFlags::W_OK).is_err() {
        look.bad(format!("{state} cannot be written"), "run as its owner, or choose another STATE_DIR");
    } else if fs.flags().contains(FsFlags::ST_NOEXEC) {
        // A root of layers is a mount of its own, which `nosuid` and `nodev` below it do not reach. But a base is made
        // by running what is in it.
        look.bad(
            format!(
                "{state} is on a file system that runs no programs (noexec), so that no image can be baked"
            ),
            "mount it without noexec, or choose another STATE_DIR",
        );
    } else {
        look.ok(format!("{state} can be written"));
    }
}

/// Mounts a root of layers, as a machine's is, where nobody sees it.
fn layers(look: &Look<'_>, there: &Path) {
    let trial = Paths { state: there.to_owned() };
    let mounted = apart(CloneFlags::CLONE_NEWNS, || host::check_state(&trial))
        .map_err(|error| CloudError::never("The kernel gives no mount namespace.").because(error))
        .and_then(|checked| checked);
    match mounted {
        Ok(()) => look.ok("roots of layers (overlay) can be mounted there"),
        Err(error) => {
            let (what, cure) = parts(&error);
            look.bad(what, cure);
        }
    }
}

/// Whether there is a golden image; not known without root.
fn images(look: &Look<'_>, root: bool) -> Option<bool> {
    let cure = "start the site, which bakes one in some minutes, or: ec-deployer bake";
    let names = match super::super::paths::names_in(&look.paths.images()) {
        Ok(names) => names,
        Err(_) if !root => {
            look.needs_root("golden images");
            return None;
        }
        Err(error) => {
            look.bad(format!("the golden images cannot be listed: {error}"), "choose another STATE_DIR");
            return None;
        }
    };
    let images: Vec<_> = names.iter().filter_map(|name| name.strip_suffix(".json")).collect();
    match images.last() {
        Some(newest) => look.ok(format!("golden images: {}, {newest} among them", images.len())),
        None => look.warn("there is no golden image yet", cure),
    }
    Some(!images.is_empty())
}

fn room(look: &Look<'_>, there: &Path, baked: Option<bool>) {
    let Ok(fs) = statvfs(there) else { return };
    let free = fs.blocks_available() * fs.fragment_size();
    let image = if baked == Some(true) { 0 } else { IMAGE };
    let cure = "free some, or choose a STATE_DIR on a larger disk";
    match Room::of(free, image) {
        Room::None => look.bad(
            format!(
                "{} free for images and machines, which is less than {}",
                gib(free),
                gib(image + MACHINE)
            ),
            cure,
        ),
        Room::Few(machines) => look.warn(
            format!(
                "{} free for images and machines: room for {machines} of about {}",
                gib(free),
                gib(MACHINE)
            ),
            cure,
        ),
        Room::Many(machines) => {
            look.ok(format!("{} free: room for about {machines} machines", gib(free)));
        }
    }
    // Some file systems have no fixed number of files, and say that they have none.
    if fs.files() > 0 && fs.files_available() < FILES {
        look.bad(
            format!("room for {} more files, and images and machines want {FILES}", fs.files_available()),
            "remove small files, or choose a STATE_DIR on another file system",
        );
    }
}

/// Room for machines, once the image has its own.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    None,
    Few(u64),
    Many(u64),
}

impl Room {
    fn of(free: u64, image: u64) -> Self {
        match free.saturating_sub(image) / MACHINE {
            0 => Self::None,
            machines @ 1..=3 => Self::Few(machines),
            machines => Self::Many(machines),
        }
    }
}

fn memory(look: &Look<'_>) {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let Some(available) = available(&text) else { return };
    let machines = available / MEMORY;
    let what = format!("{} of memory available", gib(available));
    if machines == 0 {
        look.warn(
            format!("{what}, and one machine takes about {}", gib(MEMORY)),
            "end other programs, or add memory",
        );
    } else {
        look.ok(format!("{what}: room for about {machines} small projects"));
    }
}

/// The bytes of memory that programs can still have, from a `meminfo`.
/// <https://man7.org/linux/man-pages/man5/proc_meminfo.5.html>
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / GIB as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_counted_in_machines_beside_the_image() {
        assert_eq!(Room::of(4 * GIB, IMAGE), Room::None);
        assert_eq!(Room::of(3 * GIB, 0), Room::Few(3));
        assert_eq!(Room::of(40 * GIB, IMAGE), Room::Many(36));
    }

    #[test]
    fn memory_is_read() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
        assert_eq!(gib(GIB / 2), "0.5 GiB");
    }

    #[test]
    fn a_directory_that_is_not_there_yet_is_looked_at_above() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(nearest(&dir.path().join("not/yet")), dir.path());
    }
}
