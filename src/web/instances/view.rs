//! What the detail page shows of an instance. The page and its live updates are rendered from this.

use std::sync::Arc;

use super::{
    cost::Cost,
    failure::{Card, Told},
    log_html::{self, Tail},
    words::{deployment_facts, saw_html},
};
use crate::{
    domain::{
        AdminState, Database, Deployment, FirstAdmin, Image, Instance, Outcome, Plan, SecretValue, Status,
        Wanted,
    },
    store::{Attempt, Overview},
    web::{
        auth::Visit,
        error::WebError,
        format::{self, ago, duration, size},
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
        }
    }
}

/// What the detail page shows of an instance.
pub struct View {
    pub instance: Instance,
    /// The deployment that the page is about.
    pub shown: Option<Deployment>,
    /// The deployment whose release serves.
    pub serving: Option<Deployment>,
    /// The newest deployments.
    pub history: Arc<[Deployment]>,
    /// The golden image the machine booted from.
    pub image: Option<Image>,
    /// The bake that the launch waits for.
    pub bake: Option<Image>,
    /// The attempt that is open or has brought the machine, while it is on the way to live.
    pub attempt: Option<Attempt>,
    /// Why the launch waits: no machines can be launched now.
    pub not_ready: Option<String>,
    pub kind: Kind,
    pub log: Tail,
    pub failure: Option<Card>,
    /// What its machine is and costs, in a cloud that has a choice of them.
    pub cost: Option<Cost>,
    /// What a look at the repository found in the way of a redeployment, as HTML.
    pub findings: Vec<String>,
    /// The token of the forms.
    pub csrf: String,
    /// The first admin of its project, where one was asked for.
    pub first_admin: Option<FirstAdmin>,
    /// The password of that, on the one page that shows it.
    pub shown_password: Option<SecretValue>,
    /// Whether a script asks for it: then what only a script can serve is shown.
    pub scripted: bool,
}

/// A database as people call it.
fn database_title(database: Database) -> &'static str {
    match database {
        Database::Sqlite => "SQLite",
        Database::Postgresql => "PostgreSQL",
        Database::Mysql => "MySQL",
        Database::Unknown => "as the settings compute it",
    }
}

/// Deployments that the page lists; a page of its own has all of them.
const HISTORY: u32 = 10;

impl View {
    /// The view of an instance as it is now.
    pub async fn of(visit: &Visit, found: Overview) -> Result<Self, WebError> {
        let store = &visit.site.store;
        let Overview { instance, newest } = found;
        let history = store.deployments(instance.row, HISTORY).await?;
        // While another try waits, the page is still about the one that failed.
        let tries_again =
            instance.status == Status::Failed && newest.as_ref().is_some_and(Deployment::is_queued);
        let shown =
            if tries_again { store.failed_deployment(instance.row).await?.or(newest) } else { newest };
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
        let kind = Kind::of(instance.status);
        let attempt = if kind == Kind::Working { store.attempt(instance.row).await? } else { None };
        let cost = Cost::of(&visit.site, &instance);
        let first_admin = store.first_admin(instance.row).await?;
        let mut view = Self {
            instance,
            shown,
            serving,
            history,
            image,
            bake,
            attempt,
            not_ready,
            kind,
            log: Tail::default(),
            failure: None,
            cost,
            findings: Vec::new(),
            csrf: visit.csrf.token(),
            first_admin,
            shown_password: None,
            scripted: false,
        };
        view.read_log(visit).await?;
        Ok(view)
    }

    /// Reads what the page shows of the log: its end, or what a failed step printed last.
    async fn read_log(&mut self, visit: &Visit) -> Result<(), WebError> {
        let store = &visit.site.store;
        match (self.kind, &self.shown) {
            (Kind::Failed, shown) => {
                let of_shown = shown.as_ref().and_then(|shown| shown.failure.as_ref());
                let failure = self.instance.failure.as_ref().or(of_shown);
                let told = Told::of(store, &self.instance, shown.as_ref(), failure).await?;
                let end = shown.as_ref().map_or(0, |shown| shown.log_size);
                (self.log, self.failure) = (Tail { html: told.lines, end }, told.card);
            }
            (Kind::Working, Some(shown)) => self.log = log_html::tail(store, shown).await?,
            (Kind::Working | Kind::Live | Kind::Resting, _) => {}
        }
        Ok(())
    }

    // What the templates ask for, in the order of the page.

