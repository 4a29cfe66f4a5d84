//! Files that machines sent, beside the database, each under its fetch's number: kept for an hour, or until a newer
//! one has come. What is still coming is `<number>.part`.

use std::{
    collections::HashSet,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    fs::{File, OpenOptions},
    io::AsyncWriteExt,
};

use crate::{
    domain::FetchId,
    store::{Store, StoreError},
};

/// Bytes between two looks at how much room the disk has.
const LOOK: u64 = 16 * 1024 * 1024;

/// How much a spool takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of one file.
    pub max: u64,
    /// Bytes of the disk that stay free: the database and machines are on it as well.
    pub keep_free: u64,
    /// How long the next bytes may be awaited: a large file is packed as it is sent, and a machine may be busy.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max: 2_000_000_000, keep_free: 1_000_000_000, silence: Duration::from_secs(120) }
    }
}

/// Why a file was not kept.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// It is larger than [`Limits::max`].
    #[error("the file is too large")]
    TooLarge,
    /// The disk would have too little room left.
    #[error("the disk has too little room")]
    Full,
    /// The file could not be written.
    #[error("the file could not be written: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            Self::Full
        } else {
            Self::Io(error)
        }
    }
}

/// The directory of these files.
#[derive(Clone, Debug)]
pub struct Spool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    limits: Limits,
    /// What is coming right now.
    coming: Mutex<HashSet<FetchId>>,
}

