//! The form of an instance that is there already: another source, another description, the deployment on account of it.

use sha2::{Digest, Sha256};
use sqlx::SqliteConnection;

use super::{
    Change, Store, StoreError, SubmitError,
    instances::instances,
    machine_type::TypeWish,
    submit::{Asked, again, asked_before, queue},
};
use crate::domain::{
    Branch, Database, Instance, MachineType, Plan, ProjectName, Reason, RepoUrl, RowId, Status, Timestamp,
    UserId, Variable, Wanted,
};

/// What the form of an instance that is there already asks for.
#[derive(Clone, Debug)]
pub struct Edit {
    /// The instance. It stays its owner's, whoever edits it.
    pub row: RowId,
    /// Who asks.
    pub by: UserId,
    /// The [`version`](Instance::version) that the form was filled in from.
    pub version: String,
    /// The repository.
    pub repo: RepoUrl,
    /// The directory that holds `manage.py`.
    pub project: ProjectName,
    /// The branch that was asked for; none follows the repository's default.
    pub branch: Option<Branch>,
    /// What its owner says of it.
    pub description: String,
    /// The type of machine that was asked for.
    pub machine_type: TypeWish,
    /// The database that was chosen; none leaves it as the project says.
    pub database: Option<Database>,
    /// Variables that were typed besides.
    pub variables: Vec<Variable>,
    /// How the commit is to be deployed; none where the description alone is another, which deploys nothing.
    pub plan: Option<Plan>,
    /// Whether another repository or project may take the place of the instance's own.
    pub replace: bool,
    /// When the request came in, before preflight.
    pub received_at: Timestamp,
}

impl Edit {
    fn form(&self) -> Form<'_> {
        Form {
            repo: &self.repo,
            project: &self.project,
            branch: self.branch.as_ref(),
            description: &self.description,
            machine_type: &self.machine_type,
            database: self.database,
        }
    }

    /// What was typed, as one short text; of variables their names, since a digest of a short value tells it.
    fn digest(&self) -> String {
        let names: Vec<_> = self.variables.iter().map(|variable| variable.name.as_str()).collect();
        let typed = [self.form().text(), names.join(" ")].join("\n");
        format!("edit {} {}", self.version, hex::encode(Sha256::digest(typed)))
    }

    /// Whether nothing but the description of the instance is another, and it has or is to have a machine: that
    /// alone deploys nothing.
    pub fn describes_alone(&self, there: &Instance) -> bool {
        self.form().has_source_of(there)
            && self.variables.is_empty()
            && self.description != there.description
            && there.status != Status::Terminated
    }

    fn has_form_of(&self, there: &Instance) -> bool {
        self.form().has_source_of(there) && self.description == there.description
    }
}

impl Store {
    /// Whether an edit has nothing left to do, of an instance as it is now: what it asks for was done by another request.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn is_edited(&self, edit: &Edit, there: &Instance) -> Result<bool, StoreError> {
        is_done(&mut *self.readers.acquire().await?, edit, there).await
    }

    /// Writes another form of an instance, and queues the plan's deployment: at once where it is up, after the one
    /// under way, in the place of one that waits; where it is stopped, for when it is started.
    ///
    /// # Errors
    /// [`SubmitError::Terminating`] while the instance is on its way out, [`SubmitError::Changed`] where it is not
    /// what the form was filled in from any more, [`SubmitError::NeedsReplace`] where another repository or project
    /// would take the place of its own, [`SubmitError::OtherType`] where its machine is of another type,
    /// [`SubmitError::TooMany`] where it would come back as one too many, [`SubmitError::Variables`] where it would have
    /// too many variables. Nothing was written then.
    pub async fn edit(&self, edit: &Edit) -> Result<(), SubmitError> {
        let mut tx = self.begin().await?;
        let there = instances!("WHERE i.id = $1", edit.row.0).fetch_one(&mut *tx).await?.read()?;
        if is_done(&mut tx, edit, &there).await? {
            return Ok(());
        }
        let digest = edit.digest();
        if there.is_leaving() {
            return Err(SubmitError::Terminating);
        }
        if edit.version != there.version() {
            return Err(SubmitError::Changed);
        }
        match &edit.plan {
            Some(plan) => {
                let reason = change(&mut tx, &there, edit.form(), edit.replace).await?;
                self.check_limit(&mut tx, edit.row, edit.by, reason).await?;
                self.put_variables(&mut tx, edit.row, &edit.variables, false).await?;
                queue(&mut tx, edit.row, plan, Asked { by: edit.by, reason, digest: &digest }).await?;
            }
            None if edit.describes_alone(&there) => {
                let now = Timestamp::now().0;
                sqlx::query!(
                    "UPDATE instances SET description = $2, updated_at = $3 WHERE id = $1",
                    edit.row.0,
                    edit.description,
                    now
                )
                .execute(&mut *tx)
                .await?;
            }
            None => return Err(SubmitError::Changed),
        }
        tx.commit().await.map_err(StoreError::from)?;
        self.tell(Change::Instance(edit.row));
        Ok(())
    }
}

