//! Sign-in sessions: opaque data under a secret id.

use super::{Change, Store, StoreError};
use crate::domain::{Timestamp, UserId};

impl Store {
    /// Saves a session anew; false where the id is taken, and nothing was written.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn create_session(
        &self,
        id: &str,
        user: Option<UserId>,
        data: &str,
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let user = user.map(|user| user.0);
        let done = sqlx::query!(
            "INSERT INTO sessions (id, user_id, data, expires_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (id) DO NOTHING",
            id,
            user,
            data,
            expires_at.0
        )
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
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
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let user = user.map(|user| user.0);
        let done = sqlx::query!(
            "UPDATE sessions SET user_id = $2, data = $3, expires_at = $4 WHERE id = $1",
            id,
            user,
            data,
            expires_at.0
        )
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The data of a session that has not expired, and when it will.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn session(&self, id: &str) -> Result<Option<(String, Timestamp)>, StoreError> {
        let now = Timestamp::now().0;
        let row =
            sqlx::query!("SELECT data, expires_at FROM sessions WHERE id = $1 AND expires_at > $2", id, now)
                .fetch_optional(&self.readers)
                .await?;
        Ok(row.map(|row| (row.data, Timestamp(row.expires_at))))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn delete_session(&self, id: &str) -> Result<(), StoreError> {
        let done = sqlx::query!("DELETE FROM sessions WHERE id = $1", id).execute(&self.writer).await?;
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
        sqlx::query!("DELETE FROM sessions WHERE expires_at <= $1", now).execute(&self.writer).await?;
        Ok(())
    }
}
