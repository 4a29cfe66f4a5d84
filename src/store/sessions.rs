//! Sign-in sessions: opaque data under a secret id.

use sqlx::SqliteConnection;

use super::{Change, Store, StoreError};
use crate::domain::{Timestamp, UserId};

/// A browser in which somebody is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// Its session's row.
    pub id: String,
    /// When it was last seen, to the hour.
    pub seen_at: Option<Timestamp>,
}

impl Store {
    /// Saves a session anew; false where the id is taken, and nothing was written. `seen_at` is when its
    /// browser was last here, and so the person.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn create_session(
        &self,
        id: &str,
        user: Option<UserId>,
        data: &str,
        seen_at: Option<Timestamp>,
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let (user, seen) = (user.map(|user| user.0), seen_at.map(|time| time.0));
        let done = sqlx::query!(
            "INSERT INTO sessions (id, user_id, data, seen_at, expires_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (id) DO NOTHING",
            id,
            user,
            data,
            seen,
            expires_at.0
        )
        .execute(&mut *tx)
        .await?;
        let written = done.rows_affected() == 1;
        if written {
            see(&mut tx, user, seen).await?;
        }
        tx.commit().await?;
        Ok(written)
    }

    /// Saves a session over itself. One that was ended meanwhile stays ended.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn save_session(
        &self,
        id: &str,
        user: Option<UserId>,
        data: &str,
        seen_at: Option<Timestamp>,
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let (user, seen) = (user.map(|user| user.0), seen_at.map(|time| time.0));
        let done = sqlx::query!(
            "UPDATE sessions SET user_id = $2, data = $3, seen_at = $4, expires_at = $5 WHERE id = $1",
            id,
            user,
            data,
            seen,
            expires_at.0
        )
        .execute(&mut *tx)
        .await?;
        let there = done.rows_affected() == 1;
        if there {
            see(&mut tx, user, seen).await?;
        }
        tx.commit().await?;
        Ok(there)
    }

    /// The sessions of a person, the one that was seen last first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn sessions_of(&self, user: UserId) -> Result<Vec<SignedIn>, StoreError> {
        let now = Timestamp::now().0;
        let rows = sqlx::query!(
            "SELECT id, seen_at FROM sessions WHERE user_id = $1 AND expires_at > $2
             ORDER BY seen_at DESC, id",
            user.0,
            now
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.into_iter().map(|row| SignedIn { id: row.id, seen_at: row.seen_at.map(Timestamp) }).collect())
    }

    /// Ends the sessions of a person, all but `kept`. Gives how many there were.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn end_sessions(&self, user: UserId, kept: Option<&str>) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            "DELETE FROM sessions WHERE user_id = $1 AND ($2 IS NULL OR id <> $2)",
            user.0,
            kept
        )
        .execute(&mut *self.writer.statement().await?)
        .await?;
        if done.rows_affected() > 0 {
            self.tell(Change::Sessions);
        }
        Ok(done.rows_affected())
    }

    /// The data of a session that has not expired, and when it will.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn session(&self, id: &str) -> Result<Option<(String, Timestamp)>, StoreError> {
        let read = async {
            let row = sqlx::query!("SELECT data, expires_at FROM sessions WHERE id = $1", id)
                .fetch_optional(&self.readers)
                .await?;
            Ok(row.map(|row| (row.data, Timestamp(row.expires_at))))
        };
        let session = self.kept(&self.memos.sessions, id.to_owned(), read).await?;
        Ok(session.filter(|(_, expires_at)| *expires_at > Timestamp::now()))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn delete_session(&self, id: &str) -> Result<(), StoreError> {
        let done = sqlx::query!("DELETE FROM sessions WHERE id = $1", id)
            .execute(&mut *self.writer.statement().await?)
            .await?;
        if done.rows_affected() > 0 {
            self.tell(Change::Sessions);
        }
        Ok(())
    }

    /// Removes the sessions that have expired.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn prune_sessions(&self) -> Result<(), StoreError> {
        let now = Timestamp::now().0;
        sqlx::query!("DELETE FROM sessions WHERE expires_at <= $1", now)
            .execute(&mut *self.writer.statement().await?)
            .await?;
        Ok(())
    }
}

/// Notes when a person was here.
async fn see(tx: &mut SqliteConnection, user: Option<i64>, seen: Option<i64>) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE users SET seen_at = max(coalesce(seen_at, 0), $2) WHERE id = $1 AND $2 > 0",
        user,
        seen
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}
