//! The form of an instance that is there already: what it is made from and what is said of it. Saving deploys, but for
//! another description alone; of a terminated instance it is Deploy again.

use askama::Template;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use tracing::Instrument;

use super::{
    asked::{self, AskedView, TypedVariables},
    environment, find,
    form::{Errors, FormView, MACHINE_TYPE, Typed},
    limit, type_field, typed_secret,
};
use crate::{
    domain::{Instance, Plan, RepoUrl, Status, Timestamp},
    preflight::{Finding, Request},
    store::{Edit, KeptVariable, SubmitError},
    web::{
        Site,
        auth::{CheckedForm, Visit},
        error::{Problem, WebError},
        page::{Shell, page},
    },
};

pub fn router() -> Router<Site> {
    Router::new()
        .route("/instances/{name}/edit", get(show).post(save))
        .layer(DefaultBodyLimit::max(typed_secret::FORM_MAX))
}

#[derive(Template)]
#[template(path = "edit.html")]
struct EditPage {
    shell: Shell,
    form: FormView,
    instance: Instance,
    /// Whether somebody saved another form since this one was shown.
    changed: bool,
    /// Why nothing was launched though every field is right.
    refusal: Option<String>,
    /// The variables that the settings ask for.
    asked: AskedView,
}

impl EditPage {
    fn is_terminated(&self) -> bool {
        self.instance.status == Status::Terminated
    }

    /// Whether what is saved waits until the machine is started.
    fn waits(&self) -> bool {
        self.instance.is_to_stop() || (self.instance.status.is_off() && !self.instance.is_to_start())
    }

    /// What becomes of a saved form, in this status.
    fn then(&self) -> &'static str {
        match self.instance.status {
            Status::Terminated => "A new machine is launched, with this instance's name and history.",
            _ if self.waits() => {
                "It is stopped, or about to be. What you save is kept, and deployed when you start it."
            }
            Status::Failed if self.instance.instance_id.is_none() => "A machine is launched for it.",
            Status::Failed => "The branch's newest commit is deployed on the machine as it is.",
            Status::Live => {
                "The branch's newest commit is deployed on the machine as it is. What serves now goes on until the new release answers."
            }
            _ => "Something is under way. Yours follows it; of several that wait, the newest is deployed.",
        }
    }

    fn button(&self) -> &'static str {
        match (self.is_terminated(), self.waits(), self.form.replaces.is_some()) {
            (true, ..) => "Deploy again",
            (_, true, false) => "Save",
            (_, true, true) => "Replace and save",
            (_, false, false) => "Save and redeploy",
            (_, false, true) => "Replace and redeploy",
        }
    }
}

async fn show(visit: Visit, Path(name): Path<String>) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    if instance.is_leaving() {
        return Err(terminating().into());
    }
    let typed = Typed::of(&instance);
    form(&visit, StatusCode::OK, instance, typed, Again::default()).await
}

async fn save(
    visit: Visit,
    State(site): State<Site>,
    Path(name): Path<String>,
    CheckedForm(mut typed): CheckedForm<Typed>,
) -> Result<Response, WebError> {
    let received_at = Timestamp::now();
    let instance = find(&visit, &name).await?.instance;
    if instance.is_leaving() {
        return Err(terminating().into());
    }
    typed.name = instance.name.to_string();
    let hosts = site.settings.git_hosts();
    typed.unfold_over(&instance, &hosts);
    let typed_variables = TypedVariables::of(&visit, &typed.variables);
    let (variables, wrong) = typed_variables.given();
    let kept = site.store.variables(instance.row).await?;
    let mut again = Again::default();
    let (source, rest) = typed.parse(&hosts, site.settings.offer.as_ref(), &mut again.errors);
    let Some(source) = source else {
        again.asked = AskedView::of(&visit, None, &kept, &typed_variables);
        return form(&visit, StatusCode::UNPROCESSABLE_ENTITY, instance, typed, again).await;
    };
    let request = source.request(visit.user.id);
    let edit = rest.filter(|_| wrong.is_empty()).map(|rest| Edit {
        row: instance.row,
        by: visit.user.id,
        version: typed.version.clone(),
        repo: source.repo,
        project: source.project,
        branch: source.branch,
        description: rest.description,
        machine_type: rest.machine_type,
        database: rest.database,
        variables,
        plan: None,
        replace: typed.replace == "yes",
        received_at,
    });
    // On its own, so that what was sent is done though the browser went away meanwhile.
    let known = kept.clone();
    let (plan, answer) =
        tokio::spawn(look_and_save(site, instance, request, edit, known).in_current_span()).await??;
    let errors = &mut again.errors;
    again.asks = match answer {
        Answer::Done => return Ok(Redirect::to(&format!("/instances/{name}")).into_response()),
        Answer::Findings(findings) => {
            errors.add_findings(&findings);
            Asks::Nothing
        }
        Answer::Incomplete => Asks::Nothing,
        Answer::Unsendable => Asks::Otherwise(asked::UNSENDABLE.to_owned()),
        Answer::Refused(SubmitError::Variables(refused)) => {
            Asks::Otherwise(environment::limit(&refused).message)
        }
        Answer::Refused(SubmitError::OtherType { machine_type }) => {
            errors.add(MACHINE_TYPE, &type_field::other_type(&machine_type));
            Asks::Nothing
        }
        Answer::Refused(SubmitError::TooMany { limit }) => Asks::Otherwise(limit::too_many(limit)),
        Answer::Refused(SubmitError::NeedsReplace { repo }) => Asks::Replace(repo),
        Answer::Refused(SubmitError::Changed) => Asks::Again,
        Answer::Refused(SubmitError::Terminating | SubmitError::NameTaken | SubmitError::AdminUnshown) => {
            return Err(terminating().into());
        }
        Answer::Refused(SubmitError::Store(error)) => return Err(error.into()),
    };
    again.asked = AskedView::of(&visit, plan, &kept, &typed_variables);
    let instance = find(&visit, &name).await?.instance;
    form(&visit, StatusCode::UNPROCESSABLE_ENTITY, instance, typed, again).await
}

