//! Reads what people paste of a `.env`, as python-dotenv and a shell would: `NAME=value` lines, `export `, quotes,
//! comments. Nothing is expanded.

use super::{NameError, SecretValue, Variable, VariableName};

/// What one line said, or several that are one value.
#[derive(Debug)]
pub struct DotenvLine {
    /// The number of the line that it begins on, from 1.
    pub number: usize,
    /// The variable, or what is wrong: its name where the line has one, and why. The value is never told.
    pub read: Result<Variable, (Option<String>, NameError)>,
}

/// Reads the text. Empty lines and comments are left out; a line that is wrong does not take those behind it along.
pub fn parse_dotenv(text: &str) -> Vec<DotenvLine> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut lines = Vec::new();
    let (mut rest, mut number) = (text.as_str(), 1);
    while !rest.is_empty() {
        let line = rest.split('\n').next().unwrap_or_default();
        let trimmed = line.trim();
        let mut taken = line.len();
        if !trimmed.is_empty() && !trimmed.starts_with('#') {
            let (read, length) = statement(rest, line);
            taken = length;
            lines.push(DotenvLine { number, read });
        }
        number += rest[..taken].matches('\n').count() + 1;
        rest = rest.get(taken + 1..).unwrap_or_default();
    }
    lines
}

/// Reads one variable at the beginning of `rest`, whose first line is `line`; says how many bytes of it that is, the
/// last line break not counted.
fn statement(rest: &str, line: &str) -> (Result<Variable, (Option<String>, NameError)>, usize) {
    let Some((name, _)) = line.split_once('=') else {
        return (Err((None, NameError::new("There is no `=` in it."))), line.len());
    };
    let value_at = name.len() + 1;
    let name = name.trim();
    let name =
        name.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(name).trim();
    let parsed = match name.parse::<VariableName>() {
        Ok(parsed) => parsed,
        // What stands before the `=` may be a part of a secret, where it is no name.
        Err(error) => {
            let told = VariableName::is_of_the_machine(name).then(|| name.to_owned());
            let taken = value(&rest[value_at..]).map_or(line.len(), |(_, length)| value_at + length);
            return (Err((told, error)), taken);
        }
    };
    match value(&rest[value_at..]) {
        Ok((text, length)) => {
            let read = SecretValue::try_from(text);
            let read = read.map(|value| Variable { name: parsed, value });
            (read.map_err(|error| (Some(name.to_owned()), error)), value_at + length)
        }
        Err(why) => (Err((Some(name.to_owned()), NameError::new(why))), line.len()),
    }
}

/// Reads a value, and says how many bytes it is with what follows it on its last line.
fn value(rest: &str) -> Result<(String, usize), &'static str> {
    let spaces = rest.len() - rest.trim_start_matches([' ', '\t']).len();
    let text = &rest[spaces..];
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let line = rest.split('\n').next().unwrap_or_default();
        return Ok((without_comment(line).trim().to_owned(), line.len()));
    };
    let (value, length) = quoted(&text[1..], quote).ok_or("Its quote is not closed.")?;
    let behind = text[1 + length..].split('\n').next().unwrap_or_default();
    if !behind.trim().is_empty() && !behind.trim_start().starts_with('#') {
        return Err("Something follows the closing quote.");
    }
    Ok((value, spaces + 1 + length + behind.len()))
}

/// What stands before a comment: a `#` at the beginning or behind a space.
fn without_comment(line: &str) -> &str {
    let comment = line.char_indices().find(|(at, c)| {
        *c == '#' && line[..*at].chars().next_back().is_none_or(|before| matches!(before, ' ' | '\t'))
    });
    comment.map_or(line, |(at, _)| &line[..at])
}

/// Reads up to the closing quote, and says how many bytes that is, the quote included. Within double quotes a backslash
/// makes line breaks, tabs, quotes, dollars and backslashes; within single ones quotes and backslashes.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some((value, at + 1));
        }
        if c != '\\' {
            value.push(c);
            continue;
        }
        let (_, escaped) = chars.next()?;
        match (quote, escaped) {
            ('"', 'n') => value.push('\n'),
            ('"', 'r') => value.push('\r'),
            ('"', 't') => value.push('\t'),
            ('"', '$' | '`') => value.push(escaped),
            (_, '\\') => value.push('\\'),
            (_, c) if c == quote => value.push(c),
            (_, c) => value.extend(['\\', c]),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    /// A line's number, and its name and value or what is told of the name alone.
    type Told = (usize, Result<(String, String), Option<String>>);

    fn read(text: &str) -> Vec<Told> {
        parse_dotenv(text)
            .into_iter()
            .map(|line| {
                let read = line.read.map(|read| (read.name.to_string(), read.value.expose().to_owned()));
                (line.number, read.map_err(|(name, _)| name))
            })
            .collect()
    }

    #[rstest]
    #[case("A=b", "b")]
    #[case("A=", "")]
    #[case("A = b c ", "b c")]
    #[case("export A=b", "b")]
    #[case("\u{feff}A=b\r\n", "b")]
    #[case("A=b # a comment", "b")]
    #[case("A= # a comment", "")]
    #[case("A=b#c", "b#c")]
    #[case("A=postgres://u:p@h/d?x=1", "postgres://u:p@h/d?x=1")]
    #[case("A='b # c'", "b # c")]
    #[case("A='$b \\n \\' \\\\'", "$b \\n ' \\")]
    #[case("A=\"b\\nc\\\"d\\\\e\\$f\\g\"  # so", "b\nc\"d\\e$f\\g")]
    #[case("A=\"one\ntwo\n\"\n", "one\ntwo\n")]
    #[case("A=\u{fc}ber \u{1f600}", "\u{fc}ber \u{1f600}")]
    fn one_line_is_one_value(#[case] text: &str, #[case] value: &str) {
        assert_eq!(read(text), [(1, Ok(("A".to_owned(), value.to_owned())))]);
    }

    #[test]
    fn wrong_lines_are_told_by_number_and_take_no_other_along() {
        let text =
            "# mine\n\nGOOD=1\nnonsense\n1BAD=x\nOPEN=\"x\nPATH=/bin\nQ=\"x\" y\nKEY=\"a\nb\"\nLAST=2\n";
        let ok = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        let wrong = |name: &str| Err(Some(name.to_owned()));
        // The quote that is not closed on line 6 closes on line 8: what a shell would do, too.
        assert_eq!(read("OPEN=\"x\nA=1\n"), [(1, wrong("OPEN")), (2, ok("A", "1"))]);
        let text = text.replace("OPEN=\"x\n", "");
        assert_eq!(
            read(&text),
            [
                (3, ok("GOOD", "1")),
                (4, Err(None)),
                (5, Err(None)),
                (6, wrong("PATH")),
                (7, wrong("Q")),
                (8, ok("KEY", "a\nb")),
                (10, ok("LAST", "2")),
            ]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[A-Z=\"'#\\\\ \\n\u{e9}x]{0,80}") {
            let lines = parse_dotenv(&text);
            prop_assert!(lines.len() <= text.split('\n').count());
            prop_assert!(lines.windows(2).all(|two| two[0].number < two[1].number));
        }

        #[test]
        fn what_is_quoted_comes_back(value in "[^\0\r]{0,60}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(read(&format!("A=\"{quoted}\"\nB=1\n"))[0].1.clone(), Ok(("A".to_owned(), value)));
        }
    }
}
