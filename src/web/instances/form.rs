//! The form of an instance: its fields as they are typed, what is wrong with them, and how they are shown. A new
//! instance and an edit share it.

use std::collections::HashMap;

use serde::Deserialize;

use super::type_field::{self, TypeField};
use crate::{
    domain::{
        AdminName, Branch, Database, GitHosts, Instance, NameError, ProjectName, RepoUrl, ServerName, UserId,
    },
    preflight::{Field, Finding, Request},
    store::TypeWish,
    web::{
        Offer, Settings,
        format::{count, field_error},
    },
};

/// What is in the form, as it was typed.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Typed {
    pub github_url: String,
    pub project_name: String,
    pub name: String,
    pub branch: String,
    pub description: String,
    pub machine_type: String,
    pub database: String,
    pub first_admin: String,
    pub replace: String,
    /// The version of the instance that the form was filled in from.
    pub version: String,
    /// The fields of variables, whose names are not known before.
    #[serde(flatten)]
    pub variables: HashMap<String, String>,
}

/// Repository, project and branch: what preflight looks at.
#[derive(Clone, Debug)]
pub struct Source {
    pub repo: RepoUrl,
    pub project: ProjectName,
    pub branch: Option<Branch>,
}

impl Source {
    /// What preflight is asked, on behalf of a person.
    pub fn request(&self, by: UserId) -> Request {
        let Self { repo, project, branch } = self.clone();
        Request { owner: by, repo, project, branch }
    }
}

/// What is in the fields that preflight does not look at.
#[derive(Clone, Debug)]
pub struct Rest {
    pub name: Option<ServerName>,
    pub description: String,
    pub machine_type: TypeWish,
    pub database: Option<Database>,
    pub first_admin: Option<AdminName>,
}

/// A field's error, for the field and for the summary.
pub struct FieldError {
    /// The field's id on the page.
    pub id: &'static str,
    /// The field's label.
    pub label: &'static str,
    /// The error as HTML.
    pub html: String,
}

/// The errors of a form, in the order of its fields.
#[derive(Default)]
pub struct Errors(Vec<FieldError>);

pub const URL: (&str, &str) = ("github-url", "Repository URL");
pub const PROJECT: (&str, &str) = ("project-name", "Project name");
pub const NAME: (&str, &str) = ("name", "Name of the instance");
pub const BRANCH: (&str, &str) = ("branch", "Branch");
pub const DESCRIPTION: (&str, &str) = ("description", "Description");
pub const MACHINE_TYPE: (&str, &str) = ("machine-type", "Machine type");
const DATABASE: (&str, &str) = ("database", "Database");
pub const FIRST_ADMIN: (&str, &str) = ("first-admin", "First admin of the project");

/// The databases to choose from, each with its label.
const DATABASES: [(&str, &str); 4] =
    [("", "As the project says"), ("sqlite", "SQLite"), ("postgresql", "PostgreSQL"), ("mysql", "MySQL")];

fn database(typed: &str) -> Result<Option<Database>, NameError> {
    match typed {
        "" => Ok(None),
        name => name.parse().map(Some).map_err(|_| NameError::new("Choose one of these.")),
    }
}

impl Errors {
    pub fn add(&mut self, (id, label): (&'static str, &'static str), error: &NameError) {
        self.0.push(FieldError { id, label, html: field_error(error, id) });
    }

