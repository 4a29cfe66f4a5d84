use std::net::IpAddr;

use super::*;
use crate::{
    domain::{Database, Dependencies, Deployment, ImageId, Instance, Plan, RepoUrl, Report, RowId, UserId},
    store::Attempt,
};

#[path = "decide_machine_tests.rs"]
mod machine_alone;

const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 213, 0, 2));
const START: Timestamp = Timestamp(1_000_000_000);

fn plan() -> Plan {
    Plan {
        commit: "3f1c9ab3f1c9ab3f1c9ab3f1c9ab3f1c9ab3f1c9".parse().unwrap(),
        subject: "First".into(),
        branch: "main".parse().unwrap(),
        project: "shop".parse().unwrap(),
        settings: "config.settings".into(),
        settings_from: "shop/manage.py".into(),
        wsgi: None,
        dependencies: Dependencies::None,
        django: None,
        database: Database::Sqlite,
        chosen_database: None,
        variables: Vec::new(),
        python: None,
        committed: None,
        migrations: 1,
        warnings: vec![],
    }
}

fn deployment(number: i64, log: &str) -> Deployment {
    let mut report = Report::default();
    report.feed(log.as_bytes());
    Deployment {
        id: DeploymentId(number),
        instance: RowId(1),
        number,
        repo: None,
        plan: plan(),
        report,
        log_size: log.len() as u64,
        requested_by: None,
        reason: None,
        created_at: START,
        begun_at: None,
        first_byte_at: None,
        step_since: None,
        ended_at: None,
        outcome: None,
        failure: None,
    }
}

fn running(log: &str) -> Deployment {
    let first = (!log.is_empty()).then_some(START);
    Deployment { begun_at: Some(START), first_byte_at: first, ..deployment(1, log) }
}

fn work(status: Status) -> Work {
    let has_machine = !matches!(status, Status::Requested | Status::Launching | Status::Terminated);
    Work {
        instance: Instance {
            row: RowId(1),
            name: "shop".parse().unwrap(),
            owner: UserId(1),
            owner_name: "mira".parse().unwrap(),
            repo: RepoUrl::from_stored("https://github.com/you/shop").unwrap(),
            project: "shop".parse().unwrap(),
            branch: None,
            description: String::new(),
            wanted: Wanted::Present,
            pending: false,
            reboot: None,
            status,
            status_since: START,
            instance_id: has_machine.then(|| "i-0123456789abcdef0".parse().unwrap()),
            public_ip: has_machine.then_some(IP),
            machine_type: None,
            database: None,
            image: None,
            failure: None,
            notice: None,
            created_at: START,
            updated_at: START,
        },
        generation: 1,
        observed_generation: 1,
        queued: None,
        running: None,
        serving: None,
        attempt: None,
    }
}

fn attempt(sent: bool, launched: bool) -> Attempt {
    Attempt {
        token: "t".into(),
        request: "{}".into(),
        sent_at: sent.then_some(START),
        instance_id: launched.then(|| "i-0123456789abcdef0".parse().unwrap()),
        created_at: START,
        launched_at: None,
        address: None,
    }
}

fn machine(state: MachineState) -> Seen {
    Seen::Machine(Machine {
        id: "i-0123456789abcdef0".parse().unwrap(),
        token: "t".into(),
        instance: Some("shop".parse().unwrap()),
        state,
        reason: None,
        public_ip: (state == MachineState::Running).then_some(IP),
    })
}

fn image(state: ImageState, finished: Option<Timestamp>) -> Image {
    Image {
        id: ImageId(1),
        state,
        cloud_ref: Some("img-1".into()),
        script: String::new(),
        base: String::new(),
        step: None,
        step_name: None,
        step_since: None,
        error: Some("no mirror".into()),
        created_at: START,
        finished_at: finished,
        waiting: false,
        requested_by: None,
        size: None,
        leaving: false,
        kept_because: None,
    }
}

fn after(seconds: i64) -> Around {
    let image = image(ImageState::Good, Some(START));
    Around {
        now: START.plus_seconds(seconds),
        started_at: START,
        good: Some(image.clone()),
        newest: Some(image),
        gives_addresses: false,
        ready: true,
    }
}

