//! Each error of AWS in people's words, with its cure, on the page.

use reqwest::StatusCode;

use crate::{
    faults::launches,
    lifecycle::live_world,
    proxy::faults::Fault,
    site::{PATIENCE, World},
};

/// What becomes of an instance by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It fails: nothing that this site could repeat will do.
    Fails,
    /// It goes on waiting, says why, and is there once the error has passed.
    Waits,
}

/// Status, code and message as EC2 documents them; what the page says of what to do; what becomes of the instance.
/// <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-error-codes.html>
const ERRORS: [(u16, &str, &str, &str, Then); 20] = [
    (
        403,
        "UnauthorizedOperation",
        "You are not authorized to perform this operation. User: arn:aws:iam::1:user/site is not authorized to perform: iam:PassRole on resource: arn:aws:iam::1:role/machines because no identity-based policy allows the iam:PassRole action. Encoded authorization failure message: c2VjcmV0",
        "not allowed iam:PassRole",
        Then::Fails,
    ),
    (
        403,
        "UnauthorizedOperation",
        "You are not authorized to perform this operation.",
        "not allowed ec2:RunInstances",
        Then::Fails,
    ),
    (
        401,
        "AuthFailure",
        "AWS was not able to validate the provided access credentials",
        "does not accept this site's credentials",
        Then::Fails,
    ),
    (400, "RequestExpired", "Request has expired.", "credentials of AWS have expired", Then::Waits),
    (
        400,
        "OptInRequired",
        "You are not subscribed to this service.",
        "cannot use this service yet",
        Then::Fails,
    ),
    (400, "InvalidAMIID.NotFound", "The image id '[ami-0]' does not exist", "GOLDEN_AMI", Then::Fails),
    (
        400,
        "VcpuLimitExceeded",
        "You have requested more vCPU capacity than your current vCPU limit of 16 allows",
        "Service Quotas",
        Then::Fails,
    ),
    (
        400,
        "InstanceLimitExceeded",
        "You have requested more instances (1) than your current instance limit of 0 allows",
        "Service Quotas",
        Then::Fails,
    ),
    (503, "RequestLimitExceeded", "Request limit exceeded.", "takes no more requests", Then::Waits),
    (
        400,
        "IdempotentParameterMismatch",
        "Arguments on this idempotent request are inconsistent",
        "Choose Try again",
        Then::Fails,
    ),
    (
        400,
        "IdempotentInstanceTerminated",
        "The instance is terminated",
        "terminated outside this site",
        Then::Fails,
    ),
    (400, "InvalidParameterValue", "User data is limited to 16384 bytes", "16 KB", Then::Fails),
    (
        400,
        "InvalidParameterValue",
        "Invalid value 't9.huge' for InstanceType.",
        "INSTANCE_TYPES",
        Then::Fails,
    ),
    (
        400,
        "InvalidParameterValue",
        "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
        "INSTANCE_PROFILE",
        Then::Fails,
    ),
    (400, "InvalidSubnetID.NotFound", "The subnet ID 'subnet-0' does not exist", "SUBNET_IDS", Then::Fails),
    (
        400,
        "InvalidGroup.NotFound",
        "The security group 'sg-0' does not exist",
        "SECURITY_GROUP_IDS",
        Then::Fails,
    ),
    (400, "InvalidKeyPair.NotFound", "The key pair 'x' does not exist", "KEY_PAIR", Then::Fails),
    (500, "InternalError", "An internal error has occurred", "failure of its own", Then::Waits),
    (
        503,
        "Unavailable",
        "The server is overloaded and can't handle the request.",
        "failure of its own",
        Then::Waits,
    ),
    (400, "SomethingNew", "This is not known yet.", "This is not known yet. (SomethingNew)", Then::Fails),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_error_has_its_sentence_and_its_cure_on_the_page() {
    let world = World::start_with(&[("PARALLEL_LAUNCHES", "20")]).await;
    let named: Vec<_> = ERRORS.iter().enumerate().map(|(n, error)| (format!("shop-{n}"), error)).collect();
    for (name, (status, code, message, ..)) in &named {
        world.proxy.fault_only("RunInstances", 1000, Fault::answer(*status, code, message), launches(name));
        world.deploy(name).await;
    }
    for (name, (_, code, _, says, then)) in &named {
        let shown = || async {
            let page = world.mira.get(&format!("/instances/{name}")).await;
            assert_eq!(page.status, StatusCode::OK);
            page.text.replace("&#39;", "'").replace("&#x27;", "'")
        };
        let begun = std::time::Instant::now();
        let page = loop {
            let page = shown().await;
            if page.contains(says) || begun.elapsed().as_secs() > PATIENCE {
                break page;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        };
        assert!(page.contains(says), "{code}: {says:?} is not on the page:\n{page}");
        assert!(!page.contains("Encoded authorization"), "{code}: what only AWS's support can read");
        let info = world.mira.info(name).await;
        let wanted = if *then == Then::Fails { "failed" } else { "launching" };
        assert_eq!(info["status"], wanted, "{code}");
    }
    assert!(world.account.machines().await.is_empty());

    // What has passed has passed.
    world.proxy.heal();
    for (name, (.., then)) in &named {
        if *then == Then::Waits {
            let id = world.launched(name).await;
            assert_eq!(world.machines_of(name).await, [id]);
            let page = world.mira.get(&format!("/instances/{name}")).await.text;
            assert!(!page.contains("asks for patience"), "{page}");
        }
    }
}

/// The page's words for a site that cannot launch, or the instance's while it waits.
async fn says(world: &World, words: &str) {
    let begun = std::time::Instant::now();
    loop {
        let page = world.mira.get("/instances/shop").await.text.replace("&#39;", "'");
        if page.contains(words) {
            return;
        }
        assert!(begun.elapsed().as_secs() < PATIENCE, "{words:?} is not on the page:\n{page}");
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_without_credentials_says_so_and_loses_nothing() {
    let none = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", ""), ("AWS_SESSION_TOKEN", "")];
    let mut world = World::start_with(&none).await;
    world.deploy("shop").await;
    says(&world, "no credentials of AWS").await;
    assert!(world.account.machines().await.is_empty());
    world.site.kill();
    world
        .site
        .restart_with(&[
            ("AWS_ACCESS_KEY_ID", crate::site::ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", crate::site::SECRET_KEY),
        ])
        .await;
    world.launched("shop").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_does_not_reach_aws_says_so_and_loses_nothing() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut world = World::start_with(&[("AWS_ENDPOINT_URL", &format!("http://{closed}"))]).await;
    world.deploy("shop").await;
    says(&world, "This site does not reach").await;
    world.site.kill();
    let proxy = world.proxy.url.clone();
    world.site.restart_with(&[("AWS_ENDPOINT_URL", &proxy)]).await;
    world.launched("shop").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_credentials_are_named_and_what_runs_goes_on() {
    let (world, _) = live_world().await;
    let expired = Fault::answer(400, "RequestExpired", "Request has expired.");
    world.proxy.fault("StopInstances", 3, expired);
    world.mira.post("/instances/shop/stop", &[]).await;
    says(&world, "credentials of AWS have expired").await;
    world.mira.until("shop", "stopped", PATIENCE).await;
}
