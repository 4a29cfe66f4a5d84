//! A deploy log as HTML: marks in people's words, everything else as plain text. What a project
//! prints may hold anything; colours, control characters and what turns the direction of writing
//! are taken out, and the rest is escaped.

use crate::{
    domain::{BakeStep, Deployment, Line, Mark, Step, parse_line},
    store::{Store, StoreError},
    web::format::{count, escape},
};

/// Lines of a log that a page shows; the whole log is a link beside them.
const LINES: usize = 500;
/// Bytes that are read for them.
const BYTES: u64 = 256 * 1024;
/// Characters of a line that are shown.
const WIDTH: usize = 4000;

/// The end of a log, ready for a page.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// Its last lines as HTML.
    pub html: String,
    /// The offset behind them, from which the next lines go on.
    pub end: u64,
}

/// The end of a deployment's log. The line that is still being written comes with the next ones,
/// unless the deployment has ended.
pub async fn tail(store: &Store, deployment: &Deployment) -> Result<Tail, StoreError> {
    let from = deployment.log_size.saturating_sub(BYTES);
    let bytes = store.log(deployment.id, from, BYTES as usize).await?;
    Ok(Tail::of(&bytes, from, deployment.outcome.is_some()))
}

impl Tail {
    /// The end of a log of which these are the bytes from `from` on. Of one that has not ended, the line that is
    /// still being written is left for the next ones.
    pub fn of(bytes: &[u8], from: u64, ended: bool) -> Self {
        // Where the beginning is cut off, so is its first line.
        let skip = if from == 0 { 0 } else { bytes.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1) };
        let end = if ended { bytes.len() } else { complete(bytes) };
        let text = String::from_utf8_lossy(&bytes[skip.min(end)..end]);
        let lines: Vec<_> = text.lines().collect();
        let cut = lines.len().saturating_sub(LINES);
        let mut html = String::new();
        if cut > 0 || from > 0 {
            html.push_str("<i>The beginning is in the whole log.</i>\n");
        }
        html.push_str(&lines_html(lines[cut..].iter().copied()));
        Self { html, end: from + end as u64 }
    }
}

/// How many of these bytes are complete lines.
pub fn complete(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1)
}

/// Bytes of a log as HTML, a line break after each line.
pub fn bytes_html(bytes: &[u8]) -> String {
    lines_html(String::from_utf8_lossy(bytes).lines())
}

fn lines_html<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.map(|line| line_html(line) + "\n").collect()
}

/// One line as HTML.
pub fn line_html(line: &str) -> String {
    match parse_line(line) {
        Line::Mark(Mark::Start(name)) => {
            let known = name.parse().map(Step::title).or_else(|_| name.parse().map(BakeStep::title));
            let title = known.map_or_else(|_| clean(&name), str::to_owned);
            format!("<b>==&gt; {}</b>", escape(&title))
        }
        Line::Mark(Mark::Ok(_, seconds)) => format!("<i>ok {seconds:.2} s</i>"),
        Line::Mark(Mark::Failed(_, code)) => format!("<mark>failed {code}</mark>"),
        Line::Mark(Mark::Commit(commit)) => format!("<i>commit {}</i>", commit.short()),
        Line::Mark(Mark::Saw(text)) => escape(&clean(&text)),
        Line::Mark(Mark::Repaired(text)) => format!("<i>Repaired: {}</i>", escape(&clean(&text))),
        Line::Mark(Mark::Admin(state)) => format!("<i>First admin: {}</i>", state.name()),
        Line::Mark(Mark::Warning(text)) => format!("<i>Warning: {}</i>", escape(&clean(&text))),
        Line::Mark(Mark::Done) => "<i>done</i>".to_owned(),
        Line::Text(text) => escape(&clean(text)),
    }
}

