//! The site is killed at named points of a launch, ten times at each, and at the end every row has exactly one
//! machine and EC2 has no other. The control says that this could be otherwise.

use std::time::Duration;

use aws_sdk_ec2::types::InstanceStateName;

use crate::{
    database::Stop,
    proxy::faults::Gate,
    site::{PATIENCE, World},
};

/// Times at each point.
const ROUNDS: u32 = 10;

/// Where the site is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    /// The token and the request are saved, and nothing was sent.
    TokenSaved,
    /// The request is on its way: it arrives after the site's end, later still, or never.
    RequestSent,
    /// EC2 has launched the machine, and its reply is held back.
    ReplyHeld,
    /// The reply was received, and the machine's id is not saved.
    IdNotSaved,
    /// As the request or its reply is held back, the owner has asked for the instance's end.
    Terminating,
}

/// Kills the site at a point, and starts it again; what was held back then comes, late.
async fn kill_at(world: &mut World, point: Point, name: &str, round: u32) -> Option<Gate> {
    // Moments from at once to well into whatever comes next, whatever the host's speed.
    let moment = Duration::from_millis(u64::from(round * round) * 3);
    let database = world.site.database().await;
    let mut gate = None;
    match point {
        Point::TokenSaved => {
            database.stop(Stop::BeforeSending).await;
            world.deploy(name).await;
            let begun = std::time::Instant::now();
            while database.attempts(name).await.is_empty() {
                assert!(begun.elapsed().as_secs() < PATIENCE, "no attempt was saved");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Point::RequestSent => {
            let held = world.proxy.hold_requests("RunInstances", 1);
            world.deploy(name).await;
            held.reached(1).await;
            gate = Some(held);
        }
        Point::ReplyHeld => {
            let held = world.proxy.hold_replies("RunInstances", 1);
            world.deploy(name).await;
            held.reached(1).await;
            gate = Some(held);
        }
        Point::IdNotSaved => {
            database.stop(Stop::BeforeId).await;
            world.deploy(name).await;
            let of = |call: &crate::proxy::call::Call| {
                call.tags("instance").get("ec-deployer:instance").is_some_and(|instance| instance == name)
            };
            let begun = std::time::Instant::now();
            while !world
                .proxy
                .calls_of("RunInstances")
                .iter()
                .any(|call| of(call) && call.status == Some(200))
            {
                assert!(begun.elapsed().as_secs() < PATIENCE, "no launch was answered");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Point::Terminating => {
            let held = match round % 2 {
                0 => world.proxy.hold_requests("RunInstances", 1),
                _ => world.proxy.hold_replies("RunInstances", 1),
            };
            world.deploy(name).await;
            held.reached(1).await;
            world.mira.terminate(name).await;
            gate = Some(held);
        }
    }
    tokio::time::sleep(moment).await;
    world.site.kill();
    let attempts = database.attempts(name).await;
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].state, "open", "{point:?}, round {round}");
    assert_eq!(attempts[0].sent, point != Point::TokenSaved);
    if matches!(point, Point::TokenSaved | Point::IdNotSaved) {
        database.go_on().await;
    }
    if let Some(held) = &gate {
        match round % 3 {
            0 => held.release(),
            1 => held.lose(),
            // Only when the site has asked again.
            _ => {}
        }
    }
    world.site.restart().await;
    gate
}

/// The rounds of one point; afterwards, how many machines each instance has.
async fn rounds(point: Point, idempotent: bool) -> Vec<usize> {
    let mut world = World::start().await;
    world.proxy.behave(|ec2| {
        ec2.idempotent = idempotent;
        // What was just launched is not shown at once.
        ec2.hidden = 1;
    });
    let mut counts = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("shop-{round}");
        let held = kill_at(&mut world, point, &name, round).await;
        match point {
            Point::Terminating => {
                world.mira.until(&name, "terminated", PATIENCE).await;
            }
            _ => {
                world.launched(&name).await;
            }
        }
        if let Some(held) = held {
            held.release();
        }
    }
    // What was released last is through by now; nothing that is late may add a machine.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let known = world.site.database().await.instances().await;
    assert_eq!(known.len(), ROUNDS as usize, "none is lost");
    for (name, status, id) in known {
        let machines = world.machines_of(&name).await;
        if idempotent {
            assert_is_the_one(&world, &name, &status, id.as_deref(), &machines).await;
        }
        counts.push(machines.len());
    }
    assert_eq!(counts.iter().sum::<usize>(), world.account.machines().await.len(), "no other machine");
    counts
}

/// The instance's row and the machines that there are say the same.
async fn assert_is_the_one(world: &World, name: &str, status: &str, id: Option<&str>, machines: &[String]) {
    if status == "terminated" {
        for machine in machines {
            assert_eq!(world.account.state(machine).await, InstanceStateName::Terminated, "{name}");
        }
    } else {
        assert_eq!(machines, [id.unwrap_or_default()], "{name}");
    }
    let calls = world.proxy.calls_of("RunInstances");
    let of_name = calls.iter().filter(|call| call.tags("instance")["ec-deployer:instance"] == name);
    let mut requests: Vec<_> = of_name.map(|call| call.params.clone()).collect();
    requests.dedup();
    assert!(requests.len() <= 1, "{name}: every repetition is the same to the byte");
}

async fn no_double(point: Point) {
    let counts = rounds(point, true).await;
    assert!(counts.iter().all(|count| *count == 1), "{point:?}: {counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_the_token_saved() {
    no_double(Point::TokenSaved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_the_request_sent() {
    no_double(Point::RequestSent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_the_reply_held_back() {
    no_double(Point::ReplyHeld).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_the_reply_received_and_the_id_not_saved() {
    no_double(Point::IdNotSaved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_as_a_launch_is_to_be_terminated() {
    let counts = rounds(Point::Terminating, true).await;
    // A request that never arrived may have been given up without a machine.
    assert!(counts.iter().all(|count| *count <= 1), "{counts:?}");
}

/// Without EC2's idempotency the same kills make doubles: the tests above can fail.
#[tokio::test(flavor = "multi_thread")]
async fn the_control_reports_doubles() {
    let counts = rounds(Point::ReplyHeld, false).await;
    assert!(counts.iter().filter(|count| **count > 1).count() > ROUNDS as usize / 2, "{counts:?}");
}