#[test]
fn a_request_becomes_an_attempt_and_an_open_attempt_is_sent_until_it_is_answered() {
    let mut work = work(Status::Requested);
    work.queued = Some(deployment(1, ""));
    assert_eq!(decide(&work, &Seen::Unknown, &after(1)), Action::BeginAttempt(DeploymentId(1)));
    work.instance.status = Status::Launching;
    work.attempt = Some(attempt(false, false));
    assert_eq!(decide(&work, &Seen::Unknown, &after(1)), Action::Launch);
    work.attempt = Some(attempt(true, false));
    assert_eq!(
        decide(&work, &Seen::Unknown, &after(100_000)),
        Action::Launch,
        "an open attempt has no deadline"
    );
}

#[test]
fn a_request_waits_for_its_image_and_fails_only_by_a_bake_that_ended_after_it() {
    let mut work = work(Status::Requested);
    work.queued = Some(deployment(1, ""));
    let mut around = Around { good: None, ..after(100_000) };
    around.newest = Some(image(ImageState::Baking, None));
    assert!(matches!(decide(&work, &Seen::Unknown, &around), Action::Wait(_)));
    around.newest = Some(image(ImageState::Failed, Some(START.plus_seconds(-1))));
    assert_eq!(decide(&work, &Seen::Unknown, &around), Action::WantImage);
    around.newest = Some(image(ImageState::Failed, Some(START.plus_seconds(1))));
    assert!(
        matches!(decide(&work, &Seen::Unknown, &around), Action::Fail(why) if why.message.ends_with("no mirror"))
    );
}

#[test]
fn a_request_waits_for_a_cloud_that_cannot_launch_machines_whatever_became_of_a_bake() {
    let mut work = work(Status::Requested);
    work.queued = Some(deployment(1, ""));
    let mut around = Around { ready: false, ..after(1) };
    assert!(matches!(decide(&work, &Seen::Unknown, &around), Action::Wait(_)));
    around.good = None;
    around.newest = Some(image(ImageState::Failed, Some(START.plus_seconds(1))));
    assert!(matches!(decide(&work, &Seen::Unknown, &around), Action::Wait(_)));
    work.queued = None;
    assert!(matches!(decide(&work, &Seen::Unknown, &around), Action::Fail(_)));
}

#[test]
fn a_deployment_goes_from_boot_to_its_end() {
    let mut work = work(Status::Booting);
    work.running = Some(running(""));
    let up = machine(MachineState::Running);
    assert!(matches!(decide(&work, &up, &after(1)), Action::Wait(_)));
    work.running = Some(running("::ec step environment start\n"));
    assert_eq!(decide(&work, &up, &after(1)), Action::Become(Status::Deploying));
    work.instance.status = Status::Deploying;
    assert!(matches!(decide(&work, &up, &after(1)), Action::Wait(_)));
    work.running = Some(running("::ec done\n"));
    assert_eq!(decide(&work, &up, &after(1)), Action::Finish);
    work.running = Some(running("::ec step migrate failed 1\n"));
    assert_eq!(decide(&work, &up, &after(1)), Action::DeploymentFailed);
}

#[test]
fn no_state_on_the_way_is_without_an_exit_and_no_deadline_fires_in_the_first_minutes() {
    let up = machine(MachineState::Running);
    let mut booting = work(Status::Booting);
    booting.running = Some(running(""));
    assert_eq!(decide(&booting, &up, &after(BOOT_SECONDS + 1)), Action::NeverReported);
    let mut deploying = work(Status::Deploying);
    deploying.running = Some(running("::ec step migrate start\n"));
    let late = after(DEPLOY_SECONDS + 1);
    let Action::Overdue(why) = decide(&deploying, &up, &late) else { panic!("no deadline") };
    assert_eq!(why.step, Some(crate::domain::Step::Migrate));
    let just_started = Around { started_at: late.now, ..late };
    assert!(matches!(decide(&deploying, &up, &just_started), Action::Wait(_)));
    let mut starting = work(Status::Starting);
    starting.serving = Some(deployment(1, ""));
    assert_eq!(decide(&starting, &up, &after(1)), Action::AwaitAnswer);
    assert!(matches!(decide(&starting, &up, &after(START_SECONDS + 1)), Action::Fail(_)));
}

#[test]
fn a_redeployment_is_handed_over_until_it_reports() {
    let up = machine(MachineState::Running);
    let mut work = work(Status::Live);
    work.queued = Some(deployment(2, ""));
    assert_eq!(decide(&work, &up, &after(1)), Action::BeginDeployment(DeploymentId(2)));
    work.instance.status = Status::Deploying;
    work.running = work.queued.take().map(|waiting| Deployment { begun_at: Some(START), ..waiting });
    assert_eq!(decide(&work, &up, &after(1)), Action::RunScript);
}

