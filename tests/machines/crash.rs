//! The site is killed in the middle of everything, and goes on.

use std::time::Duration;

use crate::{sample::deploy_sample, site::Site};

#[tokio::test(flavor = "multi_thread")]
async fn a_site_killed_during_a_deployment_goes_on_with_one_machine_and_its_whole_log() {
    let (mut site, mira) = Site::start("crash").await;
    let name = deploy_sample(&mira).await;
    mira.wait(&name, 60, |info| info["progress"].as_f64() > Some(0.05)).await;
    site.kill();
    // What the machine says meanwhile must not be lost.
    tokio::time::sleep(Duration::from_secs(3)).await;
    site.restart();
    let live = mira.until(&name, "live", 180).await;
    let id = live["instance_id"].as_str().unwrap();
    assert_eq!(site.cloud().list().await.unwrap().len(), 1, "one machine");

    let stored = mira.get(&format!("/instances/{name}/log")).await.text;
    let written = site.exec(id, &["cat", "/var/log/ec-deployer/deploy.log"]).await;
    assert_eq!(stored, written, "the log is complete to the byte");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_killed_at_any_moment_of_a_launch_ends_up_with_one_machine() {
    let (mut site, mira) = Site::start("launch").await;
    let name = deploy_sample(&mira).await;
    // Moments from before the attempt to after the boot, whatever the host's speed.
    for pause in [0, 40, 120, 300, 700] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        site.kill();
        assert!(site.cloud().list().await.unwrap().len() <= 1);
        site.restart();
    }
    mira.until(&name, "live", 240).await;
    assert_eq!(site.cloud().list().await.unwrap().len(), 1);
}
