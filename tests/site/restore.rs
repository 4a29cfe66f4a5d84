//! What `ec-deployer restore` leaves behind, and what it refuses.

use ec_django_deployer::domain::{DeploymentId, FetchId, FetchKind, Timestamp, UserId};

use crate::backup::{Host, submission};

/// The numbers of a deployment and of a fetch that are asked for now.
async fn next_numbers(host: &Host) -> (DeploymentId, FetchId) {
    let store = host.store("state").await;
    let row = store.instances(None).await.unwrap()[0].instance.row;
    let (wish, mira) = (submission(UserId(1)), UserId(1));
    let id = store.redeploy(row, &wish.repo, &wish.plan, mira, Timestamp::now()).await.unwrap();
    let number = store.deployment(id).await.unwrap().unwrap().number;
    assert_eq!(number, 2, "what people see goes on where the copy was");
    let fetch = store.want_fetch(row, FetchKind::Log, mira).await.unwrap();
    store.close().await;
    host.own("state");
    (id, fetch)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_is_given_out_again() {
    let host = Host::new().await;
    host.well("state", &["backup", "copy.tar.gz"]);
    let mut given = vec![next_numbers(&host).await];
    for _ in 0..2 {
        host.well("state", &["restore", "copy.tar.gz"]);
        let next = next_numbers(&host).await;
        for (deployment, fetch) in &given {
            assert!(next.0.0 > deployment.0 && next.1.0 > fetch.0, "{next:?} after {given:?}");
        }
        given.push(next);
    }
}
