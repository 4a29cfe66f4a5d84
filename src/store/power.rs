//! Stopping and starting: what the owner wants of a machine that is kept. As every wish it is a number higher than
//! the one that was brought about last, so that it is told from what a machine does outside this site.

use super::{Change, Store, StoreError, instances::instances, lifecycle};
use crate::domain::{RowId, Status, Timestamp, Wanted};

/// Why an instance cannot be stopped or started now.
#[derive(Debug, thiserror::Error)]
pub enum PowerError {
    /// It is being terminated, or is gone.
    #[error("this instance is on its way out, or gone")]
    Gone,
    /// It is on its way to live: what is under way comes first.
    #[error("something is under way on this instance")]
    Busy,
    /// It failed before it had a machine.
    #[error("this instance has no machine")]
    NoMachine,
    /// It failed: starting alone would not mend it.
    #[error("this instance failed")]
    Failed,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for PowerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Wants an instance that is live, or failed with a machine, stopped. What waits to be deployed waits until it is
    /// started. False where nothing changed: it is stopped or to be stopped already.
    ///
    /// # Errors
    /// [`PowerError`] says why it cannot be stopped now; nothing was written then.
    pub async fn stop(&self, row: RowId) -> Result<bool, PowerError> {
        self.power(row, Wanted::Stopped).await
    }

    /// Wants a stopped instance up and serving, and deploys what waits for that; also one that was stopped outside
    /// this site. False where nothing changed: it is on, or to be started already.
    ///
    /// # Errors
    /// [`PowerError`] says why it cannot be started; nothing was written then.
    pub async fn start(&self, row: RowId) -> Result<bool, PowerError> {
        self.power(row, Wanted::Present).await
    }

    /// Wants the machine of a live instance rebooted. False where that is asked for already.
    ///
    /// # Errors
    /// [`PowerError`] says why it cannot be rebooted now; nothing was written then.
    pub async fn reboot(&self, row: RowId) -> Result<bool, PowerError> {
        let mut tx = self.begin().await?;
        let there = instances!("WHERE i.id = $1", row.0).fetch_one(&mut *tx).await?.read()?;
        if there.wanted == Wanted::Absent || there.status == Status::Terminated {
            return Err(PowerError::Gone);
        }
        if there.reboot.is_some() {
            return Ok(false);
        }
        if !there.can_reboot() {
            return Err(PowerError::Busy);
        }
        let now = Timestamp::now().0;
        sqlx::query!("UPDATE instances SET reboot_asked_at = $2, updated_at = $2 WHERE id = $1", row.0, now)
            .execute(&mut *tx)
            .await?;
        tx.commit().await.map_err(StoreError::from)?;
        self.tell(Change::Instance(row));
        Ok(true)
    }

    /// Notes that the cloud was asked for the reboot: the instance is live again once its project answers.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn reboot_sent(&self, row: RowId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        lifecycle::set_status(&mut tx, row, Status::Starting).await?;
        let now = Timestamp::now().0;
        sqlx::query!(
            "UPDATE instances SET reboot_asked_at = $2, reboot_sent_at = $2 WHERE id = $1",
            row.0,
            now
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.tell(Change::Instance(row));
        Ok(())
    }

    /// Takes the wish for a reboot back, with a sentence on why.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn reboot_refused(&self, row: RowId, notice: &str) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE instances SET reboot_asked_at = NULL, reboot_sent_at = NULL, notice = $2 WHERE id = $1",
            row.0,
            notice
        )
        .execute(&mut *self.writer.statement().await?)
        .await?;
        self.tell(Change::Instance(row));
        Ok(())
    }

    async fn power(&self, row: RowId, to: Wanted) -> Result<bool, PowerError> {
        let mut tx = self.begin().await?;
        let there = instances!("WHERE i.id = $1", row.0).fetch_one(&mut *tx).await?.read()?;
        if there.wanted == Wanted::Absent {
            return Err(PowerError::Gone);
        }
        let already = match (to, there.status) {
            (_, Status::Terminating | Status::Terminated) => return Err(PowerError::Gone),
            (Wanted::Present, Status::Stopping | Status::Stopped) => there.is_to_start(),
            (Wanted::Present, Status::Failed) if !there.is_to_stop() => return Err(PowerError::Failed),
            (Wanted::Present, _) => !there.is_to_stop(),
            (_, Status::Stopping | Status::Stopped) => !there.is_to_start(),
            (_, Status::Failed) if there.instance_id.is_none() => return Err(PowerError::NoMachine),
            (_, Status::Live | Status::Failed) => there.is_to_stop(),
            (
                _,
                Status::Requested
                | Status::Launching
                | Status::Booting
                | Status::Deploying
                | Status::Starting,
            ) => return Err(PowerError::Busy),
        };
        if already {
            return Ok(false);
        }
        let (wanted, now) = (to.name(), Timestamp::now().0);
        sqlx::query!(
            "UPDATE instances SET wanted = $2, generation = generation + 1, updated_at = $3 WHERE id = $1",
            row.0,
            wanted,
            now
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await.map_err(StoreError::from)?;
        self.tell(Change::Instance(row));
        Ok(true)
    }
}
