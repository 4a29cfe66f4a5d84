//! Reading instances, and what their owners want of them.

use std::sync::Arc;

use super::{Change, Store, StoreError, error::At};
use crate::domain::{
    Deployment, ImageId, Instance, Reboot, RowId, ServerName, Status, Timestamp, UserId, Wanted,
};

pub(super) struct InstanceRow {
    pub id: i64,
    pub name: String,
    pub owner_id: i64,
    pub owner_name: String,
    pub github_url: String,
    pub project_name: String,
    pub branch: Option<String>,
    pub description: String,
    pub wanted: String,
    pub pending: bool,
    pub reboot_asked_at: Option<i64>,
    pub reboot_sent_at: Option<i64>,
    pub status: String,
    pub status_since: i64,
    pub instance_id: Option<String>,
    pub public_ip: Option<String>,
    pub machine_type: Option<String>,
    pub database: Option<String>,
    pub image_id: Option<i64>,
    pub failure: Option<String>,
    pub notice: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
}

impl InstanceRow {
    pub fn read(self) -> Result<Instance, StoreError> {
        let at = At { table: "instances", row: self.id };
        Ok(Instance {
            row: RowId(self.id),
            name: at.read("name", &self.name)?,
            owner: UserId(self.owner_id),
            owner_name: at.read("owner_id", &self.owner_name)?,
            repo: at.repo("github_url", &self.github_url)?,
            project: at.read("project_name", &self.project_name)?,
            branch: at.read_opt("branch", self.branch.as_deref())?,
            description: self.description,
            wanted: at.read("wanted", &self.wanted)?,
            pending: self.pending,
            reboot: self.reboot_asked_at.map(|_| match self.reboot_sent_at {
                Some(at) => Reboot::Sent(Timestamp(at)),
                None => Reboot::Asked,
            }),
            status: at.read("status", &self.status)?,
            status_since: Timestamp(self.status_since),
            instance_id: at.read_opt("instance_id", self.instance_id.as_deref())?,
            public_ip: at.read_opt("public_ip", self.public_ip.as_deref())?,
            machine_type: at.read_opt("machine_type", self.machine_type.as_deref())?,
            database: at.read_opt("database", self.database.as_deref())?,
            image: self.image_id.map(ImageId),
            failure: self.failure.map(|json| at.json("failure", &json)).transpose()?,
            notice: self.notice,
            created_at: Timestamp(self.created_at),
            updated_at: Timestamp(self.updated_at),
        })
    }
}

/// Selects instances with their owners' names; the argument is what follows the join.
macro_rules! instances {
    ($rest:literal $(, $arg:expr)*) => {
        sqlx::query_as!(
            crate::store::instances::InstanceRow,
            r#"SELECT i.id, i.name, i.owner_id, u.username AS owner_name, i.github_url, i.project_name, i.branch,
                    i.description, i.wanted, i.generation <> i.observed_generation AS "pending!: bool",
                    i.reboot_asked_at, i.reboot_sent_at, i.status,
                    i.status_since, i.instance_id, i.public_ip, i.machine_type, i.database, i.image_id, i.failure, i.notice,
                    i.created_at, i.updated_at
             FROM instances i JOIN users u ON u.id = i.owner_id "# + $rest
            $(, $arg)*
        )
    };
}
pub(super) use instances;

/// An instance and the newest of its deployments, as the list and the detail page show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Overview {
    /// The instance.
    pub instance: Instance,
    /// The deployment that runs or was asked for last; an instance has one from its first minute.
    pub newest: Option<Deployment>,
}

impl Store {
    /// The instance of this name with its newest deployment, where there is one.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn instance(&self, name: &ServerName) -> Result<Option<Overview>, StoreError> {
        let read = async {
            let mut tx = self.readers.begin().await?;
            let text = name.as_str();
            let Some(row) = instances!("WHERE i.name = $1", text).fetch_optional(&mut *tx).await? else {
                return Ok(None);
            };
            let instance = row.read()?;
            let newest = super::deployments::shown(&mut tx, instance.row).await?;
            Ok(Some(Overview { instance, newest }))
        };
        self.kept(&self.memos.instances, name.clone(), read).await
    }

    /// The same, by row.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn instance_by_row(&self, row: RowId) -> Result<Option<Overview>, StoreError> {
        let mut tx = self.readers.begin().await?;
        let Some(found) = instances!("WHERE i.id = $1", row.0).fetch_optional(&mut *tx).await? else {
            return Ok(None);
        };
        let instance = found.read()?;
        let newest = super::deployments::shown(&mut tx, row).await?;
        Ok(Some(Overview { instance, newest }))
    }

    /// The instances of one person, or everyone's where `owner` is none, the newest change first,
    /// each with its newest deployment.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn instances(&self, owner: Option<UserId>) -> Result<Arc<[Arc<Overview>]>, StoreError> {
        let read = async {
            let mut tx = self.readers.begin().await?;
            let owner = owner.map(|owner| owner.0);
            let rows = instances!(
                "WHERE $1 IS NULL OR i.owner_id = $1 ORDER BY i.updated_at DESC, i.id DESC",
                owner
            )
            .fetch_all(&mut *tx)
            .await?;
            let mut newest = super::deployments::shown_of_all(&mut tx, owner).await?;
            rows.into_iter()
                .map(|row| {
                    let instance = row.read()?;
                    let newest = newest.remove(&instance.row);
                    Ok(Arc::new(Overview { instance, newest }))
                })
                .collect()
        };
        self.kept(&self.memos.lists, owner, read).await
    }

    /// Writes what the owner wants of an instance. False where nothing changed: it was wanted
    /// already, or the instance is on its way to being gone.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn want(&self, row: RowId, wanted: Wanted) -> Result<bool, StoreError> {
        let (now, terminated) = (Timestamp::now().0, Status::Terminated.name());
        let value = wanted.name();
        let mut tx = self.begin().await?;
        let mut changed = sqlx::query!(
            "UPDATE instances SET wanted = $2, generation = generation + 1, updated_at = $3
             WHERE id = $1 AND wanted <> $2 AND wanted <> 'absent' AND status <> $4",
            row.0,
            value,
            now,
            terminated
        )
        .execute(&mut *tx)
        .await?
        .rows_affected()
            > 0;
        if wanted == Wanted::Absent {
            // One that is gone and was to be deployed again stays gone: what waits is given up.
            changed |= sqlx::query!(
                "UPDATE deployments SET outcome = 'replaced', ended_at = $2
                 WHERE instance = $1 AND outcome IS NULL AND begun_at IS NULL
                   AND EXISTS (SELECT 1 FROM instances WHERE id = $1 AND status = $3)",
                row.0,
                now,
                terminated
            )
            .execute(&mut *tx)
            .await?
            .rows_affected()
                > 0;
        }
        tx.commit().await?;
        if changed {
            self.tell(Change::Instance(row));
        }
        Ok(changed)
    }
}
