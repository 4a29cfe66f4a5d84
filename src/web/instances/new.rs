//! A new instance: two inputs, the rest optional. The same form updates one's own instance of the
//! name that is typed.

use askama::Template;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use serde::Deserialize;
use tracing::Instrument;

use super::{
    asked::{self, AskedView, TypedVariables},
    environment, first_admin,
    form::{Errors, FIRST_ADMIN, FormView, MACHINE_TYPE, NAME, Rest, Source, Typed},
    limit, type_field, typed_secret,
};
use crate::{
    domain::{Database, NameError, Plan, RepoUrl, ServerName, Timestamp, UserId, Variable},
    preflight::{Finding, Request},
    store::{KeptVariable, Submission, SubmitError, Submitted},
    web::{
        Site,
        auth::{CheckedForm, Visit},
        error::WebError,
        page::{Shell, page},
        readiness::{ReadinessNotice, SampleWay},
    },
};

pub fn router() -> Router<Site> {
    Router::new()
        .route("/instances/new", get(show).post(create))
        .layer(DefaultBodyLimit::max(typed_secret::FORM_MAX))
}

#[derive(Deserialize)]
struct Fill {
    sample: Option<String>,
}

#[derive(Template)]
#[template(path = "new.html")]
struct NewPage {
    shell: Shell,
    form: FormView,
    readiness: Option<ReadinessNotice>,
    sample: SampleWay,
    /// How many instances one has of those one may have.
    used: Option<String>,
    /// Why nothing was launched though every field is right.
    refusal: Option<String>,
    /// The variables that the settings ask for.
    asked: AskedView,
}

/// What the form asks for, once each field is right.
struct Wish {
    owner: UserId,
    source: Source,
    rest: Rest,
    variables: Vec<Variable>,
    replace: bool,
    received_at: Timestamp,
}

/// What is said on the form that comes back.
#[derive(Default)]
struct Again {
    errors: Errors,
    /// The repository that would be replaced.
    replaces: Option<RepoUrl>,
    refusal: Option<String>,
    asked: AskedView,
}

async fn show(visit: Visit, Query(fill): Query<Fill>) -> Result<Response, WebError> {
    let mut typed = Typed::default();
    if fill.sample.as_deref() == Some("guestbook") {
        typed.github_url = format!("{}/samples/guestbook.git", visit.site.settings.callback_url);
        "guestbook".clone_into(&mut typed.project_name);
    }
    form(&visit, StatusCode::OK, typed, Again::default()).await
}

async fn create(
    visit: Visit,
    State(site): State<Site>,
    CheckedForm(mut typed): CheckedForm<Typed>,
) -> Result<Response, WebError> {
    let received_at = Timestamp::now();
    let hosts = site.settings.git_hosts();
    typed.unfold(&hosts);
    let typed_variables = TypedVariables::of(&visit, &typed.variables);
    let (variables, wrong) = typed_variables.given();
    let mut again = Again::default();
    let (source, rest) = typed.parse(&hosts, site.settings.offer.as_ref(), &mut again.errors);
    let own = Own::of(&visit, &typed.name).await?;
    let Some(source) = source else {
        again.asked = AskedView::of(&visit, None, &own.variables, &typed_variables);
        return form(&visit, StatusCode::UNPROCESSABLE_ENTITY, typed, again).await;
    };
    let (owner, replace) = (visit.user.id, typed.replace == "yes");
    let request = source.request(owner);
    let wish = rest.filter(|_| wrong.is_empty()).map(|mut rest| {
        rest.database = rest.database.or(own.database);
        Wish { owner, source, rest, variables, replace, received_at }
    });
    // On its own, so that what was sent is done though the browser went away meanwhile.
    let kept = own.variables.clone();
    let (plan, answer) = tokio::spawn(look_and_submit(site, request, wish, kept).in_current_span()).await??;
    let errors = &mut again.errors;
    match answer {
        Answer::Done(submitted) => {
            return Ok(Redirect::to(&format!("/instances/{}", submitted.name)).into_response());
        }
        Answer::Findings(findings) => errors.add_findings(&findings),
        Answer::Incomplete => {}
        Answer::Unsendable => again.refusal = Some(asked::UNSENDABLE.to_owned()),
        Answer::Refused(SubmitError::NameTaken) => {
            let error = NameError::new("Another instance of this site has this name. Choose another");
            errors.add(NAME, &suggest_other(error, &typed));
        }
        Answer::Refused(SubmitError::Terminating | SubmitError::Changed) => {
            let error = "This instance is being terminated. Wait until it is gone, or choose another name.";
            errors.add(NAME, &NameError::new(error));
        }
        Answer::Refused(SubmitError::OtherType { machine_type }) => {
            errors.add(MACHINE_TYPE, &type_field::other_type(&machine_type));
        }
        Answer::Refused(SubmitError::AdminUnshown) => {
            errors.add(FIRST_ADMIN, &NameError::new(first_admin::UNSHOWN))
        }
        Answer::Refused(SubmitError::TooMany { limit }) => again.refusal = Some(limit::too_many(limit)),
        Answer::Refused(SubmitError::Variables(refused)) => {
            again.refusal = Some(environment::limit(&refused).message);
        }
        Answer::Refused(SubmitError::NeedsReplace { repo }) => again.replaces = Some(repo),
        Answer::Refused(SubmitError::Store(error)) => return Err(error.into()),
    }
    again.asked = AskedView::of(&visit, plan, &own.variables, &typed_variables);
    form(&visit, StatusCode::UNPROCESSABLE_ENTITY, typed, again).await
}

