//! Bakes golden images: at the start where none is good for this program's script, and when asked for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{
    Notify,
    broadcast::{Receiver, error::RecvError},
    mpsc,
};
use tokio_util::sync::CancellationToken;

use super::images;
use crate::{
    cloud::{BakeSpec, Cloud, CloudError, GivenImage, Retry},
    domain::{BakeStep, Image, ImageId, ImageState, Line, Mark, parse_line},
    metrics::Metrics,
    store::{BakedImage, Change, Store, StoreError},
    user_data,
};

/// How long after a failed bake it is tried again by itself.
const AFTER_FAILURE: Duration = Duration::from_secs(600);
/// How long after the cloud asked for patience it is asked again.
const AFTER_PATIENCE: Duration = Duration::from_secs(30);
/// Pieces of a bake's log that may wait to be stored.
const LOG_PIECES: usize = 64;

/// A bake did not make an image.
#[derive(Debug, thiserror::Error)]
pub enum BakeError {
    /// The cloud, or the script on its machine.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Bakes golden images, one at a time.
#[derive(Clone, Debug)]
pub struct Baker {
    store: Store,
    cloud: Cloud,
    wanted: Arc<Notify>,
    metrics: Metrics,
}

impl Baker {
    /// Makes a baker; nothing happens until it is asked.
    pub fn new(store: Store, cloud: Cloud) -> Self {
        Self { store, cloud, wanted: Arc::default(), metrics: Metrics::new() }
    }

    /// The same, counting its bakes in `metrics`.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Asks for a bake after a failed one.
    pub fn want(&self) {
        self.wanted.notify_one();
    }

    /// The newest image that machines can boot from.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn good_image(&self) -> Result<Option<Image>, StoreError> {
        self.store.newest_good_image().await
    }

