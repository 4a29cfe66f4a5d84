//! The sites that the pages are of: people, and an instance in every state that has a page of its own.

mod fetched;

use ec_django_deployer::{
    domain::{
        Answer, Demanded, DeploymentId, Failure, Holding, HoldingKind, ImageId, OrphanId, OrphanWish,
        RUNNING, Readiness, Role, RowId, Status, Step, Timestamp, Variable, Wanted,
    },
    store::{BakedImage, Store},
    user_data,
};

use crate::helpers::{App, COMMIT, Options, PASSWORD, Person, REPO, good_log, spawn_app_with};

/// Which site a page is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// With an instance in every state.
    Busy,
    /// Just set up: the first golden image is being baked, and nothing is live.
    Young,
    /// Whose repositories have all gone away; a bake is asked for.
    Gone,
    /// Whose golden image is old.
    Old,
    /// That cannot launch machines.
    Unready,
    /// With people, and nothing else.
    Empty,
    /// Without anybody yet.
    Fresh,
    /// Whose database does not answer.
    Broken,
}

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum As {
    Visitor,
    /// The owner of all instances.
    Mira,
    /// An owner who has none.
    Aiko,
    /// An admin.
    Root,
}

/// A site, and the cookies of its people.
pub struct Place {
    pub app: App,
    people: Vec<(As, Person)>,
    /// A password link that was not used, from its path on.
    pub link: String,
}

impl Place {
    async fn new(of: Of) -> Self {
        // Where nothing can be launched, the site is one that others reach over http besides.
        let public_url = (of == Of::Unready).then_some("http://203.0.113.7");
        let app = spawn_app_with(Options { public_url, ..Options::default() }).await;
        let mut people = Vec::new();
        if of != Of::Fresh {
            for (who, name, role) in [
                (As::Mira, "mira", Role::Owner),
                (As::Aiko, "aiko", Role::Owner),
                (As::Root, "root", Role::Admin),
            ] {
                people.push((who, app.person(name, role).await));
            }
        }
        Self { app, people, link: String::new() }
    }

    fn person(&mut self, who: As) -> &mut Person {
        &mut self.people.iter_mut().find(|(other, _)| *other == who).unwrap().1
    }

    fn mira(&mut self) -> &mut Person {
        self.person(As::Mira)
    }

    /// The cookies of this person; of a visitor none.
    pub fn cookies(&self, who: As) -> impl Iterator<Item = (&str, &str)> {
        let person = self.people.iter().find(|(other, _)| *other == who);
        person
            .into_iter()
            .flat_map(|(_, person)| person.cookies.iter())
            .map(|(name, value)| (&**name, &**value))
    }
}

/// All sites.
pub struct World(Vec<(Of, Place)>);

impl World {
    pub async fn new() -> Self {
        let mut places = Vec::new();
        for of in [Of::Busy, Of::Young, Of::Gone, Of::Old, Of::Unready, Of::Empty, Of::Fresh, Of::Broken] {
            let mut place = Place::new(of).await;
            match of {
                Of::Busy => fill(&mut place).await,
                Of::Young => {
                    place.mira().deploy("waits").await;
                    give(&place.app).await;
                    let image = place.app.store.begin_image("script").await.unwrap();
                    place.app.store.append_image_log(image, BAKE.as_bytes()).await.unwrap();
                    place.app.store.image_reached(image, 2, 8, "update").await.unwrap();
                }
                Of::Gone => {
                    place.mira().deploy("live").await;
                    place.app.live("live").await;
                    *place.app.tip.lock().unwrap() = "gone".to_owned();
                    let by = place.app.found("live").await.instance.owner;
                    place.app.store.want_bake(by, user_data::image_digest()).await.unwrap();
                }
                Of::Old => {
                    age(&place.app).await;
                    orphans(&place.app).await;
                    let root = place.app.store.users().await.unwrap().remove(0).id;
                    place.app.store.want_orphan(OrphanId(1), OrphanWish::Terminate, root).await.unwrap();
                }
                Of::Unready => {
                    place.mira().deploy("waits").await;
                    let why = "mmdebstrap is not installed: apt-get install mmdebstrap".to_owned();
                    place.app.store.set_readiness(Readiness::NotReady(why));
                }
                Of::Empty | Of::Fresh => {}
                Of::Broken => place.app.store.close().await,
            }
            places.push((of, place));
        }
        Self(places)
    }

