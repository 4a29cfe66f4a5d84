//! Where Python reads a variable of the environment, and whether it has anything in its place.

use std::{collections::HashSet, sync::LazyLock};

use regex::Regex;

use super::cast_of;
use crate::preflight::{
    evaluate::split,
    python::{self, Line, Token},
};

/// A call's brackets hold no more tokens than this where they only read a variable.
const ARGUMENTS: usize = 200;

/// A variable that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub name: String,
    /// The line of the file, from 1.
    pub number: u32,
    /// Where the reading stands among the line's tokens.
    pub start: usize,
    pub end: usize,
    pub strength: Strength,
    pub cast: Cast,
}

/// What happens where a variable is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strength {
    /// The reading fails.
    Demanded,
    /// It gives nothing.
    Offered,
}

/// What a variable's text is made into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cast {
    Text,
    Number,
    Flag,
    List,
    /// JSON, or Python's own way to write a value.
    Data,
    /// All that tells how a database is reached.
    DatabaseUrl,
}

/// The names by which a project's files read variables.
#[derive(Debug, Default)]
pub(super) struct Helpers {
    /// `config` of decouple or prettyconf.
    config: HashSet<String>,
    /// Objects of django-environ or environs.
    env: HashSet<String>,
    /// Functions of the project that fail where a variable is not set.
    own: HashSet<String>,
    /// Variables that an object of django-environ has defaults for.
    defaults: HashSet<String>,
}

static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("^[A-Za-z_][A-Za-z0-9_]{0,99}$").ok());

