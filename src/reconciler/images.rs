//! Deletes the golden images whose end is asked for: the wish is in the store, so that it outlives a
//! killed site, and the cloud's verb is idempotent.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::{
    cloud::{Cloud, Retry},
    store::{Change, Store, StoreError},
};

/// How long after a cloud asked for patience an image is tried again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Deletes what is asked for until `shutdown`.
pub(super) async fn delete(store: &Store, cloud: &Cloud, shutdown: CancellationToken) {
    let mut changes = store.changes();
    loop {
        let left = delete_wanted(store, cloud).await.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "no image could be looked for");
            true
        });
        let wish = async {
            loop {
                match changes.recv().await {
                    Ok(Change::Image(_)) | Err(RecvError::Lagged(_)) => return,
                    Ok(_) => {}
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = wish => {}
            () = tokio::time::sleep(PATIENCE), if left => {}
        }
    }
}

/// Deletes every image that is to be. True where the cloud wants to be asked again later.
async fn delete_wanted(store: &Store, cloud: &Cloud) -> Result<bool, StoreError> {
    let mut left = false;
    for image in store.images_to_delete().await? {
        let result = match &image.cloud_ref {
            Some(name) => cloud.delete_image(name).await,
            None => Ok(()),
        };
        match result {
            Ok(()) => store.image_deleted(image.id).await?,
            Err(error) => {
                tracing::warn!(image = %image.id, error = &error as &dyn std::error::Error, "an image was not deleted");
                match error.retry {
                    Retry::Never => store.image_kept(image.id, &error.sentence).await?,
                    Retry::Later => left = true,
                }
            }
        }
    }
    Ok(left)
}
