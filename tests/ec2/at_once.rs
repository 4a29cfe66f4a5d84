//! Many submissions at once. The first module in the alphabet, so that the longest test begins first: the site
//! launches two machines a second at most.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};

use reqwest::StatusCode;

use crate::{
    person::Person,
    site::{PATIENCE, World},
};

/// Submissions at once.
const MANY: usize = 200;
/// The people who send them: the site looks at one repository of each person at a time.
const PEOPLE: usize = 8;

/// Sends the form; where the site asks for another try, since it looks at many repositories already, again.
async fn submit(world: &World, person: &Person, name: &str) {
    let fields =
        [("github_url", world.site.repository.as_str()), ("project_name", "guestbook"), ("name", name)];
    let begun = std::time::Instant::now();
    while begun.elapsed().as_secs() < 2 * PATIENCE {
        let answer = person.post("/instances/new", &fields).await;
        if answer.status == StatusCode::SEE_OTHER {
            assert_eq!(answer.location.as_deref(), Some(&*format!("/instances/{name}")));
            return;
        }
        assert!(answer.text.contains("Try again in a minute"), "{}", answer.text);
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    panic!("{name} was never taken")
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_submissions_at_once_none_is_lost_and_none_double() {
    let world = World::start_with(&[("PARALLEL_LAUNCHES", "20")]).await;
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        people.push(world.site.add_user(&format!("person-{n}")).await);
    }
    let all = (0..MANY).map(|n| (n, &people[n % PEOPLE]));
    let sent = all.map(|(n, person)| {
        let world = &world;
        async move { submit(world, person, &format!("shop-{n}")).await }
    });
    stream::iter(sent).buffer_unordered(MANY).collect::<Vec<_>>().await;

    // The site itself stays below what EC2 lets an account launch: two a second.
    let database = world.site.database().await;
    let begun = std::time::Instant::now();
    loop {
        let known = database.instances().await;
        assert_eq!(known.len(), MANY, "none is lost");
        if known.iter().all(|(_, _, id)| id.is_some()) {
            break;
        }
        assert!(begun.elapsed().as_secs() < 600, "{known:?}");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    let known: BTreeSet<_> = database.instances().await.into_iter().filter_map(|(_, _, id)| id).collect();
    let machines: BTreeSet<_> =
        world.account.machines().await.into_iter().filter_map(|machine| machine.instance_id).collect();
    assert_eq!(known, machines, "each row has its machine, and there is no other");
    assert_eq!(machines.len(), MANY);

    // The fleet is looked at as a whole: so many machines are one request.
    world.proxy.forget_calls();
    let begun = std::time::Instant::now();
    let looks = || world.proxy.calls_of("DescribeInstances").len();
    while looks() < 2 {
        assert!(begun.elapsed().as_secs() < PATIENCE, "nobody looks");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    let (looks, seconds) = (looks() as u64, begun.elapsed().as_secs());
    assert!(looks <= seconds / 2 + 2, "{looks} requests in {seconds} seconds for {MANY} machines");
}
