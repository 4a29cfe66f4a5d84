//! What the pages cost: the program with 1,000 instances in its database, its resident memory when idle, and how
//! many list and detail pages a second it answers. Run by `scripts/bench.sh`; it needs root, and wrk.
//!
//! `EC_BENCH_SECONDS` is how long each page is asked for, 5 times, 5 seconds where it is not set. Prints Markdown.

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

use std::{process::Command, time::Duration};

use person::{Person, hidden};
use site::Site;
use stats::{Sample, print_table};

/// Rounds of each measurement.
const ROUNDS: usize = 5;
/// Connections at once: enough that the site never waits for the client.
const CONNECTIONS: usize = 32;

/// Copies of an instance and its deployment, terminated, which no cloud is asked about: those of `OWNER`, as many as
/// `COUNT`.
const COPIES: &str = "
    WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < COUNT)
    INSERT INTO instances (name, owner_id, github_url, project_name, branch, description, wanted, generation,
                           observed_generation, status, status_since, created_at, updated_at)
    SELECT 'copy-OWNER-' || n.n, OWNER, github_url, project_name, branch, 'Copy number ' || n.n, 'absent', generation,
           generation, 'terminated', status_since, created_at, updated_at
    FROM instances, n WHERE name = 'guestbook';
    INSERT INTO deployments (instance, number, plan, report, log_size, submission, requested_by, created_at, begun_at,
                             first_byte_at, step_since, ended_at, outcome)
    SELECT i.id, 1, d.plan, d.report, 0, d.submission, OWNER, d.created_at, d.begun_at, d.first_byte_at, d.step_since,
           d.ended_at, d.outcome
    FROM deployments d JOIN instances o ON o.id = d.instance AND o.name = 'guestbook', instances i
    WHERE i.name LIKE 'copy-OWNER-%';";

#[tokio::main]
async fn main() {
    let seconds = std::env::var("EC_BENCH_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(5);
    let (mut site, mira) = Site::start("pages").await;
    let form = mira.get("/instances/new?sample=guestbook").await.text;
    let name = mira.deploy(&hidden(&form, "github_url").expect("the form is filled in"), "guestbook").await;
    mira.until(&name, "live", 300).await;
    // One person with 100 instances, and somebody else with the others.
    let _ = site.add_user("ruth", "correct horse battery").await;
    assert!(site.stop());
    for (owner, count) in [("1", "99"), ("2", "900")] {
        sql(&site, &COPIES.replace("OWNER", owner).replace("COUNT", count));
    }
    site.restart();

    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut memory = vec![("idle after the start".to_owned(), Sample::of(resident(&site)))];
    let pages =
        [("list of 100", "/instances?whose=mine".to_owned()), ("detail", format!("/instances/{name}"))];
    for (what, path) in &pages {
        let page = mira.get(path).await;
        assert!(page.status.is_success());
        println!("The {what} page has {} bytes.", page.text.len());
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    memory.push(("after each page was seen".to_owned(), Sample::of(resident(&site))));

    let mut speeds = Vec::new();
    for (what, path) in &pages {
        for gzip in [false, true] {
            let mut sample = Sample::default();
            for _ in 0..ROUNDS {
                sample.add(ask(&mira, &site, path, seconds, gzip));
            }
            speeds.push((format!("{what}{}", if gzip { ", compressed" } else { "" }), sample));
        }
    }
    memory.push(("after all that was asked".to_owned(), Sample::of(resident(&site))));
    print_table("Resident memory with 1,000 instances", "MB", &memory);
    print_table(
        &format!(
            "Pages, {CONNECTIONS} connections, {ROUNDS} times {seconds} s, the client on the same cores"
        ),
        "a second",
        &speeds,
    );
}

/// Runs statements in the database of a site that is not running.
fn sql(site: &Site, statements: &str) {
    let status =
        Command::new("sqlite3").arg(site.state_dir.join("deployer.db")).arg(statements).status().unwrap();
    assert!(status.success());
}

/// Resident memory in MB (1,000,000 bytes).
fn resident(site: &Site) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", site.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1024.0 / 1e6
}

/// Asks for a page as fast as it comes, and gives the answers a second; each must be a 200.
fn ask(person: &Person, site: &Site, path: &str, seconds: u32, gzip: bool) -> f64 {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s")]);
    wrk.args(["-H", &format!("Cookie: {}", person.cookies(&site.url))]);
    if gzip {
        wrk.args(["-H", "Accept-Encoding: gzip"]);
    }
    let output =
        wrk.arg(format!("{}{path}", site.url)).output().expect("wrk is installed by scripts/setup.sh");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !text.contains("Non-2xx"), "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).expect("wrk says how many");
    line.trim().parse().unwrap()
}
