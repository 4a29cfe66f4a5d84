//! Attempts: the launch token and the complete request, saved before the call. While an attempt is
//! open there is no other, so whatever happens there is one machine at most.

use std::net::IpAddr;

use sqlx::SqliteConnection;

use super::{Change, Store, StoreError, error::At, lifecycle};
use crate::domain::{DeploymentId, Failure, ImageId, InstanceId, RowId, Status, Timestamp};

/// One try to get a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The launch token.
    pub token: String,
    /// The complete request as JSON, so that a repetition sends identical bytes.
    pub request: String,
    /// When the request was last sent of those sendings of which it is not known what came of them; none where nothing
    /// can have come of it.
    pub sent_at: Option<Timestamp>,
    /// The machine, once the cloud has given its id.
    pub instance_id: Option<InstanceId>,
    /// When it was saved.
    pub created_at: Timestamp,
    /// When the cloud gave the machine's id.
    pub launched_at: Option<Timestamp>,
    /// The cloud's id of the public IP that the machine keeps, where it has one.
    pub address: Option<String>,
}

/// The attempt that is open or has brought the machine, where there is one.
pub(super) async fn current(
    tx: &mut SqliteConnection,
    instance: RowId,
) -> Result<Option<Attempt>, StoreError> {
    let row = sqlx::query!(
        "SELECT id, token, request, sent_at, instance_id, created_at, launched_at, address FROM attempts
         WHERE instance = $1 AND state IN ('open', 'launched')",
        instance.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    row.map(|row| {
        let at = At { table: "attempts", row: row.id };
        Ok(Attempt {
            token: row.token,
            request: row.request,
            sent_at: row.sent_at.map(Timestamp),
            instance_id: at.read_opt("instance_id", row.instance_id.as_deref())?,
            created_at: Timestamp(row.created_at),
            launched_at: row.launched_at.map(Timestamp),
            address: row.address,
        })
    })
    .transpose()
}

impl Store {
    /// The attempt of an instance that is open or has brought its machine.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn attempt(&self, instance: RowId) -> Result<Option<Attempt>, StoreError> {
        current(&mut *self.readers.begin().await?, instance).await
    }

    /// Saves an attempt with its complete request, whose user data carries `deployment`; nothing where that
    /// deployment waits no more, or the image is about to be deleted.
    ///
    /// # Errors
    /// Where the instance is not `requested`, or has an attempt already.
    pub async fn begin_attempt(
        &self,
        instance: RowId,
        deployment: DeploymentId,
        image: ImageId,
        token: &str,
        request: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let now = Timestamp::now().0;
        let kept = sqlx::query!("SELECT id FROM images WHERE id = $1 AND delete_asked_at IS NULL", image.0)
            .fetch_optional(&mut *tx)
            .await?;
        if kept.is_none() {
            // The next look takes another image.
            return Ok(());
        }
        let begun = sqlx::query!(
            "UPDATE deployments SET begun_at = $2 WHERE id = $1 AND outcome IS NULL AND begun_at IS NULL",
            deployment.0,
            now
        )
        .execute(&mut *tx)
        .await?;
        if begun.rows_affected() == 0 {
            // A newer one took its place meanwhile: the next look makes a request with that.
            return Ok(());
        }
        sqlx::query!(
            "INSERT INTO attempts (instance, token, request, image_id, state, created_at)
             VALUES ($1, $2, $3, $4, 'open', $5)",
            instance.0,
            token,
            request,
            image.0,
            now
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!("UPDATE instances SET image_id = $2, notice = NULL WHERE id = $1", instance.0, image.0)
            .execute(&mut *tx)
            .await?;
        lifecycle::set_status(&mut tx, instance, Status::Launching).await?;
        // What it deploys may be called otherwise than what was deployed before.
        self.scrubbers.forget(instance);
        tx.commit().await?;
        self.tell(Change::Instance(instance));
        Ok(())
    }

    /// Notes that an attempt's request is about to be sent, the first time or again.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn attempt_sent(&self, token: &str) -> Result<(), StoreError> {
        let now = Timestamp::now().0;
        sqlx::query!("UPDATE attempts SET sent_at = $2 WHERE token = $1", token, now)
            .execute(&mut *self.writer.statement().await?)
            .await?;
        Ok(())
    }

    /// Notes that nothing came of an attempt's last request: what is not known is what came of the one before it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn attempt_unsent(&self, token: &str, before: Option<Timestamp>) -> Result<(), StoreError> {
        let before = before.map(|at| at.0);
        sqlx::query!("UPDATE attempts SET sent_at = $2 WHERE token = $1 AND state = 'open'", token, before)
            .execute(&mut *self.writer.statement().await?)
            .await?;
        Ok(())
    }

    /// Writes the machine's id back. The launch token alone decides whose it is. False where the
    /// attempt is not open, and nothing was written.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn attempt_launched(
        &self,
        token: &str,
        id: &InstanceId,
        public_ip: Option<IpAddr>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let (id, ip) = (id.as_str(), public_ip.map(|ip| ip.to_string()));
        let now = Timestamp::now().0;
        let row = sqlx::query!(
            "UPDATE attempts SET state = 'launched', instance_id = $2, launched_at = $3
             WHERE token = $1 AND state = 'open' RETURNING instance",
            token,
            id,
            now
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(false) };
        let instance = RowId(row.instance);
        sqlx::query!(
            "UPDATE instances SET instance_id = $2, public_ip = $3, notice = NULL WHERE id = $1",
            instance.0,
            id,
            ip
        )
        .execute(&mut *tx)
        .await?;
        if lifecycle::status(&mut tx, instance).await? == Status::Launching {
            lifecycle::set_status(&mut tx, instance, Status::Booting).await?;
        }
        tx.commit().await?;
        self.tell(Change::Instance(instance));
        Ok(true)
    }

    /// Ends an attempt whose place had no room: its deployment waits again, for an attempt in another place. Where the
    /// instance is not being launched any more only the attempt ends.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn attempt_elsewhere(&self, token: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let now = Timestamp::now().0;
        let row = sqlx::query!(
            "UPDATE attempts SET state = 'refused', refusal = 'elsewhere', ended_at = $2
             WHERE token = $1 AND state = 'open' RETURNING instance",
            token,
            now
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(()) };
        let instance = RowId(row.instance);
        if lifecycle::status(&mut tx, instance).await? == Status::Launching {
            // One that was asked for meanwhile takes its place.
            sqlx::query!(
                "UPDATE deployments SET outcome = 'replaced', ended_at = $2
                 WHERE instance = $1 AND outcome IS NULL AND begun_at IS NOT NULL AND EXISTS (
                     SELECT 1 FROM deployments d WHERE d.instance = $1 AND d.outcome IS NULL AND d.begun_at IS NULL)",
                instance.0,
                now
            )
            .execute(&mut *tx)
            .await?;
            sqlx::query!(
                "UPDATE deployments SET begun_at = NULL WHERE instance = $1 AND outcome IS NULL",
                instance.0
            )
            .execute(&mut *tx)
            .await?;
            lifecycle::set_status(&mut tx, instance, Status::Requested).await?;
        }
        tx.commit().await?;
        self.tell(Change::Instance(instance));
        Ok(())
    }

    /// The subnets that had no room for an instance since then, in the order they were tried in.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn subnets_without_room(
        &self,
        instance: RowId,
        since: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT request ->> '$.placement.subnet' AS "subnet: String" FROM attempts
             WHERE instance = $1 AND refusal = 'elsewhere' AND created_at >= $2 ORDER BY id"#,
            instance.0,
            since.0
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.into_iter().filter_map(|row| row.subnet).collect())
    }

    /// Notes the public IP that an attempt's machine keeps, by the cloud's id of it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn attempt_address(&self, token: &str, address: &str, ip: IpAddr) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let ip = ip.to_string();
        let row = sqlx::query!(
            "UPDATE attempts SET address = $2 WHERE token = $1 AND state = 'launched' RETURNING instance",
            token,
            address
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(()) };
        sqlx::query!("UPDATE instances SET public_ip = $2 WHERE id = $1", row.instance, ip)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        self.tell(Change::Instance(RowId(row.instance)));
        Ok(())
    }

    /// Ends an attempt that the cloud definitely refused, or that was never sent; with a failure the
    /// instance and its deployment fail by it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn attempt_refused(&self, token: &str, failure: Option<&Failure>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let now = Timestamp::now().0;
        let row = sqlx::query!(
            "UPDATE attempts SET state = 'refused', ended_at = $2 WHERE token = $1 AND state = 'open'
             RETURNING instance",
            token,
            now
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(()) };
        let instance = RowId(row.instance);
        if let Some(failure) = failure {
            lifecycle::fail_open(&mut tx, instance, lifecycle::Open::Running, failure).await?;
            lifecycle::set_failed(&mut tx, instance, failure).await?;
        }
        tx.commit().await?;
        self.tell(Change::Instance(instance));
        Ok(())
    }
}
