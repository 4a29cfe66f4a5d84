//! Orphans: what rows know, what inventories found, and adopting.

use super::*;
use crate::domain::{
    ADOPTED, AVAILABLE, Holding, HoldingKind, ImageState, Known, Orphan, OrphanWish, RUNNING, STOPPED,
    YOUNG_SECONDS,
};

const FIRST: &str = "i-00000000000000001";
const SECOND: &str = "i-00000000000000002";

fn machine(id: &str, name: &str, token: &str, state: &str) -> Holding {
    Holding {
        name: Some(name.to_owned()),
        token: Some(token.to_owned()),
        created_at: Some(Timestamp(5_000)),
        machine_type: Some("t3.small".parse().unwrap()),
        gib: Some(16),
        image: Some("img-1".to_owned()),
        public_ip: Some("203.0.113.9".parse().unwrap()),
        ..Holding::new(HoldingKind::Machine, id, state)
    }
}

/// Notes this as the only orphan, and reads it back.
async fn found(store: &Store, holding: &Holding) -> Orphan {
    store.note_inventory(&[holding], Timestamp::now()).await.unwrap();
    let orphans = store.orphans().await.unwrap();
    assert_eq!(orphans.len(), 1);
    orphans[0].clone()
}

fn launch(token: &str) -> AdoptedLaunch<'_> {
    AdoptedLaunch { token, request: "{}" }
}

/// What rows know, in order.
fn told(known: &Known) -> [Vec<String>; 5] {
    let sorted = |ids: &std::collections::HashSet<String>| {
        let mut ids: Vec<_> = ids.iter().cloned().collect();
        ids.sort();
        ids
    };
    [&known.machines, &known.launches, &known.launched, &known.addresses, &known.images].map(sorted)
}

#[tokio::test]
async fn rows_know_machines_launches_addresses_images_and_bakes() {
    let (store, _dir) = store().await;
    let (row, _) = deploying(&store).await;
    store.attempt_address("token", "eipalloc-1", "203.0.113.9".parse().unwrap()).await.unwrap();
    let mira = store.users().await.unwrap()[0].clone();
    let second = store.submit(&later(submission(&mira, Some("second")))).await.unwrap();
    let second_row = store.instance(&second.name).await.unwrap().unwrap().instance.row;
    store.begin_attempt(second_row, second.deployment, ImageId(1), "open", "{}").await.unwrap();
    let good = store.begin_image("digest").await.unwrap();
    store.end_image(good, Ok(BakedImage { cloud_ref: "img-2", base: "", size: 1 })).await.unwrap();

    let now = Timestamp::now();
    let known = store.known_holdings(now).await.unwrap();
    let text = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let id = machine_id();
    let all =
        [text(&[id.as_str()]), text(&["open"]), text(&["token"]), text(&["eipalloc-1"]), text(&["img-2"])];
    assert_eq!(told(&known), all);
    assert_eq!(known.bakes, [ImageId(1)].into(), "its bake is under way");

    // What has just ended is known for a while: the cloud shows it still.
    store.machine_gone(row, &Failure { step: None, message: "gone".into() }).await.unwrap();
    store.attempt_refused("open", None).await.unwrap();
    let known = store.known_holdings(Timestamp::now()).await.unwrap();
    let launches = text(&["open", "token"]);
    assert_eq!(told(&known)[..2], [all[0].clone(), launches]);
    let known = store.known_holdings(now.plus_seconds(YOUNG_SECONDS + 60)).await.unwrap();
    assert_eq!(told(&known)[..4], [const { Vec::<String>::new() }; 4]);
}

