//! What machines cost, which of them can be had, and how many.

use ec_django_deployer::{
    domain::{Failure, Role, Status, Wanted},
    web::Offer,
};
use reqwest::StatusCode;

use crate::helpers::{Answer, App, Options, Person, REPO, spawn_app, spawn_app_with};

/// A cloud in Frankfurt with three types of machine, one of which nobody knows.
fn offer() -> Offer {
    Offer {
        types: ["t3.micro", "t3.small", "x9.large"].map(|name| name.parse().unwrap()).to_vec(),
        default: "t3.small".parse().unwrap(),
        region: Some("eu-central-1".to_owned()),
        disk_gib: 16,
        elastic_ip: false,
    }
}

async fn spawn(offer: Offer) -> App {
    spawn_app_with(Options { offer: Some(offer), ..Options::default() }).await
}

async fn spawn_limited(max_instances: u32) -> App {
    spawn_app_with(Options { max_instances, ..Options::default() }).await
}

/// Sends the form of an instance with a type of machine.
async fn ask(person: &mut Person, name: &str, machine_type: &str) -> Answer {
    ask_again(person, name, machine_type, "Books").await
}

/// The same, described otherwise: what was sent two seconds ago already would be the second click of a double click.
async fn ask_again(person: &mut Person, name: &str, machine_type: &str, description: &str) -> Answer {
    let fields = [
        ("github_url", REPO),
        ("project_name", "backend"),
        ("name", name),
        ("description", description),
        ("machine_type", machine_type),
    ];
    person.post("/instances/new", &fields).await
}

async fn type_of(app: &App, name: &str) -> Option<String> {
    app.found(name).await.instance.machine_type.map(|machine_type| machine_type.to_string())
}

fn failure() -> Failure {
    Failure { step: None, message: "It was terminated.".to_owned() }
}

/// Wants an instance gone, and says that its machine is.
async fn terminate(app: &App, name: &str) {
    let (row, _) = app.ids(name).await;
    app.store.want(row, Wanted::Absent).await.unwrap();
    app.store.set_status(row, Status::Terminating).await.unwrap();
    app.store.machine_gone(row, &failure()).await.unwrap();
}

async fn stop(app: &App, name: &str) {
    let (row, _) = app.ids(name).await;
    app.store.stop(row).await.unwrap();
    app.store.set_status(row, Status::Stopping).await.unwrap();
    app.store.set_status(row, Status::Stopped).await.unwrap();
}

#[tokio::test]
async fn the_form_offers_types_with_what_they_are_and_cost() {
    let app = spawn(offer()).await;
    let mut mira = app.owner("mira").await;
    let form = mira.get("/instances/new").await;
    // $0.024 × 730 = $17.52, 16 × $0.0952 = $1.52 and $3.65: $22.69. The micro costs $8.76 less.
    in_order(
        &form.between("<select", "</select>"),
        &[
            r#"name="machine_type""#,
            r#"<option value="t3.micro">t3.micro: 2 vCPU, 1 GiB, about $14 a month</option>"#,
            r#"<option value="t3.small" selected>t3.small: 2 vCPU, 2 GiB, about $23 a month</option>"#,
            r#"<option value="x9.large">x9.large</option>"#,
        ],
    );
    form.has("With a disk of 16 GiB and a public IPv4 address, by AWS&#39;s list prices of 2 March 2025 for eu-central-1.");
    form.has("About $23 a month on t3.small, while it runs.");

    let answer = ask(&mut mira, "shop", "t3.micro").await;
    assert_eq!(answer.location(), "/instances/shop", "{}", answer.body);
    assert_eq!(type_of(&app, "shop").await.as_deref(), Some("t3.micro"));
    // Where none is chosen, what the default was then is written down.
    mira.deploy("plain").await;
    assert_eq!(type_of(&app, "plain").await.as_deref(), Some("t3.small"));
}

/// Each of `parts` is in a text, in this order.
#[track_caller]
fn in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        rest = rest
            .split_once(part)
            .unwrap_or_else(|| panic!("{part:?} is not where it should be in {text:?}"))
            .1;
    }
}

