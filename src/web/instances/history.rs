//! The deployments of an instance: each with its outcome, its commit, how long it took, who asked for it and why. The
//! detail page lists the newest; a page of its own has all of them, so many at a time.

use askama::Template;
use axum::{
    Router,
    extract::{Path, Query},
    http::StatusCode,
    response::Response,
    routing::get,
};
use serde::Deserialize;

use super::find;
use crate::{
    domain::{Deployment, Instance, Outcome, Reason, Step},
    web::{
        Site,
        auth::Visit,
        error::WebError,
        format::{ago, duration},
        page::{Shell, page},
    },
};

/// Deployments on one page.
const PAGE: usize = 50;

pub fn router() -> Router<Site> {
    Router::new().route("/instances/{name}/deployments", get(show))
}

/// A row of the list of deployments.
pub struct Row {
    pub number: i64,
    /// The status whose colour and shape the outcome takes.
    pub tone: &'static str,
    pub outcome: &'static str,
    pub step: Option<&'static str>,
    pub commit: String,
    pub subject: String,
    pub took: String,
    /// Why it was asked for.
    pub why: Option<&'static str>,
    /// Who asked for it.
    pub who: Option<String>,
    /// When it was handed to a machine, as HTML.
    pub started: String,
}

impl Row {
    pub fn of(deployment: &Deployment) -> Self {
        let (tone, outcome) = match deployment.outcome {
            Some(Outcome::Live) => ("live", "live"),
            Some(Outcome::Failed) => ("failed", "failed"),
            Some(Outcome::Replaced) => ("stopped", "replaced"),
            None if deployment.is_queued() => ("requested", "waiting"),
            None => ("deploying", "deploying"),
        };
        let took = deployment.begun_at.zip(deployment.ended_at);
        Self {
            number: deployment.number,
            tone,
            outcome,
            step: deployment.failure.as_ref().and_then(|failure| failure.step).map(Step::title),
            commit: deployment.plan.commit.short().to_owned(),
            subject: deployment.plan.subject.clone(),
            took: took.map_or(String::new(), |(begun, ended)| duration(ended.seconds_since(begun))),
            why: deployment.reason.map(Reason::title),
            who: deployment.requested_by.as_ref().map(ToString::to_string),
            started: deployment.begun_at.map(ago).unwrap_or_default(),
        }
    }
}

/// Where a page of the list begins: below this number.
#[derive(Deserialize)]
struct From {
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "deployments.html")]
struct HistoryPage {
    shell: Shell,
    view: HistoryView,
    /// Whether it begins with the newest.
    is_newest: bool,
    /// Where the older ones begin, if there are any.
    older: Option<i64>,
}

/// What the table shows.
struct HistoryView {
    instance: Instance,
    rows: Vec<Row>,
}

impl HistoryView {
    fn rows(&self) -> &[Row] {
        &self.rows
    }
}

async fn show(
    visit: Visit,
    Path(name): Path<String>,
    Query(from): Query<From>,
) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    let (store, before) = (&visit.site.store, from.before.unwrap_or(i64::MAX));
    // One more than is shown tells whether there are older ones.
    let mut found = store.deployments_before(instance.row, before, PAGE as u32 + 1).await?;
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let older = found.last().filter(|_| more).map(|last| last.number);
    let title = format!("Deployments of {}", instance.name);
    let description = format!("Every deployment of {}, the newest first.", instance.name);
    let shell = Shell::new(&visit, title, description).await?;
    let view = HistoryView { rows: found.iter().map(Row::of).collect(), instance };
    page(StatusCode::OK, &HistoryPage { shell, view, is_newest: from.before.is_none(), older })
}
