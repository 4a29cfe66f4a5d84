//! Turns rows into machines. Level-triggered: it looks at what is wanted and what is there, does
//! the next thing, and looks again; so it may be stopped at any line and go on after a restart.
//!
//! `run` is a thin loop, woken by changes and by a slow tick, over [`Reconciler::step`], which asks
//! [`decide()`] what is next and does that one thing.

mod act;
mod bake;
mod decide;
mod fetch;
mod fleet;
mod images;
mod orphans;
mod probe;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

pub use bake::{BakeError, Baker};
pub use decide::{Action, Around, BOOT_SECONDS, DEPLOY_SECONDS, GRACE_SECONDS, START_SECONDS, Seen, decide};
pub use fetch::{FetchAction, Fetcher};
use fleet::Fleet;
pub use orphans::Orphans;
use probe::Probe;
use tokio::{
    sync::{Mutex, Semaphore, broadcast::error::RecvError},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    cloud::{Cloud, Pace},
    domain::{AddressRule, DeploymentId, LogKey, RowId, Timestamp},
    metrics::Metrics,
    store::{Change, Store, StoreError},
};

/// How long after the last change everything is still looked at as often as while something is changing.
const QUIET: Duration = Duration::from_secs(60);
/// First pause after a cloud asked for patience.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long a step waits after an error of ours before it is tried again.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// What a step wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Look again at once.
    Again,
    /// Look again after so long.
    After(Duration),
    /// Look again when something changes.
    Idle,
}

/// What the steps need to know of the site.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The site's random id.
    pub site: String,
    /// Where machines reach the site, without a slash at the end.
    pub callback_url: String,
    /// Instances that are worked on at once.
    pub parallel: usize,
    /// Where to ask for a project's page instead of its public IP; empty but in tests.
    pub address_map: Vec<AddressRule>,
}

/// Turns rows into machines.
#[derive(Clone, Debug)]
pub struct Reconciler {
    store: Store,
    cloud: Cloud,
    fleet: Fleet,
    probe: Probe,
    log_key: LogKey,
    baker: Baker,
    settings: Settings,
    metrics: Metrics,
    started_at: Timestamp,
    /// Deployments whose script this process has started; after a restart it is started once more,
    /// and the script refuses.
    sent: Arc<Mutex<HashSet<DeploymentId>>>,
    /// Since when listings do not show the machine of an instance.
    missing: Arc<Mutex<HashMap<RowId, Timestamp>>>,
    /// How often in a row the cloud asked for patience with an instance.
    retries: Arc<Mutex<HashMap<RowId, u32>>>,
}