impl Helpers {
    /// Gathers them from all files: one makes them, and others import them.
    pub(super) fn of<'a>(lines: impl Iterator<Item = &'a Line>) -> Self {
        let mut helpers = Self::default();
        // The function that is being read: its name, its first parameter, and whether it reads that and gives up.
        let mut function: Option<(usize, &str, &str, bool, bool)> = None;
        for line in lines {
            if let Some((indent, name, _, true, true)) = function
                && (line.indent <= indent || !line.inner)
            {
                helpers.own.insert(name.to_owned());
            }
            if function.is_some_and(|(indent, ..)| line.indent <= indent) {
                function = None;
            }
            match &line.tokens[..] {
                [Token::Name(from), Token::Name(module), rest @ ..]
                    if from == "from" && matches!(module.as_str(), "decouple" | "prettyconf") =>
                {
                    helpers.config.extend(imported(rest, "config"));
                }
                [Token::Name(name), Token::Op('='), value @ ..] => helpers.made(name, value),
                [Token::Name(def), Token::Name(name), Token::Op('('), Token::Name(parameter), ..]
                    if def == "def" =>
                {
                    function = Some((line.indent, name, parameter, false, false));
                }
                _ => {}
            }
            if let Some((_, _, parameter, reads, raises)) = &mut function {
                *reads |= line.tokens.windows(3).any(|three| {
                    matches!(three[0].name(), Some("environ" | "get" | "getenv"))
                        && (three[1].is_op('[') || three[1].is_op('('))
                        && three[2].name() == Some(parameter)
                });
                *raises |= line.tokens.iter().any(|token| token.name() == Some("raise"));
            }
        }
        if let Some((_, name, _, true, true)) = function {
            helpers.own.insert(name.to_owned());
        }
        helpers
    }

    /// `env = environ.Env(DEBUG=(bool, False))`, `config = AutoConfig()`.
    fn made(&mut self, name: &str, value: &[Token]) {
        let Some(open) = value.iter().position(|token| token.is_op('(')) else { return };
        match value[..open].last().and_then(Token::name) {
            Some("Env" | "FileAwareEnv") => {
                self.env.insert(name.to_owned());
                for argument in split(arguments(value, open), |token| token.is_op(',')) {
                    if let [Token::Name(variable), Token::Op('='), Token::Op('('), pair @ .., Token::Op(')')] =
                        argument
                        && split(pair, |token| token.is_op(',')).len() > 1
                    {
                        self.defaults.insert(variable.clone());
                    }
                }
            }
            Some("AutoConfig" | "Config") => {
                self.config.insert(name.to_owned());
            }
            _ => {}
        }
    }

    /// The variables that a line reads, also in the braces of f-strings.
    pub(super) fn reads(&self, line: &Line) -> Vec<Read> {
        let tokens = &line.tokens;
        let mut found = Vec::new();
        for at in 0..tokens.len() {
            let number = line.numbers.get(at).copied().unwrap_or(1);
            match &tokens[at] {
                Token::Name(word) => found.extend(self.read(tokens, at, word, number)),
                Token::Str { value, formatted: true } if value.contains('{') => {
                    for part in braces(value) {
                        for inner in python::lines(part) {
                            let plain = inner
                                .tokens
                                .iter()
                                .all(|token| !matches!(token, Token::Str { formatted: true, .. }));
                            let reads = if plain { self.reads(&inner) } else { Vec::new() };
                            found.extend(reads.into_iter().map(|read| Read {
                                number,
                                start: at,
                                end: at + 1,
                                ..read
                            }));
                        }
                    }
                }
                _ => {}
            }
        }
        found.retain(|read| NAME.as_ref().is_some_and(|name| name.is_match(&read.name)));
        found
    }

    /// The variables of which a line asks whether they are there: `"X" in os.environ`.
    pub(super) fn tested(&self, line: &Line) -> impl Iterator<Item = Read> {
        let environ = line.tokens.iter().any(|token| token.name() == Some("environ"));
        let pairs = line.tokens.windows(2).enumerate().filter(move |_| environ);
        let tested = pairs.filter(|(_, pair)| matches!(pair[1].name(), Some("in" | "not")));
        tested.filter_map(|(at, pair)| {
            let name =
                pair[0].string().filter(|text| NAME.as_ref().is_some_and(|name| name.is_match(text)))?;
            let number = line.numbers.get(at).copied().unwrap_or(1);
            let (strength, cast) = (Strength::Demanded, Cast::Text);
            Some(Read { name: name.to_owned(), number, start: at, end: at + 1, strength, cast })
        })
    }

    fn read(&self, tokens: &[Token], at: usize, word: &str, number: u32) -> Option<Read> {
        let before = |at: usize| at.checked_sub(1).map(|before| &tokens[before]);
        // `os.environ` begins at `os`.
        let dotted = before(at).is_some_and(|token| token.is_op('.'));
        let start = if dotted { at.saturating_sub(2) } else { at };
        if matches!(before(start).and_then(Token::name), Some("def" | "class" | "del" | "import")) {
            return None;
        }
        let read = |name: &str, end: usize, strength: Strength, cast: Cast| {
            // A bracket that is not closed reaches to the line's end and no further.
            let end = end.min(tokens.len());
            let cast = if cast == Cast::Text { around(tokens, start, end) } else { cast };
            Some(Read { name: name.to_owned(), number, start, end, strength, cast })
        };
        match (word, &tokens[at + 1..]) {
            (
                "environ",
                [Token::Op('['), Token::Str { value, formatted: false }, Token::Op(']'), rest @ ..],
            ) => {
                let set = matches!(rest, [Token::Op('='), next, ..] if !next.is_op('='));
                (!set).then(|| read(value, at + 4, Strength::Demanded, Cast::Text)).flatten()
            }
            ("environ", [Token::Op('.'), Token::Name(get), Token::Op('('), ..]) if get == "get" => {
                self.call(tokens, at + 3, read, Strength::Offered)
            }
            ("config", [Token::Op('('), ..]) if dotted && tokens[start].name() == Some("dj_database_url") => {
                let inner = arguments(tokens, at + 1);
                let end = at + inner.len() + 3;
                let default = inner.iter().any(|token| matches!(token.name(), Some("default" | "env")));
                let name = inner.first().and_then(Token::string).unwrap_or("DATABASE_URL");
                (!default).then(|| read(name, end, Strength::Offered, Cast::DatabaseUrl)).flatten()
            }
            ("getenv", [Token::Op('('), ..]) => self.call(tokens, at + 1, read, Strength::Offered),
            (_, [Token::Op('('), ..])
                if !dotted && (self.config.contains(word) || self.own.contains(word)) =>
            {
                self.call(tokens, at + 1, read, Strength::Demanded)
            }
            (_, [Token::Op('('), ..]) if !dotted && self.env.contains(word) => {
                self.env(tokens, at + 1, "", read)
            }
            (_, [Token::Op('.'), Token::Name(method), Token::Op('('), ..])
                if !dotted && self.env.contains(word) =>
            {
                self.env(tokens, at + 3, method, read)
            }
            _ => None,
        }
    }

    /// A call whose first argument names the variable, and whose second would be its default.
    fn call(
        &self,
        tokens: &[Token],
        open: usize,
        read: impl Fn(&str, usize, Strength, Cast) -> Option<Read>,
        strength: Strength,
    ) -> Option<Read> {
        let inner = arguments(tokens, open);
        let arguments: Vec<_> =
            split(inner, |token| token.is_op(',')).into_iter().filter(|part| !part.is_empty()).collect();
        let [Token::Str { value, formatted: false }] = arguments.first()? else { return None };
        let keyword = |part: &[Token], name: &str| matches!(part, [Token::Name(key), Token::Op('='), ..] if key == name);
        let default = arguments[1..]
            .iter()
            .any(|part| keyword(part, "default") || !matches!(part, [Token::Name(_), Token::Op('='), ..]));
        let cast = arguments[1..]
            .iter()
            .find(|part| keyword(part, "cast"))
            .and_then(|part| part[2..].iter().find_map(Token::name));
        (!default)
            .then(|| read(value, open + inner.len() + 2, strength, cast.map_or(Cast::Text, cast_of)))
            .flatten()
    }

    /// A call of django-environ or environs: `env("X", default=…)`, `env.bool("X", False)`, `env.db()`.
    fn env(
        &self,
        tokens: &[Token],
        open: usize,
        method: &str,
        read: impl Fn(&str, usize, Strength, Cast) -> Option<Read>,
    ) -> Option<Read> {
        let usual = match method {
            "db" | "db_url" | "dj_db_url" => Some("DATABASE_URL"),
            "cache" | "cache_url" => Some("CACHE_URL"),
            "email" | "email_url" => Some("EMAIL_URL"),
            "search" | "search_url" => Some("SEARCH_URL"),
            "read_env" | "prefixed" | "seal" => return None,
            _ => None,
        };
        let inner = arguments(tokens, open);
        let arguments: Vec<_> =
            split(inner, |token| token.is_op(',')).into_iter().filter(|part| !part.is_empty()).collect();
        let named = arguments.iter().find_map(|part| match part {
            [Token::Str { value, formatted: false }] => Some(value.as_str()),
            [Token::Name(key), Token::Op('='), Token::Str { value, .. }] if key == "var" => {
                Some(value.as_str())
            }
            _ => None,
        });
        let positional = |at: usize| {
            arguments.get(at).filter(|part| !matches!(part, [Token::Name(_), Token::Op('='), ..]))
        };
        let keyword = arguments
            .iter()
            .any(|part| matches!(part, [Token::Name(key), Token::Op('='), ..] if key == "default"));
        // The second of a method is the default. That of the object itself is so to environs; to django-environ it is the
        // type, and the third the default.
        let default = keyword
            || if method.is_empty() {
                positional(1).is_some_and(|part| is_value(part)) || positional(2).is_some()
            } else {
                positional(1).is_some()
            };
        let name = named.or(usual).filter(|name| !default && !self.defaults.contains(*name))?;
        let cast = match method {
            "" | "str" => arguments
                .get(1)
                .and_then(|part| part.last())
                .and_then(Token::name)
                .map_or(Cast::Text, cast_of),
            method => cast_of(method),
        };
        read(name, open + inner.len() + 2, Strength::Demanded, cast)
    }
}

