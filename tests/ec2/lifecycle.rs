//! The whole life of an instance, from the form to the machine's observed end.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{
    Filter, HttpTokensState, InstanceStateName, InstanceType, RequestLaunchTemplateData, VolumeType,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use ec_django_deployer::user_data;
use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    account::Account,
    machine::Machine,
    proxy::Proxy,
    site::{PATIENCE, World},
};

/// The tags of a list, by their keys.
fn tags(list: &[aws_sdk_ec2::types::Tag]) -> BTreeMap<&str, &str> {
    list.iter().filter_map(|tag| Some((tag.key()?, tag.value()?))).collect()
}

/// A world with an instance that its machine has reported live.
pub async fn live_world() -> (World, String) {
    let world = World::start().await;
    world.deploy("shop").await;
    let id = world.launched("shop").await;
    Machine::boot(&world.account, &id).await.deploy().await;
    world.mira.wait("shop", PATIENCE, |info| info["status"] == "live" && info["public_ip"].is_string()).await;
    (world, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_becomes_one_machine_with_all_that_was_asked_for() {
    let world = World::start().await;
    world.deploy("shop").await;
    let id = world.launched("shop").await;
    let calls = world.proxy.calls_of("RunInstances");
    let [call] = calls.as_slice() else { panic!("one launch: {calls:#?}") };
    let attempts = world.site.database().await.attempts("shop").await;
    let [attempt] = attempts.as_slice() else { panic!("one attempt: {attempts:?}") };
    assert_eq!((attempt.state.as_str(), attempt.instance_id.as_deref()), ("launched", Some(&*id)));

    // The token and the request are the saved ones.
    assert_eq!(call.param("ClientToken"), attempt.token);
    assert!(attempt.token.len() <= 64);
    assert_eq!(call.param("UserData"), attempt.request["user_data"]);
    assert_eq!(call.subnet(), attempt.request["placement"]["subnet"]);
    assert_eq!(call.subnet(), world.account.subnets[0], "always an explicit subnet");
    assert_eq!((call.param("MinCount"), call.param("MaxCount")), ("1", "1"));

    // The user data fits because it is compressed.
    let data = world.account.user_data(&id).await;
    assert_eq!(STANDARD.encode(&data), call.param("UserData"));
    assert!(data.starts_with(&[0x1f, 0x8b]) && data.len() <= user_data::LIMIT, "{} bytes", data.len());
    let booted = Machine::boot(&world.account, &id).await;
    assert!(booted.script.len() > user_data::LIMIT);
    assert_eq!(booted.value("EC_CALLBACK_URL"), world.site.url);
    assert_eq!(booted.value("EC_REPO"), world.site.repository);

    // Every tag is in the launch itself, and on the disk too.
    let site = attempt.request["site"].as_str().unwrap();
    let wanted: BTreeMap<_, _> = [
        ("Name", "shop"),
        ("ManagedBy", "ec-deployer"),
        ("ec-deployer:site", site),
        ("ec-deployer:instance", "shop"),
        ("ec-deployer:token", &attempt.token),
    ]
    .into();
    let machine = world.account.machine(&id).await;
    assert_eq!(tags(machine.tags()), wanted);
    let attached = Filter::builder().name("attachment.instance-id").values(&id).build();
    let volumes = world.account.client.describe_volumes().filters(attached).send().await.unwrap();
    let [volume] = volumes.volumes() else { panic!("one disk: {volumes:?}") };
    assert_eq!(tags(volume.tags()), wanted);
    assert_eq!((volume.encrypted(), volume.volume_type()), (Some(true), Some(&VolumeType::Gp3)));
    assert_eq!(volume.size(), Some(16));
    let disk = |name: &str| call.param(&format!("BlockDeviceMapping.1.{name}"));
    assert_eq!((disk("DeviceName"), disk("Ebs.DeleteOnTermination")), ("/dev/sda1", "true"));

    // The metadata service wants a token and answers no further away than the machine itself.
    let metadata = machine.metadata_options().unwrap();
    assert_eq!(metadata.http_tokens(), Some(&HttpTokensState::Required));
    assert_eq!(call.param("MetadataOptions.HttpPutResponseHopLimit"), "1");
    assert_eq!(call.param("InstanceInitiatedShutdownBehavior"), "stop");
    assert_eq!(call.param("InstanceType"), "t3.small");
    assert_eq!(call.param("KeyName"), crate::account::NAME);
    assert_eq!(call.param("IamInstanceProfile.Name"), crate::account::NAME);
    assert_eq!(call.list("NetworkInterface.1.SecurityGroupId"), std::slice::from_ref(&world.account.group));
    assert_eq!(call.param("NetworkInterface.1.AssociatePublicIpAddress"), "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_takes_its_time_is_awaited_and_its_address_appears() {
    let world = World::start().await;
    world.proxy.behave(|ec2| (ec2.hidden, ec2.pending, ec2.addressless) = (2, 1, 2));
    world.deploy("shop").await;
    let id = world.launched("shop").await;
    let info = world.mira.info("shop").await;
    assert_eq!((&info["status"], &info["public_ip"]), (&Value::from("booting"), &Value::Null));
    let info = world.mira.wait("shop", PATIENCE, |info| info["public_ip"].is_string()).await;
    let ip = world.account.machine(&id).await.public_ip_address.unwrap();
    assert_eq!(info["public_ip"], ip);
    let page = world.mira.get("/instances/shop").await.text;
    assert!(page.contains(&ip) && page.contains(&id), "{page}");
    assert_eq!(world.machines_of("shop").await, [id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_stopped_started_rebooted_and_terminated_and_each_is_seen() {
    let (world, id) = live_world().await;
    world.proxy.behave(|ec2| (ec2.pending, ec2.leaving) = (1, 1));
    let mira = &world.mira;
    let first = mira.info("shop").await;
    assert_eq!(mira.post("/instances/shop/stop", &[]).await.status, StatusCode::SEE_OTHER);
    let stopped = mira.until("shop", "stopped", PATIENCE).await;
    assert_eq!((&stopped["instance_id"], &stopped["public_ip"]), (&Value::from(id.as_str()), &Value::Null));
    assert_eq!(world.account.state(&id).await, InstanceStateName::Stopped);

    world.pages.answer(false);
    let started = mira.post_from("/instances/shop", "/instances/shop/start", &[]).await;
    assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text);
    world.eventually("shop", |info| info["status"] == "starting" && info["public_ip"].is_string()).await;
    world.pages.answer(true);
    let live = mira.until("shop", "live", PATIENCE).await;
    assert_ne!(live["public_ip"], first["public_ip"], "another address");
    let ip = world.account.machine(&id).await.public_ip_address.unwrap();
    assert_eq!(live["public_ip"], ip);

    world.pages.answer(false);
    let rebooted = mira.post_from("/instances/shop", "/instances/shop/reboot", &[]).await;
    assert_eq!(rebooted.status, StatusCode::SEE_OTHER, "{}", rebooted.text);
    mira.until("shop", "starting", PATIENCE).await;
    world.pages.answer(true);
    mira.until("shop", "live", PATIENCE).await;
    let reboots = world.proxy.calls_of("RebootInstances");
    assert_eq!(reboots.len(), 1, "it is asked for once");
    assert_eq!(reboots[0].list("InstanceId"), std::slice::from_ref(&id));

    world.proxy.forget_calls();
    mira.terminate("shop").await;
    mira.until("shop", "terminated", PATIENCE).await;
    assert_eq!(world.account.state(&id).await, InstanceStateName::Terminated);
    let actions: Vec<_> = world.proxy.calls().into_iter().map(|call| call.action).collect();
    let asked = actions.iter().position(|action| action == "TerminateInstances").unwrap();
    let looks = actions[asked..].iter().filter(|action| *action == "DescribeInstances").count();
    assert!(looks >= 2, "terminated is what was seen, not what was asked for: {actions:?}");
    assert_eq!(world.machines_of("shop").await, [id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_in_the_console_of_aws_is_shown() {
    let (world, id) = live_world().await;
    let (mira, ec2) = (&world.mira, &world.account.client);
    let first = mira.info("shop").await;
    ec2.stop_instances().instance_ids(&id).send().await.unwrap();
    let stopped = mira.until("shop", "stopped", PATIENCE).await;
    assert_eq!(stopped["public_ip"], Value::Null);
    ec2.start_instances().instance_ids(&id).send().await.unwrap();
    let live = mira.until("shop", "live", PATIENCE).await;
    assert_ne!(live["public_ip"], first["public_ip"], "another address");
    ec2.terminate_instances().instance_ids(&id).send().await.unwrap();
    let gone = mira.until("shop", "terminated", PATIENCE).await;
    assert_eq!((&gone["instance_id"], &gone["public_ip"]), (&Value::Null, &Value::Null));

    // Deployed again it is another machine, asked for with another token.
    let fields =
        [("github_url", world.site.repository.as_str()), ("project_name", "guestbook"), ("name", "shop")];
    assert_eq!(mira.post("/instances/new", &fields).await.status, StatusCode::SEE_OTHER);
    let info = mira.wait("shop", PATIENCE, |info| info["status"] == "booting").await;
    assert_ne!(info["instance_id"], id);
    let tokens: Vec<_> = world
        .proxy
        .calls_of("RunInstances")
        .iter()
        .map(|call| call.param("ClientToken").to_owned())
        .collect();
    assert_eq!(tokens.len(), 2);
    assert_ne!(tokens[0], tokens[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_not_shown_for_long_is_no_lost_machine() {
    let world = World::start().await;
    world.proxy.behave(|ec2| ec2.hidden = u32::MAX);
    world.deploy("shop").await;
    let id = world.launched("shop").await;
    // What it reports is taken all the same.
    Machine::boot(&world.account, &id).await.say("::ec step environment start\n").await;
    world.mira.until("shop", "deploying", PATIENCE).await;
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_eq!(world.mira.info("shop").await["status"], "deploying");
    assert_eq!(world.machines_of("shop").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_elastic_ip_is_kept_through_a_stop_and_never_left_behind() {
    let world = World::start_with(&[("ELASTIC_IP", "true")]).await;
    world.deploy("shop").await;
    let id = world.launched("shop").await;
    Machine::boot(&world.account, &id).await.deploy().await;
    let live = world.mira.until("shop", "live", PATIENCE).await;
    let addresses = || async {
        let answer = world.account.client.describe_addresses().send().await.unwrap();
        answer.addresses.unwrap_or_default()
    };
    let kept = addresses().await;
    let [address] = kept.as_slice() else { panic!("one address: {kept:?}") };
    assert_eq!(address.instance_id(), Some(id.as_str()));
    assert_eq!(live["public_ip"], address.public_ip().unwrap());
    assert_eq!(tags(address.tags())["ec-deployer:instance"], "shop");
    let stopped = world.mira.post_from("/instances/shop", "/instances/shop/stop", &[]).await;
    assert_eq!(stopped.status, StatusCode::SEE_OTHER, "{}", stopped.text);
    world.mira.until("shop", "stopped", PATIENCE).await;
    assert_eq!(addresses().await.len(), 1, "it is kept");
    let started = world.mira.post_from("/instances/shop", "/instances/shop/start", &[]).await;
    assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text);
    world.mira.until("shop", "live", PATIENCE).await;
    // moto shows another address on a started machine; on EC2 it is the one that is associated with it.
    let still = addresses().await;
    assert_eq!(still.len(), 1, "no other was asked for");
    assert_eq!(still[0].allocation_id(), address.allocation_id());
    assert_eq!(still[0].instance_id(), Some(id.as_str()));
    world.mira.terminate("shop").await;
    world.mira.until("shop", "terminated", PATIENCE).await;
    assert!(addresses().await.is_empty(), "it is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_template_gives_what_the_settings_leave_out() {
    let account = Account::prepare().await;
    let proxy = Proxy::start(&account.id).await;
    let data = RequestLaunchTemplateData::builder()
        .image_id(&account.image)
        .instance_type(InstanceType::T3Medium)
        .security_group_ids(&account.group)
        .build();
    let made = account.client.create_launch_template().launch_template_name("machines");
    let made = made.launch_template_data(data).send().await.unwrap().launch_template.unwrap();
    let settings = [
        ("GOLDEN_AMI", ""),
        ("SECURITY_GROUP_IDS", ""),
        ("KEY_PAIR", ""),
        ("INSTANCE_PROFILE", ""),
        ("LAUNCH_TEMPLATE", "machines:1"),
    ];
    let world = World::start_in(account, proxy, &settings).await;
    world.deploy("shop").await;
    let id = world.launched("shop").await;
    let call = world.proxy.calls_of("RunInstances").remove(0);
    assert_eq!(call.param("LaunchTemplate.LaunchTemplateId"), made.launch_template_id().unwrap());
    assert_eq!(call.param("LaunchTemplate.Version"), "1");
    assert_eq!(call.param("ImageId"), world.account.image);
    assert_eq!(call.subnet(), world.account.subnets[0], "always an explicit subnet");
    assert_eq!(call.list("SecurityGroupId"), Vec::<String>::new(), "the template's own");
    let machine = world.account.machine(&id).await;
    assert_eq!(tags(machine.tags())["ec-deployer:instance"], "shop");
    assert_eq!(machine.image_id(), Some(&*world.account.image));
}