#[tokio::test]
async fn what_an_inventory_sees_again_keeps_its_row_and_what_it_does_not_see_goes() {
    let (store, _dir) = store().await;
    let mira = owner(&store, "mira").await;
    assert_eq!(store.inventory().await.unwrap(), Inventory::default());
    let (one, mut two) = (machine("i-1", "shop", "a", RUNNING), machine("i-2", "shop", "b", RUNNING));
    store.note_inventory(&[&one, &two], Timestamp(1_000)).await.unwrap();
    let first = store.orphans().await.unwrap();
    assert_eq!(first.iter().map(|orphan| orphan.holding.clone()).collect::<Vec<_>>(), [one, two.clone()]);
    assert!(store.want_orphan(first[1].row, OrphanWish::Terminate, mira.id).await.unwrap());
    assert!(
        !store.want_orphan(first[1].row, OrphanWish::Adopt, mira.id).await.unwrap(),
        "one wish at a time"
    );

    two.state = STOPPED.to_owned();
    store.note_inventory(&[&two], Timestamp(2_000)).await.unwrap();
    let [second] = &store.orphans().await.unwrap()[..] else { panic!() };
    assert_eq!((second.row, &second.holding), (first[1].row, &two));
    assert_eq!((second.found_at, second.last_seen_at), (Timestamp(1_000), Timestamp(2_000)));
    assert_eq!(second.wish, Some(OrphanWish::Terminate));
    assert_eq!(second.wished_by, Some("mira".parse().unwrap()));

    // The cloud cannot say: what was seen stays.
    store.inventory_failed("AWS does not answer.", Timestamp(3_000)).await.unwrap();
    let inventory = store.inventory().await.unwrap();
    assert_eq!(inventory.error.as_deref(), Some("AWS does not answer."));
    assert_eq!(store.orphans().await.unwrap().len(), 1);
    let mut changes = store.changes();
    store.orphan_failed(second.row, "Protected.", true).await.unwrap();
    store.orphan_failed(second.row, "Protected.", true).await.unwrap();
    assert_eq!(changes.recv().await.unwrap(), Change::Orphans);
    assert!(changes.try_recv().is_err(), "the second time is no news");
    store.orphan_failed(second.row, "Protected.", false).await.unwrap();
    let kept = store.orphan(second.row).await.unwrap().unwrap();
    assert_eq!((kept.wish, kept.failure.as_deref()), (None, Some("Protected.")));
    assert!(
        store.want_orphan(second.row, OrphanWish::Terminate, mira.id).await.unwrap(),
        "it can be tried again"
    );
    assert_eq!(store.orphan(second.row).await.unwrap().unwrap().failure, None);

    store.want_inventory().await.unwrap();
    assert!(store.inventory().await.unwrap().is_awaited());
    store.note_inventory(&[], Timestamp::now()).await.unwrap();
    assert!(!store.inventory().await.unwrap().is_awaited());
    assert!(store.orphans().await.unwrap().is_empty());
    assert!(!store.want_orphan(second.row, OrphanWish::Adopt, mira.id).await.unwrap(), "it is there no more");
}

