use rstest::rstest;

use super::*;
use crate::domain::{Database, Encoding};

fn plan(dependencies: Dependencies) -> Plan {
    Plan {
        commit: "3f1c9ab3f1c9ab3f1c9ab3f1c9ab3f1c9ab3f1c9".parse().unwrap(),
        subject: String::new(),
        committed: None,
        branch: "main".parse().unwrap(),
        project: "shop".parse().unwrap(),
        settings: "config.settings".into(),
        settings_from: "manage.py".into(),
        wsgi: Some("config.wsgi".into()),
        python: None,
        dependencies,
        django: None,
        database: Database::Sqlite,
        chosen_database: None,
        variables: Vec::new(),
        migrations: 0,
        warnings: Vec::new(),
    }
}

fn requirements() -> Dependencies {
    Dependencies::Requirements {
        path: "requirements/prod.txt".into(),
        packages: 3,
        encoding: Encoding::Utf8,
        names_django: true,
    }
}

fn told(step: Step, code: Option<i32>, plan: Option<&Plan>, repaired: &[String], text: &str) -> Option<Cure> {
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    find(&lines, &Context { step, code, plan, repaired, status: Status::Failed })
}

fn of(step: Step, text: &str) -> Cure {
    told(step, Some(1), Some(&plan(requirements())), &[], text).unwrap_or_else(|| panic!("unknown: {text}"))
}

/// Real messages: the step, a part of what is said, the lines.
fn messages() -> impl Iterator<Item = (Step, &'static str, &'static str)> {
    include_str!("messages.txt").split("\n== ").skip(1).map(|message| {
        let (head, lines) = message.split_once('\n').unwrap();
        let (step, said) = head.split_once(": ").unwrap();
        (step.parse().unwrap(), said, lines)
    })
}

#[test]
fn every_pattern_is_a_regular_expression_and_every_row_is_tested() {
    let patterns = rows().map(|(row, _)| row.patterns.len()).sum::<usize>();
    assert_eq!(KNOWN.each.len(), patterns);
    assert_eq!(KNOWN.all.len(), patterns);
    assert!(rows().count() >= 60, "{}", rows().count());
    let mut tested = Vec::new();
    for (step, _, text) in messages() {
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        for (_, line) in unwrapped(&lines) {
            tested.extend(KNOWN.pattern(&line, step).map(|pattern| pattern.row));
        }
    }
    let untested: Vec<_> = rows()
        .map(|(row, _)| row)
        .filter(|row| !tested.iter().any(|tested| std::ptr::eq(*tested, *row)))
        .map(|row| row.patterns)
        .collect();
    assert!(untested.is_empty(), "{untested:#?}");
}

#[test]
fn known_failures() {
    for (step, expected, text) in messages() {
        let cure = of(step, &format!("before\n{text}\nafter"));
        assert!(cure.cause.contains(expected), "{text}\n{}", cure.cause);
        assert!(!cure.help.is_empty() && !cure.help.contains("``"), "{cure:?}");
        assert_eq!(cure.help.matches('`').count() % 2, 0, "{cure:?}");
        assert_eq!(cure.cause.matches('`').count() % 2, 0, "{cure:?}");
    }
}

#[rstest]
#[case(&[], "")]
#[case(&["KeyError: 'name'", "something else"], "")]
#[case(&["No problem was found", "System check identified no issues (0 silenced)."], "")]
fn the_unknown_is_unknown(#[case] lines: &[&str], #[case] _none: &str) {
    assert_eq!(told(Step::Migrate, Some(1), None, &[], &lines.join("\n")), None);
}

#[rstest]
#[case("File not found: data/cities.csv")]
#[case("InvalidRequirement: 'x y'")]
#[case("two conflicting dependencies of the task")]
#[case("parser.c:1:10: fatal error: stdio.h: No such file or directory")]
fn a_project_that_speaks_as_an_installer_does_is_not_taken_for_one(#[case] line: &str) {
    for step in [Step::ConfigureGunicorn, Step::Migrate, Step::Start, Step::Health] {
        assert_eq!(told(step, Some(1), Some(&plan(requirements())), &[], line), None, "{step:?}");
    }
    assert_eq!(of(Step::Dependencies, line).line, Some(0));
}

#[test]
fn a_repository_of_a_package_is_not_taken_for_the_projects_own() {
    for line in ["fatal: couldn't find remote ref main", "remote: Repository not found."] {
        let (clone, install) = (of(Step::Clone, line), of(Step::Dependencies, line));
        assert_eq!((clone.page, install.page), (Some(Page::Edit), None));
        assert!(install.help.contains("`requirements/prod.txt`"), "{install:?}");
    }
}

