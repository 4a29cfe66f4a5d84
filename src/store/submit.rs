//! The accepted form: update or create, keyed on the name, with the deployment that it asks for.

use sha2::{Digest, Sha256};
use sqlx::SqliteConnection;

use super::{
    AdminError, Change, Store, StoreError, VariablesError,
    edit::{Form, change},
    error::{At, to_json},
    instances::instances,
    machine_type::TypeWish,
};
use crate::domain::{
    AdminName, Branch, Database, DeploymentId, MachineType, Plan, ProjectName, Reason, RepoUrl, Report,
    RowId, ServerName, Status, Timestamp, UserId, Variable,
};

/// What a form asks for, once preflight has made a plan of it.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Who asks.
    pub owner: UserId,
    /// The name that was typed; none takes the first free slug of the project's name.
    pub name: Option<ServerName>,
    /// The repository.
    pub repo: RepoUrl,
    /// The directory that holds `manage.py`.
    pub project: ProjectName,
    /// The branch that was asked for; none follows the repository's default.
    pub branch: Option<Branch>,
    /// What the owner says of it.
    pub description: String,
    /// The type of machine that was asked for.
    pub machine_type: TypeWish,
    /// The database that was chosen; none leaves it as the project says.
    pub database: Option<Database>,
    /// Variables that were typed besides.
    pub variables: Vec<Variable>,
    /// The admin that the deployment is to make in the project.
    pub first_admin: Option<AdminName>,
    /// How the commit is to be deployed.
    pub plan: Plan,
    /// Whether another repository may take the place of the instance's own.
    pub replace: bool,
    /// When the request came in, before preflight: a second one that came before the first was
    /// answered is the same wish.
    pub received_at: Timestamp,
}

/// What came of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// The instance's name.
    pub name: ServerName,
    /// The deployment that was asked for; the one that serves, where nothing is to be deployed anew.
    pub deployment: DeploymentId,
}

/// Why a form was not accepted though every field is right.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The name is another person's.
    #[error("this name is taken")]
    NameTaken,
    /// The name is one's own, with another repository or project on it.
    #[error("this instance has another repository: {repo}")]
    NeedsReplace {
        /// The repository that is on it.
        repo: RepoUrl,
    },
    /// The instance is being terminated.
    #[error("this instance is being terminated")]
    Terminating,
    /// The instance has been changed since it was looked at.
    #[error("this instance was changed meanwhile")]
    Changed,
    /// Another type of machine was asked for than the instance's machine is of.
    #[error("this instance has a machine of type {machine_type}")]
    OtherType {
        /// The type that its machine is of.
        machine_type: MachineType,
    },
    /// The owner has as many instances as an owner may.
    #[error("an owner may have {limit} instances at most")]
    TooMany {
        /// How many that is.
        limit: u32,
    },
    /// The variables were not kept.
    #[error(transparent)]
    Variables(VariablesError),
    /// The instance has a first admin whose password nobody has seen yet.
    #[error("the password of the admin before was not shown yet")]
    AdminUnshown,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<VariablesError> for SubmitError {
    fn from(error: VariablesError) -> Self {
        match error {
            VariablesError::Store(error) => Self::Store(error),
            refused => Self::Variables(refused),
        }
    }
}

impl From<AdminError> for SubmitError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Store(error) => Self::Store(error),
            AdminError::Unshown => Self::AdminUnshown,
        }
    }
}

impl From<sqlx::Error> for SubmitError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Seconds after an answer in which a repetition still counts as the same double click: the time
/// an answer takes to reach a person.
const DOUBLE_CLICK_SECONDS: i64 = 2;

impl Submission {
    /// What was typed, as one short text; of variables their names, since a digest of a short value tells it.
    fn digest(&self) -> String {
        let names: Vec<_> = self.variables.iter().map(|variable| variable.name.as_str()).collect();
        let typed = [
            self.name.as_ref().map_or("", ServerName::as_str),
            self.repo.as_str(),
            self.project.as_str(),
            self.branch.as_ref().map_or("", Branch::as_str),
            &self.description,
            self.machine_type.chosen.as_ref().map_or("", MachineType::as_str),
            self.database.map_or("", Database::name),
            self.first_admin.as_ref().map_or("", AdminName::as_str),
            &names.join(" "),
        ];
        hex::encode(Sha256::digest(typed.join("\n")))
    }
}

