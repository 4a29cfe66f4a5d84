//! Fetches: what people asked of an instance's machine, and what came of it.

use sqlx::SqliteConnection;

use super::{Change, Store, StoreError, error::At};
use crate::domain::{
    CommandRun, Fetch, FetchFormat, FetchId, FetchKind, FetchState, RowId, Timestamp, UserId,
};

struct FetchRow {
    id: i64,
    instance: i64,
    kind: String,
    state: String,
    created_at: i64,
    sent_at: Option<i64>,
    heard_at: Option<i64>,
    ended_at: Option<i64>,
    size: i64,
    format: Option<String>,
    error: Option<String>,
}

impl FetchRow {
    fn read(self) -> Result<Fetch, StoreError> {
        let at = At { table: "fetches", row: self.id };
        Ok(Fetch {
            id: FetchId(self.id),
            instance: RowId(self.instance),
            kind: at.read("kind", &self.kind)?,
            state: at.read("state", &self.state)?,
            created_at: Timestamp(self.created_at),
            sent_at: self.sent_at.map(Timestamp),
            heard_at: self.heard_at.map(Timestamp),
            ended_at: self.ended_at.map(Timestamp),
            size: u64::try_from(self.size).unwrap_or_default(),
            format: at.read_opt("format", self.format.as_deref())?,
            error: self.error,
        })
    }
}

/// Selects fetches; the argument is what follows `FROM fetches`.
macro_rules! fetches {
    ($rest:literal $(, $arg:expr)*) => {
        sqlx::query_as!(
            FetchRow,
            "SELECT id, instance, kind, state, created_at, sent_at, heard_at, ended_at, size, format, error
             FROM fetches " + $rest
            $(, $arg)*
        )
    };
}

fn read_all(rows: Vec<FetchRow>) -> Result<Vec<Fetch>, StoreError> {
    rows.into_iter().map(FetchRow::read).collect()
}

