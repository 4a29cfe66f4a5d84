//! Terminating an instance: what goes, what stays, and its name typed to confirm.

use askama::Template;
use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use serde::Deserialize;

use super::find;
use crate::{
    domain::{Instance, Status, Wanted},
    web::{
        Site,
        auth::{CheckedForm, Visit},
        error::WebError,
        page::{Shell, page},
    },
};

pub fn router() -> Router<Site> {
    Router::new().route("/instances/{name}/terminate", get(show).post(terminate))
}

#[derive(Deserialize)]
struct Confirmation {
    #[serde(default)]
    confirm: String,
}

#[derive(Template)]
#[template(path = "terminate.html")]
struct TerminatePage {
    shell: Shell,
    instance: Instance,
    typed: String,
    wrong: bool,
}

async fn show(visit: Visit, Path(name): Path<String>) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    if instance.is_leaving() || instance.status == Status::Terminated {
        return Ok(Redirect::to(&format!("/instances/{}", instance.name)).into_response());
    }
    form(&visit, StatusCode::OK, instance, String::new(), false).await
}

async fn terminate(
    visit: Visit,
    Path(name): Path<String>,
    CheckedForm(typed): CheckedForm<Confirmation>,
) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    if typed.confirm.trim() != instance.name.as_str() {
        return form(&visit, StatusCode::UNPROCESSABLE_ENTITY, instance, typed.confirm, true).await;
    }
    if visit.site.store.want(instance.row, Wanted::Absent).await? {
        tracing::info!(instance = %instance.name, by = %visit.user.username, "an instance is to be terminated");
    }
    Ok(Redirect::to(&format!("/instances/{}", instance.name)).into_response())
}

async fn form(
    visit: &Visit,
    status: StatusCode,
    instance: Instance,
    typed: String,
    wrong: bool,
) -> Result<Response, WebError> {
    let title = format!("Terminate {}", instance.name);
    let description = format!("Confirm that {} is to be terminated.", instance.name);
    let shell = Shell::new(visit, title, description).await?;
    page(status, &TerminatePage { shell, instance, typed, wrong })
}
