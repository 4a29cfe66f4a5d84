//! From what was read to the plan.

use super::{
    Field, Finding, Request, apps, database, dependencies, imports, layout, modules::Modules, settings,
    snapshot::Snapshot, variables, wish,
};
use crate::domain::{Branch, Plan};

/// How the commit is to be deployed, or what to fix.
pub(super) fn make(snapshot: &Snapshot, request: &Request, branch: Branch) -> Result<Plan, Vec<Finding>> {
    let of_project = |error| vec![Finding { field: Field::Project, error }];
    layout::check(snapshot, &request.project).map_err(of_project)?;
    let modules = Modules { snapshot, project: request.project.as_str() };
    let found = settings::find(modules).map_err(of_project)?;
    let imports = imports::read(modules, &found.chain);
    let declared = dependencies::find(modules, &found.chain, &imports);
    let database = database::find(&found.chain, &declared.names);
    let (python, of_python) = wish::find(modules, &declared.django);
    let mut warnings = found.warnings;
    warnings.extend(declared.warnings);
    warnings.extend(of_python);
    warnings.extend(database.warning);
    warnings.extend(apps::warning(modules, &found.chain));
    Ok(Plan {
        commit: snapshot.commit.clone(),
        subject: snapshot.subject.clone(),
        committed: snapshot.committed,
        branch,
        project: request.project.clone(),
        settings: found.module,
        settings_from: found.from,
        wsgi: found.wsgi,
        python,
        dependencies: declared.dependencies,
        // A file that names Django without a version leaves it to the installer.
        django: Some(declared.django).filter(|version| !version.is_empty()),
        database: database.database,
        chosen_database: None,
        variables: variables::demanded(modules, &found.chain, &imports.loaded),
        migrations: apps::migrations(modules),
        warnings,
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::domain::{RepoUrl, UserId};

    fn request() -> Request {
        let repo = RepoUrl::from_stored("https://github.com/you/shop").unwrap();
        Request { owner: UserId(1), repo, project: "shop".parse().unwrap(), branch: None }
    }

    fn made(files: &[(&str, &str)]) -> Result<Plan, Vec<Finding>> {
        make(&Snapshot::of(files), &request(), "main".parse().unwrap())
    }

    const MANAGE: &str = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'config.settings')\n";

    #[test]
    fn a_manage_py_that_is_no_python_is_told() {
        for text in ["\u{1b}[2J", "<html>", "{{{{{{", "'''"] {
            let findings = made(&[("shop/manage.py", text)]).unwrap_err();
            assert_eq!(findings.len(), 1);
            assert!(
                findings[0].error.message.starts_with("The settings module is not named"),
                "{findings:?}"
            );
        }
    }

    #[test]
    fn names_of_the_repository_reach_the_plan_on_one_line() {
        let files = [
            ("shop/manage.py", MANAGE),
            (
                "shop/config/settings.py",
                "ROOT_URLCONF = 'x'\nINSTALLED_APPS = ['a\\nb', 'c;reboot', '--index-url']\nX = os.environ['A\\nB']",
            ),
            ("requirements\n/prod.txt", "numpy"),
            ("Pipfile", "[packages]\n\"a\\n-e .\" = '*'\ndjango = \"==4.2\\n-e .\"\nok = '*'"),
        ];
        let plan = made(&files).unwrap();
        let list = plan.list().unwrap();
        assert_eq!(list, ["ok"]);
        assert!(plan.variables.is_empty());
        assert!(plan.warnings.iter().all(|warning| !warning.contains('\n')), "{:?}", plan.warnings);
    }

    /// Files nearly as big as the limit allows, each made to be slow for one of the readers.
    #[test]
    fn hostile_settings_are_read_in_bounded_time() {
        const SIZE: usize = 100_000;
        let nested =
            |open: &str| -> String { (0..600).map(|n| format!("{}{open}\n", " ".repeat(n))).collect() };
        let settings = [
            "(".repeat(SIZE),
            format!("X = {}", "'a'+".repeat(SIZE / 4)),
            format!("if {}:\n  X = 1", "x == y and ".repeat(SIZE / 11)),
            format!("if {}x:\n  X = 1", "not ".repeat(SIZE / 4)),
            format!("X = {}", "env(".repeat(SIZE / 4)),
            format!("X = {}", "os.environ.get(".repeat(SIZE / 15)),
            format!("X = f'{}'", "{".repeat(SIZE)),
            format!("X = f\"{}\"", "{os.environ['A']}".repeat(SIZE / 17)),
            format!("X = [{}]", "'a.b.c.d',".repeat(SIZE / 10)),
            format!("X = [{}]", "{'default':".repeat(SIZE / 11)),
            format!("X = [{}]", "'ENGINE': x,".repeat(SIZE / 12)),
            "from a import *\n".repeat(SIZE / 16),
            "import a.b.c\n".repeat(SIZE / 13),
            "A = 'x'\n".repeat(SIZE / 8),
            nested("try:"),
            nested("if x:"),
            format!("X = [{}]\n", "os.environ['A'],".repeat(2800)).repeat(5),
            format!("X = [{}]\n", "{'ENGINE':a".repeat(4900)).repeat(4),
            format!("X = [{}]\n", "{'ENGINE':".repeat(6600)).repeat(3),
        ];
        for text in settings {
            let text = format!("ROOT_URLCONF = 'x'\n{text}");
            let begin = Instant::now();
            let plan = made(&[("shop/manage.py", MANAGE), ("shop/config/settings.py", &text)]);
            assert!(plan.is_ok(), "{plan:?}");
            let head: String = text.chars().skip(19).take(40).collect();
            assert!(begin.elapsed() < Duration::from_secs(10), "{head}: {:?}", begin.elapsed());
        }
    }
}