impl Store {
    /// Asks an instance's machine for something; asking again while it is under way is the same wish. Gives the
    /// number of the fetch that is open now.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn want_fetch(
        &self,
        instance: RowId,
        kind: FetchKind,
        by: UserId,
    ) -> Result<FetchId, StoreError> {
        let (now, name) = (Timestamp::now().0, kind.name());
        let mut tx = self.begin().await?;
        let open = sqlx::query!(
            "SELECT id FROM fetches WHERE instance = $1 AND kind = $2 AND state IN ('wanted', 'sent')",
            instance.0,
            name
        )
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(open) = open {
            return Ok(FetchId(open.id));
        }
        let row = sqlx::query!(
            "INSERT INTO fetches (instance, kind, state, requested_by, created_at)
             VALUES ($1, $2, 'wanted', $3, $4) RETURNING id AS \"id!: i64\"",
            instance.0,
            name,
            by.0,
            now
        )
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        self.tell(Change::Fetch(instance));
        Ok(FetchId(row.id))
    }

    /// One fetch.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn fetch(&self, id: FetchId) -> Result<Option<Fetch>, StoreError> {
        fetches!("WHERE id = $1", id.0).fetch_optional(&self.readers).await?.map(FetchRow::read).transpose()
    }

    /// The fetches of an instance, the newest first: of each kind the one that is open, the last that is ready and
    /// the last that failed; of commands the newest.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn fetches(&self, instance: RowId) -> Result<Vec<Fetch>, StoreError> {
        read_all(fetches!("WHERE instance = $1 ORDER BY id DESC", instance.0).fetch_all(&self.readers).await?)
    }

    /// The instances that have an open fetch.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn rows_with_fetches(&self) -> Result<Vec<RowId>, StoreError> {
        let rows = sqlx::query!("SELECT DISTINCT instance FROM fetches WHERE state IN ('wanted', 'sent')")
            .fetch_all(&self.readers)
            .await?;
        Ok(rows.into_iter().map(|row| RowId(row.instance)).collect())
    }

    /// Notes that the machine was told of a fetch, the first time or again after the site was restarted.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn fetch_sent(&self, id: FetchId) -> Result<(), StoreError> {
        let now = Timestamp::now().0;
        let row = sqlx::query!(
            "UPDATE fetches SET state = 'sent', sent_at = $2 WHERE id = $1 AND state IN ('wanted', 'sent')
             RETURNING instance",
            id.0,
            now
        )
        .fetch_optional(&mut *self.writer.statement().await?)
        .await?;
        if let Some(row) = row {
            self.tell(Change::Fetch(RowId(row.instance)));
        }
        Ok(())
    }

    /// Notes how many bytes of a fetch have come so far. False where it is not open any more.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn fetch_heard(&self, id: FetchId, size: u64) -> Result<bool, StoreError> {
        let (now, size) = (Timestamp::now().0, size.cast_signed());
        let row = sqlx::query!(
            "UPDATE fetches SET heard_at = $2, size = $3 WHERE id = $1 AND state IN ('wanted', 'sent')
             RETURNING instance",
            id.0,
            now,
            size
        )
        .fetch_optional(&mut *self.writer.statement().await?)
        .await?;
        if let Some(row) = &row {
            self.tell(Change::Fetch(RowId(row.instance)));
        }
        Ok(row.is_some())
    }

    /// Ends a fetch well, with its log where it is one, in which secrets of its instance are masked; what was fetched of
    /// this kind before it is forgotten. False where it is not open any more.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn fetch_ready(
        &self,
        id: FetchId,
        size: u64,
        format: FetchFormat,
        log: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        let (now, size, format) = (Timestamp::now().0, size.cast_signed(), format.name());
        let mut tx = self.begin().await?;
        let mut log = log.map(<[u8]>::to_vec);
        if let Some(log) = &mut log {
            let of = sqlx::query!("SELECT instance FROM fetches WHERE id = $1", id.0)
                .fetch_optional(&mut *tx)
                .await?;
            let Some(of) = of else { return Ok(false) };
            self.scrubber(&mut tx, RowId(of.instance)).await?.mask_text(log);
        }
        let row = sqlx::query!(
            "UPDATE fetches SET state = 'ready', ended_at = $2, size = $3, format = $4, log = $5
             WHERE id = $1 AND state IN ('wanted', 'sent') RETURNING instance, kind",
            id.0,
            now,
            size,
            format,
            log
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(false) };
        forget(&mut tx, id, row.instance, &row.kind, &[FetchState::Ready, FetchState::Failed]).await?;
        tx.commit().await?;
        self.tell(Change::Fetch(RowId(row.instance)));
        Ok(true)
    }

    /// Ends a fetch that did not come, with why. What was fetched before it stays. Silent where it is not open
    /// any more.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn fetch_failed(&self, id: FetchId, error: &str) -> Result<(), StoreError> {
        let now = Timestamp::now().0;
        let mut tx = self.begin().await?;
        let row = sqlx::query!(
            "UPDATE fetches SET state = 'failed', ended_at = $2, error = $3
             WHERE id = $1 AND state IN ('wanted', 'sent') RETURNING instance, kind",
            id.0,
            now,
            error
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(()) };
        forget(&mut tx, id, row.instance, &row.kind, &[FetchState::Failed]).await?;
        tx.commit().await?;
        self.tell(Change::Fetch(RowId(row.instance)));
        Ok(())
    }

    /// The log of a fetch that is ready, as the machine sent it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn fetched_log(&self, id: FetchId) -> Result<Option<Vec<u8>>, StoreError> {
        let row =
            sqlx::query!("SELECT log FROM fetches WHERE id = $1", id.0).fetch_optional(&self.readers).await?;
        Ok(row.and_then(|row| row.log))
    }

    /// The fetches whose files can still be downloaded.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn kept_fetches(&self) -> Result<Vec<Fetch>, StoreError> {
        let since = Timestamp::now().plus_seconds(-Fetch::KEPT_SECONDS).0;
        read_all(
            fetches!("WHERE kind IN ('database', 'media') AND state = 'ready' AND ended_at > $1", since)
                .fetch_all(&self.readers)
                .await?,
        )
    }
}

/// Removes the other fetches of this kind that ended so; of commands, all but the newest.
async fn forget(
    tx: &mut SqliteConnection,
    keep: FetchId,
    instance: i64,
    kind: &str,
    ended: &[FetchState],
) -> Result<(), StoreError> {
    if kind == FetchKind::Command.name() {
        let kept = CommandRun::KEPT;
        sqlx::query!(
            "DELETE FROM fetches WHERE instance = $1 AND kind = 'command' AND id NOT IN
             (SELECT id FROM fetches WHERE instance = $1 AND kind = 'command' ORDER BY id DESC LIMIT $2)",
            instance,
            kept
        )
        .execute(&mut *tx)
        .await?;
        return Ok(());
    }
    for state in ended {
        let state = state.name();
        sqlx::query!(
            "DELETE FROM fetches WHERE instance = $1 AND kind = $2 AND state = $3 AND id <> $4",
            instance,
            kind,
            state,
            keep.0
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}