    pub fn place(&self, of: Of) -> &Place {
        &self.0.iter().find(|(other, _)| *other == of).unwrap().1
    }
}

/// Variables and a first admin of an instance that waits, and settings that ask for more.
async fn give(app: &App) {
    let row = app.ids("waits").await.0;
    let pairs = [("EMAIL_HOST", "mail.example.com"), ("A_NAME_OF_A_VARIABLE_THAT_IS_LONGER_THAN_MOST", "")];
    let variables = pairs.map(|(name, value)| Variable {
        name: name.parse().unwrap(),
        value: value.to_owned().try_into().unwrap(),
    });
    app.store.set_variables(row, &variables).await.unwrap();
    app.store.want_first_admin(row, &"mira".parse().unwrap()).await.unwrap();
    let asked = |name: &str, offer: Option<&str>, secret| Demanded {
        name: name.to_owned(),
        file: "backend/config/settings.py".to_owned(),
        line: 118,
        answer: Answer::Asked { offer: offer.map(str::to_owned), secret },
    };
    *app.demands.lock().unwrap() =
        vec![asked("STRIPE_SECRET_KEY", None, true), asked("SITE_NAME", Some("bookshop"), false)];
}

/// The log of a bake under way.
const BAKE: &str = "::ec step base start\nI: Retrieving Release\n::ec step base ok 37.02\n\
                    ::ec step update start\nReading <package> lists...\n";

