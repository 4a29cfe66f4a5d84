//! People and their password hashes.

use sqlx::SqliteConnection;

use super::{Change, Store, StoreError, error::At};
use crate::domain::{Role, Timestamp, User, UserId, Username};

/// A person could not be added.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Somebody has this name.
    #[error("this name is taken")]
    Taken,
    /// The set-up link is spent: there is a user already.
    #[error("the first admin has been created already")]
    AlreadySetUp,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for UserError {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error() {
            Some(database) if database.is_unique_violation() => Self::Taken,
            _ => Self::Store(error.into()),
        }
    }
}

pub(super) struct UserRow {
    pub id: i64,
    pub username: String,
    pub role: String,
    pub created_at: i64,
    pub disabled_at: Option<i64>,
}

impl UserRow {
    pub fn read(self) -> Result<User, StoreError> {
        let at = At { table: "users", row: self.id };
        Ok(User {
            id: UserId(self.id),
            username: at.read("username", &self.username)?,
            role: at.read("role", &self.role)?,
            created_at: Timestamp(self.created_at),
            disabled_at: self.disabled_at.map(Timestamp),
        })
    }
}

/// Adds a person; the unique index says whether somebody has the name.
pub(super) async fn insert(
    tx: &mut SqliteConnection,
    username: &Username,
    password_hash: &str,
    role: Role,
) -> Result<User, UserError> {
    let (name, role, now) = (username.as_str(), role.name(), Timestamp::now().0);
    let row = sqlx::query_as!(
        UserRow,
        "INSERT INTO users (username, password_hash, role, created_at) VALUES ($1, $2, $3, $4)
             RETURNING id, username, role, created_at, disabled_at",
        name,
        password_hash,
        role,
        now
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(row.read()?)
}

impl Store {
    /// Whether anybody can sign in.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn has_users(&self) -> Result<bool, StoreError> {
        let row = sqlx::query!(r#"SELECT EXISTS (SELECT 1 FROM users) AS "some!: bool""#)
            .fetch_one(&self.readers)
            .await?;
        Ok(row.some)
    }

    /// Adds the first admin, and only the first: nobody else must be there when it is committed.
    ///
    /// # Errors
    /// [`UserError::AlreadySetUp`] where somebody is.
    pub async fn add_first_admin(&self, username: &Username, password_hash: &str) -> Result<User, UserError> {
        let mut tx = self.begin().await?;
        let (name, now) = (username.as_str(), Timestamp::now().0);
        let row = sqlx::query_as!(
            UserRow,
            "INSERT INTO users (username, password_hash, role, created_at)
             SELECT $1, $2, 'admin', $3 WHERE NOT EXISTS (SELECT 1 FROM users)
             RETURNING id, username, role, created_at, disabled_at",
            name,
            password_hash,
            now
        )
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(row.ok_or(UserError::AlreadySetUp)?.read()?)
    }

    /// Adds a person. `password_hash` is a PHC string.
    ///
    /// # Errors
    /// [`UserError::Taken`] where somebody has the name.
    pub async fn add_user(
        &self,
        username: &Username,
        password_hash: &str,
        role: Role,
    ) -> Result<User, UserError> {
        let mut tx = self.begin().await?;
        let user = insert(&mut tx, username, password_hash, role).await?;
        tx.commit().await?;
        Ok(user)
    }

    /// Everybody, by name.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        sqlx::query_as!(
            UserRow,
            "SELECT id, username, role, created_at, disabled_at FROM users ORDER BY username"
        )
        .fetch_all(&self.readers)
        .await?
        .into_iter()
        .map(UserRow::read)
        .collect()
    }

    /// The person of this row, where there is one.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let read = async {
            sqlx::query_as!(
                UserRow,
                "SELECT id, username, role, created_at, disabled_at FROM users WHERE id = $1",
                id.0
            )
            .fetch_optional(&self.readers)
            .await?
            .map(UserRow::read)
            .transpose()
        };
        self.kept(&self.memos.users, id, read).await
    }

    /// The person of this name with the hash of their password, where there is one who may sign in.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn user_to_sign_in(&self, username: &str) -> Result<Option<(User, String)>, StoreError> {
        let row = sqlx::query!(
            "SELECT id, username, role, created_at, password_hash FROM users
             WHERE username = $1 AND disabled_at IS NULL",
            username
        )
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let user = UserRow {
            id: row.id,
            username: row.username,
            role: row.role,
            created_at: row.created_at,
            disabled_at: None,
        };
        Ok(Some((user.read()?, row.password_hash)))
    }

    /// Gives a person another password; all their sessions end, and a password link of theirs. False
    /// where nobody has this name. Who is disabled stays so.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn set_password(&self, username: &Username, password_hash: &str) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let name = username.as_str();
        let user = sqlx::query!(
            "UPDATE users SET password_hash = $2 WHERE username = $1 RETURNING id",
            name,
            password_hash
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(user) = user else { return Ok(false) };
        let ended = shut_out(&mut tx, UserId(user.id)).await?;
        tx.commit().await?;
        if ended {
            self.tell(Change::Sessions);
        }
        Ok(true)
    }

    /// The same by somebody who has shown their `old` password's hash to be right. False where they
    /// have another by now, or are disabled.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn change_password(&self, user: UserId, old: &str, new: &str) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query!(
            "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL",
            user.0,
            old,
            new
        )
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let ended = shut_out(&mut tx, user).await?;
        tx.commit().await?;
        if ended {
            self.tell(Change::Sessions);
        }
        Ok(true)
    }
}

/// Ends everything by which a person is in or could come in but their password: their sessions and
/// their password link. Whether there were sessions.
pub(super) async fn shut_out(tx: &mut SqliteConnection, user: UserId) -> Result<bool, StoreError> {
    sqlx::query!("DELETE FROM password_links WHERE user_id = $1", user.0).execute(&mut *tx).await?;
    let done = sqlx::query!("DELETE FROM sessions WHERE user_id = $1", user.0).execute(&mut *tx).await?;
    Ok(done.rows_affected() > 0)
}
