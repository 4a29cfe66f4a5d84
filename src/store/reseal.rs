//! Every sealed value anew, by another key.

use super::{Store, StoreError, first_admins, variables};
use crate::domain::{RowId, Vault};

/// What came of sealing everything anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Values that are sealed by the other key now.
    pub sealed: usize,
    /// Values that this key did not open, nor can the other: they were lost before, and are left as they are.
    pub lost: usize,
}

impl Store {
    /// Seals every value by another vault, in one transaction: who reads meanwhile sees all of them as they were, or
    /// all as they are then.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn reseal(&self, from: &Vault, to: &Vault) -> Result<Resealed, StoreError> {
        let mut tx = self.begin().await?;
        let mut done = Resealed::default();
        let mut anew = |place: &str, sealed: &[u8]| match from.open(place, sealed) {
            Ok(secret) => {
                done.sealed += 1;
                to.seal(place, &secret)
            }
            Err(_) => {
                done.lost += 1;
                sealed.to_vec()
            }
        };
        let rows = sqlx::query!(r#"SELECT rowid AS "row!", instance, name, sealed, given FROM variables"#)
            .fetch_all(&mut *tx)
            .await?;
        for row in rows {
            let place = variables::place(RowId(row.instance), &row.name);
            let sealed = row.sealed.as_deref().map(|sealed| anew(&place, sealed));
            // The same bytes say that the machine has the value: they stay the same.
            let given = match &row.given {
                Some(given) if row.sealed.as_ref() == Some(given) => sealed.clone(),
                given => given.as_deref().map(|given| anew(&place, given)),
            };
            sqlx::query!(
                "UPDATE variables SET sealed = $2, given = $3 WHERE rowid = $1",
                row.row,
                sealed,
                given
            )
            .execute(&mut *tx)
            .await?;
        }
        let rows = sqlx::query!(
            r#"SELECT instance, username, sealed AS "sealed!" FROM first_admins WHERE sealed IS NOT NULL"#
        )
        .fetch_all(&mut *tx)
        .await?;
        for row in rows {
            let sealed = anew(&first_admins::place(RowId(row.instance), &row.username), &row.sealed);
            sqlx::query!("UPDATE first_admins SET sealed = $2 WHERE instance = $1", row.instance, sealed)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(done)
    }

    /// Whether a vault opens any of the sealed values.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn any_opens_by(&self, vault: &Vault) -> Result<bool, StoreError> {
        let rows = sqlx::query!("SELECT instance, name, sealed, given FROM variables")
            .fetch_all(&self.readers)
            .await?;
        let opens = rows.iter().any(|row| {
            let place = variables::place(RowId(row.instance), &row.name);
            [&row.sealed, &row.given].into_iter().flatten().any(|sealed| vault.open(&place, sealed).is_ok())
        });
        if opens {
            return Ok(true);
        }
        let rows = sqlx::query!(
            r#"SELECT instance, username, sealed AS "sealed!" FROM first_admins WHERE sealed IS NOT NULL"#
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.iter().any(|row| {
            vault.open(&first_admins::place(RowId(row.instance), &row.username), &row.sealed).is_ok()
        }))
    }

    /// How many deployments and other scripts are under way on machines: they report by tokens of the log's key.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn reporting(&self) -> Result<u64, StoreError> {
        let row = sqlx::query!(
            r#"SELECT (SELECT count(*) FROM deployments WHERE outcome IS NULL AND begun_at IS NOT NULL)
                      + (SELECT count(*) FROM fetches WHERE state = 'sent') AS "reporting!: i64""#
        )
        .fetch_one(&self.readers)
        .await?;
        Ok(u64::try_from(row.reporting).unwrap_or_default())
    }
}
