//! Settings and models that do not load, and what the system checks say of them.

use regex::Captures;

use super::{Context, Level, Page, Row, Words, code_of, first, quoted};
use crate::domain::{Step, distribution};

/// Words for a variable that is not set.
fn missing_variable(name: &str, context: &Context<'_>) -> Words {
    Words::new(
        format!("The settings ask for the variable {}, which is not set.", code_of(name)),
        format!(
            "give it a value on the page Environment, then {} Or give it a default in the settings, as in {}.",
            context.again(),
            code_of(&format!("os.environ.get(\"{name}\", \"\")"))
        ),
    )
    .on(Page::Environment)
}

/// Whether a name is one of those by which a view asks for what a request brings along (PEP 3333).
fn is_of_request(name: &str) -> bool {
    ["HTTP_", "REMOTE_", "SSL_"].iter().any(|begin| name.starts_with(begin))
        || matches!(
            name,
            "CONTENT_TYPE" | "CONTENT_LENGTH" | "SERVER_NAME" | "SERVER_PORT" | "SERVER_PROTOCOL"
        )
}

/// Words for what a view takes for granted in a request.
fn missing_header(name: &str, context: &Context<'_>) -> Words {
    Words::new(
        format!("A view reads {} of a request, which not every visitor sends.", code_of(name)),
        format!(
            "read it with a default, as in {}, {} The page Logs tells which view it is.",
            code_of(&format!("request.META.get(\"{name}\", \"\")")),
            context.push()
        ),
    )
    .on(Page::Logs)
}

