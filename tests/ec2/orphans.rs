//! What carries the site's tag and no row knows: told, adopted and terminated where an admin asks, and only then.

use aws_sdk_ec2::types::{
    DomainType, InstanceStateName, InstanceType, ResourceType, Tag, TagSpecification, VolumeType,
};
use reqwest::StatusCode;

use crate::{machine::Machine, run::commands, site::World};

/// How long the site may take to look, in seconds.
const SOON: u64 = 60;

fn tags(kind: ResourceType, site: &str, name: &str) -> TagSpecification {
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    TagSpecification::builder()
        .resource_type(kind)
        .tags(tag("ec-deployer:site", site))
        .tags(tag("ec-deployer:instance", name))
        .tags(tag("ec-deployer:token", &format!("token-of-{name}")))
        .build()
}

/// Launches a machine past the site, with the tags of a site.
async fn launch(world: &World, site: &str, name: &str) -> String {
    let call = world.account.client.run_instances().image_id(&world.account.image);
    let call = call.instance_type(InstanceType::T3Small).min_count(1).max_count(1);
    let call = call.subnet_id(&world.account.subnets[0]);
    let call = call.tag_specifications(tags(ResourceType::Instance, site, name));
    call.send().await.unwrap().instances.unwrap().remove(0).instance_id.unwrap()
}

/// The number of the row of an orphan on the page.
fn row(page: &str, id: &str) -> Option<String> {
    let row = page.split("<tr role=\"row\">").find(|row| row.contains(&format!("<code>{id}</code>")))?;
    let (_, rest) = row.split_once("/cloud/orphans/")?;
    Some(rest.split('/').next()?.to_owned())
}

/// Has the site look for orphans, and gives the page with what it has found.
async fn look(world: &World) -> String {
    let looks = world.proxy.calls_of("DescribeAddresses").len();
    let asked = world.mira.post_from("/cloud", "/cloud/orphans/look", &[]).await;
    assert_eq!(asked.status, StatusCode::SEE_OTHER, "{}", asked.text);
    until(world, |page| {
        !page.contains("looking now") && world.proxy.calls_of("DescribeAddresses").len() > looks
    })
    .await
}

