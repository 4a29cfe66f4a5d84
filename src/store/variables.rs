//! The variables of instances. Values come in and go out as secrets, and are sealed in between.

use std::collections::HashSet;

use sqlx::SqliteConnection;

use super::{Change, Store, StoreError, error::At};
use crate::domain::{
    Answer, DeploymentId, Lost, Plan, RowId, Scrubber, SecretValue, Timestamp, Variable, VariableName, Vault,
};

/// A variable as pages show it: without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptVariable {
    /// Its name.
    pub name: VariableName,
    /// Whether it has a value: one that was removed is listed until the machine knows.
    pub is_set: bool,
    /// Whether its value was sealed by a key that is not there any more, and has to be given anew.
    pub is_lost: bool,
    /// Whether its value was made here, at random.
    pub is_made: bool,
    /// Whether the machine has another value, or one though it was removed: the next deployment brings it. What is lost
    /// it cannot bring.
    pub waits: bool,
    /// When it was changed last.
    pub changed_at: Timestamp,
}

impl KeptVariable {
    /// Whether its project can be given a value.
    pub fn has_value(&self) -> bool {
        self.is_set && !self.is_lost
    }
}

/// Why variables were not kept.
#[derive(Debug, thiserror::Error)]
pub enum VariablesError {
    /// More than [`Store::VARIABLES_MAX`].
    #[error("an instance has at most {} variables", Store::VARIABLES_MAX)]
    TooMany,
    /// More than [`Store::VALUES_MAX`] bytes.
    #[error("the values of an instance have at most {} KB together", Store::VALUES_MAX / 1024)]
    TooLarge,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for VariablesError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What a machine is given.
#[derive(Debug, Default)]
pub struct Environment {
    /// The variables with their values.
    pub variables: Vec<Variable>,
    /// Names whose values are lost.
    pub lost: Vec<VariableName>,
}

/// What a value is sealed for.
pub(super) fn place(instance: RowId, name: &str) -> String {
    format!("variable {} {name}", instance.0)
}

/// Opens a value.
fn open(vault: &Vault, instance: RowId, name: &str, sealed: &[u8]) -> Result<SecretValue, Lost> {
    let text = vault.open_text(&place(instance, name), sealed)?;
    SecretValue::try_from(text).map_err(|_| Lost)
}

impl Store {
    /// Most variables of an instance.
    pub const VARIABLES_MAX: usize = 100;
    /// Most bytes of an instance's values together.
    pub const VALUES_MAX: usize = 256 * 1024;

    /// The same store, which seals secrets by this vault. Without one it has a vault of its own, which ends with it.
    #[must_use]
    pub fn with_vault(mut self, vault: Vault) -> Self {
        self.vault = vault;
        self
    }

