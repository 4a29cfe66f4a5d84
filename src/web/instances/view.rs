//! What the detail page shows of an instance. The page and its live updates are rendered from this.

use super::{
    cures,
    log_html::{self, Excerpt, Tail},
    words::{bake_in_words, elapsed, plan_facts, saw_html},
};
use crate::{
    domain::{
        Deployment, Image, ImageState, Instance, Outcome, Plan, Status, Step, StepState, Timestamp, Wanted,
    },
    store::Overview,
    web::{
        auth::Visit,
        error::WebError,
        format::{self, ago, duration, rich, size},
    },
};

/// Which layout a page has. When it changes, the whole of it is sent anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On the way to live: progress, steps, log.
    Working,
    /// The address, the deployments, the plan.
    Live,
    /// What failed, the cause, the steps, the last lines.
    Failed,
    /// Stopping, stopped, starting, terminating, terminated: what that means, and the history.
    Resting,
    /// One deployment of the past, or one that is not what the page is about.
    Past,
}

impl Kind {
    fn of(status: Status) -> Self {
        match status {
            Status::Requested | Status::Launching | Status::Booting | Status::Deploying => Self::Working,
            Status::Live => Self::Live,
            Status::Failed => Self::Failed,
            Status::Stopping
            | Status::Stopped
            | Status::Starting
            | Status::Terminating
            | Status::Terminated => Self::Resting,
        }
    }

    /// The kind's name, by which a page tells its stream what it shows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Live => "live",
            Self::Failed => "failed",
            Self::Resting => "resting",
            Self::Past => "past",
        }
    }
}

/// Why something failed, for its card.
pub struct Card {
    /// Where: `Deployment 2 stopped at step 8 of 11, <strong>…</strong>`, as HTML.
    pub place: String,
    /// The cause in one sentence, as HTML.
    pub cause: String,
    /// What usually helps, as HTML, where the cause is known.
    pub help: Option<String>,
    /// Whether only the lines of the log tell, where the cause is not known.
    pub is_unknown: bool,
}

/// What the detail page shows of an instance.
pub struct View {
    pub instance: Instance,
    /// The deployment that the page is about.
    pub shown: Option<Deployment>,
    /// The deployment whose release serves.
    pub serving: Option<Deployment>,
    /// The newest deployments.
    pub history: Vec<Deployment>,
    /// The golden image the machine booted from.
    pub image: Option<Image>,
    /// The bake that the launch waits for.
    pub bake: Option<Image>,
    /// Why the launch waits: no machines can be launched now.
    pub not_ready: Option<String>,
    pub kind: Kind,
    pub log: Tail,
    pub failure: Option<Card>,
    /// What a look at the repository found in the way of a redeployment, as HTML.
    pub findings: Vec<String>,
    /// The token of the forms.
    pub csrf: String,
    /// Whether it is the visitor's own.
    pub is_own: bool,
    /// Whether a script asks for it: then what only a script can serve is shown.
    pub scripted: bool,
}

/// Deployments that a page lists and that can be looked at.
const HISTORY: u32 = 100;

