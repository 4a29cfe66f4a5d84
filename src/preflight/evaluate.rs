//! What a Python expression gives on a host where no variable is set: text put together from literals, from
//! names assigned before, and from the defaults of variables. Anything else is unknown.

use std::collections::HashMap;

use super::python::{self, Line, Token};

/// What an expression gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A text.
    Text(String),
    /// `True` or `False`.
    Flag(bool),
    /// Nothing: a variable without default.
    Unset,
    /// Not to be told without running it.
    Unknown,
}

/// Names of a module and what they were last assigned.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, Value>);

/// Expressions and conditions nest no deeper than this in anything a person writes.
pub(super) const DEPTH: usize = 20;

/// Nor are they longer, in tokens.
pub(super) const LENGTH: usize = 300;

impl Names {
    /// The names that `lines` assign by themselves. A name that is assigned differently in different places is unknown, but
    /// where one of them only gives the default of a variable.
    pub(super) fn of<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Self {
        let mut names = Self::default();
        for line in lines {
            let Some(name) = line.tokens.first().and_then(Token::name) else { continue };
            let Some(mut value) = python::assigned(line, name) else { continue };
            let mut assigned = vec![name];
            // `A = B = value`
            while let [Token::Name(name), Token::Op('='), rest @ ..] = value
                && rest.first().is_some_and(|next| !next.is_op('='))
            {
                assigned.push(name);
                value = rest;
            }
            let value = names.evaluate(value);
            for name in assigned {
                names.assign(name, value.clone(), line.indent > 0);
            }
        }
        names
    }

    fn assign(&mut self, name: &str, value: Value, under_condition: bool) {
        let value = match self.0.get(name) {
            Some(before @ (Value::Text(_) | Value::Flag(_))) if under_condition && value != *before => {
                Value::Unknown
            }
            _ => value,
        };
        self.0.insert(name.to_owned(), value);
    }

    /// What `tokens`, one whole expression, give.
    pub(super) fn evaluate(&self, tokens: &[Token]) -> Value {
        self.evaluate_at(tokens, 0)
    }

    /// The text that `tokens` give, where they give one.
    pub(super) fn text(&self, tokens: &[Token]) -> Option<String> {
        if let Value::Text(text) = self.evaluate(tokens) { Some(text) } else { None }
    }

    /// The same within `depth` others.
    pub(super) fn evaluate_at(&self, tokens: &[Token], depth: usize) -> Value {
        if depth > DEPTH || tokens.len() > LENGTH || tokens.first().and_then(Token::name) == Some("lambda") {
            return Value::Unknown;
        }
        let either = split(tokens, |token| token.name() == Some("or")).len() > 1;
        if !either && is_condition(tokens) {
            return self.truth_at(tokens, depth + 1).map_or(Value::Unknown, Value::Flag);
        }
        self.plain(tokens, depth)
    }

    /// What `tokens` give where they hold nothing that is compared or tested.
    pub(super) fn plain(&self, tokens: &[Token], depth: usize) -> Value {
        let mut value = Value::Unset;
        for part in split(tokens, |token| token.name() == Some("or")) {
            value = self.sum(part, depth);
            match &value {
                Value::Unset | Value::Flag(false) => {}
                Value::Text(text) if text.is_empty() => {}
                _ => break,
            }
        }
        value
    }

    fn sum(&self, tokens: &[Token], depth: usize) -> Value {
        let mut whole = String::new();
        let terms = split(tokens, |token| token.is_op('+'));
        let single = terms.len() == 1;
        for term in terms {
            match self.term(term, depth) {
                Value::Text(text) => whole.push_str(&text),
                value if single => return value,
                _ => return Value::Unknown,
            }
        }
        Value::Text(whole)
    }