impl Store {
    /// Makes the instance or updates the owner's own of this name, and queues the plan's deployment.
    ///
    /// # Errors
    /// [`SubmitError`] says which wish cannot be met; nothing was written then.
    pub async fn submit(&self, submission: &Submission) -> Result<Submitted, SubmitError> {
        let mut tx = self.begin().await?;
        if let Some(first) = same_wish(&mut tx, submission).await? {
            return Ok(first);
        }
        if let Some(told) = describe_alone(&mut tx, submission).await? {
            tx.commit().await.map_err(StoreError::from)?;
            self.tell(Change::Instance(told.0));
            return Ok(told.1);
        }
        let made = match &submission.name {
            Some(name) => insert(&mut tx, submission, name).await?.map(|row| (row, name.clone())),
            None => Some(insert_under_free_name(&mut tx, submission).await?),
        };
        let (row, name, reason) = match (made, &submission.name) {
            (Some((row, name)), _) => (row, name, Reason::First),
            (None, Some(name)) => {
                let (row, reason) = take_over(&mut tx, submission, name).await?;
                (row, name.clone(), reason)
            }
            (None, None) => return Err(SubmitError::NameTaken),
        };
        self.check_limit(&mut tx, row, submission.owner, reason).await?;
        self.put_variables(&mut tx, row, &submission.variables, false).await?;
        if let Some(name) = &submission.first_admin {
            self.put_first_admin(&mut tx, row, name).await?;
        }
        let asked = Asked { by: submission.owner, reason, digest: &submission.digest() };
        let deployment = queue(&mut tx, row, &submission.plan, asked).await?;
        tx.commit().await.map_err(StoreError::from)?;
        self.tell(Change::Instance(row));
        Ok(Submitted { name, deployment })
    }

    /// Queues a deployment of `plan`, made of `repo`, on an instance as it is: Redeploy, Try again, Deploy again.
    /// One that waits already is replaced by it.
    ///
    /// # Errors
    /// [`SubmitError::Terminating`] while the instance is on its way out, [`SubmitError::Changed`] where it has
    /// another repository or project by now, [`SubmitError::TooMany`] where it would come back as one too many.
    pub async fn redeploy(
        &self,
        row: RowId,
        repo: &RepoUrl,
        plan: &Plan,
        by: UserId,
        received_at: Timestamp,
    ) -> Result<DeploymentId, SubmitError> {
        let mut tx = self.begin().await?;
        let digest = format!("redeploy {}", plan.commit);
        if let Some(first) = asked_before(&mut tx, row, &digest, received_at).await? {
            return Ok(first);
        }
        let (now, repo, project) = (Timestamp::now().0, repo.as_str(), plan.project.as_str());
        let found = sqlx::query!(
            r#"UPDATE instances SET wanted = 'present', generation = generation + 1, updated_at = $2
             WHERE id = $1 AND (wanted <> 'absent' OR status = 'terminated')
             RETURNING status, github_url = $3 AND project_name = $4 AS "same!: bool""#,
            row.0,
            now,
            repo,
            project
        )
        .fetch_optional(&mut *tx)
        .await?;
        let reason = match found {
            None => return Err(SubmitError::Terminating),
            Some(found) if !found.same => return Err(SubmitError::Changed),
            Some(found) => again(At { table: "instances", row: row.0 }.read("status", &found.status)?),
        };
        self.check_limit(&mut tx, row, by, reason).await?;
        let id = queue(&mut tx, row, plan, Asked { by, reason, digest: &digest }).await?;
        tx.commit().await.map_err(StoreError::from)?;
        self.tell(Change::Instance(row));
        Ok(id)
    }
}

