//! Python's text as tokens on logical lines: enough to find assignments, calls and imports in settings without
//! being misled by comments and strings, and without ever running them.

/// A piece of Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name or keyword.
    Name(String),
    /// A string's value; the text between the quotes where it is an f-string.
    Str {
        /// What it holds.
        value: String,
        /// Whether it is an f-string.
        formatted: bool,
    },
    /// A number.
    Number,
    /// Any other character.
    Op(char),
}

impl Token {
    pub(super) fn is_op(&self, op: char) -> bool {
        *self == Self::Op(op)
    }

    pub(super) fn name(&self) -> Option<&str> {
        if let Self::Name(name) = self { Some(name) } else { None }
    }

    pub(super) fn string(&self) -> Option<&str> {
        if let Self::Str { value, .. } = self { Some(value) } else { None }
    }
}

/// A logical line: it ends where brackets are closed and no backslash goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// How far it is indented, in columns.
    pub indent: usize,
    /// Whether it stands in a function or class, and so is no statement of the module.
    pub inner: bool,
    /// Its tokens, never none.
    pub tokens: Vec<Token>,
    /// Which line of the text each token is on, from 1.
    pub numbers: Vec<u32>,
}

/// A line of more tokens is data, or no Python; it is left out, since some readers go over a line again and again.
const LONGEST: usize = 20_000;

/// Tabs go to the next multiple of this, as Python reads them.
const TAB: usize = 8;

/// Splits Python's text; what is no Python gives some lines or none, and never an error.
pub(super) fn lines(source: &str) -> Vec<Line> {
    let mut reader = Reader {
        rest: Rest { chars: source.chars(), line: 1 },
        lines: Vec::new(),
        line: Line::default(),
        depth: 0,
    };
    reader.read();
    mark_inner(&mut reader.lines);
    reader.lines
}

/// What is not read yet, and which line it begins on.
struct Rest<'a> {
    chars: std::str::Chars<'a>,
    line: u32,
}

impl Rest<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.chars.next();
        self.line += u32::from(next == Some('\n'));
        next
    }

    fn peek(&self) -> Option<char> {
        self.chars.clone().next()
    }

    fn next_if(&mut self, fits: impl Fn(char) -> bool) -> Option<char> {
        self.peek().filter(|&c| fits(c)).and_then(|_| self.next())
    }
}

struct Reader<'a> {
    rest: Rest<'a>,
    lines: Vec<Line>,
    line: Line,
    depth: usize,
}

