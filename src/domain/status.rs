//! Where an instance is in its life, and what its owner wants of it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where an instance is in its life. Only the reconciler writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The form was accepted; no machine has been asked for yet.
    Requested,
    /// A launch is under way: the cloud may or may not have a machine for it already.
    Launching,
    /// The machine's id is known; it has reported nothing yet.
    Booting,
    /// A deployment is running on the machine.
    Deploying,
    /// The project's own page and its CSS came through Nginx.
    Live,
    /// The cloud was asked to stop the machine.
    Stopping,
    /// The machine is stopped; its disk is kept.
    Stopped,
    /// The cloud was asked to start the machine again.
    Starting,
    /// The cloud was asked to terminate the machine.
    Terminating,
    /// The machine is gone; the record and its logs stay.
    Terminated,
    /// A step failed or its deadline passed. A machine, where there is one, is kept.
    Failed,
}

/// A move that the life of an instance does not have: a mistake in our own code.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an instance that is {from} cannot become {to}")]
pub struct InvalidTransition {
    /// The status it has.
    pub from: Status,
    /// The status it was to get.
    pub to: Status,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 11] = [
        Self::Requested,
        Self::Launching,
        Self::Booting,
        Self::Deploying,
        Self::Live,
        Self::Stopping,
        Self::Stopped,
        Self::Starting,
        Self::Terminating,
        Self::Terminated,
        Self::Failed,
    ];

    /// The status in pages, JSON and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Launching => "launching",
            Self::Booting => "booting",
            Self::Deploying => "deploying",
            Self::Live => "live",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Terminating => "terminating",
            Self::Terminated => "terminated",
            Self::Failed => "failed",
        }
    }

    /// Checks that the life of an instance has this move; staying is always one.
    ///
    /// # Errors
    /// [`InvalidTransition`] where it has not.
    pub fn become_(self, to: Self) -> Result<Self, InvalidTransition> {
        use Status::*;
        let allowed = self == to
            || match self {
                // Without a machine to boot or to be stopped: one that is there already is adopted.
                Requested => {
                    matches!(to, Launching | Booting | Stopped | Failed | Terminating | Terminated)
                }
                Launching => matches!(to, Requested | Booting | Failed | Terminating | Terminated),
                Booting => {
                    matches!(to, Deploying | Live | Failed | Stopping | Stopped | Terminating | Terminated)
                }
                Deploying => matches!(to, Live | Failed | Stopping | Stopped | Terminating | Terminated),
                Live => matches!(
                    to,
                    Deploying | Starting | Failed | Stopping | Stopped | Terminating | Terminated
                ),
                Stopping => matches!(to, Stopped | Live | Failed | Terminating | Terminated),
                Stopped => matches!(to, Starting | Live | Failed | Terminating | Terminated),
                Starting => matches!(to, Live | Deploying | Stopped | Failed | Terminating | Terminated),
                Terminating => matches!(to, Terminated),
                Terminated => matches!(to, Requested | Booting | Stopped),
                Failed => matches!(
                    to,
                    Requested
                        | Booting
                        | Deploying
                        | Live
                        | Stopping
                        | Stopped
                        | Starting
                        | Terminating
                        | Terminated
                ),
            };
        if allowed { Ok(to) } else { Err(InvalidTransition { from: self, to }) }
    }

    /// Whether its machine is stopped, or on its way to it.
    pub fn is_off(self) -> bool {
        matches!(self, Self::Stopping | Self::Stopped)
    }

    /// Whether something is under way, so that a page about it will change by itself.
    pub fn is_moving(self) -> bool {
        match self {
            Self::Requested
            | Self::Launching
            | Self::Booting
            | Self::Deploying
            | Self::Stopping
            | Self::Starting
            | Self::Terminating => true,
            Self::Live | Self::Stopped | Self::Terminated | Self::Failed => false,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no such value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not known")]
pub struct UnknownName(String);

impl FromStr for Status {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|status| status.name() == text).ok_or_else(|| UnknownName(text.to_owned()))
    }
}

/// What the owner wants of an instance. Only the web half writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// Up and serving.
    Present,
    /// Kept, but not running.
    Stopped,
    /// Gone.
    Absent,
}

impl Wanted {
    /// The value in JSON and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Stopped => "stopped",
            Self::Absent => "absent",
        }
    }
}

impl FromStr for Wanted {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        [Self::Present, Self::Stopped, Self::Absent]
            .into_iter()
            .find(|wanted| wanted.name() == text)
            .ok_or_else(|| UnknownName(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_but_terminated_can_be_terminated_and_reads_back() {
        for status in Status::ALL {
            assert_eq!(status.name().parse(), Ok(status));
            assert_eq!(status.become_(Status::Terminating).is_ok(), status != Status::Terminated, "{status}");
        }
    }

    #[test]
    fn a_move_the_life_does_not_have_is_an_error() {
        let error = Status::Terminated.become_(Status::Live).unwrap_err();
        assert_eq!(error.to_string(), "an instance that is terminated cannot become live");
    }
}
