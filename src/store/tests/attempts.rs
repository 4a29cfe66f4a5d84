use super::{deploying, owner, store, submission};
use crate::domain::{Failure, InstanceId, Outcome, Status, Timestamp};

const REQUEST: &str = r#"{"placement": {"subnet": "subnet-a"}}"#;

#[tokio::test]
async fn a_place_without_room_is_avoided_and_the_deployment_waits_for_another() {
    let (store, _dir) = store().await;
    let mira = owner(&store, "mira").await;
    let submitted = store.submit(&submission(&mira, None)).await.unwrap();
    let row = store.instance(&submitted.name).await.unwrap().unwrap().instance.row;
    let image = store.begin_image("digest").await.unwrap();
    store.begin_attempt(row, submitted.deployment, image, "one", REQUEST).await.unwrap();
    store.attempt_elsewhere("one").await.unwrap();
    let work = store.work(row).await.unwrap().unwrap();
    assert_eq!((work.instance.status, work.attempt), (Status::Requested, None));
    let waits = work.queued.unwrap();
    assert_eq!((waits.id, work.running), (submitted.deployment, None));
    assert_eq!(store.subnets_without_room(row, waits.created_at).await.unwrap(), ["subnet-a"]);
    // What was asked for later begins with every subnet again.
    assert!(store.subnets_without_room(row, Timestamp::now().plus_seconds(1)).await.unwrap().is_empty());

    // While it is being terminated only the attempt ends.
    store.begin_attempt(row, submitted.deployment, image, "two", REQUEST).await.unwrap();
    store.set_status(row, Status::Terminating).await.unwrap();
    store.attempt_elsewhere("two").await.unwrap();
    assert_eq!(store.work(row).await.unwrap().unwrap().instance.status, Status::Terminating);
}

#[tokio::test]
async fn a_request_is_in_doubt_since_it_was_last_sent_unless_nothing_came_of_that() {
    let (store, _dir) = store().await;
    let mira = owner(&store, "mira").await;
    let submitted = store.submit(&submission(&mira, None)).await.unwrap();
    let row = store.instance(&submitted.name).await.unwrap().unwrap().instance.row;
    let image = store.begin_image("digest").await.unwrap();
    store.begin_attempt(row, submitted.deployment, image, "one", "{}").await.unwrap();
    let sent_at = async || store.attempt(row).await.unwrap().unwrap().sent_at;
    assert_eq!(sent_at().await, None);
    store.attempt_sent("one").await.unwrap();
    store.attempt_unsent("one", None).await.unwrap();
    assert_eq!(sent_at().await, None, "it was refused: nothing came of it");
    store.attempt_sent("one").await.unwrap();
    let first = sent_at().await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    store.attempt_sent("one").await.unwrap();
    assert!(sent_at().await > first);
    store.attempt_unsent("one", first).await.unwrap();
    assert_eq!(sent_at().await, first);
}

#[tokio::test]
async fn a_machine_that_was_never_shown_is_lost_and_its_instance_has_failed() {
    let (store, _dir) = store().await;
    let (row, deployment) = deploying(&store).await;
    let why = Failure { step: None, message: "never shown".into() };
    store.machine_lost(row, &why).await.unwrap();
    let work = store.work(row).await.unwrap().unwrap();
    assert_eq!((work.instance.status, &work.instance.instance_id), (Status::Failed, &None::<InstanceId>));
    assert_eq!((work.instance.failure, work.attempt), (Some(why), None));
    assert_eq!(store.deployment(deployment).await.unwrap().unwrap().outcome, Some(Outcome::Failed));
    assert!(store.machine_ids().await.unwrap().is_empty());
}

#[tokio::test]
async fn machines_are_where_they_were_launched_as_long_as_there_are_any() {
    let (store, _dir) = store().await;
    store.site().await.unwrap();
    assert_eq!(store.whereabouts("frankfurt").await.unwrap(), "frankfurt");
    assert_eq!(store.whereabouts("ireland").await.unwrap(), "ireland", "there is no machine yet");
    let (row, _) = deploying(&store).await;
    assert_eq!(store.whereabouts("oregon").await.unwrap(), "ireland");
    store.machine_gone(row, &Failure { step: None, message: "gone".into() }).await.unwrap();
    assert_eq!(store.whereabouts("oregon").await.unwrap(), "oregon");
}
