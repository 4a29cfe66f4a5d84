//! Failures that we know by what their last lines say: the cause in people's words, and what
//! usually helps. Text between backticks is shown as code.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::domain::{Dependencies, Plan, Step, distribution};

/// What is known of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cure {
    /// The cause in one sentence.
    pub cause: String,
    /// What usually helps.
    pub help: String,
    /// The line that told.
    pub line: usize,
}

/// What a cure may speak of.
struct Context<'a> {
    step: Step,
    plan: Option<&'a Plan>,
}

impl Context<'_> {
    /// The requirements file, as code.
    fn requirements(&self) -> String {
        match self.plan.map(|plan| &plan.dependencies) {
            Some(Dependencies::Requirements { path, .. }) => code(path),
            _ => "`requirements.txt`".to_owned(),
        }
    }

    /// The last words of most cures.
    fn push(&self) -> String {
        match self.plan {
            Some(plan) => format!("push to {}, then choose Try again.", code(plan.branch.as_str())),
            None => "push it, then choose Try again.".to_owned(),
        }
    }
}

/// A value as code; its own backticks would end it.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'"))
}

type Words = fn(&Captures<'_>, &Context<'_>) -> (String, String);

/// Each failure's pattern and words, the more particular before the more general.
static KNOWN: LazyLock<Vec<(Regex, Words)>> = LazyLock::new(|| {
    let known: [(&str, Words); 17] = [
        (r"ModuleNotFoundError: No module named '([\w.]+)'", missing_module),
        (r#"^(?:E: |.*)\bImportError: cannot import name '?([\w.]+)'? from '([\w.]+)'"#, missing_name),
        (r"no such table: (\S+)|relation \x22(\S+)\x22 does not exist", missing_table),
        (r"no such column: (\S+)", missing_column),
        (r"DisallowedHost|Invalid HTTP_HOST header", |_, context| {
            (
                "The project refuses requests for its own address.".to_owned(),
                format!(
                    "let `ALLOWED_HOSTS` alone, or take it from the environment; what the site adds is undone later in the settings. Change that, {}",
                    context.push()
                ),
            )
        }),
        (
            r"(?:No matching distribution found for|Could not find a version that satisfies the requirement) (\S+)",
            missing_package,
        ),
        (
            r"Because (?:there is|there are) no versions? of ([\w.\[\]-]+)|Because ([\w.\[\]-]+) was not found in the package registry",
            missing_package,
        ),
        (
            r"No solution found when resolving dependencies|ResolutionImpossible|conflicting dependencies",
            |_, context| {
                (
                    format!("The versions in {} cannot be installed together.", context.requirements()),
                    format!("loosen the version that the lines below name, {}", context.push()),
                )
            },
        ),
        (
            r"pg_config executable not found|Failed (?:to build|building wheel for) [`']?psycopg2\b",
            |_, context| {
                (
                    "`psycopg2` could not be built.".to_owned(),
                    format!(
                        "write `psycopg2-binary` instead of `psycopg2` in {}, {}",
                        context.requirements(),
                        context.push()
                    ),
                )
            },
        ),
        (
            r"Can not find valid pkg-config name|mysql_config: not found|Failed (?:to build|building wheel for) [`']?mysqlclient\b",
            |_, context| {
                (
                    "`mysqlclient` could not be built.".to_owned(),
                    format!(
                        "write `pymysql` instead of `mysqlclient` in {}, call `pymysql.install_as_MySQLdb()` in the settings, {}",
                        context.requirements(),
                        context.push()
                    ),
                )
            },
        ),
        (r"Failed (?:to build|building wheel for) [`']?([\w.-]+)", |found, context| {
            (
                format!("{} could not be built.", code(&found[1])),
                format!(
                    "name a newer version of it in {}: old ones have nothing ready-made for this Python. Then {}",
                    context.requirements(),
                    context.push()
                ),
            )
        }),
        (r"ImproperlyConfigured: (.+)", |found, context| {
            (
                format!("The settings are not complete: {}", code(found[1].trim())),
                format!("give the setting a default in the settings file, {}", context.push()),
            )
        }),
        (
            r"decouple\.UndefinedValueError: (\w+) not found|^KeyError: '([A-Z][A-Z0-9_]*)'",
            |found, context| {
                let name = found.get(1).or(found.get(2)).map_or("", |name| name.as_str());
                (
                    format!("The settings ask for the variable {}, which is not set.", code(name)),
                    format!(
                        "give it a default, as in `os.environ.get(\x22{}\x22, \x22\x22)`, {}",
                        name,
                        context.push()
                    ),
                )
            },
        ),
        (
            r"Missing staticfiles manifest entry for '([^']+)'|MissingFileError: The file '([^']+)' could not be found|The file '([^']+)' could not be found with",
            |found, context| {
                let file = found.iter().skip(1).flatten().next().map_or("", |file| file.as_str());
                (
                    format!("The static file {} is used and does not exist.", code(file)),
                    format!("commit the file, or take out what refers to it, {}", context.push()),
                )
            },
        ),
        (
            r"(?i)could not connect to server|connection refused.*(?:5432|3306)|(?:5432|3306).*connection refused|Can't connect to (?:local )?(?:MySQL )?server",
            |_, context| {
                (
                    "The project's database does not answer.".to_owned(),
                    format!(
                        "there is no database server on the instance: let the settings fall back to SQLite, or name one that can be reached. Then {}",
                        context.push()
                    ),
                )
            },
        ),
        (r"No space left on device|Errno 28", |_, _| {
            ("The machine's disk is full.".to_owned(),
             "terminate the instance and deploy it again; if the project installs very large packages, choose smaller ones.".to_owned())
        }),
        (
            r"Temporary failure in name resolution|Could not resolve host|Network is unreachable|dns error|Connection timed out|error sending request",
            |_, _| {
                ("The machine could not reach the network.".to_owned(),
             "wait a minute, then choose Try again. If it stays, an admin of this site should look at the network of its machines.".to_owned())
            },
        ),
    ];
    let mut known: Vec<_> = known
        .into_iter()
        // Every pattern is compiled in a test; one that is wrong is left out rather than taking the page down.
        .filter_map(|(pattern, words)| Regex::new(pattern).ok().map(|pattern| (pattern, words)))
        .collect();
    if let Ok(pattern) = Regex::new(r"^(?:\w+\.)*(SyntaxError|IndentationError|TabError): (.+)") {
        known.push((pattern, syntax_error));
    }
    known
});

/// What is known of a failure of `step` that printed `lines` last. The last line that is known tells.
pub fn find(step: Step, lines: &[String], plan: Option<&Plan>) -> Option<Cure> {
    let context = Context { step, plan };
    lines.iter().enumerate().rev().find_map(|(line, text)| {
        let (words, found) =
            KNOWN.iter().find_map(|(pattern, words)| Some((words, pattern.captures(text)?)))?;
        let (cause, help) = words(&found, &context);
        Some(Cure { cause, help, line })
    })
}

fn missing_module(found: &Captures<'_>, context: &Context<'_>) -> (String, String) {
    let module = found[1].split('.').next().unwrap_or(&found[1]);
    let of_project = context.plan.is_some_and(|plan| {
        let own = |dotted: &str| dotted.split('.').next() == Some(module);
        plan.project.as_str() == module || own(&plan.settings)
    });
    if of_project {
        return (
            format!("The project imports its own module {}, which is not where it looks.", code(&found[1])),
            format!(
                "see whether it is committed and spelt as on Linux, where capitals count, {}",
                context.push()
            ),
        );
    }
    let package = distribution::of_import(module);
    let names = if context.plan.is_some_and(|plan| plan.requirements().is_none()) {
        (
            "which nothing in the repository declares.".to_owned(),
            "a `requirements.txt` beside `manage.py`".to_owned(),
        )
    } else {
        (format!("which its {} does not name.", context.requirements()), context.requirements())
    };
    (
        format!("The project imports {}, {}", code(module), names.0),
        format!("add {} to {}, {}", code(&package), names.1, context.push()),
    )
}

fn missing_name(found: &Captures<'_>, context: &Context<'_>) -> (String, String) {
    (
        format!("The project imports {} from {}, which does not have it.", code(&found[1]), code(&found[2])),
        format!(
            "name the version that the project was written for in {}, {}",
            context.requirements(),
            context.push()
        ),
    )
}

fn missing_table(found: &Captures<'_>, context: &Context<'_>) -> (String, String) {
    let table = found.get(1).or(found.get(2)).map_or("", |table| table.as_str());
    let cause = format!("The database has no table {}.", code(table));
    let help = if context.step == Step::Migrate || context.step == Step::Collectstatic {
        "the project asks the database while it is being loaded, before any table is made: move that query into a function"
    } else {
        "commit the migration that makes it: run `manage.py makemigrations` on your own machine and add its files"
    };
    (cause, format!("{help}, {}", context.push()))
}

fn missing_column(found: &Captures<'_>, context: &Context<'_>) -> (String, String) {
    (
        format!("The database has no column {}.", code(&found[1])),
        format!(
            "commit the migration that makes it: run `manage.py makemigrations` on your own machine and add its files, {}",
            context.push()
        ),
    )
}

fn missing_package(found: &Captures<'_>, context: &Context<'_>) -> (String, String) {
    let package = found.iter().skip(1).flatten().next().map_or("", |package| package.as_str());
    (
        format!(
            "{} names {}, which cannot be installed.",
            context.requirements(),
            code(package.trim_end_matches('.'))
        ),
        format!(
            "see whether name and version are right and made for this Python; a package of your own system (`pip freeze` lists those too) can be left out. Then {}",
            context.push()
        ),
    )
}

fn syntax_error(found: &Captures<'_>, context: &Context<'_>) -> (String, String) {
    (
        format!("A file of the project is not valid for this Python: {}", code(found[2].trim())),
        format!("the lines above name the file and the line. Correct it, {}", context.push()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn cause(step: Step, lines: &[&str]) -> Option<String> {
        let lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
        find(step, &lines, None).map(|cure| cure.cause)
    }

    #[test]
    fn every_pattern_is_a_regular_expression() {
        assert_eq!(KNOWN.len(), 18);
    }

    #[rstest]
    #[case("ModuleNotFoundError: No module named 'crispy_forms'", "imports `crispy_forms`, which its")]
    #[case("django.db.utils.OperationalError: no such table: blog_post", "no table `blog_post`")]
    #[case("django.db.utils.ProgrammingError: relation \"shop_item\" does not exist", "no table `shop_item`")]
    #[case("ERROR: No matching distribution found for pywin32==306", "names `pywin32==306`")]
    #[case("Because there is no version of nosuch==9 and you require", "names `nosuch`")]
    #[case("Error: pg_config executable not found.", "`psycopg2` could not be built")]
    #[case("Exception: Can not find valid pkg-config name.", "`mysqlclient` could not be built")]
    #[case("  \u{d7} Failed to build `pillow==8.0.0`", "`pillow` could not be built")]
    #[case("KeyError: 'STRIPE_KEY'", "the variable `STRIPE_KEY`")]
    #[case("decouple.UndefinedValueError: DB_NAME not found. Declare it as envvar", "the variable `DB_NAME`")]
    #[case("django.core.exceptions.ImproperlyConfigured: Set the DEBUG environment variable", "not complete")]
    #[case("ValueError: Missing staticfiles manifest entry for 'css/site.css'", "`css/site.css` is used")]
    #[case("could not connect to server: Connection refused", "database does not answer")]
    #[case("OSError: [Errno 28] No space left on device", "disk is full")]
    #[case("fatal: unable to access: Could not resolve host: github.com", "reach the network")]
    #[case("SyntaxError: invalid syntax", "not valid for this Python")]
    #[case("DisallowedHost at /", "refuses requests")]
    fn known_failures(#[case] line: &str, #[case] expected: &str) {
        let cause = cause(Step::Health, &["before", line, "after"]).unwrap();
        assert!(cause.contains(expected), "{cause}");
    }

    #[test]
    fn the_last_known_line_tells_and_the_unknown_is_unknown() {
        let lines =
            ["KeyError: 'A_B'", "ModuleNotFoundError: No module named 'yaml'", "x"].map(str::to_owned);
        let cure = find(Step::Migrate, &lines, None).unwrap();
        assert_eq!((cure.line, cure.help.contains("`PyYAML`")), (1, true));
        assert_eq!(cause(Step::Migrate, &["KeyError: 'name'", "something else"]), None);
        assert_eq!(cause(Step::Migrate, &[]), None);
    }
}
