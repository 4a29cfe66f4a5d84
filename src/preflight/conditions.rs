//! Whether a condition holds on a host where no variable is set, as far as its text tells, and which lines stand under one
//! that does not.

use super::{
    evaluate::{DEPTH, LENGTH, Names, Value, split},
    python::{self, Line, Token},
};

/// For each line, whether it stands under a condition that plainly does not hold.
pub(super) fn dead(lines: &[Line], names: &Names) -> Vec<bool> {
    let mut open: Vec<Branch> = Vec::new();
    let mut dead = Vec::with_capacity(lines.len());
    for line in lines {
        while open.last().is_some_and(|branch| branch.indent > line.indent) {
            open.pop();
        }
        let word = line.tokens.first().and_then(Token::name);
        let holds = || {
            let end = python::colon(&line.tokens).unwrap_or(line.tokens.len());
            names.truth(line.tokens.get(1..end).unwrap_or_default())
        };
        let mut header = true;
        match (word, open.last_mut().filter(|branch| branch.indent == line.indent)) {
            (Some("elif"), Some(branch)) => branch.next(holds()),
            (Some("else"), Some(branch)) => branch.next(Some(true)),
            (Some("if"), before) => {
                if before.is_some() {
                    open.pop();
                }
                let holds = holds();
                open.push(Branch {
                    indent: line.indent,
                    dead: holds == Some(false),
                    taken: holds == Some(true),
                });
            }
            (_, before) => {
                header = false;
                if before.is_some() {
                    open.pop();
                }
            }
        }
        // A header is dead itself only where its statement stands on the same line.
        let with_statement = header && !python::statement(line).is_empty();
        let above = if header && !with_statement { open.len() - 1 } else { open.len() };
        dead.push(open[..above].iter().any(|branch| branch.dead));
    }
    dead
}

/// An `if` with its branches so far.
struct Branch {
    indent: usize,
    /// Whether the branch that is open is not taken.
    dead: bool,
    /// Whether one was taken for certain.
    taken: bool,
}

impl Branch {
    fn next(&mut self, holds: Option<bool>) {
        self.dead = self.taken || holds == Some(false);
        self.taken |= holds == Some(true);
    }
}

impl Names {
    /// Whether a condition holds; none where that cannot be told.
    pub(super) fn truth(&self, tokens: &[Token]) -> Option<bool> {
        self.truth_at(tokens, 0)
    }

    /// The same within `depth` others.
    pub(super) fn truth_at(&self, tokens: &[Token], depth: usize) -> Option<bool> {
        if depth > DEPTH || tokens.len() > LENGTH {
            return None;
        }
        let inner = |tokens: &[Token]| self.truth_at(tokens, depth + 1);
        let word = |word: &'static str| split(tokens, move |token| token.name() == Some(word));
        let either = word("or");
        if let [_, _, ..] = either[..] {
            let told: Vec<_> = either.into_iter().map(inner).collect();
            return if told.contains(&Some(true)) {
                Some(true)
            } else {
                told.iter().all(|told| *told == Some(false)).then_some(false)
            };
        }
        let both = word("and");
        if let [_, _, ..] = both[..] {
            let told: Vec<_> = both.into_iter().map(inner).collect();
            return if told.contains(&Some(false)) {
                Some(false)
            } else {
                told.iter().all(|told| *told == Some(true)).then_some(true)
            };
        }
        match tokens {
            [] => None,
            [Token::Name(not), rest @ ..] if not == "not" => inner(rest).map(|holds| !holds),
            [Token::Op('('), within @ .., Token::Op(')')] if python::balanced(within) => inner(within),
            _ => self.compared(tokens, depth),
        }
    }

    fn compared(&self, tokens: &[Token], depth: usize) -> Option<bool> {
        let value = |tokens: &[Token]| self.evaluate_at(tokens, depth + 1);
        let within = |at: usize| python::balanced(&tokens[..at]);
        for at in (1..tokens.len()).filter(|&at| within(at)) {
            let (left, right) = (&tokens[..at], &tokens[at + 1..]);
            match (&tokens[at], right) {
                (Token::Op(op @ ('=' | '!')), [Token::Op('='), right @ ..]) => {
                    let same =
                        if is_main(left, right) { Some(false) } else { same(&value(left), &value(right)) };
                    return same.map(|same| same == (*op == '='));
                }
                (Token::Op('<' | '>'), _) => return None,
                (Token::Name(is), [Token::Name(not), right @ ..]) if is == "is" && not == "not" => {
                    return same(&value(left), &value(right)).map(|same| !same);
                }
                (Token::Name(is), right) if is == "is" => {
                    return same(&value(left), &value(right));
                }
                (Token::Name(not), [Token::Name(within), right @ ..]) if not == "not" && within == "in" => {
                    return self.contains(right, left, depth).map(|holds| !holds);
                }
                (Token::Name(within), right) if within == "in" => return self.contains(right, left, depth),
                (Token::Name(word), _) if word == "if" => return None,
                _ => {}
            }
        }
        // Nothing is compared after all: to look for that again would have no end.
        match self.plain(tokens, depth) {
            Value::Text(text) => Some(!text.is_empty()),
            Value::Flag(flag) => Some(flag),
            Value::Unset => Some(false),
            Value::Unknown => None,
        }
    }

