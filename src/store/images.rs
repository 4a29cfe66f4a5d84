//! Golden images and their bakes' logs.

use super::{Change, Store, StoreError, error::At};
use crate::domain::{Image, ImageId, ImageState, Timestamp};

struct ImageRow {
    id: i64,
    state: String,
    cloud_ref: Option<String>,
    script: String,
    base: String,
    step: Option<i64>,
    steps: Option<i64>,
    step_name: Option<String>,
    error: Option<String>,
    created_at: i64,
    finished_at: Option<i64>,
}

impl ImageRow {
    fn read(self) -> Result<Image, StoreError> {
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
            error: self.error,
            created_at: Timestamp(self.created_at),
            finished_at: self.finished_at.map(Timestamp),
        })
    }
}

/// Selects images; the argument is what follows `FROM images`.
macro_rules! images {
    ($rest:literal $(, $arg:expr)*) => {
        sqlx::query_as!(
            ImageRow,
            "SELECT id, state, cloud_ref, script, base, step, steps, step_name, error, created_at, finished_at
             FROM images " + $rest
            $(, $arg)*
        )
    };
}

impl Store {
    /// Begins a bake's record with the digest of its script.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn begin_image(&self, script: &str) -> Result<ImageId, StoreError> {
        let now = Timestamp::now().0;
        let row = sqlx::query!(
            "INSERT INTO images (state, script, created_at) VALUES ('baking', $1, $2) RETURNING id",
            script,
            now
        )
        .fetch_one(&self.writer)
        .await?;
        self.tell(Change::Image(ImageId(row.id)));
        Ok(ImageId(row.id))
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
        let (step, steps) = (i64::from(step), i64::from(steps));
        sqlx::query!(
            "UPDATE images SET step = $2, steps = $3, step_name = $4 WHERE id = $1",
            id.0,
            step,
            steps,
            name
        )
        .execute(&self.writer)
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
    pub async fn end_image(&self, id: ImageId, result: Result<(&str, &str), &str>) -> Result<(), StoreError> {
        let now = Timestamp::now().0;
        let (state, cloud_ref, base, error) = match result {
            Ok((cloud_ref, base)) => (ImageState::Good, Some(cloud_ref), base, None),
            Err(error) => (ImageState::Failed, None, "", Some(error)),
        };
        let state = state.name();
        sqlx::query!(
            "UPDATE images SET state = $2, cloud_ref = $3, base = $4, error = $5, finished_at = $6
             WHERE id = $1 AND state = 'baking'",
            id.0,
            state,
            cloud_ref,
            base,
            error,
            now
        )
        .execute(&self.writer)
        .await?;
        self.tell(Change::Image(id));
        Ok(())
    }

    /// Ends the bakes that a former run of the site left under way.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn end_interrupted_bakes(&self) -> Result<(), StoreError> {
        let now = Timestamp::now().0;
        sqlx::query!(
            "UPDATE images SET state = 'failed', error = 'The site was stopped while it was being baked.', finished_at = $1
             WHERE state = 'baking'",
            now
        )
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Notes that the cloud has a good image no more, so that nothing is launched from it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn image_lost(&self, id: ImageId) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE images SET state = 'failed', error = 'The cloud has this image no more.'
             WHERE id = $1 AND state = 'good'",
            id.0
        )
        .execute(&self.writer)
        .await?;
        self.tell(Change::Image(id));
        Ok(())
    }

    /// Notes that a failed bake has failed once more, by the same cause, just now.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn image_failed_again(&self, id: ImageId) -> Result<(), StoreError> {
        let now = Timestamp::now().0;
        sqlx::query!("UPDATE images SET finished_at = $2 WHERE id = $1 AND state = 'failed'", id.0, now)
            .execute(&self.writer)
            .await?;
        self.tell(Change::Image(id));
        Ok(())
    }

    /// Every image, the newest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn images(&self) -> Result<Vec<Image>, StoreError> {
        images!("ORDER BY id DESC").fetch_all(&self.readers).await?.into_iter().map(ImageRow::read).collect()
    }

    /// One image.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn image(&self, id: ImageId) -> Result<Option<Image>, StoreError> {
        images!("WHERE id = $1", id.0).fetch_optional(&self.readers).await?.map(ImageRow::read).transpose()
    }

    /// The newest image that machines can boot from.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn newest_good_image(&self) -> Result<Option<Image>, StoreError> {
        images!("WHERE state = 'good' ORDER BY id DESC LIMIT 1")
            .fetch_optional(&self.readers)
            .await?
            .map(ImageRow::read)
            .transpose()
    }

    /// The newest bake, whatever came of it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn newest_image(&self) -> Result<Option<Image>, StoreError> {
        images!("ORDER BY id DESC LIMIT 1")
            .fetch_optional(&self.readers)
            .await?
            .map(ImageRow::read)
            .transpose()
    }
}