impl View {
    /// The view of an instance as it is now; of one of its deployments, where a number is given.
    pub async fn of(visit: &Visit, found: Overview, number: Option<i64>) -> Result<Self, WebError> {
        let store = &visit.site.store;
        let Overview { instance, newest } = found;
        let history = store.deployments(instance.row, HISTORY).await?;
        let (kind, shown) = match number {
            // While another try waits, the page is still about the one that failed.
            None if instance.status == Status::Failed
                && newest.as_ref().is_some_and(Deployment::is_queued) =>
            {
                let failed = history.iter().find(|deployment| deployment.outcome == Some(Outcome::Failed));
                (Kind::Failed, failed.cloned().or(newest))
            }
            None => (Kind::of(instance.status), newest),
            Some(number) => {
                let past = history.iter().find(|deployment| deployment.number == number);
                (Kind::Past, Some(past.ok_or(WebError::NotFound)?.clone()))
            }
        };
        let serving = store.serving_deployment(instance.row).await?;
        let image = match instance.image {
            Some(id) => store.image(id).await?,
            None => None,
        };
        let readiness = store.readiness();
        let not_ready =
            readiness.reason().filter(|_| instance.status == Status::Requested).map(str::to_owned);
        let waits = instance.status == Status::Requested
            && not_ready.is_none()
            && store.newest_good_image().await?.is_none();
        let bake = if waits { store.newest_image().await? } else { None };
        let mut view = Self {
            is_own: instance.owner == visit.user.id,
            instance,
            shown,
            serving,
            history,
            image,
            bake,
            not_ready,
            kind,
            log: Tail::default(),
            failure: None,
            findings: Vec::new(),
            csrf: visit.csrf.token(),
            scripted: false,
        };
        view.read_log(visit).await?;
        Ok(view)
    }

    /// Reads what the page shows of the log: its end, or what a failed step printed last.
    async fn read_log(&mut self, visit: &Visit) -> Result<(), WebError> {
        let store = &visit.site.store;
        let failed = match self.kind {
            Kind::Failed => true,
            Kind::Past => self.outcome() == Some(Outcome::Failed),
            Kind::Working | Kind::Live | Kind::Resting => false,
        };
        if failed {
            let failure = match (self.kind, &self.instance.failure) {
                (Kind::Failed, Some(failure)) => Some(failure.clone()),
                _ => self.shown.as_ref().and_then(|shown| shown.failure.clone()),
            };
            let step = failure.as_ref().and_then(|failure| failure.step);
            let excerpt = match &self.shown {
                Some(shown) => Excerpt::of(store, shown, step).await?,
                None => Excerpt::default(),
            };
            // A step that ended by itself; past a deadline, the message is the cause.
            let broke = self.shown.as_ref().is_some_and(|shown| shown.report.failed().is_some());
            let plan = self.shown.as_ref().map(|shown| &shown.plan);
            let cure = step.and_then(|step| cures::find(step, &excerpt.lines, plan));
            self.log = Tail {
                html: excerpt.html(cure.as_ref().map(|cure| cure.line)),
                end: self.shown.as_ref().map_or(0, |shown| shown.log_size),
            };
            self.failure = failure.map(|failure| Card {
                place: self.place(step),
                cause: rich(cure.as_ref().map_or(&failure.message, |cure| &cure.cause)),
                help: cure.map(|cure| rich(&cure.help)),
                is_unknown: broke && !excerpt.lines.is_empty(),
            });
        } else if let (Kind::Working | Kind::Past, Some(shown)) = (self.kind, &self.shown) {
            self.log = log_html::tail(store, shown).await?;
        }
        Ok(())
    }

    fn place(&self, step: Option<Step>) -> String {
        let number = self.shown.as_ref().map_or(1, |shown| shown.number);
        match step {
            Some(step) => format!(
                "Deployment {number} stopped at step {} of {}, <strong>{}</strong>",
                step.number(),
                Step::ALL.len(),
                step.title()
            ),
            None if self.shown.as_ref().is_some_and(|shown| shown.first_byte_at.is_some()) => {
                format!("Deployment {number} stopped")
            }
            None => format!("Deployment {number} did not begin"),
        }
    }

    fn outcome(&self) -> Option<Outcome> {
        self.shown.as_ref().and_then(|shown| shown.outcome)
    }

    // What the templates ask for, in the order of the page.

    /// The page's title and the tab's.
    pub fn title(&self) -> String {
        match (self.kind, &self.shown) {
            (Kind::Past, Some(shown)) => format!("Deployment {} of {}", shown.number, self.instance.name),
            _ => format!("{} is {}", self.instance.name, self.status_word()),
        }
    }

