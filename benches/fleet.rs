//! What 1,000 machines on EC2 cost a site that only looks at them: requests, and processor time for each look at the
//! fleet. EC2 is moto, on the same host. Run by `scripts/bench.sh`; prints a table in Markdown.

#[allow(dead_code)]
#[path = "../tests/ec2/account.rs"]
mod account;
#[allow(dead_code)]
#[path = "../tests/ec2/database.rs"]
mod database;
#[allow(dead_code)]
#[path = "../tests/ec2/machine.rs"]
mod machine;
#[allow(dead_code)]
#[path = "../tests/ec2/moto.rs"]
mod moto;
#[allow(dead_code)]
#[path = "../tests/machines/person.rs"]
mod person;
#[allow(dead_code)]
#[path = "../tests/ec2/proxy/mod.rs"]
mod proxy;
#[allow(dead_code)]
#[path = "../tests/ec2/site.rs"]
mod site;
#[allow(dead_code)]
mod stats;
mod trace {
    pub fn booted(_: &str) {}
}

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_ec2::types::{InstanceType, ResourceType, Tag, TagSpecification};
use machine::Machine;
use site::World;
use stats::{Sample, print_table};

/// Machines of the site.
const MACHINES: i32 = 1000;
/// How long is measured, each time.
const WINDOW: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let mut world = World::start_with(&[("RUST_LOG", "info")]).await;
    world.deploy("shop").await;
    let id = world.launched("shop").await;
    Machine::boot(&world.account, &id).await.deploy().await;
    world.eventually("shop", |info| info["status"] == "live" && info["public_ip"].is_string()).await;
    world.site.kill();
    copy(&world, &id).await;
    world.site.restart().await;

    // First a minute for what a start brings with it: a thousand addresses are written down.
    let mut rows = Vec::new();
    for (when, before) in [("a minute after the start", 60), ("three minutes later", 120)] {
        tokio::time::sleep(Duration::from_secs(before)).await;
        let (calls, cpu) = measure(&world).await;
        let looks = calls.get("DescribeInstances").copied().unwrap_or_default();
        println!("Requests in {} seconds, {when}: {calls:?}", WINDOW.as_secs());
        rows.push((format!("requests a minute, {when}"), Sample::of(calls.values().sum::<usize>() as f64)));
        rows.push((
            format!("processor ms for each look, {when}"),
            Sample::of(cpu * 1000.0 / looks.max(1) as f64),
        ));
    }
    print_table(&format!("{MACHINES} machines on EC2 that nothing happens to"), "", &rows);
}

/// Gives the site so many machines, each a copy of the first one's records.
async fn copy(world: &World, id: &str) {
    let first = world.account.machine(id).await;
    let tags = TagSpecification::builder().resource_type(ResourceType::Instance);
    let kept = first.tags().iter().filter(|tag| tag.key() != Some("ec-deployer:token"));
    let tags = tags.set_tags(Some(kept.cloned().collect::<Vec<Tag>>())).build();
    let others = world
        .account
        .client
        .run_instances()
        .image_id(&world.account.image)
        .instance_type(InstanceType::T3Small)
        .subnet_id(&world.account.subnets[0])
        .tag_specifications(tags)
        .min_count(MACHINES - 1)
        .max_count(MACHINES - 1);
    let others = others.send().await.expect("machines").instances.unwrap_or_default();
    let database = world.site.database().await;
    let mut statements = String::from("BEGIN IMMEDIATE;");
    for (n, other) in others.iter().enumerate() {
        let id = other.instance_id().unwrap();
        statements.push_str(&format!(
            "CREATE TEMP TABLE i AS SELECT * FROM instances WHERE name = 'shop';
             UPDATE i SET id = NULL, name = 'shop-{n}', instance_id = '{id}', public_ip = NULL;
             INSERT INTO instances SELECT * FROM i;
             CREATE TEMP TABLE a AS SELECT * FROM attempts WHERE instance_id = '{first}';
             UPDATE a SET id = NULL, token = token || '-{n}', instance_id = '{id}',
                 instance = (SELECT id FROM instances WHERE name = 'shop-{n}');
             INSERT INTO attempts SELECT * FROM a;
             CREATE TEMP TABLE d AS SELECT * FROM deployments
                 WHERE instance = (SELECT id FROM instances WHERE name = 'shop');
             UPDATE d SET id = NULL, instance = (SELECT id FROM instances WHERE name = 'shop-{n}');
             INSERT INTO deployments SELECT * FROM d;
             DROP TABLE i; DROP TABLE a; DROP TABLE d;",
            first = first.instance_id().unwrap(),
        ));
    }
    statements.push_str("COMMIT;");
    database.execute(statements).await;
    let rows = database.instances().await.len();
    assert_eq!(rows, usize::try_from(MACHINES).unwrap());
}

/// The requests of a window by their names, and the site's processor seconds in it.
async fn measure(world: &World) -> (BTreeMap<String, usize>, f64) {
    world.proxy.forget_calls();
    let before = processor(world);
    tokio::time::sleep(WINDOW).await;
    let used = processor(world) - before;
    let mut calls = BTreeMap::new();
    for call in world.proxy.calls() {
        *calls.entry(call.action).or_default() += 1;
    }
    (calls, used)
}

/// Seconds of processor time that the site has used so far. The kernel counts hundredths.
fn processor(world: &World) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", world.site.pid())).unwrap();
    // After the program's name, which is in brackets, come the state and then the numbers.
    let after = stat.rsplit(") ").next().unwrap();
    let ticks: f64 = after.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}
