//! What an edit, a stop and a start write, and why a deployment is said to have been asked for.

use super::{
    tests::{deploying, later, owner, plan, repo, store, submission},
    *,
};
use crate::domain::{
    Failure, Instance, Outcome, Reason, RepoUrl, SecretValue, Status, Timestamp, UserId, Variable, Wanted,
};

async fn there(store: &Store, row: RowId) -> Instance {
    store.instance_by_row(row).await.unwrap().unwrap().instance
}

/// The form as it is filled in, saved a minute later with another branch.
async fn edit(store: &Store, row: RowId, commit: char) -> Edit {
    let there = there(store, row).await;
    Edit {
        row,
        by: there.owner,
        version: there.version(),
        repo: there.repo,
        project: there.project,
        branch: Some(format!("branch-{commit}").parse().unwrap()),
        description: there.description,
        machine_type: TypeWish::default(),
        database: None,
        variables: Vec::new(),
        plan: Some(plan(commit)),
        replace: false,
        received_at: Timestamp::now().plus_seconds(60),
    }
}

/// The reasons of an instance's deployments, the newest first, with how each ended.
async fn told(store: &Store, row: RowId) -> Vec<(Option<Reason>, Option<Outcome>)> {
    let all = store.deployments(row, 100).await.unwrap();
    all.iter().map(|deployment| (deployment.reason, deployment.outcome)).collect()
}

async fn live(store: &Store) -> RowId {
    let (row, first) = deploying(store).await;
    store.deployment_live(row, first, None).await.unwrap();
    let work = store.work(row).await.unwrap().unwrap();
    store.observed(row, work.generation).await.unwrap();
    row
}

/// Does what the reconciler does with a wish to stop.
async fn stopped(store: &Store, row: RowId) {
    let work = store.work(row).await.unwrap().unwrap();
    store.set_status(row, Status::Stopping).await.unwrap();
    store.observed(row, work.generation).await.unwrap();
    store.set_status(row, Status::Stopped).await.unwrap();
}

#[tokio::test]
async fn while_deploying_the_newest_edit_follows_the_one_that_runs() {
    let (store, _dir) = store().await;
    let (row, running) = deploying(&store).await;
    store.edit(&edit(&store, row, 'b').await).await.unwrap();
    store.edit(&edit(&store, row, 'c').await).await.unwrap();
    let work = store.work(row).await.unwrap().unwrap();
    assert_eq!(work.running.map(|running| running.id), Some(running));
    assert_eq!(work.queued.map(|queued| queued.plan), Some(plan('c')));
    assert_eq!(
        told(&store, row).await,
        [
            (Some(Reason::Edit), None),
            (Some(Reason::Edit), Some(Outcome::Replaced)),
            (Some(Reason::First), None)
        ]
    );
}

#[tokio::test]
async fn while_stopped_an_edit_is_kept_for_the_start_however_it_was_stopped() {
    let (store, _dir) = store().await;
    let row = live(&store).await;
    assert!(store.stop(row).await.unwrap());
    stopped(&store, row).await;
    store.edit(&edit(&store, row, 'b').await).await.unwrap();
    let work = store.work(row).await.unwrap().unwrap();
    assert_eq!(
        (work.instance.wanted, work.instance.pending, work.queued.is_some()),
        (Wanted::Stopped, false, true)
    );
    assert!(store.start(row).await.unwrap());
    assert!(!store.start(row).await.unwrap(), "pressed twice");
    assert!(there(&store, row).await.is_to_start());
    // Edited between the wish and the start: it starts all the same, with the newest.
    store.edit(&edit(&store, row, 'c').await).await.unwrap();
    let work = store.work(row).await.unwrap().unwrap();
    assert!(work.instance.is_to_start() && work.queued.is_some_and(|queued| queued.plan == plan('c')));

    // Stopped outside this site, where it is still wanted up.
    let (store, _dir) = tests::store().await;
    let row = live(&store).await;
    store.set_status(row, Status::Stopped).await.unwrap();
    store.edit(&edit(&store, row, 'b').await).await.unwrap();
    let there = there(&store, row).await;
    assert_eq!((there.wanted, there.is_to_start()), (Wanted::Stopped, false));
    assert!(store.start(row).await.unwrap());
}

