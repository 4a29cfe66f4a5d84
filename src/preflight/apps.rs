//! The project's apps: how many migrations they commit, and which have models but none. For such an app `migrate`
//! alone succeeds and makes no tables: the machine has it make them from the models, once.

use super::{
    modules::{Chain, Modules},
    python::{self, Line, Token},
    snapshot::{file_name, join, parent},
};

/// How many apps are told by name.
const TOLD: usize = 5;

/// Migration files committed, over all apps: modules of a `migrations` package, as Django counts them.
pub(super) fn migrations(modules: Modules<'_>) -> u32 {
    let count = modules.own_files().filter(|path| is_migration(path)).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn is_migration(path: &str) -> bool {
    file_name(parent(path)) == "migrations" && !file_name(path).starts_with(['_', '~'])
}

/// What the owner should know of apps that are installed and have models, but no migrations.
pub(super) fn warning(modules: Modules<'_>, chain: &Chain) -> Option<String> {
    if chain.assigned("MIGRATION_MODULES").is_some() {
        return None;
    }
    let mut apps: Vec<_> = modules
        .own_files()
        .filter_map(app_of)
        .filter(|app| is_installed(modules, chain, app) && !has_migrations(modules, app))
        .filter(|app| has_models(modules, app))
        .filter_map(|app| modules.name_of(&join(app, "__init__.py")))
        .collect();
    apps.sort();
    apps.dedup();
    let labels: Vec<_> = apps.iter().map(|app| app.rsplit('.').next().unwrap_or(app)).take(TOLD).collect();
    let commands = labels.join(" ");
    match labels[..] {
        [] => None,
        [one] => Some(format!(
            "The app {one} has models but no committed migrations: its tables are made as the models are now, and later changes to them will not apply. Run manage.py makemigrations {one} and commit the result."
        )),
        _ => Some(format!(
            "The apps {} have models but no committed migrations: their tables are made as the models are now, and later changes to them will not apply. Run manage.py makemigrations {commands} and commit the result.",
            labels.join(", ")
        )),
    }
}

/// The app's directory that a models file belongs to.
fn app_of(path: &str) -> Option<&str> {
    match file_name(path) {
        "models.py" => Some(parent(path)),
        _ if file_name(parent(path)) == "models" => Some(parent(parent(path))),
        _ => None,
    }
}

/// Whether `INSTALLED_APPS`, or any text of the settings, names the app or its configuration.
fn is_installed(modules: Modules<'_>, chain: &Chain, app: &str) -> bool {
    let Some(name) = modules.name_of(&join(app, "__init__.py")) else { return false };
    let below = format!("{name}.apps.");
    chain.strings().any(|text| text == name || text.starts_with(&below))
}

/// Whether the app has a `migrations` package with a migration in it.
fn has_migrations(modules: Modules<'_>, app: &str) -> bool {
    let directory = join(app, "migrations");
    modules.snapshot.is_file(&join(&directory, "__init__.py"))
        && modules
            .snapshot
            .files_below(&directory)
            .any(|path| parent(path) == directory && is_migration(path))
}

fn has_models(modules: Modules<'_>, app: &str) -> bool {
    let directory = join(app, "models");
    let files = modules.snapshot.files_below(&directory).filter(|path| path.ends_with(".py"));
    let single = join(app, "models.py");
    files.chain([single.as_str()]).any(|path| {
        let lines = python::lines(modules.snapshot.source(path));
        (0..lines.len()).any(|at| is_model(&lines[at]) && !is_abstract(&lines, at))
    })
}

/// `class X(models.Model)`, or one with another of Django's bases that make a table.
fn is_model(line: &Line) -> bool {
    let [Token::Name(class), Token::Name(_), Token::Op('('), bases @ ..] = line.tokens.as_slice() else {
        return false;
    };
    class == "class"
        && bases.iter().filter_map(Token::name).any(|base| {
            matches!(base, "Model" | "AbstractUser" | "AbstractBaseUser" | "MPTTModel" | "TimeStampedModel")
        })
}

/// Whether the class at `at` says `abstract = True` of itself.
fn is_abstract(lines: &[Line], at: usize) -> bool {
    let body = lines[at + 1..].iter().take_while(|line| line.indent > lines[at].indent);
    body.filter_map(|line| python::assigned(line, "abstract"))
        .any(|value| value == [Token::Name("True".to_owned())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::snapshot::Snapshot;

    const MODEL: &str = "from django.db import models\nclass Post(models.Model):\n    pass\n";
    const ABSTRACT: &str = "class Base(models.Model):\n    class Meta:\n        abstract = True\n";

    fn look(settings: &str, files: &[(&str, &str)]) -> (u32, Option<String>) {
        let mut all = vec![("shop/config/settings.py", settings)];
        all.extend_from_slice(files);
        let snapshot = Snapshot::of(&all);
        let modules = Modules { snapshot: &snapshot, project: "shop" };
        (migrations(modules), warning(modules, &modules.chain("shop/config/settings.py")))
    }

    #[test]
    fn an_installed_app_with_models_needs_migrations() {
        let files = [
            ("shop/blog/models.py", MODEL),
            ("shop/old/models.py", MODEL),
            ("shop/base/models.py", ABSTRACT),
        ];
        let (count, warning) = look("INSTALLED_APPS = ['blog.apps.BlogConfig', 'base']", &files);
        assert_eq!(count, 0);
        assert!(warning.unwrap().starts_with("The app blog has models"));
        let (_, warning) = look("A = ['blog', 'old']", &files);
        assert!(warning.unwrap().contains("makemigrations blog old "));
    }

    #[test]
    fn migrations_are_counted_as_django_does() {
        let files = [
            ("shop/blog/models/post.py", MODEL),
            ("shop/blog/migrations/__init__.py", ""),
            ("shop/blog/migrations/0001_initial.py", ""),
            ("shop/blog/migrations/0002_more.py", ""),
        ];
        assert_eq!(look("A = ['blog']", &files), (2, None));
        // A directory that is no package is no migrations for Django.
        let files = [files[0], files[2]];
        assert!(look("A = ['blog']", &files).1.is_some());
    }
}