impl Reconciler {
    /// Makes a reconciler; nothing happens until [`run`](Self::run).
    ///
    /// # Errors
    /// Where the host cannot open connections at all.
    pub fn new(
        store: Store,
        cloud: Cloud,
        log_key: LogKey,
        baker: Baker,
        settings: Settings,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            fleet: Fleet::new(cloud.clone(), store.clone()),
            probe: Probe::new(settings.address_map.clone())?,
            store,
            cloud,
            log_key,
            baker,
            settings,
            metrics: Metrics::new(),
            started_at: Timestamp::now(),
            sent: Arc::default(),
            missing: Arc::default(),
            retries: Arc::default(),
        })
    }

    /// The same, counting what it does in `metrics`.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Works until `shutdown`; then what is under way is given up where it is.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut changes = self.store.changes();
        let mut queue = Queue::new(self.settings.parallel);
        let mut tick = Tick::new(self.cloud.pace(), Instant::now());
        loop {
            let due = queue.next_due();
            tokio::select! {
                () = shutdown.cancelled() => break,
                change = changes.recv() => match change {
                    Ok(Change::Instance(row)) => {
                        tick.changed(Instant::now());
                        queue.want(row);
                    }
                    // What an instance waits for may have come, however long it was told to wait.
                    Ok(Change::Image(_) | Change::Readiness) | Err(RecvError::Lagged(_)) => {
                        self.want_all_at_once(&mut queue).await;
                    }
                    Ok(
                        Change::Notice(_)
                        | Change::ImageLog(_)
                        | Change::Sessions
                        | Change::Fetch(_)
                        | Change::Orphans
                        | Change::OrphanWish,
                    ) => {}
                    Err(RecvError::Closed) => break,
                },
                () = tokio::time::sleep_until(tick.next) => {
                    tick.passed(queue.is_quiet(), Instant::now());
                    self.want_all(&mut queue).await;
                }
                () = tokio::time::sleep_until(due) => queue.take_due(),
                Some(done) = queue.tasks.join_next() => {
                    if !matches!(done, Ok((_, Ok(_)))) {
                        self.metrics.step_failed();
                    }
                    queue.ended(done);
                }
            }
            queue.start(|row| {
                let reconciler = self.clone();
                async move { reconciler.step(row).await }
            });
        }
        queue.tasks.shutdown().await;
    }

    async fn want_all(&self, queue: &mut Queue) {
        self.rows().await.into_iter().for_each(|row| queue.want_unless_later(row));
    }

    /// Wants a step of every row, of those too that were told to wait.
    async fn want_all_at_once(&self, queue: &mut Queue) {
        self.rows().await.into_iter().for_each(|row| queue.want(row));
    }

    async fn rows(&self) -> Vec<RowId> {
        self.store.rows_with_work().await.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "could not look for work");
            Vec::new()
        })
    }

    /// Looks at one instance and does the next thing about it.
    ///
    /// # Errors
    /// Where the store fails; nothing is lost, the next step goes on.
    pub async fn step(&self, row: RowId) -> Result<Next, StoreError> {
        let Some(work) = self.store.work(row).await? else { return Ok(Next::Idle) };
        let seen = match &work.instance.instance_id {
            Some(_) if self.cloud.lists_when_ready() && !self.store.readiness().is_ready() => Seen::Unknown,
            Some(id) => self.fleet.see(id, self.needed_since(&work)).await,
            None => Seen::Unknown,
        };
        let seen = self.believed(&work, seen).await;
        let around = Around {
            now: Timestamp::now(),
            started_at: self.started_at,
            good: self.baker.good_image().await?,
            newest: self.store.newest_image().await?,
            ready: self.store.readiness().is_ready(),
            gives_addresses: self.cloud.gives_addresses(),
        };
        let action = decide(&work, &seen, &around);
        self.metrics.step(action.name());
        tracing::debug!(instance = %work.instance.name, ?action, "step");
        self.act(&work, action).await
    }

    /// A listing is worth something only if it is newer than the instance's status, and than the
    /// last tick: what a machine does by itself is seen once a tick.
    fn needed_since(&self, work: &crate::store::Work) -> Timestamp {
        work.instance.status_since.max(a_tick_ago(&self.cloud))
    }

    /// What is seen, but that a machine which is not shown is believed to be gone only after a while.
    async fn believed(&self, work: &crate::store::Work, seen: Seen) -> Seen {
        let mut missing = self.missing.lock().await;
        if seen != Seen::Nothing {
            if matches!(seen, Seen::Machine(_)) {
                missing.remove(&work.instance.row);
            }
            return seen;
        }
        let now = Timestamp::now();
        let since = *missing.entry(work.instance.row).or_insert(now);
        let believed = now >= since.plus_seconds(self.cloud.vanishes_after()) && !self.may_still_appear(work);
        if believed {
            missing.remove(&work.instance.row);
            return Seen::Nothing;
        }
        Seen::Unknown
    }

    /// Whether the machine was launched so lately that the cloud's listings need not show it yet.
    fn may_still_appear(&self, work: &crate::store::Work) -> bool {
        let launched = work.attempt.as_ref().and_then(|attempt| attempt.launched_at);
        launched.is_some_and(|at| Timestamp::now() < at.plus_seconds(self.cloud.appears_within()))
    }
}

/// When a listing was asked for that is just new enough for what machines do by themselves.
fn a_tick_ago(cloud: &Cloud) -> Timestamp {
    Timestamp(Timestamp::now().0 - cloud.pace().busy.as_millis() as i64)
}

/// When everything is looked at, changed or not: what happens to machines outside our site is seen by this. While
/// nothing changes the pauses grow.
struct Tick {
    pace: Pace,
    pause: Duration,
    next: Instant,
    changed: Instant,
}

impl Tick {
    fn new(pace: Pace, now: Instant) -> Self {
        Self { pace, pause: pace.busy, next: now, changed: now }
    }