    /// Whether `container` holds `item`: no variable is set, and no program was called with arguments.
    fn contains(&self, container: &[Token], item: &[Token], depth: usize) -> Option<bool> {
        if matches!(container.last().and_then(Token::name), Some("environ" | "argv")) {
            return Some(false);
        }
        let [Token::Op('(' | '[' | '{'), items @ .., Token::Op(')' | ']' | '}')] = container else {
            return None;
        };
        let value = |tokens: &[Token]| self.evaluate_at(tokens, depth + 1);
        let item = value(item);
        let items = split(items, |token| token.is_op(',')).into_iter().filter(|item| !item.is_empty());
        let told: Vec<_> = items.map(|other| same(&item, &value(other))).collect();
        if told.contains(&Some(true)) {
            return Some(true);
        }
        told.iter().all(|same| *same == Some(false)).then_some(false)
    }
}

/// Whether a file asks if it is the program that was started: on a machine all are imported.
fn is_main(left: &[Token], right: &[Token]) -> bool {
    matches!(
        (left, right),
        ([Token::Name(name)], [Token::Str { value, .. }]) | ([Token::Str { value, .. }], [Token::Name(name)])
            if name == "__name__" && value == "__main__"
    )
}

/// Whether two values are the same, where both can be told.
fn same(left: &Value, right: &Value) -> Option<bool> {
    (*left != Value::Unknown && *right != Value::Unknown).then(|| left == right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn dead_lines(source: &str) -> Vec<usize> {
        let lines = python::lines(source);
        let dead = dead(&lines, &Names::of(&lines));
        dead.iter().enumerate().filter_map(|(at, dead)| dead.then_some(at)).collect()
    }

    #[rstest]
    #[case("if False:\n  a\nelse:\n  b", &[1])]
    #[case("if True:\n  a\nelif x:\n  b\nelse:\n  c\nd", &[3, 5])]
    #[case("if x:\n  a\nelse:\n  b", &[])]
    #[case("if x:\n  if False:\n    a\n  b\nc", &[2])]
    #[case("if False: a\nb", &[0])]
    #[case("try:\n  a\nexcept X:\n  b\nelse:\n  c", &[])]
    #[case("DEBUG = True\nif not DEBUG:\n  a", &[2])]
    #[case("DEBUG = os.environ.get('D', 'True') == 'True'\nif DEBUG:\n  a\nelse:\n  b", &[4])]
    #[case("DEBUG = config('D', default=False, cast=bool)\nif DEBUG:\n  a", &[2])]
    #[case("DEBUG = config('D', default='False', cast=bool)\nif DEBUG:\n  a", &[2])]
    #[case("DEBUG = env.bool('D', False)\nif DEBUG:\n  a", &[2])]
    #[case("if 'DATABASE_URL' in os.environ:\n  a", &[1])]
    #[case("if 'X' not in os.environ:\n  a\nelse:\n  b", &[3])]
    #[case("if os.environ.get('X'):\n  a", &[1])]
    #[case("if os.getenv('X') is not None:\n  a", &[1])]
    #[case("if os.getenv('E', 'dev') in ('prod', 'live'):\n  a", &[1])]
    #[case("if os.getenv('E', 'dev') != 'prod' and True:\n  a\nelse:\n  b", &[3])]
    #[case("if 'test' in sys.argv or False:\n  a", &[1])]
    #[case("if os.environ['X'] == 'y':\n  a", &[])]
    #[case("if (not (True)):\n  a", &[1])]
    #[case("if DEBUG and not True:\n  a", &[1])]
    #[case("D = True\nif x:\n  D = False\nif D:\n  a\nelse:\n  b", &[])]
    #[case("else:\n  a\nif", &[])]
    #[case("if __name__ == '__main__':\n  a\nelse:\n  b", &[1])]
    #[case("if '__main__' != __name__:\n  a\nelse:\n  b", &[3])]
    #[case("if __name__ == 'config.settings':\n  a\nelse:\n  b", &[])]
    #[case("if TYPE_CHECKING:\n  a\nelse:\n  b", &[1])]
    #[case("if typing.TYPE_CHECKING:\n  a", &[1])]
    fn what_plainly_does_not_hold(#[case] source: &str, #[case] lines: &[usize]) {
        assert_eq!(dead_lines(source), lines, "{source}");
    }
}
