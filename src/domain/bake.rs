//! The steps of a bake, and what its log says of them.

use std::{fmt, str::FromStr};

use super::{Line, Mark, StepState, parse_line};

/// A named part of a bake, in the order they run in; the first is the cloud's, the rest the image script's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BakeStep {
    /// Make the system that the script runs on, where it is not there yet.
    Base,
    /// Bring its packages up to date.
    Update,
    /// Install what projects need to build the packages they ask for.
    Packages,
    /// Install PostgreSQL and MariaDB, stopped until a project wants one.
    Databases,
    /// Install Nginx.
    Nginx,
    /// Install Supervisor.
    Supervisor,
    /// Install the agent of CodeDeploy, on EC2 only.
    Codedeploy,
    /// Install the agent of Systems Manager, on EC2 only.
    Ssm,
    /// Install uv, and fill its cache.
    Python,
    /// Remove what a machine does not need.
    Cleanup,
}

impl BakeStep {
    /// Every step in order.
    pub const ALL: [Self; 10] = [
        Self::Base,
        Self::Update,
        Self::Packages,
        Self::Databases,
        Self::Nginx,
        Self::Supervisor,
        Self::Codedeploy,
        Self::Ssm,
        Self::Python,
        Self::Cleanup,
    ];

    /// The step's name in the bake's log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Update => "update",
            Self::Packages => "packages",
            Self::Databases => "databases",
            Self::Nginx => "nginx",
            Self::Supervisor => "supervisor",
            Self::Codedeploy => "codedeploy",
            Self::Ssm => "ssm",
            Self::Python => "python",
            Self::Cleanup => "cleanup",
        }
    }

    /// The step in people's words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Base => "Make the base system",
            Self::Update => "Update and upgrade OS packages",
            Self::Packages => "Install python3-venv and what builds need",
            Self::Databases => "Install PostgreSQL and MariaDB",
            Self::Nginx => "Install Nginx",
            Self::Supervisor => "Install Supervisor",
            Self::Codedeploy => "Install CodeDeploy (on EC2 only)",
            Self::Ssm => "Install the SSM agent (on EC2 only)",
            Self::Python => "Install uv and fill its cache",
            Self::Cleanup => "Clean up",
        }
    }

    /// Its usual share of a bake, in thousandths; what is left of them is the copy of the image at the end.
    fn share(self) -> u32 {
        match self {
            Self::Base => 350,
            Self::Update => 150,
            Self::Packages => 130,
            Self::Databases => 120,
            Self::Nginx => 40,
            Self::Supervisor => 30,
            Self::Codedeploy => 10,
            Self::Ssm => 5,
            Self::Python => 85,
            Self::Cleanup => 10,
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for BakeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no step of a bake.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no step of a bake is called {0:?}")]
pub struct UnknownBakeStep(String);

impl FromStr for BakeStep {
    type Err = UnknownBakeStep;

    fn from_str(text: &str) -> Result<Self, UnknownBakeStep> {
        let found = Self::ALL.into_iter().find(|step| step.name() == text);
        found.ok_or_else(|| UnknownBakeStep(text.to_owned()))
    }
}

/// What a bake's log has said so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BakeReport {
    steps: [StepState; BakeStep::ALL.len()],
    done: bool,
}

impl BakeReport {
    /// Reads a log as far as it has come; a last line that has not ended is left out.
    pub fn read(log: &str) -> Self {
        let mut report = Self::default();
        for line in log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            match parse_line(line) {
                Line::Mark(Mark::Start(name)) => report.set(&name, StepState::Running),
                Line::Mark(Mark::Ok(name, seconds)) => report.set(&name, StepState::Ok { seconds }),
                Line::Mark(Mark::Failed(name, code)) => report.set(&name, StepState::Failed { code }),
                Line::Mark(Mark::Done) => report.done = true,
                Line::Mark(_) | Line::Text(_) => {}
            }
        }
        report
    }

    fn set(&mut self, name: &str, state: StepState) {
        if let Ok(step) = name.parse::<BakeStep>() {
            self.steps[step.index()] = state;
        }
    }

    /// Every step in order with its state.
    pub fn steps(&self) -> impl Iterator<Item = (BakeStep, StepState)> {
        BakeStep::ALL.into_iter().zip(self.steps)
    }

    /// Whether the script has said that it is done.
    pub fn done(&self) -> bool {
        self.done
    }

    /// Whether any step has begun.
    pub fn begun(&self) -> bool {
        self.steps().any(|(_, state)| state != StepState::Waiting)
    }

    /// The step under way.
    pub fn running(&self) -> Option<BakeStep> {
        self.steps().filter(|(_, state)| *state == StepState::Running).last().map(|(step, _)| step)
    }

    /// Whether the base was there already, so that no step had to make it.
    pub fn base_was_there(&self) -> bool {
        let [base, rest @ ..] = &self.steps;
        *base == StepState::Waiting && rest.iter().any(|state| *state != StepState::Waiting)
    }

    /// How far the bake is, 0 to 1, by each step's usual share of the time.
    pub fn progress(&self) -> f64 {
        let all = if self.base_was_there() { 1000 - BakeStep::Base.share() } else { 1000 };
        let ended = self.steps().filter(|(_, state)| matches!(state, StepState::Ok { .. }));
        f64::from(ended.map(|(step, _)| step.share()).sum::<u32>()) / f64::from(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_make_steps_and_progress() {
        let report = BakeReport::read(
            "::ec step base start\n::ec step base ok 37.02\n::ec step update start\nReading package lists...\n::ec step upd",
        );
        assert_eq!(report.steps().next(), Some((BakeStep::Base, StepState::Ok { seconds: 37.02 })));
        assert_eq!((report.running(), report.progress()), (Some(BakeStep::Update), 0.35));
        assert!(report.begun() && !report.done() && !report.base_was_there());
    }

    #[test]
    fn a_base_that_is_there_already_is_no_part_of_the_progress() {
        let report = BakeReport::read(
            "::ec step update start\n::ec step update ok 6\n::ec step packages failed 100\n",
        );
        assert!(report.base_was_there());
        assert_eq!(report.progress(), 150.0 / 650.0);
        assert_eq!(report.steps().nth(2).map(|(_, state)| state), Some(StepState::Failed { code: 100 }));
        assert!(!BakeReport::read("").base_was_there());
        // What a step prints is no mark: the log's filter has indented it.
        assert!(!BakeReport::read(" ::ec done\n::ec done").done());
    }

    #[test]
    fn names_read_back_and_the_shares_leave_room_for_the_copy() {
        for step in BakeStep::ALL {
            assert_eq!(step.name().parse(), Ok(step));
        }
        assert!("clone".parse::<BakeStep>().is_err());
        let shares: u32 = BakeStep::ALL.into_iter().map(BakeStep::share).sum();
        assert!((900..1000).contains(&shares), "{shares}");
    }
}