/// The text of a line without what only a terminal understands.
pub fn clean(line: &str) -> String {
    // A progress bar writes over its own line: what it wrote last is what a terminal would show.
    let line = line.trim_end_matches('\r');
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut text = String::with_capacity(line.len().min(WIDTH));
    let mut chars = line.chars().peekable();
    let mut width = 0;
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            // The same sequences, introduced by one character.
            '\u{9b}' => skip_control_sequence(&mut chars),
            '\t' => text.push(c),
            c if c.is_control() || turns_direction(c) => {}
            c => text.push(c),
        }
        width += 1;
        if width >= WIDTH && chars.peek().is_some() {
            text.push('\u{2026}');
            break;
        }
    }
    text
}

fn turns_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Skips what follows an escape character: a control sequence (colours, cursor), an operating
/// system command (titles, links), or one character. ECMA-48, 5.3 to 5.6.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => skip_control_sequence(chars),
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        Some(' '..='/') => {
            chars.next();
        }
        _ => {}
    }
}

fn skip_control_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    for c in chars.by_ref() {
        if ('@'..='~').contains(&c) {
            break;
        }
    }
}

/// The lines of a step's last run that a page about its failure is made of, cleaned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Excerpt {
    /// What the step printed, the last lines of it: more than are shown, since the cause may stand above them.
    pub lines: Vec<String>,
    /// How many of them come before the last repair: what they say of is over.
    pub repaired: usize,
    /// How it ended, as the log says.
    pub end: Option<String>,
}

impl Excerpt {
    /// Lines that are shown.
    const LINES: usize = 30;
    /// Lines that are kept.
    const KEPT: usize = 300;

    /// The last lines of `step` in the end of a deployment's log; of all of it, where the step is not known.
    pub async fn of(store: &Store, deployment: &Deployment, step: Option<Step>) -> Result<Self, StoreError> {
        let from = deployment.log_size.saturating_sub(BYTES);
        let bytes = store.log(deployment.id, from, BYTES as usize).await?;
        Ok(Self::read(&String::from_utf8_lossy(&bytes), step, from > 0))
    }

    /// Where the log's beginning is `cut` off, what comes before the first mark is the step's own: it printed
    /// so much that its start is not among these bytes any more.
    fn read(log: &str, step: Option<Step>, cut: bool) -> Self {
        let mut excerpt = Self::default();
        let mut inside = step.is_none() || cut;
        let log = if cut { log.split_once('\n').map_or("", |(_, whole)| whole) } else { log };
        for line in log.lines() {
            match parse_line(line) {
                Line::Mark(Mark::Start(name)) => {
                    if let Some(step) = step {
                        inside = name == step.name();
                        if inside {
                            excerpt = Self::default();
                        }
                    }
                }
                Line::Mark(Mark::Failed(name, code)) if step.is_none_or(|step| step.name() == name) => {
                    excerpt.end = Some(format!("failed {code}"));
                }
                Line::Mark(Mark::Repaired(_)) if inside => excerpt.repaired = excerpt.lines.len(),
                Line::Text(text) if inside => excerpt.lines.push(clean(text)),
                _ => {}
            }
        }
        let cut = excerpt.lines.len().saturating_sub(Self::KEPT);
        excerpt.lines.drain(..cut);
        excerpt.repaired = excerpt.repaired.saturating_sub(cut);
        excerpt
    }

    /// The lines among which the cause is.
    pub fn last_try(&self) -> &[String] {
        &self.lines[self.repaired.min(self.lines.len())..]
    }

    /// The last lines as HTML, with the one of [`last_try`](Self::last_try) that tells most marked, which comes
    /// first where it stands above them.
    pub fn html(&self, telling: Option<usize>) -> String {
        let telling = telling.map(|line| line + self.repaired);
        let from = self.lines.len().saturating_sub(Self::LINES);
        let mut html = String::new();
        if let Some(above) = telling.filter(|line| *line < from) {
            html.push_str(&format!("<mark>{}</mark>\n", escape(&self.lines[above])));
            html.push_str(&match from - above - 1 {
                0 => String::new(),
                left => format!("<i>{} in between</i>\n", count(left as u64, "line")),
            });
        }
        for (i, line) in self.lines.iter().enumerate().skip(from) {
            let line = escape(line);
            html.push_str(&if telling == Some(i) { format!("<mark>{line}</mark>\n") } else { line + "\n" });
        }
        if let Some(end) = &self.end {
            html.push_str(&format!("<mark>{}</mark>\n", escape(end)));
        }
        html
    }
}

