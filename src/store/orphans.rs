//! What carries this site's mark in the cloud and no row knows: what the last inventory saw, and what admins want
//! done about it.

use std::{collections::HashSet, sync::Arc};

use super::{Change, Store, StoreError, error::At};
use crate::domain::{
    Holding, ImageId, Known, MachineType, Orphan, OrphanId, OrphanWish, Timestamp, UserId, YOUNG_SECONDS,
};

struct OrphanRow {
    id: i64,
    kind: String,
    cloud_id: String,
    name: Option<String>,
    token: Option<String>,
    number: Option<i64>,
    created_at: Option<i64>,
    machine_type: Option<String>,
    gib: Option<i64>,
    state: String,
    holder: Option<String>,
    image: Option<String>,
    public_ip: Option<String>,
    found_at: i64,
    last_seen_at: i64,
    wish: Option<String>,
    wished_by: Option<String>,
    failure: Option<String>,
}

impl OrphanRow {
    fn read(self) -> Result<Orphan, StoreError> {
        let at = At { table: "orphans", row: self.id };
        Ok(Orphan {
            row: OrphanId(self.id),
            holding: Holding {
                kind: at.read("kind", &self.kind)?,
                id: self.cloud_id,
                name: self.name,
                token: self.token,
                number: self.number.map(ImageId),
                created_at: self.created_at.map(Timestamp),
                machine_type: at.read_opt("machine_type", self.machine_type.as_deref())?,
                gib: self.gib.and_then(|gib| u32::try_from(gib).ok()),
                state: self.state,
                holder: self.holder,
                image: self.image,
                public_ip: at.read_opt("public_ip", self.public_ip.as_deref())?,
            },
            found_at: Timestamp(self.found_at),
            last_seen_at: Timestamp(self.last_seen_at),
            wish: at.read_opt("wish", self.wish.as_deref())?,
            wished_by: at.read_opt("wished_by", self.wished_by.as_deref())?,
            failure: self.failure,
        })
    }
}

/// Selects orphans with the names of who asked for something; the argument is what follows the join.
macro_rules! orphans {
    ($rest:literal $(, $arg:expr)*) => {
        sqlx::query_as!(
            OrphanRow,
            r#"SELECT o.id, o.kind, o.cloud_id, o.name, o.token, o.number, o.created_at, o.machine_type, o.gib, o.state,
                    o.holder, o.image, o.public_ip, o.found_at, o.last_seen_at, o.wish, u.username AS "wished_by?",
                    o.failure
             FROM orphans o LEFT JOIN users u ON u.id = o.wished_by "# + $rest
            $(, $arg)*
        )
    };
}

/// When the cloud was asked last for all that it has, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// When somebody asked for one.
    pub asked_at: Option<Timestamp>,
    /// When the cloud was asked; none where it never was.
    pub looked_at: Option<Timestamp>,
    /// Why it could not say: then the orphans are those of the inventory before.
    pub error: Option<String>,
}

impl Inventory {
    /// Whether one is asked for that has not come yet.
    pub fn is_awaited(&self) -> bool {
        self.asked_at.is_some_and(|asked| self.looked_at.is_none_or(|looked| looked < asked))
    }
}

impl Store {
    /// What rows know of what is in the cloud. What was known until [`YOUNG_SECONDS`] ago counts: clouds show it for a
    /// while after its end.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn known_holdings(&self, now: Timestamp) -> Result<Known, StoreError> {
        let since = now.plus_seconds(-YOUNG_SECONDS).0;
        let mut tx = self.readers.begin().await?;
        let mut known = Known::default();
        let attempts = sqlx::query!(
            "SELECT token, state, instance_id, address FROM attempts
             WHERE state IN ('open', 'launched') OR ended_at >= $1",
            since
        )
        .fetch_all(&mut *tx)
        .await?;
        for attempt in attempts {
            let tokens = if attempt.state == "launched" { &mut known.launched } else { &mut known.launches };
            tokens.insert(attempt.token);
            known.machines.extend(attempt.instance_id);
            known.addresses.extend(attempt.address);
        }
        let machines =
            sqlx::query!(r#"SELECT instance_id AS "machine!" FROM instances WHERE instance_id IS NOT NULL"#)
                .fetch_all(&mut *tx)
                .await?;
        known.machines.extend(machines.into_iter().map(|row| row.machine));
        let images = sqlx::query!(
            r#"SELECT id, cloud_ref, state = 'baking' AS "baking!: bool" FROM images
             WHERE deleted_at IS NULL OR deleted_at >= $1"#,
            since
        )
        .fetch_all(&mut *tx)
        .await?;
        for image in images {
            known.images.extend(image.cloud_ref);
            if image.baking {
                known.bakes.insert(ImageId(image.id));
            }
        }
        Ok(known)
    }

