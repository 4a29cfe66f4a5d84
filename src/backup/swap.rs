//! Files take the places of others, all of them or none. Each single one does by a rename; a mark says as long as not
//! all have, so that a site whose host lost power in between does not begin with half of two states.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use time::{OffsetDateTime, macros::format_description};

use super::{
    About, BackupError,
    scratch::{self, sync_directory},
};
use crate::keys;

/// The mark, in the state directory.
const UNDER_WAY: &str = "restore-under-way";

/// A place, and what comes there; nothing, where it is to be free.
pub(super) struct New {
    pub target: PathBuf,
    pub ready: Option<PathBuf>,
}

/// Refuses a state directory in which a restore was broken off.
///
/// # Errors
/// With what to do.
pub fn refuse_half_restored(state_dir: &Path) -> io::Result<()> {
    match fs::read_to_string(state_dir.join(UNDER_WAY)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(aside) => Err(io::Error::other(format!(
            "a restore was broken off here: run `ec-deployer restore` again. What was there before is in {}",
            if aside.is_empty() { "no place, since there was nothing" } else { &aside }
        ))),
    }
}

/// Puts everything in its place; says where what was there is now.
pub(super) fn swap(state_dir: &Path, news: Vec<New>) -> Result<Option<PathBuf>, BackupError> {
    let mark = state_dir.join(UNDER_WAY);
    let aside = match fs::read_to_string(&mark) {
        // One before was broken off: what is in place now is half of it, and what was before that is aside already.
        Ok(aside) => Some(PathBuf::from(aside)).filter(|aside| !aside.as_os_str().is_empty()),
        Err(_) => {
            let aside = put_aside(state_dir, &news)?;
            let name = aside.as_deref().unwrap_or(Path::new("")).as_os_str().as_encoded_bytes();
            scratch::create(&mark)?.write_all(name).about(&mark)?;
            File::open(&mark).and_then(|file| file.sync_all()).about(&mark)?;
            keys::give_to_owner(state_dir, &mark).about(&mark)?;
            sync_directory(state_dir).about(state_dir)?;
            aside
        }
    };
    if let Err(error) = put_all(&news) {
        let undone = put_back(state_dir, &news, aside.as_deref());
        return Err(match undone {
            Ok(()) => {
                let _ = fs::remove_file(&mark);
                if let Some(aside) = aside {
                    let _ = fs::remove_dir_all(aside);
                }
                BackupError::Refused(format!("{error}. What was there before is in its place again"))
            }
            Err(worse) => BackupError::Refused(format!(
                "{error}, and what was there before could not be put back ({worse}): it is in {}",
                aside.unwrap_or_default().display()
            )),
        });
    }
    fs::remove_file(&mark).about(&mark)?;
    sync_directory(state_dir).about(state_dir)?;
    Ok(aside)
}

/// Puts aside what is there, where it stays as well until it is replaced; says where, if there was anything.
fn put_aside(state_dir: &Path, news: &[New]) -> Result<Option<PathBuf>, BackupError> {
    let there: Vec<_> = news.iter().filter(|new| new.target.is_file()).collect();
    if there.is_empty() {
        return Ok(None);
    }
    let aside = make_aside(state_dir)?;
    for new in &there {
        copy_to(&new.target, &place_in(&aside, &new.target)).about(&new.target)?;
    }
    sync_directory(&aside).about(&aside)?;
    own_all(state_dir, &aside).about(&aside)?;
    Ok(Some(aside))
}

/// A new directory for what is put aside.
fn make_aside(state_dir: &Path) -> Result<PathBuf, BackupError> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let time = OffsetDateTime::now_utc().format(format).unwrap_or_default();
    let mut n = 1;
    loop {
        let name =
            if n == 1 { format!("before-restore-{time}") } else { format!("before-restore-{time}-{n}") };
        let path = state_dir.join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => n += 1,
            Err(error) => return Err(error).about(&path),
        }
    }
}

/// Where in a directory a file of this name is.
fn place_in(directory: &Path, file: &Path) -> PathBuf {
    directory.join(file.file_name().unwrap_or_default())
}

/// The same file under another name, where the file system can; else a copy of it. What is there stays as it is: each
/// file is replaced later and never changed.
fn copy_to(from: &Path, to: &Path) -> io::Result<()> {
    // What has this name may be `from` itself, left by one that was killed: to copy onto it would empty both.
    remove(to)?;
    match fs::hard_link(from, to) {
        Err(error) if is_no_way(error.kind()) => {
            fs::copy(from, to)?;
            File::open(to)?.sync_all()
        }
        linked => linked,
    }
}

/// Whether a file system has no second names, or not for this file.
fn is_no_way(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, Unsupported};
    matches!(kind, CrossesDevices | PermissionDenied | Unsupported)
}

fn own_all(state_dir: &Path, directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        keys::give_to_owner(state_dir, &entry?.path())?;
    }
    keys::give_to_owner(state_dir, directory)
}

fn put_all(news: &[New]) -> Result<(), BackupError> {
    for New { target, ready } in news {
        match ready {
            Some(ready) => fs::rename(ready, target).about(target)?,
            None => remove(target).about(target)?,
        }
        sync_parent(target).about(target)?;
    }
    Ok(())
}

/// Puts what was set aside back into its place, and leaves no place taken that was free.
fn put_back(state_dir: &Path, news: &[New], aside: Option<&Path>) -> Result<(), BackupError> {
    for New { target, .. } in news {
        let kept = aside.map(|aside| place_in(aside, target)).filter(|kept| kept.is_file());
        match kept {
            Some(kept) => {
                // By way of a second name, so that the place is never free. Where it is still that very file the rename
                // does nothing, and the name goes.
                let mut again = target.as_os_str().to_owned();
                again.push(".again");
                let again = PathBuf::from(again);
                copy_to(&kept, &again).about(&kept)?;
                keys::give_to_owner(state_dir, &again).about(&again)?;
                fs::rename(&again, target).about(target)?;
                remove(&again).about(&again)?;
            }
            None if target.is_file() => remove(target).about(target)?,
            None => {}
        }
        sync_parent(target).about(target)?;
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_directory(parent.unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state directory with a database in it, and what is put aside of it.
    fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let (database, aside) = (place.path().join("deployer.db"), place.path().join("aside"));
        fs::write(&database, "old").unwrap();
        fs::create_dir(&aside).unwrap();
        copy_to(&database, &aside.join("deployer.db")).unwrap();
        (place, database, aside)
    }

    #[test]
    fn what_is_put_back_survives_a_second_try() {
        let (place, database, aside) = place();
        // One before was killed between the two names.
        fs::hard_link(aside.join("deployer.db"), place.path().join("deployer.db.again")).unwrap();
        fs::remove_file(&database).unwrap();
        let news = [New { target: database.clone(), ready: None }];
        for _ in 0..2 {
            put_back(place.path(), &news, Some(&aside)).unwrap();
            assert_eq!(fs::read(&database).unwrap(), b"old");
            assert_eq!(fs::read(aside.join("deployer.db")).unwrap(), b"old");
            assert!(!place.path().join("deployer.db.again").exists());
        }
    }
}
