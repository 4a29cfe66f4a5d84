//! How long the sample takes: from the form to its first log byte, to the end of each step, to live; and from
//! Redeploy to live while a client asks 200 times a second. Run by `scripts/bench.sh`; it needs root.
//!
//! `EC_BENCH_RUNS` is how many of each are measured, 5 where it is not set. Prints a table in Markdown.

#[allow(dead_code)]
#[path = "../tests/machines/host.rs"]
mod host;
#[allow(dead_code)]
#[path = "../tests/machines/person.rs"]
mod person;
#[allow(dead_code)]
#[path = "../tests/machines/site.rs"]
mod site;
mod stats;
#[allow(dead_code)]
#[path = "../tests/machines/trace.rs"]
mod trace;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ec_django_deployer::{
    domain::{ServerName, StepState, Timestamp},
    store::Store,
};
use person::{Person, hidden};
use site::Site;
use stats::{Sample, print_table};

/// How often the client of a redeployment asks.
const EVERY: Duration = Duration::from_millis(5);

/// What was asked of a project while it was redeployed.
#[derive(Default)]
struct Asked {
    all: usize,
    failed: Vec<String>,
    slowest: Duration,
}

#[tokio::main]
async fn main() {
    let runs = std::env::var("EC_BENCH_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(5);
    let (site, mira) = Site::start("bench").await;
    let store =
        Store::open(&format!("sqlite://{}", site.state_dir.join("deployer.db").display())).await.unwrap();

    let mut first = Measured::new("from form");
    for _ in 0..runs {
        let form = mira.get("/instances/new?sample=guestbook").await.text;
        let url = hidden(&form, "github_url").expect("the form is filled in");
        let begun = Timestamp::now();
        let name = mira.deploy(&url, "guestbook").await;
        mira.until(&name, "live", 300).await;
        first.add(&store, &name, begun).await;
        mira.terminate(&name).await;
        mira.until(&name, "terminated", 60).await;
    }
    first.print(&format!("Form to live, {runs} times, each on a machine of its own"));

    let form = mira.get("/instances/new?sample=guestbook").await.text;
    let name = mira.deploy(&hidden(&form, "github_url").unwrap(), "guestbook").await;
    mira.until(&name, "live", 300).await;
    let address = mira.address(&name).await;
    let mut again = Measured::new("from the click");
    let mut asked = Asked::default();
    for _ in 0..runs {
        let ended = Arc::new(AtomicBool::new(false));
        let client = tokio::spawn(ask(address.clone(), ended.clone()));
        let begun = Timestamp::now();
        mira.redeploy(&name).await;
        wait_for_live(&store, &name).await;
        again.add(&store, &name, begun).await;
        // What is asked just after it must be answered as well.
        tokio::time::sleep(Duration::from_secs(3)).await;
        ended.store(true, Ordering::Relaxed);
        let one = client.await.unwrap();
        asked.all += one.all;
        asked.failed.extend(one.failed);
        asked.slowest = asked.slowest.max(one.slowest);
    }
    again.print(&format!("Redeployment without new dependencies, {runs} times"));
    println!(
        "A client that asked every {} ms meanwhile: {} requests, {} failed, the slowest took {} ms.\n",
        EVERY.as_millis(),
        asked.all,
        asked.failed.len(),
        asked.slowest.as_millis()
    );
    for failure in asked.failed.iter().take(10) {
        println!("- {failure}");
    }
    store.close().await;
    if std::env::var_os("EC_BENCH_LOG").is_some() {
        println!("{}", mira.get(&format!("/instances/{name}/log")).await.text);
    }
    drop(site);
    assert!(asked.failed.is_empty(), "requests failed during a redeployment");
}

/// Moments of deployments, in seconds.
struct Measured {
    rows: Vec<(String, Sample)>,
    unit: &'static str,
}

impl Measured {
    fn new(unit: &'static str) -> Self {
        Self { rows: Vec::new(), unit }
    }

    fn note(&mut self, what: &str, seconds: f64) {
        match self.rows.iter_mut().find(|(name, _)| name == what) {
            Some((_, sample)) => sample.add(seconds),
            None => self.rows.push((what.to_owned(), Sample::of(seconds))),
        }
    }

    /// Adds the newest deployment of an instance, which is live.
    async fn add(&mut self, store: &Store, name: &str, begun: Timestamp) {
        let name: ServerName = name.parse().unwrap();
        let found = store.instance(&name).await.unwrap().unwrap();
        let row = found.instance.row;
        let deployment = store.serving_deployment(row).await.unwrap().unwrap();
        let first_byte = deployment.first_byte_at.expect("it reported").seconds_since(begun);
        self.note("accepted", deployment.created_at.seconds_since(begun));
        self.note("first log byte", first_byte);
        let mut at = first_byte;
        for (step, state) in deployment.report.steps() {
            if let StepState::Ok { seconds } = state {
                at += seconds;
                self.note(&format!("end of `{}`", step.name()), at);
            }
        }
        self.note("live", deployment.ended_at.expect("it ended").seconds_since(begun));
    }

    fn print(&self, title: &str) {
        print_table(title, &format!("seconds {}", self.unit), &self.rows);
    }
}

async fn wait_for_live(store: &Store, name: &str) {
    let name: ServerName = name.parse().unwrap();
    let start = Instant::now();
    loop {
        let found = store.instance(&name).await.unwrap().unwrap();
        match found.newest.and_then(|newest| newest.outcome) {
            Some(outcome) => {
                assert_eq!(outcome.name(), "live");
                return;
            }
            None => assert!(start.elapsed() < Duration::from_secs(300), "it did not become live"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Asks for the project's page again and again, each time at its moment, however long the answers take; every
/// fourth on a connection that is kept, the others on one of their own.
async fn ask(address: String, ended: Arc<AtomicBool>) -> Asked {
    let kept = Person::new(&address);
    let mut asked = Asked::default();
    let mut pending = tokio::task::JoinSet::new();
    let mut tick = tokio::time::interval(EVERY);
    let kept = Arc::new(kept);
    for n in 0_usize.. {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        tick.tick().await;
        let person = if n % 4 == 0 { kept.clone() } else { Arc::new(Person::new(&address)) };
        pending.spawn(async move {
            let start = Instant::now();
            let status = person.try_get("/").await;
            (status, start.elapsed())
        });
    }
    while let Some(done) = pending.join_next().await {
        let (status, took) = done.unwrap();
        asked.all += 1;
        asked.slowest = asked.slowest.max(took);
        match status {
            Some(status) if status.is_success() => {}
            Some(status) => asked.failed.push(status.to_string()),
            None => asked.failed.push("no answer".to_owned()),
        }
    }
    asked
}
