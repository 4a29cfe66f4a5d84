//! Gunicorn, and pages that visitors do not see right.

use super::{Context, Level, Page, Row, Words, code_of, first, quoted};

/// To look for the reason in what the project printed.
fn read_lines(context: &Context<'_>) -> String {
    format!("the lines below and the page Logs say where it broke. Correct it, {}", context.push())
}

pub(super) const ROWS: &[Row] = &[
    Row {
        patterns: &[r"DisallowedHost|Invalid HTTP_HOST header"],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "The project refuses requests for its own address.",
                format!(
                    "let `ALLOWED_HOSTS` alone, or take it from the environment; what the site adds is undone later in the settings. Change that, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"Missing staticfiles manifest entry for '([^']+)'",
            r"MissingFileError: The file '([^']+)' could not be found",
            r"The file '([^']+)' could not be found with",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("The static file {} is used and does not exist.", code_of(first(found))),
                format!("commit the file, or take out what refers to it, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"TemplateDoesNotExist: (\S+)", r"TemplateDoesNotExist at (\S+)"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("The template {} does not exist.", code_of(first(found))),
                format!(
                    "commit it, spelt as on Linux, where capitals count, in a directory that `TEMPLATES` names or in `templates` of an installed app, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"TemplateSyntaxError: (.+)"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("A template cannot be read: {}", quoted(first(found))),
                format!(
                    "correct it (a tag library that was taken away, as `staticfiles`, is now `static`), {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"NoReverseMatch: (.+)"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("A page links to a route that the project does not have: {}", quoted(first(found))),
                format!("correct the name in the template or in `urls.py`, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[
            r"((?:Site|SocialApp)(?:\.DoesNotExist:)? matching query does not exist)",
            r"\b((?:Site|SocialApp)\.DoesNotExist)",
        ],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "The project asks for a `Site` (or a social login) that its database does not have.",
                format!(
                    "add it with a migration of your own, or set `SITE_ID` to one that exists, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"\b(\w+(?:\.\w+)*\.DoesNotExist: \w+ matching query does not exist)"],
        level: Level::General,
        words: |found, context| {
            Words::new(
                format!(
                    "The project expects data that its database does not have: {}.",
                    quoted(first(found))
                ),
                format!("make it with a migration of your own, or handle its absence, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"(\S+) redirects in circles", r"(\S+) sends visitors to \S+, where nothing answers"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "The page {} sends visitors on to where nothing answers them.",
                    code_of(first(found))
                ),
                format!(
                    "a redirect to https or to another name (`SECURE_SSL_REDIRECT`, `PREPEND_WWW`, a middleware of the project) does that, or a page that asks for a login behind a login. Take it out, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"WORKER TIMEOUT",
            r"Seen with a visitor's eyes: (?:nginx does not answer: )?(?:timed out|.*answers 504)",
        ],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "The page takes longer than a minute to answer.",
                format!("do the long work elsewhere (a command, a cache), or look whether it waits for a service that does not answer. Then {}", context.push()),
            )
            .on(Page::Logs)
        },
    },
    Row {
        patterns: &[r"Address already in use|Errno 98"],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "The project opens a port of its own that is in use already.",
                format!("start no server of your own while the project loads, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[
            r"Seen with a visitor's eyes: (\S+ answers \d+ as \S+, and not 200 as text/css)",
            r"Seen with a visitor's eyes: (none of the stylesheets .*)\.$",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("The page's styles do not load: {}.", quoted(first(found))),
                format!(
                    "see that the files are committed, and that `STATICFILES_DIRS` and the `static` tag lead to them. Then {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"Seen with a visitor's eyes: (\S+) answers (\d+)(?: with (\w+))?"],
        level: Level::General,
        words: |found, context| {
            let named = found.get(3).map_or(String::new(), |name| format!(" ({})", code_of(name.as_str())));
            Words::new(
                format!("The page {} answers {}{named}.", code_of(&found[1]), &found[2]),
                read_lines(context),
            )
            .on(Page::Logs)
        },
    },
];

pub(super) const SYMPTOMS: &[Row] = &[
    Row {
        patterns: &[r"The project does not load", r"The project's URLs do not load"],
        level: Level::Symptom,
        words: |_, context| Words::new("The project does not load.", read_lines(context)),
    },
    Row {
        patterns: &[
            r"Worker failed to boot",
            r"Worker \(pid:\d+\) (?:exited with code 3|was sent SIGKILL)",
            r"Reason: Worker failed to boot",
        ],
        level: Level::Symptom,
        words: |_, context| {
            Words::new("Gunicorn started, and the project could not be loaded in it.", read_lines(context))
                .on(Page::Logs)
        },
    },
    Row {
        patterns: &[r"gunicorn did not start"],
        level: Level::Symptom,
        words: |_, context| Words::new("Gunicorn did not start.", read_lines(context)).on(Page::Logs),
    },
    Row {
        patterns: &[r"nginx does not answer|nginx is not running|nginx: \[emerg\]"],
        level: Level::Symptom,
        words: |_, context| {
            Words::new(
                "Nginx does not answer on the machine.",
                format!("{} If it stays, terminate the instance and deploy it again.", context.again()),
            )
        },
    },
    Row {
        patterns: &[r"Seen with a visitor's eyes: (.+)"],
        level: Level::Symptom,
        words: |found, context| {
            Words::new(format!("The page is not right: {}", quoted(first(found))), read_lines(context))
                .on(Page::Logs)
        },
    },
];
