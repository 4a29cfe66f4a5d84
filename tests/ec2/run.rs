//! Later deployments: Systems Manager runs their script, and where it cannot the page says what is missing.

use std::time::Duration;

use crate::{
    lifecycle::live_world,
    machine::Machine,
    proxy::{
        faults::Fault,
        ssm::{Command, Ending},
    },
    site::World,
};

/// The commands that Systems Manager was given, once there are so many.
pub async fn commands(world: &World, count: usize) -> Vec<Command> {
    for _ in 0..600 {
        let given = world.proxy.ssm(|ssm| ssm.commands.clone());
        if given.len() >= count {
            return given.into_iter().map(|(_, command)| command).collect();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{count} commands were not given")
}

/// The page of the instance, once it says these words.
async fn says(world: &World, words: &str) {
    for _ in 0..300 {
        if world.mira.get("/instances/shop").await.text.replace("&#39;", "'").contains(words) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{words:?} is not on the page:\n{}", world.mira.get("/instances/shop").await.text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redeployment_is_run_by_systems_manager() {
    let (world, id) = live_world().await;
    world.proxy.ssm(|ssm| {
        ssm.agents.insert(id.clone(), "Online");
        ssm.takes = 2;
    });
    world.proxy.fault("SendCommand", 1, Fault::answer(400, "ThrottlingException", "Rate exceeded"));
    world.mira.redeploy("shop").await;
    let given = commands(&world, 1).await;
    assert_eq!(given[0].instance, id);
    let mut machine = Machine::sent(&given[0].script);
    assert_eq!(machine.value("EC_INSTANCE"), "shop");
    machine.deploy().await;
    world.eventually("shop", |info| info["status"] == "live" && info["progress"] == 1.0).await;
    let history = world.mira.get("/instances/shop/deployments").await.text;
    assert!(history.contains("/instances/shop/deployments/2"), "{history}");
    assert_eq!(world.machines_of("shop").await, [id], "on the same machine");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_systems_manager_cannot_reach_the_machine_the_page_says_what_is_missing() {
    let (world, id) = live_world().await;
    world.mira.redeploy("shop").await;
    says(&world, "AmazonSSMManagedInstanceCore").await;
    world.proxy.ssm(|ssm| ssm.agents.insert(id.clone(), "ConnectionLost"));
    says(&world, "was heard before, but is not any more").await;
    world.proxy.ssm(|ssm| {
        ssm.agents.insert(id.clone(), "Online");
        ssm.ending = Box::new(|_, _| Ending::failure(1, "install: no space left on device"));
    });
    says(&world, "no space left on device").await;
    // It goes on serving what it has, and a later try goes through.
    assert_eq!(world.mira.info("shop").await["status"], "live");
    world.proxy.ssm(|ssm| ssm.ending = Box::new(|_, _| Ending::success("")));
    let before = commands(&world, 1).await.len();
    world.mira.redeploy("shop").await;
    let given = commands(&world, before + 1).await;
    Machine::sent(&given[before].script).deploy().await;
    world.eventually("shop", |info| info["status"] == "live" && info["progress"] == 1.0).await;
}
