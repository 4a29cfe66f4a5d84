//! Failures that we know by what a step printed: the cause in people's words, and what usually helps. Text between
//! backticks is shown as code.
//!
//! Each topic has a table of its own. The last line that is known tells, but where a more particular cause stands not
//! far above it, as in a chain of exceptions, that one does.

mod code;
mod database;
mod imports;
mod install;
mod machine;
mod migrations;
mod repository;
mod settings;
mod site;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex, RegexSet};

use crate::domain::{Dependencies, Plan, Status, Step};

/// What is known of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cure {
    /// The cause in one sentence.
    pub cause: String,
    /// What usually helps.
    pub help: String,
    /// The page of the instance where that is done, where there is one.
    pub page: Option<Page>,
    /// The line that told; none where only the way it ended did.
    pub line: Option<usize>,
}

/// A page of the instance that a cure speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The project's variables.
    Environment,
    /// The form: repository, branch, project, machine.
    Edit,
    /// What the project and its web server wrote last.
    Logs,
}

impl Page {
    /// The page's name, and the last part of its path.
    pub fn name_and_path(self) -> (&'static str, &'static str) {
        match self {
            Self::Environment => ("Environment", "environment"),
            Self::Edit => ("Edit", "edit"),
            Self::Logs => ("Logs", "logs"),
        }
    }
}

/// What a cure may speak of.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The step that failed.
    pub step: Step,
    /// Its exit code, where it ended by itself.
    pub code: Option<i32>,
    /// How the commit was to be deployed.
    pub plan: Option<&'a Plan>,
    /// What the deployment installed in place of what the project asks for.
    pub repaired: &'a [String],
    /// The instance's status now: it decides what the button is called.
    pub status: Status,
}

/// How near a line comes to the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// What follows from it: a process that did not start.
    Symptom,
    /// The kind of the cause.
    General,
    /// The very cause.
    Particular,
}

/// A cause that is known.
struct Row {
    /// Any of these in a line.
    patterns: &'static [&'static str],
    /// How near it comes to the cause.
    level: Level,
    words: fn(&Captures<'_>, &Context<'_>) -> Words,
}

/// What is said of a cause.
struct Words {
    cause: String,
    help: String,
    page: Option<Page>,
}

impl Words {
    fn new(cause: impl Into<String>, help: impl Into<String>) -> Self {
        Self { cause: cause.into(), help: help.into(), page: None }
    }

    fn on(self, page: Page) -> Self {
        Self { page: Some(page), ..self }
    }
}

/// Lines above the last one that is known in which a more particular cause is looked for: a chain of exceptions.
const CHAIN: usize = 90;

/// The steps that only install packages.
const INSTALLING: &[Step] = &[Step::Gunicorn, Step::Dependencies];

/// Every row with the steps in which it tells, the more particular before the more general: of those that know a line the
/// first tells.
fn rows() -> impl Iterator<Item = (&'static Row, &'static [Step])> {
    let tables: [(&[Row], &[Step]); 14] = [
        (imports::ROWS, &Step::ALL),
        (install::ROWS, &Step::ALL),
        (install::OF_INSTALLING, INSTALLING),
        (settings::ROWS, &Step::ALL),
        (migrations::ROWS, &Step::ALL),
        (database::ROWS, &Step::ALL),
        (site::ROWS, &Step::ALL),
        (repository::ROWS, &Step::ALL),
        (machine::ROWS, &Step::ALL),
        (code::ROWS, &Step::ALL),
        (settings::GENERAL, &Step::ALL),
        (imports::GENERAL, &Step::ALL),
        (install::GENERAL, &Step::ALL),
        (site::SYMPTOMS, &Step::ALL),
    ];
    tables.into_iter().flat_map(|(rows, steps)| rows.iter().map(move |row| (row, steps)))
}

struct Known {
    all: RegexSet,
    each: Vec<Pattern>,
}

struct Pattern {
    regex: Regex,
    row: &'static Row,
    steps: &'static [Step],
}

impl Known {
    /// The first pattern that knows the line, of those that tell in `step`.
    fn pattern(&self, line: &str, step: Step) -> Option<&Pattern> {
        let mut known = self.all.matches(line).into_iter().map(|index| &self.each[index]);
        known.find(|pattern| pattern.steps.contains(&step))
    }
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let patterns =
        rows().flat_map(|(row, steps)| row.patterns.iter().map(move |pattern| (*pattern, row, steps)));
    // Every pattern is compiled in a test; one that is wrong is left out rather than taking the page down.
    let each: Vec<_> = patterns
        .filter_map(|(pattern, row, steps)| {
            Regex::new(&plain(pattern)).ok().map(|regex| Pattern { regex, row, steps })
        })
        .collect();
    let all = RegexSet::new(each.iter().map(|pattern| pattern.regex.as_str())).unwrap_or_default();
    Known { all, each }
});

/// The pattern with classes of ASCII alone: those of all scripts make an automaton many times as large.
fn plain(pattern: &str) -> String {
    pattern
        .replace(r"\w", "[0-9A-Za-z_]")
        .replace(r"\d", "[0-9]")
        .replace(r"\b", r"(?-u:\b)")
        .replace(r"\s", r"[ \t]")
}