    /// What seals secrets, for those who keep one elsewhere than in the database.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// The variables of an instance, by name.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn variables(&self, instance: RowId) -> Result<Vec<KeptVariable>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT rowid AS "row!", name, sealed, given, made, changed_at FROM variables
               WHERE instance = $1 ORDER BY name"#,
            instance.0
        )
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter()
            .map(|row| {
                let is_lost = row
                    .sealed
                    .as_ref()
                    .is_some_and(|sealed| open(&self.vault, instance, &row.name, sealed).is_err());
                Ok(KeptVariable {
                    name: At { table: "variables", row: row.row }.read("name", &row.name)?,
                    is_set: row.sealed.is_some(),
                    is_lost,
                    is_made: row.made != 0,
                    waits: row.sealed != row.given && !is_lost,
                    changed_at: Timestamp(row.changed_at),
                })
            })
            .collect()
    }

    /// Gives an instance these variables; those that it has besides stay. Says how many are others than before; where
    /// none is, it is silent.
    ///
    /// # Errors
    /// [`VariablesError`] where they would be too many or too large; nothing was written then.
    pub async fn set_variables(
        &self,
        instance: RowId,
        variables: &[Variable],
    ) -> Result<usize, VariablesError> {
        self.write_variables(instance, variables, false).await
    }

    /// Gives an instance a variable whose value is made here, at random.
    ///
    /// # Errors
    /// The same.
    pub async fn make_variable(&self, instance: RowId, name: &VariableName) -> Result<(), VariablesError> {
        let variable = Variable { name: name.clone(), value: SecretValue::random() };
        self.write_variables(instance, &[variable], true).await.map(drop)
    }

    async fn write_variables(
        &self,
        instance: RowId,
        variables: &[Variable],
        made: bool,
    ) -> Result<usize, VariablesError> {
        let mut tx = self.begin().await?;
        let changed = self.put_variables(&mut tx, instance, variables, made).await?;
        if changed > 0 {
            tx.commit().await.map_err(StoreError::from)?;
            self.tell(Change::Notice(instance));
        }
        Ok(changed)
    }

    /// Writes variables within a transaction; says how many are others than before.
    pub(super) async fn put_variables(
        &self,
        tx: &mut SqliteConnection,
        instance: RowId,
        variables: &[Variable],
        made: bool,
    ) -> Result<usize, VariablesError> {
        let mut changed = 0;
        for Variable { name, value } in variables {
            changed += usize::from(self.put_variable(tx, instance, name, value, made).await?);
        }
        if changed == 0 {
            return Ok(0);
        }
        self.scrubbers.forget(instance);
        let overhead = i64::try_from(self.vault.seal("", b"").len()).unwrap_or_default();
        let all = sqlx::query!(
            r#"SELECT count(*) AS "n!: i64", coalesce(sum(length(sealed) - $2), 0) AS "bytes!: i64"
               FROM variables WHERE instance = $1 AND sealed IS NOT NULL"#,
            instance.0,
            overhead
        )
        .fetch_one(&mut *tx)
        .await?;
        if usize::try_from(all.n).is_ok_and(|n| n > Self::VARIABLES_MAX) {
            return Err(VariablesError::TooMany);
        }
        if usize::try_from(all.bytes).is_ok_and(|bytes| bytes > Self::VALUES_MAX) {
            return Err(VariablesError::TooLarge);
        }
        Ok(changed)
    }

    async fn put_variable(
        &self,
        tx: &mut SqliteConnection,
        instance: RowId,
        name: &VariableName,
        value: &SecretValue,
        made: bool,
    ) -> Result<bool, StoreError> {
        let text = name.as_str();
        let there = sqlx::query!(
            "SELECT sealed, given FROM variables WHERE instance = $1 AND name = $2",
            instance.0,
            text
        )
        .fetch_optional(&mut *tx)
        .await?;
        let is = |sealed: &Option<Vec<u8>>| {
            let value_of = |sealed| open(&self.vault, instance, text, sealed);
            sealed
                .as_deref()
                .is_some_and(|sealed| value_of(sealed).is_ok_and(|it| it.expose() == value.expose()))
        };
        if there.as_ref().is_some_and(|row| is(&row.sealed)) {
            return Ok(false);
        }
        // Back to what the machine has: nothing waits any more.
        let given = there.and_then(|row| Some(row.given).filter(is).flatten());
        let sealed =
            given.unwrap_or_else(|| self.vault.seal(&place(instance, text), value.expose().as_bytes()));
        let now = Timestamp::now().0;
        sqlx::query!(
            "INSERT INTO variables (instance, name, sealed, made, changed_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (instance, name) DO UPDATE SET sealed = $3, made = $4, changed_at = $5",
            instance.0,
            text,
            sealed,
            made,
            now
        )
        .execute(&mut *tx)
        .await?;
        Ok(true)
    }

    /// Takes a variable from an instance. False where it had none of this name.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn remove_variable(&self, instance: RowId, name: &VariableName) -> Result<bool, StoreError> {
        let (text, now) = (name.as_str(), Timestamp::now().0);
        let mut tx = self.begin().await?;
        let gone = sqlx::query!(
            "DELETE FROM variables WHERE instance = $1 AND name = $2 AND sealed IS NOT NULL AND given IS NULL",
            instance.0,
            text
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        let removed = sqlx::query!(
            "UPDATE variables SET sealed = NULL, made = 0, changed_at = $3
             WHERE instance = $1 AND name = $2 AND sealed IS NOT NULL",
            instance.0,
            text,
            now
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if gone + removed == 0 {
            return Ok(false);
        }
        self.scrubbers.forget(instance);
        tx.commit().await?;
        self.tell(Change::Notice(instance));
        Ok(true)
    }

    /// Whether an instance has variables to give its machine.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn has_variables(&self, instance: RowId) -> Result<bool, StoreError> {
        let row = sqlx::query!(
            r#"SELECT EXISTS (SELECT 1 FROM variables WHERE instance = $1 AND sealed IS NOT NULL) AS "any!: bool""#,
            instance.0
        )
        .fetch_one(&self.readers)
        .await?;
        Ok(row.any)
    }

    /// What a deployment's machine is to have in its environment: from now on that is what it has.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn give_environment(&self, id: DeploymentId) -> Result<Environment, StoreError> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query!(
            r#"SELECT v.rowid AS "row!", v.instance, v.name, v.sealed, v.given
               FROM variables v JOIN deployments d ON d.instance = v.instance WHERE d.id = $1 ORDER BY v.name"#,
            id.0
        )
        .fetch_all(&mut *tx)
        .await?;
        let Some(instance) = rows.first().map(|row| RowId(row.instance)) else {
            return Ok(Environment::default());
        };
        let (mut news, mut removed) = (false, false);
        let mut environment = Environment::default();
        for row in rows {
            let name: VariableName = At { table: "variables", row: row.row }.read("name", &row.name)?;
            let Some(sealed) = row.sealed else {
                removed = true;
                continue;
            };
            // What the machine has from now on: of what is lost nothing.
            let has = match open(&self.vault, instance, &row.name, &sealed) {
                Ok(value) => {
                    environment.variables.push(Variable { name, value });
                    Some(sealed)
                }
                Err(Lost) => {
                    environment.lost.push(name);
                    None
                }
            };
            if has != row.given {
                sqlx::query!("UPDATE variables SET given = $2 WHERE rowid = $1", row.row, has)
                    .execute(&mut *tx)
                    .await?;
                news = true;
            }
        }
        if removed {
            sqlx::query!("DELETE FROM variables WHERE instance = $1 AND sealed IS NULL", instance.0)
                .execute(&mut *tx)
                .await?;
        }
        if news || removed {
            self.scrubbers.forget(instance);
            tx.commit().await?;
            self.tell(Change::Notice(instance));
        }
        Ok(environment)
    }

    /// Masks an instance's secrets in what its machine says elsewhere than in its deploy log; marks stay what they are.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn mask(&self, instance: RowId, text: &mut [u8]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        self.scrubber(&mut tx, instance).await?.mask_log(b"", text);
        Ok(())
    }

    /// What masks an instance's secrets in its logs: what it has, what its machine has, and its first admin's password.
    pub(super) async fn scrubber(
        &self,
        tx: &mut SqliteConnection,
        instance: RowId,
    ) -> Result<std::sync::Arc<Scrubber>, StoreError> {
        if let Some(known) = self.scrubbers.get(instance) {
            return Ok(known);
        }
        let rows = sqlx::query!("SELECT name, sealed, given FROM variables WHERE instance = $1", instance.0)
            .fetch_all(&mut *tx)
            .await?;
        let mut values: Vec<SecretValue> = rows
            .iter()
            .flat_map(|row| [&row.sealed, &row.given].into_iter().flatten().map(|sealed| (&row.name, sealed)))
            .filter_map(|(name, sealed)| {
                let value = open(&self.vault, instance, name, sealed).ok()?;
                Some(Variable { name: name.parse().ok()?, value })
            })
            .filter(Variable::may_be_secret)
            .map(|variable| variable.value)
            .collect();
        values.extend(self.admin_password(tx, instance).await?);
        let known = known(tx, instance).await?;
        Ok(self.scrubbers.keep(instance, Scrubber::new(&values, &known)))
    }
}

