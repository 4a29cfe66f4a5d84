//! Redeploy and Try again: the branch's newest commit, on the instance as it is.

use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::post,
};
use tracing::Instrument;

use super::{asked, detail::answer, edit::terminating, environment_view::read_in, find, view::View};
use crate::{
    domain::{Instance, NameError, Plan, Timestamp},
    preflight::{Field, Finding, Request},
    store::SubmitError,
    web::{
        Site,
        auth::{CheckedForm, NoFields, Visit},
        error::{Problem, WebError},
        format::rich,
    },
};

pub fn router() -> Router<Site> {
    Router::new().route("/instances/{name}/redeploy", post(redeploy))
}

async fn redeploy(
    visit: Visit,
    Path(name): Path<String>,
    _form: CheckedForm<NoFields>,
) -> Result<Response, WebError> {
    let received_at = Timestamp::now();
    let instance = find(&visit, &name).await?.instance;
    let request = Request {
        owner: visit.user.id,
        repo: instance.repo.clone(),
        project: instance.project.clone(),
        branch: instance.branch.clone(),
    };
    let site = visit.site.clone();
    // On its own, so that what was asked for is done though the browser went away meanwhile.
    let path = format!("/instances/{}", instance.name);
    let findings =
        tokio::spawn(look_and_queue(site, instance, request, received_at).in_current_span()).await??;
    if findings.is_empty() {
        return Ok(Redirect::to(&path).into_response());
    }
    let mut view = View::of(&visit, find(&visit, &name).await?).await?;
    view.findings = findings;
    answer(&visit, StatusCode::UNPROCESSABLE_ENTITY, view).await
}

/// Queues a deployment of the newest commit; what is in the way, where something is, as HTML.
async fn look_and_queue(
    site: Site,
    instance: Instance,
    request: Request,
    received_at: Timestamp,
) -> Result<Vec<String>, WebError> {
    // The list may have become shorter since it was typed.
    if let Err(error) = site.settings.git_hosts().check(&request.repo) {
        return Ok(vec![finding_html(&Finding { field: Field::Repo, error })]);
    }
    let mut plan = match site.looker.plan(&request).await {
        Ok(plan) => plan,
        Err(findings) => return Ok(findings.iter().map(finding_html).collect()),
    };
    let missing = missing(&site, &instance, &plan).await?;
    if !missing.is_empty() {
        return Ok(missing);
    }
    plan.chosen_database = instance.database;
    match site.store.redeploy(instance.row, &request.repo, &plan, request.owner, received_at).await {
        Ok(deployment) => {
            tracing::info!(%deployment, "a redeployment was asked for");
            Ok(Vec::new())
        }
        Err(SubmitError::Store(error)) => Err(error.into()),
        Err(SubmitError::Changed) => {
            let error =
                NameError::new("The instance was changed meanwhile. Look at it once more, and try again.");
            Ok(vec![finding_html(&Finding { field: Field::Repo, error })])
        }
        // Of one that is gone, from a page that was shown before: the form of Deploy again says how many there may be.
        Err(SubmitError::TooMany { .. }) => Err(Problem::new(
            StatusCode::CONFLICT,
            "That would be one instance too many",
            "Its owner has as many as an owner may have here. Terminate one that is not needed any more, or ask an admin for more.",
        )
        .into()),
        Err(
            SubmitError::Terminating
            | SubmitError::NameTaken
            | SubmitError::NeedsReplace { .. }
            | SubmitError::Variables(_)
            | SubmitError::AdminUnshown
            | SubmitError::OtherType { .. },
        ) => Err(terminating().into()),
    }
}

/// The variables that have no value though the plan asks for one, those that cannot have one, and why none could be sent,
/// as HTML.
async fn missing(site: &Site, instance: &Instance, plan: &Plan) -> Result<Vec<String>, WebError> {
    let kept = site.store.variables(instance.row).await?;
    let give = |name: &str| {
        format!(
            r#"<a href="/instances/{}/environment?variable={name}#value">Give it a value</a>."#,
            instance.name
        )
    };
    let mut found: Vec<_> = asked::asked(plan, &kept)
        .map(|(name, demanded)| {
            format!("<code>{name}</code> has no value: {}. {}", read_in(demanded), give(name.as_str()))
        })
        .collect();
    found.extend(asked::findings(plan).iter().map(finding_html));
    found.extend(asked::lost(&kept).map(|name| {
        let why = "The key that the value of";
        format!("{why} <code>{name}</code> was encrypted with is gone. {}", give(name.as_str()))
    }));
    let secret = kept.iter().any(|kept| kept.is_set) || site.store.wants_first_admin(instance.row).await?;
    if secret && !site.settings.sends_secrets() {
        found.push(rich(asked::UNSENDABLE));
    }
    Ok(found)
}

fn finding_html(finding: &Finding) -> String {
    let mut html = rich(&finding.error.message);
    for (i, value) in finding.error.suggestions.iter().enumerate() {
        html.push_str(if i == 0 { " " } else { " or " });
        html.push_str(&rich(&format!("`{}`", value.replace('`', "'"))));
    }
    html
}