#[tokio::test]
async fn a_machine_that_runs_is_given_to_its_instance_and_deployed_on() {
    let (store, _dir) = store().await;
    let (row, first) = deploying(&store).await;
    let gone = Failure { step: None, message: "gone".into() };
    store.machine_gone(row, &gone).await.unwrap();
    let name = store.instance_by_row(row).await.unwrap().unwrap().instance.name;
    let orphan = found(&store, &machine(FIRST, name.as_str(), "another", RUNNING)).await;
    let done = store.adopt_machine(&orphan, launch("another")).await.unwrap();
    assert_eq!(done, Adoption::Done);
    assert!(store.orphans().await.unwrap().is_empty());

    let work = store.work(row).await.unwrap().unwrap();
    assert_eq!((work.instance.status, work.instance.wanted), (Status::Booting, Wanted::Present));
    assert_eq!(work.instance.instance_id.as_ref().map(InstanceId::as_str), Some(FIRST));
    assert_eq!(work.instance.public_ip, Some("203.0.113.9".parse().unwrap()));
    assert_eq!(work.generation, work.observed_generation);
    let attempt = work.attempt.unwrap();
    assert_eq!((attempt.token.as_str(), attempt.launched_at), ("another", Some(Timestamp(5_000))));
    // The commit that was deployed last waits for it.
    let queued = work.queued.unwrap();
    assert_ne!(queued.id, first);
    assert_eq!(queued.plan, plan('a'));
    assert!(store.known_holdings(Timestamp::now()).await.unwrap().knows(&orphan.holding));

    // There is no place for a second one.
    let orphan = found(&store, &machine(SECOND, name.as_str(), "third", RUNNING)).await;
    let Adoption::Refused(why) = store.adopt_machine(&orphan, launch("third")).await.unwrap() else {
        panic!()
    };
    assert!(why.contains("has a machine already"), "{why}");
    let work = store.work(row).await.unwrap().unwrap();
    assert_eq!(work.instance.instance_id.as_ref().map(InstanceId::as_str), Some(FIRST));
    assert_eq!(store.orphans().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_machine_that_is_stopped_stays_so_until_somebody_starts_it() {
    let (store, _dir) = store().await;
    let (row, _) = deploying(&store).await;
    let gone = Failure { step: None, message: "gone".into() };
    store.machine_gone(row, &gone).await.unwrap();
    let name = store.instance_by_row(row).await.unwrap().unwrap().instance.name;
    // Its own launch, whose attempt was spent.
    let orphan = found(&store, &machine(FIRST, name.as_str(), "token", STOPPED)).await;
    assert_eq!(store.adopt_machine(&orphan, launch("token")).await.unwrap(), Adoption::Done);
    let work = store.work(row).await.unwrap().unwrap();
    assert_eq!((work.instance.status, work.instance.wanted), (Status::Stopped, Wanted::Stopped));
    assert_eq!(work.attempt.unwrap().token, "token");
    assert!(work.queued.is_some() && work.instance.can_start());
    assert!(store.start(row).await.unwrap());
}

#[tokio::test]
async fn a_machine_of_another_instances_launch_is_refused_and_nothing_is_written() {
    let (store, _dir) = store().await;
    let (row, _) = deploying(&store).await;
    let mira = store.users().await.unwrap()[0].clone();
    let second = store.submit(&later(submission(&mira, Some("second")))).await.unwrap();
    let orphan = found(&store, &machine(FIRST, "second", "token", RUNNING)).await;
    let Adoption::Refused(why) = store.adopt_machine(&orphan, launch("token")).await.unwrap() else {
        panic!()
    };
    assert!(why.contains("launched for another instance than second"), "{why}");
    let there = store.instance(&second.name).await.unwrap().unwrap().instance;
    assert_eq!((there.instance_id, there.status), (None, Status::Requested));
    assert_eq!(store.attempt(row).await.unwrap().unwrap().instance_id, Some(machine_id()));
}

#[tokio::test]
async fn an_image_comes_back_under_its_own_number() {
    let (store, _dir) = store().await;
    let image = |id: &str, number| Holding {
        number: Some(ImageId(number)),
        gib: Some(8),
        name: Some("Debian 12".to_owned()),
        created_at: Some(Timestamp(7_000)),
        ..Holding::new(HoldingKind::Image, id, AVAILABLE)
    };
    // One whose site was killed before its bake was written down.
    let cut = store.begin_image("digest").await.unwrap();
    store.end_interrupted_bakes().await.unwrap();
    let newest = store.begin_image("digest").await.unwrap();
    store.end_image(newest, Ok(BakedImage { cloud_ref: "ami-2", base: "", size: 1 })).await.unwrap();
    let orphan = found(&store, &image("ami-1", cut.0)).await;
    assert_eq!(store.adopt_image(&orphan).await.unwrap(), Adoption::Done);
    let there = store.image(cut).await.unwrap().unwrap();
    assert_eq!((there.state, there.cloud_ref.as_deref()), (ImageState::Good, Some("ami-1")));
    assert_eq!((there.script.as_str(), there.size, there.error), ("digest", Some(8 << 30), None));
    assert_eq!(store.newest_good_image().await.unwrap().unwrap().id, newest, "what is older stays so");
    assert!(store.orphans().await.unwrap().is_empty());

    // One of a database that was lost, and one whose number another has.
    for (id, number, becomes) in [("ami-7", 7, 7), ("ami-8", newest.0, 8)] {
        let orphan = found(&store, &image(id, number)).await;
        assert_eq!(store.adopt_image(&orphan).await.unwrap(), Adoption::Done);
        let there = store.image(ImageId(becomes)).await.unwrap().unwrap();
        assert_eq!((there.cloud_ref.as_deref(), there.script.as_str()), (Some(id), ADOPTED));
        assert_eq!((there.made_at(), there.base.as_str()), (Timestamp(7_000), "Debian 12"));
    }
    let nameless = Holding { number: None, ..image("ami-9", 1) };
    let orphan = found(&store, &nameless).await;
    assert!(matches!(store.adopt_image(&orphan).await.unwrap(), Adoption::Refused(_)));
    assert_eq!(store.orphans().await.unwrap().len(), 1);
}