    /// Adds what preflight found.
    pub fn add_findings(&mut self, findings: &[Finding]) {
        for finding in findings {
            let field = match finding.field {
                Field::Repo => URL,
                Field::Project => PROJECT,
                Field::Branch => BRANCH,
            };
            self.add(field, &finding.error);
        }
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
    if text.contains(|c: char| c.is_control() || turns_around(c)) {
        return Err(NameError::new("One line of text, without control characters."));
    }
    Ok(text.to_owned())
}

/// Whether a character changes the direction of the text behind it, on pages that show more than this text.
fn turns_around(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A field that may be left empty.
fn optional<T: std::str::FromStr<Err = NameError>>(typed: &str) -> Result<Option<T>, NameError> {
    match typed.trim() {
        "" => Ok(None),
        text => text.parse().map(Some),
    }
}

impl Typed {
    /// The form of an instance as it is.
    pub fn of(instance: &Instance) -> Self {
        Self {
            github_url: instance.repo.to_string(),
            project_name: instance.project.to_string(),
            name: instance.name.to_string(),
            branch: instance.branch.as_ref().map(ToString::to_string).unwrap_or_default(),
            description: instance.description.clone(),
            database: instance.database.map_or("", Database::name).to_owned(),
            version: instance.version(),
            ..Self::default()
        }
    }

    /// Fills in what a pasted `…/tree/<branch>/<directory>` says, where nothing else was typed.
    pub fn unfold(&mut self, hosts: &GitHosts) {
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

    /// The same on a form that was filled in: what is still as the instance has it was not typed.
    pub fn unfold_over(&mut self, instance: &Instance, hosts: &GitHosts) {
        let own = Self::of(instance);
        if RepoUrl::parse_pasted(&self.github_url, hosts).is_ok_and(|pasted| pasted.tree.is_some()) {
            for (field, own) in [(&mut self.branch, own.branch), (&mut self.project_name, own.project_name)] {
                if *field == own {
                    field.clear();
                }
            }
        }
        self.unfold(hosts);
    }

    /// Each field as what it stands for. Where repository, project and branch are right the first
    /// value is there, so that preflight can look though another field is wrong.
    pub fn parse(
        &self,
        hosts: &GitHosts,
        offer: Option<&Offer>,
        errors: &mut Errors,
    ) -> (Option<Source>, Option<Rest>) {
        let repo = errors.keep(URL, RepoUrl::parse_pasted(&self.github_url, hosts));
        let project = errors.keep(PROJECT, self.project_name.trim().trim_end_matches('/').parse());
        let name = errors.keep(NAME, optional(&self.name));
        let branch = errors.keep(BRANCH, optional(&self.branch));
        let description = errors.keep(DESCRIPTION, description(&self.description));
        let machine_type = errors.keep(MACHINE_TYPE, type_field::parse(&self.machine_type, offer));
        let database = errors.keep(DATABASE, database(&self.database));
        let first_admin = errors.keep(FIRST_ADMIN, optional(&self.first_admin));
        let source = repo.zip(project).zip(branch);
        let source = source.map(|((repo, project), branch)| Source { repo: repo.url, project, branch });
        let rest = name.zip(description).zip(machine_type).zip(database).zip(first_admin);
        let rest = rest.map(|((((name, description), machine_type), database), first_admin)| Rest {
            name,
            description,
            machine_type,
            database,
            first_admin,
        });
        (source, rest)
    }
}

/// The fields with their errors, as both forms show them.
pub struct FormView {
    pub typed: Typed,
    errors: Errors,
    /// The hosts whose repositories can be deployed, in words.
    pub hosts: String,
    /// The field of the type of machine, in a cloud that has a choice of them.
    pub types: Option<TypeField>,
    /// The repository that would be replaced.
    pub replaces: Option<String>,
    /// Whether it is of an instance that is there already, whose name stays.
    pub of_instance: bool,
    /// Whether variables are asked for, before the fields.
    pub asks_first: bool,
}

impl FormView {
    /// The form of a new instance, or of `instance`, which is there already; `replaces` is the repository that would be.
    pub fn new(
        typed: Typed,
        mut errors: Errors,
        replaces: Option<&RepoUrl>,
        settings: &Settings,
        instance: Option<&Instance>,
    ) -> Self {
        let order =
            [URL.0, PROJECT.0, NAME.0, BRANCH.0, DESCRIPTION.0, MACHINE_TYPE.0, DATABASE.0, FIRST_ADMIN.0];
        errors.0.sort_by_key(|error| order.iter().position(|id| *id == error.id));
        errors.0.dedup_by_key(|error| error.id);
        let types = settings.offer.as_ref().map(|offer| TypeField::of(offer, &typed.machine_type, instance));
        let (hosts, replaces) = (settings.git_hosts().in_words(), replaces.map(ToString::to_string));
        Self { typed, errors, hosts, types, replaces, of_instance: instance.is_some(), asks_first: false }
    }

    /// The page's title: what it is for, and before that how many fields need a change.
    pub fn page_title(&self, purpose: &str) -> String {
        if self.errors.0.is_empty() { purpose.to_owned() } else { format!("{}: {purpose}", self.title()) }
    }

    /// The error of a field, as HTML.
    pub fn error(&self, id: &str) -> Option<&str> {
        self.errors.0.iter().find(|error| error.id == id).map(|error| error.html.as_str())
    }

    /// The errors, in the order of the fields.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors.0
    }

    /// The summary's title.
    pub fn title(&self) -> String {
        match self.errors.0.len() {
            1 => "One field needs a change".to_owned(),
            2 => "Two fields need a change".to_owned(),
            n => format!("{} need a change", count(n as u64, "field")),
        }
    }

    /// Whether the folded fields have something to show.
    pub fn open(&self) -> bool {
        if self.of_instance {
            return true;
        }
        let folded = [NAME.0, BRANCH.0, DESCRIPTION.0, MACHINE_TYPE.0, DATABASE.0, FIRST_ADMIN.0];
        let Typed { name, branch, description, database, first_admin, .. } = &self.typed;
        let typed = [name, branch, description, database, first_admin];
        typed.iter().any(|typed| !typed.is_empty())
            || self.types.as_ref().is_some_and(|types| types.is_other)
            || folded.iter().any(|id| self.error(id).is_some())
    }

    /// The databases to choose from, each with its label.
    pub fn databases(&self) -> &'static [(&'static str, &'static str)] {
        &DATABASES
    }

    /// The field to begin with: the first that is wrong, else the first.
    pub fn begins_with(&self, id: &str) -> bool {
        let elsewhere = self.errors.0.is_empty() && self.asks_first;
        self.replaces.is_none() && !elsewhere && self.errors.0.first().map_or(URL.0, |error| error.id) == id
    }
}