/// What one's own instance of the name that was typed has already.
#[derive(Default)]
struct Own {
    variables: Vec<KeptVariable>,
    database: Option<Database>,
}

impl Own {
    async fn of(visit: &Visit, name: &str) -> Result<Self, WebError> {
        let Ok(name) = name.trim().parse::<ServerName>() else { return Ok(Self::default()) };
        let found = visit.site.store.instance(&name).await?;
        let Some(found) = found.filter(|found| found.instance.owner == visit.user.id) else {
            return Ok(Self::default());
        };
        let variables = visit.site.store.variables(found.instance.row).await?;
        Ok(Self { variables, database: found.instance.database })
    }
}

fn suggest_other(error: NameError, typed: &Typed) -> NameError {
    match typed.name.trim().parse::<ServerName>() {
        Ok(name) => error.suggest(name.numbered(2).to_string()),
        Err(_) => error,
    }
}

/// What came of a form whose repository, project and branch are right.
enum Answer {
    Done(Submitted),
    /// Preflight found what is to be fixed.
    Findings(Vec<Finding>),
    /// Preflight found nothing, but another field is wrong, or a variable has no value.
    Incomplete,
    /// There are secrets to send, and no safe way for them.
    Unsendable,
    /// The store could not meet the wish.
    Refused(SubmitError),
}

/// Looks at the repository and submits the wish; with what came of it the plan, where there is one.
async fn look_and_submit(
    site: Site,
    request: Request,
    wish: Option<Wish>,
    kept: Vec<KeptVariable>,
) -> Result<(Option<Plan>, Answer), WebError> {
    let mut plan = match site.looker.plan(&request).await {
        Ok(plan) => plan,
        Err(findings) => return Ok((None, Answer::Findings(findings))),
    };
    let findings = asked::findings(&plan);
    if !findings.is_empty() {
        return Ok((Some(plan), Answer::Findings(findings)));
    }
    let given = wish.as_ref().map_or(&[][..], |wish| &wish.variables);
    let Some(wish) = wish.as_ref().filter(|_| !asked::is_missing(&plan, &kept, given)) else {
        return Ok((Some(plan), Answer::Incomplete));
    };
    let Wish { rest, source, .. } = wish;
    let secret = !given.is_empty() || kept.iter().any(|kept| kept.is_set) || rest.first_admin.is_some();
    if secret && !site.settings.sends_secrets() {
        return Ok((Some(plan), Answer::Unsendable));
    }
    plan.chosen_database = rest.database;
    let submission = Submission {
        owner: wish.owner,
        name: rest.name.clone(),
        repo: source.repo.clone(),
        project: source.project.clone(),
        branch: source.branch.clone(),
        description: rest.description.clone(),
        machine_type: rest.machine_type.clone(),
        database: rest.database,
        variables: wish.variables.clone(),
        first_admin: rest.first_admin.clone(),
        plan: plan.clone(),
        replace: wish.replace,
        received_at: wish.received_at,
    };
    let answer = match site.store.submit(&submission).await {
        Ok(submitted) => {
            tracing::info!(instance = %submitted.name, deployment = %submitted.deployment, "a form was accepted");
            Answer::Done(submitted)
        }
        Err(refused) => Answer::Refused(refused),
    };
    Ok((Some(plan), answer))
}

async fn form(visit: &Visit, status: StatusCode, typed: Typed, again: Again) -> Result<Response, WebError> {
    let Again { errors, replaces, refusal, asked } = again;
    let mut form = FormView::new(typed, errors, replaces.as_ref(), &visit.site.settings, None);
    form.asks_first = asked.asks();
    let description = "A repository's URL and the project's name: that is all it takes.";
    let purpose = match asked.asks() && form.errors().is_empty() {
        true => format!("{}: New instance", asked.page_title()),
        false => form.page_title("New instance"),
    };
    let shell = Shell::new(visit, purpose, description).await?;
    let (readiness, sample) = (ReadinessNotice::of(&visit.site), SampleWay::of(&visit.site));
    let used = limit::used(visit).await?;
    page(status, &NewPage { shell, form, readiness, sample, used, refusal, asked })
}
