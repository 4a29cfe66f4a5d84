//! Locks between threads, and between this program and another run of it, such as `bake` beside `serve`.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A held lock, let go when dropped.
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Waits until the lock is free and takes it.
    pub(super) fn hold(path: &Path) -> io::Result<Self> {
        loop {
            let lock = Self::open(path)?;
            lock.file.lock()?;
            if lock.is_current() {
                return Ok(lock);
            }
        }
    }

    /// Takes the lock if it is free.
    pub(super) fn try_hold(path: &Path) -> io::Result<Option<Self>> {
        Self::attempt(path, File::try_lock)
    }

    /// Takes the lock beside others that share it, if nobody holds it alone.
    pub(super) fn try_share(path: &Path) -> io::Result<Option<Self>> {
        Self::attempt(path, File::try_lock_shared)
    }

    fn attempt(path: &Path, lock: fn(&File) -> Result<(), TryLockError>) -> io::Result<Option<Self>> {
        loop {
            let held = Self::open(path)?;
            match lock(&held.file) {
                Ok(()) if held.is_current() => return Ok(Some(held)),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Whether the file is still the one at its path: a holder before us may have removed it.
    fn is_current(&self) -> bool {
        let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        match (self.file.metadata(), fs::metadata(&self.path)) {
            (Ok(held), Ok(there)) => inode(held) == inode(there),
            _ => false,
        }
    }

    /// Removes the lock's file with the thing it was for; who waits for it makes another.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_not_given_twice_and_a_removed_one_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::hold(&path).unwrap();
        assert!(Lock::try_hold(&path).unwrap().is_none());
        assert!(Lock::try_share(&path).unwrap().is_none());
        held.remove().unwrap();
        assert!(!path.exists());
        let shared = Lock::try_share(&path).unwrap().unwrap();
        assert!(Lock::try_share(&path).unwrap().is_some());
        assert!(Lock::try_hold(&path).unwrap().is_none());
        drop(shared);
        assert!(Lock::try_hold(&path).unwrap().is_some());
    }

    #[test]
    fn who_waited_for_a_removed_lock_does_not_hold_a_dead_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::hold(&path).unwrap();
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || Lock::hold(&path).unwrap()
        });
        std::thread::sleep(std::time::Duration::from_millis(50));
        held.remove().unwrap();
        let _lock = waiting.join().unwrap();
        assert!(Lock::try_hold(&path).unwrap().is_none());
    }
}
