//! The sites that the pages are of: people, and an instance in every state that has a page of its own.

use ec_django_deployer::{
    domain::{DeploymentId, Failure, Role, Status, Step, Wanted},
    store::Store,
};

use crate::helpers::{App, Person, REPO, good_log, spawn_app};

/// Which site a page is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// With an instance in every state.
    Busy,
    /// Just set up: the first golden image is being baked, and nothing is live.
    Young,
    /// Whose repositories have all gone away.
    Gone,
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
}

impl Place {
    async fn new(of: Of) -> Self {
        let app = spawn_app().await;
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
        Self { app, people }
    }

    fn mira(&mut self) -> &mut Person {
        &mut self.people.iter_mut().find(|(who, _)| *who == As::Mira).unwrap().1
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
        for of in [Of::Busy, Of::Young, Of::Gone, Of::Fresh, Of::Broken] {
            let mut place = Place::new(of).await;
            match of {
                Of::Busy => fill(&mut place).await,
                Of::Young => {
                    place.mira().deploy("waits").await;
                    let image = place.app.store.begin_image("script").await.unwrap();
                    place.app.store.image_reached(image, 2, 6, "packages").await.unwrap();
                }
                Of::Gone => {
                    place.mira().deploy("live").await;
                    place.app.live("live").await;
                    *place.app.tip.lock().unwrap() = "gone".to_owned();
                }
                Of::Fresh => {}
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
        "stopping",
        "stopped",
        "starting",
        "leaving",
        "terminating",
        "terminated",
    ] {
        place.mira().deploy(name).await;
    }
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
        "stopping",
        "stopped",
        "starting",
        "terminating",
        "terminated",
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
    for (name, way) in [
        ("stopping", &[Status::Stopping][..]),
        ("stopped", &[Status::Stopping, Status::Stopped]),
        ("starting", &[Status::Stopping, Status::Stopped, Status::Starting]),
    ] {
        go(store, row_of(app, name).await, way).await;
    }
    for name in ["leaving", "terminating", "terminated"] {
        store.want(row_of(app, name).await, Wanted::Absent).await.unwrap();
    }
    app.deploying("leaving").await;
    go(store, row_of(app, "terminating").await, &[Status::Terminating]).await;
    let row = row_of(app, "terminated").await;
    go(store, row, &[Status::Terminating]).await;
    store.machine_gone(row, &failure(None, "It was terminated.")).await.unwrap();

    for name in ["queued", "failed-since"] {
        let path = format!("/instances/{name}/redeploy");
        assert_eq!(place.mira().post(&path, &[]).await.status, 303);
    }
    let app = &place.app;
    let (row, second) = app.ids("failed-since").await;
    app.store.begin_deployment(row, second).await.unwrap();
    app.log(second, &log_until(Step::Migrate, known)).await;
    app.log(second, "::ec step migrate failed 1\n").await;
    let broke = failure(Some(Step::Migrate), "The step ended with code 1.");
    app.store.deployment_failed(row, &broke, Some("Deployment 1 goes on serving.")).await.unwrap();
    assert_eq!(app.found("live").await.instance.repo.to_string(), REPO);
}

async fn row_of(app: &App, name: &str) -> ec_django_deployer::domain::RowId {
    app.found(name).await.instance.row
}

async fn go(store: &Store, row: ec_django_deployer::domain::RowId, way: &[Status]) {
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
