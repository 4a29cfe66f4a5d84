//! What is secret or exclusive of a state directory: the keys of deploy-log tokens and of variables, and the lock.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use nix::fcntl::{Flock, FlockArg};

use crate::domain::{LogKey, Vault};

/// The key of deploy-log tokens.
const LOG: &str = "log.key";
/// The key of variables.
pub const VARIABLES: &str = "variables.key";
/// The one that is to follow it, while values are sealed anew.
const NEXT: &str = "variables.key.next";
/// The files of keys, and how many bytes each has.
pub const FILES: [(&str, usize); 3] = [(LOG, 64), (VARIABLES, 32), (NEXT, 32)];

/// Makes the state directory where it is missing. Others may pass through it, to the repositories that git
/// reads as an account without rights, and see nothing: every secret in it is readable by its owner alone.
///
/// # Errors
/// Where it cannot be made.
pub fn make_state_dir(state_dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o711).create(state_dir)
}

/// The state directory's lock: two sites on one would both launch. Held until it is dropped.
///
/// # Errors
/// Where another site holds it.
pub fn lock(state_dir: &Path) -> io::Result<Flock<File>> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(state_dir.join("lock"))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, _)| {
        io::Error::new(io::ErrorKind::WouldBlock, "another site runs on this state directory")
    })
}

/// Gives a file to whoever the state directory belongs to, where root has made it: the site that runs there may be
/// another account's.
///
/// # Errors
/// Where that cannot be done.
pub fn give_to_owner(state_dir: &Path, path: &Path) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let owner = std::fs::metadata(state_dir)?;
    std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid()))
}

/// The process that holds a state directory's lock, read off the kernel's list: to try the lock would keep a site that
/// starts at that moment from having it.
pub fn lock_holder(state_dir: &Path) -> Option<i32> {
    let inode = std::fs::metadata(state_dir.join("lock")).ok()?.ino();
    holder(&std::fs::read_to_string("/proc/locks").ok()?, inode)
}

/// The process that holds a whole file alone, by its inode.
/// <https://man7.org/linux/man-pages/man5/proc_locks.5.html>
fn holder(locks: &str, inode: u64) -> Option<i32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, _, access) = (words.next()?, words.next()?, words.next()?);
        let (pid, file) = (words.next()?, words.next()?);
        let ours = kind == "FLOCK" && access == "WRITE" && file.rsplit(':').next()?.parse() == Ok(inode);
        pid.parse().ok().filter(|_| ours)
    })
}

/// The key of deploy-log tokens, made at the first start and kept beside the database, not in it.
///
/// # Errors
/// Where the file cannot be read or written, or holds something else.
pub fn log_key(state_dir: &Path) -> io::Result<LogKey> {
    kept(state_dir, LOG).map(LogKey::new)
}

/// What seals the values of variables, by a key that is made at the first start and kept beside the database, not in
/// it: who has a copy of the database alone reads none of them.
///
/// # Errors
/// Where the file cannot be read or written, or holds something else.
pub fn vault(state_dir: &Path) -> io::Result<Vault> {
    kept(state_dir, VARIABLES).map(Vault::new)
}

/// Makes the key that is to follow that of variables, and keeps it beside it: from now on, whatever happens, one of the
/// two opens what is sealed.
///
/// # Errors
/// Where it cannot be written.
pub fn make_next_vault(state_dir: &Path) -> io::Result<Vault> {
    make(state_dir, NEXT).map(Vault::new)
}

/// The key that is to follow that of variables, where there is one.
///
/// # Errors
/// Where it cannot be read.
pub fn next_vault(state_dir: &Path) -> io::Result<Option<Vault>> {
    if state_dir.join(NEXT).exists() {
        kept(state_dir, NEXT).map(|key| Some(Vault::new(key)))
    } else {
        Ok(None)
    }
}

/// Lets the next key be the one, once everything is sealed by it.
///
/// # Errors
/// Where it cannot take its place.
pub fn take_next_vault(state_dir: &Path) -> io::Result<()> {
    std::fs::rename(state_dir.join(NEXT), state_dir.join(VARIABLES))?;
    File::open(state_dir)?.sync_all()
}

/// Drops the next key, by which nothing is sealed.
///
/// # Errors
/// Where it cannot be removed.
pub fn drop_next_vault(state_dir: &Path) -> io::Result<()> {
    std::fs::remove_file(state_dir.join(NEXT))?;
    File::open(state_dir)?.sync_all()
}

/// Makes the key of deploy-log tokens anew.
///
/// # Errors
/// Where it cannot be written.
pub fn make_log_key(state_dir: &Path) -> io::Result<()> {
    make::<64>(state_dir, LOG).map(|_| ())
}

/// The random bytes of a file, which is made where it is missing.
fn kept<const N: usize>(state_dir: &Path, name: &str) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    match File::open(state_dir.join(name)) {
        Ok(mut file) => file.read_exact(&mut bytes).map(|()| bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(state_dir, name),
        Err(error) => Err(error),
    }
}

/// Random bytes in a file, in the place of what it has.
fn make<const N: usize>(state_dir: &Path, name: &str) -> io::Result<[u8; N]> {
    let bytes: [u8; N] = rand::random();
    // Renamed into place, so that a crash here leaves no half key behind.
    let fresh = state_dir.join(format!("{name}.new"));
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    give_to_owner(state_dir, &fresh)?;
    std::fs::rename(&fresh, state_dir.join(name))?;
    File::open(state_dir)?.sync_all()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DeploymentId;

    #[test]
    fn who_waits_for_a_lock_does_not_hold_it() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 08:01:42 0 EOF\n2: FLOCK  ADVISORY  WRITE 8 08:01:42 0 EOF\n\
            2: -> FLOCK  ADVISORY  WRITE 9 08:01:42 0 EOF\n3: FLOCK  ADVISORY  READ 10 08:01:43 0 EOF\n";
        assert_eq!(holder(locks, 42), Some(8));
        assert_eq!(holder(locks, 43), None);
    }

    #[test]
    fn the_key_of_variables_stays_and_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let sealed = vault(dir.path()).unwrap().seal("here", b"secret");
        assert_eq!(vault(dir.path()).unwrap().open("here", &sealed).unwrap(), b"secret");
        let key = dir.path().join("variables.key");
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(&key).unwrap();
        assert!(vault(dir.path()).unwrap().open("here", &sealed).is_err());
        std::fs::write(&key, b"short").unwrap();
        assert!(vault(dir.path()).is_err(), "half a key is none, and is not written over");
    }

    #[test]
    fn the_key_stays_and_the_lock_is_exclusive() {
        let dir = tempfile::tempdir().unwrap();
        let token = log_key(dir.path()).unwrap().token(DeploymentId(1));
        assert!(log_key(dir.path()).unwrap().accepts(DeploymentId(1), &token));
        assert_eq!(lock_holder(dir.path()), None);
        let held = lock(dir.path()).unwrap();
        assert_eq!(lock_holder(dir.path()), i32::try_from(std::process::id()).ok());
        assert!(lock(dir.path()).is_err());
        drop(held);
        assert!(lock(dir.path()).is_ok());
    }
}