    /// The status as it follows "is": `live`, `deploying`.
    fn status_word(&self) -> &'static str {
        self.instance.status.name()
    }

    /// One sentence on the page.
    pub fn summary(&self) -> String {
        match self.kind {
            Kind::Working => format!("The deployment of {}, step by step.", self.instance.name),
            Kind::Live => format!("{} is live at its public IP.", self.instance.name),
            Kind::Failed => format!("The deployment of {} failed.", self.instance.name),
            Kind::Resting | Kind::Past => format!("{} and its deployments.", self.instance.name),
        }
    }

    /// Whether the page will change by itself.
    pub fn is_moving(&self) -> bool {
        let waits = self.queued().is_some();
        let leaving = self.instance.wanted == Wanted::Absent && self.instance.status != Status::Terminated;
        match self.kind {
            Kind::Past => self.shown.as_ref().is_some_and(Deployment::is_running),
            _ => self.instance.status.is_moving() || waits || leaving,
        }
    }

    /// Whether nothing more will come of it by itself.
    pub fn is_over(&self) -> bool {
        self.instance.status == Status::Terminated && !self.is_moving()
    }

    /// Whether its owner wants it at all.
    pub fn is_wanted(&self) -> bool {
        self.instance.wanted != Wanted::Absent
    }

    /// Whether it can be redeployed.
    pub fn can_redeploy(&self) -> bool {
        self.kind == Kind::Live && self.is_wanted()
    }

    /// Whether it is stopped and can be started, with the branch's newest commit.
    pub fn can_start(&self) -> bool {
        self.instance.status == Status::Stopped
            && self.kind != Kind::Past
            && self.is_wanted()
            && self.queued().is_none()
    }

    /// Whether it can be tried again.
    pub fn can_try_again(&self) -> bool {
        self.kind == Kind::Failed && self.is_wanted() && self.queued().is_none()
    }

    /// Whether the form can be filled in from it anew.
    pub fn can_deploy_again(&self) -> bool {
        self.instance.status == Status::Terminated && self.queued().is_none()
    }

    /// Whether it can be terminated.
    pub fn can_terminate(&self) -> bool {
        self.is_wanted()
            && self.kind != Kind::Past
            && !matches!(self.instance.status, Status::Terminating | Status::Terminated)
    }

    /// The plan of the deployment that the page is about, or of the one that serves.
    pub fn plan(&self) -> Option<&Plan> {
        let live = self.serving.as_ref().filter(|_| self.kind == Kind::Live);
        live.or(self.shown.as_ref()).map(|deployment| &deployment.plan)
    }

    /// The plan in a few words each, as HTML.
    pub fn plan_facts(&self) -> Vec<(&'static str, String)> {
        self.plan().map(plan_facts).unwrap_or_default()
    }

    /// What runs now, in the words of a title.
    pub fn now(&self) -> String {
        let report = self.shown.as_ref().map(|shown| &shown.report);
        let baking = self.bake.as_ref().is_some_and(|bake| bake.state == ImageState::Baking);
        match self.instance.status {
            Status::Requested if self.not_ready.is_some() => "Waiting for the cloud".to_owned(),
            Status::Requested if baking => "Waiting for the golden image".to_owned(),
            Status::Requested if self.bake.is_some() => "No golden image to boot from".to_owned(),
            Status::Requested => "Waiting for its turn".to_owned(),
            Status::Launching => "Launching a machine".to_owned(),
            Status::Booting => "Booting".to_owned(),
            _ => match report.map(|report| (report.reached(), report.progress() > 0.0, report.current())) {
                // Between two steps the next one is named, so that no other words flash up.
                Some((Some(step), true, _) | (_, _, Some(step))) => step.title().to_owned(),
                Some((None, ..)) => "Looking at the site from outside".to_owned(),
                _ => "Starting the deployment".to_owned(),
            },
        }
    }

    /// How far that is, as HTML.
    pub fn of_line(&self) -> String {
        let so_far = elapsed(self.instance.status_since);
        if let Some(reason) = &self.not_ready {
            return format!(
                "No machines can be launched now. {} It goes on by itself once this is cured.",
                rich(reason)
            );
        }
        match (self.instance.status, &self.bake) {
            (Status::Requested, Some(bake)) => bake_in_words(bake),
            (Status::Booting, _) => format!("The machine has not reported yet, {so_far} so far"),
            (Status::Deploying, _) => {
                let shown = self.shown.as_ref();
                let since = shown.and_then(|shown| shown.first_byte_at.or(shown.begun_at));
                let so_far = since.map_or(so_far, elapsed);
                let step = shown.and_then(|shown| shown.report.reached());
                match step {
                    Some(step) => format!("Step {} of {}, {so_far} so far", step.number(), Step::ALL.len()),
                    None => format!("{so_far} so far"),
                }
            }
            _ => format!("{so_far} so far"),
        }
    }

    /// What is served meanwhile, where something is.
    pub fn meanwhile(&self) -> String {
        match &self.serving {
            Some(serving) => format!("Deployment {} serves meanwhile.", serving.number),
            None => "Answers once the instance is live.".to_owned(),
        }
    }

    /// How far the deployment is, in per cent.
    pub fn percent(&self) -> u32 {
        self.shown.as_ref().map_or(0, |shown| (shown.report.progress() * 100.0) as u32)
    }

    /// The segments of the way to live: state, name, and the time it took where that is known.
    pub fn life(&self) -> Vec<(&'static str, &'static str, Option<String>)> {
        let way = [Status::Requested, Status::Launching, Status::Booting, Status::Deploying, Status::Live];
        let at = way.iter().position(|status| *status == self.instance.status).unwrap_or(way.len());
        let first = self.shown.as_ref().filter(|shown| shown.number == 1);
        way.iter()
            .enumerate()
            .map(|(i, status)| {
                let state = match i.cmp(&at) {
                    std::cmp::Ordering::Less => "done",
                    std::cmp::Ordering::Equal => "running",
                    std::cmp::Ordering::Greater => "waiting",
                };
                let took = first.filter(|_| *status == Status::Requested && state == "done");
                let took =
                    took.and_then(|shown| shown.begun_at.map(|begun| begun.seconds_since(shown.created_at)));
                (state, status.name(), took.map(duration))
            })
            .collect()
    }

    /// The steps: state, the state in words, title, and the time as HTML.
    pub fn steps(&self) -> Vec<(&'static str, &'static str, &'static str, String)> {
        let Some(shown) = &self.shown else { return Vec::new() };
        shown
            .report
            .steps()
            .map(|(step, state)| {
                let stopped_here = shown.failure.as_ref().is_some_and(|failure| failure.step == Some(step));
                let took = |until: Option<Timestamp>| {
                    shown.step_since.zip(until).map_or(String::new(), |(since, until)| {
                        format!(r#"<span class="num">{}</span>"#, duration(until.seconds_since(since)))
                    })
                };
                match state {
                    StepState::Ok { seconds } => {
                        let time = format!(r#"<span class="num">{}</span>"#, duration(seconds));
                        ("done", "done", step.title(), time)
                    }
                    StepState::Failed { .. } => ("failed", "failed", step.title(), took(shown.ended_at)),
                    StepState::Running | StepState::Waiting if stopped_here => {
                        ("failed", "failed", step.title(), took(shown.ended_at))
                    }
                    StepState::Running if shown.outcome.is_none() => (
                        "running",
                        "running",
                        step.title(),
                        shown.step_since.map(elapsed).unwrap_or_default(),
                    ),
                    StepState::Running => ("waiting", "not finished", step.title(), String::new()),
                    StepState::Waiting => ("waiting", "waiting", step.title(), String::new()),
                }
            })
            .collect()
    }

    /// The log as HTML; before its first line, what is awaited.
    pub fn log_html(&self) -> String {
        if !self.log.html.is_empty() {
            return log_html::for_pre(&self.log.html);
        }
        match (self.kind, self.instance.status) {
            (Kind::Working, Status::Requested) if self.not_ready.is_some() => {
                "<i>The machine is launched as soon as the cloud can launch machines.</i>\n".to_owned()
            }
            (Kind::Working, Status::Requested) if self.bake.is_some() => {
                "<i>The machine is launched as soon as the golden image is good.</i>\n".to_owned()
            }
            (Kind::Working, Status::Requested) => {
                "<i>A machine is launched as soon as it is this instance's turn.</i>\n".to_owned()
            }
            (Kind::Working, Status::Launching) => {
                "<i>The cloud has been asked for a machine.</i>\n".to_owned()
            }
            (Kind::Working, Status::Booting) => {
                "<i>The machine boots; its first words come here.</i>\n".to_owned()
            }
            (Kind::Working, _) => {
                "<i>The machine has been given the deployment; its first words come here.</i>\n".to_owned()
            }
            _ => "<i>Nothing was logged.</i>\n".to_owned(),
        }
    }

    /// The log's title.
    pub fn log_title(&self) -> String {
        let step =
            self.shown.as_ref().and_then(|shown| shown.failure.as_ref()).and_then(|failure| failure.step);
        match (&self.failure, step) {
            (Some(_), Some(step)) => format!("Last lines of {}", step.title()),
            (Some(_), None) => "Last lines".to_owned(),
            (None, _) => "Deploy log".to_owned(),
        }
    }

    /// The size of the whole log.
    pub fn log_size(&self) -> String {
        size(self.shown.as_ref().map_or(0, |shown| shown.log_size))
    }

    /// The number of the deployment that the page is about.
    pub fn number(&self) -> i64 {
        self.shown.as_ref().map_or(1, |shown| shown.number)
    }

    /// The facts of a live instance, as HTML.
    pub fn live_facts(&self) -> Vec<String> {
        let Some(serving) = &self.serving else { return Vec::new() };
        let mut facts = Vec::new();
        if let Some(ended) = serving.ended_at {
            let took = duration(ended.seconds_since(serving.created_at));
            facts.push(format!("<strong>{took}</strong> from form to live"));
        }
        facts.extend(serving.report.saw().iter().map(|saw| saw_html(&log_html::clean(saw))));
        if let Some(ended) = serving.ended_at {
            facts.push(format!("checked {}", ago(ended)));
        }
        facts
    }

    /// What a resting instance's status means, in one sentence.
    pub fn resting(&self) -> &'static str {
        match self.instance.status {
            Status::Stopping => "The machine is being stopped. Its disk is kept.",
            Status::Stopped => "The machine is stopped and its disk is kept. The project does not answer.",
            Status::Starting => "The machine is being started. The public IP may be another one.",
            Status::Terminating => "The machine and its disk are being removed.",
            Status::Terminated => "The machine is gone. The deploy logs and the history stay here.",
            _ => "",
        }
    }

    /// The failed deployment that is newer than the one that serves.
    pub fn failed_since(&self) -> Option<&Deployment> {
        self.shown.as_ref().filter(|shown| self.kind == Kind::Live && shown.outcome == Some(Outcome::Failed))
    }

    /// The deployment that waits to be handed to the machine.
    pub fn queued(&self) -> Option<&Deployment> {
        self.history.iter().find(|deployment| deployment.is_queued())
    }

    /// The facts of the instance, as HTML.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let instance = &self.instance;
        let mut facts = Vec::new();
        if let Some(id) = &instance.instance_id {
            facts.push(("Instance id", format!("<code>{id}</code>")));
        }
        if let (Some(ip), Some(url)) = (instance.public_ip, instance.url()) {
            facts.push(("Public IP", format!(r#"<a href="{url}" rel="noreferrer">{ip}</a>"#)));
        }
        if let Some(image) = &self.image {
            facts.push(("Golden image", image.finished_at.unwrap_or(image.created_at).date()));
        }
        facts.push(("Owner", format::escape(instance.owner_name.as_str())));
        facts.push(("Created", ago(instance.created_at)));
        facts
    }
}