#[tokio::test]
async fn variables_typed_on_a_form_that_was_saved_meanwhile_are_not_dropped() {
    let (store, _dir) = store().await;
    let row = live(&store).await;
    let typed = |name: &str| Variable {
        name: name.parse().unwrap(),
        value: SecretValue::try_from("hunter22".to_owned()).unwrap(),
    };
    let plain = edit(&store, row, 'b').await;
    let with = Edit { variables: vec![typed("TOKEN")], ..plain.clone() };
    store.edit(&plain).await.unwrap();
    assert!(store.is_edited(&plain, &there(&store, row).await).await.unwrap());
    assert!(!store.is_edited(&with, &there(&store, row).await).await.unwrap());
    assert!(matches!(store.edit(&with).await, Err(SubmitError::Changed)));
    assert!(store.variables(row).await.unwrap().is_empty());
    // A double click is one all the same; another variable is another wish.
    let form = edit(&store, row, 'c').await;
    let form = Edit { received_at: Timestamp::now(), variables: vec![typed("TOKEN")], ..form };
    store.edit(&form).await.unwrap();
    assert!(store.is_edited(&form, &there(&store, row).await).await.unwrap());
    store.edit(&form).await.unwrap();
    assert_eq!(told(&store, row).await.len(), 3);
    let other = Edit { variables: vec![typed("OTHER")], ..form };
    assert!(matches!(store.edit(&other).await, Err(SubmitError::Changed)));
}

#[tokio::test]
async fn an_edit_of_a_live_one_that_is_to_be_stopped_does_not_take_that_back() {
    let (store, _dir) = store().await;
    let row = live(&store).await;
    store.stop(row).await.unwrap();
    store.edit(&edit(&store, row, 'b').await).await.unwrap();
    assert!(there(&store, row).await.is_to_stop());
    // One that was started outside this site is live, and an edit of it is deployed.
    stopped(&store, row).await;
    store.set_status(row, Status::Starting).await.unwrap();
    store.set_status(row, Status::Live).await.unwrap();
    store.edit(&edit(&store, row, 'c').await).await.unwrap();
    let there = there(&store, row).await;
    assert_eq!((there.wanted, there.is_to_stop()), (Wanted::Present, false));
}

#[tokio::test]
async fn a_form_that_was_shown_before_another_was_saved_undoes_nothing() {
    let (store, _dir) = store().await;
    let row = live(&store).await;
    let (mine, hers) = (edit(&store, row, 'b').await, edit(&store, row, 'c').await);
    store.edit(&mine).await.unwrap();
    let again = Edit { received_at: mine.received_at.plus_seconds(600), ..mine.clone() };
    store.edit(&again).await.expect("what is there already is no change");
    assert!(matches!(store.edit(&hers).await, Err(SubmitError::Changed)));
    assert_eq!(there(&store, row).await.branch, mine.branch);
    assert_eq!(store.deployments(row, 10).await.unwrap().len(), 2);
    // What became of the machine meanwhile is no change of the form.
    let hers = edit(&store, row, 'c').await;
    store.set_notice(row, Some("Not reachable.")).await.unwrap();
    store.redeploy(row, &repo(), &plan('d'), hers.by, Timestamp::now()).await.unwrap();
    store.edit(&hers).await.unwrap();
    assert_eq!(there(&store, row).await.branch, hers.branch);
}

