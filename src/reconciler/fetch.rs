//! Brings from machines what people asked of them. A loop of its own, so that it goes on beside whatever is done
//! about an instance, a deployment included.
//!
//! Level-triggered as well: an open fetch is handed to its machine, once for each time this program runs (its
//! machine sends it to the callback listener), and given up when nothing of it comes in time.

use std::{collections::HashSet, sync::Arc};

use tokio::{
    sync::{Mutex, broadcast::error::RecvError},
    time::MissedTickBehavior,
};

use super::{FIRST_PAUSE, GRACE_SECONDS, Next, Queue, Reconciler, Seen, a_tick_ago, fleet::Fleet};
use crate::{
    cloud::{Cloud, Job, MachineState, Retry},
    domain::{
        Fetch, FetchId, FetchKind, FetchState, Instance, LogKey, RowId, Timestamp, can_be_asked, can_run,
    },
    store::{Change, Store, StoreError},
    user_data::{self, FetchValues},
};

/// Instances whose fetches are worked on at once: each holds a thread while a script is put on its machine.
const PARALLEL: usize = 4;

/// What is to be done next about a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchAction {
    /// Nothing: it ended, or its machine is at work.
    Wait,
    /// Hand it to its machine.
    Send,
    /// It will not come.
    Fail(String),
}

/// What is to be done next about a fetch. `sent` says whether this process has handed it to its machine.
pub fn next(
    fetch: &Fetch,
    instance: &Instance,
    seen: &Seen,
    sent: bool,
    started_at: Timestamp,
    now: Timestamp,
) -> FetchAction {
    if !fetch.state.is_open() {
        return FetchAction::Wait;
    }
    // A command that its machine has begun may go on while a deployment waits for it.
    let begins = fetch.kind == FetchKind::Command && fetch.state == FetchState::Wanted;
    if let Err(why) = if begins { can_run(instance) } else { can_be_asked(instance) } {
        return FetchAction::Fail(why.to_owned());
    }
    match seen {
        Seen::Machine(machine) if machine.state == MachineState::Running => {}
        Seen::Machine(machine) if machine.state == MachineState::Pending => {}
        Seen::Machine(_) => return FetchAction::Fail("The machine is stopped.".to_owned()),
        Seen::Nothing => return FetchAction::Fail("The machine is gone.".to_owned()),
        Seen::Unknown | Seen::Later => {}
    }
    // What was sent while the site was down comes first.
    if now > fetch.deadline().max(started_at.plus_seconds(GRACE_SECONDS)) {
        return FetchAction::Fail(overdue(fetch));
    }
    if sent { FetchAction::Wait } else { FetchAction::Send }
}

fn overdue(fetch: &Fetch) -> String {
    let patience = match fetch.kind {
        FetchKind::Log => "a minute".to_owned(),
        _ => format!("{} minutes", fetch.kind.patience() / 60),
    };
    match (fetch.state, fetch.heard_at) {
        (FetchState::Wanted, _) => format!("The machine could not be asked within {patience}."),
        (_, None) => {
            format!("The machine was asked and sent nothing within {patience}. Does it reach this site?")
        }
        (_, Some(_)) => format!("It broke off, and nothing more came within {patience}."),
    }
}

/// Brings from machines what people asked of them.
#[derive(Clone, Debug)]
pub struct Fetcher {
    store: Store,
    cloud: Cloud,
    fleet: Fleet,
    log_key: LogKey,
    callback_url: String,
    started_at: Timestamp,
    /// Fetches that this process has handed to their machines; after a restart it is done once more.
    sent: Arc<Mutex<HashSet<FetchId>>>,
}

impl Reconciler {
    /// The half of it that brings from machines what people asked of them; it shares the listing of machines.
    pub fn fetcher(&self) -> Fetcher {
        Fetcher {
            store: self.store.clone(),
            cloud: self.cloud.clone(),
            fleet: self.fleet.clone(),
            log_key: self.log_key.clone(),
            callback_url: self.settings.callback_url.clone(),
            started_at: self.started_at,
            sent: Arc::default(),
        }
    }
}