    /// Something changed: what follows is looked at closely.
    fn changed(&mut self, now: Instant) {
        self.changed = now;
        self.pause = self.pace.busy;
        self.next = self.next.min(self.changed + self.pause);
    }

    /// The tick has come; `quiet` says whether nothing is under way.
    fn passed(&mut self, quiet: bool, now: Instant) {
        let calm = quiet && now - self.changed > QUIET;
        self.pause = if calm { (self.pause * 2).min(self.pace.idle) } else { self.pace.busy };
        self.next = now + self.pause;
    }
}

/// Which instances want a step, which are having one, and which later.
struct Queue {
    wanted: HashSet<RowId>,
    busy: HashSet<RowId>,
    later: HashMap<RowId, Instant>,
    tasks: JoinSet<(RowId, Result<Next, StoreError>)>,
    permits: Arc<Semaphore>,
}

impl Queue {
    fn new(parallel: usize) -> Self {
        Self {
            wanted: HashSet::new(),
            busy: HashSet::new(),
            later: HashMap::new(),
            tasks: JoinSet::new(),
            permits: Arc::new(Semaphore::new(parallel)),
        }
    }

    fn want(&mut self, row: RowId) {
        self.wanted.insert(row);
    }

    /// Wants a step of a row that nothing is known to have changed about: one that was told to wait goes on waiting.
    fn want_unless_later(&mut self, row: RowId) {
        if !self.later.contains_key(&row) {
            self.want(row);
        }
    }

    /// When the next later step is due; far off where there is none.
    fn next_due(&self) -> Instant {
        self.later.values().min().copied().unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }

    /// Whether no step is under way or due.
    fn is_quiet(&self) -> bool {
        self.wanted.is_empty() && self.busy.is_empty() && self.later.is_empty()
    }

    fn take_due(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self.later.extract_if(|_, at| *at <= now).map(|(row, _)| row).collect();
        self.wanted.extend(due);
    }

    /// Starts a step for every instance that wants one and has none, as many at once as there are permits.
    fn start<F, T>(&mut self, step: F)
    where
        F: Fn(RowId) -> T,
        T: Future<Output = Result<Next, StoreError>> + Send + 'static,
    {
        let ready: Vec<_> = self.wanted.difference(&self.busy).copied().collect();
        for row in ready {
            self.wanted.remove(&row);
            self.later.remove(&row);
            self.busy.insert(row);
            let (work, permits) = (step(row), self.permits.clone());
            self.tasks.spawn(async move {
                let _permit = permits.acquire_owned().await;
                (row, work.await)
            });
        }
    }

    fn ended(&mut self, done: Result<(RowId, Result<Next, StoreError>), tokio::task::JoinError>) {
        let (row, result) = match done {
            Ok(done) => done,
            Err(error) => {
                // A step that panicked leaves its row unknown: every row may be looked at again.
                tracing::error!(error = &error as &dyn std::error::Error, "a step broke off");
                self.busy.clear();
                return;
            }
        };
        self.busy.remove(&row);
        match result {
            Ok(Next::Again) => self.want(row),
            Ok(Next::After(pause)) => self.at(row, pause),
            Ok(Next::Idle) => {}
            Err(error) => {
                tracing::error!(row = row.0, error = &error as &dyn std::error::Error, "a step failed");
                self.at(row, AFTER_ERROR);
            }
        }
    }

    fn at(&mut self, row: RowId, pause: Duration) {
        self.later.insert(row, Instant::now() + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_grow_while_nothing_changes() {
        let seconds = Duration::from_secs;
        let (pace, mut now) =
            (Pace { busy: seconds(5), idle: seconds(60), between: seconds(2) }, Instant::now());
        let mut tick = Tick::new(pace, now);
        tick.passed(true, now);
        assert_eq!(tick.pause, seconds(5), "it has just begun");
        now += seconds(61);
        let pauses: Vec<_> = (0..5)
            .map(|_| {
                tick.passed(true, now);
                tick.pause.as_secs()
            })
            .collect();
        assert_eq!(pauses, [10, 20, 40, 60, 60]);
        tick.passed(false, now);
        assert_eq!(tick.pause, seconds(5), "something is under way");
        tick.passed(true, now);
        tick.changed(now);
        assert_eq!(tick.next, now + seconds(5), "a change is looked at soon");
    }
}
