//! Parts of a detail page in people's words, most of them as HTML.

use super::{
    history::Row,
    log_html,
    view::{Kind, View},
};
use crate::{
    domain::{
        Answer, Database, Dependencies, Deployment, Encoding, Image, ImageState, Plan, Status, Timestamp,
    },
    web::format::{self, count, rich},
};

/// Seconds since a time as HTML, which a script counts on from.
pub fn elapsed(since: Timestamp) -> String {
    let seconds = Timestamp::now().seconds_since(since).max(0.0) as u64;
    format!(r#"<span class="num" data-elapsed="{seconds}">{seconds} s</span>"#)
}

/// How far a bake is, as HTML.
pub fn bake_in_words(bake: &Image) -> String {
    match (bake.state, bake.step, &bake.step_name) {
        (ImageState::Baking, Some((step, steps)), Some(name)) => {
            format!("It is being baked: step {step} of {steps}, {}", format::escape(name))
        }
        (ImageState::Baking, ..) => "It is being baked".to_owned(),
        _ => "The last bake failed; the launch waits until one succeeds".to_owned(),
    }
}

/// What the check saw: the path it asked first, if it begins with one, stands out.
pub fn saw_html(text: &str) -> String {
    match text.split_once(' ') {
        Some((path, rest)) if path.starts_with('/') => {
            format!("<strong>{}</strong> {}", format::escape(path), format::escape(rest))
        }
        _ => format::escape(text),
    }
}

/// A deployment's plan in a few words each, with what the deployment found and repaired, as HTML.
pub fn deployment_facts(deployment: &Deployment) -> Vec<(&'static str, String)> {
    let told = |title, texts: &[String]| -> Vec<_> {
        texts.iter().map(|text| (title, format::escape(&log_html::clean(text)))).collect()
    };
    let mut facts = plan_facts(&deployment.plan);
    facts.extend(told("Repaired", deployment.report.repaired()));
    facts.extend(told("Found", deployment.report.warnings()));
    facts
}

/// Names that a fact spells out.
const NAMED: usize = 8;

/// A plan in a few words each, as HTML.
pub fn plan_facts(plan: &Plan) -> Vec<(&'static str, String)> {
    let django = match &plan.django {
        Some(version) => rich(version),
        None => "the newest release".to_owned(),
    };
    let settings = format!(
        "<code>{}</code>, named by {}",
        format::escape(&plan.settings),
        format::escape(&plan.settings_from)
    );
    let wsgi = plan.wsgi.as_ref().map(|wsgi| format!("<code>{}</code>", format::escape(wsgi)));
    let migrations = match plan.migrations {
        0 => "none committed".to_owned(),
        n => format!("committed, {n}"),
    };
    let mut facts = vec![
        ("Django", django),
        ("Python", python(plan)),
        ("Settings", settings),
        ("WSGI", wsgi.unwrap_or_else(|| "Django's own".to_owned())),
        ("Dependencies", dependencies(plan)),
        ("Database", database(plan)),
        ("Environment", environment(plan)),
        ("Migrations", migrations),
    ];
    facts.extend(plan.warnings.iter().map(|warning| ("Note", rich(warning))));
    facts
}

fn python(plan: &Plan) -> String {
    let Some(wish) = &plan.python else { return "the golden image's".to_owned() };
    let versions: Vec<_> = wish.versions.iter().map(|version| format::escape(version)).collect();
    let versions = match versions.split_last() {
        Some((last, rest @ [_, ..])) => format!("{} or {last}", rest.join(", ")),
        _ => versions.concat(),
    };
    format!("{versions}, by {}", format::escape(&wish.from))
}

/// A file of the repository and where it is.
fn declaration(plan: &Plan, path: &str) -> String {
    let beside = path.strip_prefix(plan.project.as_str()).and_then(|rest| rest.strip_prefix('/'));
    let place = if beside.is_some() { "beside manage.py" } else { "at the root" };
    format!("<code>{}</code> {place}", format::escape(beside.unwrap_or(path)))
}

fn dependencies(plan: &Plan) -> String {
    let added = |names_django: bool| if names_django { "" } else { "; Django is added" };
    match &plan.dependencies {
        Dependencies::Requirements { path, packages, encoding, names_django } => {
            let encoding = match encoding {
                Encoding::Utf8 => String::new(),
                Encoding::Utf16 => format!(", {}", encoding.name()),
            };
            let packages = count(*packages, "package");
            format!("{}, {packages}{encoding}{}", declaration(plan, path), added(*names_django))
        }
        Dependencies::Uv { path, packages } => {
            format!("{}, {}", declaration(plan, path), count(*packages, "package"))
        }
        Dependencies::Listed { path, list, names_django } => {
            let packages = count(list.len() as u64, "package");
            format!("{}, {packages}{}", declaration(plan, path), added(*names_django))
        }
        Dependencies::Inferred { list } => {
            format!("none declared; read from the imports: {}", codes(list.iter().map(String::as_str)))
        }
        Dependencies::None => "none declared: Django alone".to_owned(),
    }
}

fn database(plan: &Plan) -> String {
    let words = |database: Database| match database {
        Database::Sqlite => "SQLite, kept between deployments",
        Database::Postgresql => "PostgreSQL, on the instance",
        Database::Mysql => "MySQL (MariaDB), on the instance",
        Database::Unknown => "as the settings compute it",
    };
    match plan.chosen_database {
        Some(chosen) if chosen != plan.database => format!("{}, as you chose", words(chosen)),
        _ => words(plan.database).to_owned(),
    }
}

fn environment(plan: &Plan) -> String {
    if plan.variables.is_empty() {
        return "no variable is demanded".to_owned();
    }
    let of = |fits: fn(&Answer) -> bool| {
        let names: Vec<_> = plan
            .variables
            .iter()
            .filter(|demanded| fits(&demanded.answer))
            .map(|demanded| demanded.name.as_str())
            .collect();
        let verb = if names.len() == 1 { "is" } else { "are" };
        (!names.is_empty()).then(|| format!("{} {verb}", codes(names.into_iter())))
    };
    let mut words = vec![count(plan.variables.len() as u64, "variable")];
    words.extend(of(|answer| *answer == Answer::Secret).map(|names| format!("{names} made for you")));
    words.extend(
        of(|answer| matches!(answer, Answer::Asked { .. })).map(|names| format!("{names} yours to give")),
    );
    words.join("; ")
}

/// Names as code, the first of them where they are many.
fn codes<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut codes: Vec<_> = names.map(|name| format!("<code>{}</code>", format::escape(name))).collect();
    let more = codes.len().saturating_sub(NAMED);
    codes.truncate(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", codes.join(", "))
}

/// Questions of the templates that are answered in a word.
impl View {
    pub fn rows(&self) -> Vec<Row> {
        self.history.iter().map(Row::of).collect()
    }

    /// How many deployments there are, where the page does not list all of them.
    pub fn more(&self) -> Option<i64> {
        let all = self.history.first().map_or(0, |newest| newest.number);
        (all > self.history.len() as i64).then_some(all)
    }

    pub fn is_working(&self) -> bool {
        self.kind == Kind::Working
    }

    pub fn is_live(&self) -> bool {
        self.kind == Kind::Live
    }

    pub fn is_resting(&self) -> bool {
        self.kind == Kind::Resting
    }

    pub fn has_steps(&self) -> bool {
        matches!(self.kind, Kind::Working | Kind::Failed)
    }

    /// Whether it was to be terminated and the reconciler has not begun.
    pub fn is_leaving(&self) -> bool {
        !self.is_wanted() && !matches!(self.instance.status, Status::Terminating | Status::Terminated)
    }

    /// What a page that moves shows besides the parts that are sent one by one.
    pub fn frame(&self) -> String {
        format!(
            "{:?}",
            (
                &self.instance.description,
                &self.instance.repo,
                self.can_terminate(),
                self.notice(),
                self.waiting().map(|waiting| waiting.id),
                self.history
                    .iter()
                    .map(|deployment| (deployment.id, deployment.begun_at, deployment.outcome))
                    .collect::<Vec<_>>(),
            )
        )
    }

    /// The notice, as HTML.
    pub fn notice(&self) -> Option<String> {
        // What is said of a failed redeployment is said by a card of its own.
        let shown = self.failed_since().is_none();
        self.instance.notice.as_deref().filter(|_| shown).map(rich)
    }

    /// A deployment that waits while the page is about another, or about none.
    pub fn waiting(&self) -> Option<&Deployment> {
        let on_page = self.kind == Kind::Working;
        self.queued()
            .filter(|queued| !(on_page && self.shown.as_ref().map(|shown| shown.id) == Some(queued.id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Demanded, PythonWish};

    fn plan() -> Plan {
        Plan {
            commit: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
            subject: String::new(),
            committed: None,
            branch: "main".parse().unwrap(),
            project: "shop".parse().unwrap(),
            settings: "config.settings".to_owned(),
            settings_from: "shop/manage.py".to_owned(),
            wsgi: None,
            python: None,
            dependencies: Dependencies::None,
            django: None,
            database: Database::Postgresql,
            chosen_database: None,
            variables: Vec::new(),
            migrations: 0,
            warnings: Vec::new(),
        }
    }

    fn fact(plan: &Plan, title: &str) -> String {
        plan_facts(plan).into_iter().find(|(of, _)| *of == title).unwrap().1
    }

    #[test]
    fn dependencies_are_told_by_where_they_come_from() {
        let told = |dependencies| fact(&Plan { dependencies, ..plan() }, "Dependencies");
        let list: Vec<_> = (0..10).map(|n| format!("p<{n}")).collect();
        let path = || "shop/requirements/prod.txt".to_owned();
        let requirements = Dependencies::Requirements {
            path: path(),
            packages: 1,
            encoding: Encoding::Utf16,
            names_django: false,
        };
        assert_eq!(
            told(requirements),
            "<code>requirements/prod.txt</code> beside manage.py, 1 package, UTF-16; Django is added"
        );
        let listed =
            Dependencies::Listed { path: "poetry.lock".to_owned(), list: list.clone(), names_django: true };
        assert_eq!(told(listed), "<code>poetry.lock</code> at the root, 10 packages");
        let inferred = told(Dependencies::Inferred { list });
        assert!(
            inferred.starts_with("none declared; read from the imports: <code>p&lt;0</code>, "),
            "{inferred}"
        );
        assert!(inferred.ends_with("<code>p&lt;7</code> and 2 more"), "{inferred}");
    }

    #[test]
    fn what_is_made_and_what_is_asked_for_is_told() {
        let demanded =
            |name: &str, answer| Demanded { name: name.to_owned(), file: String::new(), line: 1, answer };
        assert_eq!(fact(&plan(), "Environment"), "no variable is demanded");
        let variables = vec![
            demanded("SECRET_KEY", Answer::Secret),
            demanded("HOST", Answer::Address),
            demanded("A", Answer::Asked { offer: None, secret: true }),
            demanded("B", Answer::Asked { offer: None, secret: true }),
        ];
        assert_eq!(
            fact(&Plan { variables, ..plan() }, "Environment"),
            "4 variables; <code>SECRET_KEY</code> is made for you; <code>A</code>, <code>B</code> are yours to give"
        );
    }

    #[test]
    fn the_python_and_the_database_are_told() {
        let wish = |versions: &[&str]| PythonWish {
            versions: versions.iter().map(|version| (*version).to_owned()).collect(),
            from: "Django 2.2".to_owned(),
        };
        assert_eq!(fact(&plan(), "Python"), "the golden image's");
        let with = |versions| fact(&Plan { python: Some(wish(versions)), ..plan() }, "Python");
        assert_eq!(with(&["3.9"]), "3.9, by Django 2.2");
        assert_eq!(with(&["3.9", "3.8", "3.11"]), "3.9, 3.8 or 3.11, by Django 2.2");
        assert_eq!(fact(&plan(), "Database"), "PostgreSQL, on the instance");
        let chosen = Plan { chosen_database: Some(Database::Sqlite), ..plan() };
        assert_eq!(fact(&chosen, "Database"), "SQLite, kept between deployments, as you chose");
    }
}
