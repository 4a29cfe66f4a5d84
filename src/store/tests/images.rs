//! Golden images: one bake at a time, and which may go.

use super::*;
use crate::domain::ImageState;

async fn good(store: &Store, name: &str) -> ImageId {
    let id = store.begin_image("digest").await.unwrap();
    store.end_image(id, Ok(BakedImage { cloud_ref: name, base: "Debian 12", size: 5 })).await.unwrap();
    id
}

#[tokio::test]
async fn a_bake_is_wanted_once_and_begun_as_the_same_image() {
    let (store, _dir) = store().await;
    let mira = owner(&store, "mira").await;
    let mut changes = store.changes();
    let (first, second) = tokio::join!(store.want_bake(mira.id, "old"), store.want_bake(mira.id, "old"));
    assert!(first.unwrap() != second.unwrap());
    let wish = store.newest_image().await.unwrap().unwrap();
    assert_eq!(changes.recv().await.unwrap(), Change::Image(wish.id));
    assert!(changes.try_recv().is_err(), "the second wish is silent");
    assert!(wish.waiting && wish.state == ImageState::Baking);

    // A site that is killed here has the wish still.
    store.end_interrupted_bakes().await.unwrap();
    assert!(store.bake_is_wanted().await.unwrap());
    let begun = store.begin_image("digest").await.unwrap();
    let image = store.image(begun).await.unwrap().unwrap();
    assert_eq!((begun, image.script.as_str(), image.waiting), (wish.id, "digest", false));
    assert_eq!(image.requested_by, Some("mira".parse().unwrap()));
    assert!(!store.bake_is_wanted().await.unwrap());
    assert!(!store.want_bake(mira.id, "old").await.unwrap(), "one at a time");

    // One that is killed now does not know how far it came.
    store.end_interrupted_bakes().await.unwrap();
    assert_eq!(store.image(begun).await.unwrap().unwrap().state, ImageState::Failed);
    assert!(store.want_bake(mira.id, "old").await.unwrap());
    assert_ne!(store.begin_image("digest").await.unwrap(), begun);
}

#[tokio::test]
async fn the_old_image_serves_until_the_new_one_is_good() {
    let (store, _dir) = store().await;
    let mira = owner(&store, "mira").await;
    let old = good(&store, "img-1").await;
    store.want_bake(mira.id, "digest").await.unwrap();
    let new = store.begin_image("digest").await.unwrap();
    assert_eq!(store.newest_good_image().await.unwrap().unwrap().id, old);
    assert_eq!(store.want_image_deleted(old, true).await.unwrap(), ImageDeletion::NewestGood);
    assert_eq!(store.want_image_deleted(new, true).await.unwrap(), ImageDeletion::Baking);
    store.end_image(new, Ok(BakedImage { cloud_ref: "img-2", base: "b", size: 881 })).await.unwrap();
    let newest = store.newest_good_image().await.unwrap().unwrap();
    assert_eq!((newest.id, newest.size), (new, Some(881)));
}

