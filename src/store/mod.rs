//! The one place that knows SQL. Inherent methods, one method one transaction; every committed
//! change is told on a channel, a write that changes nothing is silent. The web half and the
//! reconciler meet here and nowhere else.

mod adopt;
mod attempts;
mod commands;
mod counts;
mod deployments;
mod edit;
mod error;
mod fetches;
mod file;
mod first_admins;
mod image_deletion;
mod images;
mod instances;
mod lifecycle;
mod limit;
mod logs;
mod machine_type;
mod memo;
mod memos;
mod orphans;
mod people;
mod power;
mod reseal;
mod scrubbers;
mod sessions;
mod submit;
mod users;
mod variables;
mod writer;

use std::{path::Path, str::FromStr, sync::Arc, time::Duration};

pub use adopt::{AdoptedLaunch, Adoption};
pub use attempts::Attempt;
pub use counts::Counts;
pub use edit::Edit;
pub use error::StoreError;
pub use file::{Contents, newest_schema};
pub use first_admins::AdminError;
pub use image_deletion::ImageDeletion;
pub use images::BakedImage;
pub use instances::Overview;
pub use lifecycle::Work;
pub use logs::Appended;
pub use machine_type::TypeWish;
pub use orphans::Inventory;
pub use people::{PasswordLink, Person, PersonError};
pub use power::PowerError;
pub use reseal::Resealed;
pub use sessions::SignedIn;
use sqlx::{
    ConnectOptions, Connection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
pub use submit::{Submission, SubmitError, Submitted};
use tokio::sync::{broadcast, watch};
pub use users::UserError;
pub use variables::{Environment, KeptVariable, VariablesError};

use self::{
    memos::{Foreign, Memos},
    scrubbers::Scrubbers,
    writer::{Tx, Writer},
};
use crate::domain::{ImageId, Readiness, RowId, Vault};

/// What a committed change was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// An instance, or one of its deployments.
    Instance(RowId),
    /// What the owner of an instance should know, and nothing else of it: nothing follows from that.
    Notice(RowId),
    /// A golden image.
    Image(ImageId),
    /// The log of a bake, which has grown.
    ImageLog(ImageId),
    /// What was asked of an instance's machine, or what came of it.
    Fetch(RowId),
    /// Somebody's sessions ended, or what they may see is another.
    Sessions,
    /// Whether the cloud can launch machines.
    Readiness,
    /// What the cloud has that no row knows, as it was seen last.
    Orphans,
    /// What is to be done about one of those, or that the cloud is to be asked for them.
    OrphanWish,
}

/// The site's database.
#[derive(Clone, Debug)]
pub struct Store {
    writer: Writer,
    readers: SqlitePool,
    foreign: Arc<Foreign>,
    memos: Arc<Memos>,
    changes: broadcast::Sender<Change>,
    /// Not in the database: it is about this host, now.
    readiness: watch::Sender<Readiness>,
    /// Most instances that an owner may have; 0 is no limit.
    max_instances: u32,
    /// What seals secrets.
    vault: Vault,
    scrubbers: Arc<Scrubbers>,
}

impl Store {
    /// Changes that a slow listener may be behind before it is told that it missed some.
    const CHANGES: usize = 1024;
    /// Readers at once: more than two cores can use, so that a long page holds up nobody.
    const READERS: u32 = 8;

