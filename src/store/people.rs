//! What admins do with people: add them, give them a role, disable them, and make the links by which
//! they set their passwords. That an admin stays is decided here, where nothing comes between the
//! look and the write.

use sqlx::SqliteConnection;

use super::{
    Change, Store, StoreError, UserError,
    users::{UserRow, insert, shut_out},
};
use crate::domain::{NO_PASSWORD, Role, Timestamp, User, UserId, Username};

/// Why a person was left as they are.
#[derive(Debug, thiserror::Error)]
pub enum PersonError {
    /// Nobody has this name.
    #[error("nobody has this name")]
    Nobody,
    /// Nobody else is an admin who can sign in.
    #[error("no other admin could sign in then")]
    LastAdmin,
    /// They are disabled.
    #[error("they are disabled")]
    Disabled,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for PersonError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A person as admins see them.
#[derive(Clone, Debug)]
pub struct Person {
    /// Who it is.
    pub user: User,
    /// Their instances that are not terminated.
    pub instances: u64,
    /// When they were last seen, to the hour.
    pub seen_at: Option<Timestamp>,
    /// Until when they may set a password by a link.
    pub link_until: Option<Timestamp>,
}

/// A link by which somebody sets their password, as it is kept: its secret is not.
#[derive(Clone, Debug)]
pub struct PasswordLink {
    /// The digest of its secret.
    pub digest: String,
    /// Until when it works.
    pub expires_at: Timestamp,
}

impl Store {
    /// Everybody with what admins want to know of them, by name.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn people(&self) -> Result<Vec<Person>, StoreError> {
        let now = Timestamp::now().0;
        let rows = sqlx::query!(
            r#"SELECT u.id, u.username, u.role, u.created_at, u.disabled_at, u.seen_at,
                      (SELECT count(*) FROM instances i WHERE i.owner_id = u.id AND i.status <> 'terminated')
                          AS "instances!: i64",
                      (SELECT l.expires_at FROM password_links l WHERE l.user_id = u.id AND l.expires_at > $1)
                          AS "link_until: i64"
               FROM users u ORDER BY u.username"#,
            now
        )
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter()
            .map(|row| {
                let user = UserRow {
                    id: row.id,
                    username: row.username,
                    role: row.role,
                    created_at: row.created_at,
                    disabled_at: row.disabled_at,
                };
                Ok(Person {
                    user: user.read()?,
                    instances: u64::try_from(row.instances).unwrap_or_default(),
                    seen_at: row.seen_at.map(Timestamp),
                    link_until: row.link_until.map(Timestamp),
                })
            })
            .collect()
    }

