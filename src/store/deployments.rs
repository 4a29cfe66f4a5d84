//! Reading deployments.

use std::{collections::HashMap, sync::Arc};

use sqlx::SqliteConnection;

use super::{Store, StoreError, error::At};
use crate::domain::{Deployment, DeploymentId, RowId, Timestamp};

pub(super) struct DeploymentRow {
    pub id: i64,
    pub instance: i64,
    pub number: i64,
    pub github_url: Option<String>,
    pub plan: String,
    pub report: String,
    pub log_size: i64,
    pub requested_by: Option<String>,
    pub reason: Option<String>,
    pub created_at: i64,
    pub begun_at: Option<i64>,
    pub first_byte_at: Option<i64>,
    pub step_since: Option<i64>,
    pub ended_at: Option<i64>,
    pub outcome: Option<String>,
    pub failure: Option<String>,
}

impl DeploymentRow {
    pub fn read(self) -> Result<Deployment, StoreError> {
        let at = At { table: "deployments", row: self.id };
        Ok(Deployment {
            id: DeploymentId(self.id),
            instance: RowId(self.instance),
            number: self.number,
            repo: self.github_url.map(|url| at.repo("github_url", &url)).transpose()?,
            plan: at.json("plan", &self.plan)?,
            report: at.json("report", &self.report)?,
            log_size: u64::try_from(self.log_size).unwrap_or_default(),
            requested_by: at.read_opt("requested_by", self.requested_by.as_deref())?,
            reason: at.read_opt("reason", self.reason.as_deref())?,
            created_at: Timestamp(self.created_at),
            begun_at: self.begun_at.map(Timestamp),
            first_byte_at: self.first_byte_at.map(Timestamp),
            step_since: self.step_since.map(Timestamp),
            ended_at: self.ended_at.map(Timestamp),
            outcome: at.read_opt("outcome", self.outcome.as_deref())?,
            failure: self.failure.map(|json| at.json("failure", &json)).transpose()?,
        })
    }
}

/// Selects deployments with the names of who asked for them; the argument is what follows the join.
macro_rules! deployments {
    ($rest:literal $(, $arg:expr)*) => {
        sqlx::query_as!(
            crate::store::deployments::DeploymentRow,
            r#"SELECT d.id, d.instance, d.number, d.github_url, d.plan, d.report, d.log_size,
                    u.username AS "requested_by?", d.reason, d.created_at, d.begun_at, d.first_byte_at, d.step_since, d.ended_at, d.outcome, d.failure
             FROM deployments d LEFT JOIN users u ON u.id = d.requested_by "# + $rest
            $(, $arg)*
        )
    };
}
pub(super) use deployments;

/// The deployment that a page is about: the one that runs, else the newest.
pub(super) async fn shown(
    tx: &mut SqliteConnection,
    instance: RowId,
) -> Result<Option<Deployment>, StoreError> {
    deployments!(
        "WHERE d.instance = $1 ORDER BY (d.outcome IS NULL AND d.begun_at IS NOT NULL) DESC, d.id DESC LIMIT 1",
        instance.0
    )
    .fetch_optional(&mut *tx)
    .await?
    .map(DeploymentRow::read)
    .transpose()
}

/// The same for every instance of an owner, or everyone's, in one query.
pub(super) async fn shown_of_all(
    tx: &mut SqliteConnection,
    owner: Option<i64>,
) -> Result<HashMap<RowId, Deployment>, StoreError> {
    let rows = deployments!(
        "JOIN instances i ON i.id = d.instance
         WHERE ($1 IS NULL OR i.owner_id = $1)
           AND d.id = (SELECT s.id FROM deployments s WHERE s.instance = i.id
                       ORDER BY (s.outcome IS NULL AND s.begun_at IS NOT NULL) DESC, s.id DESC LIMIT 1)",
        owner
    )
    .fetch_all(&mut *tx)
    .await?;
    rows.into_iter().map(|row| row.read().map(|deployment| (deployment.instance, deployment))).collect()
}

impl Store {
    /// The deployments of an instance, the newest first, at most `limit`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn deployments(&self, instance: RowId, limit: u32) -> Result<Arc<[Deployment]>, StoreError> {
        let read = async {
            deployments!("WHERE d.instance = $1 ORDER BY d.id DESC LIMIT $2", instance.0, limit)
                .fetch_all(&self.readers)
                .await?
                .into_iter()
                .map(DeploymentRow::read)
                .collect()
        };
        self.kept(&self.memos.deployments, (instance, limit), read).await
    }

    /// Deployments of an instance with numbers below `before`, the newest first, at most `limit`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn deployments_before(
        &self,
        instance: RowId,
        before: i64,
        limit: u32,
    ) -> Result<Vec<Deployment>, StoreError> {
        deployments!(
            "WHERE d.instance = $1 AND d.number < $2 ORDER BY d.number DESC LIMIT $3",
            instance.0,
            before,
            limit
        )
        .fetch_all(&self.readers)
        .await?
        .into_iter()
        .map(DeploymentRow::read)
        .collect()
    }

    /// The deployment of an instance with this number.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn numbered_deployment(
        &self,
        instance: RowId,
        number: i64,
    ) -> Result<Option<Deployment>, StoreError> {
        deployments!("WHERE d.instance = $1 AND d.number = $2", instance.0, number)
            .fetch_optional(&self.readers)
            .await?
            .map(DeploymentRow::read)
            .transpose()
    }

    /// The newest deployment of an instance that failed.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn failed_deployment(&self, instance: RowId) -> Result<Option<Deployment>, StoreError> {
        deployments!("WHERE d.instance = $1 AND d.outcome = 'failed' ORDER BY d.id DESC LIMIT 1", instance.0)
            .fetch_optional(&self.readers)
            .await?
            .map(DeploymentRow::read)
            .transpose()
    }

    /// One deployment.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn deployment(&self, id: DeploymentId) -> Result<Option<Deployment>, StoreError> {
        deployments!("WHERE d.id = $1", id.0)
            .fetch_optional(&self.readers)
            .await?
            .map(DeploymentRow::read)
            .transpose()
    }

    /// The deployment of an instance whose release serves: the newest that ended live.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn serving_deployment(&self, instance: RowId) -> Result<Option<Deployment>, StoreError> {
        let read = async {
            deployments!(
                "WHERE d.instance = $1 AND d.outcome = 'live' ORDER BY d.id DESC LIMIT 1",
                instance.0
            )
            .fetch_optional(&self.readers)
            .await?
            .map(DeploymentRow::read)
            .transpose()
        };
        self.kept(&self.memos.serving, instance, read).await
    }
}