/// Whether there is nothing left to do: after a double click, or where another request has brought the instance to this
/// form since it was shown. That one had not these variables, where some were typed.
async fn is_done(tx: &mut SqliteConnection, edit: &Edit, there: &Instance) -> Result<bool, StoreError> {
    let meanwhile = edit.version != there.version();
    if meanwhile && edit.variables.is_empty() && edit.has_form_of(there) {
        return Ok(true);
    }
    Ok(asked_before(tx, edit.row, &edit.digest(), edit.received_at).await?.is_some())
}

/// What an instance's form holds.
#[derive(Clone, Copy)]
pub(super) struct Form<'a> {
    pub repo: &'a RepoUrl,
    pub project: &'a ProjectName,
    pub branch: Option<&'a Branch>,
    pub description: &'a str,
    pub machine_type: &'a TypeWish,
    pub database: Option<Database>,
}

impl Form<'_> {
    /// What was typed, as one text.
    fn text(self) -> String {
        let branch = self.branch.map_or("", Branch::as_str);
        let machine_type = self.machine_type.chosen.as_ref().map_or("", MachineType::as_str);
        let database = self.database.map_or("", Database::name);
        [self.repo.as_str(), self.project.as_str(), branch, self.description, machine_type, database]
            .join("\n")
    }

    /// Whether an instance has this repository, project and branch, and this type of machine.
    fn has_source_of(self, there: &Instance) -> bool {
        (self.repo, self.project, self.branch) == (&there.repo, &there.project, there.branch.as_ref())
            && self.database == there.database
            && self.machine_type.leaves(there)
    }
}

/// Writes another form of an instance on whose account a deployment is to be queued; says why that is.
pub(super) async fn change(
    tx: &mut SqliteConnection,
    there: &Instance,
    form: Form<'_>,
    replace: bool,
) -> Result<Reason, SubmitError> {
    let another = (form.repo, form.project) != (&there.repo, &there.project);
    let reason = match there.status {
        Status::Terminated => Reason::DeployAgain,
        _ if there.wanted == Wanted::Absent => return Err(SubmitError::Terminating),
        _ if another && !replace => return Err(SubmitError::NeedsReplace { repo: there.repo.clone() }),
        _ if another => Reason::Replace,
        _ if form.has_source_of(there) && form.description == there.description => again(there.status),
        _ => Reason::Edit,
    };
    form.machine_type.check(tx, there).await?;
    let machine_type = form.machine_type.over(there).map(MachineType::as_str);
    let (repo, project, branch) =
        (form.repo.as_str(), form.project.as_str(), form.branch.map(Branch::as_str));
    let database = form.database.map(Database::name);
    let (wanted, now) = (wanted_after_change(there).name(), Timestamp::now().0);
    sqlx::query!(
        "UPDATE instances SET github_url = $2, project_name = $3, branch = $4, description = $5, wanted = $6,
                generation = generation + ($6 = 'present'), updated_at = $7, machine_type = $8, database = $9
         WHERE id = $1",
        there.row.0,
        repo,
        project,
        branch,
        form.description,
        wanted,
        now,
        machine_type,
        database
    )
    .execute(&mut *tx)
    .await?;
    Ok(reason)
}

/// What is wanted of an instance whose form was saved: one that is stopped, or is to be, stays so and deploys when
/// it is started, also where it was stopped outside this site; any other is to serve.
fn wanted_after_change(there: &Instance) -> Wanted {
    let stays_off = there.is_to_stop() || (there.status.is_off() && !there.is_to_start());
    if stays_off { Wanted::Stopped } else { Wanted::Present }
}
