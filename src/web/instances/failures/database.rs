//! Databases and other services that do not answer.

use super::{Context, Level, Page, Row, Words, code_of, first, quoted};

/// The two ways out where a database of the settings' own cannot be used.
fn choose_database(context: &Context<'_>) -> String {
    format!(
        "choose on the page Edit which database the instance is to have, or set the variables that say where yours is on the page Environment. Then {}",
        context.again()
    )
}

pub(super) const ROWS: &[Row] = &[
    Row {
        patterns: &[
            r#"could not translate host name "([^"]+)" to address"#,
            r"Unknown (?:MySQL )?server host '([^']+)'",
            r"failed to resolve host '([^']+)'",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "The project looks for its database at {}, a name that exists only where it was written.",
                    code_of(first(found))
                ),
                choose_database(context),
            )
            .on(Page::Edit)
        },
    },
    Row {
        patterns: &[
            r#"password authentication failed for user "([^"]+)""#,
            r"Access denied for user '([^']+)'",
            r#"Peer authentication failed for user "([^"]+)""#,
            r"fe_sendauth: (no password supplied)",
            r#"role "([^"]+)" does not exist"#,
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "The database refuses the user or the password of the settings ({}).",
                    code_of(first(found))
                ),
                choose_database(context),
            )
            .on(Page::Edit)
        },
    },
    Row {
        patterns: &[r#"FATAL:\s+database "([^"]+)" does not exist"#, r"Unknown database '([^']+)'"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("The server has no database {}.", code_of(first(found))),
                choose_database(context),
            )
            .on(Page::Edit)
        },
    },
    Row {
        patterns: &[
            r"The image has no (PostgreSQL|MariaDB): bake a new",
            r"(PostgreSQL|MariaDB) does not start: see",
            r"The (database server) of this machine is not ready",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("The machine could not start its {}.", first(found)),
                format!(
                    "{} If it stays, an admin of this site should bake a new golden image; the instance is then to be terminated and deployed again. SQLite in its place (page Edit) needs no server.",
                    context.again()
                ),
            )
            .on(Page::Edit)
        },
    },
    Row {
        patterns: &[r"could not be (copied before migrate): (.+)"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("The database could not be copied before it is migrated: {}", quoted(&found[2])),
                format!("see whether the database is whole and the disk has room, then {}", context.again()),
            )
        },
    },
    Row {
        patterns: &[
            r"ServerSelectionTimeoutError",
            r"pymongo\.errors\.(?:ConfigurationError|OperationFailure|AutoReconnect)",
        ],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "The project connects to a MongoDB, which does not answer.",
                format!("name a MongoDB that can be reached from the internet on the page Environment, and connect to it in a function and not while the settings load. Then {}", context.push()),
            )
            .on(Page::Environment)
        },
    },
    Row {
        patterns: &[
            r"redis\.exceptions\.\w*(?:ConnectionError|TimeoutError)",
            r"Error (?:111|-?\d+) connecting to ([\w.-]+:\d+)",
            r"kombu\.exceptions\.OperationalError",
            r"Cannot connect to (?:redis|amqp)://",
        ],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "The project needs a Redis or a message broker (Celery), which the instance does not have.",
                format!("name one that can be reached on the page Environment, or let the settings do without it (`CELERY_TASK_ALWAYS_EAGER`, Django's own cache). Then {}", context.push()),
            )
            .on(Page::Environment)
        },
    },
    Row {
        patterns: &[
            r"NoCredentialsError|Unable to locate credentials",
            r"botocore\.exceptions\.(?:ClientError|EndpointConnectionError|PartialCredentialsError)",
            r"DefaultCredentialsError",
        ],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "The project wants to keep files in a cloud's storage, and has no credentials for it.",
                format!("give the variables with the credentials on the page Environment, or let the settings use Django's own storage. Then {}", context.again()),
            )
            .on(Page::Environment)
        },
    },
    Row {
        patterns: &[
            r"SQLite ([\d.]+) or later is required",
            r"(?:PostgreSQL|MySQL|MariaDB) ([\d.]+) or later is required",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "This Django wants a newer database than the machine has (at least {}).",
                    code_of(first(found))
                ),
                format!(
                    "name an older Django in {}, or let an admin bake a newer golden image. Then {}",
                    context.requirements(),
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"(database is locked)",
            r"(attempt to write a readonly database)",
            r"(unable to open database file)",
            r"(database disk image is malformed|file is not a database)",
        ],
        level: Level::Particular,
        words: |found, context| {
            let help = match first(found) {
                "database is locked" => format!(
                    "something holds it for long: wait a minute, then {} A project that writes much is better off with PostgreSQL (page Edit).",
                    context.again()
                ),
                _ => format!(
                    "see that the settings name a plain SQLite file, and that the one in the repository is a database and no Git LFS pointer. Then {}",
                    context.push()
                ),
            };
            Words::new(format!("SQLite could not work with its file: {}.", code_of(first(found))), help)
        },
    },
    Row {
        patterns: &[
            r"could not connect to server",
            r#"connection to server (?:at|on) .* failed"#,
            r"(?i)connection refused.*(?:5432|3306)|(?:5432|3306).*connection refused",
            r"Can't connect to (?:local )?(?:MySQL )?server",
            r"server closed the connection unexpectedly|Lost connection to MySQL server",
        ],
        level: Level::General,
        words: |_, context| {
            Words::new("The project's database does not answer.", choose_database(context)).on(Page::Edit)
        },
    },
    Row {
        patterns: &[r"NotSupportedError: (.+)"],
        level: Level::General,
        words: |found, context| {
            Words::new(
                format!("The database cannot do what the project asks of it: {}", quoted(first(found))),
                format!(
                    "choose the database that the project was written for on the page Edit, then {}",
                    context.again()
                ),
            )
            .on(Page::Edit)
        },
    },
    Row {
        patterns: &[
            r"(?:ConnectionError|ConnectTimeout|MaxRetryError|NewConnectionError): .*host='([^']+)'",
            r"urllib\.error\.(?:URLError|HTTPError): (.+)",
            r"^\s*(ConnectionRefusedError: \[Errno 111\].*)",
        ],
        level: Level::General,
        words: |found, context| {
            Words::new(
                format!("The project asks another service, which does not answer: {}.", quoted(first(found))),
                format!("do that in a function and not while the project loads, or name a service that answers on the page Environment. Then {}", context.push()),
            )
            .on(Page::Environment)
        },
    },
];