/// Changes what only time changes.
fn sql(app: &App, statement: &str) {
    let file = app.directory.path().join("site.db");
    let output = std::process::Command::new("sqlite3").arg(file).arg(statement).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Images of five weeks: one that is used, failed ones, one that is being deleted, the newest good one.
async fn age(app: &App) {
    let store = &app.store;
    let log = format!("{BAKE}::ec step update failed 100\n");
    let begin = async |log: &str| {
        let image = store.begin_image(user_data::image_digest()).await.unwrap();
        store.append_image_log(image, log.as_bytes()).await.unwrap();
        image
    };
    let end = async |image: ImageId, name| {
        let made = BakedImage { cloud_ref: name, base: "Debian GNU/Linux 12 (bookworm)", size: 881_234_567 };
        store.end_image(image, Ok(made)).await.unwrap();
    };
    end(begin(BAKE).await, "img-20261001-before-the-newest").await;
    let failed = begin(&log).await;
    store.end_image(failed, Err("The image script failed at update (exit code 100).")).await.unwrap();
    let silent = begin("").await;
    store.end_image(silent, Err("The site was stopped while it was being baked.")).await.unwrap();
    let leaving = begin(BAKE).await;
    end(leaving, "img-20261002").await;
    end(begin(BAKE).await, "img-20261003").await;
    store.want_image_deleted(leaving, true).await.unwrap();
    sql(app, "UPDATE images SET finished_at = finished_at - 36 * 86400000, script = 'another' WHERE id < 5");
    sql(app, "UPDATE images SET finished_at = finished_at - 36 * 86400000 WHERE id = 5");
}

/// What no record knows: a machine of an instance that has none, an address, and a disk that could not be deleted.
async fn orphans(app: &App) {
    let machine = Holding {
        name: Some("terminated".to_owned()),
        created_at: Some(Timestamp::now().plus_seconds(-5 * 86_400)),
        machine_type: Some("m7i-flex.large".parse().unwrap()),
        gib: Some(16),
        public_ip: Some("203.0.113.200".parse().unwrap()),
        ..Holding::new(HoldingKind::Machine, "i-0abc0abc0abc0abc0", RUNNING)
    };
    let address = Holding {
        public_ip: Some("203.0.113.201".parse().unwrap()),
        holder: Some("i-0abc0abc0abc0abc1".to_owned()),
        ..Holding::new(HoldingKind::Address, "eipalloc-0abc0abc0abc0abc0", "in use")
    };
    let volume =
        Holding { gib: Some(16), ..Holding::new(HoldingKind::Volume, "vol-0abc0abc0abc0abc0", "available") };
    app.store.note_inventory(&[&machine, &address, &volume], Timestamp::now()).await.unwrap();
    let root = app.store.users().await.unwrap().remove(0).id;
    app.store.want_orphan(OrphanId(3), OrphanWish::Terminate, root).await.unwrap();
    let why = "AWS refuses DeleteVolume: the role of this site lacks the permission ec2:DeleteVolume.";
    app.store.orphan_failed(OrphanId(3), why, false).await.unwrap();
}

/// A log that ends in the middle of `step`, whose last lines are `text`.
fn log_until(step: Step, text: &str) -> String {
    let all = good_log();
    let (before, _) = all.split_once(&format!("::ec step {step} start")).unwrap();
    let long = "https://files.example.org/packages/".repeat(8);
    format!("{before}::ec step {step} start\nCollecting things from {long}\n{text}")
}

fn failure(step: Option<Step>, message: &str) -> Failure {
    Failure { step, message: message.to_owned() }
}

/// One instance in every state that has a page of its own, by a name that says which.
async fn fill(place: &mut Place) {
    for name in [
        "requested",
        "launching",
        "booting",
        "deploying",
        "live",
        "noticed",
        "queued",
        "failed-since",
        "failed-known",
        "failed-unknown",
        "never-reported",
        "to-stop",
        "stopping",
        "stopped",
        "stopped-failed",
        "stopped-queued",
        "to-start",
        "starting",
        "leaving",
        "terminating",
        "terminated",
        "often",
        "logged",
        "logged-anew",
        "logged-well",
        "unlogged",
    ] {
        place.mira().deploy(name).await;
    }
    people(place).await;
    let description =
        "A".repeat(60) + " bookshop with a page for every book that has ever been sold in it, and \u{5e9}";
    let fields = [
        (
            "github_url",
            "https://github.com/a-very-long-name-of-an-organization/a-very-long-name-of-a-repository-too",
        ),
        ("project_name", "a_very_long_name_of_a_project_in_it"),
        ("name", "a-name-that-is-as-long-as-a-name-can-be0"),
        ("branch", "feature/a-branch-with-a-name-that-does-not-end-where-one-would-expect-it"),
        ("description", &description),
    ];
    let answer = place.mira().post("/instances/new", &fields).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    place.app.live("a-name-that-is-as-long-as-a-name-can-be0").await;

    let app = &place.app;
    let store = &app.store;
    let (row, deployment) = app.ids("launching").await;
    let image = app.good_image().await;
    store.begin_attempt(row, deployment, image, "launching", "{}").await.unwrap();
    app.boot("booting").await;
    let running = app.deploying("deploying").await;
    app.log(running, &log_until(Step::Dependencies, "Installing <Django>\n")).await;
    for name in [
        "live",
        "noticed",
        "queued",
        "failed-since",
        "to-stop",
        "stopping",
        "stopped",
        "stopped-queued",
        "to-start",
        "starting",
        "terminating",
        "terminated",
        "often",
        "logged",
        "logged-anew",
        "logged-well",
        "unlogged",
    ] {
        app.live(name).await;
    }
    store
        .set_notice(row_of(app, "noticed").await, Some("It is not reachable from here: security group?"))
        .await
        .unwrap();
    let known = "Traceback (most recent call last):\nModuleNotFoundError: No module named 'environ'\n";
    for (name, text) in [("failed-known", known), ("failed-unknown", "what no one has ever seen: 17\n")] {
        let deployment = app.deploying(name).await;
        fail(app, name, deployment, text).await;
    }
    app.boot("never-reported").await;
    let silent = failure(None, "The machine has not reported for 10 minutes.");
    store.fail(row_of(app, "never-reported").await, &silent).await.unwrap();
    let failed = app.deploying("stopped-failed").await;
    fail(app, "stopped-failed", failed, known).await;
    rest(app).await;
    fetched::fetched(app).await;
    for name in ["leaving", "terminating", "terminated"] {
        store.want(row_of(app, name).await, Wanted::Absent).await.unwrap();
    }
    app.deploying("leaving").await;
    go(store, row_of(app, "terminating").await, &[Status::Terminating]).await;
    let row = row_of(app, "terminated").await;
    go(store, row, &[Status::Terminating]).await;
    store.machine_gone(row, &failure(None, "It was terminated.")).await.unwrap();
    orphans(app).await;

    for name in ["queued", "failed-since"] {
        let path = format!("/instances/{name}/redeploy");
        assert_eq!(place.mira().post(&path, &[]).await.status, 303);
    }
    for number in 0..52 {
        *place.app.tip.lock().unwrap() = format!("{number:040x}");
        let path = format!("/instances/{OFTEN}/redeploy");
        assert_eq!(place.mira().post(&path, &[]).await.status, 303);
        let (row, deployment) = place.app.ids(OFTEN).await;
        place.app.store.begin_deployment(row, deployment).await.unwrap();
        place.app.store.deployment_live(row, deployment, None).await.unwrap();
    }
    *place.app.tip.lock().unwrap() = COMMIT.to_owned();
    let version = place.app.found("stopped-queued").await.instance.version();
    let fields =
        [("github_url", REPO), ("project_name", "backend"), ("branch", "two"), ("version", &version)];
    let answer = place.mira().post("/instances/stopped-queued/edit", &fields).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let app = &place.app;
    let (row, second) = app.ids("failed-since").await;
    app.store.begin_deployment(row, second).await.unwrap();
    app.log(second, &log_until(Step::Migrate, known)).await;
    app.log(second, "::ec step migrate failed 1\n").await;
    let broke = failure(Some(Step::Migrate), "The step ended with code 1.");
    app.store.deployment_failed(row, &broke, Some("Deployment 1 goes on serving.")).await.unwrap();
    assert_eq!(app.found("live").await.instance.repo.to_string(), REPO);
}

/// The instance that is redeployed so often that its history has two pages.
const OFTEN: &str = "often";

/// People in every state, an owner who is signed in on four browsers, and a password link.
async fn people(place: &mut Place) {
    place.person(As::Root).get("/users").await;
    for name in ["kim", "lena", "nils"] {
        let root = place.person(As::Root);
        let page = root.post("/users", &[("username", name), ("role", "owner")]).await;
        place.link = format!("/password?token={}", page.between("/password?token=", "</code>"));
        let root = place.person(As::Root);
        if name == "kim" {
            assert_eq!(root.post("/users/kim/disable", &[]).await.status, 303);
        }
    }
    for _ in 0..3 {
        let mut elsewhere = place.app.visitor();
        elsewhere.get("/login").await;
        let answer = elsewhere.post("/login", &[("username", "mira"), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, 303);
    }
}

/// What is stopped and started.
async fn rest(app: &App) {
    let store = &app.store;
    let observed = async |row: RowId| {
        let wished = store.work(row).await.unwrap().unwrap().generation;
        store.observed(row, wished).await.unwrap();
    };
    for name in ["to-stop", "stopping", "stopped", "stopped-failed", "stopped-queued", "to-start", "starting"]
    {
        let row = row_of(app, name).await;
        store.stop(row).await.unwrap();
        match name {
            "to-stop" => continue,
            "stopping" => go(store, row, &[Status::Stopping]).await,
            _ => {
                go(store, row, &[Status::Stopping, Status::Stopped]).await;
                observed(row).await;
            }
        }
        if matches!(name, "to-start" | "starting") {
            store.start(row).await.unwrap();
        }
        if name == "starting" {
            go(store, row, &[Status::Starting]).await;
        }
    }
}

async fn row_of(app: &App, name: &str) -> RowId {
    app.found(name).await.instance.row
}

async fn go(store: &Store, row: RowId, way: &[Status]) {
    for status in way {
        store.set_status(row, *status).await.unwrap();
    }
}

/// The first deployment fails at its migrations, whose last lines are `text`.
async fn fail(app: &App, name: &str, deployment: DeploymentId, text: &str) {
    app.log(deployment, &log_until(Step::Migrate, text)).await;
    app.log(deployment, "::ec step migrate failed 1\n").await;
    let broke = failure(Some(Step::Migrate), "The step ended with code 1.");
    app.store.deployment_failed(row_of(app, name).await, &broke, None).await.unwrap();
}