/// What came of a form whose repository, project and branch are right.
enum Answer {
    Done,
    /// Preflight found what is to be fixed.
    Findings(Vec<Finding>),
    /// Preflight found nothing, but another field is wrong, or a variable has no value.
    Incomplete,
    /// There are secrets to send, and no safe way for them.
    Unsendable,
    /// The store could not meet the wish.
    Refused(SubmitError),
}

/// Looks at the repository, where it takes that, and saves; with what came of it the plan, where there is one.
async fn look_and_save(
    site: Site,
    instance: Instance,
    request: Request,
    mut edit: Option<Edit>,
    kept: Vec<KeptVariable>,
) -> Result<(Option<Plan>, Answer), WebError> {
    if let Some(edit) = &edit {
        if site.store.is_edited(edit, &instance).await? {
            return Ok((None, Answer::Done));
        }
        if edit.version != instance.version() {
            return Ok((None, Answer::Refused(SubmitError::Changed)));
        }
    }
    // What deploys nothing needs no look at the repository.
    let mut plan = None;
    if !edit.as_ref().is_some_and(|edit| edit.describes_alone(&instance)) {
        let found = match site.looker.plan(&request).await {
            Ok(found) => found,
            Err(findings) => return Ok((None, Answer::Findings(findings))),
        };
        let findings = asked::findings(&found);
        if !findings.is_empty() {
            return Ok((Some(found), Answer::Findings(findings)));
        }
        let given = edit.as_ref().map_or(&[][..], |edit| &edit.variables);
        if asked::is_missing(&found, &kept, given) {
            return Ok((Some(found), Answer::Incomplete));
        }
        let secret = !given.is_empty()
            || kept.iter().any(|kept| kept.is_set)
            || site.store.wants_first_admin(instance.row).await?;
        if secret && !site.settings.sends_secrets() {
            return Ok((Some(found), Answer::Unsendable));
        }
        if let Some(edit) = &mut edit {
            edit.plan = Some(Plan { chosen_database: edit.database, ..found.clone() });
        }
        plan = Some(found);
    }
    let Some(edit) = edit else { return Ok((plan, Answer::Incomplete)) };
    let answer = match site.store.edit(&edit).await {
        Ok(()) => {
            tracing::info!(instance = %instance.name, by = edit.by.0, "an edit was accepted");
            Answer::Done
        }
        Err(refused) => Answer::Refused(refused),
    };
    Ok((plan, answer))
}

/// What is said on the form that comes back.
#[derive(Default)]
struct Again {
    errors: Errors,
    asks: Asks,
    asked: AskedView,
}

/// What is asked once more before a form is taken.
#[derive(Default)]
enum Asks {
    #[default]
    Nothing,
    /// Whether this repository may be replaced.
    Replace(RepoUrl),
    /// Whether what somebody saved meanwhile may be overwritten.
    Again,
    /// Something that the form is not the place for: this sentence says it.
    Otherwise(String),
}

async fn form(
    visit: &Visit,
    status: StatusCode,
    instance: Instance,
    mut typed: Typed,
    again: Again,
) -> Result<Response, WebError> {
    let Again { errors, asks, asked } = again;
    let changed = matches!(asks, Asks::Again);
    if changed {
        // The page tells what is there now, so that saving once more is done knowing it.
        typed.version = instance.version();
    }
    let (replaces, refusal) = match asks {
        Asks::Replace(repo) => (Some(repo), None),
        Asks::Otherwise(sentence) => (None, Some(sentence)),
        Asks::Nothing | Asks::Again => (None, None),
    };
    let mut form = FormView::new(typed, errors, replaces.as_ref(), &visit.site.settings, Some(&instance));
    form.asks_first = asked.asks();
    let purpose = match instance.status {
        Status::Terminated => format!("Deploy {} again", instance.name),
        _ => format!("Edit {}", instance.name),
    };
    let description = format!("What {} is made from.", instance.name);
    let shell = Shell::new(visit, form.page_title(&purpose), description).await?;
    page(status, &EditPage { shell, form, instance, changed, refusal, asked })
}

/// What is said to who would deploy on an instance that is on its way out.
pub fn terminating() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "It is being terminated",
        "Nothing can be deployed on an instance that is on its way out. Wait until it is gone, then deploy it again.",
    )
}
