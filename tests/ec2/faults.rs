//! What AWS does to requests on a bad day: the outcome is the same, one machine for each instance.

use std::collections::BTreeSet;

use crate::{
    proxy::{call::Call, faults::Fault},
    site::World,
};

/// Whether a call is about the launch of an instance.
pub fn launches(name: &str) -> impl Fn(&Call) -> bool + Send + 'static {
    let name = name.to_owned();
    move |call| call.tags("instance").get("ec-deployer:instance").is_some_and(|instance| *instance == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_a_launch_and_its_reply_there_is_one_machine() {
    let world = World::start_with(&[("PARALLEL_LAUNCHES", "20")]).await;
    let throttled = Fault::answer(503, "RequestLimitExceeded", "Request limit exceeded.");
    let faults = [
        ("dropped", 2, Fault::DropReply),
        ("lost", 2, Fault::Lose),
        ("internal-before", 2, Fault::answer(500, "InternalError", "An internal error has occurred")),
        ("internal-after", 2, Fault::afterwards(500, "InternalError")),
        ("unavailable-after", 2, Fault::afterwards(503, "Unavailable")),
        ("throttled", 3, throttled),
        ("throttled-after", 1, Fault::afterwards(503, "RequestLimitExceeded")),
        ("hangs", 1, Fault::Hang),
    ];
    for (name, times, fault) in &faults {
        world.proxy.fault_only("RunInstances", *times, fault.clone(), launches(name));
    }
    for (name, ..) in &faults {
        world.deploy(name).await;
    }
    for (name, times, _) in &faults {
        let id = world.launched(name).await;
        assert_eq!(world.machines_of(name).await, [id], "{name}");
        let calls = world.proxy.calls_of("RunInstances").into_iter().filter(launches(name));
        let calls: Vec<_> = calls.map(|call| call.params).collect();
        assert_eq!(calls.len(), times + 1, "{name}: asked again, and no more than that");
        assert!(calls.windows(2).all(|two| two[0] == two[1]), "{name}: the same request");
    }
    assert_eq!(world.account.machines().await.len(), faults.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_subnet_has_no_room_another_is_asked_with_a_new_token() {
    let world = World::start().await;
    let full = world.account.subnets[..2].to_vec();
    let message =
        "We currently do not have sufficient t3.small capacity in the Availability Zone you requested.";
    let no_room = Fault::answer(500, "InsufficientInstanceCapacity", message);
    world
        .proxy
        .fault_only("RunInstances", 100, no_room, move |call| full.iter().any(|full| full == call.subnet()));
    world.deploy("shop").await;
    let id = world.launched("shop").await;
    let calls = world.proxy.calls_of("RunInstances");
    let subnets: Vec<_> = calls.iter().map(|call| call.subnet().to_owned()).collect();
    assert_eq!(subnets, world.account.subnets);
    let tokens: BTreeSet<_> = calls.iter().map(|call| call.param("ClientToken")).collect();
    assert_eq!(tokens.len(), 3, "a token is bound to its zone");
    assert_eq!(world.machines_of("shop").await, [id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_subnet_has_room_the_page_says_so_and_trying_again_does() {
    let world = World::start().await;
    let no_room = Fault::answer(500, "InsufficientInstanceCapacity", "There is no capacity.");
    world.proxy.fault("RunInstances", 3, no_room);
    world.deploy("shop").await;
    let failed = world.mira.until("shop", "failed", 60).await;
    let message = failed["error"]["message"].as_str().unwrap();
    assert!(message.contains("no room for this instance type in any of 3 subnets"), "{message}");
    assert!(world.account.machines().await.is_empty());
    world.mira.redeploy("shop").await;
    world.eventually("shop", |info| info["instance_id"].is_string()).await;
    assert_eq!(world.account.machines().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn power_and_listings_get_over_a_bad_day_too() {
    let (world, id) = crate::lifecycle::live_world().await;
    let throttled = || Fault::answer(503, "RequestLimitExceeded", "Request limit exceeded.");
    world.proxy.fault("DescribeInstances", 4, throttled());
    world.proxy.fault("StopInstances", 1, throttled());
    world.proxy.fault("StopInstances", 1, Fault::DropReply);
    world.mira.post("/instances/shop/stop", &[]).await;
    world.mira.until("shop", "stopped", 60).await;
    world.proxy.fault("StartInstances", 1, Fault::afterwards(500, "InternalError"));
    world.mira.post_from("/instances/shop", "/instances/shop/start", &[]).await;
    world.mira.until("shop", "live", 60).await;
    world.proxy.fault("TerminateInstances", 1, Fault::Lose);
    world.proxy.fault("TerminateInstances", 1, Fault::DropReply);
    world.mira.terminate("shop").await;
    world.mira.until("shop", "terminated", 60).await;
    assert_eq!(world.account.state(&id).await, aws_sdk_ec2::types::InstanceStateName::Terminated);
}

/// A refusal is not believed where an earlier request of the same launch may have gone through.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_and_then_a_refusal_is_the_machine_that_was_launched() {
    let world = World::start().await;
    world.proxy.behave(|ec2| ec2.hidden = 2);
    let refusals = [
        (
            "limit",
            400,
            "VcpuLimitExceeded",
            "You have requested more vCPU capacity than your limit of 0 allows",
        ),
        ("room", 500, "InsufficientInstanceCapacity", "There is no capacity."),
        ("rights", 403, "UnauthorizedOperation", "You are not authorized to perform this operation."),
    ];
    for (name, status, code, message) in refusals {
        world.proxy.fault_only("RunInstances", 1, Fault::DropReply, launches(name));
        world.proxy.fault_only("RunInstances", 1000, Fault::answer(status, code, message), launches(name));
        world.deploy(name).await;
    }
    for (name, ..) in refusals {
        let id = world.launched(name).await;
        assert_eq!(world.machines_of(name).await, [id], "{name}");
        let calls = world.proxy.calls_of("RunInstances").into_iter().filter(launches(name));
        let tokens: BTreeSet<_> = calls.map(|call| call.param("ClientToken").to_owned()).collect();
        assert_eq!(tokens.len(), 1, "{name}: no new token while the first may have its machine");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_terminated_before_its_reply_has_come_is_seen_to_be() {
    let world = World::start().await;
    let held = world.proxy.hold_replies("RunInstances", 1);
    world.deploy("shop").await;
    held.reached(1).await;
    let id = world.machines_of("shop").await.remove(0);
    world.account.client.terminate_instances().instance_ids(&id).send().await.unwrap();
    held.lose();
    world.eventually("shop", |info| info["status"] == "terminated").await;
    assert_eq!(
        world.machines_of("shop").await,
        [id],
        "its token is spent, and nothing is launched by itself"
    );
}
