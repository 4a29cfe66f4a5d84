//! What the site counts of itself, for Prometheus. Events are counted where they happen; what the store knows is
//! read when somebody asks, by one query. Labels have few values: a route is its pattern and never an address.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use prometheus::{
    Counter, Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts,
    Registry, TextEncoder, core::Collector,
};

use crate::{
    domain::{Deployment, HoldingKind, ImageState, Outcome, Status, StepState},
    store::Counts,
};

/// Bounds of the time of an answer, in seconds: most take milliseconds, a look at a repository up to 20 s.
const ANSWER_BOUNDS: [f64; 10] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0, 30.0];
/// Bounds of the time of a deployment or a bake, in seconds: a small project takes half a minute.
const LONG_BOUNDS: [f64; 9] = [10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 5400.0];
/// Bounds of the time of a step, in seconds.
const STEP_BOUNDS: [f64; 9] = [0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 1800.0];

/// Every status, so that one without instances is a 0 and not a gap.
const STATUSES: [Status; 11] = [
    Status::Requested,
    Status::Launching,
    Status::Booting,
    Status::Deploying,
    Status::Live,
    Status::Stopping,
    Status::Stopped,
    Status::Starting,
    Status::Terminating,
    Status::Terminated,
    Status::Failed,
];

/// What came of asking the cloud for a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launch {
    /// There is a machine.
    Launched,
    /// A definite refusal.
    Refused,
    /// It is not known; the same request is sent again.
    Retried,
}

impl Launch {
    const ALL: [Self; 3] = [Self::Launched, Self::Refused, Self::Retried];

    fn name(self) -> &'static str {
        match self {
            Self::Launched => "launched",
            Self::Refused => "refused",
            Self::Retried => "retried",
        }
    }
}

/// What is counted of one site. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    streams: Gauge,
    attempts: IntCounter,
    launches: IntCounterVec,
    deployments: IntCounterVec,
    deployment_seconds: HistogramVec,
    step_seconds: HistogramVec,
    bakes: IntCounterVec,
    bake_seconds: HistogramVec,
    steps: IntCounterVec,
    step_errors: IntCounter,
    retries: IntCounter,
    /// Held while what is read is put in, so that two who ask at once do not count twice.
    asked: Mutex<Read>,
}

/// What is read when somebody asks.
#[derive(Debug)]
struct Read {
    instances: GaugeVec,
    images: GaugeVec,
    queued: GaugeVec,
    orphans: GaugeVec,
    ready: Gauge,
    database_bytes: Gauge,
    connections: GaugeVec,
    memory: Gauge,
    cpu: Counter,
    files: Gauge,
    most_files: Gauge,
}