    /// Keeps a golden image of this program's script at hand, bakes and deletes what is asked for, until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::join!(self.bakes(shutdown.clone()), images::delete(&self.store, &self.cloud, shutdown));
    }

    async fn bakes(&self, shutdown: CancellationToken) {
        // Before the first look, so that no wish falls between the two.
        let mut changes = self.store.changes();
        loop {
            let result = tokio::select! {
                () = shutdown.cancelled() => return,
                result = self.ensure_once_ready() => result,
            };
            if let Err(error) = &result {
                tracing::error!(error = error as &dyn std::error::Error, "no golden image could be baked");
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.wanted.notified() => {}
                () = self.asked(&mut changes) => {}
                () = tokio::time::sleep(pause(&result)), if result.is_err() => {}
            }
        }
    }

    /// Waits until a bake is asked for.
    async fn asked(&self, changes: &mut Receiver<Change>) {
        loop {
            match changes.recv().await {
                Ok(Change::Image(_)) | Err(RecvError::Lagged(_)) => {}
                Ok(_) => continue,
                Err(RecvError::Closed) => return std::future::pending().await,
            }
            match self.store.bake_is_wanted().await {
                Ok(false) => {}
                Ok(true) => return,
                // The next look at the images says more.
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "no wish could be looked for");
                    return;
                }
            }
        }
    }

    /// On a cloud that cannot run machines nothing is tried: the pages say why already.
    async fn ensure_once_ready(&self) -> Result<(), BakeError> {
        self.store.until_ready().await;
        self.ensure().await
    }

    /// Bakes where no good image of this program's script is left, or a bake is asked for.
    async fn ensure(&self) -> Result<(), BakeError> {
        // No other bake is under way: there is one baker, and no second program on one state directory.
        self.store.end_interrupted_bakes().await?;
        if let Err(error) = self.cloud.prepare().await {
            self.record(&error).await?;
            return Err(error.into());
        }
        let there = match self.cloud.images().await {
            Ok(there) => there,
            Err(error) => {
                self.record(&error).await?;
                return Err(error.into());
            }
        };
        let given = match self.cloud.given_image().await {
            Ok(given) => given,
            Err(error) => {
                self.record(&error).await?;
                return Err(error.into());
            }
        };
        if let Some(given) = &given {
            let GivenImage { cloud_ref, base, size } = given;
            self.store.give_image(BakedImage { cloud_ref, base, size: *size }).await?;
        }
        self.compare(&there, given.as_ref().map(|given| given.cloud_ref.as_str())).await?;
        let digest = user_data::image_digest();
        match self.good_image().await? {
            Some(image)
                if (image.is_given() || image.script == digest) && !self.store.bake_is_wanted().await? =>
            {
                Ok(())
            }
            _ => self.bake().await.map(|_| ()),
        }
    }

    /// Brings the records to what the cloud has: what it lost is good no more. What no record names, since the site was
    /// killed between a bake's end and its record, or since the database is an older one, is an orphan: admins decide
    /// about it. `given` is what the settings give.
    async fn compare(&self, there: &[String], given: Option<&str>) -> Result<(), StoreError> {
        let images = self.store.images().await?;
        for image in &images {
            let kept = if image.is_given() {
                image.cloud_ref.as_deref() == given
            } else {
                image.cloud_ref.as_ref().is_some_and(|name| there.contains(name))
            };
            // One that is being deleted is to be gone.
            if image.state == ImageState::Good && !kept && !image.leaving {
                self.store.image_lost(image.id).await?;
            }
        }
        Ok(())
    }

    /// Records why no bake can even begin, so that people see it; in one record, not one for every try.
    async fn record(&self, error: &CloudError) -> Result<(), StoreError> {
        if error.retry == Retry::Later {
            // It may pass: what waits for an image is not failed by it.
            return Ok(());
        }
        if let Some(image) = self.store.newest_image().await?
            && image.state == ImageState::Failed
            && image.error.as_deref() == Some(&error.sentence)
        {
            return self.store.image_failed_again(image.id).await;
        }
        let id = self.store.begin_image(user_data::image_digest()).await?;
        self.store.end_image(id, Err(&error.sentence)).await
    }

    /// Bakes an image now: the one that was asked for, where there is one.
    ///
    /// # Errors
    /// Where the bake fails; its record and log say how.
    pub async fn bake(&self) -> Result<ImageId, BakeError> {
        let id = self.store.begin_image(user_data::image_digest()).await?;
        let started = Instant::now();
        let (log, pieces) = mpsc::channel(LOG_PIECES);
        let spec = BakeSpec { image: id, script: user_data::image() };
        let (baked, kept) = tokio::join!(self.cloud.bake(spec, log), self.keep_log(id, pieces));
        self.metrics.bake_ended(baked.is_ok(), started.elapsed());
        let result = baked.as_ref().map(|baked| BakedImage {
            cloud_ref: &baked.cloud_ref,
            base: &baked.base,
            size: baked.size,
        });
        self.store.end_image(id, result.map_err(|error| error.sentence.as_str())).await?;
        kept?;
        baked?;
        Ok(id)
    }

    /// Stores a bake's log as it comes, and the steps that it tells of.
    async fn keep_log(&self, id: ImageId, mut pieces: mpsc::Receiver<Vec<u8>>) -> Result<(), StoreError> {
        let mut line = Vec::new();
        while let Some(piece) = pieces.recv().await {
            self.store.append_image_log(id, &piece).await?;
            for part in piece.split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(part);
                if line.ends_with(b"\n") {
                    let text = String::from_utf8_lossy(&line);
                    if let Line::Mark(Mark::Start(name)) = parse_line(text.trim_end()) {
                        self.reached(id, &name).await?;
                    }
                    line.clear();
                }
            }
        }
        Ok(())
    }

    async fn reached(&self, id: ImageId, name: &str) -> Result<(), StoreError> {
        let Some(index) = BakeStep::ALL.iter().position(|step| step.name() == name) else { return Ok(()) };
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.store.image_reached(id, number(index + 1), number(BakeStep::ALL.len()), name).await
    }
}

/// How long a failure lasts before it is tried again by itself.
fn pause(result: &Result<(), BakeError>) -> Duration {
    match result {
        Err(BakeError::Cloud(error)) if error.retry == Retry::Later => AFTER_PATIENCE,
        _ => AFTER_FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::images::tests::a_cloud, *};

    #[tokio::test]
    async fn what_the_cloud_lost_is_good_no_more_and_what_no_record_names_stays() {
        let (store, cloud, dir) = a_cloud(&["img-1", "img-2", "img-9"]).await;
        let baker = Baker::new(store.clone(), cloud.clone());
        for name in ["img-1", "img-2", "img-3", "img-4"] {
            let id = store.begin_image("digest").await.unwrap();
            store.end_image(id, Ok(BakedImage { cloud_ref: name, base: "", size: 1 })).await.unwrap();
        }
        // One that is being deleted may be gone already.
        store.want_image_deleted(ImageId(3), true).await.unwrap();
        baker.compare(&cloud.images().await.unwrap(), None).await.unwrap();
        let states: Vec<_> = store.images().await.unwrap().into_iter().map(|image| image.state).collect();
        use ImageState::{Failed, Good};
        assert_eq!(states, [Failed, Good, Good, Good]);
        assert_eq!(baker.good_image().await.unwrap().unwrap().id, ImageId(2));
        assert_eq!(
            cloud.images().await.unwrap(),
            ["img-1", "img-2", "img-9"],
            "an admin decides about the last"
        );
        assert!(dir.path().join("local/images/img-9").exists());
    }
}
