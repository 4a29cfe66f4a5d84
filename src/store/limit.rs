//! How many instances an owner may have at once. It is decided where an instance is made or comes back, in the
//! transaction that does it: of requests that come at the same time no more get through than may.

use sqlx::SqliteConnection;

use super::{Store, SubmitError};
use crate::domain::{Reason, RowId, UserId};

impl Store {
    /// The same store, in which an owner has at most so many instances that are not terminated; 0 sets no limit. Admins
    /// have none, and what they do for an owner is not held up by it either.
    #[must_use]
    pub fn with_max_instances(mut self, max: u32) -> Self {
        self.max_instances = max;
        self
    }

    /// Most instances that an owner may have, where there is a limit.
    pub fn max_instances(&self) -> Option<u32> {
        Some(self.max_instances).filter(|max| *max > 0)
    }

    /// Refuses an instance that was made or came back in this transaction, where its owner has as many as may be
    /// without it. One that waits to come back counts, though it is terminated until then.
    pub(super) async fn check_limit(
        &self,
        tx: &mut SqliteConnection,
        row: RowId,
        by: UserId,
        reason: Reason,
    ) -> Result<(), SubmitError> {
        let Some(limit) = self.max_instances() else { return Ok(()) };
        if !matches!(reason, Reason::First | Reason::DeployAgain) {
            return Ok(());
        }
        let others = sqlx::query!(
            r#"SELECT count(*) AS "n!: i64" FROM instances i
               WHERE i.owner_id = (SELECT owner_id FROM instances WHERE id = $1) AND i.id <> $1
                 AND (i.status <> 'terminated'
                      OR EXISTS (SELECT 1 FROM deployments d WHERE d.instance = i.id AND d.outcome IS NULL))
                 AND NOT EXISTS (SELECT 1 FROM users WHERE id = $2 AND role = 'admin')"#,
            row.0,
            by.0
        )
        .fetch_one(tx)
        .await?;
        if others.n >= i64::from(limit) { Err(SubmitError::TooMany { limit }) } else { Ok(()) }
    }
}
