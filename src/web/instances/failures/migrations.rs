//! Migrations, and tables that are not as they say.

use super::{Context, Level, Row, Words, code_of, first, quoted};
use crate::domain::Step;

/// To make migrations where the project is written.
fn make_migrations(context: &Context<'_>) -> String {
    format!(
        "commit the migration that makes it: run `manage.py makemigrations` on your own machine and add its files, {}",
        context.push()
    )
}

pub(super) const ROWS: &[Row] = &[
    Row {
        patterns: &[
            r"Conflicting migrations detected; multiple leaf nodes in the migration graph: \((.+?)\)",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("Two migrations follow the same one: {}.", quoted(first(found))),
                format!(
                    "run `manage.py makemigrations --merge` on your own machine, commit the file, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"InconsistentMigrationHistory: (.+)",
            r"(Migration \S+ is applied before its dependency \S+)",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "The database has run its migrations in another order than they have now: {}",
                    quoted(first(found))
                ),
                format!(
                    "take back the change of the migrations, or begin with a new database: terminate the instance and deploy again (download the data before). If you correct the migrations, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"NodeNotFoundError: (Migration \S+) dependencies reference nonexistent parent node (\([^)]*\))",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "{} needs the migration {}, which is not there.",
                    quoted(&found[1]),
                    code_of(&found[2])
                ),
                format!(
                    "commit that file (`.gitignore` often leaves migrations out), or name the version of the package that has it. Then {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"CircularDependencyError: (.+)"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("Migrations wait for each other: {}", quoted(first(found))),
                format!("take one of the dependencies out, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"BadMigrationError: (.+)"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("A file among the migrations is none: {}", quoted(first(found))),
                format!("take it out, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[
            r#"[Tt]able "([^"]+)" already exists"#,
            r#"relation "([^"]+)" already exists"#,
            r"Table '([^']+)' already exists",
            r"duplicate column name: (\S+)",
            r#"column "([^"]+)" of relation "[^"]+" already exists"#,
            r"Duplicate column name '([^']+)'",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("A migration makes {}, which the database has already.", code_of(first(found))),
                format!(
                    "the migrations were made anew, or the database was made without them. Begin with a new database: download the data, terminate the instance and deploy it again. Or commit the migrations as they were when the database was made, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"no such table: ([\w.]+)",
            r#"relation "([^"]+)" does not exist"#,
            r"Table '([^']+)' doesn't exist",
        ],
        level: Level::Particular,
        words: |found, context| {
            let help = if matches!(
                context.step,
                Step::ConfigureGunicorn | Step::Migrate | Step::Collectstatic
            ) {
                format!(
                    "the project asks the database while it is being loaded, before any table is made: move that query into a function, {}",
                    context.push()
                )
            } else {
                make_migrations(context)
            };
            Words::new(format!("The database has no table {}.", code_of(first(found))), help)
        },
    },
    Row {
        patterns: &[
            r"no such column: (\S+)",
            r"column (\S+) (?:of relation \S+ )?does not exist",
            r"Unknown column '([^']+)'",
            r"has no column named (\w+)",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("The database has no column {}.", code_of(first(found).trim_matches('"'))),
                make_migrations(context),
            )
        },
    },
    Row {
        patterns: &[
            r"((?:NOT NULL|UNIQUE|FOREIGN KEY|CHECK) constraint failed.*)",
            r"(null value in column .* violates not-null constraint)",
            r"(duplicate key value violates unique constraint.*)",
            r"(could not create unique index.*)",
            r"\(1062, .(Duplicate entry .*?)[\x22)]",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "What is in the database does not keep a rule of the models: {}",
                    quoted(first(found))
                ),
                format!(
                    "correct the rows first with a migration of your own (`RunPython`), or give the field a default, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"(?:type|extension|function) (.{1,80}?) (?:does not exist|is not available)",
            r"permission denied to create extension (.+)",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("The database server has no {}.", code_of(first(found).trim_matches('"'))),
                format!("take out what needs that extension of PostgreSQL, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[
            r#"\(1071, .Specified key was too long"#,
            r"\((?:1215|3780|1005|150)[,:].*(?:[Ff]oreign key|errno: 150)",
            r"\(1170, .BLOB/TEXT column",
        ],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "A migration makes an index or a foreign key that MySQL does not allow.",
                format!(
                    "choose PostgreSQL or SQLite on the page Edit, or correct the migration, {}",
                    context.push()
                ),
            )
            .on(super::Page::Edit)
        },
    },
];
