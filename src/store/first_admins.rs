//! The first admins of projects.

use sqlx::SqliteConnection;

use super::{Change, Store, StoreError, error::At};
use crate::domain::{
    AdminName, AdminState, DeploymentId, FirstAdmin, RowId, SecretValue, Timestamp, admin_password,
};

/// Why no first admin can be asked for.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The password of the one before was not shown yet.
    #[error("the password of the admin before was not shown yet")]
    Unshown,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for AdminError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What a password is sealed for.
pub(super) fn place(instance: RowId, username: &str) -> String {
    format!("first admin {} {username}", instance.0)
}

impl Store {
    /// The first admin of an instance's project, where one was asked for.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn first_admin(&self, instance: RowId) -> Result<Option<FirstAdmin>, StoreError> {
        // Until its deployment has ended well, what it made may be undone with it.
        let row = sqlx::query!(
            r#"SELECT a.username, a.state, a.sealed IS NOT NULL AS "has_password!: bool", a.shown_at,
                      a.state = 'created' AND d.outcome NOT IN ('live', 'replaced') AS "undone: bool",
                      a.state = 'created' AND d.outcome IS NULL AS "under_way!: bool"
               FROM first_admins a LEFT JOIN deployments d ON d.id = a.deployment WHERE a.instance = $1"#,
            instance.0
        )
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let at = At { table: "first_admins", row: instance.0 };
        let state = at.read("state", &row.state)?;
        let settled = !row.undone.unwrap_or_default() && !row.under_way;
        Ok(Some(FirstAdmin {
            name: at.read("username", &row.username)?,
            state: if settled { state } else { AdminState::Wanted },
            has_password: row.has_password,
            shown_at: row.shown_at.map(Timestamp),
        }))
    }

    /// Asks for a first admin of an instance's project, which the next deployment makes. One that was asked for and is
    /// not made by a deployment that ended well gives way to it. False where there is one of this name whose password
    /// nobody has seen yet: it stays as it is.
    ///
    /// # Errors
    /// [`AdminError::Unshown`] where another was made whose password nobody has seen yet.
    pub async fn want_first_admin(&self, instance: RowId, name: &AdminName) -> Result<bool, AdminError> {
        let mut tx = self.begin().await?;
        let asked = self.put_first_admin(&mut tx, instance, name).await?;
        if asked {
            tx.commit().await?;
            self.tell(Change::Notice(instance));
        }
        Ok(asked)
    }

    /// The same, within a transaction.
    pub(super) async fn put_first_admin(
        &self,
        tx: &mut SqliteConnection,
        instance: RowId,
        name: &AdminName,
    ) -> Result<bool, AdminError> {
        let text = name.as_str();
        let there = sqlx::query!(
            r#"SELECT a.username, a.sealed IS NOT NULL AS "has_password!: bool",
                      a.state = 'created' AND coalesce(d.outcome IN ('live', 'replaced'), FALSE) AS "made!: bool"
               FROM first_admins a LEFT JOIN deployments d ON d.id = a.deployment WHERE a.instance = $1"#,
            instance.0
        )
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(there) = there.filter(|there| there.has_password) {
            if there.username == text {
                return Ok(false);
            }
            // One of a deployment that failed cannot be looked at, so that it is not in the way.
            if there.made {
                return Err(AdminError::Unshown);
            }
        }
        let password = admin_password();
        let sealed = self.vault.seal(&place(instance, text), password.expose().as_bytes());
        sqlx::query!(
            "INSERT INTO first_admins (instance, username, sealed, state) VALUES ($1, $2, $3, 'wanted')
             ON CONFLICT (instance) DO UPDATE
             SET username = $2, sealed = $3, state = 'wanted', deployment = NULL, shown_at = NULL",
            instance.0,
            text,
            sealed
        )
        .execute(&mut *tx)
        .await?;
        self.scrubbers.forget(instance);
        Ok(true)
    }

    /// Whether a deployment's machine is to make an admin.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn wants_first_admin(&self, instance: RowId) -> Result<bool, StoreError> {
        let admin = self.first_admin(instance).await?;
        Ok(admin.is_some_and(|admin| {
            admin.has_password && matches!(admin.state, AdminState::Wanted | AdminState::Failed)
        }))
    }

    /// The admin that a deployment's machine is to make, with its password; none where there is none to make, or its
    /// password is lost with the key: then it is forgotten.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn give_first_admin(
        &self,
        id: DeploymentId,
    ) -> Result<Option<(AdminName, SecretValue)>, StoreError> {
        let mut tx = self.begin().await?;
        let row = sqlx::query!(
            r#"SELECT a.instance, a.username, a.sealed AS "sealed!"
               FROM first_admins a JOIN deployments d ON d.instance = a.instance
               LEFT JOIN deployments before ON before.id = a.deployment
               WHERE d.id = $1 AND a.sealed IS NOT NULL
                 AND (a.state IN ('wanted', 'failed')
                      OR (a.state = 'created' AND (before.outcome IS NULL OR before.outcome = 'failed')))"#,
            id.0
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let instance = RowId(row.instance);
        let name = At { table: "first_admins", row: row.instance }.read("username", &row.username)?;
        let password = self.vault.open_text(&place(instance, &row.username), &row.sealed);
        let Some(password) = password.ok().and_then(|text| SecretValue::try_from(text).ok()) else {
            sqlx::query!(
                "UPDATE first_admins SET sealed = NULL, state = 'failed' WHERE instance = $1",
                row.instance
            )
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            self.tell(Change::Notice(instance));
            return Ok(None);
        };
        sqlx::query!("UPDATE first_admins SET deployment = $2 WHERE instance = $1", row.instance, id.0)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Some((name, password)))
    }

    /// Notes what a deployment's log says of the admin that it was given.
    pub(super) async fn first_admin_told(
        &self,
        tx: &mut SqliteConnection,
        id: DeploymentId,
        state: AdminState,
    ) -> Result<(), StoreError> {
        let name = state.name();
        let told = sqlx::query!(
            "UPDATE first_admins SET state = $2, sealed = CASE WHEN $2 = 'exists' THEN NULL ELSE sealed END
             WHERE deployment = $1 AND shown_at IS NULL RETURNING instance",
            id.0,
            name
        )
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(told) = told {
            self.scrubbers.forget(RowId(told.instance));
        }
        Ok(())
    }

    /// The password of an instance's first admin, which is forgotten with that; none where there is none to show.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn show_first_admin(&self, instance: RowId) -> Result<Option<SecretValue>, StoreError> {
        let now = Timestamp::now().0;
        let mut tx = self.begin().await?;
        let row = sqlx::query!(
            r#"SELECT a.username, a.sealed AS "sealed!" FROM first_admins a JOIN deployments d ON d.id = a.deployment
               WHERE a.instance = $1 AND a.sealed IS NOT NULL AND a.state = 'created'
                 AND d.outcome IN ('live', 'replaced')"#,
            instance.0
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let password = self.vault.open_text(&place(instance, &row.username), &row.sealed);
        let password = password.ok().and_then(|text| SecretValue::try_from(text).ok());
        sqlx::query!(
            "UPDATE first_admins SET sealed = NULL, shown_at = $2 WHERE instance = $1",
            instance.0,
            now
        )
        .execute(&mut *tx)
        .await?;
        self.scrubbers.forget(instance);
        tx.commit().await?;
        self.tell(Change::Notice(instance));
        Ok(password)
    }

    /// The password of an instance's first admin while it is kept.
    pub(super) async fn admin_password(
        &self,
        tx: &mut SqliteConnection,
        instance: RowId,
    ) -> Result<Option<SecretValue>, StoreError> {
        let row = sqlx::query!(
            r#"SELECT username, sealed AS "sealed!" FROM first_admins WHERE instance = $1 AND sealed IS NOT NULL"#,
            instance.0
        )
        .fetch_optional(&mut *tx)
        .await?;
        let opened =
            row.and_then(|row| self.vault.open_text(&place(instance, &row.username), &row.sealed).ok());
        Ok(opened.and_then(|text| SecretValue::try_from(text).ok()))
    }
}

/// The users of a project go with its machine: an admin whose password nobody has seen is made on the next one, any
/// other is forgotten.
pub(super) async fn machine_gone(tx: &mut SqliteConnection, instance: RowId) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM first_admins WHERE instance = $1 AND sealed IS NULL", instance.0)
        .execute(&mut *tx)
        .await?;
    sqlx::query!(
        "UPDATE first_admins SET state = 'wanted', deployment = NULL WHERE instance = $1",
        instance.0
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}
