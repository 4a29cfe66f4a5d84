//! What people ask of an instance's machine: the end of the project's log, the data that only it has, or what a
//! management command prints.

use std::{fmt, str::FromStr};

use super::{Instance, RowId, Status, Timestamp, Wanted};

/// A fetch's number over the whole site, in its URL and the name of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub i64);

impl fmt::Display for FetchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text names nothing of a fetch.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing of a fetch is called {0:?}")]
pub struct UnknownOfFetch(String);

/// What is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FetchKind {
    /// The last lines that gunicorn and nginx wrote.
    Log,
    /// The project's databases on the machine: SQLite's files, and copies of what PostgreSQL and MySQL have.
    Database,
    /// The files that people uploaded to the project.
    Media,
    /// What a management command prints, which is run for it.
    Command,
}

impl FetchKind {
    /// Every kind that is a file to download.
    pub const FILES: [Self; 2] = [Self::Database, Self::Media];

    /// The kind in URLs, on the machine and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Database => "database",
            Self::Media => "media",
            Self::Command => "command",
        }
    }

    /// Whether what comes is a file to download, kept beside the database.
    pub fn is_file(self) -> bool {
        Self::FILES.contains(&self)
    }

    /// Seconds a fetch of this kind has without a byte of it before it is given up: a log comes in a second or two
    /// also from a busy machine; a large file is packed before its first byte comes; a command has five minutes on
    /// its machine.
    pub fn patience(self) -> i64 {
        match self {
            Self::Log => 60,
            Self::Database | Self::Media => 600,
            Self::Command => 420,
        }
    }
}

impl FromStr for FetchKind {
    type Err = UnknownOfFetch;

    fn from_str(text: &str) -> Result<Self, UnknownOfFetch> {
        [Self::Log, Self::Database, Self::Media, Self::Command]
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| UnknownOfFetch(text.to_owned()))
    }
}

/// Where a fetch is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchState {
    /// It was asked for; its machine does not know of it yet.
    Wanted,
    /// Its machine was told, and is at work or sends it.
    Sent,
    /// It is here.
    Ready,
    /// It did not come.
    Failed,
}

impl FetchState {
    /// The state in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Sent => "sent",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }

    /// Whether it is still to come.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Wanted | Self::Sent)
    }
}

impl FromStr for FetchState {
    type Err = UnknownOfFetch;

    fn from_str(text: &str) -> Result<Self, UnknownOfFetch> {
        [Self::Wanted, Self::Sent, Self::Ready, Self::Failed]
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or_else(|| UnknownOfFetch(text.to_owned()))
    }
}

/// What the bytes of a fetch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchFormat {
    /// Sections of a project's log, or a command's exit code and what it printed.
    Text,
    /// One SQLite database.
    Sqlite,
    /// A compressed archive.
    TarGz,
}

impl FetchFormat {
    /// The format in the database, as the machine calls it, and as the end of a file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Sqlite => "sqlite3",
            Self::TarGz => "tar.gz",
        }
    }

    /// Whether a fetch of this kind may have it.
    pub fn is_of(self, kind: FetchKind) -> bool {
        match kind {
            FetchKind::Log | FetchKind::Command => self == Self::Text,
            FetchKind::Database => matches!(self, Self::Sqlite | Self::TarGz),
            FetchKind::Media => self == Self::TarGz,
        }
    }
}

impl FromStr for FetchFormat {
    type Err = UnknownOfFetch;

    fn from_str(text: &str) -> Result<Self, UnknownOfFetch> {
        [Self::Text, Self::Sqlite, Self::TarGz]
            .into_iter()
            .find(|format| format.name() == text)
            .ok_or_else(|| UnknownOfFetch(text.to_owned()))
    }
}

/// Something that was asked of an instance's machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetch {
    /// Its number.
    pub id: FetchId,
    /// The instance.
    pub instance: RowId,
    /// What is fetched.
    pub kind: FetchKind,
    /// Where it is in its life.
    pub state: FetchState,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its machine was told last.
    pub sent_at: Option<Timestamp>,
    /// When bytes of it came last.
    pub heard_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Bytes that have come.
    pub size: u64,
    /// What they are, once it is ready.
    pub format: Option<FetchFormat>,
    /// Why it did not come: one sentence.
    pub error: Option<String>,
}

impl Fetch {
    /// Seconds that a file can be downloaded, from when it is ready.
    pub const KEPT_SECONDS: i64 = 3600;

    /// Until when its file can be downloaded; none where there is no file.
    pub fn kept_until(&self) -> Option<Timestamp> {
        let is_file = self.state == FetchState::Ready && self.kind.is_file();
        self.ended_at.filter(|_| is_file).map(|ended| ended.plus_seconds(Self::KEPT_SECONDS))
    }

    /// When it is given up, should nothing of it come until then.
    pub fn deadline(&self) -> Timestamp {
        let last = [self.heard_at, self.sent_at].into_iter().flatten().fold(self.created_at, Timestamp::max);
        last.plus_seconds(self.kind.patience())
    }
}

/// Whether an instance has a machine that can be asked for something.
///
/// # Errors
/// A sentence that says why it has none.
pub fn can_be_asked(instance: &Instance) -> Result<(), &'static str> {
    match instance.status {
        _ if instance.wanted == Wanted::Absent && instance.status != Status::Terminated => {
            Err("The machine is being terminated.")
        }
        Status::Terminating => Err("The machine is being terminated."),
        Status::Terminated => Err("The machine is gone."),
        _ if instance.instance_id.is_none() => Err("There is no machine yet."),
        Status::Requested | Status::Launching | Status::Booting => Err("The machine has not reported yet."),
        Status::Stopping => Err("The machine is being stopped."),
        Status::Stopped => Err("The machine is stopped."),
        Status::Starting => Err("The machine is still starting."),
        Status::Deploying | Status::Live | Status::Failed => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_a_kind_has_its_formats() {
        for kind in [FetchKind::Log, FetchKind::Database, FetchKind::Media, FetchKind::Command] {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        for state in [FetchState::Wanted, FetchState::Sent, FetchState::Ready, FetchState::Failed] {
            assert_eq!(state.name().parse(), Ok(state));
        }
        for format in [FetchFormat::Text, FetchFormat::Sqlite, FetchFormat::TarGz] {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert!("logs".parse::<FetchKind>().is_err());
        assert!(
            FetchFormat::Sqlite.is_of(FetchKind::Database) && !FetchFormat::Sqlite.is_of(FetchKind::Media)
        );
        assert!(!FetchFormat::Text.is_of(FetchKind::Media) && !FetchFormat::TarGz.is_of(FetchKind::Log));
    }

    #[test]
    fn whoever_is_heard_has_more_time() {
        let mut fetch = Fetch {
            id: FetchId(1),
            instance: RowId(1),
            kind: FetchKind::Media,
            state: FetchState::Wanted,
            created_at: Timestamp(0),
            sent_at: None,
            heard_at: None,
            ended_at: None,
            size: 0,
            format: None,
            error: None,
        };
        assert_eq!(fetch.deadline(), Timestamp(600_000));
        fetch.sent_at = Some(Timestamp(1000));
        fetch.heard_at = Some(Timestamp(5000));
        assert_eq!(fetch.deadline(), Timestamp(605_000));
        assert_eq!(fetch.kept_until(), None);
        (fetch.state, fetch.ended_at) = (FetchState::Ready, Some(Timestamp(9000)));
        assert_eq!(fetch.kept_until(), Some(Timestamp(3_609_000)));
        fetch.kind = FetchKind::Log;
        assert_eq!(fetch.kept_until(), None);
    }
}
