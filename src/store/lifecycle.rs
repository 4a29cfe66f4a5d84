//! What the reconciler reads and writes: the status of an instance and what becomes of its deployments.

use std::net::IpAddr;

use sqlx::SqliteConnection;

use super::{
    Attempt, Change, Store, StoreError, attempts,
    deployments::{DeploymentRow, deployments},
    error::{At, to_json},
    first_admins,
    instances::instances,
};
use crate::domain::{Deployment, DeploymentId, Failure, Instance, InstanceId, RowId, Status, Timestamp};

/// All that decides what is to be done about an instance.
#[derive(Clone, Debug)]
pub struct Work {
    /// The instance.
    pub instance: Instance,
    /// The number of the owner's last wish.
    pub generation: i64,
    /// The number of the wish that was brought about last.
    pub observed_generation: i64,
    /// The deployment that waits.
    pub queued: Option<Deployment>,
    /// The deployment that a machine has.
    pub running: Option<Deployment>,
    /// The deployment whose release serves.
    pub serving: Option<Deployment>,
    /// The attempt that is open or has brought the machine.
    pub attempt: Option<Attempt>,
}

/// The status of an instance.
pub(super) async fn status(tx: &mut SqliteConnection, instance: RowId) -> Result<Status, StoreError> {
    let row =
        sqlx::query!("SELECT status FROM instances WHERE id = $1", instance.0).fetch_one(&mut *tx).await?;
    At { table: "instances", row: instance.0 }.read("status", &row.status)
}

/// Moves an instance to a status that its life has from where it is. False where it is there already.
pub(super) async fn set_status(
    tx: &mut SqliteConnection,
    instance: RowId,
    to: Status,
) -> Result<bool, StoreError> {
    let from = status(tx, instance).await?;
    if from == to {
        return Ok(false);
    }
    from.become_(to)?;
    let (name, now) = (to.name(), Timestamp::now().0);
    sqlx::query!(
        "UPDATE instances SET status = $2, status_since = $3, updated_at = $3, failure = NULL,
             reboot_asked_at = NULL, reboot_sent_at = NULL WHERE id = $1",
        instance.0,
        name,
        now
    )
    .execute(&mut *tx)
    .await?;
    Ok(true)
}

/// Moves an instance to `failed` with why.
pub(super) async fn set_failed(
    tx: &mut SqliteConnection,
    instance: RowId,
    failure: &Failure,
) -> Result<(), StoreError> {
    set_status(tx, instance, Status::Failed).await?;
    let json = to_json(failure)?;
    sqlx::query!("UPDATE instances SET failure = $2 WHERE id = $1", instance.0, json)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Which of an instance's deployments that have not ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Open {
    /// The one that runs.
    Running,
    /// The one that waits, too.
    All,
}

