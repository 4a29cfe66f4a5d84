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

use super::find;
use crate::{
    domain::{Branch, GitHosts, NameError, ProjectName, RepoUrl, ServerName, Timestamp},
    preflight::{Field, Finding, Request},
    store::{Submission, SubmitError, Submitted},
    web::{
        Site,
        auth::{CheckedForm, Visit},
        error::{Problem, WebError},
        format::{count, field_error},
        page::{Shell, page},
        readiness::{ReadinessNotice, SampleWay},
    },
};

pub fn router() -> Router<Site> {
    Router::new().route("/instances/new", get(show).post(create))
}

/// What is in the form, as it was typed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Typed {
    pub github_url: String,
    pub project_name: String,
    pub name: String,
    pub branch: String,
    pub description: String,
    pub replace: String,
}

/// Repository, project and branch: what preflight looks at.
type Source = (RepoUrl, ProjectName, Option<Branch>);
/// The instance's name and description.
type Rest = (Option<ServerName>, String);

/// What the form asks for, once each field is right.
struct Wish {
    repo: RepoUrl,
    project: ProjectName,
    branch: Option<Branch>,
    name: Option<ServerName>,
    description: String,
}

/// A field's error, for the field and for the summary.
pub struct FieldError {
    /// The field's id on the page.
    id: &'static str,
    /// The field's label.
    label: &'static str,
    /// The error as HTML.
    html: String,
}

/// The errors of a form, in the order of its fields.
#[derive(Default)]
struct Errors(Vec<FieldError>);

const URL: (&str, &str) = ("github-url", "Repository URL");
const PROJECT: (&str, &str) = ("project-name", "Project name");
const NAME: (&str, &str) = ("name", "Name of the instance");
const BRANCH: (&str, &str) = ("branch", "Branch");
const DESCRIPTION: (&str, &str) = ("description", "Description");

impl Errors {
    fn add(&mut self, (id, label): (&'static str, &'static str), error: &NameError) {
        self.0.push(FieldError { id, label, html: field_error(error, id) });
    }

    /// Keeps what is right; the error of what is not is added.
    fn keep<T>(&mut self, field: (&'static str, &'static str), parsed: Result<T, NameError>) -> Option<T> {
        parsed.map_err(|error| self.add(field, &error)).ok()
    }
}

/// Most characters of a description.
const DESCRIPTION_MAX: usize = 200;

fn description(typed: &str) -> Result<String, NameError> {
    let text = typed.trim();
    if text.chars().count() > DESCRIPTION_MAX {
        return Err(NameError::new(format!("At most {DESCRIPTION_MAX} characters.")));
    }
    if text.contains(char::is_control) {
        return Err(NameError::new("One line of text, without control characters."));
    }
    Ok(text.to_owned())
}

/// A field that may be left empty.
fn optional<T: std::str::FromStr<Err = NameError>>(typed: &str) -> Result<Option<T>, NameError> {
    match typed.trim() {
        "" => Ok(None),
        text => text.parse().map(Some),
    }
}

impl Typed {
    /// Fills in what a pasted `…/tree/<branch>/<directory>` says, where nothing else was typed.
    fn unfold(&mut self, hosts: &GitHosts) {
        let Ok(pasted) = RepoUrl::parse_pasted(&self.github_url, hosts) else { return };
        if pasted.tree.is_none() {
            return;
        }
        let (branch, directory) = pasted.branch_and_directory();
        if let (true, Some(branch)) = (self.branch.trim().is_empty(), branch) {
            self.branch = branch.to_string();
        }
        if let (true, Some(directory)) = (self.project_name.trim().is_empty(), directory) {
            self.project_name = directory.to_string();
        }
        self.github_url = pasted.url.to_string();
    }

    /// Each field as what it stands for. Where repository, project and branch are right the first
    /// value is there, so that preflight can look though another field is wrong.
    fn parse(&self, hosts: &GitHosts, errors: &mut Errors) -> (Option<Source>, Option<Rest>) {
        let repo = errors.keep(URL, RepoUrl::parse_pasted(&self.github_url, hosts));
        let project = errors.keep(PROJECT, self.project_name.trim().trim_end_matches('/').parse());
        let name = errors.keep(NAME, optional(&self.name));
        let branch = errors.keep(BRANCH, optional(&self.branch));
        let description = errors.keep(DESCRIPTION, description(&self.description));
        let source =
            repo.zip(project).zip(branch).map(|((repo, project), branch)| (repo.url, project, branch));
        (source, name.zip(description))
    }
}

#[derive(Deserialize)]
struct Fill {
    sample: Option<String>,
    again: Option<String>,
}

#[derive(Template)]
#[template(path = "new.html")]
struct NewPage {
    shell: Shell,
    form: FormView,
    hosts: String,
    /// The repository that would be replaced.
    replaces: Option<String>,
    readiness: Option<ReadinessNotice>,
    sample: SampleWay,
}

/// The form with its errors; also the whole content of an empty list.
pub struct FormView {
    typed: Typed,
    errors: Errors,
}

impl FormView {
    fn error(&self, id: &str) -> Option<&str> {
        self.errors.0.iter().find(|error| error.id == id).map(|error| error.html.as_str())
    }

    fn errors(&self) -> &[FieldError] {
        &self.errors.0
    }

