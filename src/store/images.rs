//! Golden images and their bakes' logs.

use std::collections::HashMap;

use super::{Change, Store, StoreError, error::At};
use crate::domain::{Image, ImageId, ImageState, Timestamp, UserId};

pub(super) struct ImageRow {
    pub id: i64,
    pub state: String,
    pub cloud_ref: Option<String>,
    pub script: String,
    pub base: String,
    pub step: Option<i64>,
    pub steps: Option<i64>,
    pub step_name: Option<String>,
    pub step_since: Option<i64>,
    pub error: Option<String>,
    pub created_at: i64,
    pub finished_at: Option<i64>,
    pub waiting: bool,
    pub requested_by: Option<String>,
    pub size: Option<i64>,
    pub leaving: bool,
    pub kept_because: Option<String>,
}

impl ImageRow {
    pub fn read(self) -> Result<Image, StoreError> {
        let at = At { table: "images", row: self.id };
        let number = |n: i64| u32::try_from(n).unwrap_or_default();
        Ok(Image {
            id: ImageId(self.id),
            state: at.read("state", &self.state)?,
            cloud_ref: self.cloud_ref,
            script: self.script,
            base: self.base,
            step: self.step.zip(self.steps).map(|(step, steps)| (number(step), number(steps))),
            step_name: self.step_name,
            step_since: self.step_since.map(Timestamp),
            error: self.error,
            created_at: Timestamp(self.created_at),
            finished_at: self.finished_at.map(Timestamp),
            waiting: self.waiting,
            requested_by: at.read_opt("requested_by", self.requested_by.as_deref())?,
            size: self.size.and_then(|size| u64::try_from(size).ok()),
            leaving: self.leaving,
            kept_because: self.kept_because,
        })
    }
}

/// Selects images with the names of who asked for them; the argument is what follows the join.
macro_rules! images {
    ($rest:literal $(, $arg:expr)*) => {
        sqlx::query_as!(
            crate::store::images::ImageRow,
            r#"SELECT i.id, i.state, i.cloud_ref, i.script, i.base, i.step, i.steps, i.step_name, i.step_since,
                    i.error, i.created_at, i.finished_at, i.waiting AS "waiting: bool",
                    u.username AS "requested_by?", i.size, i.delete_asked_at IS NOT NULL AS "leaving!: bool",
                    i.kept_because
             FROM images i LEFT JOIN users u ON u.id = i.requested_by "# + $rest
            $(, $arg)*
        )
    };
}
pub(super) use images;

/// What a bake has made.
#[derive(Clone, Copy, Debug)]
pub struct BakedImage<'a> {
    /// The cloud's name of it.
    pub cloud_ref: &'a str,
    /// What it stands on, in words.
    pub base: &'a str,
    /// Bytes that it takes on disk.
    pub size: u64,
}

