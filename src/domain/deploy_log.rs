//! The deploy log is the protocol by which a machine reports: marks are lines of their own, the
//! rest is what the steps printed. One parser makes steps, commit, progress and outcome of it,
//! whatever pieces the bytes come in.

use serde::{Deserialize, Serialize};

use super::{AdminState, CommitId, Step};

/// What a line of a log that starts with `::ec ` says.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// `::ec step NAME start`
    Start(String),
    /// `::ec step NAME ok SECONDS`
    Ok(String, f64),
    /// `::ec step NAME failed CODE`
    Failed(String, i32),
    /// `::ec commit ID`
    Commit(CommitId),
    /// `::ec saw TEXT`: what the check of the site found, in a few words for its page.
    Saw(String),
    /// `::ec repaired TEXT`: what was installed in place of what the project asks for, and why.
    Repaired(String),
    /// `::ec warning TEXT`: what its owner should know though it does not stop the deployment.
    Warning(String),
    /// `::ec admin created`, `exists` or `failed`: what came of the project's first admin.
    Admin(AdminState),
    /// `::ec done`
    Done,
}

/// A line of a log: a mark, or what a step printed.
#[derive(Clone, Debug, PartialEq)]
pub enum Line<'a> {
    /// A mark.
    Mark(Mark),
    /// Anything else, without its line break.
    Text(&'a str),
}

/// Reads one line, without its line break. What looks like a mark but is none is text.
pub fn parse_line(line: &str) -> Line<'_> {
    parse_mark(line.strip_suffix('\r').unwrap_or(line)).map_or(Line::Text(line), Line::Mark)
}

fn parse_mark(line: &str) -> Option<Mark> {
    let rest = line.strip_prefix("::ec ")?;
    match rest.split_once(' ') {
        Some(("saw", text)) => return Some(Mark::Saw(text.to_owned())),
        Some(("repaired", text)) => return Some(Mark::Repaired(text.to_owned())),
        Some(("warning", text)) => return Some(Mark::Warning(text.to_owned())),
        _ => {}
    }
    let words: Vec<_> = rest.split(' ').collect();
    match words[..] {
        ["done"] => Some(Mark::Done),
        ["admin", state] => state.parse().ok().filter(|state| *state != AdminState::Wanted).map(Mark::Admin),
        ["commit", id] => id.parse().ok().map(Mark::Commit),
        ["step", name, "start"] => Some(Mark::Start(name.to_owned())),
        ["step", name, "ok", seconds] => {
            let seconds: f64 = seconds.parse().ok().filter(|s: &f64| s.is_finite() && *s >= 0.0)?;
            Some(Mark::Ok(name.to_owned(), seconds))
        }
        ["step", name, "failed", code] => Some(Mark::Failed(name.to_owned(), code.parse().ok()?)),
        _ => None,
    }
}

/// How far a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum StepState {
    /// It has not begun.
    #[default]
    Waiting,
    /// It has begun and not ended.
    Running,
    /// It ended well after so many seconds.
    Ok {
        /// How long it took.
        seconds: f64,
    },
    /// It failed, and the deployment with it.
    Failed {
        /// The exit code of what failed.
        code: i32,
    },
}

impl StepState {
    /// The state in `/info`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Ok { .. } => "ok",
            Self::Failed { .. } => "failed",
        }
    }
}

/// What a deployment's log has said so far. Feeding the same bytes in any pieces gives the same report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    steps: [StepState; Step::ALL.len()],
    commit: Option<CommitId>,
    saw: Vec<String>,
    #[serde(default)]
    repaired: Vec<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    admin: Option<AdminState>,
    done: bool,
    /// The last line, as far as it has come; a mark fits into [`Report::LINE`] bytes.
    unfinished: Vec<u8>,
    /// Whether the unfinished line is already too long to be a mark.
    overlong: bool,
}

impl Report {
    /// Longest mark, in bytes. A longer line is text.
    const LINE: usize = 512;