pub(super) const ROWS: &[Row] = &[
    Row {
        patterns: &[
            r"decouple\.UndefinedValueError: (\w+) not found",
            r"UnknownConfiguration: Configuration '(\w+)' not found",
            r"Set the (\w+) environment variable",
            r#"(?:EnvError|EnvValidationError): Environment variable "(\w+)" (?:not set|invalid)"#,
            r"^\s*KeyError: '([A-Z][A-Z0-9_]{2,})'",
            r"^\s*(?:starlette\.config\S*|KeyError): \S*Config '(\w+)' is missing",
            r"[Ee]nvironment variable:? ['\x22`]?([A-Z][A-Z0-9_]{2,})['\x22`]? (?:is )?(?:not set|missing|is required|must be set|not found)",
            r"(?:Missing|missing) (?:required )?environment variables?:? ['\x22`]?([A-Z][A-Z0-9_]{2,})",
        ],
        level: Level::Particular,
        words: |found, context| {
            let name = first(found);
            if matches!(context.step, Step::Start | Step::Health) && is_of_request(name) {
                missing_header(name, context)
            } else {
                missing_variable(name, context)
            }
        },
    },
    Row {
        patterns: &[r"validation errors? for (\w+)", r"Field required \[type=missing"],
        level: Level::General,
        words: |_, context| {
            Words::new(
                "The settings ask for variables that are not set; the lines below name them.",
                format!("give them values on the page Environment, then {}", context.again()),
            )
            .on(Page::Environment)
        },
    },
    Row {
        patterns: &[
            r"ValueError: (Invalid truth value: .*|Not a boolean: .*|Invalid boolean.*)",
            r"((?:UnknownSchemeError|ValueError): (?:No support for|Scheme ).*)",
            r"(ValueError: invalid literal for int\(\) with base 10: ''\s*)$",
        ],
        level: Level::General,
        words: |found, context| {
            Words::new(
                format!("A variable has a value that the settings cannot read: {}.", quoted(first(found))),
                format!("correct it on the page Environment, then {}", context.again()),
            )
            .on(Page::Environment)
        },
    },
    Row {
        patterns: &[
            r"AttributeError: 'NoneType' object has no attribute '(?:split|lower|strip|replace|startswith|encode)'",
            r"TypeError: (?:int|float)\(\) argument must be .*not 'NoneType'",
        ],
        level: Level::General,
        words: |_, context| {
            Words::new(
                "The project works with a value that is not there; in settings that is mostly a variable that is not set.",
                format!("see in the lines below which one, give it a value on the page Environment, then {}", context.again()),
            )
            .on(Page::Environment)
        },
    },
    Row {
        patterns: &[r"SECRET_KEY setting must not be empty"],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "The settings have no `SECRET_KEY`, or an empty one.",
                format!("give `SECRET_KEY` a value on the page Environment and read it in the settings, as in `os.environ[\"SECRET_KEY\"]`, {}", context.push()),
            )
            .on(Page::Environment)
        },
    },
    Row {
        patterns: &[
            r"Could not import settings '([^']+)'",
            r"(?:settings are|project is) not configured.*(DJANGO_SETTINGS_MODULE)",
            r"Requested settings?,? .*but settings are not configured()",
        ],
        level: Level::Particular,
        words: |found, context| {
            let settings = context.plan.map_or(first(found), |plan| plan.settings.as_str());
            Words::new(
                format!(
                    "The settings {} cannot be found where the project looks for them.",
                    code_of(settings)
                ),
                format!(
                    "see that `manage.py` and `wsgi.py` name settings that are committed, by their path from the directory of `manage.py`, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"Application labels aren't unique, duplicates: (\S+)",
            r"Application names aren't unique, duplicates: (\S+)",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "{} is in `INSTALLED_APPS` twice, or two apps have that name.",
                    code_of(first(found))
                ),
                format!("leave one of them, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"Model class ([\w.]+) doesn't declare an explicit app_label"],
        level: Level::Particular,
        words: |found, context| {
            let app = first(found).split(".models").next().unwrap_or_default();
            Words::new(
                format!("The app {} has models and is not in `INSTALLED_APPS`.", code_of(app)),
                format!("add it there, by the name that the project imports it by, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"Conflicting '([^']+)' models in application '([^']+)'"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "The model {} of {} is imported by two names.",
                    code_of(&found[1]),
                    code_of(&found[2])
                ),
                format!("import it everywhere by the name that `INSTALLED_APPS` has, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"AppRegistryNotReady: (.+)", r"(Apps aren't loaded yet)", r"(Models aren't loaded yet)"],
        level: Level::General,
        words: |_, context| {
            Words::new(
                "The project uses its models, or translations, while it is still being loaded.",
                format!(
                    "move that into a function, or into `ready()` of the app's `AppConfig`, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"AUTH_USER_MODEL refers to model '([^']+)' that has not been installed",
            r"was declared with a lazy reference to '([^']+)', but",
            r"Related model '([^']+)' cannot be resolved",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("The model {} is referred to and is in no installed app.", code_of(first(found))),
                format!("add its app to `INSTALLED_APPS`, and commit its migrations, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"Cannot import '([^']+)'\. Check that '([^']+)' is correct"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("{} names {}, which cannot be imported.", code_of(&found[2]), code_of(&found[1])),
                format!(
                    "give `name` the app's path from the directory of `manage.py` on, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"Error loading (psycopg2 or psycopg|psycopg2|MySQLdb|cx_Oracle|oracledb) module"],
        level: Level::Particular,
        words: |found, context| {
            let module = first(found);
            let package = if module == "MySQLdb" {
                "mysqlclient"
            } else if module.starts_with("psycopg") {
                "psycopg2-binary"
            } else {
                "oracledb"
            };
            Words::new(
                format!("The settings name a database whose driver {} is not installed.", code_of(module)),
                format!(
                    "{}add {} to {}, {}",
                    context.tried(package),
                    code_of(package),
                    context.requirements(),
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"'([\w.]+)' isn't an available database backend"],
        level: Level::Particular,
        words: |found, context| {
            let engine = first(found);
            let package = match engine.split('.').next().unwrap_or(engine) {
                "mssql" => "mssql-django".to_owned(),
                "sql_server" => "django-mssql-backend".to_owned(),
                other => distribution::of_import(other),
            };
            let help = if engine.starts_with("django.") {
                format!(
                    "name `django.db.backends.sqlite3`, `postgresql` or `mysql` as the `ENGINE`, {}",
                    context.push()
                )
            } else {
                format!(
                    "add {} to {} and name a server that can be reached, or use SQLite, PostgreSQL or MySQL, which the instance has. Then {}",
                    code_of(&package),
                    context.requirements(),
                    context.push()
                )
            };
            Words::new(
                format!("The settings name the database {}, which is not installed.", code_of(engine)),
                help,
            )
        },
    },
    Row {
        patterns: &[r"without having set the STATIC_ROOT setting"],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "The settings that ran have no `STATIC_ROOT`.",
                format!(
                    "this site sets it itself; see that nothing in the project replaces the settings while it loads, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"WSGI application '([^']+)' could not be loaded",
            r"Failed to find attribute '(\w+)' in '[\w.]+'",
            r"Failed to find application object '(\w+)' in",
        ],
        level: Level::General,
        words: |found, context| {
            Words::new(
                format!("The WSGI application {} could not be loaded.", code_of(first(found))),
                format!(
                    "see that `wsgi.py` makes `application` with `get_wsgi_application()`, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"The included URLconf '([^']+)' does not appear to have any patterns in it"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("{} has no list `urlpatterns`, or imports in a circle.", quoted(first(found))),
                format!("write `urlpatterns` into it, or take the import apart, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[
            r"view must be a callable or a list/tuple in the case of include\(\)",
            r"Passing a 3-tuple to include\(\) is not supported",
            r"Specifying a namespace in include\(\) without providing an app_name",
        ],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "The project's `urls.py` is written for an older Django.",
                format!(
                    "name the Django it was written for in {}, or bring `urls.py` up to date, {}",
                    context.requirements(),
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"Could not find the GDAL library",
            r"Unable to load the SpatiaLite library",
            r"OSError: (?:libgdal|libgeos)",
        ],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "The project uses GeoDjango, whose libraries (GDAL, GEOS) the machine does not have.",
                format!(
                    "take `django.contrib.gis` out of `INSTALLED_APPS` where the site can do without it, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"\(fields\.E210\)"],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "The project has an `ImageField`, for which `pillow` must be installed.",
                format!(
                    "{}add `pillow` to {}, {}",
                    context.tried("pillow"),
                    context.requirements(),
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"^(\S+): \((fields\.E30[2-5])\)"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("Two fields of the models clash: {}.", code_of(&found[1])),
                format!("give one of them another `related_name`, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"^(\S+): \(((?:fields|postgres|fields)\.E90\d)\) (.+)"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "The field {} is of a kind that this Django does not have any more: {}",
                    code_of(&found[1]),
                    quoted(&found[3])
                ),
                format!(
                    "name the Django it was written for in {}, {}",
                    context.requirements(),
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"^\S*: \((\w+\.E\d{3})\) (.+)"],
        level: Level::General,
        words: |found, context| {
            Words::new(
                format!("Django's check of the project says {}: {}", code_of(&found[1]), quoted(&found[2])),
                format!(
                    "`manage.py check` says the same on your own machine. Correct it, {}",
                    context.push()
                ),
            )
        },
    },
];

pub(super) const GENERAL: &[Row] = &[
    Row { patterns: &[r"ImproperlyConfigured: (.+)"], level: Level::General, words: improperly_configured },
    Row {
        patterns: &[r"SystemCheckError: System check identified"],
        level: Level::Symptom,
        words: |_, context| {
            Words::new(
                "Django's check of the project found errors.",
                format!(
                    "`manage.py check` says the same on your own machine. Correct them, {}",
                    context.push()
                ),
            )
        },
    },
];

fn improperly_configured(found: &Captures<'_>, context: &Context<'_>) -> Words {
    Words::new(
        format!("The settings are not complete: {}", quoted(&found[1])),
        format!(
            "give the setting a value on the page Environment where it is read from there, or a default in the settings file, {}",
            context.push()
        ),
    )
    .on(Page::Environment)
}