impl Store {
    /// Asks for a bake. False where one is asked for or under way already: there is one at a time.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn want_bake(&self, by: UserId, script: &str) -> Result<bool, StoreError> {
        let now = Timestamp::now().0;
        let row = sqlx::query!(
            r#"INSERT INTO images (state, script, waiting, requested_by, created_at)
             SELECT 'baking', $1, 1, $2, $3 WHERE NOT EXISTS (SELECT 1 FROM images WHERE state = 'baking')
             RETURNING id AS "id!""#,
            script,
            by.0,
            now
        )
        .fetch_optional(&mut *self.writer.statement().await?)
        .await?;
        let Some(row) = row else { return Ok(false) };
        self.tell(Change::Image(ImageId(row.id)));
        Ok(true)
    }

    /// Whether a bake is asked for that has not begun.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn bake_is_wanted(&self) -> Result<bool, StoreError> {
        let row = sqlx::query!(
            r#"SELECT EXISTS (SELECT 1 FROM images WHERE state = 'baking' AND waiting) AS "wanted!: bool""#
        )
        .fetch_one(&self.readers)
        .await?;
        Ok(row.wanted)
    }

    /// Begins a bake's record with the digest of its script: the one that was asked for, else a new one.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn begin_image(&self, script: &str) -> Result<ImageId, StoreError> {
        let mut tx = self.begin().await?;
        let now = Timestamp::now().0;
        let wanted = sqlx::query!(
            "UPDATE images SET waiting = 0, script = $1, created_at = $2 WHERE state = 'baking' AND waiting RETURNING id",
            script,
            now
        )
        .fetch_optional(&mut *tx)
        .await?;
        let id =
            match wanted {
                Some(row) => row.id,
                None => sqlx::query!(
                    "INSERT INTO images (state, script, created_at) VALUES ('baking', $1, $2) RETURNING id",
                    script,
                    now
                )
                .fetch_one(&mut *tx)
                .await?
                .id,
            };
        tx.commit().await?;
        self.tell(Change::Image(ImageId(id)));
        Ok(ImageId(id))
    }

    /// Notes the step that a bake has reached: its number from 1, of how many, and its name.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn image_reached(
        &self,
        id: ImageId,
        step: u32,
        steps: u32,
        name: &str,
    ) -> Result<(), StoreError> {
        let (step, steps, now) = (i64::from(step), i64::from(steps), Timestamp::now().0);
        sqlx::query!(
            "UPDATE images SET step = $2, steps = $3, step_name = $4, step_since = $5 WHERE id = $1",
            id.0,
            step,
            steps,
            name,
            now
        )
        .execute(&mut *self.writer.statement().await?)
        .await?;
        self.tell(Change::Image(id));
        Ok(())
    }

    /// Appends to a bake's log.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn append_image_log(&self, id: ImageId, bytes: &[u8]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "INSERT INTO image_logs (image_id, start, bytes)
             SELECT $1, coalesce(max(start + length(bytes)), 0), $2 FROM image_logs WHERE image_id = $1",
            id.0,
            bytes
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.tell(Change::ImageLog(id));
        Ok(())
    }

    /// A bake's whole log.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn image_log(&self, id: ImageId) -> Result<Vec<u8>, StoreError> {
        let rows = sqlx::query!("SELECT bytes FROM image_logs WHERE image_id = $1 ORDER BY start", id.0)
            .fetch_all(&self.readers)
            .await?;
        Ok(rows.into_iter().flat_map(|row| row.bytes).collect())
    }

    /// Ends a bake: good with the cloud's name of the image and what it stands on, or failed with why.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn end_image(
        &self,
        id: ImageId,
        result: Result<BakedImage<'_>, &str>,
    ) -> Result<(), StoreError> {
        let now = Timestamp::now().0;
        let state = if result.is_ok() { ImageState::Good } else { ImageState::Failed }.name();
        let (cloud_ref, base) = result.map_or((None, ""), |made| (Some(made.cloud_ref), made.base));
        let (size, error) = (result.ok().map(|made| made.size.cast_signed()), result.err());
        sqlx::query!(
            "UPDATE images SET state = $2, cloud_ref = $3, base = $4, error = $5, finished_at = $6, size = $7
             WHERE id = $1 AND state = 'baking'",
            id.0,
            state,
            cloud_ref,
            base,
            error,
            now,
            size
        )
        .execute(&mut *self.writer.statement().await?)
        .await?;
        self.tell(Change::Image(id));
        Ok(())
    }

    /// Ends the bakes that a former run of the site, or one whose end could not be written, left under way. One that only waited goes on waiting.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn end_interrupted_bakes(&self) -> Result<(), StoreError> {
        let now = Timestamp::now().0;
        let ended = sqlx::query!(
            "UPDATE images SET state = 'failed', error = 'The site was stopped while it was being baked.', finished_at = $1
             WHERE state = 'baking' AND NOT waiting RETURNING id",
            now
        )
        .fetch_all(&mut *self.writer.statement().await?)
        .await?;
        for row in ended {
            self.tell(Change::Image(ImageId(row.id)));
        }
        Ok(())
    }

    /// Notes that the cloud has a good image no more, so that nothing is launched from it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn image_lost(&self, id: ImageId) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE images SET state = 'failed', error = CASE script
                 WHEN 'given' THEN 'The settings give this image no more.' ELSE 'The cloud has this image no more.' END
             WHERE id = $1 AND state = 'good'",
            id.0
        )
        .execute(&mut *self.writer.statement().await?)
        .await?;
        self.tell(Change::Image(id));
        Ok(())
    }

    /// Notes an image that the settings give: it goes before what was baked, while they give it. Silent where it is
    /// noted already.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn give_image(&self, image: BakedImage<'_>) -> Result<(), StoreError> {
        let now = Timestamp::now().0;
        let size = image.size.cast_signed();
        let row = sqlx::query!(
            r#"INSERT INTO images (state, script, cloud_ref, base, size, created_at, finished_at)
             SELECT 'good', 'given', $1, $2, $3, $4, $4 WHERE NOT EXISTS (
                 SELECT 1 FROM images WHERE script = 'given' AND cloud_ref = $1 AND state = 'good'
                     AND delete_asked_at IS NULL)
             RETURNING id AS "id!""#,
            image.cloud_ref,
            image.base,
            size,
            now
        )
        .fetch_optional(&mut *self.writer.statement().await?)
        .await?;
        if let Some(row) = row {
            self.tell(Change::Image(ImageId(row.id)));
        }
        Ok(())
    }

    /// Notes that a failed bake has failed once more, by the same cause, just now.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn image_failed_again(&self, id: ImageId) -> Result<(), StoreError> {
        let now = Timestamp::now().0;
        sqlx::query!("UPDATE images SET finished_at = $2 WHERE id = $1 AND state = 'failed'", id.0, now)
            .execute(&mut *self.writer.statement().await?)
            .await?;
        self.tell(Change::Image(id));
        Ok(())
    }

    /// How many instances stand on each image, or are being launched from it; images with none are left out.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn instances_by_image(&self) -> Result<HashMap<ImageId, u32>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT image_id, count(*) AS "instances!: i64" FROM attempts
             WHERE state IN ('open', 'launched') GROUP BY image_id"#
        )
        .fetch_all(&self.readers)
        .await?;
        let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(rows.into_iter().map(|row| (ImageId(row.image_id), count(row.instances))).collect())
    }

    /// Every image that is not deleted, the newest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn images(&self) -> Result<Vec<Image>, StoreError> {
        images!("WHERE i.deleted_at IS NULL ORDER BY i.id DESC")
            .fetch_all(&self.readers)
            .await?
            .into_iter()
            .map(ImageRow::read)
            .collect()
    }

    /// One image, unless it is deleted.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn image(&self, id: ImageId) -> Result<Option<Image>, StoreError> {
        let read = async {
            images!("WHERE i.id = $1 AND i.deleted_at IS NULL", id.0)
                .fetch_optional(&self.readers)
                .await?
                .map(ImageRow::read)
                .transpose()
        };
        self.kept(&self.memos.images, id, read).await
    }

    /// The newest image that machines can boot from.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn newest_good_image(&self) -> Result<Option<Image>, StoreError> {
        let read = async {
            images!(
                "WHERE i.state = 'good' AND i.delete_asked_at IS NULL
                 ORDER BY i.script = 'given' DESC, i.id DESC LIMIT 1"
            )
            .fetch_optional(&self.readers)
            .await?
            .map(ImageRow::read)
            .transpose()
        };
        self.kept(&self.memos.newest_good_image, (), read).await
    }

    /// The newest bake, whatever came of it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn newest_image(&self) -> Result<Option<Image>, StoreError> {
        let read = async {
            images!("WHERE i.deleted_at IS NULL ORDER BY i.id DESC LIMIT 1")
                .fetch_optional(&self.readers)
                .await?
                .map(ImageRow::read)
                .transpose()
        };
        self.kept(&self.memos.newest_image, (), read).await
    }
}
