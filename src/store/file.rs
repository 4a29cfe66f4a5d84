//! The database as a file: copied while a site writes it, looked at, and made ready to take another's place. None of
//! this brings it to this program's schema.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use sqlx::{ConnectOptions, Connection, SqliteConnection, migrate::Migrator, sqlite::SqliteConnectOptions};

use super::{Store, StoreError};
use crate::domain::Timestamp;

/// How far the numbers of a copy go on beyond its own at the least, where the host's clock is wrong: no site gives out
/// so many between two backups.
const AHEAD: i64 = 1_000_000;

/// What is in a database, in a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The number of the newest migration that it has seen.
    pub schema: i64,
    /// The site's random id; empty before its first start.
    pub site: String,
    /// How many people can sign in, or could.
    pub users: u64,
    /// How many instances there are, the terminated ones with them.
    pub instances: u64,
}

/// The migrations that this program knows. A database that has seen more is one of a newer program: migrations only
/// ever add, so that it serves this one as well.
pub(super) fn migrations() -> Migrator {
    let mut migrator = sqlx::migrate!();
    migrator.set_ignore_missing(true);
    migrator
}

/// The newest schema that this program knows: the number of its newest migration.
pub fn newest_schema() -> i64 {
    migrations().iter().map(|migration| migration.version).max().unwrap_or_default()
}

impl Store {
    /// The file of the database at `url`.
    ///
    /// # Errors
    /// Where the URL is no such thing.
    pub fn file_of(url: &str) -> Result<PathBuf, StoreError> {
        Ok(SqliteConnectOptions::from_str(url)?.get_filename().to_owned())
    }

    /// Copies a database as it is at one moment into a file that is not there, or empty. Who writes meanwhile is not held
    /// up.
    ///
    /// # Errors
    /// Where one of them cannot be read or written.
    pub async fn copy_file(database: &Path, to: &Path) -> Result<(), StoreError> {
        let to = to.to_str().ok_or_else(|| std::io::Error::other("a path that is no text"))?;
        let mut connection = open(database, true).await?;
        // A statement that has no place among the checked ones: it is about files.
        sqlx::query("VACUUM INTO $1").bind(to).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }

    /// What is in a database.
    ///
    /// # Errors
    /// Where it cannot be read, or is not one of a site.
    pub async fn contents(database: &Path) -> Result<Contents, StoreError> {
        let mut connection = open(database, true).await?;
        // This table is the migrator's own, and so in no migration that queries are checked against.
        let schema = sqlx::query_scalar::<_, Option<i64>>("SELECT max(version) FROM _sqlx_migrations")
            .fetch_one(&mut connection)
            .await?;
        let row = sqlx::query!(
            r#"SELECT (SELECT site FROM site WHERE id = 1) AS "site: String",
                      (SELECT count(*) FROM users) AS "users!: i64",
                      (SELECT count(*) FROM instances) AS "instances!: i64""#
        )
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        Ok(Contents {
            schema: schema.ok_or(StoreError::Missing("schema"))?,
            site: row.site.unwrap_or_default(),
            users: u64::try_from(row.users).unwrap_or_default(),
            instances: u64::try_from(row.instances).unwrap_or_default(),
        })
    }

    /// What SQLite finds wrong with a database; none where it is whole.
    ///
    /// # Errors
    /// Where it is no database at all.
    pub async fn damage(database: &Path) -> Result<Option<String>, StoreError> {
        let mut connection = open(database, true).await?;
        let found: String =
            sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(Some(found).filter(|found| found != "ok"))
    }

    /// Ends every session in a database, and every link by which a password can be set, whatever its schema.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub async fn end_sign_ins(database: &Path) -> Result<(), StoreError> {
        let mut connection = open(database, false).await?;
        sqlx::query!("DELETE FROM sessions").execute(&mut connection).await?;
        let has_links = sqlx::query!(
            r#"SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'password_links') AS "has!: bool""#
        )
        .fetch_one(&mut connection)
        .await?
        .has;
        if has_links {
            sqlx::query!("DELETE FROM password_links").execute(&mut connection).await?;
        }
        connection.close().await?;
        Ok(())
    }

    /// Lets a database that takes another's place go on with numbers of deployments and fetches that were never given
    /// out. Machines hold tokens that are made of those which were given out since it was copied, and begin no deployment
    /// that is not beyond the last. The time in milliseconds is beyond them all, also where one copy is restored again.
    /// Nobody sees these numbers: those on pages are counted for each instance.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub async fn leave_numbers_out(database: &Path) -> Result<(), StoreError> {
        let now = Timestamp::now().0;
        let mut connection = open(database, false).await?;
        sqlx::query!(
            "UPDATE sqlite_sequence SET seq = max(seq + $1, $2) WHERE name IN ('deployments', 'fetches')",
            AHEAD,
            now
        )
        .execute(&mut connection)
        .await?;
        // A table that has had no row yet has none there either.
        sqlx::query!(
            "INSERT INTO sqlite_sequence (name, seq)
             SELECT column1, $1 FROM (VALUES ('deployments'), ('fetches'))
             WHERE column1 NOT IN (SELECT name FROM sqlite_sequence)",
            now
        )
        .execute(&mut connection)
        .await?;
        connection.close().await?;
        Ok(())
    }

    /// Brings all that was written into the database's one file, where nobody else has it open.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub async fn settle_file(database: &Path) -> Result<(), StoreError> {
        let mut connection = open(database, false).await?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }
}

/// A connection to a database that is there.
async fn open(database: &Path, reads: bool) -> Result<SqliteConnection, StoreError> {
    let options = SqliteConnectOptions::new().filename(database).read_only(reads);
    Ok(options.busy_timeout(Duration::from_secs(10)).connect().await?)
}