/// What only the web half and the store know when somebody asks.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What the store counted.
    pub counts: &'a Counts,
    /// Whether the cloud can launch machines.
    pub ready: bool,
    /// Open event streams.
    pub streams: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counts from zero.
    ///
    /// # Panics
    /// Never: the names below are constants, each there once.
    pub fn new() -> Self {
        Self::build().expect("the names of metrics are good and each is there once")
    }

    fn build() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let r = &registry;
        let inner = Inner {
            requests: counters(
                r,
                "http_requests_total",
                "Requests answered.",
                &["method", "route", "status"],
            )?,
            request_seconds: histogram(
                r,
                "http_request_duration_seconds",
                "Time from a request to the head of its answer.",
                &["method", "route"],
                &ANSWER_BOUNDS,
            )?,
            streams: gauge(r, "ec_deployer_event_streams", "Open streams of live updates.")?,
            attempts: counter(r, "ec_deployer_attempts_total", "Attempts to get a machine that were begun.")?,
            launches: counters(r, "launches_total", "Launches that the cloud was asked for.", &["result"])?,
            deployments: counters(r, "deployments_total", "Deployments that ended.", &["outcome"])?,
            deployment_seconds: histogram(
                r,
                "deployment_duration_seconds",
                "Time from a deployment's start on its machine to its end.",
                &["outcome"],
                &LONG_BOUNDS,
            )?,
            step_seconds: histogram(
                r,
                "step_duration_seconds",
                "Time of the steps of deployments that went well.",
                &["step"],
                &STEP_BOUNDS,
            )?,
            bakes: counters(r, "bakes_total", "Bakes of golden images that ended.", &["result"])?,
            bake_seconds: histogram(
                r,
                "bake_duration_seconds",
                "Time of a bake.",
                &["result"],
                &LONG_BOUNDS,
            )?,
            steps: counters(r, "reconciler_steps_total", "Steps of the reconciler.", &["action"])?,
            step_errors: counter(
                r,
                "ec_deployer_reconciler_errors_total",
                "Steps of the reconciler that an error of the store broke off.",
            )?,
            retries: counter(
                r,
                "ec_deployer_cloud_retries_total",
                "Calls that the cloud asked patience for and that are tried again.",
            )?,
            asked: Mutex::new(Read {
                instances: gauges(r, "instances", "Instances by status.", "status")?,
                images: gauges(r, "images", "Golden images by state.", "state")?,
                queued: gauges(r, "deployments_open", "Deployments that have not ended.", "state")?,
                orphans: gauges(r, "orphans", "Things in the cloud that no record knows.", "kind")?,
                ready: gauge(r, "ec_deployer_cloud_ready", "Whether the cloud can launch machines: 1 or 0.")?,
                database_bytes: gauge(r, "ec_deployer_database_bytes", "Size of the database.")?,
                connections: gauges(r, "database_connections", "Connections to the database.", "state")?,
                memory: gauge(r, "process_resident_memory_bytes", "Memory of the process.")?,
                cpu: registered(r, Counter::new("process_cpu_seconds_total", "Time on the processor.")?)?,
                files: gauge(r, "process_open_fds", "Files, pipes and connections that are open.")?,
                most_files: gauge(r, "process_max_fds", "Most of them that may be open.")?,
            }),
            registry: registry.clone(),
        };
        gauges(r, "build_info", "The program's version.", "version")?
            .with_label_values(&[crate::VERSION])
            .set(1.0);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        gauge(r, "process_start_time_seconds", "When the process started, in seconds since 1970.")?
            .set(started.as_secs_f64());
        for launch in Launch::ALL {
            inner.launches.with_label_values(&[launch.name()]);
        }
        for outcome in [Outcome::Live, Outcome::Failed] {
            inner.deployments.with_label_values(&[outcome.name()]);
        }
        for state in [ImageState::Good, ImageState::Failed] {
            inner.bakes.with_label_values(&[state.name()]);
        }
        Ok(Self(Arc::new(inner)))
    }

    /// A request was answered; `route` is the pattern that it matched.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let method = match method {
            "GET" | "HEAD" | "POST" | "PATCH" | "PUT" | "DELETE" | "OPTIONS" => method,
            // Anybody may make up methods.
            _ => "other",
        };
        self.0.requests.with_label_values(&[method, route, &status.to_string()]).inc();
        self.0.request_seconds.with_label_values(&[method, route]).observe(took.as_secs_f64());
    }

    /// An attempt to get a machine was begun.
    pub fn attempt_begun(&self) {
        self.0.attempts.inc();
    }

    /// The cloud was asked for a machine.
    pub fn launch(&self, launch: Launch) {
        self.0.launches.with_label_values(&[launch.name()]).inc();
    }

    /// A deployment ended just now.
    pub fn deployment_ended(&self, deployment: &Deployment, outcome: Outcome, seconds: f64) {
        self.0.deployments.with_label_values(&[outcome.name()]).inc();
        self.0.deployment_seconds.with_label_values(&[outcome.name()]).observe(seconds.max(0.0));
        for (step, state) in deployment.report.steps() {
            if let StepState::Ok { seconds } = state {
                self.0.step_seconds.with_label_values(&[step.name()]).observe(seconds);
            }
        }
    }

    /// A bake ended.
    pub fn bake_ended(&self, good: bool, took: Duration) {
        let result = if good { ImageState::Good } else { ImageState::Failed }.name();
        self.0.bakes.with_label_values(&[result]).inc();
        self.0.bake_seconds.with_label_values(&[result]).observe(took.as_secs_f64());
    }

    /// The reconciler took a step.
    pub fn step(&self, action: &str) {
        self.0.steps.with_label_values(&[action]).inc();
    }

    /// A step broke off.
    pub fn step_failed(&self) {
        self.0.step_errors.inc();
    }

    /// The cloud asked for patience.
    pub fn retry(&self) {
        self.0.retries.inc();
    }

    /// All of it in Prometheus' text format.
    ///
    /// # Errors
    /// Where it cannot be encoded.
    pub fn text(&self, asked: &Asked<'_>) -> prometheus::Result<Vec<u8>> {
        let read = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.streams.set(asked.streams as f64);
        read.fill(asked);
        read.fill_process();
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// The type of [`text`](Self::text).
    pub fn content_type() -> &'static str {
        "text/plain; version=0.0.4; charset=utf-8"
    }
}

