mod attempts;
mod images;
mod orphans;
mod schema;
mod variables;

use super::*;
use crate::domain::{
    Database, Dependencies, DeploymentId, Failure, Fetch, FetchFormat, FetchKind, FetchState, InstanceId,
    Outcome, Plan, RepoUrl, Role, Status, Step, Timestamp, User, Wanted,
};

pub(super) async fn store() -> (Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("test.db").display());
    (Store::open(&url).await.unwrap(), dir)
}

pub(super) async fn owner(store: &Store, name: &str) -> User {
    store.add_user(&name.parse().unwrap(), "hash", Role::Owner).await.unwrap()
}

pub(super) fn plan(commit: char) -> Plan {
    Plan {
        commit: commit.to_string().repeat(40).parse().unwrap(),
        subject: "First".into(),
        branch: "main".parse().unwrap(),
        project: "shop".parse().unwrap(),
        settings: "config.settings".into(),
        settings_from: "shop/manage.py".into(),
        wsgi: Some("config.wsgi".into()),
        dependencies: Dependencies::None,
        django: Some("5.2".into()),
        database: Database::Sqlite,
        chosen_database: None,
        variables: Vec::new(),
        python: None,
        committed: None,
        migrations: 1,
        warnings: vec![],
    }
}

pub(super) fn repo() -> RepoUrl {
    RepoUrl::from_stored("https://github.com/you/shop").unwrap()
}

pub(super) fn submission(owner: &User, name: Option<&str>) -> Submission {
    Submission {
        owner: owner.id,
        name: name.map(|name| name.parse().unwrap()),
        repo: repo(),
        project: "shop".parse().unwrap(),
        branch: None,
        description: String::new(),
        machine_type: TypeWish::default(),
        database: None,
        variables: Vec::new(),
        first_admin: None,
        plan: plan('a'),
        replace: false,
        received_at: Timestamp::now(),
    }
}

/// The same wish, a minute after the last was answered.
pub(super) fn later(mut submission: Submission) -> Submission {
    submission.received_at = Timestamp::now().plus_seconds(60);
    submission
}

fn machine_id() -> InstanceId {
    "i-0123456789abcdef0".parse().unwrap()
}

/// An instance with a machine and a running deployment.
pub(super) async fn deploying(store: &Store) -> (RowId, DeploymentId) {
    let mira = owner(store, "mira").await;
    let submitted = store.submit(&submission(&mira, None)).await.unwrap();
    let row = store.instance(&submitted.name).await.unwrap().unwrap().instance.row;
    let image = store.begin_image("digest").await.unwrap();
    store.begin_attempt(row, submitted.deployment, image, "token", "{}").await.unwrap();
    store.attempt_sent("token").await.unwrap();
    assert!(store.attempt_launched("token", &machine_id(), None).await.unwrap());
    store.set_status(row, Status::Deploying).await.unwrap();
    (row, submitted.deployment)
}

#[tokio::test]
async fn a_double_click_is_one_row_and_one_deployment_and_a_later_wish_another() {
    let (store, _dir) = store().await;
    let mira = owner(&store, "mira").await;
    let wish = submission(&mira, None);
    let (first, second) = tokio::join!(store.submit(&wish), store.submit(&wish));
    assert_eq!(first.unwrap(), second.unwrap());
    let all = store.instances(None).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(store.deployments(all[0].instance.row, 10).await.unwrap().len(), 1);
    assert_eq!(store.submit(&later(wish)).await.unwrap().name.as_str(), "shop-2");
}

