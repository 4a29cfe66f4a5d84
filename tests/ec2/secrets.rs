//! What is logged of requests to AWS, however much is asked for, says nothing of what was in them.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    machine::Machine,
    proxy::faults::Fault,
    site::{ACCESS_KEY, PATIENCE, SECRET_KEY, SESSION_TOKEN, World},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_no_credentials_and_no_user_data() {
    let world = World::start_with(&[("RUST_LOG", "trace")]).await;
    world.proxy.fault(
        "RunInstances",
        1,
        Fault::answer(500, "InternalError", "An internal error has occurred"),
    );
    world.proxy.fault("RunInstances", 1, Fault::DropReply);
    world.deploy("shop").await;
    let id = world.launched("shop").await;
    Machine::boot(&world.account, &id).await.deploy().await;
    world.mira.until("shop", "live", PATIENCE).await;

    let log = world.site.log();
    assert!(log.contains("RunInstances"), "requests are logged");
    let data = world.account.user_data(&id).await;
    let machine = Machine::boot(&world.account, &id).await;
    let encoded = STANDARD.encode(&data);
    let form = encoded.replace('+', "%2B").replace('/', "%2F");
    let token = machine.value("EC_TOKEN");
    for (what, secret) in [
        ("access key", ACCESS_KEY),
        ("secret key", SECRET_KEY),
        ("session token", SESSION_TOKEN),
        ("deployment's token", &token),
        // The first bytes are those of every gzip file.
        ("user data", &encoded[40..100]),
        ("user data as forms send it", &form[40..100]),
        ("user data", &machine.script[200..260]),
        ("signature", "Signature="),
        ("signing key", "signing key"),
    ] {
        let at = log.find(secret);
        let around = at.map(|at| {
            let line = log[..at].rfind('\n').map_or(0, |line| line + 1);
            &log[line..log[at..].find('\n').map_or(log.len(), |end| at + end).min(line + 300)]
        });
        assert!(at.is_none(), "the {what} is in the log: {}", around.unwrap_or_default());
    }
}
