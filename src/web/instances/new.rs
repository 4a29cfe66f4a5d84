//! A new instance: two inputs, the rest optional. The same form updates one's own instance of the
//! name that is typed.

use askama::Template;
use axum::{
    Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use serde::Deserialize;
use tracing::Instrument;

use super::{
    form::{Errors, FormView, MACHINE_TYPE, NAME, Source, Typed},
    limit, type_field,
};
use crate::{
    domain::{NameError, RepoUrl, ServerName, Timestamp, UserId},
    preflight::{Finding, Request},
    store::{Submission, SubmitError, Submitted, TypeWish},
    web::{
        Site,
        auth::{CheckedForm, Visit},
        error::WebError,
        page::{Shell, page},
        readiness::{ReadinessNotice, SampleWay},
    },
};

pub fn router() -> Router<Site> {
    Router::new().route("/instances/new", get(show).post(create))
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
}

/// What the form asks for, once each field is right.
struct Wish {
    owner: UserId,
    source: Source,
    name: Option<ServerName>,
    description: String,
    machine_type: TypeWish,
    replace: bool,
    received_at: Timestamp,
}

async fn show(visit: Visit, Query(fill): Query<Fill>) -> Result<Response, WebError> {
    let mut typed = Typed::default();
    if fill.sample.as_deref() == Some("guestbook") {
        typed.github_url = format!("{}/samples/guestbook.git", visit.site.settings.callback_url);
        "guestbook".clone_into(&mut typed.project_name);
    }
    form(&visit, StatusCode::OK, typed, Errors::default(), None, None).await
}

async fn create(
    visit: Visit,
    State(site): State<Site>,
    CheckedForm(mut typed): CheckedForm<Typed>,
) -> Result<Response, WebError> {
    let received_at = Timestamp::now();
    let hosts = site.settings.git_hosts();
    typed.unfold(&hosts);
    let mut errors = Errors::default();
    let (source, rest) = typed.parse(&hosts, site.settings.offer.as_ref(), &mut errors);
    let Some(source) = source else {
        return form(&visit, StatusCode::UNPROCESSABLE_ENTITY, typed, errors, None, None).await;
    };
    let (owner, replace) = (visit.user.id, typed.replace == "yes");
    let request = source.request(owner);
    let wish = rest.map(|(name, description, machine_type)| Wish {
        owner,
        source,
        name,
        description,
        machine_type,
        replace,
        received_at,
    });
    // On its own, so that what was sent is done though the browser went away meanwhile.
    let answer = tokio::spawn(look_and_submit(site, request, wish).in_current_span()).await??;
    let (mut replaces, mut refusal) = (None, None);
    match answer {
        Answer::Done(submitted) => {
            return Ok(Redirect::to(&format!("/instances/{}", submitted.name)).into_response());
        }
        Answer::Findings(findings) => errors.add_findings(&findings),
        Answer::Incomplete => {}
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
        Answer::Refused(SubmitError::TooMany { limit }) => refusal = Some(limit::too_many(limit)),
        Answer::Refused(SubmitError::NeedsReplace { repo }) => replaces = Some(repo),
        Answer::Refused(SubmitError::Store(error)) => return Err(error.into()),
    }
    form(&visit, StatusCode::UNPROCESSABLE_ENTITY, typed, errors, replaces, refusal).await
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
    /// Preflight found nothing, but another field is wrong.
    Incomplete,
    /// The store could not meet the wish.
    Refused(SubmitError),
}

async fn look_and_submit(site: Site, request: Request, wish: Option<Wish>) -> Result<Answer, WebError> {
    let plan = match site.looker.plan(&request).await {
        Ok(plan) => plan,
        Err(findings) => return Ok(Answer::Findings(findings)),
    };
    let Some(wish) = wish else { return Ok(Answer::Incomplete) };
    let submission = Submission {
        owner: wish.owner,
        name: wish.name,
        repo: wish.source.repo,
        project: wish.source.project,
        branch: wish.source.branch,
        description: wish.description,
        machine_type: wish.machine_type,
        plan,
        replace: wish.replace,
        received_at: wish.received_at,
    };
    match site.store.submit(&submission).await {
        Ok(submitted) => {
            tracing::info!(instance = %submitted.name, deployment = %submitted.deployment, "a form was accepted");
            Ok(Answer::Done(submitted))
        }
        Err(refused) => Ok(Answer::Refused(refused)),
    }
}

async fn form(
    visit: &Visit,
    status: StatusCode,
    typed: Typed,
    errors: Errors,
    replaces: Option<RepoUrl>,
    refusal: Option<String>,
) -> Result<Response, WebError> {
    let form = FormView::new(typed, errors, replaces.as_ref(), &visit.site.settings, None);
    let description = "A repository's URL and the project's name: that is all it takes.";
    let shell = Shell::new(visit, form.page_title("New instance"), description).await?;
    let (readiness, sample) = (ReadinessNotice::of(&visit.site), SampleWay::of(&visit.site));
    let used = limit::used(visit).await?;
    page(status, &NewPage { shell, form, readiness, sample, used, refusal })
}
