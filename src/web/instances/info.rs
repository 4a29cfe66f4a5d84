//! The detail page as JSON, for programs. What is absent is null.

use axum::{
    Json, Router,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use serde_json::json;

use super::{
    cost::{Cost, MonthInfo},
    failure::cause,
    find,
};
use crate::{
    domain::{Database, Deployment, Status, Step, StepState, Timestamp},
    store::{Overview, StoreError},
    web::{Site, auth::ApiVisit, error::WebError},
};

pub fn router() -> Router<Site> {
    Router::new().route("/instances/{name}/info", get(info))
}

/// An instance as JSON.
#[derive(Serialize)]
struct Info {
    name: String,
    status: &'static str,
    wanted: &'static str,
    instance_id: Option<String>,
    public_ip: Option<String>,
    /// The type of its machine, in a cloud that has a choice of them.
    machine_type: Option<String>,
    /// The database that its owner chose.
    database: Option<&'static str>,
    /// What its machine costs as it is now, as far as that is known.
    month: Option<MonthInfo>,
    /// 0 to 1.
    progress: f64,
    /// The step under way, or the one that failed.
    step: Option<Step>,
    steps: Vec<StepInfo>,
    commit: Option<String>,
    error: Option<ErrorInfo>,
    /// RFC 3339, UTC.
    created_at: String,
    updated_at: String,
}

#[derive(Serialize)]
struct StepInfo {
    name: Step,
    state: &'static str,
    /// How long it took; so far, while it runs.
    seconds: Option<f64>,
}

#[derive(Serialize)]
struct ErrorInfo {
    step: Option<Step>,
    message: String,
    /// The cause in a sentence, where it is known, and what usually helps. Code is between backticks.
    cause: Option<String>,
    help: Option<String>,
}

async fn info(ApiVisit(visit): ApiVisit, Path(name): Path<String>) -> Result<Response, WebError> {
    match find(&visit, &name).await {
        Ok(found) => Ok(Json(Info::of(&visit.site, &found).await?).into_response()),
        Err(WebError::NotFound) => {
            let body = Json(json!({"error": "There is no such instance, or it is not one of yours."}));
            Ok((StatusCode::NOT_FOUND, body).into_response())
        }
        Err(error) => Err(error),
    }
}

impl Info {
    async fn of(site: &Site, found: &Overview) -> Result<Self, StoreError> {
        let (instance, newest) = (&found.instance, found.newest.as_ref());
        let (machine_type, month) = Cost::of(site, instance).map(Cost::info).unzip();
        let failure = newest.and_then(|newest| newest.failure.as_ref());
        let failure = instance.failure.as_ref().or(failure);
        let cure = match failure {
            Some(_) => cause(&site.store, instance, newest, failure).await?.1,
            None => None,
        };
        let (cause, help) = cure.map(|cure| (cure.cause, cure.help)).unzip();
        let live = instance.status == Status::Live && newest.is_some_and(|newest| newest.outcome.is_some());
        Ok(Self {
            name: instance.name.to_string(),
            status: instance.status.name(),
            wanted: instance.wanted.name(),
            instance_id: instance.instance_id.as_ref().map(ToString::to_string),
            public_ip: instance.public_ip.map(|ip| ip.to_string()),
            machine_type,
            database: instance.database.map(Database::name),
            month: month.flatten(),
            progress: if live { 1.0 } else { newest.map_or(0.0, |newest| newest.report.progress()) },
            step: newest.and_then(|newest| newest.report.current()),
            steps: newest.map_or_else(Vec::new, |newest| {
                newest.report.steps().map(|step| StepInfo::of(step, newest)).collect()
            }),
            commit: newest.map(|newest| newest.report.commit().unwrap_or(&newest.plan.commit).to_string()),
            error: failure.map(|failure| ErrorInfo {
                step: failure.step,
                message: failure.message.clone(),
                cause,
                help,
            }),
            created_at: instance.created_at.rfc3339(),
            updated_at: instance.updated_at.rfc3339(),
        })
    }
}

impl StepInfo {
    fn of((step, state): (Step, StepState), deployment: &Deployment) -> Self {
        let since = |until: Timestamp| deployment.step_since.map(|since| until.seconds_since(since).max(0.0));
        let state = match state {
            // What its machine never ended is not under way once the deployment has ended.
            StepState::Running | StepState::Waiting if deployment.outcome.is_some() => {
                let here = deployment.failure.as_ref().is_some_and(|failure| failure.step == Some(step));
                if here { StepState::Failed { code: 1 } } else { StepState::Waiting }
            }
            state => state,
        };
        let seconds = match state {
            StepState::Waiting => None,
            StepState::Ok { seconds } => Some(seconds),
            StepState::Running => since(deployment.ended_at.unwrap_or_else(Timestamp::now)),
            StepState::Failed { .. } => deployment.ended_at.and_then(since),
        };
        Self { name: step, state: state.name(), seconds }
    }
}