/// Waits until the page of the cloud is as it should be.
async fn until(world: &World, wish: impl Fn(&str) -> bool) -> String {
    let mut page = String::new();
    for _ in 0..SOON * 5 {
        page = world.mira.get("/cloud").await.text;
        if wish(&page) {
            return page;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("not within {SOON} seconds: {page}");
}

/// A world whose machines, disks and images count as old, and the random id of its site.
async fn old_world() -> (World, String) {
    let world = World::start().await;
    world.proxy.behave(|ec2| ec2.aged = true);
    let site = world.site.database().await.site().await;
    (world, site)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_row_knows_is_told_and_only_what_an_admin_terminates_goes() {
    let (world, site) = old_world().await;
    let ec2 = &world.account.client;
    world.deploy("shop").await;
    let own = world.launched("shop").await;
    let (first, second) = (launch(&world, &site, "lost").await, launch(&world, &site, "lost-too").await);
    let strangers = launch(&world, "0123456789abcdef", "lost").await;
    let untagged = ec2.run_instances().image_id(&world.account.image).min_count(1).max_count(1);
    let untagged = untagged.subnet_id(&world.account.subnets[0]).send().await.unwrap();
    let untagged = untagged.instances.unwrap().remove(0).instance_id.unwrap();
    let address = ec2.allocate_address().domain(DomainType::Vpc);
    let address = address.tag_specifications(tags(ResourceType::ElasticIp, &site, "lost"));
    let address = address.send().await.unwrap().allocation_id.unwrap();
    let volume = ec2.create_volume().availability_zone(format!("{}a", crate::moto::REGION)).size(9);
    let volume = volume.volume_type(VolumeType::Gp3);
    let volume = volume.tag_specifications(tags(ResourceType::Volume, &site, "lost"));
    let volume = volume.send().await.unwrap().volume_id.unwrap();

    world.proxy.forget_calls();
    let page = look(&world).await;
    for id in [&first, &second, &address, &volume] {
        assert!(row(&page, id).is_some(), "{id}: {page}");
    }
    for id in [&own, &strangers, &untagged] {
        assert!(!page.contains(id.as_str()), "{id}: {page}");
    }
    assert!(page.contains("t3.small") && page.contains("9 GiB"), "{page}");
    for call in ["DescribeVolumes", "DescribeSnapshots", "DescribeAddresses"] {
        assert_eq!(world.proxy.calls_of(call).len(), 1, "{call}");
    }
    let list = world.mira.get("/instances").await.text;
    assert!(list.contains("2 machines, 1 Elastic IP, 1 volume cost about $"), "{list}");
    // However often it looks, nothing goes by itself.
    look(&world).await;
    let ends = ["TerminateInstances", "ReleaseAddress", "DeleteVolume", "DeleteSnapshot", "DeregisterImage"];
    for call in ends {
        assert!(world.proxy.calls_of(call).is_empty(), "{call}");
    }

    // What is not on the page cannot be named.
    for id in [&own, &strangers, &untagged] {
        let path = format!("/cloud/orphans/{id}/terminate");
        let forged = world.mira.post_from("/cloud", &path, &[("confirm", id)]).await;
        assert_eq!(forged.status, StatusCode::NOT_FOUND);
    }
    let terminate = async |id: &str| {
        let path = format!("/cloud/orphans/{}/terminate", row(&page, id).unwrap());
        let done = world.mira.post_from(&path, &path, &[("confirm", id)]).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
        until(&world, |page| row(page, id).is_none() && !page.contains(&format!("<code>{id}</code>"))).await
    };
    let page = terminate(&first).await;
    assert!(row(&page, &second).is_some() && row(&page, &address).is_some() && row(&page, &volume).is_some());
    assert_eq!(world.account.state(&first).await, InstanceStateName::Terminated);
    for id in [&own, &second, &strangers, &untagged] {
        assert_eq!(world.account.state(id).await, InstanceStateName::Running, "{id}");
    }
    let ended = world.proxy.calls_of("TerminateInstances");
    assert!(ended.iter().all(|call| call.param("InstanceId.1") == first), "{ended:?}");

    terminate(&address).await;
    let addresses = ec2.describe_addresses().send().await.unwrap().addresses.unwrap_or_default();
    assert!(addresses.is_empty(), "{addresses:?}");
    terminate(&volume).await;
    let volumes = ec2.describe_volumes().send().await.unwrap().volumes.unwrap_or_default();
    assert!(volumes.iter().all(|there| there.volume_id() != Some(&volume)), "{volumes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_loses_its_tag_after_it_was_seen_is_left_alone() {
    let (world, site) = old_world().await;
    let ec2 = &world.account.client;
    let id = launch(&world, &site, "lost").await;
    let page = look(&world).await;
    let path = format!("/cloud/orphans/{}/terminate", row(&page, &id).unwrap());
    let mark = Tag::builder().key("ec-deployer:site").build();
    ec2.delete_tags().resources(&id).tags(mark).send().await.unwrap();
    world.proxy.forget_calls();
    let done = world.mira.post_from(&path, &path, &[("confirm", &id)]).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    until(&world, |page| !page.contains(&id)).await;
    assert_eq!(world.account.state(&id).await, InstanceStateName::Running);
    assert!(world.proxy.calls_of("TerminateInstances").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_young_is_waited_for_and_what_aws_refuses_is_told() {
    let (world, site) = old_world().await;
    world.proxy.behave(|ec2| ec2.aged = false);
    let id = launch(&world, &site, "lost").await;
    assert!(!look(&world).await.contains(&id), "its launch may be under way");
    world.proxy.behave(|ec2| ec2.aged = true);
    let page = look(&world).await;
    let path = format!("/cloud/orphans/{}/terminate", row(&page, &id).unwrap());
    let protected = aws_sdk_ec2::types::AttributeBooleanValue::builder().value(true).build();
    let protect = world.account.client.modify_instance_attribute().instance_id(&id);
    protect.disable_api_termination(protected).send().await.unwrap();
    world.mira.post_from(&path, &path, &[("confirm", &id)]).await;
    let page = until(&world, |page| page.contains("protect") && row(page, &id).is_some()).await;
    assert!(!page.contains(">terminating<"), "{page}");
    assert_eq!(world.account.state(&id).await, InstanceStateName::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_adopted_by_the_instance_of_its_name() {
    let (world, site) = old_world().await;
    world.deploy("shop").await;
    let first = world.launched("shop").await;
    world.mira.terminate("shop").await;
    world.mira.until("shop", "terminated", 60).await;
    let lost = launch(&world, &site, "shop").await;
    let page = look(&world).await;
    world.proxy.ssm(|ssm| ssm.agents.insert(lost.clone(), "Online"));
    let path = format!("/cloud/orphans/{}/adopt", row(&page, &lost).unwrap());
    let done = world.mira.post_from(&path, &path, &[]).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    world.mira.wait("shop", 60, |info| info["instance_id"] == lost.as_str()).await;
    // It is deployed on as any machine that is there.
    let given = commands(&world, 1).await;
    assert_eq!(given[0].instance, lost);
    Machine::sent(&given[0].script).deploy().await;
    world.mira.wait("shop", 60, |info| info["status"] == "live" && info["public_ip"].is_string()).await;
    assert!(!look(&world).await.contains(&lost), "a row knows it");
    let mut of_shop = world.machines_of("shop").await;
    of_shop.sort();
    let mut both = [first, lost.clone()];
    both.sort();
    assert_eq!(of_shop, both, "nothing else was launched");
    world.mira.terminate("shop").await;
    world.mira.until("shop", "terminated", 60).await;
    assert_eq!(world.account.state(&lost).await, InstanceStateName::Terminated);
}
