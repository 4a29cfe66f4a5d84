//! Stop, with what it means told first, Reboot beside it, and Start.

use askama::Template;
use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};

use super::{cost::Cost, find};
use crate::{
    domain::Instance,
    store::PowerError,
    web::{
        Site,
        auth::{CheckedForm, NoFields, Visit},
        error::{Problem, WebError},
        page::{Shell, page},
    },
};

pub fn router() -> Router<Site> {
    Router::new()
        .route("/instances/{name}/stop", get(show).post(stop))
        .route("/instances/{name}/start", post(start))
        .route("/instances/{name}/reboot", post(reboot))
}

#[derive(Template)]
#[template(path = "stop.html")]
struct StopPage {
    shell: Shell,
    instance: Instance,
    /// What its machine is and costs, in a cloud that has a choice of them.
    cost: Option<Cost>,
}

impl StopPage {
    /// Whether it has an Elastic IP, which it keeps.
    fn keeps_address(&self) -> bool {
        self.cost.as_ref().is_some_and(|cost| cost.keeps_address)
    }

    /// What goes on costing while it is stopped.
    fn goes_on_costing(&self) -> String {
        let what = if self.keeps_address() { "it and the Elastic IP are" } else { "it is" };
        let month = self.cost.as_ref().and_then(|cost| cost.stopped);
        let price =
            month.map(|month| format!(", about {} a month", month.total().about())).unwrap_or_default();
        format!("{what} all that goes on costing{price}")
    }
}

async fn show(visit: Visit, Path(name): Path<String>) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    if !instance.can_stop() {
        return Ok(Redirect::to(&format!("/instances/{}", instance.name)).into_response());
    }
    let title = format!("Stop {}", instance.name);
    let description = format!("Confirm that {} is to be stopped.", instance.name);
    let shell = Shell::new(&visit, title, description).await?;
    let cost = Cost::of(&visit.site, &instance);
    page(StatusCode::OK, &StopPage { shell, instance, cost })
}

async fn stop(
    visit: Visit,
    Path(name): Path<String>,
    _form: CheckedForm<NoFields>,
) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    let done = visit.site.store.stop(instance.row).await;
    answer(&visit, &instance, done, "an instance is to be stopped")
}

async fn start(
    visit: Visit,
    Path(name): Path<String>,
    _form: CheckedForm<NoFields>,
) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    let done = visit.site.store.start(instance.row).await;
    answer(&visit, &instance, done, "an instance is to be started")
}

async fn reboot(
    visit: Visit,
    Path(name): Path<String>,
    _form: CheckedForm<NoFields>,
) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    let done = visit.site.store.reboot(instance.row).await;
    answer(&visit, &instance, done, "an instance is to be rebooted")
}

/// On to the instance's page, or why not.
fn answer(
    visit: &Visit,
    instance: &Instance,
    done: Result<bool, PowerError>,
    told: &'static str,
) -> Result<Response, WebError> {
    let conflict = |title, sentence| Err(Problem::new(StatusCode::CONFLICT, title, sentence).into());
    match done {
        Ok(changed) => {
            if changed {
                tracing::info!(instance = %instance.name, by = %visit.user.username, "{told}");
            }
            Ok(Redirect::to(&format!("/instances/{}", instance.name)).into_response())
        }
        Err(PowerError::Gone) => conflict(
            "It is on its way out, or gone",
            "Only an instance that is kept can be stopped, started or rebooted. One that is gone can be deployed again.",
        ),
        Err(PowerError::Busy) => conflict(
            "Something is under way",
            "It can be stopped once it is live, or has failed. To end it now, terminate it. Only a live one can be rebooted.",
        ),
        Err(PowerError::NoMachine) => {
            conflict("There is no machine", "The launch failed, so that there is nothing to stop.")
        }
        Err(PowerError::Failed) => conflict(
            "It failed",
            "Starting alone would not mend it. Choose Try again on its page: that starts the machine where it is stopped.",
        ),
        Err(PowerError::Store(error)) => Err(error.into()),
    }
}