    /// Most findings that are kept.
    const SAW: usize = 8;

    /// Most repairs that are kept, and most warnings.
    const TOLD: usize = 20;

    /// Takes the next bytes of the log.
    pub fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            if self.overlong || self.unfinished.len() + text.len() > Self::LINE {
                self.unfinished.clear();
                self.overlong = !ended;
                continue;
            }
            self.unfinished.extend_from_slice(text);
            if ended {
                let line = std::mem::take(&mut self.unfinished);
                if let Ok(Line::Mark(mark)) = std::str::from_utf8(&line).map(parse_line) {
                    self.take(mark);
                }
            }
        }
    }

    /// Takes one mark. A mark of a step that is unknown here, and any after the end, changes nothing.
    fn take(&mut self, mark: Mark) {
        if self.ended() {
            return;
        }
        match mark {
            Mark::Start(name) => self.set(&name, StepState::Running),
            Mark::Ok(name, seconds) => self.set(&name, StepState::Ok { seconds }),
            Mark::Failed(name, code) => self.set(&name, StepState::Failed { code }),
            Mark::Commit(id) => self.commit = Some(id),
            Mark::Saw(text) if self.saw.len() < Self::SAW => self.saw.push(text),
            Mark::Repaired(text) if self.repaired.len() < Self::TOLD => self.repaired.push(text),
            Mark::Warning(text) if self.warnings.len() < Self::TOLD => self.warnings.push(text),
            Mark::Admin(state) => self.admin = Some(state),
            Mark::Saw(_) | Mark::Repaired(_) | Mark::Warning(_) => {}
            Mark::Done => self.done = true,
        }
    }

    fn set(&mut self, name: &str, state: StepState) {
        if let Ok(step) = name.parse::<Step>() {
            self.steps[step.index()] = state;
        }
    }

    /// Every step in order with its state.
    pub fn steps(&self) -> impl Iterator<Item = (Step, StepState)> {
        Step::ALL.into_iter().zip(self.steps)
    }

    /// The commit that was checked out.
    pub fn commit(&self) -> Option<&CommitId> {
        self.commit.as_ref()
    }

    /// What the check of the site found, in its order.
    pub fn saw(&self) -> &[String] {
        &self.saw
    }

    /// What was installed in place of what the project asks for, in the order of the repairs.
    pub fn repaired(&self) -> &[String] {
        &self.repaired
    }

    /// What the deployment found that its owner should know.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What came of the project's first admin, where there is one to make.
    pub fn admin(&self) -> Option<AdminState> {
        self.admin
    }

    /// The beginning of the line that has not ended. Of one that is too long to be a mark it is a space.
    pub fn line_so_far(&self) -> &[u8] {
        if self.overlong { b" " } else { &self.unfinished }
    }

    /// Whether the log says that the deployment is done and well.
    pub fn done(&self) -> bool {
        self.done
    }

    /// The step that failed, and its exit code.
    pub fn failed(&self) -> Option<(Step, i32)> {
        self.steps().find_map(|(step, state)| match state {
            StepState::Failed { code } => Some((step, code)),
            _ => None,
        })
    }

    /// Whether the log says how the deployment ended, well or not.
    pub fn ended(&self) -> bool {
        self.done || self.failed().is_some()
    }

    /// The step under way, else the one that failed.
    pub fn current(&self) -> Option<Step> {
        let running = self.steps().filter(|(_, state)| *state == StepState::Running).last();
        self.failed().map(|(step, _)| step).or(running.map(|(step, _)| step))
    }

    /// Where to look for what went wrong when nothing more came: the step under way, else the first that has not begun.
    pub fn reached(&self) -> Option<Step> {
        self.current()
            .or_else(|| self.steps().find(|(_, state)| *state == StepState::Waiting).map(|(step, _)| step))
    }

    /// How far the deployment is, 0 to 1, by each step's usual share of the time.
    pub fn progress(&self) -> f64 {
        if self.done {
            return 1.0;
        }
        let shares = self.steps().filter(|(_, state)| matches!(state, StepState::Ok { .. }));
        f64::from(shares.map(|(step, _)| step.share()).sum::<u32>()) / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMMIT: &str = "3f1c9ab3f1c9ab3f1c9ab3f1c9ab3f1c9ab3f1c9";

    fn report(text: &str) -> Report {
        let mut report = Report::default();
        report.feed(text.as_bytes());
        report
    }

    #[test]
    fn marks_make_steps_commit_progress_and_outcome() {
        let report = report(&format!(
            "::ec step environment start\nUsing CPython\n::ec step environment ok 0.41\n::ec commit {COMMIT}\n::ec step gunicorn start\n"
        ));
        assert_eq!(report.steps().next(), Some((Step::Environment, StepState::Ok { seconds: 0.41 })));
        assert_eq!(report.current(), Some(Step::Gunicorn));
        assert_eq!(report.commit().map(CommitId::short), Some("3f1c9ab"));
        assert_eq!(report.progress(), 0.02);
        assert!(!report.ended());
    }

    #[test]
    fn a_failed_step_ends_it_and_nothing_after_counts() {
        let report = report("::ec step migrate start\n::ec step migrate failed 1\n::ec done\n");
        assert_eq!(report.failed(), Some((Step::Migrate, 1)));
        assert!(!report.done());
    }

    #[test]
    fn what_came_of_the_admin_is_one_of_three_words() {
        assert_eq!(report("::ec admin created\n").admin(), Some(AdminState::Created));
        assert_eq!(report("::ec admin exists\n").admin(), Some(AdminState::Exists));
        assert_eq!(
            report("::ec admin failed\n::ec done\n::ec admin created\n").admin(),
            Some(AdminState::Failed)
        );
        for text in
            ["::ec admin wanted\n", "::ec admin\n", " ::ec admin created\n", "::ec admin created now\n"]
        {
            assert_eq!(report(text).admin(), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_indented_unfinished_or_misspelt_is_no_mark() {
        for text in
            [" ::ec done\n", "::ec done", "::ec Done\n", "::ec done now\n", "x::ec done\n", "::ec  done\n"]
        {
            assert!(!report(text).done(), "{text:?}");
        }
        assert_eq!(parse_line("::ec step x ok NaN"), Line::Text("::ec step x ok NaN"));
    }

    #[test]
    fn a_line_too_long_for_a_mark_takes_no_memory_and_hides_no_mark() {
        let mut report = Report::default();
        for _ in 0..10_000 {
            report.feed(b"::ec step ");
        }
        assert!(report.unfinished.len() <= Report::LINE);
        report.feed(b"\n::ec done\n");
        assert!(report.done());
    }

    fn any_log() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            "::ec done\n",
            "::ec step (clone|migrate|health|x) (start|ok 1\\.5|failed 2)\n",
            Just(format!("::ec commit {COMMIT}\n")),
            "::ec saw [a-z ]{0,30}\n",
            "::ec admin (created|exists|wanted)\n",
            ".{0,40}\n",
            "[a-z]{500,520}\n",
            ".{0,20}",
        ];
        prop::collection::vec(line, 0..30).prop_map(|lines| lines.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn any_pieces_of_the_same_bytes_give_the_same_report(log in any_log(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
            let mut whole = Report::default();
            whole.feed(&log);
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(log.len() + 1)).collect();
            cuts.sort_unstable();
            cuts.push(log.len());
            let mut pieces = Report::default();
            let mut from = 0;
            for to in cuts {
                pieces.feed(&log[from..to]);
                let stored = serde_json::to_string(&pieces).unwrap();
                pieces = serde_json::from_str(&stored).unwrap();
                from = to;
            }
            prop_assert_eq!(whole, pieces);
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut report = Report::default();
            report.feed(&bytes);
            prop_assert!((0.0..=1.0).contains(&report.progress()));
        }
    }
}