impl Reader<'_> {
    fn read(&mut self) {
        self.line.indent = self.indent();
        while let Some(c) = self.rest.next() {
            match c {
                '\n' if self.depth > 0 => {}
                '\n' => {
                    self.end_line();
                    self.line.indent = self.indent();
                }
                ';' if self.depth == 0 => {
                    let indent = self.line.indent;
                    self.end_line();
                    self.line.indent = indent;
                }
                '\\' => {
                    self.rest.next_if(|c| c == '\r');
                    self.rest.next_if(|c| c == '\n');
                }
                '#' => while self.rest.next_if(|c| c != '\n').is_some() {},
                '"' | '\'' => self.string(c, ""),
                c if c.is_whitespace() => {}
                c if c.is_ascii_digit() => {
                    while self.rest.next_if(|c| c.is_alphanumeric() || c == '_' || c == '.').is_some() {}
                    self.push(Token::Number);
                }
                c if c == '_' || c.is_alphabetic() => self.word(c),
                c => {
                    match c {
                        '(' | '[' | '{' => self.depth += 1,
                        ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
                        _ => {}
                    }
                    self.push(Token::Op(c));
                }
            }
        }
        self.end_line();
    }

    fn indent(&mut self) -> usize {
        let mut columns = 0;
        while let Some(c) = self.rest.next_if(|c| matches!(c, ' ' | '\t' | '\r' | '\x0c')) {
            columns = match c {
                ' ' => columns + 1,
                '\t' => (columns / TAB + 1) * TAB,
                _ => columns,
            };
        }
        columns
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.tokens.is_empty() && line.tokens.len() <= LONGEST {
            self.lines.push(line);
        }
    }

    fn word(&mut self, first: char) {
        let mut word = String::from(first);
        while let Some(c) = self.rest.next_if(|c| c.is_alphanumeric() || c == '_') {
            word.push(c);
        }
        let is_prefix = word.len() <= 2 && word.chars().all(|c| "rRbBuUfFtT".contains(c));
        match self.rest.peek() {
            Some(quote @ ('"' | '\'')) if is_prefix => {
                self.rest.next();
                self.string(quote, &word.to_ascii_lowercase());
            }
            _ => self.push(Token::Name(word)),
        }
    }

    /// Reads to the end of a string whose opening quote was read.
    fn string(&mut self, quote: char, prefix: &str) {
        let mut triple = false;
        if self.rest.next_if(|c| c == quote).is_some() {
            if self.rest.next_if(|c| c == quote).is_none() {
                self.push_string(String::new(), prefix);
                return;
            }
            triple = true;
        }
        let raw = prefix.contains('r');
        let mut value = String::new();
        let mut quotes = 0;
        while let Some(c) = self.rest.next() {
            quotes = if c == quote { quotes + 1 } else { 0 };
            match c {
                _ if quotes == 1 && !triple => break,
                _ if quotes == 3 => {
                    value.truncate(value.len() - 2);
                    break;
                }
                // A string that is not closed ends with its line.
                '\n' if !triple => {
                    self.push_string(value, prefix);
                    if self.depth == 0 {
                        self.end_line();
                        self.line.indent = self.indent();
                    }
                    return;
                }
                '\\' => {
                    let escaped = self.rest.next();
                    if raw {
                        value.push('\\');
                    }
                    match escaped {
                        Some('\n') if !raw => {}
                        Some('n') if !raw => value.push('\n'),
                        Some('t') if !raw => value.push('\t'),
                        Some(c) => value.push(c),
                        None => {}
                    }
                }
                c => value.push(c),
            }
        }
        self.push_string(value, prefix);
    }

    fn push_string(&mut self, value: String, prefix: &str) {
        let lines = value.matches('\n').count();
        self.push(Token::Str { value, formatted: prefix.contains('f') });
        if let Some(number) = self.line.numbers.last_mut() {
            *number = number.saturating_sub(u32::try_from(lines).unwrap_or_default()).max(1);
        }
    }

    fn push(&mut self, token: Token) {
        self.line.tokens.push(token);
        self.line.numbers.push(self.rest.line);
    }
}

/// Marks the lines that stand in a function or class.
fn mark_inner(lines: &mut [Line]) {
    let mut definition: Option<usize> = None;
    for line in lines {
        if definition.is_some_and(|indent| line.indent <= indent) {
            definition = None;
        }
        line.inner = definition.is_some();
        let opens = match line.tokens.first().and_then(Token::name) {
            Some("async") => line.tokens.get(1).and_then(Token::name) == Some("def"),
            word => matches!(word, Some("def" | "class")),
        };
        if opens && definition.is_none() {
            definition = Some(line.indent);
        }
    }
}

/// The tokens that follow `name =` (or `name: type =`) at the line's beginning.
pub(super) fn assigned<'a>(line: &'a Line, name: &str) -> Option<&'a [Token]> {
    let (first, rest) = line.tokens.split_first()?;
    if first.name() != Some(name) {
        return None;
    }
    let at = match rest.first()? {
        Token::Op('=') => 0,
        Token::Op(':') => rest.iter().position(|token| token.is_op('='))?,
        _ => return None,
    };
    let value = &rest[at + 1..];
    (!value.is_empty() && !value[0].is_op('=')).then_some(value)
}

/// The statement of a line: what follows the colon where it begins with `try:`, `if …:` or another word that opens a block.
pub(super) fn statement(line: &Line) -> &[Token] {
    let opens = matches!(
        line.tokens.first().and_then(Token::name),
        Some("try" | "except" | "finally" | "if" | "elif" | "else" | "with" | "for" | "while")
    );
    match colon(&line.tokens) {
        Some(at) if opens => &line.tokens[at + 1..],
        _ => &line.tokens,
    }
}

