//! The variables that the project gives itself: in a `.env` that is committed and that it reads, or in its code.

use std::collections::{HashMap, HashSet};

use crate::preflight::{
    dependencies::is_environment_file,
    modules::{Chain, Modules},
    python::{Line, Token},
    snapshot::{file_name, parent},
};

/// Variables of one file.
const MOST: usize = 1000;

/// Programs that read a `.env`, and give what stands there where nothing else does.
const READERS: [&str; 7] =
    ["AutoConfig", "decouple", "dotenv", "load_dotenv", "prettyconf", "read_env", "read_envfile"];

/// The names that are given.
pub(super) fn of<'a>(
    modules: Modules<'_>,
    chain: &Chain,
    lines: impl Iterator<Item = &'a Line>,
) -> HashSet<String> {
    let mut given = HashSet::new();
    let mut reads = false;
    let mut named = HashSet::new();
    for line in lines {
        for (at, token) in line.tokens.iter().enumerate() {
            match (token, &line.tokens[at + 1..]) {
                (Token::Name(word), _) if READERS.contains(&word.as_str()) => reads = true,
                // os.environ["X"] = …
                (
                    Token::Name(word),
                    [Token::Op('['), Token::Str { value, .. }, Token::Op(']'), Token::Op('='), next, ..],
                ) if word == "environ" && !next.is_op('=') => {
                    given.insert(value.clone());
                }
                (
                    Token::Name(word),
                    [Token::Op('.'), Token::Name(set), Token::Op('('), Token::Str { value, .. }, ..],
                ) if word == "environ" && set == "setdefault" => {
                    given.insert(value.clone());
                }
                (Token::Str { value, .. }, _) if is_environment_file(value) => {
                    named.insert(file_name(value).to_owned());
                }
                _ => {}
            }
        }
    }
    if !reads {
        return given;
    }
    let directories = directories(modules, chain);
    let snapshot = modules.snapshot;
    let files = snapshot.files_below("").filter(|path| is_environment_file(path));
    for path in files.filter(|path| snapshot.text(path).is_some()) {
        let name = file_name(path);
        let found = directories.contains(parent(path)) && matches!(name, ".env" | "settings.ini");
        if found || named.contains(name) {
            given.extend(variables(snapshot.source(path)).take(MOST).map(|(name, _)| name.to_owned()));
        }
    }
    given
}

/// The values that a file such as `.env.example` shows, where they may be more than a place to fill in.
pub(super) fn examples(modules: Modules<'_>, chain: &Chain) -> HashMap<String, String> {
    let directories = directories(modules, chain);
    let snapshot = modules.snapshot;
    let is_example = |path: &&str| {
        let name = file_name(path);
        directories.contains(parent(path))
            && is_environment_file(path)
            && ["example", "sample", "template", "dist"].iter().any(|word| name.contains(word))
    };
    let mut shown = HashMap::new();
    for path in snapshot.files_below("").filter(is_example) {
        let read = variables(snapshot.source(path)).take(MOST).filter(|(_, value)| is_value(value));
        for (name, value) in read {
            shown.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    shown
}

/// The directories in which settings look for a `.env`: their own and those above, and that of `manage.py`.
fn directories<'a>(modules: Modules<'a>, chain: &'a Chain) -> HashSet<&'a str> {
    let mut directories: HashSet<&str> = HashSet::from(["", modules.project]);
    for (path, _) in &chain.files {
        let mut directory = parent(path);
        while !directory.is_empty() {
            directories.insert(directory);
            directory = parent(directory);
        }
    }
    directories
}

/// Whether what an example shows can be meant as it stands.
fn is_value(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let placeholders = ["your", "change", "xxx", "...", "secret", "example", "todo", "<", "[", "{", "*"];
    !text.is_empty()
        && text.len() <= 100
        && !text.contains(char::is_control)
        && !placeholders.iter().any(|word| lower.contains(word))
}

/// The names and values of a `.env`.
fn variables(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let line = line.trim_start();
        let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        let name = name.trim();
        let plain = !name.is_empty() && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
        let value = value.split(" #").next().unwrap_or_default().trim();
        let bare = |quote| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
        plain.then(|| (name, bare('"').or_else(|| bare('\'')).unwrap_or(value)))
    })
}