#[tokio::test]
async fn another_description_alone_deploys_nothing_and_another_project_wants_a_second_yes() {
    let (store, _dir) = store().await;
    let row = live(&store).await;
    let mut form = edit(&store, row, 'b').await;
    (form.branch, form.description, form.plan) = (None, "Shop and stock".to_owned(), None);
    store.edit(&form).await.unwrap();
    assert_eq!(there(&store, row).await.description, "Shop and stock");
    assert_eq!(store.deployments(row, 10).await.unwrap().len(), 1);
    // Without a plan nothing but the description is taken.
    let mut form = edit(&store, row, 'b').await;
    form.plan = None;
    assert!(matches!(store.edit(&form).await, Err(SubmitError::Changed)));
    let mut form = edit(&store, row, 'b').await;
    form.repo = RepoUrl::from_stored("https://github.com/you/other").unwrap();
    assert!(
        matches!(store.edit(&form).await, Err(SubmitError::NeedsReplace { repo }) if repo == tests::repo())
    );
    form.replace = true;
    store.edit(&form).await.unwrap();
    assert_eq!(told(&store, row).await[0], (Some(Reason::Replace), None));
}

#[tokio::test]
async fn the_owner_stays_whoever_edits_and_nothing_is_taken_on_the_way_out() {
    let (store, _dir) = store().await;
    let row = live(&store).await;
    let admin = owner(&store, "root").await;
    let form = Edit { by: admin.id, ..edit(&store, row, 'b').await };
    store.edit(&form).await.unwrap();
    let found = store.instance_by_row(row).await.unwrap().unwrap();
    assert_eq!(found.instance.owner_name.as_str(), "mira");
    assert_eq!(found.newest.unwrap().requested_by.unwrap().as_str(), "root");
    store.want(row, Wanted::Absent).await.unwrap();
    assert!(matches!(store.edit(&edit(&store, row, 'c').await).await, Err(SubmitError::Terminating)));
    assert!(matches!(store.stop(row).await, Err(PowerError::Gone)));
    assert!(matches!(store.start(row).await, Err(PowerError::Gone)));
    store.set_status(row, Status::Terminating).await.unwrap();
    let why = Failure { step: None, message: "The instance was terminated.".into() };
    store.machine_gone(row, &why).await.unwrap();
    let form = edit(&store, row, 'd').await;
    store.edit(&form).await.unwrap();
    assert_eq!(told(&store, row).await[0], (Some(Reason::DeployAgain), None));
    assert_eq!(there(&store, row).await.wanted, Wanted::Present);
}

#[tokio::test]
async fn what_waited_for_the_start_of_a_machine_that_is_gone_is_over() {
    let (store, _dir) = store().await;
    let row = live(&store).await;
    store.stop(row).await.unwrap();
    stopped(&store, row).await;
    store.edit(&edit(&store, row, 'b').await).await.unwrap();
    let why = Failure { step: None, message: "The machine is gone.".into() };
    store.machine_gone(row, &why).await.unwrap();
    assert_eq!(told(&store, row).await[0], (Some(Reason::Edit), Some(Outcome::Replaced)));
    assert!(store.rows_with_work().await.unwrap().is_empty());
}

#[tokio::test]
async fn stopping_is_for_what_has_a_machine_at_rest() {
    let (store, _dir) = store().await;
    let (row, first) = deploying(&store).await;
    assert!(matches!(store.stop(row).await, Err(PowerError::Busy)));
    assert!(!store.start(row).await.unwrap(), "it is on");
    let why = Failure { step: None, message: "boom".into() };
    store.deployment_failed(row, &why, None).await.unwrap();
    assert!(matches!(store.start(row).await, Err(PowerError::Failed)));
    let mut changes = store.changes();
    assert!(store.stop(row).await.unwrap(), "a failed one with a machine");
    assert_eq!(changes.try_recv().unwrap(), Change::Instance(row));
    assert!(!store.stop(row).await.unwrap(), "pressed twice");
    assert!(changes.try_recv().is_err(), "a repetition is silent");
    assert!(store.start(row).await.unwrap(), "taken back before it began");
    assert!(!there(&store, row).await.is_to_stop());
    assert_eq!(store.deployment(first).await.unwrap().unwrap().outcome, Some(Outcome::Failed));

    let mira = UserId(there(&store, row).await.owner.0);
    let user = store.user(mira).await.unwrap().unwrap();
    let second = later(submission(&user, Some("other")));
    let second = store.submit(&second).await.unwrap();
    let row = store.instance(&second.name).await.unwrap().unwrap().instance.row;
    store.fail(row, &why).await.unwrap();
    assert!(matches!(store.stop(row).await, Err(PowerError::NoMachine)));
}

