//! Redeploy and Try again: the branch's newest commit, on the instance as it is.

use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::post,
};
use tracing::Instrument;

use super::{detail::answer, edit::terminating, find, view::View};
use crate::{
    domain::{NameError, RowId, Timestamp},
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
    let findings =
        tokio::spawn(look_and_queue(site, instance.row, request, received_at).in_current_span()).await??;
    if findings.is_empty() {
        return Ok(Redirect::to(&format!("/instances/{}", instance.name)).into_response());
    }
    let mut view = View::of(&visit, find(&visit, &name).await?).await?;
    view.findings = findings.iter().map(finding_html).collect();
    answer(&visit, StatusCode::UNPROCESSABLE_ENTITY, view).await
}

/// Queues a deployment of the newest commit; what preflight found in the way, where it did.
async fn look_and_queue(
    site: Site,
    row: RowId,
    request: Request,
    received_at: Timestamp,
) -> Result<Vec<Finding>, WebError> {
    // The list may have become shorter since it was typed.
    if let Err(error) = site.settings.git_hosts().check(&request.repo) {
        return Ok(vec![Finding { field: Field::Repo, error }]);
    }
    let plan = match site.looker.plan(&request).await {
        Ok(plan) => plan,
        Err(findings) => return Ok(findings),
    };
    match site.store.redeploy(row, &request.repo, &plan, request.owner, received_at).await {
        Ok(deployment) => {
            tracing::info!(%deployment, "a redeployment was asked for");
            Ok(Vec::new())
        }
        Err(SubmitError::Store(error)) => Err(error.into()),
        Err(SubmitError::Changed) => {
            let error =
                NameError::new("The instance was changed meanwhile. Look at it once more, and try again.");
            Ok(vec![Finding { field: Field::Repo, error }])
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
            | SubmitError::OtherType { .. },
        ) => Err(terminating().into()),
    }
}

fn finding_html(finding: &Finding) -> String {
    let mut html = rich(&finding.error.message);
    for (i, value) in finding.error.suggestions.iter().enumerate() {
        html.push_str(if i == 0 { " " } else { " or " });
        html.push_str(&rich(&format!("`{}`", value.replace('`', "'"))));
    }
    html
}