#[test]
fn one_that_waits_is_not_begun_while_another_runs() {
    let mut work = work(Status::Deploying);
    work.running = Some(running("::ec step clone start\n"));
    work.queued = Some(deployment(2, ""));
    assert!(matches!(decide(&work, &machine(MachineState::Running), &after(1)), Action::Wait(_)));
}

#[test]
fn terminate_works_from_every_state_and_finds_out_what_came_of_a_launch() {
    for status in Status::ALL.into_iter().filter(|status| *status != Status::Terminated) {
        let mut work = work(status);
        work.instance.wanted = Wanted::Absent;
        if status != Status::Terminating {
            assert_eq!(
                decide(&work, &Seen::Unknown, &after(1)),
                Action::Become(Status::Terminating),
                "{status}"
            );
            continue;
        }
        assert_eq!(decide(&work, &Seen::Nothing, &after(1)), Action::Terminate { gone: true });
        work.instance.instance_id = None;
        work.attempt = Some(attempt(true, false));
        assert_eq!(decide(&work, &Seen::Unknown, &after(1)), Action::AbandonAttempt);
        work.attempt = Some(attempt(false, false));
        assert_eq!(decide(&work, &Seen::Unknown, &after(1)), Action::AbandonAttempt);
        work.attempt = None;
        assert!(matches!(decide(&work, &Seen::Unknown, &after(1)), Action::Gone(_)));
    }
}

#[test]
fn a_terminated_instance_rests_until_its_name_is_submitted_again() {
    let mut work = work(Status::Terminated);
    assert_eq!(decide(&work, &Seen::Unknown, &after(1)), Action::Rest);
    work.queued = Some(deployment(2, ""));
    assert_eq!(decide(&work, &Seen::Unknown, &after(1)), Action::Become(Status::Requested));
}

#[test]
fn what_happens_to_a_machine_outside_our_site_is_shown_as_what_it_is() {
    let mut live = work(Status::Live);
    live.serving = Some(deployment(1, ""));
    assert!(matches!(decide(&live, &Seen::Nothing, &after(1)), Action::Gone(_)));
    assert_eq!(decide(&live, &Seen::Unknown, &after(1)), Action::Rest);
    assert_eq!(decide(&live, &machine(MachineState::Stopped), &after(1)), Action::TakeAddress(None));
    live.instance.public_ip = None;
    assert_eq!(decide(&live, &machine(MachineState::Stopped), &after(1)), Action::Become(Status::Stopped));
    live.instance.status = Status::Stopped;
    assert_eq!(
        decide(&live, &machine(MachineState::Stopped), &after(1)),
        Action::Rest,
        "not started by itself"
    );
    assert_eq!(decide(&live, &machine(MachineState::Running), &after(1)), Action::TakeAddress(Some(IP)));
    live.instance.public_ip = Some(IP);
    assert_eq!(decide(&live, &machine(MachineState::Running), &after(1)), Action::Become(Status::Starting));
}

#[test]
fn a_failed_instance_is_tried_again_on_its_machine_if_there_is_one() {
    let mut failed = work(Status::Failed);
    assert_eq!(decide(&failed, &machine(MachineState::Running), &after(1)), Action::Rest);
    failed.queued = Some(deployment(2, ""));
    assert_eq!(
        decide(&failed, &machine(MachineState::Running), &after(1)),
        Action::BeginDeployment(DeploymentId(2))
    );
    failed.instance.instance_id = None;
    assert_eq!(decide(&failed, &Seen::Unknown, &after(1)), Action::Become(Status::Requested));
}

#[test]
fn stop_and_start_follow_the_owners_wish() {
    let up = machine(MachineState::Running);
    let mut live = work(Status::Live);
    live.serving = Some(deployment(1, ""));
    live.instance.wanted = Wanted::Stopped;
    live.generation = 2;
    assert_eq!(decide(&live, &up, &after(1)), Action::Become(Status::Stopping));
    live.instance.status = Status::Stopping;
    assert_eq!(decide(&live, &up, &after(1)), Action::Observed(2), "taken up once");
    live.observed_generation = 2;
    assert_eq!(decide(&live, &up, &after(1)), Action::Stop);
    let hangs = decide(&live, &up, &after(STOP_SECONDS + 1));
    assert!(matches!(&hangs, Action::Fail(why) if why.message.contains("did not stop")), "{hangs:?}");
    live.instance.status = Status::Stopped;
    live.instance.public_ip = None;
    assert_eq!(decide(&live, &machine(MachineState::Stopped), &after(1)), Action::Rest);
    live.instance.wanted = Wanted::Present;
    live.generation = 3;
    assert_eq!(decide(&live, &machine(MachineState::Stopped), &after(1)), Action::Become(Status::Starting));
    live.instance.status = Status::Starting;
    assert_eq!(decide(&live, &machine(MachineState::Stopped), &after(1)), Action::Start);
}

