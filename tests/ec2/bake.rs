//! Golden images, baked through EC2's API alone: what a builder's script says is in its console.

use std::time::Duration;

use aws_sdk_ec2::types::{Image, InstanceStateName};
use ec_django_deployer::{domain::BakeStep, user_data};
use reqwest::StatusCode;

use crate::{
    account::{Account, register_image},
    machine::Machine,
    proxy::{Proxy, faults::Fault},
    site::World,
};

/// What the image script says of its steps until `failing`, or of all of them and its end.
fn console(failing: Option<BakeStep>) -> String {
    let mut text = String::from("[    0.000000] Linux version 6.8\r\n");
    // The first step is the cloud's.
    for step in BakeStep::ALL.into_iter().skip(1) {
        let name = step.name();
        text.push_str(&format!("::ec step {name} start\r\n{name} says this\r\n"));
        if failing == Some(step) {
            text.push_str(&format!("::ec step {name} failed 100\r\n"));
            return text;
        }
        text.push_str(&format!("::ec step {name} ok 1.50\r\n"));
    }
    text.push_str("::ec done\r\n");
    text
}

/// A site that bakes its own images, on one that Canonical's parameter names.
async fn baking_world() -> World {
    let account = Account::prepare().await;
    let proxy = Proxy::start(&account.id).await;
    let base = register_image(&account.client, "ubuntu").await;
    proxy.ssm(|ssm| ssm.parameters.insert("/aws/service/canonical/ubuntu/server/".into(), base));
    proxy.behave(|ec2| (ec2.image_pending, ec2.pending) = (2, 1));
    World::start_in(account, proxy, &[("GOLDEN_AMI", "")]).await
}

