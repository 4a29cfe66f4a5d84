//! The variables that a project demands: that its settings, and what else a server loads, read where nothing is given in
//! their place. One that has a default, or without which the project goes on, is left alone: a variable that is set
//! switches things on.

mod answer;
mod given;
mod reads;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use self::{
    answer::Place,
    reads::{Cast, Helpers, Read, Strength},
};
use super::{
    conditions,
    evaluate::Names,
    guards,
    modules::{Chain, Modules},
    python::{self, Line, Token},
};
use crate::domain::Demanded;

/// Variables of one plan.
const MOST: usize = 60;

/// What a `try` around the reading of a variable catches where the variable may be missing.
const CAUGHT: [&str; 7] = [
    "KeyError",
    "UndefinedValueError",
    "ImproperlyConfigured",
    "EnvError",
    "AttributeError",
    "TypeError",
    "ValueError",
];

/// Variables that a machine always has, or gives by itself.
const OF_MACHINES: [&str; 4] = ["DJANGO_SETTINGS_MODULE", "HOME", "PATH", "PYTHONPATH"];

/// The variables that the settings in `chain` and the other files that are `loaded` demand, in the order of reading.
pub(super) fn demanded(modules: Modules<'_>, chain: &Chain, loaded: &[String]) -> Vec<Demanded> {
    let speaks = |path: &&String| {
        let source = modules.snapshot.source(path);
        ["environ", "getenv", "config(", "env"].iter().any(|word| source.contains(word))
    };
    let others: Vec<_> = loaded
        .iter()
        .filter(speaks)
        .map(|path| (path, python::lines(modules.snapshot.source(path))))
        .collect();
    let of_chain = chain.names();
    let files = || {
        let chain = chain.files.iter().map(|(path, lines)| (path, lines));
        chain.chain(others.iter().map(|(path, lines)| (*path, lines)))
    };
    let helpers = Helpers::of(files().flat_map(|(_, lines)| lines));
    let mut given = given::of(modules, chain, files().flat_map(|(_, lines)| lines));
    given.extend(OF_MACHINES.map(str::to_owned));
    let examples = given::examples(modules, chain);
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for (at, (path, lines)) in files().enumerate() {
        let own = (at >= chain.files.len()).then(|| Names::of(lines));
        for (read, place) in in_file(lines, &helpers, own.as_ref().unwrap_or(&of_chain)) {
            let name = &read.name;
            if found.len() < MOST && !given.contains(name) && seen.insert(name.clone()) {
                let answer = answer::of(name, &place, read.cast, examples.get(name).map(String::as_str));
                found.push(Demanded { name: name.clone(), file: path.clone(), line: read.number, answer });
            }
        }
    }
    found
}

/// What a file demands, and where it puts it.
fn in_file(lines: &[Line], helpers: &Helpers, names: &Names) -> Vec<(Read, Place)> {
    let dead = conditions::dead(lines, names);
    let caught = guards::caught(lines, &CAUGHT);
    let mut found = Vec::new();
    // Names that hold what a variable gave, which may be nothing, until somebody insists on it.
    let mut held: HashMap<&str, Read> = HashMap::new();
    for (at, line) in lines.iter().enumerate() {
        if line.inner || dead[at] || caught[at] {
            continue;
        }
        let insisted = insists(lines, at);
        found.extend(relied_on(line, &mut held).into_iter().map(|read| (read, Place::default())));
        let tested = tested(&line.tokens);
        for read in helpers.reads(line) {
            if tested.contains(read.name.as_str()) {
                continue;
            }
            let place = Place::of(&line.tokens, &read);
            let needed = match read.strength {
                Strength::Demanded => true,
                Strength::Offered => {
                    is_used(&line.tokens, read.start, read.end) || place.is_needed(read.cast) || insisted
                }
            };
            if needed {
                found.push((read, place));
            } else if let Some(name) = python::assigned(line, line.tokens[0].name().unwrap_or_default())
                .filter(|value| value.len() == read.end - read.start)
                .and_then(|_| line.tokens[0].name())
            {
                held.insert(name, read);
            }
        }
        if insisted {
            let asked = line.tokens.iter().filter_map(Token::name).filter_map(|name| held.remove(name));
            found.extend(asked.map(|read| (read, Place::default())));
            found.extend(helpers.tested(line).map(|read| (read, Place::default())));
        }
    }
    found
}

