//! Bakes golden images: at the start where none is good for this program's script, and when asked for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    cloud::{BakeSpec, Cloud, CloudError},
    domain::{Image, ImageId, ImageState, Line, Mark, parse_line},
    metrics::Metrics,
    store::{Store, StoreError},
    user_data,
};

/// The steps of a bake in order; the first is the cloud's, the rest the image script's.
const STEPS: [&str; 8] =
    ["base", "update", "packages", "nginx", "supervisor", "codedeploy", "python", "cleanup"];
/// How long after a failed bake it is tried again by itself.
const AFTER_FAILURE: Duration = Duration::from_secs(600);
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

    /// Keeps a golden image of this program's script at hand until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        if let Err(error) = self.store.end_interrupted_bakes().await {
            tracing::error!(error = &error as &dyn std::error::Error, "could not end interrupted bakes");
        }
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
                () = tokio::time::sleep(AFTER_FAILURE), if result.is_err() => {}
            }
        }
    }

    /// On a cloud that cannot run machines nothing is tried: the pages say why already.
    async fn ensure_once_ready(&self) -> Result<(), BakeError> {
        self.store.until_ready().await;
        self.ensure().await
    }

    /// Bakes where no good image of this program's script is left.
    async fn ensure(&self) -> Result<(), BakeError> {
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
        for image in self.store.images().await? {
            let kept = image.cloud_ref.as_ref().is_some_and(|name| there.contains(name));
            if image.state == ImageState::Good && !kept {
                self.store.image_lost(image.id).await?;
            }
        }
        let digest = user_data::image_digest();
        match self.good_image().await? {
            Some(image) if image.script == digest => Ok(()),
            _ => self.bake().await.map(|_| ()),
        }
    }

    /// Records why no bake can even begin, so that people see it; in one record, not one for every try.
    async fn record(&self, error: &CloudError) -> Result<(), StoreError> {
        if let Some(image) = self.store.newest_image().await?
            && image.error.as_deref() == Some(&error.sentence)
        {
            return self.store.image_failed_again(image.id).await;
        }
        let id = self.store.begin_image(&user_data::image_digest()).await?;
        self.store.end_image(id, Err(&error.sentence)).await
    }

    /// Bakes an image now.
    ///
    /// # Errors
    /// Where the bake fails; its record and log say how.
    pub async fn bake(&self) -> Result<ImageId, BakeError> {
        let id = self.store.begin_image(&user_data::image_digest()).await?;
        let started = Instant::now();
        let (log, pieces) = mpsc::channel(LOG_PIECES);
        let spec = BakeSpec { image: id, script: user_data::image() };
        let (baked, kept) = tokio::join!(self.cloud.bake(spec, log), self.keep_log(id, pieces));
        self.metrics.bake_ended(baked.is_ok(), started.elapsed());
        let result = baked.as_ref().map(|baked| (baked.cloud_ref.as_str(), baked.base.as_str()));
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
        let Some(index) = STEPS.iter().position(|step| *step == name) else { return Ok(()) };
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.store.image_reached(id, number(index + 1), number(STEPS.len()), name).await
    }
}
