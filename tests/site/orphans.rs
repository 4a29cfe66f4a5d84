//! What is in the cloud and no record knows: seen by admins, adopted and terminated only where one asks for it.

use ec_django_deployer::{
    domain::{
        AVAILABLE, Failure, Holding, HoldingKind, ImageId, OrphanId, OrphanWish, RUNNING, Role, Timestamp,
    },
    web::Offer,
};
use reqwest::{Method, StatusCode};

use crate::helpers::{App, Options, Person, spawn_app, spawn_app_with};

const MACHINE: &str = "i-0abc0abc0abc0abc0";

fn offer() -> Offer {
    Offer {
        types: vec!["t3.small".parse().unwrap()],
        default: "t3.small".parse().unwrap(),
        region: Some("us-east-1".to_owned()),
        disk_gib: 16,
        elastic_ip: true,
    }
}

fn machine(name: &str) -> Holding {
    Holding {
        name: Some(name.to_owned()),
        token: Some("token-of-before".to_owned()),
        created_at: Some(Timestamp::now().plus_seconds(-3 * 86_400)),
        machine_type: Some("t3.small".parse().unwrap()),
        gib: Some(16),
        public_ip: Some("203.0.113.77".parse().unwrap()),
        ..Holding::new(HoldingKind::Machine, MACHINE, RUNNING)
    }
}

fn address() -> Holding {
    Holding {
        public_ip: Some("203.0.113.78".parse().unwrap()),
        ..Holding::new(HoldingKind::Address, "eipalloc-1", "idle")
    }
}

/// What the reconciler writes after an inventory.
async fn found(app: &App, holdings: &[Holding]) {
    let holdings: Vec<_> = holdings.iter().collect();
    app.store.note_inventory(&holdings, Timestamp::now()).await.unwrap();
}

/// A site on EC2 whose instance `shop` has lost its machine, and its admin.
async fn after_a_loss() -> (App, Person) {
    let app = spawn_app_with(Options { offer: Some(offer()), ..Options::default() }).await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop").await;
    app.live("shop").await;
    let (row, _) = app.ids("shop").await;
    app.store.machine_gone(row, &Failure { step: None, message: "It is gone.".into() }).await.unwrap();
    let root = app.person("root", Role::Admin).await;
    (app, root)
}

/// The row of the table that this is in.
fn row<'a>(body: &'a str, text: &str) -> &'a str {
    body.split("<tr role=\"row\">").find(|row| row.contains(text)).unwrap_or_else(|| panic!("{text}: {body}"))
}

#[tokio::test]
async fn an_admin_sees_what_there_is_and_what_it_costs() {
    let (app, mut root) = after_a_loss().await;
    let page = root.get("/cloud").await;
    page.has("Nobody has looked yet.");
    root.get("/instances").await.has_not("a month that no");
    found(&app, &[]).await;
    root.get("/cloud").await.has("There are none: records know all that carries this site's mark.");

    app.store.inventory_failed("AWS does not answer.", Timestamp::now()).await.unwrap();
    let page = root.get("/cloud").await;
    page.has("AWS does not answer.</p>");
    page.has_not("There are none: records");

    found(&app, &[machine("shop"), address()]).await;
    let page = root.get("/cloud").await;
    // 15.18 + 1.28 + 3.65, and 3.65.
    page.has("They cost about <strong>$23.76</strong> a month");
    let machine = row(&page.body, MACHINE);
    for text in [
        "<span class=\"sub\">shop</span>",
        "203.0.113.77",
        "t3.small, 16 GiB",
        "running",
        "3 days ago",
        "$20.11",
    ] {
        assert!(machine.contains(text), "{text}: {machine}");
    }
    assert!(
        machine.contains("href=\"/cloud/orphans/1/adopt\"") && machine.contains("/orphans/1/terminate\"")
    );
    let address = row(&page.body, "eipalloc-1");
    assert!(address.contains("$3.65") && address.contains("203.0.113.78"), "{address}");
    assert!(!address.contains("/adopt"), "no record could have it: {address}");
    root.get("/instances").await.has("1 machine, 1 Elastic IP cost about $24 a month that no record knows");

    app.store.inventory_failed("AWS does not <answer>.", Timestamp::now()).await.unwrap();
    let page = root.get("/cloud").await;
    page.has("AWS does not &#60;answer&#62;. What is listed here was seen before.");
    page.has(MACHINE);
}