    /// How many instances a person has, the terminated ones not counted.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn instances_of(&self, user: UserId) -> Result<u64, StoreError> {
        let row = sqlx::query!(
            r#"SELECT count(*) AS "n!: i64" FROM instances WHERE owner_id = $1 AND status <> 'terminated'"#,
            user.0
        )
        .fetch_one(&self.readers)
        .await?;
        Ok(u64::try_from(row.n).unwrap_or_default())
    }

    /// Adds a person without a password, and the link by which they set one.
    ///
    /// # Errors
    /// [`UserError::Taken`] where somebody has the name.
    pub async fn invite(
        &self,
        username: &Username,
        role: Role,
        link: &PasswordLink,
    ) -> Result<User, UserError> {
        let mut tx = self.begin().await?;
        let user = insert(&mut tx, username, NO_PASSWORD, role).await?;
        put_link(&mut tx, user.id.0, link).await?;
        tx.commit().await?;
        Ok(user)
    }

    /// Gives a person a link by which they set a password. It ends the one they had; their password
    /// and their sessions stay until it is used.
    ///
    /// # Errors
    /// [`PersonError::Nobody`] and [`PersonError::Disabled`].
    pub async fn make_password_link(
        &self,
        username: &Username,
        link: &PasswordLink,
    ) -> Result<(), PersonError> {
        let mut tx = self.begin().await?;
        let user = named(&mut tx, username).await?;
        if user.is_disabled() {
            return Err(PersonError::Disabled);
        }
        put_link(&mut tx, user.id.0, link).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whose password the link of this digest sets, where it works.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn user_of_link(&self, digest: &str) -> Result<Option<User>, StoreError> {
        let now = Timestamp::now().0;
        sqlx::query_as!(
            UserRow,
            "SELECT u.id, u.username, u.role, u.created_at, u.disabled_at
             FROM password_links l JOIN users u ON u.id = l.user_id
             WHERE l.digest = $1 AND l.expires_at > $2 AND u.disabled_at IS NULL",
            digest,
            now
        )
        .fetch_optional(&self.readers)
        .await?
        .map(UserRow::read)
        .transpose()
    }

    /// Sets a password by the link of this digest, which is spent by it; all sessions of the person end.
    /// None where the link does not work, and nothing was changed.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn set_password_by_link(
        &self,
        digest: &str,
        password_hash: &str,
    ) -> Result<Option<User>, StoreError> {
        let mut tx = self.begin().await?;
        let now = Timestamp::now().0;
        let row = sqlx::query_as!(
            UserRow,
            "UPDATE users SET password_hash = $3
             WHERE id = (SELECT user_id FROM password_links WHERE digest = $1 AND expires_at > $2)
               AND disabled_at IS NULL
             RETURNING id, username, role, created_at, disabled_at",
            digest,
            now,
            password_hash
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(user) = row.map(UserRow::read).transpose()? else { return Ok(None) };
        let ended = shut_out(&mut tx, user.id).await?;
        tx.commit().await?;
        if ended {
            self.tell(Change::Sessions);
        }
        Ok(Some(user))
    }

    /// Gives a person a role. False where they have it already.
    ///
    /// # Errors
    /// [`PersonError::Nobody`], and [`PersonError::LastAdmin`] where an admin must stay one.
    pub async fn set_role(&self, username: &Username, role: Role) -> Result<bool, PersonError> {
        let mut tx = self.begin().await?;
        let user = named(&mut tx, username).await?;
        if user.role == role {
            return Ok(false);
        }
        if !role_is_spare(&mut tx, &user).await? {
            return Err(PersonError::LastAdmin);
        }
        let role = role.name();
        sqlx::query!("UPDATE users SET role = $2 WHERE id = $1", user.id.0, role).execute(&mut *tx).await?;
        tx.commit().await?;
        self.tell(Change::Sessions);
        Ok(true)
    }

    /// Keeps a person from signing in; their sessions end and their password link does, their instances
    /// go on. False where they are disabled already.
    ///
    /// # Errors
    /// [`PersonError::Nobody`], and [`PersonError::LastAdmin`] where they must stay.
    pub async fn disable(&self, username: &Username) -> Result<bool, PersonError> {
        let mut tx = self.begin().await?;
        let user = named(&mut tx, username).await?;
        if user.is_disabled() {
            return Ok(false);
        }
        if !role_is_spare(&mut tx, &user).await? {
            return Err(PersonError::LastAdmin);
        }
        let now = Timestamp::now().0;
        sqlx::query!("UPDATE users SET disabled_at = $2 WHERE id = $1", user.id.0, now)
            .execute(&mut *tx)
            .await?;
        let ended = shut_out(&mut tx, user.id).await?;
        tx.commit().await?;
        if ended {
            self.tell(Change::Sessions);
        }
        Ok(true)
    }

    /// Lets a person sign in again, by the password they had. False where they are not disabled.
    ///
    /// # Errors
    /// [`PersonError::Nobody`].
    pub async fn enable(&self, username: &Username) -> Result<bool, PersonError> {
        let mut tx = self.begin().await?;
        let user = named(&mut tx, username).await?;
        if !user.is_disabled() {
            return Ok(false);
        }
        sqlx::query!("UPDATE users SET disabled_at = NULL WHERE id = $1", user.id.0)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(true)
    }
}

