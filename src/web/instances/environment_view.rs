//! What the page of an instance's environment shows.

use std::collections::BTreeSet;

use askama::Template;
use axum::{http::StatusCode, response::Response};

use crate::{
    domain::{
        Answer, Demanded, Deployment, FirstAdmin, Instance, NameError, Status, Step, StepState, Variable,
        VariableName,
    },
    store::{KeptVariable, Overview, Store},
    web::{
        auth::Visit,
        error::WebError,
        format::{ago, count, escape, field_error, rich},
        page::{Shell, page},
    },
};

/// What is wrong with what was sent.
#[derive(Default)]
pub struct Told {
    /// With the name of a variable.
    pub name: Option<NameError>,
    /// With its value.
    pub value: Option<NameError>,
    /// With all of it: it would be more than an instance may have.
    pub limit: Vec<NameError>,
    /// With the lines of what was pasted.
    pub lines: Vec<NameError>,
    /// With the name of an admin.
    pub admin: Option<NameError>,
    /// What was saved all the same.
    pub saved: Option<String>,
}

/// One variable on the page.
pub struct VariableRow {
    pub name: String,
    /// Whose it is and where it is read, as HTML.
    pub about: String,
    /// Whether a value is missing.
    pub is_missing: bool,
    /// What the machine puts in its place, where its owner gives none, as HTML.
    pub filled: Option<String>,
    /// When it was changed, as HTML.
    pub changed: Option<String>,
    /// Whether its owner gave it.
    pub is_owners: bool,
    /// Whether it is the project's secret, which can be made anew.
    pub is_secret_key: bool,
}

/// The page of an instance's environment.
pub struct EnvironmentView {
    pub instance: Instance,
    newest: Option<Deployment>,
    kept: Vec<KeptVariable>,
    /// What was just done.
    pub done: Option<&'static str>,
    /// The name that was typed.
    pub typed: String,
    /// The value that was typed, sealed.
    pub kept_value: String,
    pub told: Told,
    /// The first admin of its project, where one was asked for.
    pub admin: Option<FirstAdmin>,
    /// The name of an admin that was typed.
    pub admin_typed: String,
    /// Whether values can be sent to machines.
    pub is_sent: bool,
}

#[derive(Template)]
#[template(path = "environment.html")]
struct EnvironmentPage<'a> {
    shell: Shell,
    view: EnvironmentView,
    tabs_of: String,
    tab: &'a str,
    can_edit: bool,
}

/// The page of a view.
pub async fn answer(visit: &Visit, status: StatusCode, view: EnvironmentView) -> Result<Response, WebError> {
    let name = view.instance.name.to_string();
    let title = format!("Environment of {name}");
    let shell = Shell::new(visit, title, format!("The environment variables of {name}.")).await?;
    let can_edit = !view.instance.is_leaving();
    page(status, &EnvironmentPage { shell, view, tabs_of: name, tab: "environment", can_edit })
}

impl EnvironmentView {
    /// The page as it is now.
    pub async fn of(visit: &Visit, found: &Overview) -> Result<Self, WebError> {
        let instance = found.instance.clone();
        Ok(Self {
            kept: visit.site.store.variables(instance.row).await?,
            admin: visit.site.store.first_admin(instance.row).await?,
            admin_typed: String::new(),
            newest: found.newest.clone(),
            instance,
            done: None,
            typed: String::new(),
            kept_value: String::new(),
            told: Told::default(),
            is_sent: visit.site.settings.sends_secrets(),
        })
    }

    /// How much there is, and how much of what was pasted besides.
    pub fn beside(&self, pasted: &[Variable]) -> NameError {
        let is_there = |name: &VariableName| self.kept.iter().any(|kept| kept.is_set && kept.name == *name);
        let new: BTreeSet<_> = pasted.iter().map(|one| &one.name).filter(|name| !is_there(name)).collect();
        let there = self.kept.iter().filter(|kept| kept.is_set).count();
        let mut told = format!("This instance has {}. ", count(there as u64, "variable"));
        match new.len() {
            0 => told.push_str("All that you pasted are among them."),
            n => {
                let names: Vec<_> = new.iter().map(|name| format!("`{name}`")).collect();
                told.push_str(&format!("Of what you pasted new are {n}: {}.", names.join(", ")));
            }
        }
        match (there + new.len()).saturating_sub(Store::VARIABLES_MAX) {
            0 => {
                let bytes: usize = pasted.iter().map(|one| one.value.expose().len()).sum();
                told.push_str(&format!(" What you pasted has {} KB.", bytes.div_ceil(1024)));
            }
            n => told.push_str(&format!(" That is {n} too many.")),
        }
        told.push_str(" Remove what is not needed, or paste less.");
        NameError::new(told)
    }

    fn demanded(&self) -> &[Demanded] {
        self.newest.as_ref().map_or(&[], |newest| &newest.plan.variables)
    }

