//! The steps of a deployment, in their order.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A named part of a deployment. The order of the variants is the order they run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Make the release's virtual environment.
    Environment,
    /// Install Gunicorn into it.
    Gunicorn,
    /// Fetch the plan's commit.
    Clone,
    /// Install what the project needs.
    Dependencies,
    /// Write how Gunicorn serves this release.
    ConfigureGunicorn,
    /// Write how Nginx serves static files and media and passes on the rest.
    ConfigureNginx,
    /// Write how Supervisor keeps Gunicorn.
    ConfigureSupervisor,
    /// Gather the static files.
    Collectstatic,
    /// Bring the database to the project's schema.
    Migrate,
    /// Start this release beside the one that serves.
    Start,
    /// Ask the page and its CSS through Nginx, as a visitor would, and let visitors have the release.
    Health,
}

impl Step {
    /// Every step in order.
    pub const ALL: [Self; 11] = [
        Self::Environment,
        Self::Gunicorn,
        Self::Clone,
        Self::Dependencies,
        Self::ConfigureGunicorn,
        Self::ConfigureNginx,
        Self::ConfigureSupervisor,
        Self::Collectstatic,
        Self::Migrate,
        Self::Start,
        Self::Health,
    ];

    /// The step's name in the deploy log and in `/info`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Gunicorn => "gunicorn",
            Self::Clone => "clone",
            Self::Dependencies => "dependencies",
            Self::ConfigureGunicorn => "configure_gunicorn",
            Self::ConfigureNginx => "configure_nginx",
            Self::ConfigureSupervisor => "configure_supervisor",
            Self::Collectstatic => "collectstatic",
            Self::Migrate => "migrate",
            Self::Start => "start",
            Self::Health => "health",
        }
    }

    /// The step in people's words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Environment => "Create the virtual environment",
            Self::Gunicorn => "Install Gunicorn",
            Self::Clone => "Clone the project",
            Self::Dependencies => "Install dependencies",
            Self::ConfigureGunicorn => "Configure Gunicorn",
            Self::ConfigureNginx => "Configure Nginx",
            Self::ConfigureSupervisor => "Configure Supervisor",
            Self::Collectstatic => "Collect static files",
            Self::Migrate => "Migrate",
            Self::Start => "Start the services",
            Self::Health => "Check the site",
        }
    }

    /// The step's usual share of a deployment's time, in thousandths; together they make 1000.
    /// Medians over real projects, most of whose time goes into their dependencies.
    pub fn share(self) -> u32 {
        match self {
            Self::Environment => 20,
            Self::Gunicorn => 60,
            Self::Clone => 40,
            Self::Dependencies => 530,
            Self::ConfigureGunicorn | Self::ConfigureSupervisor => 10,
            Self::ConfigureNginx => 20,
            Self::Collectstatic => 70,
            Self::Migrate => 120,
            Self::Start => 60,
            Self::Health => 60,
        }
    }

    /// The step's place, from 0.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The step's place as people count, from 1.
    pub fn number(self) -> usize {
        self.index() + 1
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no step.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no step is called {0:?}")]
pub struct UnknownStep(String);

impl FromStr for Step {
    type Err = UnknownStep;

    fn from_str(text: &str) -> Result<Self, UnknownStep> {
        Self::ALL.into_iter().find(|step| step.name() == text).ok_or_else(|| UnknownStep(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_make_a_whole_and_names_read_back() {
        assert_eq!(Step::ALL.iter().map(|step| step.share()).sum::<u32>(), 1000);
        for (index, step) in Step::ALL.into_iter().enumerate() {
            assert_eq!(step.index(), index);
            assert_eq!(step.name().parse(), Ok(step));
        }
    }
}