/// HTML for the beginning of a `pre`: the parser drops a line break there, so that one more is given.
pub fn for_pre(html: &str) -> String {
    if html.starts_with('\n') { format!("\n{html}") } else { html.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_step_that_printed_more_than_is_read_shows_its_end() {
        let log = "compiler output\nmore of it\nerror: no\n::ec step dependencies failed 1\n";
        let excerpt = Excerpt::read(log, Some(Step::Dependencies), true);
        assert_eq!(excerpt.lines, ["more of it", "error: no"]);
        assert_eq!(excerpt.end.as_deref(), Some("failed 1"));
    }

    #[test]
    fn marks_read_as_people_read() {
        assert_eq!(line_html("::ec step migrate start"), "<b>==&gt; Migrate</b>");
        assert_eq!(line_html("::ec step migrate ok 0.414"), "<i>ok 0.41 s</i>");
        assert_eq!(line_html("::ec step migrate failed 1"), "<mark>failed 1</mark>");
        assert_eq!(line_html("::ec step <b> start"), "<b>==&gt; &lt;b&gt;</b>");
        assert_eq!(line_html(" ::ec done"), " ::ec done");
    }

    #[test]
    fn what_only_a_terminal_understands_is_taken_out() {
        assert_eq!(clean("\u{1b}[1;31mError\u{1b}[0m: no"), "Error: no");
        assert_eq!(clean("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{7}"), "link");
        assert_eq!(clean("10 %\r100 %\r"), "100 %");
        assert_eq!(clean("a\0b\u{8}c\u{202e}d\te"), "abcd\te");
        assert_eq!(clean(&"x".repeat(5000)).chars().count(), WIDTH + 1);
    }

    #[test]
    fn a_step_that_ran_twice_shows_its_last_run() {
        let log = "::ec step migrate start\nold\n::ec step migrate failed 1\n::ec step clone start\nother\n\
                   ::ec step migrate start\nnew\nlast\n::ec step migrate failed 2\nafter\n";
        let excerpt = Excerpt::read(log, Some(Step::Migrate), false);
        assert_eq!(excerpt.lines, ["new", "last", "after"]);
        assert_eq!(excerpt.html(Some(1)), "new\n<mark>last</mark>\nafter\n<mark>failed 2</mark>\n");
        let many: String = (0..100).map(|i| format!("{i}\n")).collect();
        let excerpt = Excerpt::read(&many, None, false);
        assert_eq!((excerpt.lines.len(), excerpt.html(None).lines().next()), (100, Some("70")));
        let telling = excerpt.html(Some(10));
        assert!(telling.starts_with("<mark>10</mark>\n<i>59 lines in between</i>\n70\n"), "{telling}");
    }

    #[test]
    fn what_was_printed_before_a_repair_is_over() {
        let log = "::ec step dependencies start\nfirst\n::ec repaired it\nsecond\n::ec step dependencies failed 1\n";
        let excerpt = Excerpt::read(log, Some(Step::Dependencies), false);
        assert_eq!((excerpt.last_try(), excerpt.lines.len()), (&["second".to_owned()][..], 2));
        assert_eq!(excerpt.html(Some(0)), "first\n<mark>second</mark>\n<mark>failed 1</mark>\n");
    }

    proptest! {
        #[test]
        fn no_line_becomes_markup_of_its_own(line in any::<String>()) {
            let html = line_html(&line);
            let plain = html
                .replace("<b>", "").replace("</b>", "").replace("<i>", "").replace("</i>", "")
                .replace("<mark>", "").replace("</mark>", "");
            prop_assert!(!plain.contains(['<', '>', '\r', '\n', '\0']), "{}", plain);
        }
    }
}