    /// Every variable: the project's secret, those that it was given, and those that its settings demand besides.
    fn rows(&self) -> Vec<VariableRow> {
        let secret = VariableName::secret_key();
        let mut rows = Vec::new();
        if !self.kept.iter().any(|kept| kept.name == secret) {
            rows.push(VariableRow {
                name: secret.to_string(),
                about: "made by the machine, kept between deployments".to_owned(),
                is_missing: false,
                filled: None,
                changed: None,
                is_owners: false,
                is_secret_key: true,
            });
        }
        let (first, others): (Vec<_>, Vec<_>) = self.kept.iter().partition(|kept| kept.name == secret);
        rows.extend(first.into_iter().chain(others).map(|kept| self.row_of(kept)));
        let known = |name: &str| rows.iter().any(|row: &VariableRow| row.name == name);
        let besides: Vec<_> = self.demanded().iter().filter(|demanded| !known(&demanded.name)).collect();
        let mut demanded: Vec<&Demanded> = Vec::new();
        for one in besides {
            if !demanded.iter().any(|other| other.name == one.name) {
                demanded.push(one);
            }
        }
        rows.extend(demanded.into_iter().map(|demanded| VariableRow {
            name: demanded.name.clone(),
            about: read_in(demanded),
            is_missing: matches!(demanded.answer, Answer::Asked { .. })
                && !VariableName::is_set_by_the_machine(&demanded.name),
            filled: Some(filled(&demanded.answer)),
            changed: None,
            is_owners: false,
            is_secret_key: false,
        }));
        rows
    }

    fn row_of(&self, kept: &KeptVariable) -> VariableRow {
        let whose = match kept {
            KeptVariable { is_set: false, .. } => "removed; the machine has it until the next deployment",
            KeptVariable { is_lost: true, .. } => {
                "the key that its value was encrypted with is gone: give it a value anew"
            }
            KeptVariable { is_made: true, .. } => "made by this site, kept between deployments",
            _ => "yours",
        };
        let demanded = self.demanded().iter().find(|demanded| demanded.name == kept.name.as_str());
        let about = match demanded {
            Some(demanded) => format!("{whose}; {}", read_in(demanded)),
            None => whose.to_owned(),
        };
        VariableRow {
            name: kept.name.to_string(),
            about,
            is_missing: !kept.has_value(),
            filled: None,
            changed: Some(ago(kept.changed_at)),
            is_owners: kept.is_set,
            is_secret_key: kept.name == VariableName::secret_key(),
        }
    }

    /// Names whose changes no machine has yet, as HTML.
    fn waiting(&self) -> Vec<String> {
        let waiting = self.kept.iter().filter(|kept| kept.waits);
        waiting.map(|kept| format!("<code>{}</code>", escape(kept.name.as_str()))).collect()
    }

    /// How many changes wait, and for what.
    fn waiting_title(&self) -> String {
        let n = self.waiting().len() as u64;
        let verb = if n == 1 { "waits" } else { "wait" };
        let with = if n == 1 { "goes" } else { "go" };
        match self.deployment_to_come() {
            Some(number) => format!("{} {with} with deployment {number}", count(n, "change")),
            None => format!("{} {verb} for the next deployment", count(n, "change")),
        }
    }

    /// The deployment that takes the changes along: one that waits, or runs and has not asked for its environment yet.
    fn deployment_to_come(&self) -> Option<i64> {
        let newest = self.newest.as_ref()?;
        let asked = newest
            .report
            .steps()
            .any(|(step, state)| step == Step::Environment && matches!(state, StepState::Ok { .. }));
        (newest.is_queued() || (newest.is_running() && !asked)).then_some(newest.number)
    }

    /// What brings the changes to the machine, where nothing does by itself.
    fn button(&self) -> Option<&'static str> {
        let wanted = !self.instance.is_leaving() && self.deployment_to_come().is_none();
        match self.instance.status {
            _ if !wanted => None,
            Status::Live => Some("Redeploy"),
            Status::Failed => Some("Try again"),
            Status::Stopped => Some("Start and deploy"),
            _ => None,
        }
    }

    fn name_error(&self) -> Option<String> {
        self.told.name.as_ref().map(|error| field_error(error, "variable"))
    }

    fn value_error(&self) -> Option<String> {
        self.told.value.as_ref().map(|error| field_error(error, "value"))
    }

    fn admin_error(&self) -> Option<String> {
        self.told.admin.as_ref().map(|error| field_error(error, "username"))
    }

    /// Why there would be too much, as HTML.
    fn limit(&self) -> Vec<String> {
        self.told.limit.iter().map(|error| rich(&error.message)).collect()
    }

    /// What is wrong with what was pasted, as HTML.
    fn wrong_lines(&self) -> Vec<String> {
        self.told.lines.iter().map(|error| rich(&error.message)).collect()
    }
}

/// Where a variable is read, as HTML.
pub fn read_in(demanded: &Demanded) -> String {
    format!("read in <code>{}</code>, line {}, no default", escape(&demanded.file), demanded.line)
}

/// What the machine gives a variable that its owner gives nothing, as HTML.
fn filled(answer: &Answer) -> String {
    match answer {
        Answer::Secret => "a secret that the machine makes, and keeps between deployments".to_owned(),
        Answer::Address => "the address of the machine".to_owned(),
        Answer::Text { text } => format!("<code>{}</code>", escape(text)),
        Answer::Database { .. } => "the database on the machine".to_owned(),
        Answer::Asked { .. } => "set by the machine".to_owned(),
    }
}