#[tokio::test]
async fn for_an_owner_there_is_nothing_here() {
    let (app, _) = after_a_loss().await;
    found(&app, &[machine("shop")]).await;
    let mut aiko = app.owner("aiko").await;
    aiko.get("/instances").await.has_not("no instance knows");
    for path in ["/cloud", "/cloud/events", "/cloud/orphans/1/adopt", "/cloud/orphans/1/terminate"] {
        assert_eq!(aiko.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in ["/cloud/orphans/look", "/cloud/orphans/1/adopt", "/cloud/orphans/1/terminate"] {
        assert_eq!(aiko.post(path, &[("confirm", MACHINE)]).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let orphan = app.store.orphan(OrphanId(1)).await.unwrap().unwrap();
    assert_eq!(orphan.wish, None);
    assert!(!app.store.inventory().await.unwrap().is_awaited());
}

#[tokio::test]
async fn terminating_tells_what_goes_and_wants_its_id_typed() {
    let (app, mut root) = after_a_loss().await;
    found(&app, &[machine("shop"), address()]).await;
    let page = root.get("/cloud/orphans/1/terminate").await;
    page.has("Terminate this machine?");
    page.has("its disk of 16 GiB, with whatever is on it: a project's <strong>database</strong>");
    page.has("What answers at <code>203.0.113.77</code>");
    let wrong = root.post("/cloud/orphans/1/terminate", &[("confirm", "i-<another>")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    wrong.has("This is not its id.");
    wrong.has("value=\"i-&#60;another&#62;\"");
    assert_eq!(app.store.orphan(OrphanId(1)).await.unwrap().unwrap().wish, None);

    let done = root.post("/cloud/orphans/1/terminate", &[("confirm", MACHINE)]).await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, "/cloud#orphans"));
    let orphan = app.store.orphan(OrphanId(1)).await.unwrap().unwrap();
    assert_eq!((orphan.wish, orphan.wished_by), (Some(OrphanWish::Terminate), Some("root".parse().unwrap())));
    assert_eq!(app.store.orphan(OrphanId(2)).await.unwrap().unwrap().wish, None, "it alone");
    let page = root.get("/cloud").await;
    let machine = row(&page.body, MACHINE);
    assert!(machine.contains(">terminating<") && !machine.contains("/terminate\""), "{machine}");
    page.has("http-equiv=\"refresh\"");
    assert_eq!(root.get("/cloud/orphans/1/terminate").await.location(), "/cloud#orphans");

    // The cloud refuses.
    app.store.orphan_failed(OrphanId(1), "It is protected from termination.", false).await.unwrap();
    let page = root.get("/cloud").await;
    let machine = row(&page.body, MACHINE);
    assert!(
        machine.contains("It is protected from termination.") && machine.contains("/terminate\""),
        "{machine}"
    );
    page.has_not("http-equiv=\"refresh\"");

    // Gone in another way meanwhile.
    found(&app, &[address()]).await;
    assert_eq!(root.get("/cloud/orphans/1/terminate").await.status, StatusCode::NOT_FOUND);
    let late = root.post("/cloud/orphans/1/terminate", &[("confirm", MACHINE)]).await;
    assert_eq!(late.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_what_was_found_can_be_named() {
    let (app, mut root) = after_a_loss().await;
    found(&app, &[machine("shop")]).await;
    root.get("/cloud").await;
    for id in ["i-0fff0fff0fff0fff0", "2", "-1", "1%20", "0x1", MACHINE] {
        for verb in ["adopt", "terminate"] {
            let answer = root.post(&format!("/cloud/orphans/{id}/{verb}"), &[("confirm", id)]).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}");
        }
    }
    let forged = root.post_raw("/cloud/orphans/1/terminate", format!("confirm={MACHINE}")).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
    assert_eq!(app.store.orphan(OrphanId(1)).await.unwrap().unwrap().wish, None);
}

#[tokio::test]
async fn adopting_tells_which_record_gets_it_or_why_none_can() {
    let (app, mut root) = after_a_loss().await;
    found(&app, &[machine("shop"), address()]).await;
    let page = root.get("/cloud/orphans/1/adopt").await;
    page.has("<a href=\"/instances/shop\">shop</a> of mira, which has no machine, gets this one.");
    page.has("At once the commit <code>3f1c9ab</code>, which was deployed last, is deployed on it anew.");
    let done = root.post("/cloud/orphans/1/adopt", &[]).await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, "/cloud#orphans"));
    assert_eq!(app.store.orphan(OrphanId(1)).await.unwrap().unwrap().wish, Some(OrphanWish::Adopt));
    assert!(row(&root.get("/cloud").await.body, MACHINE).contains(">adopting<"));

    // Of an address nothing is offered, nor taken.
    root.get("/cloud/orphans/2/adopt").await.has("No record could have it");
    let refused = root.post("/cloud/orphans/2/adopt", &[]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(app.store.orphan(OrphanId(2)).await.unwrap().unwrap().wish, None);

    found(&app, &[machine("nobody"), Holding { state: "stopping".into(), ..machine("shop") }]).await;
    let page = root.get("/cloud/orphans/1/adopt").await;
    assert_eq!(page.location(), "/cloud#orphans", "it is being adopted");
    app.store.orphan_failed(OrphanId(1), "No.", false).await.unwrap();
    let page = root.get("/cloud/orphans/1/adopt").await;
    page.has("The machine i-0abc0abc0abc0abc0 is stopping just now");
    page.has_not("Adopt it</button>");
    found(&app, &[machine("nobody")]).await;
    root.get("/cloud/orphans/1/adopt").await.has("No instance is called nobody.");
    assert_eq!(root.post("/cloud/orphans/1/adopt", &[]).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_machine_is_adopted_and_its_owner_sees_it() {
    let (app, _) = after_a_loss().await;
    found(&app, &[machine("shop")]).await;
    let orphan = app.store.orphan(OrphanId(1)).await.unwrap().unwrap();
    let launch = ec_django_deployer::store::AdoptedLaunch { token: "token-of-before", request: "{}" };
    app.store.adopt_machine(&orphan, launch).await.unwrap();
    let mut mira = app.visitor();
    mira.get("/login").await;
    let fields = [("username", "mira"), ("password", crate::helpers::PASSWORD)];
    mira.post("/login", &fields).await;
    let page = mira.get("/instances/shop").await;
    page.has(MACHINE);
    page.has("203.0.113.77");
    page.has("Deploy again");
    assert!(app.store.orphans().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_image_can_be_adopted_and_on_this_host_nothing_is_said_of_prices() {
    let app = spawn_app().await;
    let mut root = app.person("root", Role::Admin).await;
    let image =
        Holding { number: Some(ImageId(4)), ..Holding::new(HoldingKind::Image, "img-4-aa", AVAILABLE) };
    found(&app, &[image]).await;
    let page = root.get("/cloud").await;
    assert!(row(&page.body, "img-4-aa").contains("Golden image"));
    page.has_not("$");
    root.get("/instances").await.has("1 golden image is in the cloud that no record knows");
    root.get("/cloud/orphans/1/adopt").await.has("as that of bake 4");
    root.get("/cloud/orphans/1/terminate").await.has("No machine can boot from it any more.");
}

#[tokio::test]
async fn looking_is_asked_for_and_the_page_follows() {
    let (app, mut root) = after_a_loss().await;
    found(&app, &[]).await;
    let page = root.get("/cloud").await;
    let events = page.between("data-events=\"", "\"").replace("&#38;", "&");
    let mut events = root.events(&events, None).await;
    assert!(events.is_quiet().await, "the page has it all");
    let mut changes = app.store.changes();
    let done = root.post("/cloud/orphans/look", &[]).await;
    assert_eq!(done.location(), "/cloud#orphans");
    assert_eq!(changes.recv().await.unwrap(), ec_django_deployer::store::Change::OrphanWish);
    assert!(app.store.inventory().await.unwrap().is_awaited());
    let event = events.until(|event| event.event == "fragment").await;
    assert!(event.data.contains("looking now"), "{}", event.data);
    found(&app, &[machine("shop")]).await;
    let event = events.until(|event| event.event == "fragment" && event.data.contains(MACHINE)).await;
    assert!(!event.data.contains("looking now"), "{}", event.data);
    let mut visitor = app.visitor();
    assert_eq!(visitor.get("/cloud/events").await.status, StatusCode::UNAUTHORIZED);
    let asked = visitor.send(visitor.request(Method::GET, "/cloud")).await;
    assert_eq!(asked.location(), "/login?next=%2Fcloud");
}

#[tokio::test]
async fn they_are_counted_for_those_who_watch_over_the_site() {
    let (app, _) = after_a_loss().await;
    let metrics =
        async || reqwest::get(format!("{}/metrics", app.metrics)).await.unwrap().text().await.unwrap();
    assert!(metrics().await.contains("ec_deployer_orphans{kind=\"machine\"} 0\n"));
    found(&app, &[machine("shop"), address()]).await;
    let text = metrics().await;
    for line in ["{kind=\"machine\"} 1\n", "{kind=\"address\"} 1\n", "{kind=\"volume\"} 0\n"] {
        assert!(text.contains(&format!("ec_deployer_orphans{line}")), "{line}: {text}");
    }
}
