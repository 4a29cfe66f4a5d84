//! The environment of an instance's project: its variables by name, and the forms that change them. A value is typed
//! once and never shown.

use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, Query},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use serde::Deserialize;

use super::{
    environment_view::{EnvironmentView, Told, answer},
    find, typed_secret,
};
use crate::{
    domain::{NameError, SecretValue, Variable, VariableName, parse_dotenv},
    store::VariablesError,
    web::{
        Site,
        auth::{CheckedForm, NoFields, Visit},
        error::WebError,
        format::count,
    },
};

pub fn router() -> Router<Site> {
    Router::new()
        .route("/instances/{name}/environment", get(show).post(set))
        .route("/instances/{name}/environment/paste", post(paste))
        .route("/instances/{name}/environment/secret-key", post(make_secret_key))
        .route("/instances/{name}/environment/{variable}/remove", post(remove))
        .layer(DefaultBodyLimit::max(typed_secret::FORM_MAX))
}

/// What the page is asked to show besides.
#[derive(Default, Deserialize)]
struct Asked {
    /// What was just done.
    done: Option<String>,
    /// The variable that is to be changed.
    variable: Option<String>,
}

#[derive(Default, Deserialize)]
struct SetForm {
    #[serde(default)]
    variable: String,
    #[serde(default)]
    value: String,
    /// The value that was typed before, sealed.
    #[serde(default)]
    kept: String,
}

#[derive(Deserialize)]
struct PasteForm {
    #[serde(default)]
    dotenv: String,
}

async fn show(
    visit: Visit,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, WebError> {
    let found = find(&visit, &name).await?;
    let mut view = EnvironmentView::of(&visit, &found).await?;
    view.done = match asked.done.as_deref() {
        Some("saved") => Some("It is saved."),
        Some("same") => Some("It has this value already. Nothing was changed."),
        Some("removed") => Some("It is removed."),
        Some("made") => {
            Some("A new SECRET_KEY is made. Whoever is signed in to the project will have to sign in again.")
        }
        Some("admin") => Some("The next deployment makes the admin."),
        _ => None,
    };
    view.typed = asked.variable.filter(|name| name.parse::<VariableName>().is_ok()).unwrap_or_default();
    answer(&visit, StatusCode::OK, view).await
}

/// On to the page, with what was done.
fn done(instance: &str, what: &str) -> Response {
    Redirect::to(&format!("/instances/{instance}/environment?done={what}")).into_response()
}

async fn set(
    visit: Visit,
    Path(name): Path<String>,
    CheckedForm(form): CheckedForm<SetForm>,
) -> Result<Response, WebError> {
    let found = find(&visit, &name).await?;
    let instance = &found.instance;
    let typed = if form.value.is_empty() {
        typed_secret::opened(&visit, &form.kept).unwrap_or_default()
    } else {
        typed_secret::typed(&form.value)
    };
    let kept = typed_secret::sealed(&visit, &typed);
    let refusal = match (form.variable.trim().parse::<VariableName>(), SecretValue::try_from(typed)) {
        (Ok(name), Ok(value)) => {
            match visit.site.store.set_variables(instance.row, &[Variable { name, value }]).await {
                Ok(changed) => {
                    tracing::info!(instance = %instance.name, by = %visit.user.username, changed, "a variable was set");
                    return Ok(done(instance.name.as_str(), if changed > 0 { "saved" } else { "same" }));
                }
                Err(VariablesError::Store(error)) => return Err(error.into()),
                Err(refused) => Told { limit: vec![limit(&refused)], ..Told::default() },
            }
        }
        (name, value) => Told { name: name.err(), value: value.err(), ..Told::default() },
    };
    let mut view = EnvironmentView::of(&visit, &found).await?;
    view.kept_value = if refusal.value.is_none() { kept } else { String::new() };
    (view.told, view.typed) = (refusal, form.variable);
    answer(&visit, StatusCode::UNPROCESSABLE_ENTITY, view).await
}

/// What is said where there would be too much.
pub fn limit(refused: &VariablesError) -> NameError {
    NameError::new(format!("Nothing was saved: {refused}."))
}

/// Saves the good lines and tells the others by their numbers: what was pasted is not sent back.
async fn paste(
    visit: Visit,
    Path(name): Path<String>,
    CheckedForm(form): CheckedForm<PasteForm>,
) -> Result<Response, WebError> {
    let found = find(&visit, &name).await?;
    let instance = &found.instance;
    let (mut variables, mut wrong) = (Vec::new(), Vec::new());
    for line in parse_dotenv(&form.dotenv) {
        match line.read {
            Ok(variable) => variables.push(variable),
            Err((name, error)) => {
                let name = name.map(|name| format!(" (`{name}`)")).unwrap_or_default();
                wrong.push(NameError::new(format!("Line {}{name}: {}", line.number, error.message)));
            }
        }
    }
    if variables.is_empty() && wrong.is_empty() {
        wrong.push(NameError::new("There is no line of the form `NAME=value` in it."));
    }
    let read = variables.len();
    let changed = match visit.site.store.set_variables(instance.row, &variables).await {
        Ok(changed) => changed,
        Err(VariablesError::Store(error)) => return Err(error.into()),
        Err(refused) => {
            let mut view = EnvironmentView::of(&visit, &found).await?;
            view.told.limit = vec![limit(&refused), view.beside(&variables)];
            view.told.lines = wrong;
            return answer(&visit, StatusCode::UNPROCESSABLE_ENTITY, view).await;
        }
    };
    tracing::info!(instance = %instance.name, by = %visit.user.username, changed, "variables were pasted");
    if wrong.is_empty() {
        return Ok(done(instance.name.as_str(), if changed > 0 { "saved" } else { "same" }));
    }
    let mut view = EnvironmentView::of(&visit, &found).await?;
    view.told.lines = wrong;
    view.told.saved = (read > 0).then(|| {
        format!(
            "{} of the others: saved. Correct only the lines above and paste them alone.",
            count(read as u64, "variable")
        )
    });
    answer(&visit, StatusCode::UNPROCESSABLE_ENTITY, view).await
}

async fn make_secret_key(
    visit: Visit,
    Path(name): Path<String>,
    _form: CheckedForm<NoFields>,
) -> Result<Response, WebError> {
    let found = find(&visit, &name).await?;
    let instance = &found.instance;
    match visit.site.store.make_variable(instance.row, &VariableName::secret_key()).await {
        Ok(()) => {}
        Err(VariablesError::Store(error)) => return Err(error.into()),
        Err(refused) => {
            let mut view = EnvironmentView::of(&visit, &found).await?;
            view.told.limit = vec![limit(&refused)];
            return answer(&visit, StatusCode::UNPROCESSABLE_ENTITY, view).await;
        }
    }
    tracing::info!(instance = %instance.name, by = %visit.user.username, "a SECRET_KEY was made");
    Ok(done(instance.name.as_str(), "made"))
}

async fn remove(
    visit: Visit,
    Path((name, variable)): Path<(String, String)>,
    _form: CheckedForm<NoFields>,
) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    let variable = variable.parse().map_err(|_| WebError::NotFound)?;
    if visit.site.store.remove_variable(instance.row, &variable).await? {
        tracing::info!(instance = %instance.name, by = %visit.user.username, %variable, "a variable was removed");
    }
    Ok(done(instance.name.as_str(), "removed"))
}