#[tokio::test]
async fn a_machine_that_was_started_or_stopped_outside_takes_the_next_wish() {
    let (store, _dir) = store().await;
    let row = live(&store).await;
    // Stopped outside: it is wanted up all along, and Start is a wish of its own.
    store.set_status(row, Status::Stopped).await.unwrap();
    assert!(store.start(row).await.unwrap());
    store.set_status(row, Status::Starting).await.unwrap();
    assert!(!store.start(row).await.unwrap(), "it is being started");
    assert!(matches!(store.stop(row).await, Err(PowerError::Busy)));
    store.set_status(row, Status::Live).await.unwrap();
    let work = store.work(row).await.unwrap().unwrap();
    store.observed(row, work.generation).await.unwrap();
    // Stopped here, started outside: it is wanted stopped all along, and so is Stop.
    store.stop(row).await.unwrap();
    stopped(&store, row).await;
    store.set_status(row, Status::Starting).await.unwrap();
    store.set_status(row, Status::Live).await.unwrap();
    assert!(store.stop(row).await.unwrap());
    assert!(there(&store, row).await.is_to_stop());
}

#[tokio::test]
async fn why_says_what_was_pressed() {
    let (store, _dir) = store().await;
    let row = live(&store).await;
    let mira = there(&store, row).await.owner;
    let mut commits = ['b', 'c', 'd', 'e'].into_iter();
    let mut press = async || {
        store.redeploy(row, &repo(), &plan(commits.next().unwrap()), mira, Timestamp::now()).await.unwrap()
    };
    let second = press().await;
    store.begin_deployment(row, second).await.unwrap();
    let why = Failure { step: None, message: "boom".into() };
    store.deployment_failed(row, &why, None).await.unwrap();
    let third = press().await;
    store.begin_deployment(row, third).await.unwrap();
    store.deployment_live(row, third, None).await.unwrap();
    store.stop(row).await.unwrap();
    stopped(&store, row).await;
    press().await;
    assert_eq!(there(&store, row).await.wanted, Wanted::Present, "start and deploy");
    let reasons: Vec<_> = told(&store, row).await.into_iter().filter_map(|(reason, _)| reason).collect();
    assert_eq!(reasons, [Reason::Start, Reason::TryAgain, Reason::Redeploy, Reason::First]);
}

#[tokio::test]
async fn deployments_from_before_the_reason_was_kept_read_back() {
    let (store, _dir) = store().await;
    let row = live(&store).await;
    sqlx::query("UPDATE deployments SET reason = NULL")
        .execute(&mut *store.writer.statement().await.unwrap())
        .await
        .unwrap();
    assert_eq!(told(&store, row).await, [(None, Some(Outcome::Live))]);
}

#[tokio::test]
async fn every_deployment_is_reached_by_its_number() {
    let (store, _dir) = store().await;
    let row = live(&store).await;
    for commit in ['b', 'c', 'd'] {
        store.edit(&edit(&store, row, commit).await).await.unwrap();
    }
    let numbers = async |before, limit| -> Vec<_> {
        let some = store.deployments_before(row, before, limit).await.unwrap();
        some.iter().map(|deployment| deployment.number).collect()
    };
    assert_eq!((numbers(i64::MAX, 2).await, numbers(3, 2).await), (vec![4, 3], vec![2, 1]));
    assert_eq!(store.numbered_deployment(row, 3).await.unwrap().unwrap().plan, plan('c'));
    assert_eq!(store.numbered_deployment(row, 5).await.unwrap(), None);
    assert_eq!(store.failed_deployment(row).await.unwrap(), None);
}