#[tokio::test]
async fn a_name_is_its_owners_and_another_repository_wants_a_second_yes() {
    let (store, _dir) = store().await;
    let (mira, aiko) = (owner(&store, "mira").await, owner(&store, "aiko").await);
    store.submit(&submission(&mira, Some("shop"))).await.unwrap();
    let taken = store.submit(&submission(&aiko, Some("shop"))).await;
    assert!(matches!(taken, Err(SubmitError::NameTaken)));
    let mut other = later(submission(&mira, Some("shop")));
    other.repo = RepoUrl::from_stored("https://github.com/you/other").unwrap();
    let asked = store.submit(&other).await;
    assert!(matches!(asked, Err(SubmitError::NeedsReplace { repo }) if repo.short() == "you/shop"));
    other.replace = true;
    store.submit(&other).await.unwrap();
    let all = store.instances(Some(mira.id)).await.unwrap();
    assert_eq!((all.len(), all[0].instance.repo.short()), (1, "you/other"));
    assert!(store.instances(Some(aiko.id)).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_newest_waiting_deployment_wins_and_nothing_is_taken_while_terminating() {
    let (store, _dir) = store().await;
    let (row, running) = deploying(&store).await;
    let mira = store.users().await.unwrap().remove(0);
    let second = store.redeploy(row, &repo(), &plan('b'), mira.id, Timestamp::now()).await.unwrap();
    let third = store.redeploy(row, &repo(), &plan('c'), mira.id, Timestamp::now()).await.unwrap();
    let again = store.redeploy(row, &repo(), &plan('c'), mira.id, Timestamp::now()).await.unwrap();
    assert_eq!(third, again, "a double click");
    let other = RepoUrl::from_stored("https://github.com/you/other").unwrap();
    let changed = store.redeploy(row, &other, &plan('e'), mira.id, Timestamp::now()).await;
    assert!(matches!(changed, Err(SubmitError::Changed)));
    let work = store.work(row).await.unwrap().unwrap();
    assert_eq!(work.running.map(|running| running.id), Some(running));
    assert_eq!(work.queued.map(|queued| queued.id), Some(third));
    assert_eq!(store.deployment(second).await.unwrap().unwrap().outcome, Some(Outcome::Replaced));
    assert!(store.want(row, Wanted::Absent).await.unwrap());
    assert!(!store.want(row, Wanted::Absent).await.unwrap(), "a second wish changes nothing");
    let refused = store.redeploy(row, &repo(), &plan('d'), mira.id, Timestamp::now()).await;
    assert!(matches!(refused, Err(SubmitError::Terminating)));
}

#[tokio::test]
async fn an_attempt_is_answered_once_and_there_is_one_at_a_time() {
    let (store, _dir) = store().await;
    let (row, _) = deploying(&store).await;
    let other: InstanceId = "i-0fedcba9876543210".parse().unwrap();
    assert!(!store.attempt_launched("token", &other, None).await.unwrap());
    assert!(!store.attempt_launched("another", &other, None).await.unwrap());
    let work = store.work(row).await.unwrap().unwrap();
    assert_eq!(work.instance.instance_id, Some(machine_id()));
    let image = store.begin_image("digest").await.unwrap();
    store
        .begin_attempt(row, DeploymentId(1), image, "second", "{}")
        .await
        .expect("nothing to begin is no error");
    assert_eq!(
        store.work(row).await.unwrap().unwrap().attempt.map(|attempt| attempt.token),
        Some("token".into())
    );
    let mira = store.users().await.unwrap().remove(0);
    let waiting = store.redeploy(row, &repo(), &plan('b'), mira.id, Timestamp::now()).await.unwrap();
    let second = store.begin_attempt(row, waiting, image, "second", "{}").await;
    assert!(matches!(second, Err(StoreError::Database(_))), "the index holds it");
}

#[tokio::test]
async fn a_log_takes_each_byte_once() {
    let (store, _dir) = store().await;
    let (row, id) = deploying(&store).await;
    let mut changes = store.changes();
    let log = b"::ec step environment start\nhello\n::ec step environment ok 0.5\n";
    assert_eq!(store.append_log(id, 0, &log[..10]).await.unwrap(), Appended::Taken(10));
    assert_eq!(changes.recv().await.unwrap(), Change::Instance(row));
    assert_eq!(store.append_log(id, 0, &log[..10]).await.unwrap(), Appended::Taken(10));
    assert!(changes.try_recv().is_err(), "a repetition is silent");
    assert_eq!(store.append_log(id, 40, b"x").await.unwrap(), Appended::Gap(10));
    assert_eq!(store.append_log(id, 4, &log[4..]).await.unwrap(), Appended::Taken(log.len() as u64));
    assert_eq!(store.log(id, 0, usize::MAX).await.unwrap(), log);
    assert_eq!(store.log(id, 28, 5).await.unwrap(), b"hello");
    let report = store.deployment(id).await.unwrap().unwrap().report;
    assert_eq!(report.steps().filter(|(_, state)| state.name() == "ok").count(), 1);
    let huge = vec![b'x'; usize::try_from(Store::LOG_MAX).unwrap()];
    assert_eq!(store.append_log(id, log.len() as u64, &huge).await.unwrap(), Appended::TooLarge);
    assert_eq!(store.append_log(DeploymentId(99), 0, b"x").await.unwrap(), Appended::Closed);
}

#[tokio::test]
async fn another_description_alone_deploys_nothing() {
    let (store, _dir) = store().await;
    let (row, first) = deploying(&store).await;
    store.deployment_live(row, first, None).await.unwrap();
    let mira = store.users().await.unwrap().remove(0);
    let mut wish = later(submission(&mira, Some("shop")));
    wish.description = "The new one".into();
    assert_eq!(store.submit(&wish).await.unwrap().deployment, first);
    let shop = store.instance_by_row(row).await.unwrap().unwrap();
    assert_eq!((shop.instance.description.as_str(), shop.newest.map(|d| d.id)), ("The new one", Some(first)));
    wish.received_at = Timestamp::now();
    assert_eq!(store.submit(&wish).await.unwrap().deployment, first, "a double click");
    wish = later(wish);
    wish.description = "Newer".into();
    wish.plan = plan('b');
    assert_ne!(store.submit(&wish).await.unwrap().deployment, first, "a new commit is deployed");
}

#[tokio::test]
async fn a_failed_redeployment_leaves_the_instance_live_where_the_old_release_serves() {
    let (store, _dir) = store().await;
    let (row, first) = deploying(&store).await;
    store.deployment_live(row, first, None).await.unwrap();
    let mira = store.users().await.unwrap().remove(0);
    let second = store.redeploy(row, &repo(), &plan('b'), mira.id, Timestamp::now()).await.unwrap();
    store.begin_deployment(row, second).await.unwrap();
    let failure = Failure { step: Some(Step::Migrate), message: "no such table".into() };
    store.deployment_failed(row, &failure, Some("Deployment 1 goes on serving.")).await.unwrap();
    let work = store.work(row).await.unwrap().unwrap();
    assert_eq!(work.instance.status, Status::Live);
    assert!(work.instance.notice.is_some());
    assert_eq!(work.serving.map(|serving| serving.id), Some(first));
    assert_eq!(store.deployment(second).await.unwrap().unwrap().failure, Some(failure));
}

#[tokio::test]
async fn a_gone_machine_spends_its_attempt_and_the_record_takes_a_new_one() {
    let (store, _dir) = store().await;
    let (row, id) = deploying(&store).await;
    let mira = store.users().await.unwrap().remove(0);
    store.want(row, Wanted::Absent).await.unwrap();
    store.set_status(row, Status::Terminating).await.unwrap();
    let why = Failure { step: None, message: "The instance was terminated.".into() };
    store.machine_gone(row, &why).await.unwrap();
    let work = store.work(row).await.unwrap().unwrap();
    assert_eq!(
        (work.instance.status, work.instance.instance_id, work.attempt),
        (Status::Terminated, None, None)
    );
    assert_eq!(store.deployment(id).await.unwrap().unwrap().outcome, Some(Outcome::Failed));
    assert!(store.rows_with_work().await.unwrap().is_empty());
    store.submit(&later(submission(&mira, Some("shop")))).await.unwrap();
    assert_eq!(store.rows_with_work().await.unwrap(), [row]);
    store.set_status(row, Status::Requested).await.unwrap();
    assert!(store.set_status(row, Status::Live).await.is_err(), "its life does not have that move");
}

#[tokio::test]
async fn the_first_admin_is_created_once() {
    let (store, _dir) = store().await;
    let (mira, aiko) = ("mira".parse().unwrap(), "aiko".parse().unwrap());
    let (first, second) =
        tokio::join!(store.add_first_admin(&mira, "hash"), store.add_first_admin(&aiko, "hash"));
    assert!(first.is_ok() != second.is_ok());
    assert!(store.users().await.unwrap()[0].is_admin());
}

#[tokio::test]
async fn the_sites_id_stays_and_the_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let (store, dir) = store().await;
    assert_eq!(store.site().await.unwrap(), store.site().await.unwrap());
    let mode = std::fs::metadata(dir.path().join("test.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_fetch_is_wished_once_and_the_newest_of_each_outcome_is_kept() {
    let (store, _dir) = store().await;
    let (row, _) = deploying(&store).await;
    let mira = store.users().await.unwrap().remove(0);
    let want = async |kind| store.want_fetch(row, kind, mira.id).await.unwrap();
    let mut changes = store.changes();
    let (first, again) = tokio::join!(want(FetchKind::Log), want(FetchKind::Log));
    assert_eq!(first, again);
    assert_eq!(changes.recv().await.unwrap(), Change::Fetch(row));
    assert!(changes.try_recv().is_err(), "the same wish is silent");
    assert_ne!(want(FetchKind::Media).await, first, "another kind is another wish");
    assert_eq!(store.rows_with_fetches().await.unwrap(), [row]);

    store.fetch_sent(first).await.unwrap();
    assert!(store.fetch_heard(first, 3).await.unwrap());
    assert!(store.fetch_ready(first, 5, FetchFormat::Text, Some(b"hello")).await.unwrap());
    assert!(!store.fetch_ready(first, 5, FetchFormat::Text, Some(b"again")).await.unwrap());
    assert!(!store.fetch_heard(first, 9).await.unwrap());
    assert_eq!(store.fetched_log(first).await.unwrap().as_deref(), Some(&b"hello"[..]));
    let ready = store.fetch(first).await.unwrap().unwrap();
    assert_eq!((ready.state, ready.size, ready.format), (FetchState::Ready, 5, Some(FetchFormat::Text)));

    // A failure leaves what came before it, and takes the place of an older failure.
    for why in ["once", "twice"] {
        let id = want(FetchKind::Log).await;
        store.fetch_failed(id, why).await.unwrap();
        store.fetch_failed(id, "too late").await.unwrap();
    }
    let of_log = async || {
        let all = store.fetches(row).await.unwrap();
        all.into_iter().filter(|fetch| fetch.kind == FetchKind::Log).collect::<Vec<_>>()
    };
    let logs = of_log().await;
    assert_eq!((logs.len(), logs[0].error.as_deref(), logs[1].id), (2, Some("twice"), first));
    let next = want(FetchKind::Log).await;
    assert!(store.fetch_ready(next, 3, FetchFormat::Text, Some(b"new")).await.unwrap());
    assert_eq!(of_log().await.iter().map(|fetch| fetch.id).collect::<Vec<_>>(), [next]);
    assert!(want(FetchKind::Log).await > next, "a number is never used again");
}

#[tokio::test]
async fn files_are_kept_for_an_hour() {
    let (store, _dir) = store().await;
    let (row, _) = deploying(&store).await;
    let mira = store.users().await.unwrap().remove(0);
    let file = store.want_fetch(row, FetchKind::Database, mira.id).await.unwrap();
    let log = store.want_fetch(row, FetchKind::Log, mira.id).await.unwrap();
    assert!(store.kept_fetches().await.unwrap().is_empty());
    store.fetch_ready(file, 9, FetchFormat::Sqlite, None).await.unwrap();
    store.fetch_ready(log, 1, FetchFormat::Text, Some(b"x")).await.unwrap();
    let kept = store.kept_fetches().await.unwrap();
    assert_eq!(kept.iter().map(|fetch| fetch.id).collect::<Vec<_>>(), [file]);
    let hour_ago = Timestamp::now().plus_seconds(-Fetch::KEPT_SECONDS - 1).0;
    sqlx::query("UPDATE fetches SET ended_at = $1")
        .bind(hour_ago)
        .execute(&mut *store.writer.statement().await.unwrap())
        .await
        .unwrap();
    assert!(store.kept_fetches().await.unwrap().is_empty());
}