#[tokio::test]
async fn an_image_goes_where_nothing_stands_on_it_and_what_came_of_it_is_kept() {
    let (store, _dir) = store().await;
    let (row, _) = deploying(&store).await;
    let stands_on = store.instance_by_row(row).await.unwrap().unwrap().instance.image.unwrap();
    store.end_image(stands_on, Ok(BakedImage { cloud_ref: "img-1", base: "b", size: 5 })).await.unwrap();
    store.append_image_log(stands_on, b"::ec done\n").await.unwrap();
    good(&store, "img-2").await;
    assert_eq!(store.want_image_deleted(stands_on, true).await.unwrap(), ImageDeletion::InUse(1));
    assert_eq!(store.instances_by_image().await.unwrap().get(&stands_on), Some(&1));
    assert_eq!(store.want_image_deleted(ImageId(99), true).await.unwrap(), ImageDeletion::Missing);

    store.want(row, Wanted::Absent).await.unwrap();
    store.set_status(row, Status::Terminating).await.unwrap();
    assert_eq!(store.want_image_deleted(stands_on, true).await.unwrap(), ImageDeletion::InUse(1));
    let why = Failure { step: None, message: "gone".into() };
    store.machine_gone(row, &why).await.unwrap();
    assert_eq!(store.want_image_deleted(stands_on, true).await.unwrap(), ImageDeletion::Wanted);
    assert_eq!(store.want_image_deleted(stands_on, true).await.unwrap(), ImageDeletion::Wanted);
    assert!(store.image(stands_on).await.unwrap().unwrap().leaving);

    // The cloud refuses: it is there as before, and says why.
    assert_eq!(store.images_to_delete().await.unwrap().len(), 1);
    store.image_kept(stands_on, "A machine stands on it.").await.unwrap();
    assert!(store.images_to_delete().await.unwrap().is_empty());
    let kept = store.image(stands_on).await.unwrap().unwrap();
    assert_eq!((kept.leaving, kept.kept_because.as_deref()), (false, Some("A machine stands on it.")));
    store.image_deleted(stands_on).await.unwrap();
    assert!(store.image(stands_on).await.unwrap().is_some(), "nobody asks for it any more");

    store.want_image_deleted(stands_on, true).await.unwrap();
    store.image_deleted(stands_on).await.unwrap();
    store.image_deleted(stands_on).await.unwrap();
    assert_eq!(store.image(stands_on).await.unwrap(), None);
    assert!(store.image_log(stands_on).await.unwrap().is_empty());
    assert_eq!(store.images().await.unwrap().len(), 1);
    // Its instance, which names it, is still there.
    assert!(store.instance_by_row(row).await.unwrap().is_some());
}

#[tokio::test]
async fn nothing_is_launched_from_an_image_that_goes() {
    let (store, _dir) = store().await;
    let mira = owner(&store, "mira").await;
    let submitted = store.submit(&submission(&mira, None)).await.unwrap();
    let row = store.instance(&submitted.name).await.unwrap().unwrap().instance.row;
    let (old, new) = (good(&store, "img-1").await, good(&store, "img-2").await);
    // Whoever is first wins: here the one who deletes.
    store.want_image_deleted(old, true).await.unwrap();
    store.begin_attempt(row, submitted.deployment, old, "first", "{}").await.unwrap();
    let work = store.work(row).await.unwrap().unwrap();
    assert!(work.attempt.is_none() && work.queued.is_some(), "it waits for another look");
    store.begin_attempt(row, submitted.deployment, new, "second", "{}").await.unwrap();
    // And here the launch, of which nothing is known yet.
    good(&store, "img-3").await;
    assert_eq!(store.want_image_deleted(new, true).await.unwrap(), ImageDeletion::InUse(1));
    store.attempt_refused("second", None).await.unwrap();
    assert_eq!(store.want_image_deleted(new, true).await.unwrap(), ImageDeletion::Wanted);
}

#[tokio::test]
async fn a_failed_bake_goes_at_once_with_its_log() {
    let (store, _dir) = store().await;
    let failed = store.begin_image("digest").await.unwrap();
    store.append_image_log(failed, b"no mirror\n").await.unwrap();
    store.end_image(failed, Err("The image script failed at update (exit code 100).")).await.unwrap();
    assert_eq!(store.want_image_deleted(failed, true).await.unwrap(), ImageDeletion::Wanted);
    assert!(store.images().await.unwrap().is_empty() && store.images_to_delete().await.unwrap().is_empty());
    assert!(store.image_log(failed).await.unwrap().is_empty());
    assert_eq!(store.newest_image().await.unwrap(), None);
    assert_eq!(
        store.want_image_deleted(failed, true).await.unwrap(),
        ImageDeletion::Wanted,
        "a double click"
    );
}
