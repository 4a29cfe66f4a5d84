//! The end of golden images: asked for, brought about, or refused by the cloud.

use sqlx::SqliteConnection;

use super::{
    Change, Store, StoreError,
    error::At,
    images::{ImageRow, images},
};
use crate::domain::{Image, ImageId, ImageState, Timestamp};

/// What came of the wish to delete an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageDeletion {
    /// It is to be deleted, or is already.
    Wanted,
    /// There is none of this number.
    Missing,
    /// It is being baked.
    Baking,
    /// Instances boot from it: it is the newest good one.
    NewestGood,
    /// So many instances stand on it, or are being launched from it.
    InUse(u32),
}

impl Store {
    /// Asks for the end of an image. One transaction decides, as does the one that begins an attempt: so no
    /// instance is launched from an image that goes. `stood_on` says that machines need their image as long as they
    /// are there. What only has a log is gone with it at once.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn want_image_deleted(&self, id: ImageId, stood_on: bool) -> Result<ImageDeletion, StoreError> {
        let mut tx = self.begin().await?;
        let row = sqlx::query!(
            r#"SELECT state, cloud_ref, delete_asked_at, deleted_at,
                    id IS (SELECT id FROM images WHERE state = 'good' AND delete_asked_at IS NULL
                           ORDER BY script = 'given' DESC, id DESC LIMIT 1)
                        AS "newest_good!: bool",
                    (SELECT count(*) FROM attempts a WHERE a.image_id = images.id
                        AND (a.state = 'open' OR (a.state = 'launched' AND $2)))
                        AS "instances!: i64"
             FROM images WHERE id = $1"#,
            id.0,
            stood_on
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(ImageDeletion::Missing) };
        if row.delete_asked_at.is_some() || row.deleted_at.is_some() {
            return Ok(ImageDeletion::Wanted);
        }
        let state: ImageState = At { table: "images", row: id.0 }.read("state", &row.state)?;
        if state == ImageState::Baking {
            return Ok(ImageDeletion::Baking);
        }
        if row.newest_good {
            return Ok(ImageDeletion::NewestGood);
        }
        if row.instances > 0 {
            return Ok(ImageDeletion::InUse(u32::try_from(row.instances).unwrap_or(u32::MAX)));
        }
        let now = Timestamp::now().0;
        sqlx::query!("UPDATE images SET delete_asked_at = $2, kept_because = NULL WHERE id = $1", id.0, now)
            .execute(&mut *tx)
            .await?;
        if row.cloud_ref.is_none() {
            // The cloud knows nothing of it.
            forget(&mut tx, id).await?;
        }
        tx.commit().await?;
        self.tell(Change::Image(id));
        Ok(ImageDeletion::Wanted)
    }

    /// The images whose end is asked for and that the cloud may still have.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn images_to_delete(&self) -> Result<Vec<Image>, StoreError> {
        images!("WHERE i.delete_asked_at IS NOT NULL AND i.deleted_at IS NULL ORDER BY i.id")
            .fetch_all(&self.readers)
            .await?
            .into_iter()
            .map(ImageRow::read)
            .collect()
    }

    /// Notes that the cloud has deleted an image that was to be: its log goes, and it is shown no more.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn image_deleted(&self, id: ImageId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        if forget(&mut tx, id).await? {
            tx.commit().await?;
            self.tell(Change::Image(id));
        }
        Ok(())
    }

    /// Notes that the cloud does not delete an image, and why: it is as it was before that was asked for.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn image_kept(&self, id: ImageId, why: &str) -> Result<(), StoreError> {
        let done = sqlx::query!(
            "UPDATE images SET delete_asked_at = NULL, kept_because = $2
             WHERE id = $1 AND delete_asked_at IS NOT NULL AND deleted_at IS NULL",
            id.0,
            why
        )
        .execute(&mut *self.writer.statement().await?)
        .await?;
        if done.rows_affected() > 0 {
            self.tell(Change::Image(id));
        }
        Ok(())
    }
}

/// Makes an image's row one of an image that is gone, and removes its log; no machine can be launched from it, by an
/// older program neither. False where nobody asked for that, or it is done.
async fn forget(tx: &mut SqliteConnection, id: ImageId) -> Result<bool, StoreError> {
    let now = Timestamp::now().0;
    let done = sqlx::query!(
        "UPDATE images SET state = 'failed', error = 'It was deleted.', deleted_at = $2
         WHERE id = $1 AND delete_asked_at IS NOT NULL AND deleted_at IS NULL",
        id.0,
        now
    )
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query!("DELETE FROM image_logs WHERE image_id = $1", id.0).execute(&mut *tx).await?;
    Ok(true)
}