    /// Opens the database at `url` (`sqlite:///path/to/file.db`), makes it where it is missing, and
    /// brings it to this program's schema.
    ///
    /// # Errors
    /// Where the URL is no such thing, the file cannot be opened, or a migration fails.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10))
            .optimize_on_close(true, None);
        make_private(options.get_filename())?;
        let one = || SqlitePoolOptions::new().max_connections(1);
        let writer = one().connect_with(options.clone()).await?;
        file::migrations().run(&writer).await?;
        let options = options.read_only(true).create_if_missing(false);
        // What it tells holds for one connection: it is never exchanged for another.
        let lasting = one().idle_timeout(None).max_lifetime(None);
        let foreign = Arc::new(Foreign::new(lasting.connect_with(options.clone()).await?));
        let readers = SqlitePoolOptions::new().max_connections(Self::READERS).connect_with(options).await?;
        let (changes, _) = broadcast::channel(Self::CHANGES);
        Ok(Self {
            writer: Writer::new(writer),
            readers,
            foreign,
            memos: Arc::default(),
            changes,
            readiness: watch::Sender::default(),
            max_instances: 0,
            vault: Vault::random(),
            scrubbers: Arc::default(),
        })
    }

    /// Listens to every change from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Whether the cloud can launch machines, as it was seen last.
    pub fn readiness(&self) -> Readiness {
        self.readiness.borrow().clone()
    }

    /// Notes whether the cloud can launch machines; says whether that is news.
    pub fn set_readiness(&self, readiness: Readiness) -> bool {
        let news = self.readiness.send_if_modified(|known| {
            let news = *known != readiness;
            *known = readiness;
            news
        });
        if news {
            self.tell(Change::Readiness);
        }
        news
    }

    /// Waits until the cloud can launch machines.
    pub async fn until_ready(&self) {
        // The sender is this store's own, so that there is always a next look.
        let _ = self.readiness.subscribe().wait_for(Readiness::is_ready).await;
    }

    /// The random id of this database, made at the first call.
    ///
    /// # Errors
    /// Where the database cannot be read or written.
    pub async fn site(&self) -> Result<String, StoreError> {
        let mut tx = self.begin().await?;
        let fresh = hex::encode(rand::random::<[u8; 8]>());
        sqlx::query!("INSERT INTO site (id, site) VALUES (1, $1) ON CONFLICT (id) DO NOTHING", fresh)
            .execute(&mut *tx)
            .await?;
        let row = sqlx::query!("SELECT site FROM site WHERE id = 1").fetch_one(&mut *tx).await?;
        tx.commit().await?;
        Ok(row.site)
    }

    /// Where the site's machines are: what was noted, or `here` where nothing was, or no machine is left there.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn whereabouts(&self, here: &str) -> Result<String, StoreError> {
        let mut tx = self.begin().await?;
        let row = sqlx::query!(
            r#"UPDATE site SET whereabouts = CASE
                 WHEN whereabouts IS NULL THEN $1
                 WHEN EXISTS (SELECT 1 FROM attempts WHERE state IN ('open', 'launched')) THEN whereabouts
                 ELSE $1 END
             WHERE id = 1 RETURNING whereabouts AS "whereabouts!""#,
            here
        )
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(row.whereabouts)
    }

    /// The random id of the database at `url` where there is one already: nothing is made, and no schema changed.
    /// `in_use` says whether a site runs on it, which then is left its lock.
    pub async fn site_of(url: &str, in_use: bool) -> Option<String> {
        let options = SqliteConnectOptions::from_str(url).ok()?;
        // While nobody writes there is no need of the files beside it, which would be left there.
        let mut connection = options.read_only(true).immutable(!in_use).connect().await.ok()?;
        let row =
            sqlx::query!("SELECT site FROM site WHERE id = 1").fetch_optional(&mut connection).await.ok()?;
        connection.close().await.ok()?;
        row.map(|row| row.site)
    }

    /// Reads a row, to see that the database answers: a file that is damaged does not.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query!("SELECT count(*) AS instances FROM instances").fetch_one(&self.readers).await?;
        Ok(())
    }

    /// Closes every connection, the write-ahead log with them.
    pub async fn close(&self) {
        self.readers.close().await;
        self.foreign.close().await;
        self.writer.close().await;
        // Nothing that was kept is given out any more.
        self.writer.count_foreign();
    }

    /// Begins a transaction that may write.
    async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(self.writer.begin().await?)
    }

    /// Tells a change. Nobody listening is no error.
    fn tell(&self, change: Change) {
        let _ = self.changes.send(change);
    }
}

/// Makes the database's file readable by its owner alone, since sessions and password hashes are in it. SQLite
/// gives its write-ahead log the same mode.
fn make_private(file: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if let Some(directory) = file.parent().filter(|path| !path.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o711).create(directory)?;
    }
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(file)?;
    Ok(())
}

#[cfg(test)]
mod edit_tests;
#[cfg(test)]
mod tests;
