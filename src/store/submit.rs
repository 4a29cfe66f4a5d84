//! The accepted form: update or create, keyed on the name, with the deployment that it asks for.

use sha2::{Digest, Sha256};
use sqlx::{Sqlite, Transaction};

use super::{Change, Store, StoreError, error::to_json};
use crate::domain::{
    Branch, DeploymentId, Plan, ProjectName, RepoUrl, Report, RowId, ServerName, Status, Timestamp, UserId,
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
    /// The instance has got another repository or project since the plan was made.
    #[error("this instance was changed meanwhile")]
    Changed,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    /// What was typed, as one short text.
    fn digest(&self) -> String {
        let typed = [
            self.name.as_ref().map_or("", ServerName::as_str),
            self.repo.as_str(),
            self.project.as_str(),
            self.branch.as_ref().map_or("", Branch::as_str),
            &self.description,
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
        let (row, name) = match &submission.name {
            Some(name) => (upsert(&mut tx, submission, name).await?, name.clone()),
            None => insert_under_free_name(&mut tx, submission).await?,
        };
        let deployment =
            queue(&mut tx, row, &submission.plan, submission.owner, &submission.digest()).await?;
        tx.commit().await.map_err(StoreError::from)?;
        self.tell(Change::Instance(row));
        Ok(Submitted { name, deployment })
    }

    /// Queues a deployment of `plan`, made of `repo`, on an instance as it is: Redeploy, Try again, Deploy again.
    /// One that waits already is replaced by it.
    ///
    /// # Errors
    /// [`SubmitError::Terminating`] while the instance is on its way out, [`SubmitError::Changed`] where it has
    /// another repository or project by now.
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
        if let Some(first) = first {
            return Ok(DeploymentId(first.id));
        }
        let (now, repo, project) = (Timestamp::now().0, repo.as_str(), plan.project.as_str());
        let found = sqlx::query!(
            r#"UPDATE instances SET wanted = 'present', generation = generation + 1, updated_at = $2
             WHERE id = $1 AND (wanted <> 'absent' OR status = 'terminated')
             RETURNING github_url = $3 AND project_name = $4 AS "same!: bool""#,
            row.0,
            now,
            repo,
            project
        )
        .fetch_optional(&mut *tx)
        .await?;
        match found {
            None => return Err(SubmitError::Terminating),
            Some(found) if !found.same => return Err(SubmitError::Changed),
            Some(_) => {}
        }
        let id = queue(&mut tx, row, plan, by, &digest).await?;
        tx.commit().await.map_err(StoreError::from)?;
        self.tell(Change::Instance(row));
        Ok(id)
    }
}

/// What an earlier request of the same person with the same inputs made, where this one came in
/// before that was answered.
async fn same_wish(
    tx: &mut Transaction<'_, Sqlite>,
    wish: &Submission,
) -> Result<Option<Submitted>, SubmitError> {
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
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let name = super::error::At { table: "instances", row: row.id }.read("name", &row.name)?;
    Ok(Some(Submitted { name, deployment: DeploymentId(row.id) }))
}

/// Writes another description of an instance that is as it is wished for already, down to the commit: that
/// alone deploys nothing.
async fn describe_alone(
    tx: &mut Transaction<'_, Sqlite>,
    wish: &Submission,
) -> Result<Option<(RowId, Submitted)>, SubmitError> {
    let Some(name) = &wish.name else { return Ok(None) };
    let (text, repo, project) = (name.as_str(), wish.repo.as_str(), wish.project.as_str());
    let branch = wish.branch.as_ref().map(Branch::as_str);
    let (now, commit) = (Timestamp::now().0, wish.plan.commit.as_str());
    // The second click of a double click finds the description written already.
    let earliest = wish.received_at.plus_seconds(-DOUBLE_CLICK_SECONDS).0;
    let row = sqlx::query!(
        "UPDATE instances SET description = $6, updated_at = $7
         WHERE name = $1 AND owner_id = $2 AND github_url = $3 AND project_name = $4 AND branch IS $5
           AND (description <> $6 OR updated_at >= $9) AND status = 'live' AND wanted = 'present'
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
        earliest
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let serving = sqlx::query!("SELECT id FROM deployments WHERE instance = $1 AND outcome = 'live'", row.id)
        .fetch_one(&mut **tx)
        .await?;
    let submitted = Submitted { name: name.clone(), deployment: DeploymentId(serving.id) };
    Ok(Some((RowId(row.id), submitted)))
}

/// Inserts the instance, or updates the owner's own of this name. The unique index tells that a name is taken.
async fn upsert(
    tx: &mut Transaction<'_, Sqlite>,
    wish: &Submission,
    name: &ServerName,
) -> Result<RowId, SubmitError> {
    let (name, repo, project) = (name.as_str(), wish.repo.as_str(), wish.project.as_str());
    let branch = wish.branch.as_ref().map(Branch::as_str);
    let (now, requested) = (Timestamp::now().0, Status::Requested.name());
    let row = sqlx::query!(
        "INSERT INTO instances (name, owner_id, github_url, project_name, branch, description, wanted, status,
                                status_since, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, 'present', $7, $8, $8, $8)
         ON CONFLICT (name) DO UPDATE SET
             github_url = excluded.github_url, project_name = excluded.project_name, branch = excluded.branch,
             description = excluded.description, wanted = 'present', generation = generation + 1,
             updated_at = excluded.updated_at
         WHERE owner_id = excluded.owner_id
           AND (status = 'terminated' OR wanted <> 'absent')
           AND ($9 OR status = 'terminated'
                OR (github_url = excluded.github_url AND project_name = excluded.project_name))
         RETURNING id",
        name,
        wish.owner.0,
        repo,
        project,
        branch,
        wish.description,
        requested,
        now,
        wish.replace
    )
    .fetch_optional(&mut **tx)
    .await?;
    match row {
        Some(row) => Ok(RowId(row.id)),
        None => Err(refusal(tx, wish.owner, name).await?),
    }
}