/// Ends deployments of an instance, where there are such, as failed.
pub(super) async fn fail_open(
    tx: &mut SqliteConnection,
    instance: RowId,
    which: Open,
    failure: &Failure,
) -> Result<(), StoreError> {
    let (json, now, all) = (to_json(failure)?, Timestamp::now().0, which == Open::All);
    sqlx::query!(
        "UPDATE deployments SET outcome = 'failed', failure = $2, ended_at = $3
         WHERE instance = $1 AND outcome IS NULL AND ($4 OR begun_at IS NOT NULL)",
        instance.0,
        json,
        now,
        all
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Ends the attempt whose machine is gone: its token is spent.
async fn spend_attempt(tx: &mut SqliteConnection, instance: RowId) -> Result<(), StoreError> {
    let now = Timestamp::now().0;
    sqlx::query!(
        "UPDATE attempts SET state = 'spent', ended_at = $2
         WHERE instance = $1 AND state IN ('open', 'launched')",
        instance.0,
        now
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

impl Store {
    /// The instances that may need something done: all but those that are gone for good.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn rows_with_work(&self) -> Result<Vec<RowId>, StoreError> {
        let rows = sqlx::query!(
            "SELECT id FROM instances WHERE status <> 'terminated'
                OR EXISTS (SELECT 1 FROM deployments d
                           WHERE d.instance = instances.id AND d.outcome IS NULL AND d.begun_at IS NULL)"
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.into_iter().map(|row| RowId(row.id)).collect())
    }

    /// All that decides what is to be done about an instance.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn work(&self, row: RowId) -> Result<Option<Work>, StoreError> {
        let mut tx = self.readers.begin().await?;
        let Some(found) = instances!("WHERE i.id = $1", row.0).fetch_optional(&mut *tx).await? else {
            return Ok(None);
        };
        let instance = found.read()?;
        let wish = sqlx::query!("SELECT generation, observed_generation FROM instances WHERE id = $1", row.0)
            .fetch_one(&mut *tx)
            .await?;
        let open: Vec<Deployment> = deployments!("WHERE d.instance = $1 AND d.outcome IS NULL", row.0)
            .fetch_all(&mut *tx)
            .await?
            .into_iter()
            .map(DeploymentRow::read)
            .collect::<Result<_, _>>()?;
        let serving =
            deployments!("WHERE d.instance = $1 AND d.outcome = 'live' ORDER BY d.id DESC LIMIT 1", row.0)
                .fetch_optional(&mut *tx)
                .await?
                .map(DeploymentRow::read)
                .transpose()?;
        let attempt = attempts::current(&mut tx, row).await?;
        let (queued, running): (Vec<_>, Vec<_>) = open.into_iter().partition(Deployment::is_queued);
        Ok(Some(Work {
            instance,
            generation: wish.generation,
            observed_generation: wish.observed_generation,
            queued: queued.into_iter().next(),
            running: running.into_iter().next(),
            serving,
            attempt,
        }))
    }

    /// Moves an instance to a status.
    ///
    /// # Errors
    /// Where its life does not have the move, or the database fails.
    pub async fn set_status(&self, instance: RowId, to: Status) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let changed = set_status(&mut tx, instance, to).await?;
        tx.commit().await?;
        if changed {
            self.tell(Change::Instance(instance));
        }
        Ok(())
    }

    /// Notes that the owner's wish of this number is brought about.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn observed(&self, instance: RowId, generation: i64) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE instances SET observed_generation = $2 WHERE id = $1 AND observed_generation < $2",
            instance.0,
            generation
        )
        .execute(&mut *self.writer.statement().await?)
        .await?;
        Ok(())
    }

    /// Fails an instance, and the deployments that wait or run on it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn fail(&self, instance: RowId, failure: &Failure) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        fail_open(&mut tx, instance, Open::All, failure).await?;
        set_failed(&mut tx, instance, failure).await?;
        tx.commit().await?;
        self.tell(Change::Instance(instance));
        Ok(())
    }

    /// Notes that a waiting deployment is being handed to its machine.
    ///
    /// # Errors
    /// Where the life of the instance does not have the move, or the database fails.
    pub async fn begin_deployment(&self, instance: RowId, id: DeploymentId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let now = Timestamp::now().0;
        sqlx::query!("UPDATE deployments SET begun_at = $2 WHERE id = $1 AND outcome IS NULL", id.0, now)
            .execute(&mut *tx)
            .await?;
        set_status(&mut tx, instance, Status::Deploying).await?;
        // What it deploys may be called otherwise than what was deployed before.
        self.scrubbers.forget(instance);
        tx.commit().await?;
        self.tell(Change::Instance(instance));
        Ok(())
    }

    /// Ends a deployment well: its release serves, the one before it is replaced, the instance is
    /// live, with a notice where its owner should know something.
    ///
    /// # Errors
    /// Where the life of the instance does not have the move, or the database fails.
    pub async fn deployment_live(
        &self,
        instance: RowId,
        id: DeploymentId,
        notice: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let now = Timestamp::now().0;
        sqlx::query!(
            "UPDATE deployments SET outcome = 'replaced' WHERE instance = $1 AND outcome = 'live' AND id <> $2",
            instance.0,
            id.0
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "UPDATE deployments SET outcome = 'live', ended_at = $2 WHERE id = $1 AND outcome IS NULL",
            id.0,
            now
        )
        .execute(&mut *tx)
        .await?;
        set_status(&mut tx, instance, Status::Live).await?;
        sqlx::query!(
            "UPDATE instances SET notice = $2, updated_at = $3 WHERE id = $1",
            instance.0,
            notice,
            now
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.tell(Change::Instance(instance));
        Ok(())
    }

    /// Ends the running deployment as failed. Where the release before it still serves, the
    /// instance is live with a notice; else it is failed and its machine kept.
    ///
    /// # Errors
    /// Where the life of the instance does not have the move, or the database fails.
    pub async fn deployment_failed(
        &self,
        instance: RowId,
        failure: &Failure,
        still_serving: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        fail_open(&mut tx, instance, Open::Running, failure).await?;
        match still_serving {
            Some(notice) => {
                set_status(&mut tx, instance, Status::Live).await?;
                sqlx::query!("UPDATE instances SET notice = $2 WHERE id = $1", instance.0, notice)
                    .execute(&mut *tx)
                    .await?;
            }
            None => set_failed(&mut tx, instance, failure).await?,
        }
        tx.commit().await?;
        self.tell(Change::Instance(instance));
        Ok(())
    }

    /// Notes what the cloud says of the machine's address. Silent where nothing changed.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn set_public_ip(&self, instance: RowId, public_ip: Option<IpAddr>) -> Result<(), StoreError> {
        let (ip, now) = (public_ip.map(|ip| ip.to_string()), Timestamp::now().0);
        let done = sqlx::query!(
            "UPDATE instances SET public_ip = $2, updated_at = $3 WHERE id = $1 AND public_ip IS NOT $2",
            instance.0,
            ip,
            now
        )
        .execute(&mut *self.writer.statement().await?)
        .await?;
        if done.rows_affected() > 0 {
            self.tell(Change::Instance(instance));
        }
        Ok(())
    }

    /// Writes or takes away the notice of an instance. Silent where nothing changed.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn set_notice(&self, instance: RowId, notice: Option<&str>) -> Result<(), StoreError> {
        let done = sqlx::query!(
            "UPDATE instances SET notice = $2 WHERE id = $1 AND notice IS NOT $2",
            instance.0,
            notice
        )
        .execute(&mut *self.writer.statement().await?)
        .await?;
        if done.rows_affected() > 0 {
            self.tell(Change::Notice(instance));
        }
        Ok(())
    }

    /// The cloud gave a machine's id and never showed it: its attempt is spent, and the instance has failed by `why`
    /// without a machine.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn machine_lost(&self, instance: RowId, why: &Failure) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        spend_attempt(&mut tx, instance).await?;
        fail_open(&mut tx, instance, Open::Running, why).await?;
        sqlx::query!("UPDATE instances SET instance_id = NULL, public_ip = NULL WHERE id = $1", instance.0)
            .execute(&mut *tx)
            .await?;
        set_failed(&mut tx, instance, why).await?;
        tx.commit().await?;
        self.tell(Change::Instance(instance));
        Ok(())
    }

    /// The machines that instances have.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn machine_ids(&self) -> Result<Vec<InstanceId>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT id, instance_id AS "machine!" FROM instances WHERE instance_id IS NOT NULL"#
        )
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter()
            .map(|row| At { table: "instances", row: row.id }.read("instance_id", &row.machine))
            .collect()
    }

    /// The machine is gone: its attempt is spent, what ran on it has failed by `why`, and the
    /// instance is terminated. What waits goes on waiting where the instance is wanted up and serving.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn machine_gone(&self, instance: RowId, why: &Failure) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let now = Timestamp::now().0;
        spend_attempt(&mut tx, instance).await?;
        fail_open(&mut tx, instance, Open::Running, why).await?;
        sqlx::query!(
            "UPDATE deployments SET outcome = 'replaced', ended_at = coalesce(ended_at, $2)
             WHERE instance = $1 AND (outcome = 'live' OR (outcome IS NULL AND EXISTS (
                 SELECT 1 FROM instances i WHERE i.id = $1 AND i.wanted <> 'present')))",
            instance.0,
            now
        )
        .execute(&mut *tx)
        .await?;
        first_admins::machine_gone(&mut tx, instance).await?;
        set_status(&mut tx, instance, Status::Terminated).await?;
        sqlx::query!(
            "UPDATE instances SET instance_id = NULL, public_ip = NULL, notice = NULL, updated_at = $2 WHERE id = $1",
            instance.0,
            now
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.tell(Change::Instance(instance));
        Ok(())
    }
}