/// Why an instance in this status is deployed once more as it is.
pub(super) fn again(status: Status) -> Reason {
    match status {
        Status::Failed => Reason::TryAgain,
        Status::Stopping | Status::Stopped => Reason::Start,
        Status::Terminated => Reason::DeployAgain,
        Status::Requested
        | Status::Launching
        | Status::Booting
        | Status::Deploying
        | Status::Live
        | Status::Starting
        | Status::Terminating => Reason::Redeploy,
    }
}

/// The deployment that an earlier request with the same inputs asked for, where this one came in before that was
/// answered.
pub(super) async fn asked_before(
    tx: &mut SqliteConnection,
    row: RowId,
    digest: &str,
    received_at: Timestamp,
) -> Result<Option<DeploymentId>, StoreError> {
    let earliest = received_at.plus_seconds(-DOUBLE_CLICK_SECONDS).0;
    let first = sqlx::query!(
        "SELECT id FROM deployments
         WHERE instance = $1 AND submission = $2 AND created_at >= $3 AND outcome IS NOT 'failed'",
        row.0,
        digest,
        earliest
    )
    .fetch_optional(&mut *tx)
    .await?;
    Ok(first.map(|first| DeploymentId(first.id)))
}

/// What an earlier request of the same person with the same inputs made, where this one came in
/// before that was answered.
async fn same_wish(tx: &mut SqliteConnection, wish: &Submission) -> Result<Option<Submitted>, SubmitError> {
    let digest = wish.digest();
    let earliest = wish.received_at.plus_seconds(-DOUBLE_CLICK_SECONDS).0;
    let row = sqlx::query!(
        "SELECT d.id, i.name FROM deployments d JOIN instances i ON i.id = d.instance
         WHERE i.owner_id = $1 AND d.submission = $2 AND d.created_at >= $3
         ORDER BY d.id DESC LIMIT 1",
        wish.owner.0,
        digest,
        earliest
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let name = At { table: "instances", row: row.id }.read("name", &row.name)?;
    Ok(Some(Submitted { name, deployment: DeploymentId(row.id) }))
}

/// Writes another description of an instance that is as it is wished for already, down to the commit: that
/// alone deploys nothing.
async fn describe_alone(
    tx: &mut SqliteConnection,
    wish: &Submission,
) -> Result<Option<(RowId, Submitted)>, SubmitError> {
    let Some(name) = &wish.name else { return Ok(None) };
    if !wish.variables.is_empty() || wish.first_admin.is_some() {
        return Ok(None);
    }
    let database = wish.database.map(Database::name);
    let (text, repo, project) = (name.as_str(), wish.repo.as_str(), wish.project.as_str());
    let branch = wish.branch.as_ref().map(Branch::as_str);
    let (now, commit) = (Timestamp::now().0, wish.plan.commit.as_str());
    let chosen = wish.machine_type.chosen.as_ref().map(MachineType::as_str);
    let default = wish.machine_type.default.as_ref().map(MachineType::as_str);
    // The second click of a double click finds the description written already.
    let earliest = wish.received_at.plus_seconds(-DOUBLE_CLICK_SECONDS).0;
    let row = sqlx::query!(
        "UPDATE instances SET description = $6, updated_at = $7
         WHERE name = $1 AND owner_id = $2 AND github_url = $3 AND project_name = $4 AND branch IS $5
           AND (description <> $6 OR updated_at >= $9) AND status = 'live' AND wanted = 'present'
           AND database IS $12
           AND ($10 IS NULL OR $10 = coalesce(machine_type, $11))
           AND $8 = (SELECT json_extract(d.plan, '$.commit') FROM deployments d
                     WHERE d.instance = instances.id AND d.outcome = 'live')
           AND NOT EXISTS (SELECT 1 FROM deployments d WHERE d.instance = instances.id AND d.outcome IS NULL)
         RETURNING id",
        text,
        wish.owner.0,
        repo,
        project,
        branch,
        wish.description,
        now,
        commit,
        earliest,
        chosen,
        default,
        database
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let serving = sqlx::query!("SELECT id FROM deployments WHERE instance = $1 AND outcome = 'live'", row.id)
        .fetch_one(&mut *tx)
        .await?;
    let submitted = Submitted { name: name.clone(), deployment: DeploymentId(serving.id) };
    Ok(Some((RowId(row.id), submitted)))
}

/// Inserts the instance under a name; none where the name is taken, as the unique index tells.
async fn insert(
    tx: &mut SqliteConnection,
    wish: &Submission,
    name: &ServerName,
) -> Result<Option<RowId>, StoreError> {
    let (name, repo, project) = (name.as_str(), wish.repo.as_str(), wish.project.as_str());
    let branch = wish.branch.as_ref().map(Branch::as_str);
    let (now, requested) = (Timestamp::now().0, Status::Requested.name());
    let machine_type = wish.machine_type.of_new().map(MachineType::as_str);
    let database = wish.database.map(Database::name);
    let row = sqlx::query!(
        r#"INSERT INTO instances (name, owner_id, github_url, project_name, branch, description, wanted, status,
                                status_since, created_at, updated_at, machine_type, database)
         VALUES ($1, $2, $3, $4, $5, $6, 'present', $7, $8, $8, $8, $9, $10)
         ON CONFLICT (name) DO NOTHING RETURNING id AS "id!""#,
        name,
        wish.owner.0,
        repo,
        project,
        branch,
        wish.description,
        requested,
        now,
        machine_type,
        database
    )
    .fetch_optional(&mut *tx)
    .await?;
    Ok(row.map(|row| RowId(row.id)))
}

/// Inserts the instance under the first free slug of the project's name: `shop`, `shop-2`, …
async fn insert_under_free_name(
    tx: &mut SqliteConnection,
    wish: &Submission,
) -> Result<(RowId, ServerName), SubmitError> {
    let slug = ServerName::slug(wish.project.as_str(), "site");
    for n in 1.. {
        let name = if n == 1 { slug.clone() } else { slug.numbered(n) };
        if let Some(row) = insert(tx, wish, &name).await? {
            return Ok((row, name));
        }
    }
    Err(SubmitError::NameTaken)
}

/// Updates the owner's own instance of this name to what a form asks for.
async fn take_over(
    tx: &mut SqliteConnection,
    wish: &Submission,
    name: &ServerName,
) -> Result<(RowId, Reason), SubmitError> {
    let name = name.as_str();
    let there = instances!("WHERE i.name = $1", name).fetch_one(&mut *tx).await?.read()?;
    if there.owner != wish.owner {
        return Err(SubmitError::NameTaken);
    }
    let form = Form {
        repo: &wish.repo,
        project: &wish.project,
        branch: wish.branch.as_ref(),
        description: &wish.description,
        machine_type: &wish.machine_type,
        database: wish.database,
    };
    Ok((there.row, change(tx, &there, form, wish.replace).await?))
}

/// Who asked for a deployment, why, and what was typed.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub by: UserId,
    pub reason: Reason,
    pub digest: &'a str,
}

/// Queues a deployment; the one that waited, if any, is replaced: the newest wins.
pub(super) async fn queue(
    tx: &mut SqliteConnection,
    instance: RowId,
    plan: &Plan,
    asked: Asked<'_>,
) -> Result<DeploymentId, StoreError> {
    let now = Timestamp::now().0;
    let (plan, report, reason) = (to_json(plan)?, to_json(&Report::default())?, asked.reason.name());
    sqlx::query!(
        "UPDATE deployments SET outcome = 'replaced', ended_at = $2
         WHERE instance = $1 AND outcome IS NULL AND begun_at IS NULL",
        instance.0,
        now
    )
    .execute(&mut *tx)
    .await?;
    let row = sqlx::query!(
        r#"INSERT INTO deployments (instance, number, plan, report, submission, requested_by, created_at, reason,
                                 github_url)
         SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, $6, $7,
                (SELECT github_url FROM instances WHERE id = $1)
         FROM deployments WHERE instance = $1
         RETURNING id AS "id!""#,
        instance.0,
        plan,
        report,
        asked.digest,
        asked.by.0,
        now,
        reason
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(DeploymentId(row.id))
}
