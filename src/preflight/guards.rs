//! Which lines of Python stand in a `try` that lives with their failure.

use super::python::{Line, Token};

/// For each line, whether it stands in a `try` or in the handler of one that catches one of `exceptions`, or anything at
/// all, and does not give up: what is tried there may be missing.
pub(super) fn caught(lines: &[Line], exceptions: &[&str]) -> Vec<bool> {
    let mut caught = vec![false; lines.len()];
    for at in (0..lines.len()).filter(|&at| first(&lines[at]) == Some("try")) {
        let indent = lines[at].indent;
        let body = block(lines, at);
        let mut handler = body.end;
        while handler < lines.len()
            && lines[handler].indent == indent
            && first(&lines[handler]) == Some("except")
        {
            let handled = block(lines, handler);
            if catches(&lines[handler], exceptions) && !lines[handled.clone()].iter().any(gives_up) {
                caught[at..body.end].fill(true);
                caught[handled.clone()].fill(true);
            }
            handler = handled.end;
        }
    }
    caught
}

/// The line at `at` and those that are indented below it.
fn block(lines: &[Line], at: usize) -> std::ops::Range<usize> {
    let below = lines[at + 1..].iter().take_while(|line| line.indent > lines[at].indent).count();
    at..at + 1 + below
}

fn first(line: &Line) -> Option<&str> {
    line.tokens.first().and_then(Token::name)
}

fn catches(line: &Line, exceptions: &[&str]) -> bool {
    let head = line.tokens[1..].iter().take_while(|token| !token.is_op(':'));
    let mut names = head.filter_map(Token::name).peekable();
    names.peek().is_none()
        || names.any(|name| matches!(name, "Exception" | "BaseException") || exceptions.contains(&name))
}

fn gives_up(line: &Line) -> bool {
    line.tokens.iter().filter_map(Token::name).any(|name| matches!(name, "raise" | "exit" | "_exit"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::python;
    use rstest::rstest;

    fn found(source: &str) -> Vec<usize> {
        let caught = caught(&python::lines(source), &["ImportError", "ModuleNotFoundError"]);
        caught.iter().enumerate().filter_map(|(at, caught)| caught.then_some(at)).collect()
    }

    #[rstest]
    #[case("try:\n  import a\nexcept ImportError:\n  import b\nimport c", &[0, 1, 2, 3])]
    #[case("try:\n  import a\nexcept KeyError:\n  b\nexcept (OSError, ImportError) as e:\n  c", &[0, 1, 4, 5])]
    #[case("try: import a\nexcept: pass", &[0, 1])]
    #[case("try:\n  import a\nexcept ImportError as e:\n  raise X from e", &[])]
    #[case("try:\n  import a\nfinally:\n  b", &[])]
    #[case("try:", &[])]
    #[case("except ImportError:\n  a", &[])]
    fn what_is_tried_may_be_missing(#[case] source: &str, #[case] lines: &[usize]) {
        assert_eq!(found(source), lines);
    }
}