/// A builder that is at work and was not known before, once there is one.
async fn builder(world: &World, known: &[&str]) -> String {
    for _ in 0..300 {
        for machine in world.account.machines().await {
            let id = machine.instance_id.clone().unwrap();
            let builds = machine.tags().iter().any(|tag| tag.key() == Some("ec-deployer:bake"));
            if builds && !known.contains(&&*id) {
                return id;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no builder was launched")
}

/// The builder's script has come to its end: the machine powers itself off, which its launch made a stop.
async fn power_off(world: &World, id: &str, failing: Option<BakeStep>) {
    world.proxy.behave(|ec2| ec2.console = console(failing));
    world.account.client.stop_instances().instance_ids(id).send().await.unwrap();
}

/// Waits until a page says `wish`.
async fn says(world: &World, path: &str, wish: &str) -> String {
    for _ in 0..300 {
        let page = world.mira.get(path).await.text;
        if page.contains(wish) {
            return page;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{wish:?} is not on {path}:\n{}", world.mira.get(path).await.text)
}

/// Presses Bake a golden image.
async fn bake(world: &World) {
    let answer = world.mira.post("/images", &[]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
}

/// The golden images that the site has made.
async fn baked(world: &World) -> Vec<Image> {
    let images = world.account.images().await;
    let own = |image: &Image| image.tags().iter().any(|tag| tag.key() == Some("ec-deployer:image"));
    images.into_iter().filter(own).collect()
}

fn value<'a>(image: &'a Image, key: &str) -> Option<&'a str> {
    image.tags().iter().find(|tag| tag.key() == Some(key))?.value()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bake_makes_its_calls_in_order_and_instances_boot_from_its_image() {
    let world = baking_world().await;
    let before = world.account.snapshots().await.len();
    let id = builder(&world, &[]).await;
    // An instance that is wanted meanwhile waits for it.
    world.deploy("shop").await;
    let script = Machine::read(&world.account, &id).await;
    assert_eq!(script.as_bytes(), user_data::image());
    world.proxy.behave(|ec2| ec2.console = console(Some(BakeStep::Nginx)).replace("failed 100", "ok 1.50"));
    says(&world, "/images/1/log.txt", "nginx says this").await;
    assert_eq!(world.mira.info("shop").await["status"], "requested");
    power_off(&world, &id, None).await;
    world.launched("shop").await;

    let images = baked(&world).await;
    let [image] = images.as_slice() else { panic!("one image: {images:?}") };
    assert_eq!(
        (value(image, "ec-deployer:image"), value(image, "ec-deployer:state")),
        (Some("1"), Some("good"))
    );
    assert_eq!(world.account.state(&id).await, InstanceStateName::Terminated, "the builder is gone");
    let log = world.mira.get("/images/1/log.txt").await.text;
    assert!(
        log.matches("nginx says this").count() == 1 && log.contains("::ec done"),
        "each line once: {log}"
    );

    let calls = world.proxy.calls();
    let order = [
        "RunInstances",
        "GetConsoleOutput",
        "CreateImage",
        "CreateTags",
        "TerminateInstances",
        "RunInstances",
    ];
    let mut wanted = order.iter().peekable();
    for call in &calls {
        wanted.next_if(|action| **action == call.action);
    }
    let actions: Vec<_> = calls.iter().map(|call| call.action.as_str()).collect();
    assert_eq!(wanted.peek(), None, "{actions:?}");
    let launches = world.proxy.calls_of("RunInstances");
    assert_eq!(launches.len(), 2, "{actions:?}");
    assert_ne!(launches[0].param("ImageId"), image.image_id().unwrap());
    assert_eq!(launches[1].param("ImageId"), image.image_id().unwrap());
    assert_eq!(launches[0].param("InstanceInitiatedShutdownBehavior"), "stop");
    assert_eq!(launches[0].param("MetadataOptions.HttpTokens"), "required");
    assert_eq!(launches[0].param("IamInstanceProfile.Name"), "", "what runs there needs no permission");

    // A newer one takes its place, and the old one goes with its snapshots.
    bake(&world).await;
    let second = builder(&world, &[&id]).await;
    power_off(&world, &second, None).await;
    says(&world, "/images/2/log.txt", "::ec done").await;
    for _ in 0..100 {
        if baked(&world).await.len() == 2
            && world.account.state(&second).await == InstanceStateName::Terminated
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    world.mira.terminate("shop").await;
    world.mira.until("shop", "terminated", 60).await;
    let deleted = world.mira.post_from("/images", "/images/1/delete", &[]).await;
    assert_eq!(deleted.status, StatusCode::SEE_OTHER, "{}", deleted.text);
    for _ in 0..100 {
        if baked(&world).await.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let images = baked(&world).await;
    assert_eq!(images.iter().map(|image| value(image, "ec-deployer:image")).collect::<Vec<_>>(), [Some("2")]);
    let kept = images[0].block_device_mappings()[0].ebs().unwrap().snapshot_id().unwrap();
    let snapshots = world.account.snapshots().await;
    assert_eq!(snapshots.len(), before + 1);
    assert!(snapshots.iter().any(|snapshot| snapshot.snapshot_id() == Some(kept)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bake_that_fails_leaves_no_builder_and_no_image() {
    let mut world = baking_world().await;
    let before = world.account.snapshots().await.len();
    let nothing_is_left = async |world: &World, builder: &str| {
        for _ in 0..100 {
            let gone = world.account.state(builder).await == InstanceStateName::Terminated;
            if gone && baked(world).await.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(world.account.state(builder).await, InstanceStateName::Terminated);
        assert!(baked(world).await.is_empty());
        assert_eq!(world.account.snapshots().await.len(), before);
    };
    // A step fails.
    let first = builder(&world, &[]).await;
    power_off(&world, &first, Some(BakeStep::Packages)).await;
    says(&world, "/images", "packages").await;
    says(&world, "/images", "failed").await;
    nothing_is_left(&world, &first).await;
    world.deploy("shop").await;

    // The instance is newer than the failure, so that it asks for a bake. Somebody terminates its builder.
    let second = builder(&world, &[&first]).await;
    world.proxy.behave(|ec2| ec2.console.clear());
    world.account.client.terminate_instances().instance_ids(&second).send().await.unwrap();
    says(&world, "/instances/shop", "The builder was terminated").await;
    nothing_is_left(&world, &second).await;

    // AWS makes no image.
    let refused = Fault::answer(400, "SnapshotLimitExceeded", "You have reached your limit of snapshots");
    world.proxy.fault("CreateImage", 1, refused);
    bake(&world).await;
    let third = builder(&world, &[&first, &second]).await;
    power_off(&world, &third, None).await;
    says(&world, "/images", "limit of snapshots").await;
    nothing_is_left(&world, &third).await;

    // The site is killed meanwhile: its next start ends the builder, and begins anew.
    world.proxy.behave(|ec2| ec2.console.clear());
    bake(&world).await;
    let fourth = builder(&world, &[&first, &second, &third]).await;
    world.site.kill();
    world.site.restart().await;
    let fifth = builder(&world, &[&first, &second, &third, &fourth]).await;
    nothing_is_left(&world, &fourth).await;

    // The reply with the image's id is lost: the image is found by its tag.
    world.proxy.fault("CreateImage", 1, Fault::DropReply);
    power_off(&world, &fifth, None).await;
    says(&world, "/images", "good, newest").await;
    assert_eq!(baked(&world).await.len(), 1);
    world.mira.redeploy("shop").await;
    world.eventually("shop", |info| info["status"] == "booting").await;
}
