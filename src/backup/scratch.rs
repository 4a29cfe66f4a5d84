//! A directory for what is not finished yet, which is its owner's alone and leaves nothing behind.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{About, BackupError};

/// How the names of these directories begin.
const PREFIX: &str = ".ec-deployer-scratch-";

/// The directory; dropped, it is removed.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    /// Its lock says that somebody is at work there. The kernel lets go of it however that ends.
    _lock: File,
}

impl Scratch {
    /// Makes one below `root`, and removes what was left there by those that were killed.
    pub fn make(root: &Path) -> Result<Self, BackupError> {
        for entry in fs::read_dir(root).about(root)? {
            let path = entry.about(root)?.path();
            let is_ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
            let is_left = || File::open(&path).is_ok_and(|directory| directory.try_lock().is_ok());
            if is_ours && is_left() {
                fs::remove_dir_all(&path).about(&path)?;
            }
        }
        let path = root.join(format!("{PREFIX}{:016x}", rand::random::<u64>()));
        DirBuilder::new().mode(0o700).create(&path).about(&path)?;
        let locked = File::open(&path).and_then(|directory| {
            directory.lock()?;
            Ok(directory)
        });
        Ok(Self { _lock: locked.about(&path)?, path })
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Makes an empty file that is its owner's alone.
pub(super) fn create(path: &Path) -> Result<File, BackupError> {
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path).about(path)
}

/// Makes the names in a directory last.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
