//! Directories for short-lived bare repositories, which leave nothing behind: not when a look is cancelled,
//! and not, after the next start, when the site is killed.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use nix::unistd::Uid;

use crate::process::{self, Account};

/// The file whose lock says that a site is at work in a directory; the kernel lets go of it when that site ends.
const LOCK: &str = "lock";

/// How often a removal is tried: a program that was just killed may still make one more file.
const REMOVALS: u32 = 40;

/// A site's own directory below the one it was given, which others (another site, a test) may share.
#[derive(Debug)]
pub(super) struct Scratch {
    directory: PathBuf,
    account: Option<Account>,
    looks: AtomicU64,
    /// Held as long as we live.
    _lock: File,
}

/// The directory of one look; dropped, it is removed.
#[derive(Debug)]
pub(super) struct LookDir {
    path: PathBuf,
}

impl Scratch {
    /// Takes a directory of our own below `root` and removes what sites that ended left there.
    ///
    /// git runs without rights, and a site's state is often closed to others: where `account` could not pass
    /// through `root`, the host's directory for temporary files takes its place.
    pub(super) fn open(root: &Path, account: Option<Account>) -> io::Result<Self> {
        make_root(root)?;
        if account.is_none() || process::check_reachable(root).is_ok() {
            return Self::below(root, account);
        }
        let root = std::env::temp_dir().join(format!("ec-deployer-preflight-{}", Uid::effective()));
        make_root(&root)?;
        process::check_reachable(&root)?;
        Self::below(&root, account)
    }

    fn below(root: &Path, account: Option<Account>) -> io::Result<Self> {
        // One site at a time clears up, so that none takes a directory for abandoned before it is locked.
        let starting = File::create(root.join("starting"))?;
        starting.lock()?;
        for entry in fs::read_dir(root)? {
            let path = entry?.path();
            if path.is_dir() && is_abandoned(&path) {
                tracing::info!(directory = %path.display(), "removing what an earlier run left");
                remove(&path);
            }
        }
        let directory = root.join(format!("site-{:016x}", rand::random::<u64>()));
        DirBuilder::new().mode(0o711).create(&directory)?;
        let lock = File::create(directory.join(LOCK))?;
        lock.lock()?;
        Ok(Self { directory, account, looks: AtomicU64::new(0), _lock: lock })
    }

    /// A new directory, which belongs to the account that git runs as.
    pub(super) fn look(&self) -> io::Result<LookDir> {
        let path = self.directory.join(self.looks.fetch_add(1, Ordering::Relaxed).to_string());
        DirBuilder::new().mode(0o700).create(&path)?;
        let look = LookDir { path };
        if let Some(account) = self.account {
            account.own(&look.path)?;
        }
        Ok(look)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.directory);
    }
}

impl LookDir {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LookDir {
    fn drop(&mut self) {
        // Away from the runtime's threads: some hundred megabytes may have to go.
        let path = std::mem::take(&mut self.path);
        thread::spawn(move || remove(&path));
    }
}

/// Makes the directory that is shared, and refuses one that somebody else prepared.
fn make_root(root: &Path) -> io::Result<()> {
    if let Some(parent) = root.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o711).create(root) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let metadata = root.symlink_metadata()?;
    if !metadata.is_dir() || metadata.uid() != Uid::effective().as_raw() {
        let sentence = format!("{} is not a directory of ours", root.display());
        return Err(io::Error::other(sentence));
    }
    // The umask may have taken away what the mode gave.
    fs::set_permissions(root, Permissions::from_mode(0o711))
}

fn is_abandoned(directory: &Path) -> bool {
    match File::open(directory.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn remove(directory: &Path) {
    for _ in 0..REMOVALS {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => thread::sleep(Duration::from_millis(50)),
            _ => return,
        }
    }
    tracing::warn!(directory = %directory.display(), "could not be removed");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon(what: impl Fn() -> bool) -> bool {
        (0..100).any(|_| {
            what() || {
                thread::sleep(Duration::from_millis(20));
                false
            }
        })
    }

    #[test]
    fn a_look_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(&root.path().join("preflight"), None).unwrap();
        let look = scratch.look().unwrap();
        let path = look.path().to_owned();
        fs::write(path.join("pack"), "x").unwrap();
        drop(look);
        assert!(soon(|| !path.exists()));
        let directory = scratch.directory.clone();
        drop(scratch);
        assert!(!directory.exists());
    }

    #[test]
    fn a_start_removes_what_is_abandoned_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let other = Scratch::open(root.path(), None).unwrap();
        let busy = other.look().unwrap();
        fs::create_dir_all(root.path().join("site-dead/3/objects")).unwrap();
        fs::write(root.path().join("site-dead").join(LOCK), "").unwrap();
        let scratch = Scratch::open(root.path(), None).unwrap();
        assert!(!root.path().join("site-dead").exists());
        assert!(busy.path().exists());
        assert!(scratch.directory.exists());
    }

    #[test]
    fn git_can_work_there_even_below_a_closed_directory() {
        let Some(account) = Account::unprivileged().unwrap() else { return };
        let closed = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap();
        let scratch = Scratch::open(&closed.path().join("preflight"), Some(account)).unwrap();
        process::check_reachable(&scratch.directory).unwrap();
        assert!(!scratch.directory.starts_with(closed.path()));
    }
}