    /// Writes what an inventory that was begun at `at` has found: what it saw again keeps its row, and what it did not
    /// see any more goes.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn note_inventory(&self, found: &[&Holding], at: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for holding in found {
            let kind = holding.kind.name();
            let (number, created_at) = (holding.number.map(|id| id.0), holding.created_at.map(|at| at.0));
            let machine_type = holding.machine_type.as_ref().map(MachineType::as_str);
            let public_ip = holding.public_ip.map(|ip| ip.to_string());
            sqlx::query!(
                "INSERT INTO orphans (kind, cloud_id, name, token, number, created_at, machine_type, gib, state, holder,
                                      image, public_ip, found_at, last_seen_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)
                 ON CONFLICT (kind, cloud_id) DO UPDATE SET name = $3, token = $4, number = $5, created_at = $6,
                     machine_type = $7, gib = $8, state = $9, holder = $10, image = $11, public_ip = $12,
                     last_seen_at = $13",
                kind,
                holding.id,
                holding.name,
                holding.token,
                number,
                created_at,
                machine_type,
                holding.gib,
                holding.state,
                holding.holder,
                holding.image,
                public_ip,
                at.0
            )
            .execute(&mut *tx)
            .await?;
        }
        let seen: HashSet<_> =
            found.iter().map(|holding| (holding.kind.name(), holding.id.as_str())).collect();
        for row in sqlx::query!("SELECT id, kind, cloud_id FROM orphans").fetch_all(&mut *tx).await? {
            if !seen.contains(&(row.kind.as_str(), row.cloud_id.as_str())) {
                sqlx::query!("DELETE FROM orphans WHERE id = $1", row.id).execute(&mut *tx).await?;
            }
        }
        sqlx::query!("UPDATE inventory SET looked_at = $1, error = NULL WHERE id = 1", at.0)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        self.tell(Change::Orphans);
        Ok(())
    }

    /// Notes that the cloud could not say what it has, and why: what was found before stays.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn inventory_failed(&self, why: &str, at: Timestamp) -> Result<(), StoreError> {
        sqlx::query!("UPDATE inventory SET looked_at = $1, error = $2 WHERE id = 1", at.0, why)
            .execute(&mut *self.writer.statement().await?)
            .await?;
        self.tell(Change::Orphans);
        Ok(())
    }

    /// Asks for an inventory now.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn want_inventory(&self) -> Result<(), StoreError> {
        let now = Timestamp::now().0;
        sqlx::query!("UPDATE inventory SET asked_at = $1 WHERE id = 1", now)
            .execute(&mut *self.writer.statement().await?)
            .await?;
        self.tell(Change::OrphanWish);
        Ok(())
    }

    /// The last inventory.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn inventory(&self) -> Result<Inventory, StoreError> {
        let row = sqlx::query!("SELECT asked_at, looked_at, error FROM inventory WHERE id = 1")
            .fetch_one(&self.readers)
            .await?;
        Ok(Inventory {
            asked_at: row.asked_at.map(Timestamp),
            looked_at: row.looked_at.map(Timestamp),
            error: row.error,
        })
    }

    /// Every orphan, in the order of its kind.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn orphans(&self) -> Result<Arc<[Orphan]>, StoreError> {
        let read = async {
            let rows = orphans!("ORDER BY o.id").fetch_all(&self.readers).await?;
            let mut orphans = rows.into_iter().map(OrphanRow::read).collect::<Result<Vec<_>, _>>()?;
            orphans.sort_by_key(|orphan| orphan.holding.kind);
            Ok(orphans.into())
        };
        self.kept(&self.memos.orphans, (), read).await
    }

    /// The orphan of this number, where it is there still.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn orphan(&self, id: OrphanId) -> Result<Option<Orphan>, StoreError> {
        orphans!("WHERE o.id = $1", id.0)
            .fetch_optional(&self.readers)
            .await?
            .map(OrphanRow::read)
            .transpose()
    }

    /// Wants something done about an orphan. False where it is there no more, or something is wanted already.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn want_orphan(&self, id: OrphanId, wish: OrphanWish, by: UserId) -> Result<bool, StoreError> {
        let wish = wish.name();
        let done = sqlx::query!(
            "UPDATE orphans SET wish = $2, wished_by = $3, failure = NULL WHERE id = $1 AND wish IS NULL",
            id.0,
            wish,
            by.0
        )
        .execute(&mut *self.writer.statement().await?)
        .await?;
        let wanted = done.rows_affected() > 0;
        if wanted {
            self.tell(Change::OrphanWish);
        }
        Ok(wanted)
    }

    /// Notes why a wish is not carried out; `again` says whether it will be tried again. Silent where nothing changed.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn orphan_failed(&self, id: OrphanId, why: &str, again: bool) -> Result<(), StoreError> {
        let done = sqlx::query!(
            "UPDATE orphans SET failure = $2, wish = CASE WHEN $3 THEN wish END
             WHERE id = $1 AND wish IS NOT NULL AND (NOT $3 OR failure IS NOT $2)",
            id.0,
            why,
            again
        )
        .execute(&mut *self.writer.statement().await?)
        .await?;
        if done.rows_affected() > 0 {
            self.tell(Change::Orphans);
        }
        Ok(())
    }

    /// Forgets an orphan that is one no more.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn orphan_gone(&self, id: OrphanId) -> Result<(), StoreError> {
        let done = sqlx::query!("DELETE FROM orphans WHERE id = $1", id.0)
            .execute(&mut *self.writer.statement().await?)
            .await?;
        if done.rows_affected() > 0 {
            self.tell(Change::Orphans);
        }
        Ok(())
    }
}