    fn term(&self, tokens: &[Token], depth: usize) -> Value {
        match tokens {
            [] => Value::Unknown,
            [Token::Name(name)] => match name.as_str() {
                "None" => Value::Unset,
                "True" => Value::Flag(true),
                "False" | "TYPE_CHECKING" => Value::Flag(false),
                _ => self.0.get(name).cloned().unwrap_or(Value::Unknown),
            },
            // For programs that check types, and only for them.
            [Token::Name(_), Token::Op('.'), Token::Name(name)] if name == "TYPE_CHECKING" => {
                Value::Flag(false)
            }
            [Token::Op('('), inner @ .., Token::Op(')')]
                if python::expression(inner).len() == inner.len() =>
            {
                self.evaluate_at(inner, depth + 1)
            }
            strings if strings.iter().all(|token| token.string().is_some()) => self.strings(strings),
            _ => self.call(tokens, depth),
        }
    }

    fn strings(&self, tokens: &[Token]) -> Value {
        let mut whole = String::new();
        for token in tokens {
            match token {
                Token::Str { value, formatted: false } => whole.push_str(value),
                Token::Str { value, formatted: true } => match self.format(value) {
                    Some(text) => whole.push_str(&text),
                    None => return Value::Unknown,
                },
                _ => return Value::Unknown,
            }
        }
        Value::Text(whole)
    }

    /// An f-string whose braces hold names alone.
    fn format(&self, template: &str) -> Option<String> {
        let mut whole = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}')?;
            let Some(Value::Text(text)) = self.0.get(name.trim()) else { return None };
            whole.push_str(before);
            whole.push_str(text);
            rest = after;
        }
        whole.push_str(rest);
        Some(whole)
    }

    /// A variable that is read with a default: `os.environ.get(…)`, `os.getenv(…)`, `config(…)`, `env(…)`.
    fn call(&self, tokens: &[Token], depth: usize) -> Value {
        let Some(open) = tokens.iter().position(|token| token.is_op('(')) else { return Value::Unknown };
        let (callee, arguments) = tokens.split_at(open);
        let [_, inner @ .., Token::Op(')')] = arguments else { return Value::Unknown };
        let callee: Vec<_> = callee.iter().filter_map(Token::name).collect();
        let reads = match callee[..] {
            [.., "environ", "get"] | [.., "getenv"] => true,
            [.., "env", "str" | "bool" | "int"] => true,
            ["config" | "env"] | ["str"] => false,
            _ => return Value::Unknown,
        };
        let arguments = split(inner, |token| token.is_op(','));
        if callee == ["str"] {
            return match arguments[..] {
                [one] => self.evaluate_at(one, depth + 1),
                _ => Value::Unknown,
            };
        }
        let keyword = arguments.iter().skip(1).find_map(|argument| match argument {
            [Token::Name(name), Token::Op('='), value @ ..] if name == "default" => Some(value),
            _ => None,
        });
        let second = arguments.get(1).filter(|argument| reads && !argument.is_empty()).copied();
        let as_bool = callee.last() == Some(&"bool")
            || arguments.iter().any(|argument| {
                matches!(argument, [Token::Name(cast), Token::Op('='), Token::Name(bool)] if cast == "cast" && bool == "bool")
            });
        match keyword.or(second) {
            Some(default) => match self.evaluate_at(default, depth + 1) {
                Value::Text(text) if as_bool => Value::Flag(!is_off(&text)),
                value => value,
            },
            None if reads && !callee.contains(&"env") => Value::Unset,
            None => Value::Unknown,
        }
    }
}

/// Whether a text stands for no, as the readers of variables take it.
fn is_off(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "" | "0" | "f" | "false" | "n" | "no" | "off")
}

/// Whether an expression is `not …`, or compares or tests something.
fn is_condition(tokens: &[Token]) -> bool {
    let mut depth = 0usize;
    tokens.iter().enumerate().any(|(at, token)| match token {
        Token::Op('(' | '[' | '{') => {
            depth += 1;
            false
        }
        Token::Op(')' | ']' | '}') => {
            depth = depth.saturating_sub(1);
            false
        }
        Token::Op('=') => depth == 0 && tokens.get(at + 1).is_some_and(|next| next.is_op('=')),
        Token::Op('!') => depth == 0,
        Token::Name(word) => depth == 0 && matches!(word.as_str(), "and" | "in" | "is" | "not"),
        _ => false,
    })
}