    /// The summary's title.
    fn title(&self) -> String {
        match self.errors.0.len() {
            1 => "One field needs a change".to_owned(),
            2 => "Two fields need a change".to_owned(),
            n => format!("{} need a change", count(n as u64, "field")),
        }
    }

    /// Whether the folded fields have something to show.
    fn open(&self) -> bool {
        let folded = [NAME.0, BRANCH.0, DESCRIPTION.0];
        let typed = [&self.typed.name, &self.typed.branch, &self.typed.description];
        typed.iter().any(|typed| !typed.is_empty()) || folded.iter().any(|id| self.error(id).is_some())
    }

    /// The field to begin with: the first that is wrong, else the first.
    fn begins_with(&self, id: &str) -> bool {
        self.errors.0.first().map_or(URL.0, |error| error.id) == id
    }
}

async fn show(visit: Visit, Query(fill): Query<Fill>) -> Result<Response, WebError> {
    let mut typed = Typed::default();
    if fill.sample.as_deref() == Some("guestbook") {
        typed.github_url = format!("{}/samples/guestbook.git", visit.site.settings.callback_url);
        "guestbook".clone_into(&mut typed.project_name);
    } else if let Some(name) = fill.again {
        let instance = find(&visit, &name).await?.instance;
        typed = Typed {
            github_url: instance.repo.to_string(),
            project_name: instance.project.to_string(),
            name: instance.name.to_string(),
            branch: instance.branch.map(|branch| branch.to_string()).unwrap_or_default(),
            description: instance.description,
            replace: String::new(),
        };
    }
    form(&visit, StatusCode::OK, typed, Errors::default(), None).await
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
    let (source, rest) = typed.parse(&hosts, &mut errors);
    let Some((repo, project, branch)) = source else {
        return form(&visit, StatusCode::UNPROCESSABLE_ENTITY, typed, errors, None).await;
    };
    let wish = rest.map(|(name, description)| Wish {
        repo: repo.clone(),
        project: project.clone(),
        branch: branch.clone(),
        name,
        description,
    });
    let request = Request { owner: visit.user.id, repo, project, branch };
    let replace = typed.replace == "yes";
    // On its own, so that what was sent is done though the browser went away meanwhile.
    let answer =
        tokio::spawn(look_and_submit(site, request, wish, replace, received_at).in_current_span()).await??;
    let replaces = match answer {
        Answer::Done(submitted) => {
            return Ok(Redirect::to(&format!("/instances/{}", submitted.name)).into_response());
        }
        Answer::Findings(findings) => {
            for finding in findings {
                let field = match finding.field {
                    Field::Repo => URL,
                    Field::Project => PROJECT,
                    Field::Branch => BRANCH,
                };
                errors.add(field, &finding.error);
            }
            None
        }
        Answer::Incomplete => None,
        Answer::Refused(SubmitError::NameTaken) => {
            let error = NameError::new("Another instance of this site has this name. Choose another");
            errors.add(NAME, &suggest_other(error, &typed));
            None
        }
        Answer::Refused(SubmitError::Terminating | SubmitError::Changed) => {
            let error = "This instance is being terminated. Wait until it is gone, or choose another name.";
            errors.add(NAME, &NameError::new(error));
            None
        }
        Answer::Refused(SubmitError::NeedsReplace { repo }) => Some(repo.to_string()),
        Answer::Refused(SubmitError::Store(error)) => return Err(error.into()),
    };
    form(&visit, StatusCode::UNPROCESSABLE_ENTITY, typed, errors, replaces).await
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

async fn look_and_submit(
    site: Site,
    request: Request,
    wish: Option<Wish>,
    replace: bool,
    received_at: Timestamp,
) -> Result<Answer, WebError> {
    let plan = match site.looker.plan(&request).await {
        Ok(plan) => plan,
        Err(findings) => return Ok(Answer::Findings(findings)),
    };
    let Some(wish) = wish else { return Ok(Answer::Incomplete) };
    let submission = Submission {
        owner: request.owner,
        name: wish.name,
        repo: wish.repo,
        project: wish.project,
        branch: wish.branch,
        description: wish.description,
        plan,
        replace,
        received_at,
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
    mut errors: Errors,
    replaces: Option<String>,
) -> Result<Response, WebError> {
    let order = [URL.0, PROJECT.0, NAME.0, BRANCH.0, DESCRIPTION.0];
    errors.0.sort_by_key(|error| order.iter().position(|id| *id == error.id));
    errors.0.dedup_by_key(|error| error.id);
    let form = FormView { typed, errors };
    let title = if form.errors().is_empty() {
        "New instance".to_owned()
    } else {
        format!("{}: New instance", form.title())
    };
    let description = "A repository's URL and the project's name: that is all it takes.";
    let shell = Shell::new(visit, title, description).await?;
    let hosts = visit.site.settings.git_hosts.in_words();
    let (readiness, sample) = (ReadinessNotice::of(&visit.site), SampleWay::of(&visit.site));
    page(status, &NewPage { shell, form, hosts, replaces, readiness, sample })
}

/// A problem of a form that has no field for it.
pub fn terminating() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "It is being terminated",
        "Nothing can be deployed on an instance that is on its way out. Wait until it is gone, then deploy it again.",
    )
}