impl Read {
    fn fill(&self, asked: &Asked<'_>) {
        let Asked { counts, ready, .. } = asked;
        for status in STATUSES {
            self.instances.with_label_values(&[status.name()]).set(counts.of("instances", status.name()));
        }
        for state in [ImageState::Baking, ImageState::Good, ImageState::Failed] {
            self.images.with_label_values(&[state.name()]).set(counts.of("images", state.name()));
        }
        for state in ["queued", "running"] {
            self.queued.with_label_values(&[state]).set(counts.of("deployments", state));
        }
        for kind in HoldingKind::ALL {
            self.orphans.with_label_values(&[kind.name()]).set(counts.of("orphans", kind.name()));
        }
        self.ready.set(f64::from(u8::from(*ready)));
        self.database_bytes.set(counts.of("database", "bytes"));
        self.connections.with_label_values(&["open"]).set(f64::from(counts.connections));
        self.connections.with_label_values(&["idle"]).set(counts.idle as f64);
    }

    /// What the kernel knows of this process. What it does not say stays as it was.
    fn fill_process(&self) {
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let seconds = [usage.user_time(), usage.system_time()]
                .iter()
                .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
                .sum();
            self.cpu.reset();
            self.cpu.inc_by(seconds);
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let Some(bytes) = resident(&status) {
            self.memory.set(bytes);
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            // The one that they are counted by is not one of them.
            self.files.set(files.count().saturating_sub(1) as f64);
        }
        if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            self.most_files.set(soft as f64);
        }
    }
}

/// The memory of a process in bytes, from its `status`.
/// <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>
fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

fn registered<T: Collector + Clone + 'static>(registry: &Registry, metric: T) -> prometheus::Result<T> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn named(name: &str) -> String {
    format!("ec_deployer_{name}")
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    registered(registry, IntCounter::new(name, help)?)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    registered(registry, IntCounterVec::new(Opts::new(named(name), help), labels)?)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<Gauge> {
    registered(registry, Gauge::new(name, help)?)
}

fn gauges(registry: &Registry, name: &str, help: &str, label: &str) -> prometheus::Result<GaugeVec> {
    registered(registry, GaugeVec::new(Opts::new(named(name), help), &[label])?)
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    bounds: &[f64],
) -> prometheus::Result<HistogramVec> {
    let options = HistogramOpts::new(named(name), help).buckets(bounds.to_vec());
    registered(registry, HistogramVec::new(options, labels)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_a_status() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2_097_152.0));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn made_up_methods_are_counted_as_one() {
        let metrics = Metrics::new();
        for method in ["BREW", "WHEN", "GET"] {
            metrics.answered(method, "/", 405, Duration::from_millis(3));
        }
        let counts = Counts::default();
        let text = metrics.text(&Asked { counts: &counts, ready: false, streams: 0 }).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains(r#"ec_deployer_http_requests_total{method="other",route="/",status="405"} 2"#),
            "{text}"
        );
        assert!(!text.contains("BREW"), "{text}");
    }
}
