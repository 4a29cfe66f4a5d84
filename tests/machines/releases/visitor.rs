//! Somebody who asks for the site fifty times a second, whatever happens to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{StatusCode, header::COOKIE};
use tokio::task::{JoinHandle, JoinSet};

/// Between two requests.
const PACE: Duration = Duration::from_millis(20);
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(40);

/// Somebody who asks.
pub struct Visitor {
    ended: Arc<AtomicBool>,
    asking: JoinHandle<Asked>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Asked {
    /// How many requests there were.
    pub requests: usize,
    /// What was no page, in words.
    pub failed: Vec<String>,
    /// The longest wait for an answer.
    pub slowest: Duration,
}

impl Visitor {
    /// Begins to ask for a page that only who has these cookies sees, and for `/healthz`, in turn and on a connection of
    /// its own each.
    pub fn begin(site: &str, page: &str, cookies: String) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let asking =
            tokio::spawn(ask(format!("{site}{page}"), format!("{site}/healthz"), cookies, ended.clone()));
        Self { ended, asking }
    }

    /// Ends, once every request has its answer.
    pub async fn end(self) -> Asked {
        self.ended.store(true, Ordering::Relaxed);
        self.asking.await.unwrap()
    }
}

async fn ask(page: String, health: String, cookies: String, ended: Arc<AtomicBool>) -> Asked {
    let client = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .build()
        .unwrap();
    let mut answers = JoinSet::new();
    let mut pace = tokio::time::interval(PACE);
    let mut requests = 0;
    while !ended.load(Ordering::Relaxed) {
        pace.tick().await;
        let url = if requests % 2 == 0 { &page } else { &health };
        let request = client.get(url).header(COOKIE, &cookies);
        requests += 1;
        answers.spawn(async move {
            let began = Instant::now();
            let failed = match request.send().await {
                Ok(answer) if answer.status() == StatusCode::OK => {
                    answer.bytes().await.err().map(|e| format!("{e:?}"))
                }
                Ok(answer) => Some(answer.status().to_string()),
                Err(error) => Some(format!("{error:?}")),
            };
            (failed, began.elapsed())
        });
    }
    let mut asked = Asked { requests, ..Asked::default() };
    for (failed, took) in answers.join_all().await {
        asked.failed.extend(failed);
        asked.slowest = asked.slowest.max(took);
    }
    asked
}
