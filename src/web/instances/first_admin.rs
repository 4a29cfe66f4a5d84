//! The first admin of an instance's project: asked for by its username, its password shown once.

use axum::{
    Router,
    extract::Path,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::post,
};
use serde::Deserialize;

use super::{
    detail,
    environment_view::{EnvironmentView, answer},
    find,
    view::View,
};
use crate::{
    domain::{AdminName, NameError},
    store::AdminError,
    web::{
        Site,
        auth::{CheckedForm, NoFields, Visit},
        error::{Problem, WebError},
    },
};

pub fn router() -> Router<Site> {
    Router::new()
        .route("/instances/{name}/admin", post(ask))
        .route("/instances/{name}/admin/password", post(show_password))
}

/// Why there can be no other first admin yet.
pub const UNSHOWN: &str =
    "This instance has an admin whose password was not shown yet: look at it on its page first.";

#[derive(Deserialize)]
struct AskForm {
    #[serde(default)]
    username: String,
}

async fn ask(
    visit: Visit,
    Path(name): Path<String>,
    CheckedForm(form): CheckedForm<AskForm>,
) -> Result<Response, WebError> {
    let found = find(&visit, &name).await?;
    let instance = &found.instance;
    let error = match form.username.trim().parse::<AdminName>() {
        Err(error) => error,
        Ok(admin) => match visit.site.store.want_first_admin(instance.row, &admin).await {
            // It is there already: its note says how it is with it.
            Ok(false) => {
                return Ok(Redirect::to(&format!("/instances/{}#first-admin", instance.name)).into_response());
            }
            Ok(true) => {
                tracing::info!(instance = %instance.name, by = %visit.user.username, "an admin was asked for");
                let path = format!("/instances/{}/environment?done=admin", instance.name);
                return Ok(Redirect::to(&path).into_response());
            }
            Err(AdminError::Unshown) => NameError::new(UNSHOWN),
            Err(AdminError::Store(error)) => return Err(error.into()),
        },
    };
    let mut view = EnvironmentView::of(&visit, &found).await?;
    (view.told.admin, view.admin_typed) = (Some(error), form.username);
    answer(&visit, StatusCode::UNPROCESSABLE_ENTITY, view).await
}

/// Answers the form itself with the one page that has the password, so that no address and no log holds it; it is
/// forgotten before it is shown.
async fn show_password(
    visit: Visit,
    Path(name): Path<String>,
    _form: CheckedForm<NoFields>,
) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    let Some(password) = visit.site.store.show_first_admin(instance.row).await? else {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "There is no password to show",
            "It was shown before, or the admin is not made yet. Whoever has lost it asks for another admin, under Environment.",
        )
        .into());
    };
    tracing::info!(instance = %instance.name, by = %visit.user.username, "the password of a first admin was shown");
    let mut view = View::of(&visit, find(&visit, &name).await?).await?;
    view.shown_password = Some(password);
    let mut response = detail::answer(&visit, StatusCode::OK, view).await?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