/// Whether every bracket in `tokens` is closed there, and none closes that was not opened.
pub(super) fn balanced(tokens: &[Token]) -> bool {
    let mut depth = 0usize;
    for token in tokens {
        match token {
            Token::Op('(' | '[' | '{') => depth += 1,
            Token::Op(')' | ']' | '}') if depth == 0 => return false,
            Token::Op(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
    }
    depth == 0
}

/// Where the first colon is that stands in no brackets.
pub(super) fn colon(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0usize;
    tokens.iter().position(|token| {
        match token {
            Token::Op('(' | '[' | '{') => depth += 1,
            Token::Op(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.is_op(':')
    })
}

/// The tokens up to the end of the expression that `tokens` begins with: a comma, or a bracket that was not
/// opened in it.
pub(super) fn expression(tokens: &[Token]) -> &[Token] {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Op('(' | '[' | '{') => depth += 1,
            Token::Op(')' | ']' | '}') if depth == 0 => return &tokens[..at],
            Token::Op(')' | ']' | '}') => depth -= 1,
            Token::Op(',') if depth == 0 => return &tokens[..at],
            _ => {}
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Token {
        Token::Name(text.to_owned())
    }

    fn string(value: &str) -> Token {
        Token::Str { value: value.to_owned(), formatted: false }
    }

    fn tokens(source: &str) -> Vec<Vec<Token>> {
        lines(source).into_iter().map(|line| line.tokens).collect()
    }

    #[test]
    fn comments_and_strings_do_not_mislead() {
        let source = "# A = 'x'\nA = 'y#z' # B = 1\n'''\nA = 'no'\n'''\nB = \"\"\"a'b\"\"\"\n";
        let equals = Token::Op('=');
        assert_eq!(
            tokens(source),
            [
                vec![name("A"), equals.clone(), string("y#z")],
                vec![string("\nA = 'no'\n")],
                vec![name("B"), equals, string("a'b")],
            ]
        );
    }

    #[test]
    fn a_line_that_has_no_end_is_left_out() {
        let of = |count: usize| tokens(&format!("A = 1\n{}\nB = 2", "a ".repeat(count))).len();
        assert_eq!((of(LONGEST), of(LONGEST + 1)), (3, 2));
    }

    #[test]
    fn a_logical_line_goes_on_in_brackets_and_after_a_backslash() {
        assert_eq!(tokens("a = [\n  1, # one\n\n 2]\nb = \\\n  'c'\nd; e").len(), 4);
    }

    #[test]
    fn strings_of_all_kinds() {
        assert_eq!(tokens(r#"'' "" u'a' rb'\n' '\'' "x" 'y' """q"""  "#)[0].len(), 8);
        assert_eq!(tokens(r"r'\d' '\\'")[0], [string(r"\d"), string("\\")]);
        assert_eq!(tokens("f'a.{b}'")[0], [Token::Str { value: "a.{b}".to_owned(), formatted: true }]);
        assert_eq!(tokens("a = 'not closed\nb = 1").len(), 2);
    }

    #[test]
    fn what_stands_in_definitions_is_told_from_the_module() {
        let source = "def f():\n    A = 1\nif x:\n    B = 1\nclass C:\n    def g(self):\n        pass\n    D = 1\nE = 1\n";
        let inner: Vec<_> = lines(source)
            .into_iter()
            .filter(|line| line.inner)
            .filter_map(|line| line.tokens[0].name().map(str::to_owned))
            .collect();
        assert_eq!(inner, ["A", "def", "pass", "D"]);
    }

    #[test]
    fn assignments_and_their_expressions() {
        let read = lines("A = 'x'\nA: str = 'x'\nA == 'x'\nA.b = 'x'\nf(A='x')\n");
        let found: Vec<_> = read.iter().map(|line| assigned(line, "A").is_some()).collect();
        assert_eq!(found, [true, true, false, false, false]);
        let line = &lines("f(a, [b, c]), d")[0].tokens;
        assert_eq!(expression(&line[2..]).len(), 1);
        assert_eq!(expression(&line[4..]).len(), 5);
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in any::<String>()) {
            for line in lines(&text) {
                prop_assert!(!line.tokens.is_empty());
            }
        }

        #[test]
        fn quotes_and_brackets_never_panic(text in "[\"'\\\\(){}\\[\\]\n#;a=f]{0,60}") {
            let _ = lines(&text);
        }
    }
}