/// Splits `tokens` where `at` says so, outside of brackets.
pub(super) fn split(tokens: &[Token], at: impl Fn(&Token) -> bool) -> Vec<&[Token]> {
    let mut depth = 0usize;
    let mut parts = Vec::new();
    let mut start = 0;
    for (i, token) in tokens.iter().enumerate() {
        match token {
            Token::Op('(' | '[' | '{') => depth += 1,
            Token::Op(')' | ']' | '}') => depth = depth.saturating_sub(1),
            token if depth == 0 && at(token) => {
                parts.push(&tokens[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::conditions;
    use proptest::{collection::vec, prelude::*, sample::select};
    use rstest::rstest;

    fn last(source: &str) -> Value {
        let lines = python::lines(source);
        Names::of(&lines).0.remove("X").expect("X is assigned")
    }

    #[rstest]
    #[case("X = 'a' 'b'", "ab")]
    #[case("X = 'a.' + 'b'", "a.b")]
    #[case("X = ('a')", "a")]
    #[case("E = 'dev'\nX = 'shop.' + E", "shop.dev")]
    #[case("E = 'dev'\nX = f'shop.{E}'", "shop.dev")]
    #[case("X = 'shop.' + os.environ.get('E', 'dev')", "shop.dev")]
    #[case("X = os.getenv('E') or 'dev'", "dev")]
    #[case("X = os.environ.get('A', os.environ.get('B', 'c'))", "c")]
    #[case("X = config('E', default='dev', cast=str)", "dev")]
    #[case("X = env.str('E', default='dev')", "dev")]
    #[case("X = str('a')", "a")]
    fn texts(#[case] source: &str, #[case] text: &str) {
        assert_eq!(last(source), Value::Text(text.to_owned()));
    }

    #[rstest]
    #[case("X = os.environ['E']")]
    #[case("X = 'a' if b else 'c'")]
    #[case("X = 'a%s' % b")]
    #[case("X = 'a{}'.format(b)")]
    #[case("X = f'a.{b()}'")]
    #[case("X = config('E')")]
    #[case("X = 'a'\nif y:\n    X = 'b'")]
    #[case("X = (((((((((((((((((((((((((((((((('a'))))))))))))))))))))))))))))))))")]
    #[case("X = +")]
    #[case("X = Y = not DEBUG")]
    #[case("X = lambda request: not request.user.is_staff")]
    #[case("X = lambda request: False and request.user.is_staff")]
    #[case("X = a, not b")]
    #[case("X = (== 3)")]
    #[case("X = !ls")]
    #[case("X = not")]
    #[case("X = a not")]
    #[case("X = (a is) in (not)")]
    fn unknown(#[case] source: &str) {
        assert_eq!(last(source), Value::Unknown);
    }

    #[rstest]
    #[case("X = Y = False")]
    #[case("Y = X = False")]
    #[case("DEBUG = TEMPLATE_DEBUG = True\nY = X = Z = not TEMPLATE_DEBUG")]
    fn all_names_of_a_chain_are_assigned(#[case] source: &str) {
        assert_eq!(last(source), Value::Flag(false));
    }

    proptest! {
        #[test]
        fn any_order_of_words_comes_to_an_end(
            words in vec(select(&["=", "!", "not", "in", "is", "and", "or", "if", "lambda", ",", "(", ")", "'a'", "X"][..]), 0..40),
        ) {
            let words = words.join(" ");
            let lines = python::lines(&format!("X = {words}\nif {words}:\n  a\n"));
            prop_assert_eq!(conditions::dead(&lines, &Names::of(&lines)).len(), lines.len());
        }
    }

    #[test]
    fn what_is_longer_than_a_person_writes_is_unknown() {
        let sum = |terms: usize| format!("X = {}'a'", "'a' + ".repeat(terms));
        assert_eq!(last(&sum(100)), Value::Text("a".repeat(101)));
        assert_eq!(last(&sum(200)), Value::Unknown);
    }

    #[test]
    fn a_variable_without_default_is_unset() {
        assert_eq!(last("X = os.environ.get('E')"), Value::Unset);
    }
}
