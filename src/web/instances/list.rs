//! The list of instances; where there are none yet, the form itself.

use std::{ops::Deref, sync::Arc};

use askama::Template;
use axum::{Router, extract::Query, http::StatusCode, response::Response, routing::get};
use serde::Deserialize;

use crate::{
    domain::{Instance, Status},
    store::Overview,
    web::{
        Site,
        auth::Visit,
        cloud::OrphanNotice,
        error::WebError,
        format::{ago, count},
        images::ImageNotice,
        page::{BakeNotice, Shell, page},
        plain_http::PlainHttpNotice,
        readiness::{ReadinessNotice, SampleWay},
    },
};

pub fn router() -> Router<Site> {
    Router::new().route("/instances", get(show))
}

/// Whose instances are listed: `mine`, or everyone's, which only an admin sees.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Whose {
    #[serde(default)]
    pub whose: String,
}

/// A row of the list.
pub struct Row(Arc<Overview>);

impl Deref for Row {
    type Target = Overview;

    fn deref(&self) -> &Overview {
        &self.0
    }
}

impl Row {
    /// The instance's name.
    pub fn name(&self) -> &str {
        self.instance.name.as_str()
    }

    /// The status, as it is shown.
    pub fn status(&self) -> &'static str {
        self.instance.status.name()
    }

    /// Where and how far: the progress of a deployment under way.
    pub fn percent(&self) -> Option<u32> {
        let newest = self.newest.as_ref().filter(|_| self.instance.status == Status::Deploying)?;
        Some((newest.report.progress() * 100.0) as u32)
    }

    /// The step at which it failed.
    pub fn failed_at(&self) -> Option<&'static str> {
        let failure = self.instance.failure.as_ref().filter(|_| self.instance.status == Status::Failed)?;
        failure.step.map(|step| step.title())
    }

    /// Why there is no public IP.
    pub fn no_ip(&self) -> &'static str {
        match self.instance.status {
            Status::Requested | Status::Launching | Status::Booting => "not known yet",
            Status::Stopped | Status::Stopping => "none while stopped",
            _ => "none",
        }
    }

    /// Branch and commit.
    pub fn commit(&self) -> Option<(&str, &str)> {
        self.newest.as_ref().map(|newest| (newest.plan.branch.as_str(), newest.plan.commit.short()))
    }

    /// What the whole row stands or falls by: who it is, and what no part of it that can be sent alone holds.
    pub fn outline(&self) -> String {
        let Instance { name, description, repo, .. } = &self.instance;
        format!("{name}\n{description}\n{repo}\n{:?}", self.commit())
    }

    /// When it changed, as HTML.
    pub fn changed(&self) -> String {
        ago(self.instance.updated_at)
    }
}

/// What the list shows.
pub struct ListView {
    pub rows: Vec<Row>,
    pub readiness: Option<ReadinessNotice>,
    pub bake: Option<BakeNotice>,
    /// What an admin should know of the golden image.
    pub image: Option<ImageNotice>,
    /// What an admin should know of what no record knows.
    pub orphans: Option<OrphanNotice>,
    /// What an admin should know of how the site is reached.
    pub plain_http: Option<PlainHttpNotice>,
    pub sample: SampleWay,
    /// What a machine costs where none is chosen, as far as that is known.
    pub cost: Option<String>,
    pub is_admin: bool,
    pub everyones: bool,
}

impl ListView {
    /// The list as it is now.
    pub async fn of(visit: &Visit, whose: &Whose) -> Result<Self, WebError> {
        let is_admin = visit.user.is_admin();
        let everyones = is_admin && whose.whose != "mine";
        let found = visit.site.store.instances((!everyones).then_some(visit.user.id)).await?;
        let rows = found.iter().cloned().map(Row).collect();
        let readiness = ReadinessNotice::of(&visit.site);
        // One reason to wait is enough: without machines there is no bake.
        let bake = match &readiness {
            Some(_) => None,
            None => BakeNotice::of(&visit.site).await?,
        };
        let (image, sample) = (ImageNotice::of(visit).await?, SampleWay::of(&visit.site));
        let cost = visit.site.settings.offer.as_ref().and_then(|offer| offer.cost(&offer.default));
        let (orphans, plain_http) = (OrphanNotice::of(visit).await?, PlainHttpNotice::of(visit));
        Ok(Self { rows, readiness, bake, image, orphans, plain_http, sample, cost, is_admin, everyones })
    }

    /// How many there are, in words.
    pub fn summary(&self) -> String {
        let live = self.rows.iter().filter(|row| row.instance.status == Status::Live).count();
        format!("{}, {live} live.", count(self.rows.len() as u64, "instance"))
    }

    /// Whether something will change by itself.
    pub fn is_moving(&self) -> bool {
        let baking = self.bake.as_ref().is_some_and(BakeNotice::is_baking);
        baking || self.rows.iter().any(|row| row.instance.status.is_moving())
    }

    /// Which of the two lists it is.
    pub fn whose(&self) -> &'static str {
        if self.everyones { "everyone" } else { "mine" }
    }
}

#[derive(Template)]
#[template(path = "list.html")]
struct ListPage {
    shell: Shell,
    view: ListView,
}

#[derive(Template)]
#[template(path = "empty.html")]
struct EmptyPage {
    shell: Shell,
    view: ListView,
}

async fn show(visit: Visit, Query(whose): Query<Whose>) -> Result<Response, WebError> {
    let view = ListView::of(&visit, &whose).await?;
    if view.rows.is_empty() {
        // No live updates and no reload: either would take away what is being typed.
        let shell = Shell::new(&visit, "Instances", "You have no instances yet.").await?;
        return page(StatusCode::OK, &EmptyPage { shell, view });
    }
    let mut shell =
        Shell::new(&visit, "Instances", "Your instances, with their status and public IP.").await?;
    shell.moving = view.is_moving();
    shell.events = Some(format!("/events?whose={}", view.whose()));
    page(StatusCode::OK, &ListPage { shell, view })
}