#[tokio::test]
async fn a_type_that_is_not_offered_is_told_on_its_field() {
    let app = spawn(offer()).await;
    let mut mira = app.owner("mira").await;
    mira.get("/instances/new").await;
    for wrong in ["t3.large", "t3.small; reboot", "<b>"] {
        let answer = ask(&mut mira, "shop", wrong).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
        answer.has(r##"<a href="#machine-type">Machine type</a>"##);
        answer.has("This type of machine is not offered here.");
        answer.has(r#"value="Books""#);
        answer.has_not(wrong);
    }
    assert!(app.store.instances(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_cloud_without_a_choice_offers_none_and_tells_no_prices() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let form = mira.get("/instances/new").await;
    form.has_not("machine_type");
    form.has_not("a month");
    assert_eq!(ask(&mut mira, "shop", "t3.huge").await.location(), "/instances/shop");
    assert_eq!(type_of(&app, "shop").await, None);
    app.live("shop").await;
    let page = mira.get("/instances/shop").await;
    page.has_not("Machine type");
    page.has_not("a month");
    assert!(mira.get("/instances/shop/info").await.json()["month"].is_null());
    mira.get("/instances/shop/stop").await.has("it is all that goes on costing.");
}

#[tokio::test]
async fn nothing_is_said_of_prices_that_are_not_known() {
    for region in [None, Some("moon-west-1")] {
        let app = spawn(Offer { region: region.map(str::to_owned), ..offer() }).await;
        let mut mira = app.owner("mira").await;
        let form = mira.get("/instances/new").await;
        form.has(r#"<option value="t3.small" selected>t3.small: 2 vCPU, 2 GiB</option>"#);
        form.has("What they cost a month is not known here.");
        form.has_not("$");
        mira.deploy("shop").await;
        app.live("shop").await;
        let page = mira.get("/instances/shop").await;
        page.has("What it costs a month is not known here.");
        page.has_not("$");
        let info = mira.get("/instances/shop/info").await.json();
        assert_eq!((info["machine_type"].as_str(), info["month"].is_null()), (Some("t3.small"), true));
    }
}

#[tokio::test]
async fn the_page_tells_what_the_machine_costs_as_it_is() {
    let app = spawn(offer()).await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop").await;
    mira.get("/instances/shop").await.has("<strong>$22.69</strong> while it runs");
    app.live("shop").await;
    let page = mira.get("/instances/shop").await;
    page.has(r#"<dt>Machine type</dt><dd><code>t3.small</code> <span class="quiet small num">2 vCPU, 2 GiB</span></dd>"#);
    let cost = page.between("<dt>A month</dt>", "</dl>");
    in_order(
        &cost,
        &[
            "<dd><strong>$22.69</strong> while it runs</dd>",
            "<dt>Machine</dt><dd>$17.52</dd>",
            "<dt>Disk, 16 GiB</dt><dd>$1.52</dd>",
            "<dt>Public IPv4</dt><dd>$3.65</dd>",
        ],
    );
    page.has("AWS&#39;s list prices of 2 March 2025 for eu-central-1");
    let month = mira.get("/instances/shop/info").await.json()["month"].clone();
    let expected = serde_json::json!({
        "currency": "USD", "machine_cents": 1752, "disk_cents": 152, "public_ipv4_cents": 365, "total_cents": 2269,
        "region": "eu-central-1", "as_of": "2025-03-02T00:00:00Z",
    });
    assert_eq!(month, expected);

    mira.get("/instances/shop/stop").await.has("it is all that goes on costing, about $2 a month.");
    stop(&app, "shop").await;
    let page = mira.get("/instances/shop").await;
    page.has("<strong>$1.52</strong> while it is stopped");
    page.has("<dt>Machine</dt><dd>$0.00</dd>");
    assert_eq!(mira.get("/instances/shop/info").await.json()["month"]["total_cents"], 152);

    terminate(&app, "shop").await;
    let page = mira.get("/instances/shop").await;
    page.has("Machine type");
    page.has_not("$");
    assert!(mira.get("/instances/shop/info").await.json()["month"].is_null());
}

#[tokio::test]
async fn an_elastic_ip_stays_and_goes_on_costing() {
    let app = spawn(Offer { elastic_ip: true, ..offer() }).await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop").await;
    app.live("shop").await;
    let page = mira.get("/instances/shop/stop").await;
    // 1.52 + 3.65
    page.has("it and the Elastic IP are all that goes on costing, about $5 a month.");
    page.has_not("may change");
    stop(&app, "shop").await;
    let page = mira.get("/instances/shop").await;
    page.has("<strong>$5.17</strong> while it is stopped");
    page.has_not("may be another one");
}

#[tokio::test]
async fn a_machine_that_is_kept_after_a_failure_says_what_it_costs() {
    let app = spawn(offer()).await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop").await;
    let deployment = app.deploying("shop").await;
    app.log(deployment, "::ec step migrate start\nno such table\n::ec step migrate failed 1\n").await;
    let (row, _) = app.ids("shop").await;
    let why = Failure { message: "It failed.".to_owned(), ..failure() };
    app.store.deployment_failed(row, &why, None).await.unwrap();
    let page = mira.get("/instances/shop").await;
    page.has("The machine is kept for <b>Try again</b>");
    page.has("what a running machine costs, about $23 a month, until you");
}

#[tokio::test]
async fn a_machine_keeps_its_type_and_an_instance_without_one_takes_another() {
    let app = spawn(offer()).await;
    let mut mira = app.owner("mira").await;
    mira.get("/instances/new").await;
    ask(&mut mira, "shop", "t3.micro").await;
    // Nothing was launched yet: the newest wish counts.
    assert_eq!(ask(&mut mira, "shop", "t3.small").await.location(), "/instances/shop");
    assert_eq!(type_of(&app, "shop").await.as_deref(), Some("t3.small"));
    // A request that was sent says the type: from then on it stays.
    app.boot("shop").await;
    let answer = ask_again(&mut mira, "shop", "t3.micro", "Other books").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("This instance has a machine, which keeps its type.");
    answer.has(r#"data-fill="machine-type">t3.small</button>"#);
    answer.has(r#"<option value="t3.micro" selected>"#);
    assert_eq!(type_of(&app, "shop").await.as_deref(), Some("t3.small"));
    // Its own type, or none at all, is no other one.
    let answer = ask_again(&mut mira, "shop", "t3.small", "More books").await;
    assert_eq!(answer.location(), "/instances/shop", "{}", answer.body);
    mira.deploy("shop").await;
    assert_eq!(type_of(&app, "shop").await.as_deref(), Some("t3.small"));

    // The form of the instance itself says so, and is not deceived.
    let page = mira.get("/instances/shop/edit").await;
    page.has(r#"<input id="machine-type" value="t3.small: 2 vCPU, 2 GiB, about $23 a month" readonly"#);
    page.has_not("<select id=\"machine-type\"");
    let version = app.found("shop").await.instance.version();
    let edit = |machine_type: &'static str, version: String| {
        [REPO, "backend", "Books", machine_type]
            .into_iter()
            .map(str::to_owned)
            .chain([version])
            .zip(["github_url", "project_name", "description", "machine_type", "version"])
            .map(|(value, name)| (name, value))
            .collect::<Vec<_>>()
    };
    let send = async |mira: &mut Person, fields: Vec<(&'static str, String)>| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        mira.post("/instances/shop/edit", &fields).await
    };
    let answer = send(&mut mira, edit("t3.micro", version)).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("which keeps its type");

    // Gone, it is deployed again on another.
    terminate(&app, "shop").await;
    let page = mira.get("/instances/shop/edit").await;
    page.has(r#"<option value="t3.small" selected>"#);
    let version = app.found("shop").await.instance.version();
    assert_eq!(send(&mut mira, edit("t3.micro", version)).await.location(), "/instances/shop");
    assert_eq!(type_of(&app, "shop").await.as_deref(), Some("t3.micro"));
}

#[tokio::test]
async fn the_same_form_with_a_type_is_the_same_wish() {
    let app = spawn_app_with(Options {
        offer: Some(offer()),
        look_takes: std::time::Duration::from_millis(300),
        ..Options::default()
    })
    .await;
    let mut mira = app.owner("mira").await;
    mira.get("/instances/new").await;
    let (mut one, mut two) = (mira.clone(), mira.clone());
    let (one, two) = tokio::join!(ask(&mut one, "shop", "t3.micro"), ask(&mut two, "shop", "t3.micro"));
    assert_eq!((one.location(), two.location()), ("/instances/shop", "/instances/shop"));
    let (row, _) = app.ids("shop").await;
    assert_eq!(app.store.deployments(row, 10).await.unwrap().len(), 1, "a double click is one wish");
    // Another type is another one.
    ask(&mut mira, "shop", "t3.small").await;
    assert_eq!(app.store.deployments(row, 10).await.unwrap().len(), 2);
}

/// Sends the forms of so many instances at once; how many were accepted.
async fn at_once(person: &Person, names: impl Iterator<Item = String>) -> usize {
    let mut forms = tokio::task::JoinSet::new();
    for name in names {
        let mut person = person.clone();
        forms.spawn(async move { ask(&mut person, &name, "").await });
    }
    let mut accepted = 0;
    for answer in forms.join_all().await {
        match answer.status {
            StatusCode::SEE_OTHER => accepted += 1,
            StatusCode::UNPROCESSABLE_ENTITY => {
                answer.has("Nothing was launched");
                answer.has("An owner may have 3 instances here, and this would be one more.");
                answer.has("MAX_INSTANCES_PER_OWNER");
                answer.has(&format!(r#"value="{REPO}""#));
                answer.has(r#"value="Books""#);
            }
            other => panic!("{other}: {}", answer.body),
        }
    }
    accepted
}

#[tokio::test]
async fn of_twenty_forms_at_once_no_more_get_through_than_an_owner_may_have() {
    let app = spawn_limited(3).await;
    let mut mira = app.owner("mira").await;
    let mut lena = app.owner("lena").await;
    mira.get("/instances/new").await.has("You have 0 of 3 instances.");
    assert_eq!(at_once(&mira, (0..20).map(|n| format!("shop-{n}"))).await, 3);
    assert_eq!(app.store.instances(None).await.unwrap().len(), 3, "nothing of the others was written");
    mira.get("/instances/new").await.has("You have 3 of 3 instances.");
    // Everybody has a number of their own, and one's own are still deployed anew.
    lena.get("/instances/new").await;
    assert_eq!(at_once(&lena, (0..4).map(|n| format!("hers-{n}"))).await, 3);
    let name_of = async |owner: &str| {
        let all = app.store.instances(None).await.unwrap();
        let one = all.iter().find(|found| found.instance.owner_name.as_str() == owner).unwrap();
        one.instance.name.to_string()
    };
    let own = name_of("mira").await;
    let answer = ask_again(&mut mira, &own, "", "Other books").await;
    assert_eq!(answer.location(), format!("/instances/{own}"), "{}", answer.body);
    // A name that is another's is told as such.
    let answer = ask(&mut mira, &name_of("lena").await, "").await;
    answer.has("Another instance of this site has this name");
    answer.has_not("MAX_INSTANCES_PER_OWNER");
}

#[tokio::test]
async fn what_is_terminated_makes_room_and_counts_again_once_it_is_to_come_back() {
    let app = spawn_limited(3).await;
    let mut mira = app.owner("mira").await;
    for n in 0..3 {
        mira.deploy(&format!("old-{n}")).await;
        app.live(&format!("old-{n}")).await;
    }
    for n in 0..3 {
        terminate(&app, &format!("old-{n}")).await;
    }
    mira.deploy("young").await;
    mira.get("/instances/new").await.has("You have 1 of 3 instances.");
    // Two of the three may come back, however quickly they are asked for and whatever way.
    assert_eq!(at_once(&mira, (0..3).map(|n| format!("old-{n}"))).await, 2);
    let mut refused = Vec::new();
    for n in 0..3 {
        let (row, deployment) = app.ids(&format!("old-{n}")).await;
        if app.store.deployment(deployment).await.unwrap().unwrap().outcome.is_some() {
            refused.push((n, row));
        }
    }
    let [(n, _)] = refused[..] else { panic!("{refused:?} wait for nothing") };
    let path = format!("/instances/old-{n}");
    let answer = mira.post(&format!("{path}/redeploy"), &[]).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    answer.has("That would be one instance too many");
    mira.get(&format!("{path}/edit")).await;
    let version = app.found(&format!("old-{n}")).await.instance.version();
    let fields =
        [("github_url", REPO), ("project_name", "backend"), ("description", "Old"), ("version", &*version)];
    let answer = mira.post(&format!("{path}/edit"), &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.has("An owner may have 3 instances here");
    answer.has(r#"value="Old""#);
    // One that waits to come back can be asked for once more: it is counted already.
    let waits = (n + 1) % 3;
    let answer = mira.post(&format!("/instances/old-{waits}/redeploy"), &[]).await;
    assert_eq!(answer.location(), format!("/instances/old-{waits}"));
    // An admin has no limit, and does for an owner what the owner may not.
    let mut root = app.person("root", Role::Admin).await;
    root.get("/instances/new").await.has_not("of 3 instances");
    assert_eq!(root.post(&format!("{path}/redeploy"), &[]).await.location(), path);
    assert_eq!(at_once(&root, (0..5).map(|n| format!("admins-{n}"))).await, 5);
}

#[tokio::test]
async fn admins_see_whose_machines_there_are_and_what_they_cost() {
    let app = spawn(offer()).await;
    let mut mira = app.owner("mira").await;
    let mut lena = app.owner("lena").await;
    let mut root = app.person("root", Role::Admin).await;
    root.get("/cloud").await.has("There are none now.");
    for (name, machine_type) in [
        ("one", "t3.micro"),
        ("two", "t3.small"),
        ("three", "t3.small"),
        ("leaving", "t3.micro"),
        ("gone", ""),
    ] {
        mira.get("/instances/new").await;
        ask(&mut mira, name, machine_type).await;
        app.live(name).await;
    }
    stop(&app, "three").await;
    terminate(&app, "gone").await;
    let (leaving, _) = app.ids("leaving").await;
    app.store.want(leaving, Wanted::Absent).await.unwrap();
    app.store.set_status(leaving, Status::Terminating).await.unwrap();
    lena.get("/instances/new").await;
    ask(&mut lena, "odd", "x9.large").await;
    app.live("odd").await;
    ask(&mut lena, "waits", "t3.small").await;
    let page = root.get("/cloud").await;
    page.has(r#"<a href="/cloud" aria-current="page">Cloud</a>"#);
    let row = |who: &str| page.between(&format!(r#"role="rowheader">{who}</th>"#), "</tr>");
    // t3.micro: $8.76 + $1.52 + $3.65 = $13.93, two of them; t3.small: $22.69; stopped: $1.52. In all $52.07.
    in_order(&row("mira"), &[r#""num">3</td>"#, r#""num">1</td>"#, "$52.07</td>"]);
    in_order(&row("lena"), &[r#""num">1</td>"#, r#""num">0</td>"#, "not known</td>"]);
    in_order(
        &row("All"),
        &[
            "<strong>4</strong>",
            "<strong>1</strong>",
            "<strong>$52.07 and 1 machine without a known price</strong>",
        ],
    );
    page.has("as they were on 2 March 2025");
    page.has(r#"<a href="https://aws.amazon.com/ec2/pricing/on-demand/" rel="noreferrer">"#);
    assert_eq!(mira.get("/cloud").await.status, StatusCode::NOT_FOUND);
    mira.get("/instances").await.has_not("/cloud");
}

#[tokio::test]
async fn the_machines_of_this_host_are_counted_without_prices() {
    let app = spawn_app().await;
    let mut root = app.person("root", Role::Admin).await;
    root.deploy("shop").await;
    app.live("shop").await;
    let page = root.get("/cloud").await;
    in_order(
        &page.between(r#"role="rowheader">root</th>"#, "</tr>"),
        &[r#""num">1</td>"#, r#""num">0</td>"#],
    );
    page.has_not("A month");
    page.has_not("$");
}
