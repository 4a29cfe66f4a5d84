//! Where things are in the state directory.
//!
//! ```text
//! base-<release>-<recipe>/   a root to bake from
//! images/<name>/             a golden image: a root, never changed again; <name>.json tags it and is what lists it
//! machines/<id>/             a machine: machine.json, its layers, its console
//! bakes/<name>/              a builder, a machine too, while a bake is under way
//! addresses/<address>        links to the name of the machine that holds it
//! locks/                     between threads and runs of the program
//! ```
//!
//! What is not finished, or going away, has a name that starts with a dot.

use std::{
    fs::{self, DirBuilder},
    io,
    net::Ipv4Addr,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Where things are in the state directory.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    /// The state directory itself, absolute and without links.
    pub state: PathBuf,
}

impl Paths {
    /// The paths below a state directory, which need not be there yet.
    pub(super) fn new(state: &Path) -> Self {
        let absolute = std::path::absolute(state).unwrap_or_else(|_| state.to_owned());
        let known = absolute.ancestors().find_map(|above| {
            let rest = absolute.strip_prefix(above).ok()?;
            let real = above.canonicalize().ok()?;
            Some(if rest.as_os_str().is_empty() { real } else { real.join(rest) })
        });
        Self { state: known.unwrap_or(absolute) }
    }

    /// Makes the directories. Only root may look in: the roots hold setuid programs and secrets.
    pub(super) fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.state)?;
        fs::set_permissions(&self.state, fs::Permissions::from_mode(0o700))?;
        for directory in [self.images(), self.machines(), self.bakes(), self.addresses(), self.locks()] {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let newest = self.newest_address();
        if !newest.exists() {
            fs::write(newest, "")?;
        }
        for lock in [self.network_lock(), self.images_lock(), self.base_lock()] {
            fs::OpenOptions::new().create(true).append(true).open(lock)?;
        }
        Ok(())
    }

    pub(super) fn images(&self) -> PathBuf {
        self.state.join("images")
    }

    pub(super) fn image(&self, name: &str) -> PathBuf {
        self.images().join(name)
    }

    pub(super) fn image_tags(&self, name: &str) -> PathBuf {
        self.images().join(format!("{name}.json"))
    }

    pub(super) fn machines(&self) -> PathBuf {
        self.state.join("machines")
    }

    pub(super) fn machine(&self, id: &str) -> PathBuf {
        self.machines().join(id)
    }

    pub(super) fn bakes(&self) -> PathBuf {
        self.state.join("bakes")
    }

    /// Whether a machine or a builder of this name stands.
    pub(super) fn has_place(&self, name: &str) -> bool {
        self.machine(name).exists() || self.bakes().join(name).exists()
    }

    pub(super) fn addresses(&self) -> PathBuf {
        self.state.join("addresses")
    }

    pub(super) fn address(&self, address: Ipv4Addr) -> PathBuf {
        self.addresses().join(address.to_string())
    }

    /// The file that says which address was given last.
    pub(super) fn newest_address(&self) -> PathBuf {
        self.state.join("newest-address")
    }

    /// The directory of the locks.
    pub(super) fn locks(&self) -> PathBuf {
        self.state.join("locks")
    }

    pub(super) fn network_lock(&self) -> PathBuf {
        self.locks().join("network")
    }

    /// Held while an image is chosen for a machine or deleted.
    pub(super) fn images_lock(&self) -> PathBuf {
        self.locks().join("images")
    }

    /// Held alone while a base is made, shared while a bake stands on one.
    pub(super) fn base_lock(&self) -> PathBuf {
        self.locks().join("base")
    }

    /// Held while a verb is at work on a machine or a builder.
    pub(super) fn place_lock(&self, name: &str) -> PathBuf {
        self.locks().join(format!("{name}.lock"))
    }
}

/// The names in a directory, but for what is unfinished or going away.
pub(super) fn names_in(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string()
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Writes a file whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.new"));
    fs::write(&beside, bytes)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
    fs::File::open(&beside)?.sync_all()?;
    fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_is_roots_alone_and_made_again_without_harm() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(&dir.path().join("b/local"));
        paths.make().unwrap();
        fs::write(paths.newest_address(), "10.1.2.3").unwrap();
        paths.make().unwrap();
        assert_eq!(fs::read_to_string(paths.newest_address()).unwrap(), "10.1.2.3");
        assert_eq!(fs::metadata(&paths.state).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(names_in(&paths.images()).unwrap(), [""; 0]);
    }

    #[test]
    fn links_on_the_way_are_gone_from_the_path() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        let real = dir.path().canonicalize().unwrap().join("real/not/yet");
        assert_eq!(Paths::new(&dir.path().join("link/not/yet")).state, real);
    }
}
