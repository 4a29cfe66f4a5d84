//! Files take the places of others, all of them or none. Each single one does by a rename; a mark says as long as not
//! all have, so that a site whose host lost power in between does not begin with half of two states.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::{ffi::OsStringExt, fs::DirBuilderExt},
    path::{Path, PathBuf},
};

use time::{OffsetDateTime, macros::format_description};

use super::{
    About, BackupError,
    scratch::{self, sync_directory},
};
use crate::keys;

/// The mark, in the state directory.
const MARK: &str = "restore-under-way";
/// What becomes the mark once it is whole.
const NEW_MARK: &str = "restore-under-way.new";

/// A place, and what comes there; nothing, where it is to be free.
pub(super) struct New {
    pub target: PathBuf,
    pub ready: Option<PathBuf>,
}

/// A restore that has begun, as its mark tells of it.
struct UnderWay {
    /// Where what was there before is; none where nothing was.
    aside: Option<PathBuf>,
}

impl UnderWay {
    /// The one whose mark is there, if one was broken off.
    fn read(state_dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(state_dir.join(MARK)) {
            Ok(aside) => {
                let aside = PathBuf::from(OsString::from_vec(aside));
                Ok(Some(Self { aside: Some(aside).filter(|aside| !aside.as_os_str().is_empty()) }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts aside what is there, and marks that from now on it may be gone from its place.
    fn begin(state_dir: &Path, news: &[New]) -> Result<Self, BackupError> {
        let begun = Self { aside: put_aside(state_dir, news)? };
        match begun.mark(state_dir) {
            Ok(()) => Ok(begun),
            Err(error) => {
                begun.undone(state_dir);
                Err(error)
            }
        }
    }

    /// Renamed into place, so that a mark that is there names the whole path.
    fn mark(&self, state_dir: &Path) -> Result<(), BackupError> {
        let (mark, new) = (state_dir.join(MARK), state_dir.join(NEW_MARK));
        let aside = self.aside.as_deref().unwrap_or(Path::new("")).as_os_str().as_encoded_bytes();
        let mut file = scratch::create(&new)?;
        file.write_all(aside).and_then(|()| file.sync_all()).about(&new)?;
        keys::give_to_owner(state_dir, &new).about(&new)?;
        fs::rename(&new, &mark).and_then(|()| sync_directory(state_dir)).about(&mark)
    }

    /// Leaves nothing of it, where everything is in its place as it was. A mark that is left names what is there.
    fn undone(self, state_dir: &Path) {
        let _ = fs::remove_file(state_dir.join(NEW_MARK));
        let unmarked = remove(&state_dir.join(MARK)).and_then(|()| sync_directory(state_dir)).is_ok();
        if let Some(aside) = self.aside.filter(|_| unmarked) {
            let _ = fs::remove_dir_all(aside);
        }
    }

    /// Where what was there before is, unless somebody has moved it.
    fn kept(&self) -> Option<&Path> {
        self.aside.as_deref().filter(|aside| aside.is_dir())
    }
}

/// Refuses a state directory in which a restore was broken off.
///
/// # Errors
/// With what to do.
pub fn refuse_half_restored(state_dir: &Path) -> io::Result<()> {
    let Some(begun) = UnderWay::read(state_dir)? else { return Ok(()) };
    let aside = begun.aside.map(|aside| aside.display().to_string());
    Err(io::Error::other(format!(
        "a restore was broken off here: run `ec-deployer restore` again. What was there before is in {}",
        aside.as_deref().unwrap_or("no place, since there was nothing")
    )))
}

/// Puts everything in its place; says where what was there is now.
pub(super) fn swap(state_dir: &Path, news: Vec<New>) -> Result<Option<PathBuf>, BackupError> {
    let mark = state_dir.join(MARK);
    let begun = match UnderWay::read(state_dir).about(&mark)? {
        // One before was broken off: what is in place now is half of it, and what was before that is aside already.
        Some(begun) => begun,
        None => UnderWay::begin(state_dir, &news)?,
    };
    if let Err(error) = put_all(&news) {
        return Err(BackupError::Refused(match put_back(state_dir, &news, begun.aside.as_deref()) {
            Ok(()) => {
                begun.undone(state_dir);
                format!("{error}. What was there before is in its place again")
            }
            Err(worse) => {
                let kept = begun.kept().map(|kept| format!(". It is in {}", kept.display()));
                let kept = kept.unwrap_or_default();
                format!("{error}, and what was there before could not be put back: {worse}{kept}")
            }
        }));
    }
    fs::remove_file(&mark).about(&mark)?;
    sync_directory(state_dir).about(state_dir)?;
    Ok(begun.kept().map(Path::to_owned))
}

/// Puts aside what is there, where it stays as well until it is replaced; says where, if there was anything.
fn put_aside(state_dir: &Path, news: &[New]) -> Result<Option<PathBuf>, BackupError> {
    let there: Vec<_> = news.iter().filter(|new| new.target.is_file()).collect();
    if there.is_empty() {
        return Ok(None);
    }
    let aside = make_aside(state_dir)?;
    let put = || {
        for new in &there {
            copy_to(&new.target, &place_in(&aside, &new.target)).about(&new.target)?;
        }
        sync_directory(&aside).about(&aside)?;
        own_all(state_dir, &aside).about(&aside)
    };
    if let Err(error) = put() {
        let _ = fs::remove_dir_all(&aside);
        return Err(error);
    }
    Ok(Some(aside))
}

/// A new directory for what is put aside, by a path that leads there from everywhere.
fn make_aside(state_dir: &Path) -> Result<PathBuf, BackupError> {
    let state_dir = std::path::absolute(state_dir).about(state_dir)?;
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
    if let Some(gone) = aside.filter(|aside| !aside.is_dir()) {
        return Err(BackupError::Refused(format!("{} is gone", gone.display())));
    }
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

    /// A state directory with a database.
    struct Place {
        directory: tempfile::TempDir,
        database: PathBuf,
    }

    impl Place {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let database = directory.path().join("deployer.db");
            fs::write(&database, "old").unwrap();
            Self { directory, database }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        /// Lets a new database take the place of what is there.
        fn swap(&self) -> Result<Option<PathBuf>, BackupError> {
            let ready = self.path("ready");
            fs::write(&ready, "new").unwrap();
            self.swap_in(ready)
        }

        fn swap_in(&self, ready: PathBuf) -> Result<Option<PathBuf>, BackupError> {
            let new = New { target: self.database.clone(), ready: Some(ready) };
            swap(self.directory.path(), vec![new])
        }

        fn has(&self, bytes: &str) -> bool {
            fs::read(&self.database).unwrap() == bytes.as_bytes()
        }

        /// Names in the state directory that tell of a restore.
        fn traces(&self) -> usize {
            let names = fs::read_dir(self.directory.path()).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name());
            names.filter(|name| name.to_string_lossy().contains("restore")).count()
        }
    }

    #[test]
    fn what_is_put_back_survives_a_second_try() {
        let place = Place::new();
        let (aside, again) = (place.path("aside"), place.path("deployer.db.again"));
        fs::create_dir(&aside).unwrap();
        // One before was killed between the two names.
        fs::rename(&place.database, aside.join("deployer.db")).unwrap();
        fs::hard_link(aside.join("deployer.db"), &again).unwrap();
        let news = [New { target: place.database.clone(), ready: None }];
        for _ in 0..2 {
            put_back(place.directory.path(), &news, Some(&aside)).unwrap();
            assert!(place.has("old") && !again.exists());
            assert_eq!(fs::read(aside.join("deployer.db")).unwrap(), b"old");
        }
    }

    #[test]
    fn a_restore_that_did_not_come_to_its_end_leaves_nothing() {
        let place = Place::new();
        place.swap_in(place.path("missing")).unwrap_err();
        assert!(place.has("old") && place.traces() == 0);
        // The mark cannot be written.
        fs::create_dir(place.path(NEW_MARK)).unwrap();
        place.swap().unwrap_err();
        assert!(place.has("old") && place.traces() == 1);
        fs::remove_dir(place.path(NEW_MARK)).unwrap();
        let aside = place.swap().unwrap().unwrap();
        assert!(place.has("new") && aside.is_absolute() && place.traces() == 1);
        assert_eq!(fs::read(aside.join("deployer.db")).unwrap(), b"old");
    }

    #[test]
    fn a_mark_is_believed_or_refused_and_never_taken_for_none() {
        let place = Place::new();
        let mark = place.path(MARK);
        // A path need not be text.
        let aside = place.directory.path().join(OsString::from_vec(b"before-\xff".to_vec()));
        fs::create_dir(&aside).unwrap();
        fs::write(&mark, aside.as_os_str().as_encoded_bytes()).unwrap();
        assert!(refuse_half_restored(place.directory.path()).is_err());
        assert_eq!(place.swap().unwrap(), Some(aside));
        assert!(!mark.exists());
        // What it names is gone: what is there is all that there is.
        let gone = place.path("gone");
        fs::write(&mark, gone.as_os_str().as_encoded_bytes()).unwrap();
        let told = place.swap_in(place.path("missing")).unwrap_err().to_string();
        assert!(told.contains(&format!("{} is gone", gone.display())), "{told}");
        assert!(place.has("new") && mark.exists());
        // It cannot be read.
        fs::remove_file(&mark).unwrap();
        fs::create_dir(&mark).unwrap();
        place.swap().unwrap_err();
        assert!(place.has("new") && place.traces() == 1);
    }
}
