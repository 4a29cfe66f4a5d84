//! The variables that the project gives itself: in a `.env` that is committed and that it reads, or in its code.

use std::collections::HashSet;

use crate::preflight::{
    dependencies::is_environment_file,
    modules::{Chain, Modules},
    python::{Line, Token},
    snapshot::{file_name, parent},
};

/// Variables of one file.
const MOST: usize = 1000;

/// Programs that read a `.env`, and give what stands there where nothing else does.
const READERS: [&str; 6] = ["AutoConfig", "decouple", "dotenv", "load_dotenv", "read_env", "read_envfile"];

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
    let mut directories: HashSet<&str> = HashSet::from(["", modules.project]);
    for (path, _) in &chain.files {
        let mut directory = parent(path);
        while !directory.is_empty() {
            directories.insert(directory);
            directory = parent(directory);
        }
    }
    let snapshot = modules.snapshot;
    let files = snapshot.files_below("").filter(|path| is_environment_file(path));
    for path in files.filter(|path| snapshot.text(path).is_some()) {
        let name = file_name(path);
        let found = directories.contains(parent(path)) && matches!(name, ".env" | "settings.ini");
        if found || named.contains(name) {
            given.extend(variables(snapshot.source(path)).take(MOST));
        }
    }
    given
}

/// The names of a `.env`.
fn variables(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter_map(|line| {
        let line = line.trim_start();
        let (name, _) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        let name = name.trim();
        let plain = !name.is_empty() && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
        plain.then(|| name.to_owned())
    })
}