/// Whether an argument is written out as a value, and not as the name of a type: `"x"`, `5`, `None`, `["x"]`.
fn is_value(tokens: &[Token]) -> bool {
    let types = ["str", "int", "float", "bool", "list", "dict", "tuple"];
    match tokens {
        [Token::Str { .. } | Token::Number | Token::Op('-'), ..] => true,
        [Token::Name(word)] => matches!(word.as_str(), "None" | "True" | "False"),
        [Token::Op('(' | '[' | '{'), inner @ ..] => {
            !inner.iter().filter_map(Token::name).any(|name| types.contains(&name))
        }
        _ => false,
    }
}

/// The tokens between the bracket at `open` and the one that closes it, or the line's end.
fn arguments(tokens: &[Token], open: usize) -> &[Token] {
    let mut depth = 0usize;
    let inner = &tokens[open + 1..];
    let inner = &inner[..inner.len().min(ARGUMENTS)];
    for (at, token) in inner.iter().enumerate() {
        match token {
            Token::Op('(' | '[' | '{') => depth += 1,
            Token::Op(')' | ']' | '}') if depth == 0 => return &inner[..at],
            Token::Op(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
    }
    inner
}

/// The names that an import gives `what`.
fn imported(tokens: &[Token], what: &str) -> Vec<String> {
    let parts = tokens.split(|token| token.is_op(',') || token.name() == Some("import"));
    let named = parts.filter(|part| part.iter().find_map(Token::name) == Some(what));
    named.filter_map(|part| part.iter().rev().find_map(Token::name)).map(str::to_owned).collect()
}

/// What the reading between two places is made into: `int(…)`, `json.loads(…)`, `ast.literal_eval(…)`, `….split(…)`.
fn around(tokens: &[Token], start: usize, end: usize) -> Cast {
    let before = match &tokens[..start] {
        [.., Token::Name(module), Token::Op('.'), Token::Name(parse), Token::Op('(')]
            if module == "dj_database_url" && parse == "parse" =>
        {
            Cast::DatabaseUrl
        }
        [.., Token::Name(function), Token::Op('(')] => cast_of(function),
        _ => Cast::Text,
    };
    match tokens.get(end..) {
        Some([Token::Op('.'), Token::Name(method), ..]) if before == Cast::Text => cast_of(method),
        _ => before,
    }
}

/// What stands in the braces of an f-string, at one level.
fn braces(template: &str) -> impl Iterator<Item = &str> {
    template.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(inner, _)| inner)
}
