//! Packages that cannot be found, do not go together or cannot be built.

use super::{Context, Level, Row, Words, code_of, first, quoted};

/// Words for a package that needs what the machine has not in order to be built.
fn not_built(package: &str, instead: &str, context: &Context<'_>) -> Words {
    Words::new(
        format!("{} could not be built.", code_of(package)),
        format!("{}{instead} in {}, {}", context.tried(package), context.requirements(), context.push()),
    )
}

/// Words for a package that is to come from a git repository, and does not.
pub(super) fn not_fetched(context: &Context<'_>) -> Words {
    Words::new(
        "A package that is to come from a git repository could not be fetched.",
        format!(
            "see whether its address, branch and commit still exist and are public, or name a release of it in {}. Then {}",
            context.requirements(),
            context.push()
        ),
    )
}

pub(super) const ROWS: &[Row] = &[
    Row {
        patterns: &[
            r"pg_config executable not found",
            r"Failed (?:to build|building wheel for) [`']?psycopg2\b(?:[^-]|$)",
        ],
        level: Level::Particular,
        words: |_, context| not_built("psycopg2", "write `psycopg2-binary` instead of `psycopg2`", context),
    },
    Row {
        patterns: &[
            r"Can not find valid pkg-config name",
            r"mysql_config: (?:command )?not found",
            r"Failed (?:to build|building wheel for) [`']?mysqlclient\b",
        ],
        level: Level::Particular,
        words: |_, context| {
            not_built(
                "mysqlclient",
                "name the newest `mysqlclient`, or `pymysql` with `pymysql.install_as_MySQLdb()` in the settings,",
                context,
            )
        },
    },
    Row {
        patterns: &[
            r"The headers or library files could not be found for (\w+)",
            r"Failed (?:to build|building wheel for) [`']?[Pp]illow\b",
        ],
        level: Level::Particular,
        words: |_, context| {
            not_built("pillow", "name a newer `pillow`, which comes ready-made for this Python,", context)
        },
    },
    Row {
        patterns: &[
            r"make sure the libxml2 and libxslt development packages are installed",
            r"Failed (?:to build|building wheel for) [`']?lxml\b",
        ],
        level: Level::Particular,
        words: |_, context| {
            not_built("lxml", "name a newer `lxml`, which comes ready-made for this Python,", context)
        },
    },
    Row {
        patterns: &[
            r"can't find Rust compiler",
            r"Cargo, the Rust package manager, is not installed",
            r"`?cargo`? (?:not found|is not installed)|error: linker `cc` not found|No such file or directory: 'cargo'",
        ],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "A package is written in Rust and must be built, for which the machine has no compiler.",
                format!(
                    "name a newer version of it in {}: new ones come ready-made. The lines below say which it is. Then {}",
                    context.requirements(),
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"CMake must be installed to build",
            r"No CMAKE_C(?:XX)?_COMPILER could be found",
            r"Failed (?:to build|building wheel for) [`']?(?:dlib|face[-_]recognition)\b",
        ],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "A package, most often `dlib`, must be compiled with CMake, which takes longer and more memory than a small machine has.",
                format!(
                    "take it out of {} if the site can do without it, or name one that comes ready-made, as `dlib-bin`, {}",
                    context.requirements(),
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"error in (\S+) setup command: (?:use_2to3 is invalid|.*use_2to3)",
            r"use_2to3 is invalid",
        ],
        level: Level::Particular,
        words: |found, context| {
            let package = found.get(1).map_or("A package".to_owned(), |name| code_of(name.as_str()));
            Words::new(
                format!("{package} is written for Python 2 and cannot be installed any more."),
                format!("name a newer version of it in {}, {}", context.requirements(), context.push()),
            )
        },
    },
    Row {
        patterns: &[
            r"(?:current|requested|resolved)? ?Python version \(([^)]+)\) does not satisfy Python([^\s,]+)",
            r"requires a different Python: (\S+) not in '([^']+)'",
            r"Ignored the following versions that require a different [Pp]ython version()(): ",
        ],
        level: Level::Particular,
        words: |found, context| {
            let (has, wants) = (found[1].trim(), found[2].trim());
            let cause = if has.is_empty() {
                "A version that the project pins is not made for this Python.".to_owned()
            } else {
                format!(
                    "A package wants Python {}, and the project runs on {}.",
                    code_of(wants),
                    code_of(has)
                )
            };
            Words::new(
                cause,
                format!(
                    "name another version of it in {}, or write the Python that it wants into a file `.python-version` at the repository's root, {}",
                    context.requirements(),
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"([\w.\[\]-]+(?:[=<>~!]=?[\w.*]+)?) has no (?:usable )?wheels(?: with a matching| available)?",
            r"([\w.-]+) has no `?\S*`? ?wheels? for|doesn't have a source distribution or wheel for the current platform",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "{} is not made for this Python or this kind of machine.",
                    named_or(first(found), "A package")
                ),
                format!(
                    "name another version of it, often a newer one, in {}, {}",
                    context.requirements(),
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"No matching distribution found for (\S+)",
            r"Could not find a version that satisfies the requirement (\S+)",
            r"[Bb]ecause (?:there is|there are) no versions? of ([\w.\[\]-]+)",
            r"[Bb]ecause ([\w.\[\]-]+) was not found in the (?:package registry|cache|provided package locations)",
        ],
        level: Level::Particular,
        words: |found, context| {
            let package = first(found).trim_end_matches('.');
            let names = match context.declared_in() {
                Some(file) => format!("{file} names {}, which cannot be installed.", code_of(package)),
                None => format!(
                    "{} cannot be installed, though the project seems to import it.",
                    code_of(package)
                ),
            };
            Words::new(
                names,
                format!(
                    "{}see whether name and version are right and made for this Python; a package of your own system (`pip freeze` lists those too) can be left out of {}. Then {}",
                    context.tried(package.split(['=', '<', '>', '~', '!', '[']).next().unwrap_or(package)),
                    context.requirements(),
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"This release of Django needs Python (.+?), and this machine has ([0-9]+\.[0-9]+)"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "The project's Django needs Python {}, which could not be had: the machine has {}.",
                    code_of(&found[1]),
                    code_of(&found[2])
                ),
                format!(
                    "name a Django that runs on that Python in {}, or wait a minute and {}",
                    context.requirements(),
                    context.again()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"(\S+ is outside the repository)\.",
            r"(\S+ is larger than \d+ MB: that is no requirements file)",
            r"A requirements file cannot be read: (.+)",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "The list of packages cannot be used: {}.",
                    quoted(first(found).trim_end_matches('.'))
                ),
                format!("correct {}, {}", context.requirements(), context.push()),
            )
        },
    },
    Row {
        patterns: &[r"Hash mismatch for [`']?([\w.=-]+)", r"THESE PACKAGES DO NOT MATCH THE HASHES"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("{} is not what its hash says.", named_or(first(found), "A package")),
                format!("write the hashes in {} anew, {}", context.requirements(), context.push()),
            )
        },
    },
];

/// What is said in words that a project may use, too: they tell only where packages are installed.
pub(super) const OF_INSTALLING: &[Row] = &[
    Row {
        patterns: &[r"fatal error: ([\w./+-]+\.h(?:pp)?): No such file or directory"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "A package must be compiled and needs {}, which the machine does not have.",
                    code_of(first(found))
                ),
                format!(
                    "name a version of it that comes ready-made, often a newer one, in {}, {}",
                    context.requirements(),
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"Couldn't parse requirement in [`']?([^`'\s]+)",
            r"(?:Invalid requirement|InvalidRequirement): ?'?([^'\n]*)",
            r"Expected package name starting with an alphanumeric character, found `?(.)`?",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("A line of {} is no requirement: {}.", context.requirements(), quoted(first(found))),
                format!(
                    "correct or delete it; each line is a package's name with a version. Then {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"[Ff]ile not found: [`']?([^`']+)",
            r"Could not open requirements file: .*'([^']+)'",
            r"Distribution not found at: (\S+)",
            r"(\S+) does not appear to be a Python project",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("{} is to be installed from, and is not in the repository.", quoted(first(found))),
                format!("commit it, or take out the line that names it, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"Git operation failed", r"failed to fetch (?:branch|tag|commit|into)"],
        level: Level::General,
        words: |_, context| not_fetched(context),
    },
    Row {
        patterns: &[
            r"your requirements are unsatisfiable",
            r"your project's requirements are unsatisfiable",
            r"No solution found when resolving dependencies",
            r"ResolutionImpossible",
            r"conflicting dependencies",
        ],
        level: Level::General,
        words: |_, context| {
            let file = context.declared_in().unwrap_or_else(|| "what the project imports".to_owned());
            Words::new(
                format!("The versions in {file} cannot be installed together."),
                format!(
                    "loosen the version that the lines below name in {}, {}",
                    context.requirements(),
                    context.push()
                ),
            )
        },
    },
];

pub(super) const GENERAL: &[Row] = &[
    Row {
        patterns: &[
            r"Failed (?:to build|building wheel for) [`']?([\w.-]+)",
            r"Failed to download and build [`']?([\w.-]+)",
            r"ERROR: Could not build wheels for ([\w.-]+)",
        ],
        level: Level::General,
        words: |found, context| {
            let package = first(found).split('=').next().unwrap_or_default();
            not_built(
                package,
                "name a newer version of it, since old ones have nothing ready-made for this Python,",
                context,
            )
        },
    },
    Row {
        patterns: &[
            r"error: command '?(?:\S*gcc|\S*g\+\+|cc|c\+\+|clang)'? failed",
            r"unable to execute '(?:\S*gcc|cc)'",
            r"error: Microsoft Visual C\+\+",
            r"The build backend returned an error",
        ],
        level: Level::Symptom,
        words: |_, context| {
            Words::new(
                "A package could not be compiled.",
                format!(
                    "name a newer version of it in {}: new ones come ready-made. The lines below say which it is. Then {}",
                    context.requirements(),
                    context.push()
                ),
            )
        },
    },
];

fn named_or(package: &str, otherwise: &str) -> String {
    if package.is_empty() { otherwise.to_owned() } else { code_of(package) }
}
