//! Terminate works from every state and leaves nothing.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    sample::deploy_sample,
    site::Site,
    trace::{difference, settled, trace},
};

#[tokio::test(flavor = "multi_thread")]
async fn terminate_leaves_nothing_on_the_host() {
    let (mut site, mira) = Site::start("terminate").await;
    let before = settled(&site).await;
    let name = deploy_sample(&mira).await;
    mira.until(&name, "live", 180).await;
    assert_ne!(trace(&site), before, "a machine leaves traces while it is there");
    mira.terminate(&name).await;
    let gone = mira.until(&name, "terminated", 60).await;
    assert_eq!((&gone["instance_id"], &gone["public_ip"]), (&Value::Null, &Value::Null));
    let after = settled(&site).await;
    println!(
        "difference between before the launch and after the terminate:\n{}",
        difference(&before, &after)
    );
    assert_eq!(before, after, "{}", difference(&before, &after));

    // Also while launching, and the same name again is a new machine.
    let again = mira.deploy_again(&name).await;
    assert_eq!(again, name);
    mira.wait(&name, 60, |info| info["status"] == "booting" || info["status"] == "launching").await;
    mira.terminate(&name).await;
    mira.until(&name, "terminated", 60).await;
    let after = settled(&site).await;
    assert_eq!(before, after, "{}", difference(&before, &after));

    assert!(site.stop(), "the site ends well");
    let left: BTreeSet<_> = trace(&site).into_iter().filter(|line| !line.starts_with("file: ")).collect();
    assert!(left.is_empty(), "the site's own bridge and rules end with it: {left:#?}");
}
