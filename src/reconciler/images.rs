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
                    Retry::Never | Retry::Elsewhere => store.image_kept(image.id, &error.sentence).await?,
                    Retry::Later => left = true,
                }
            }
        }
    }
    Ok(left)
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use super::*;
    use crate::{
        cloud::local::{Local, LocalConfig},
        domain::{ImageId, ImageState},
        store::BakedImage,
    };

    /// A store, and a local cloud as it is on disk with these images.
    pub async fn a_cloud(images: &[&str]) -> (Store, Cloud, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}/test.db", dir.path().display())).await.unwrap();
        let local = dir.path().join("local");
        for directory in ["images", "machines", "locks"] {
            fs::create_dir_all(local.join(directory)).unwrap();
        }
        fs::write(local.join("locks/images"), "").unwrap();
        for name in images {
            fs::create_dir_all(local.join("images").join(name).join("usr/bin")).unwrap();
            let tags = r#"{"site": "site", "script": "digest", "base": "Debian"}"#;
            fs::write(local.join(format!("images/{name}.json")), tags).unwrap();
        }
        let cloud = Cloud::Local(Local::new(LocalConfig {
            state_dir: local,
            bridge: "none".to_owned(),
            gateway: [127, 0, 0, 9].into(),
            prefix: 24,
            callback_port: 8001,
            site: "site".to_owned(),
            program: "/bin/false".into(),
            copy_host_trust: false,
        }));
        (store, cloud, dir)
    }

    async fn good(store: &Store, name: &str) -> ImageId {
        let id = store.begin_image("digest").await.unwrap();
        store.end_image(id, Ok(BakedImage { cloud_ref: name, base: "", size: 1 })).await.unwrap();
        id
    }

    #[tokio::test]
    async fn what_is_to_go_goes_also_where_the_site_was_killed_over_it() {
        let (store, cloud, dir) = a_cloud(&["img-1", "img-3"]).await;
        let (first, gone, _) =
            (good(&store, "img-1").await, good(&store, "img-2").await, good(&store, "img-3").await);
        assert!(!delete_wanted(&store, &cloud).await.unwrap());
        assert_eq!(cloud.images().await.unwrap().len(), 2, "nobody asked for anything");
        store.want_image_deleted(first, true).await.unwrap();
        // The cloud has deleted this one before the site was killed.
        store.want_image_deleted(gone, true).await.unwrap();
        assert!(!delete_wanted(&store, &cloud).await.unwrap());
        assert_eq!(cloud.images().await.unwrap(), ["img-3"]);
        assert!(!dir.path().join("local/images/img-1").exists());
        assert_eq!(store.images().await.unwrap().len(), 1);
        assert!(store.images_to_delete().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_a_machine_stands_on_is_kept_with_the_reason() {
        let (store, cloud, dir) = a_cloud(&["img-1", "img-2"]).await;
        let (first, _) = (good(&store, "img-1").await, good(&store, "img-2").await);
        let machine = dir.path().join("local/machines/i-0123456789abcdef0");
        fs::create_dir(&machine).unwrap();
        let record = r#"{"site": "other", "instance": "shop", "token": "t", "image": "img-1"}"#;
        fs::write(machine.join("machine.json"), record).unwrap();
        store.want_image_deleted(first, true).await.unwrap();
        assert!(!delete_wanted(&store, &cloud).await.unwrap());
        let kept = store.image(first).await.unwrap().unwrap();
        assert_eq!((kept.state, kept.leaving), (ImageState::Good, false));
        assert!(kept.kept_because.unwrap().contains("A machine stands on the golden image img-1"));
        assert!(dir.path().join("local/images/img-1/usr/bin").exists());
    }

    #[tokio::test]
    async fn a_cloud_that_cannot_now_is_asked_again() {
        let (store, cloud, dir) = a_cloud(&["img-1", "img-2"]).await;
        let (first, _) = (good(&store, "img-1").await, good(&store, "img-2").await);
        // A file in the place of the locks' directory, as if the disk were not there.
        fs::remove_dir_all(dir.path().join("local/locks")).unwrap();
        fs::write(dir.path().join("local/locks"), "").unwrap();
        store.want_image_deleted(first, true).await.unwrap();
        assert!(delete_wanted(&store, &cloud).await.unwrap());
        assert!(store.image(first).await.unwrap().unwrap().leaving);
    }
}