/// What is known of a failure that printed `lines` last.
pub fn find(lines: &[String], context: &Context<'_>) -> Option<Cure> {
    let texts = unwrapped(lines);
    let mut best: Option<(Level, usize, Words)> = None;
    let mut last = None;
    for (line, text) in texts.iter().rev() {
        if last.is_some_and(|last: usize| last - line > CHAIN) {
            break;
        }
        let Some(Pattern { regex, row, .. }) = KNOWN.pattern(text, context.step) else { continue };
        let Some(found) = regex.captures(text) else { continue };
        last.get_or_insert(*line);
        if best.as_ref().is_none_or(|(level, ..)| row.level > *level) {
            best = Some((row.level, *line, (row.words)(&found, context)));
        }
    }
    let by_code = context.code.and_then(|code| machine::by_code(code, context));
    match (best, by_code) {
        // How it ended tells more than a symptom.
        (Some((Level::General | Level::Particular, line, words)), _) | (Some((_, line, words)), None) => {
            Some(cure(words, Some(line)))
        }
        (_, Some(words)) => Some(cure(words, None)),
        (None, None) => None,
    }
}

fn cure(words: Words, line: Option<usize>) -> Cure {
    Cure { cause: words.cause, help: words.help, page: words.page, line }
}

/// The lines with their numbers; a sentence that uv breaks to the width of a terminal is whole again.
fn unwrapped(lines: &[String]) -> Vec<(usize, Cow<'_, str>)> {
    let mut texts: Vec<(usize, Cow<'_, str>)> = Vec::with_capacity(lines.len());
    let mut inside = false;
    for (number, line) in lines.iter().enumerate() {
        let text = line.trim_start_matches(['│', ' ']);
        let begins = ["×", "╰─▶", "├─▶", "hint:"].iter().any(|mark| text.starts_with(mark));
        let indented = line.len() - text.len() >= 4;
        if begins {
            inside = true;
        } else if text.is_empty() || !indented {
            inside = false;
        } else if inside && let Some((_, sentence)) = texts.last_mut() {
            let sentence = sentence.to_mut();
            sentence.push(' ');
            sentence.push_str(text);
            continue;
        }
        texts.push((number, Cow::Borrowed(line)));
    }
    texts
}

impl Context<'_> {
    /// Whether the step only installs packages.
    fn installs(&self) -> bool {
        INSTALLING.contains(&self.step)
    }

    /// The file that names the project's packages; what to make where there is none.
    fn requirements(&self) -> String {
        match self.plan.map(|plan| &plan.dependencies) {
            Some(Dependencies::Requirements { path, .. }) => code_of(path),
            Some(Dependencies::Uv { path, .. } | Dependencies::Listed { path, .. }) => {
                let lock = path.rsplit('/').next().unwrap_or(path);
                match lock {
                    "uv.lock" => "`pyproject.toml` (then run `uv lock`)".to_owned(),
                    "poetry.lock" => "`pyproject.toml` (then run `poetry lock`)".to_owned(),
                    "Pipfile.lock" => "`Pipfile` (then run `pipenv lock`)".to_owned(),
                    _ => code_of(path),
                }
            }
            Some(Dependencies::Inferred { .. } | Dependencies::None) => {
                "a `requirements.txt` beside `manage.py`".to_owned()
            }
            None => "`requirements.txt`".to_owned(),
        }
    }

    /// The file that names the project's packages, as what did so; none where nothing does.
    fn declared_in(&self) -> Option<String> {
        match self.plan.map(|plan| &plan.dependencies) {
            Some(
                Dependencies::Requirements { path, .. }
                | Dependencies::Uv { path, .. }
                | Dependencies::Listed { path, .. },
            ) => Some(code_of(path)),
            Some(Dependencies::Inferred { .. } | Dependencies::None) => None,
            None => Some("`requirements.txt`".to_owned()),
        }
    }

    /// The last words of most cures.
    fn push(&self) -> String {
        match self.plan {
            Some(plan) => format!("push to {}, then {}", code_of(plan.branch.as_str()), self.again()),
            None => format!("push it, then {}", self.again()),
        }
    }

    /// What to choose once what was in the way is gone.
    fn again(&self) -> &'static str {
        match self.status {
            Status::Failed => "choose Try again.",
            Status::Terminated | Status::Terminating => "deploy again.",
            _ => "choose Redeploy.",
        }
    }

    /// To name a package in the right file, and what comes after.
    fn name_package(&self, requirement: &str) -> String {
        format!("name {} in {}, {}", code_of(requirement), self.requirements(), self.push())
    }

    /// What the deployment tried with a package by itself, as a sentence to put before the help.
    fn tried(&self, package: &str) -> String {
        let names = |text: &&String| {
            let is_word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            text.split(|c| !is_word(c)).any(|word| word.eq_ignore_ascii_case(package))
        };
        match self.repaired.iter().find(names) {
            Some(repair) => {
                format!("this was tried already: {}. Else ", repair.trim_end_matches('.').replace('`', "'"))
            }
            None => String::new(),
        }
    }

    /// Whether a dotted module is of the project itself, as far as the plan tells.
    fn is_own(&self, module: &str) -> bool {
        let top = |dotted: &str| dotted.split('.').next().unwrap_or(dotted).to_owned();
        self.plan.is_some_and(|plan| {
            let named = [Some(plan.project.as_str()), Some(plan.settings.as_str()), plan.wsgi.as_deref()];
            named.into_iter().flatten().any(|known| top(known) == top(module))
        })
    }
}

/// A value as code; its own backticks would end it.
fn code_of(text: &str) -> String {
    format!("`{}`", text.replace('`', "'"))
}

/// The first group that matched, without what surrounds it.
fn first<'a>(found: &'a Captures<'_>) -> &'a str {
    found.iter().skip(1).flatten().next().map_or("", |group| group.as_str().trim())
}

/// A sentence of a log as code, cut where it is long.
fn quoted(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(160) {
        Some((at, _)) => format!("{}…`", code_of(&text[..at]).trim_end_matches('`')),
        None => code_of(text),
    }
}