impl Fetcher {
    /// Works until `shutdown`.
    pub async fn run(self, shutdown: tokio_util::sync::CancellationToken) {
        let mut changes = self.store.changes();
        let mut queue = Queue::new(PARALLEL);
        let mut tick = tokio::time::interval(self.cloud.pace().busy);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = queue.next_due();
            tokio::select! {
                () = shutdown.cancelled() => break,
                change = changes.recv() => match change {
                    Ok(Change::Fetch(row)) => queue.want(row),
                    Ok(_) => continue,
                    Err(RecvError::Lagged(_)) => self.want_all(&mut queue).await,
                    Err(RecvError::Closed) => break,
                },
                _ = tick.tick() => self.want_all(&mut queue).await,
                () = tokio::time::sleep_until(due) => queue.take_due(),
                Some(done) = queue.tasks.join_next() => queue.ended(done),
            }
            queue.start(|row| {
                let fetcher = self.clone();
                async move { fetcher.step(row).await }
            });
        }
        queue.tasks.shutdown().await;
    }

    async fn want_all(&self, queue: &mut Queue) {
        match self.store.rows_with_fetches().await {
            Ok(rows) => rows.into_iter().for_each(|row| queue.want_unless_later(row)),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "could not look for fetches")
            }
        }
    }

    /// Looks at the open fetches of one instance and does the next thing about each.
    ///
    /// # Errors
    /// Where the store fails; nothing is lost, the next step goes on.
    pub async fn step(&self, row: RowId) -> Result<Next, StoreError> {
        let fetches = self.store.fetches(row).await?;
        self.sent.lock().await.retain(|id| {
            let known = fetches.iter().find(|fetch| fetch.id == *id);
            known.is_none_or(|fetch| fetch.state.is_open())
        });
        let open: Vec<_> = fetches.iter().filter(|fetch| fetch.state.is_open()).collect();
        if open.is_empty() {
            return Ok(Next::Idle);
        }
        let Some(found) = self.store.instance_by_row(row).await? else { return Ok(Next::Idle) };
        let instance = found.instance;
        let mut later = Next::Idle;
        for fetch in open {
            let sent = self.sent.lock().await.contains(&fetch.id);
            let seen = match &instance.instance_id {
                Some(id) if can_be_asked(&instance).is_ok() => {
                    self.fleet.see(id, a_tick_ago(&self.cloud).max(instance.status_since)).await
                }
                _ => Seen::Unknown,
            };
            match next(fetch, &instance, &seen, sent, self.started_at, Timestamp::now()) {
                FetchAction::Wait => {}
                FetchAction::Send => {
                    if !self.send(fetch, &instance).await? {
                        // A cloud that is asked over a network is not asked every second.
                        later = Next::After(FIRST_PAUSE.max(self.cloud.pace().between * 2));
                    }
                }
                FetchAction::Fail(why) => {
                    tracing::info!(fetch = %fetch.id, instance = %instance.name, why, "a fetch is given up");
                    self.store.fetch_failed(fetch.id, &why).await?;
                }
            }
        }
        Ok(later)
    }

    /// Hands a fetch to its machine. False where that is to be tried again.
    async fn send(&self, fetch: &Fetch, instance: &Instance) -> Result<bool, StoreError> {
        let Some(machine) = &instance.instance_id else { return Ok(true) };
        let command = self.store.command_arguments(fetch.id).await?;
        let script = user_data::fetch(&FetchValues {
            fetch: fetch.id,
            kind: fetch.kind,
            command: command.as_deref(),
            callback_url: &self.callback_url,
            token: &self.log_key.fetch_token(fetch.id),
        });
        match self.cloud.run(machine, Job::Fetch(fetch.id), &script).await {
            Ok(()) => {
                self.sent.lock().await.insert(fetch.id);
                self.store.fetch_sent(fetch.id).await?;
                Ok(true)
            }
            Err(error) => {
                tracing::warn!(
                    fetch = %fetch.id,
                    instance = %instance.name,
                    error = &error as &dyn std::error::Error,
                    "the machine did not take a fetch"
                );
                let never = error.retry != Retry::Later;
                if never {
                    self.store.fetch_failed(fetch.id, &error.sentence).await?;
                }
                Ok(never)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cloud::Machine,
        domain::{RepoUrl, Status, UserId, Wanted},
    };

    const HOUR: Timestamp = Timestamp(3_600_000);

    fn instance(status: Status) -> Instance {
        Instance {
            row: RowId(1),
            name: "shop1".parse().unwrap(),
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
            status_since: Timestamp(0),
            instance_id: Some("i-0123456789abcdef0".parse().unwrap()),
            public_ip: None,
            machine_type: None,
            database: None,
            image: None,
            failure: None,
            notice: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn fetch(kind: FetchKind) -> Fetch {
        Fetch {
            id: FetchId(3),
            instance: RowId(1),
            kind,
            state: FetchState::Wanted,
            created_at: HOUR,
            sent_at: None,
            heard_at: None,
            ended_at: None,
            size: 0,
            format: None,
            error: None,
        }
    }

    fn machine(state: MachineState) -> Seen {
        let instance = instance(Status::Live);
        let id = instance.instance_id.unwrap();
        Seen::Machine(Machine {
            id,
            token: "t".into(),
            instance: Some(instance.name),
            state,
            reason: None,
            public_ip: None,
        })
    }

    fn decided(fetch: &Fetch, status: Status, seen: &Seen, sent: bool, seconds: i64) -> FetchAction {
        next(fetch, &instance(status), seen, sent, Timestamp(0), HOUR.plus_seconds(seconds))
    }

    fn failed(action: &FetchAction) -> &str {
        let FetchAction::Fail(why) = action else { panic!("{action:?}") };
        why
    }

    #[test]
    fn a_machine_that_runs_is_asked_once_for_each_run_of_this_program() {
        let running = machine(MachineState::Running);
        let mut log = fetch(FetchKind::Log);
        for status in [Status::Live, Status::Deploying, Status::Failed] {
            assert_eq!(decided(&log, status, &running, false, 1), FetchAction::Send);
            assert_eq!(decided(&log, status, &running, true, 1), FetchAction::Wait);
        }
        // Sent by a former run of the site.
        (log.state, log.sent_at) = (FetchState::Sent, Some(HOUR));
        assert_eq!(decided(&log, Status::Live, &running, false, 1), FetchAction::Send);
        log.state = FetchState::Ready;
        assert_eq!(decided(&log, Status::Live, &running, false, 1), FetchAction::Wait);
    }

    #[test]
    fn a_machine_that_cannot_answer_is_said_to_be_so_at_once() {
        let log = fetch(FetchKind::Log);
        for (status, why) in [
            (Status::Stopped, "The machine is stopped."),
            (Status::Starting, "The machine is still starting."),
            (Status::Booting, "The machine has not reported yet."),
            (Status::Terminating, "The machine is being terminated."),
            (Status::Terminated, "The machine is gone."),
        ] {
            assert_eq!(failed(&decided(&log, status, &Seen::Unknown, false, 0)), why);
        }
        let stopped = machine(MachineState::Stopped);
        assert_eq!(failed(&decided(&log, Status::Failed, &stopped, false, 0)), "The machine is stopped.");
        assert_eq!(failed(&decided(&log, Status::Live, &Seen::Nothing, false, 0)), "The machine is gone.");
        let mut leaving = instance(Status::Live);
        leaving.wanted = Wanted::Absent;
        let action = next(&log, &leaving, &machine(MachineState::Running), false, Timestamp(0), HOUR);
        assert_eq!(failed(&action), "The machine is being terminated.");
    }

    #[test]
    fn a_command_begins_on_a_live_project_alone_and_is_waited_for_once_it_has_begun() {
        let running = machine(MachineState::Running);
        let mut command = fetch(FetchKind::Command);
        assert_eq!(decided(&command, Status::Live, &running, false, 1), FetchAction::Send);
        assert!(
            failed(&decided(&command, Status::Deploying, &running, false, 1))
                .contains("deployment is under way")
        );
        assert_eq!(
            failed(&decided(&command, Status::Failed, &running, false, 1)),
            "The project is not live."
        );
        (command.state, command.sent_at) = (FetchState::Sent, Some(HOUR));
        assert_eq!(decided(&command, Status::Deploying, &running, true, 1), FetchAction::Wait);
        // Its machine knows by itself that it has begun it.
        assert_eq!(decided(&command, Status::Live, &running, false, 1), FetchAction::Send);
        assert_eq!(decided(&command, Status::Live, &running, true, 400), FetchAction::Wait);
        assert!(
            failed(&decided(&command, Status::Live, &running, true, 421))
                .contains("sent nothing within 7 minutes")
        );
    }

    #[test]
    fn what_does_not_come_in_time_is_given_up_but_never_right_after_a_start() {
        let running = machine(MachineState::Running);
        let mut log = fetch(FetchKind::Log);
        assert!(failed(&decided(&log, Status::Live, &running, false, 61)).contains("could not be asked"));
        (log.state, log.sent_at) = (FetchState::Sent, Some(HOUR.plus_seconds(30)));
        assert_eq!(decided(&log, Status::Live, &running, true, 90), FetchAction::Wait);
        assert!(failed(&decided(&log, Status::Live, &running, true, 91)).contains("sent nothing"));
        let just_started = HOUR.plus_seconds(60);
        let at = |seconds| {
            next(&log, &instance(Status::Live), &running, true, just_started, HOUR.plus_seconds(seconds))
        };
        assert_eq!(at(180), FetchAction::Wait);
        assert!(failed(&at(181)).contains("within a minute"));

        let mut media = fetch(FetchKind::Media);
        (media.state, media.sent_at) = (FetchState::Sent, Some(HOUR));
        media.heard_at = Some(HOUR.plus_seconds(1000));
        assert_eq!(decided(&media, Status::Live, &running, true, 1600), FetchAction::Wait);
        assert!(failed(&decided(&media, Status::Live, &running, true, 1601)).contains("broke off"));
    }
}
