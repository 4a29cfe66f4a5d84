//! What is secret or exclusive of a state directory: the key of deploy-log tokens, and the lock.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use nix::fcntl::{Flock, FlockArg};

use crate::domain::LogKey;

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

/// The key of deploy-log tokens, made at the first start and kept beside the database, not in it.
///
/// # Errors
/// Where the file cannot be read or written, or holds something else.
pub fn log_key(state_dir: &Path) -> io::Result<LogKey> {
    let path = state_dir.join("log.key");
    let mut bytes = [0; 64];
    match File::open(&path) {
        Ok(mut file) => file.read_exact(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bytes = rand::random();
            // Renamed into place, so that a crash here leaves no half key behind.
            let fresh = state_dir.join("log.key.new");
            let mut file =
                OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)?;
        }
        Err(error) => return Err(error),
    }
    Ok(LogKey::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DeploymentId;

    #[test]
    fn the_key_stays_and_the_lock_is_exclusive() {
        let dir = tempfile::tempdir().unwrap();
        let token = log_key(dir.path()).unwrap().token(DeploymentId(1));
        assert!(log_key(dir.path()).unwrap().accepts(DeploymentId(1), &token));
        let held = lock(dir.path()).unwrap();
        assert!(lock(dir.path()).is_err());
        drop(held);
        assert!(lock(dir.path()).is_ok());
    }
}
