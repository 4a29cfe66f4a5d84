//! What is secret or exclusive of a state directory: the keys of deploy-log tokens and of variables, and the lock.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use nix::fcntl::{Flock, FlockArg};

use crate::domain::{LogKey, Vault};

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
    kept(state_dir, "log.key").map(LogKey::new)
}

/// What seals the values of variables, by a key that is made at the first start and kept beside the database, not in
/// it: who has a copy of the database alone reads none of them.
///
/// # Errors
/// Where the file cannot be read or written, or holds something else.
pub fn vault(state_dir: &Path) -> io::Result<Vault> {
    kept(state_dir, "variables.key").map(Vault::new)
}

/// The random bytes of a file, which is made where it is missing.
fn kept<const N: usize>(state_dir: &Path, name: &str) -> io::Result<[u8; N]> {
    let path = state_dir.join(name);
    let mut bytes = [0; N];
    match File::open(&path) {
        Ok(mut file) => file.read_exact(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            rand::fill(&mut bytes);
            // Renamed into place, so that a crash here leaves no half key behind.
            let fresh = state_dir.join(format!("{name}.new"));
            let mut file =
                OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)?;
            File::open(state_dir)?.sync_all()?;
        }
        Err(error) => return Err(error),
    }
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