/// Which of the upsert's conditions did not hold.
async fn refusal(
    tx: &mut Transaction<'_, Sqlite>,
    owner: UserId,
    name: &str,
) -> Result<SubmitError, StoreError> {
    let there = sqlx::query!("SELECT id, owner_id, github_url, wanted FROM instances WHERE name = $1", name)
        .fetch_one(&mut **tx)
        .await?;
    if there.owner_id != owner.0 {
        return Ok(SubmitError::NameTaken);
    }
    if there.wanted == "absent" {
        return Ok(SubmitError::Terminating);
    }
    let repo = RepoUrl::from_stored(&there.github_url).map_err(|problem| StoreError::Impossible {
        table: "instances",
        column: "github_url",
        row: there.id,
        problem: problem.to_string(),
    })?;
    Ok(SubmitError::NeedsReplace { repo })
}

/// Inserts the instance under the first free slug of the project's name: `shop`, `shop-2`, …
async fn insert_under_free_name(
    tx: &mut Transaction<'_, Sqlite>,
    wish: &Submission,
) -> Result<(RowId, ServerName), SubmitError> {
    let slug = ServerName::slug(wish.project.as_str(), "site");
    let branch = wish.branch.as_ref().map(Branch::as_str);
    let (repo, project) = (wish.repo.as_str(), wish.project.as_str());
    let (now, requested) = (Timestamp::now().0, Status::Requested.name());
    for n in 1.. {
        let name = if n == 1 { slug.clone() } else { slug.numbered(n) };
        let text = name.as_str();
        let row = sqlx::query!(
            r#"INSERT INTO instances (name, owner_id, github_url, project_name, branch, description, wanted, status,
                                    status_since, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, 'present', $7, $8, $8, $8)
             ON CONFLICT (name) DO NOTHING RETURNING id AS "id!""#,
            text,
            wish.owner.0,
            repo,
            project,
            branch,
            wish.description,
            requested,
            now
        )
        .fetch_optional(&mut **tx)
        .await?;
        if let Some(row) = row {
            return Ok((RowId(row.id), name));
        }
    }
    Err(SubmitError::NameTaken)
}

/// Queues a deployment; the one that waited, if any, is replaced: the newest wins.
async fn queue(
    tx: &mut Transaction<'_, Sqlite>,
    instance: RowId,
    plan: &Plan,
    by: UserId,
    submission: &str,
) -> Result<DeploymentId, StoreError> {
    let now = Timestamp::now().0;
    let (plan, report) = (to_json(plan)?, to_json(&Report::default())?);
    sqlx::query!(
        "UPDATE deployments SET outcome = 'replaced', ended_at = $2
         WHERE instance = $1 AND outcome IS NULL AND begun_at IS NULL",
        instance.0,
        now
    )
    .execute(&mut **tx)
    .await?;
    let row = sqlx::query!(
        r#"INSERT INTO deployments (instance, number, plan, report, submission, requested_by, created_at)
         SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, $6 FROM deployments WHERE instance = $1
         RETURNING id AS "id!""#,
        instance.0,
        plan,
        report,
        submission,
        by.0,
        now
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(DeploymentId(row.id))
}