/// Whether the line is an `if` whose block gives up, or an `assert`: what it speaks of must be there.
fn insists(lines: &[Line], at: usize) -> bool {
    let line = &lines[at];
    match line.tokens.first().and_then(Token::name) {
        Some("assert") => true,
        Some("if") => {
            let negated =
                line.tokens.iter().filter_map(Token::name).any(|name| matches!(name, "not" | "None"));
            let gives_up = |tokens: &[Token]| tokens.first().and_then(Token::name) == Some("raise");
            let next = lines.get(at + 1).filter(|next| next.indent > line.indent);
            negated && (gives_up(python::statement(line)) || next.is_some_and(|next| gives_up(&next.tokens)))
        }
        _ => false,
    }
}

/// The variables of which a line asks itself whether they are there: `environ["X"] if "X" in environ else …`.
fn tested(tokens: &[Token]) -> HashSet<&str> {
    if !tokens.iter().any(|token| token.name() == Some("if")) {
        return HashSet::new();
    }
    let pairs = tokens.windows(2).filter(|pair| pair[1].name() == Some("in"));
    pairs.filter_map(|pair| pair[0].string()).collect()
}

/// Takes out of `held` what a line uses in a way that nothing cannot be used in, and what it assigns anew. A line that
/// stands under a condition, or has one, may have asked before.
fn relied_on(line: &Line, held: &mut HashMap<&str, Read>) -> Vec<Read> {
    let tokens = &line.tokens;
    let asks = tokens.iter().filter_map(Token::name).any(|name| matches!(name, "if" | "or" | "and"));
    let mut found = Vec::new();
    if !held.is_empty() && line.indent == 0 && !asks {
        for (at, token) in tokens.iter().enumerate() {
            let member = at > 0 && tokens[at - 1].is_op('.');
            if let Some(name) = token.name().filter(|_| !member && is_used(tokens, at, at + 1)) {
                found.extend(held.remove(name));
            }
        }
    }
    if let [Token::Name(name), Token::Op('='), ..] = &tokens[..] {
        held.remove(name.as_str());
    }
    found
}

/// Whether what stands from `start` to `end` is used in a way that nothing cannot be used in.
fn is_used(tokens: &[Token], start: usize, end: usize) -> bool {
    let before = &tokens[..start];
    let after = tokens.get(end..).unwrap_or_default();
    let called = |names: &[&str]| {
        let [.., Token::Name(name), Token::Op('(')] = before else { return false };
        after.first().is_some_and(|token| token.is_op(')')) && names.contains(&name.as_str())
    };
    let method = matches!(after, [Token::Op('.'), Token::Name(_), ..]);
    let item = after.first().is_some_and(|token| token.is_op('['));
    let added = after.first().is_some_and(|token| token.is_op('+'))
        || before.last().is_some_and(|token| token.is_op('+'));
    method
        || item
        || added
        || called(&[
            "int",
            "float",
            "loads",
            "literal_eval",
            "Path",
            "strtobool",
            "parse",
            "b64decode",
            "len",
            "eval",
        ])
}

/// The number type that a cast by name stands for.
fn cast_of(name: &str) -> Cast {
    match name {
        "int" | "float" | "Decimal" => Cast::Number,
        "bool" | "strtobool" => Cast::Flag,
        "loads" | "json" | "dict" | "literal_eval" | "eval" => Cast::Data,
        "list" | "tuple" | "Csv" | "split" => Cast::List,
        "db" | "db_url" | "dj_db_url" => Cast::DatabaseUrl,
        _ => Cast::Text,
    }
}
