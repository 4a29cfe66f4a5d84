//! `ec-deployer backup` and `restore`: the database and the keys beside it, in one file. A backup is made while the
//! site runs; a restore is not, and looks at everything before it touches anything.

mod archive;
#[cfg(feature = "ec2")]
mod bucket;
mod destination;
mod restore;
mod room;
mod scratch;
mod swap;

use std::{
    fs, io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use archive::{Key, Manifest};
pub use destination::{Destination, Source};
pub use restore::restore;
use scratch::Scratch;
pub use swap::refuse_half_restored;

use crate::{
    config::Config,
    domain::Timestamp,
    keys,
    store::{Store, StoreError},
};

/// How often a copy is begun again because the keys were changed under it.
const TRIES: u32 = 3;

/// A backup was not made, or not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file or a directory.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// The database.
    #[error("{0}: {1}")]
    Database(PathBuf, #[source] StoreError),
    /// Anything that a sentence says all of.
    #[error("{0}")]
    Refused(String),
}

impl BackupError {
    fn refused(sentence: impl Into<String>) -> Self {
        Self::Refused(sentence.into())
    }
}

/// Names the file that an error is about.
trait About<T> {
    fn about(self, path: &Path) -> Result<T, BackupError>;
}

impl<T> About<T> for io::Result<T> {
    fn about(self, path: &Path) -> Result<T, BackupError> {
        self.map_err(|error| BackupError::File(path.to_owned(), error))
    }
}

impl<T> About<T> for Result<T, StoreError> {
    fn about(self, path: &Path) -> Result<T, BackupError> {
        self.map_err(|error| BackupError::Database(path.to_owned(), error))
    }
}

/// Makes a backup, also while the site runs; with `keep`, removes those beyond so many that named themselves and are
/// older. One that cannot be removed stays, and is warned of: this one is there all the same.
///
/// # Errors
/// Where it cannot be made, or would take the place of something else. What is not whole is not left.
pub async fn backup(
    config: Config,
    destination: Destination,
    keep: Option<NonZeroUsize>,
) -> Result<(), BackupError> {
    let state_dir = &config.state_dir;
    refuse_half_restored(state_dir).about(state_dir)?;
    let database = database(&config)?;
    if !database.exists() {
        return Err(BackupError::Refused(format!(
            "there is no database at {}: is STATE_DIR, or DATABASE_URL, that of the site?",
            database.display()
        )));
    }
    let place = destination.place();
    if keep.is_some() && !place.names_itself() {
        return Err(BackupError::refused(
            "--keep goes with a directory, or with s3://bucket/prefix/, in which backups name themselves",
        ));
    }
    place.refuse_other_file()?;
    let root = place.scratch_root(state_dir)?;
    let scratch = Scratch::make(&root)?;
    // The copy, and what is packed of it: what cannot be made smaller stays as large.
    room::check(&root, "this backup, while it is made,", bytes_of(&database)?.saturating_mul(2))?;
    let copy = scratch.path("deployer.db");
    let keys = copy_all(&database, state_dir, &copy).await?;
    let contents = Store::contents(&copy).await.about(&database)?;
    if archive::lacks_key(&contents.site, contents.schema, &keys) {
        return Err(BackupError::Refused(format!(
            "{} has no {}, without which the values of variables in {} cannot be read: set STATE_DIR to the state directory of the site",
            state_dir.display(),
            keys::VARIABLES,
            database.display()
        )));
    }
    let manifest = Manifest {
        format: archive::FORMAT,
        version: crate::VERSION.to_owned(),
        schema: contents.schema,
        site: contents.site,
        made_at: Timestamp::now().rfc3339(),
        users: contents.users,
        instances: contents.instances,
        database_bytes: fs::metadata(&copy).about(&copy)?.len(),
    };
    let packed = scratch.path("backup.tar.gz");
    let summary = manifest.in_words();
    let to = packed.clone();
    let packing = tokio::task::spawn_blocking(move || archive::pack(&to, &manifest, &keys, &copy));
    let size = packing.await.map_err(|_| BackupError::refused("packing broke off"))??;
    let put = place.put(&packed).await?;
    println!("{}", put.place);
    println!("{}, of {summary}", in_megabytes(size));
    if let (Some(keep), Some(name)) = (keep, put.name) {
        let mut removed = Vec::new();
        let pruned = place.prune(&name, keep, &mut removed).await;
        for old in removed {
            println!("removed {old}");
        }
        if let Err(error) = pruned {
            tracing::warn!("this backup is made, but older ones stay: {error}");
        }
    }
    Ok(())
}

/// Copies the database, and gives the keys that go with the copy.
async fn copy_all(database: &Path, state_dir: &Path, copy: &Path) -> Result<Vec<Key>, BackupError> {
    for _ in 0..TRIES {
        let keys = archive::keys_of(state_dir)?;
        // VACUUM INTO takes an empty file, which is its owner's alone from the first byte on.
        scratch::create(copy)?;
        Store::copy_file(database, copy).await.about(database)?;
        if archive::keys_of(state_dir)? == keys {
            return Ok(keys);
        }
    }
    Err(BackupError::refused("the keys were changed while they were copied: try again"))
}

/// The file of the database.
fn database(config: &Config) -> Result<PathBuf, BackupError> {
    Store::file_of(&config.database_url())
        .map_err(|error| BackupError::Refused(format!("DATABASE_URL: {error}")))
}

/// The bytes of a database, with what SQLite has not brought into its one file yet.
fn bytes_of(database: &Path) -> Result<u64, BackupError> {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    // There is none while nobody has the database open.
    let log = fs::metadata(log).map_or(0, |log| log.len());
    Ok(log.saturating_add(fs::metadata(database).about(database)?.len()))
}

fn in_megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