async fn named(tx: &mut SqliteConnection, username: &Username) -> Result<User, PersonError> {
    let name = username.as_str();
    let row = sqlx::query_as!(
        UserRow,
        "SELECT id, username, role, created_at, disabled_at FROM users WHERE username = $1",
        name
    )
    .fetch_optional(&mut *tx)
    .await?;
    Ok(row.ok_or(PersonError::Nobody)?.read()?)
}

/// Whether the site still has an admin without this person. One who has set no password yet is not
/// counted, since they may never come.
async fn role_is_spare(tx: &mut SqliteConnection, user: &User) -> Result<bool, PersonError> {
    if !user.is_admin() || user.is_disabled() {
        return Ok(true);
    }
    let row = sqlx::query!(
        r#"SELECT EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND disabled_at IS NULL
                          AND password_hash <> $2 AND id <> $1) AS "others!: bool""#,
        user.id.0,
        NO_PASSWORD
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(row.others)
}

async fn put_link(tx: &mut SqliteConnection, user: i64, link: &PasswordLink) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO password_links (user_id, digest, expires_at) VALUES ($1, $2, $3)
         ON CONFLICT (user_id) DO UPDATE SET digest = excluded.digest, expires_at = excluded.expires_at",
        user,
        link.digest,
        link.expires_at.0
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn store() -> (Store, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("test.db").display());
        (Store::open(&url).await.unwrap(), dir)
    }

    fn name(text: &str) -> Username {
        text.parse().unwrap()
    }

    fn link(digest: &str, seconds: i64) -> PasswordLink {
        PasswordLink { digest: digest.to_owned(), expires_at: Timestamp::now().plus_seconds(seconds) }
    }

    async fn admins(store: &Store, names: &[&str]) {
        for text in names {
            store.add_user(&name(text), "hash", Role::Admin).await.unwrap();
        }
    }

    /// The admins who can sign in.
    async fn left(store: &Store) -> usize {
        store.users().await.unwrap().iter().filter(|user| user.is_admin() && !user.is_disabled()).count()
    }

    #[tokio::test]
    async fn two_admins_who_disable_each_other_at_once_leave_one() {
        for _ in 0..8 {
            let (store, _dir) = store().await;
            admins(&store, &["mira", "aiko"]).await;
            let (mira, aiko) = (name("mira"), name("aiko"));
            let (first, second) = tokio::join!(store.disable(&mira), store.disable(&aiko));
            let refused = |done: &Result<bool, PersonError>| matches!(done, Err(PersonError::LastAdmin));
            assert!(refused(&first) != refused(&second), "{first:?} {second:?}");
            assert_eq!(left(&store).await, 1);
        }
    }

    #[tokio::test]
    async fn one_disabled_and_one_made_an_owner_at_once_leave_an_admin() {
        let (store, _dir) = store().await;
        admins(&store, &["mira", "aiko"]).await;
        let (mira, aiko) = (name("mira"), name("aiko"));
        let (first, second) = tokio::join!(store.disable(&mira), store.set_role(&aiko, Role::Owner));
        assert!(first.is_ok() != second.is_ok());
        assert_eq!(left(&store).await, 1);
    }

    #[tokio::test]
    async fn an_admin_who_has_no_password_yet_is_not_the_one_who_stays() {
        let (store, _dir) = store().await;
        admins(&store, &["mira"]).await;
        store.invite(&name("aiko"), Role::Admin, &link("a", 60)).await.unwrap();
        assert!(matches!(store.disable(&name("mira")).await, Err(PersonError::LastAdmin)));
        assert!(store.set_role(&name("aiko"), Role::Owner).await.unwrap());
        assert!(store.set_role(&name("aiko"), Role::Admin).await.unwrap());
        store.set_password_by_link("a", "hash").await.unwrap().unwrap();
        assert!(store.disable(&name("mira")).await.unwrap());
        assert!(matches!(store.disable(&name("aiko")).await, Err(PersonError::LastAdmin)));
    }

    #[tokio::test]
    async fn a_link_works_once_in_time_and_ends_by_a_newer_one() {
        let (store, _dir) = store().await;
        store.invite(&name("aiko"), Role::Owner, &link("first", 60)).await.unwrap();
        store.make_password_link(&name("aiko"), &link("second", 60)).await.unwrap();
        assert!(store.user_of_link("first").await.unwrap().is_none());
        assert!(store.set_password_by_link("first", "x").await.unwrap().is_none());
        let (one, two) = tokio::join!(
            store.set_password_by_link("second", "x"),
            store.set_password_by_link("second", "y")
        );
        assert!(one.unwrap().is_some() != two.unwrap().is_some());
        assert!(store.user_of_link("second").await.unwrap().is_none());

        store.make_password_link(&name("aiko"), &link("late", -1)).await.unwrap();
        assert!(store.user_of_link("late").await.unwrap().is_none());
        assert!(store.set_password_by_link("late", "z").await.unwrap().is_none());
        assert_eq!(store.people().await.unwrap()[0].link_until, None);
        let nobody = store.make_password_link(&name("ruth"), &link("r", 60)).await;
        assert!(matches!(nobody, Err(PersonError::Nobody)));
    }

    #[tokio::test]
    async fn who_is_disabled_has_no_session_no_link_and_no_way_in() {
        let (store, _dir) = store().await;
        let aiko = store.add_user(&name("aiko"), "hash", Role::Owner).await.unwrap();
        let now = Timestamp::now();
        let later = now.plus_seconds(60);
        assert!(store.create_session("one", Some(aiko.id), "{}", Some(now), later).await.unwrap());
        store.make_password_link(&name("aiko"), &link("a", 60)).await.unwrap();
        assert_eq!(store.people().await.unwrap()[0].seen_at, Some(now));
        let mut changes = store.changes();
        assert!(store.disable(&name("aiko")).await.unwrap());
        assert_eq!(changes.try_recv(), Ok(Change::Sessions));
        assert!(store.sessions_of(aiko.id).await.unwrap().is_empty());
        assert!(store.user_of_link("a").await.unwrap().is_none());
        assert!(store.user_to_sign_in("aiko").await.unwrap().is_none());
        assert!(!store.save_session("one", Some(aiko.id), "{}", Some(later), later).await.unwrap());
        let refused = store.make_password_link(&name("aiko"), &link("b", 60)).await;
        assert!(matches!(refused, Err(PersonError::Disabled)));
        assert!(store.set_password(&name("aiko"), "other").await.unwrap());
        assert!(store.user_to_sign_in("aiko").await.unwrap().is_none(), "a new password enables nobody");
        // What changes nothing is silent.
        let mut changes = store.changes();
        assert!(!store.disable(&name("aiko")).await.unwrap());
        assert!(store.enable(&name("aiko")).await.unwrap());
        assert!(!store.enable(&name("aiko")).await.unwrap());
        assert!(!store.set_role(&name("aiko"), Role::Owner).await.unwrap());
        assert!(changes.try_recv().is_err());
        assert_eq!(store.user_to_sign_in("aiko").await.unwrap().unwrap().1, "other");
    }

    #[tokio::test]
    async fn a_password_is_changed_from_the_one_that_was_shown_only() {
        let (store, _dir) = store().await;
        let aiko = store.add_user(&name("aiko"), "old", Role::Owner).await.unwrap();
        store.make_password_link(&name("aiko"), &link("a", 60)).await.unwrap();
        assert!(!store.change_password(aiko.id, "other", "new").await.unwrap());
        assert!(store.user_of_link("a").await.unwrap().is_some());
        assert!(store.change_password(aiko.id, "old", "new").await.unwrap());
        assert!(store.user_of_link("a").await.unwrap().is_none(), "a link that lay about ends");
    }
}