impl Spool {
    /// The spool in this directory, which is made where it is missing.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn open(directory: PathBuf, limits: Limits) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        Ok(Self(Arc::new(Inner { directory, limits, coming: Mutex::default() })))
    }

    /// How much it takes.
    pub fn limits(&self) -> Limits {
        self.0.limits
    }

    fn path(&self, id: FetchId) -> PathBuf {
        self.0.directory.join(id.to_string())
    }

    fn coming(&self) -> std::sync::MutexGuard<'_, HashSet<FetchId>> {
        self.0.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to take a file; none where it is coming already.
    ///
    /// # Errors
    /// Where it cannot be written, or there is too little room.
    pub async fn take(&self, id: FetchId) -> Result<Option<Incoming>, SpoolError> {
        if !self.coming().insert(id) {
            return Ok(None);
        }
        // From here on its drop cleans up.
        let part = self.path(id).with_extension("part");
        let mut incoming = Incoming { spool: self.clone(), id, part, file: None, size: 0, looked_at: 0 };
        incoming.check_room()?;
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        incoming.file = Some(options.open(&incoming.part).await?);
        Ok(Some(incoming))
    }

    /// A file that has come, where it is whole.
    pub async fn file(&self, id: FetchId, size: u64) -> Option<File> {
        let file = File::open(self.path(id)).await.ok()?;
        (file.metadata().await.ok()?.len() == size).then_some(file)
    }

    /// Removes what is not to be downloaded any more, and what broke off.
    ///
    /// # Errors
    /// Where the directory or the store cannot be read.
    pub async fn sweep(&self, store: &Store) -> Result<(), StoreError> {
        // In this order: a file that is seen here and is not coming has its row already.
        let mut found = Vec::new();
        let mut entries = tokio::fs::read_dir(&self.0.directory).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let id = name.strip_suffix(".part").unwrap_or(&name).parse().ok().map(FetchId);
            if id.is_none_or(|id| !self.coming().contains(&id)) {
                found.push((entry.path(), id.filter(|_| !name.ends_with(".part"))));
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let kept: HashSet<_> = store.kept_fetches().await?.into_iter().map(|fetch| fetch.id).collect();
        for (path, _) in found.into_iter().filter(|(_, id)| id.is_none_or(|id| !kept.contains(&id))) {
            match tokio::fs::remove_file(&path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "a file that is not kept stays");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A file that is coming. Dropped before [`finish`](Self::finish), nothing of it stays.
#[derive(Debug)]
pub struct Incoming {
    spool: Spool,
    id: FetchId,
    part: PathBuf,
    file: Option<File>,
    size: u64,
    looked_at: u64,
}

impl Incoming {
    /// Bytes that have come.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn check_room(&mut self) -> Result<(), SpoolError> {
        let disk = nix::sys::statvfs::statvfs(&self.spool.0.directory).map_err(io::Error::from)?;
        let free = disk.blocks_available() * disk.fragment_size();
        self.looked_at = self.size;
        if free < self.spool.0.limits.keep_free { Err(SpoolError::Full) } else { Ok(()) }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// Where they are too many, there is too little room, or they cannot be written.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        if self.size + bytes.len() as u64 > self.spool.0.limits.max {
            return Err(SpoolError::TooLarge);
        }
        if let Some(file) = &mut self.file {
            file.write_all(bytes).await?;
        }
        self.size += bytes.len() as u64;
        if self.size - self.looked_at >= LOOK { self.check_room() } else { Ok(()) }
    }

    /// Puts the whole file in its place; `noted` then notes that it is there. Gives what `noted` gave.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub async fn finish<T>(mut self, noted: impl Future<Output = T>) -> Result<T, SpoolError> {
        if let Some(mut file) = self.file.take() {
            file.flush().await?;
            file.sync_data().await?;
        }
        tokio::fs::rename(&self.part, self.spool.path(self.id)).await?;
        // It counts as coming until it is noted, so that nobody sweeps it away in between.
        Ok(noted.await)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.part);
        self.spool.coming().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(limits: Limits) -> (Spool, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (Spool::open(dir.path().join("fetches"), limits).unwrap(), dir)
    }

    fn names(dir: &tempfile::TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(dir.path().join("fetches")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_file_is_there_whole_or_not_at_all() {
        use std::os::unix::fs::PermissionsExt;
        let (spool, dir) = spool(Limits { max: 10, keep_free: 0, ..Limits::default() });
        let mut coming = spool.take(FetchId(7)).await.unwrap().unwrap();
        assert!(spool.take(FetchId(7)).await.unwrap().is_none(), "it is coming");
        coming.write(b"12345").await.unwrap();
        assert_eq!(names(&dir), ["7.part"]);
        assert!(spool.file(FetchId(7), 5).await.is_none());
        coming.finish(async {}).await.unwrap();
        assert_eq!(names(&dir), ["7"]);
        let mode = dir.path().join("fetches/7").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(spool.file(FetchId(7), 5).await.is_some());
        assert!(spool.file(FetchId(7), 6).await.is_none(), "a crash cut it");

        let mut coming = spool.take(FetchId(8)).await.unwrap().unwrap();
        coming.write(b"1234567890").await.unwrap();
        assert!(matches!(coming.write(b"1").await, Err(SpoolError::TooLarge)));
        drop(coming);
        assert_eq!(names(&dir), ["7"]);
    }

    #[tokio::test]
    async fn nothing_is_taken_where_there_is_too_little_room() {
        let (spool, dir) = spool(Limits { max: 10, keep_free: u64::MAX, ..Limits::default() });
        assert!(matches!(spool.take(FetchId(7)).await, Err(SpoolError::Full)));
        assert!(matches!(spool.take(FetchId(7)).await, Err(SpoolError::Full)), "it is not coming any more");
        assert!(names(&dir).is_empty());
        assert!(matches!(SpoolError::from(io::Error::from_raw_os_error(28)), SpoolError::Full));
    }

    #[tokio::test]
    async fn what_nobody_knows_of_is_swept_away_and_what_is_coming_is_not() {
        let (spool, dir) = spool(Limits::default());
        let store = Store::open(&format!("sqlite://{}", dir.path().join("test.db").display())).await.unwrap();
        for name in ["3", "4.part", "x"] {
            std::fs::write(dir.path().join("fetches").join(name), "left").unwrap();
        }
        let coming = spool.take(FetchId(5)).await.unwrap().unwrap();
        spool.sweep(&store).await.unwrap();
        assert_eq!(names(&dir), ["5.part"]);
        coming.finish(spool.sweep(&store)).await.unwrap().unwrap();
        assert_eq!(names(&dir), ["5"]);
        spool.sweep(&store).await.unwrap();
        assert!(names(&dir).is_empty());
    }
}