/// What an instance's logs are full of, or anybody reads in its repository: its name, the names of its project's modules,
/// and the values that the site gave or offered. A variable with such a value takes none of it from the logs.
async fn known(tx: &mut SqliteConnection, instance: RowId) -> Result<HashSet<String>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT i.name, i.project_name, d.id AS "id?", d.plan AS "plan?"
           FROM instances i LEFT JOIN deployments d ON d.id =
                (SELECT max(id) FROM deployments WHERE instance = i.id AND begun_at IS NOT NULL)
           WHERE i.id = $1"#,
        instance.0
    )
    .fetch_one(&mut *tx)
    .await?;
    let plan: Option<Plan> = match row.id.zip(row.plan) {
        Some((id, plan)) => Some(At { table: "deployments", row: id }.json("plan", &plan)?),
        None => None,
    };
    let mut paths = vec![row.project_name];
    let mut known = HashSet::from([row.name]);
    if let Some(plan) = plan {
        paths.extend([plan.project.to_string(), plan.settings]);
        paths.extend(plan.wsgi);
        known.extend(plan.variables.into_iter().filter_map(|demanded| match demanded.answer {
            Answer::Text { text } => Some(text),
            Answer::Asked { offer, secret: false } => offer,
            Answer::Secret | Answer::Address | Answer::Database { .. } | Answer::Asked { .. } => None,
        }));
    }
    known.extend(paths.iter().flat_map(|path| path.split(['/', '.'])).map(str::to_owned));
    known.extend(paths);
    Ok(known)
}
