//! Adopting an orphan: what record gets it, and what happens then. The reconciler has the last word.

use askama::Template;
use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};

use super::{
    find,
    orphans::{Row, row},
};
use crate::{
    domain::{HoldingKind, Orphan, OrphanWish, ServerName, Status, adopt_image, adopt_machine},
    web::{
        Site,
        auth::{Admin, CheckedForm, NoFields, Visit},
        error::WebError,
        format::escape,
        page::{Section, Shell, page},
    },
};

pub fn router() -> Router<Site> {
    Router::new().route("/cloud/orphans/{id}/adopt", get(show).post(adopt))
}

/// What adopting does, each as HTML, or why that cannot be now.
type Plan = Result<Vec<String>, String>;

#[derive(Template)]
#[template(path = "orphan_adopt.html")]
struct AdoptPage {
    shell: Shell,
    row: Row,
    plan: Plan,
    /// Whether it was asked for just now.
    asked: bool,
}

async fn show(Admin(visit): Admin, Path(number): Path<String>) -> Result<Response, WebError> {
    let orphan = find(&visit, &number).await?;
    if orphan.wish.is_some() {
        return Ok(Redirect::to("/cloud#orphans").into_response());
    }
    let plan = plan(&visit, &orphan).await?;
    answer(&visit, StatusCode::OK, orphan, plan, false).await
}

async fn adopt(
    Admin(visit): Admin,
    Path(number): Path<String>,
    _form: CheckedForm<NoFields>,
) -> Result<Response, WebError> {
    let orphan = find(&visit, &number).await?;
    let plan = plan(&visit, &orphan).await?;
    if plan.is_err() {
        return answer(&visit, StatusCode::CONFLICT, orphan, plan, true).await;
    }
    if visit.site.store.want_orphan(orphan.row, OrphanWish::Adopt, visit.user.id).await? {
        let (kind, id) = (orphan.holding.kind.name(), &orphan.holding.id);
        tracing::info!(kind, id, by = %visit.user.username, "an orphan is to be adopted");
    }
    Ok(Redirect::to("/cloud#orphans").into_response())
}

/// What adopting an orphan does now.
async fn plan(visit: &Visit, orphan: &Orphan) -> Result<Plan, WebError> {
    let holding = &orphan.holding;
    match holding.kind {
        HoldingKind::Machine => {
            let name = holding.name.as_deref().and_then(|name| name.parse::<ServerName>().ok());
            let heir = match &name {
                Some(name) => visit.site.store.heir(name).await?,
                None => None,
            };
            let status = match adopt_machine(holding, heir) {
                Ok(status) => status,
                Err(why) => return Ok(Err(why)),
            };
            let found = match &name {
                Some(name) => visit.site.store.instance(name).await?,
                None => None,
            };
            let Some(found) = found else { return Err(WebError::NotFound) };
            let commit = found.newest.as_ref().map_or("", |newest| newest.plan.commit.short());
            let name = escape(found.instance.name.as_str());
            let owner = escape(found.instance.owner_name.as_str());
            let when = if status == Status::Stopped {
                "It stays stopped. Once somebody starts it, the commit"
            } else {
                "At once the commit"
            };
            Ok(Ok(vec![
                format!(
                    "The instance <a href=\"/instances/{name}\">{name}</a> of {owner}, which has no machine, gets this one."
                ),
                format!("{when} <code>{commit}</code>, which was deployed last, is deployed on it anew."),
                "The database and the media files on its disk stay as they are, but for the project's migrations."
                    .to_owned(),
            ]))
        }
        HoldingKind::Image => Ok(adopt_image(holding).map(|number| {
            vec![
                format!(
                    "It is one of the <a href=\"/images\">golden images</a> again, as that of bake {number}."
                ),
                "Where it is the newest good one, instances boot from it.".to_owned(),
            ]
        })),
        HoldingKind::Address | HoldingKind::Volume | HoldingKind::Snapshot => Ok(Err(
            "No record could have it: it belongs to a machine or an image that is not there.".to_owned(),
        )),
    }
}

async fn answer(
    visit: &Visit,
    status: StatusCode,
    orphan: Orphan,
    plan: Plan,
    asked: bool,
) -> Result<Response, WebError> {
    let title = format!("Adopt {}", orphan.holding.id);
    let description = format!("Confirm that {} is to be adopted.", orphan.holding.id);
    let mut shell = Shell::new(visit, title, description).await?;
    shell.section = Section::Cloud;
    let row = row(&visit.site, orphan).await?;
    page(status, &AdoptPage { shell, row, plan, asked })
}