    /// The page's title and the tab's.
    pub fn title(&self) -> String {
        format!("{} is {}", self.instance.name, self.status_word())
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
            Kind::Resting => format!("{} and its deployments.", self.instance.name),
        }
    }

    /// Whether the page will change by itself.
    pub fn is_moving(&self) -> bool {
        let instance = &self.instance;
        let waits = self.queued().is_some() && !self.waits_for_start();
        let asked = instance.is_leaving() || instance.is_to_stop() || instance.is_to_start();
        instance.status.is_moving() || waits || asked
    }

    /// Whether what waits to be deployed waits until the machine is started.
    pub fn waits_for_start(&self) -> bool {
        self.instance.status.is_off() && !self.instance.is_to_start()
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
        self.kind == Kind::Live && self.is_wanted() && !self.instance.is_to_stop()
    }

    /// Whether it can be stopped, from this page.
    pub fn can_stop(&self) -> bool {
        self.kind == Kind::Live && self.instance.can_stop()
    }

    /// Whether it is stopped and can be started: something is on it, or waits to be.
    pub fn can_start(&self) -> bool {
        self.instance.can_start() && (self.serving.is_some() || self.queued().is_some())
    }

    /// Whether it is stopped and there is nothing that a start alone would bring up.
    pub fn can_start_and_deploy(&self) -> bool {
        self.instance.can_start() && !self.can_start()
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
        self.is_wanted() && !matches!(self.instance.status, Status::Terminating | Status::Terminated)
    }

    /// The plan of the deployment that the page is about, or of the one that serves.
    pub fn plan(&self) -> Option<&Plan> {
        self.planned().map(|deployment| &deployment.plan)
    }

    fn planned(&self) -> Option<&Deployment> {
        let live = self.serving.as_ref().filter(|_| self.kind == Kind::Live);
        live.or(self.shown.as_ref())
    }

    /// The plan in a few words each, and what came of it, as HTML.
    pub fn plan_facts(&self) -> Vec<(&'static str, String)> {
        self.planned().map(deployment_facts).unwrap_or_default()
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
        let url = self.instance.url();
        let saw = serving.report.saw().iter();
        facts.extend(saw.map(|saw| saw_html(&log_html::clean(saw), url.as_deref())));
        if let Some(ended) = serving.ended_at {
            facts.push(format!("checked {}", ago(ended)));
        }
        facts
    }

    /// What a resting instance's status means, in one sentence.
    pub fn resting(&self) -> &'static str {
        match self.instance.status {
            Status::Stopping => "The machine is being stopped. Its disk is kept.",
            Status::Stopped => "The machine is stopped and its disk is kept.",
            Status::Starting => "The machine is being started.",
            Status::Terminating => "The machine and its disk are being removed.",
            Status::Terminated => "The machine is gone. The deploy logs and the history stay here.",
            _ => "",
        }
    }

    /// Whether it keeps its public IP while it is stopped.
    pub fn keeps_address(&self) -> bool {
        self.cost.as_ref().is_some_and(|cost| cost.keeps_address)
    }

    /// What else is to be known of it.
    pub fn resting_note(&self) -> Option<&'static str> {
        match self.instance.status {
            Status::Starting | Status::Stopped if self.keeps_address() => None,
            Status::Stopped => Some(
                "The project does not answer. Once the machine is started, the public IP may be another one.",
            ),
            Status::Starting => Some("The public IP may be another one."),
            _ => None,
        }
    }

    /// The failed deployment that is newer than the one that serves.
    pub fn failed_since(&self) -> Option<&Deployment> {
        self.shown.as_ref().filter(|shown| self.kind == Kind::Live && shown.outcome == Some(Outcome::Failed))
    }

    /// How far its first admin is, as HTML.
    pub fn first_admin_told(&self) -> String {
        let Some(admin) = &self.first_admin else { return String::new() };
        match (admin.state, admin.shown_at) {
            (_, Some(shown)) => format!("Its password was shown on {}.", shown.date()),
            (AdminState::Wanted, _) => "It is made by a deployment, once that has ended well.".to_owned(),
            (AdminState::Created, _) => "It is made. Its password can be seen once.".to_owned(),
            (AdminState::Exists, _) => {
                "The project had a user of this name already, who was left alone.".to_owned()
            }
            (AdminState::Failed, _) if admin.has_password => {
                "It could not be made: the log of the last deployment says why. The next one tries again."
                    .to_owned()
            }
            (AdminState::Failed, _) => format!(
                r#"The key that its password was encrypted with is gone. <a href="/instances/{}/environment#admin">Ask for it anew</a>."#,
                self.instance.name
            ),
        }
    }

    /// The class of its first admin's card.
    pub fn first_admin_tone(&self) -> &'static str {
        match self.first_admin.as_ref().map(|admin| admin.state) {
            Some(AdminState::Created) => " ok",
            Some(AdminState::Failed | AdminState::Exists) => " warn",
            Some(AdminState::Wanted) | None => "",
        }
    }

    /// Whether the password of its first admin waits to be seen.
    pub fn can_show_password(&self) -> bool {
        let made = |admin: &FirstAdmin| admin.has_password && admin.state == AdminState::Created;
        self.first_admin.as_ref().is_some_and(made)
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
        if let Some(cost) = &self.cost {
            facts.push(("Machine type", cost.machine_type()));
        }
        if let Some(database) = instance.database {
            facts.push(("Database", format!("{}, chosen here", database_title(database))));
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