#[test]
fn a_stop_that_the_cloud_refused_is_not_tried_again_by_itself() {
    let mut failed = work(Status::Failed);
    failed.instance.wanted = Wanted::Stopped;
    failed.generation = 2;
    let up = machine(MachineState::Running);
    assert_eq!(
        decide(&failed, &up, &after(1)),
        Action::Become(Status::Stopping),
        "a failed one can be stopped"
    );
    failed.observed_generation = 2;
    assert_eq!(decide(&failed, &up, &after(1)), Action::Rest);
    failed.instance.instance_id = None;
    failed.generation = 3;
    assert_eq!(decide(&failed, &Seen::Unknown, &after(1)), Action::Rest, "there is nothing to stop");
}

#[test]
fn what_was_edited_while_stopped_waits_for_the_start() {
    let off = machine(MachineState::Stopped);
    let mut stopped = work(Status::Stopped);
    stopped.instance.public_ip = None;
    stopped.instance.wanted = Wanted::Stopped;
    stopped.queued = Some(deployment(2, ""));
    assert_eq!(decide(&stopped, &off, &after(1)), Action::Rest);
    assert_eq!(decide(&stopped, &off, &after(100_000)), Action::Rest);
    stopped.instance.wanted = Wanted::Present;
    stopped.generation = 2;
    assert_eq!(decide(&stopped, &off, &after(1)), Action::Become(Status::Starting));
    let mut starting = Work { generation: 2, ..work(Status::Starting) };
    starting.queued = Some(deployment(2, ""));
    assert_eq!(
        decide(&starting, &machine(MachineState::Running), &after(1)),
        Action::BeginDeployment(DeploymentId(2))
    );
    // Started outside this site it is deployed too: it is up.
    stopped.instance.wanted = Wanted::Stopped;
    stopped.generation = 1;
    stopped.instance.public_ip = Some(IP);
    assert_eq!(
        decide(&stopped, &machine(MachineState::Running), &after(1)),
        Action::Become(Status::Starting)
    );
}

#[test]
fn a_wish_to_stop_comes_before_what_waits_and_after_what_runs() {
    let up = machine(MachineState::Running);
    let mut live = work(Status::Live);
    live.instance.wanted = Wanted::Stopped;
    live.generation = 2;
    live.queued = Some(deployment(2, ""));
    assert_eq!(decide(&live, &up, &after(1)), Action::Become(Status::Stopping));
    let mut deploying = live.clone();
    deploying.instance.status = Status::Deploying;
    deploying.running = Some(running("::ec step clone start\n"));
    assert!(matches!(decide(&deploying, &up, &after(1)), Action::Wait(_)));
}

#[test]
fn one_that_was_stopped_outside_is_started_by_a_wish_of_the_same_kind() {
    let mut stopped = work(Status::Stopped);
    stopped.instance.public_ip = None;
    let off = machine(MachineState::Stopped);
    assert_eq!(decide(&stopped, &off, &after(1)), Action::Rest);
    stopped.generation = 2;
    assert_eq!(decide(&stopped, &off, &after(1)), Action::Become(Status::Starting));
    // Once it is live the wish is brought about, however often it was made.
    let mut live = work(Status::Live);
    live.generation = 3;
    assert_eq!(decide(&live, &machine(MachineState::Running), &after(1)), Action::Observed(3));
}

#[test]
fn a_machine_that_is_gone_while_it_was_to_stay_stopped_is_not_launched_anew() {
    let mut gone = work(Status::Terminated);
    gone.queued = Some(deployment(2, ""));
    gone.instance.wanted = Wanted::Stopped;
    assert_eq!(decide(&gone, &Seen::Unknown, &after(1)), Action::Rest);
}

#[test]
fn one_that_is_found_stopped_right_after_a_deployment_is_not_taken_for_one_to_be_started() {
    let mut live = work(Status::Live);
    live.instance.public_ip = None;
    live.generation = 2;
    assert_eq!(decide(&live, &machine(MachineState::Stopped), &after(1)), Action::Observed(2));
    live.observed_generation = 2;
    assert_eq!(decide(&live, &machine(MachineState::Stopped), &after(1)), Action::Become(Status::Stopped));
}