#[test]
fn what_a_request_lacks_is_no_variable() {
    let line = "KeyError: 'HTTP_REFERER'";
    assert_eq!(of(Step::Health, line).page, Some(Page::Logs));
    assert_eq!(of(Step::Migrate, line).page, Some(Page::Environment));
    assert_eq!(of(Step::Health, "KeyError: 'SERVER_SECRET'").page, Some(Page::Environment));
}

#[test]
fn a_table_that_is_there_already_is_not_told_to_be_faked() {
    let help = of(Step::Migrate, "OperationalError: table \"blog_post\" already exists").help;
    assert!(help.contains("new database") && !help.contains("--fake"), "{help}");
}

#[test]
fn the_last_known_line_tells_among_equals() {
    let cure = of(Step::Migrate, "KeyError: 'A_B'\nModuleNotFoundError: No module named 'yaml'\nx");
    assert_eq!((cure.line, cure.help.contains("`PyYAML`")), (Some(1), true));
}

#[test]
fn a_more_particular_cause_above_wins_over_a_general_one() {
    let chain = "KeyError: 'DB_HOST'\n\nDuring handling of the above exception, another exception occurred:\n\n\
                 Traceback (most recent call last):\ndjango.core.exceptions.ImproperlyConfigured: see above\n\
                 [7] [ERROR] Reason: Worker failed to boot.\ngunicorn did not start. Its last lines:";
    let cure = of(Step::Start, chain);
    assert_eq!((cure.line, cure.page), (Some(0), Some(Page::Environment)), "{cure:?}");
    // What stands far above is of something else.
    let far = format!("KeyError: 'DB_HOST'\n{}ImproperlyConfigured: see above", "x\n".repeat(CHAIN + 5));
    assert_eq!(of(Step::Start, &far).line, Some(CHAIN + 6));
}

#[test]
fn a_cure_names_the_file_that_there_is() {
    let missing = "ModuleNotFoundError: No module named 'crispy_forms'";
    let help = |dependencies| told(Step::Migrate, None, Some(&plan(dependencies)), &[], missing).unwrap();
    assert!(help(requirements()).help.contains("to `requirements/prod.txt`"));
    let none = help(Dependencies::Inferred { list: vec!["Django".into()] });
    assert!(none.cause.contains("nothing in the repository declares"), "{none:?}");
    assert!(none.help.contains("a `requirements.txt` beside `manage.py`"), "{none:?}");
    let lock = Dependencies::Listed { path: "Pipfile.lock".into(), list: Vec::new(), names_django: true };
    assert!(help(lock).help.contains("`Pipfile` (then run `pipenv lock`)"));
    let uv = help(Dependencies::Uv { path: "uv.lock".into(), packages: 9 });
    assert!(uv.cause.contains("`uv.lock`") && uv.help.contains("`uv lock`"), "{uv:?}");
}

#[test]
fn what_was_tried_is_not_advised_as_if_it_were_new() {
    let repaired = ["psycopg2 2.7.5 does not build on Python 3.12; used psycopg2-binary 2.9".to_owned()];
    let cure = told(
        Step::Dependencies,
        Some(1),
        Some(&plan(requirements())),
        &repaired,
        "Error: pg_config executable not found.",
    );
    assert!(cure.unwrap().help.starts_with("this was tried already: psycopg2 2.7.5 does not build"));
}

#[test]
fn how_it_ended_tells_where_the_lines_do_not() {
    let by = |code, text| told(Step::Dependencies, Some(code), Some(&plan(requirements())), &[], text);
    assert!(by(137, "Building").unwrap().cause.contains("out of memory"));
    assert!(by(124, "Building").unwrap().cause.contains("longer than"));
    assert_eq!(by(1, "Building"), None);
    assert!(by(137, "No space left on device").unwrap().cause.contains("disk is full"));
    assert_eq!(by(124, "Building").unwrap().line, None);
}

#[test]
fn the_button_is_called_as_it_is() {
    let lines = ["ModuleNotFoundError: No module named 'yaml'".to_owned()];
    let plan = plan(requirements());
    let of = |status| {
        let context = Context { step: Step::Migrate, code: None, plan: Some(&plan), repaired: &[], status };
        find(&lines, &context).unwrap().help
    };
    assert!(of(Status::Failed).ends_with("push to `main`, then choose Try again."));
    assert!(of(Status::Live).ends_with("choose Redeploy."));
    assert!(of(Status::Terminated).ends_with("deploy again."));
}

#[test]
fn what_a_project_prints_cannot_end_the_code_it_is_shown_in() {
    let cure = of(Step::Migrate, "ImproperlyConfigured: `a` <b> `");
    assert_eq!(cure.cause, "The settings are not complete: `'a' <b> '`");
    let long = of(Step::Migrate, &format!("ImproperlyConfigured: {}", "ä".repeat(1000)));
    assert!(long.cause.len() < 500, "{}", long.cause);
}
