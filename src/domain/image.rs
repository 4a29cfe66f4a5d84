//! Golden images: what every machine boots from.

use std::{fmt, str::FromStr};

use super::{Timestamp, Username};

/// A golden image's number; the cloud's own name of it is [`Image::cloud_ref`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(pub i64);

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where an image is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageState {
    /// Its bake is under way.
    Baking,
    /// Machines can boot from it.
    Good,
    /// Its bake failed; there is only its log.
    Failed,
}

impl ImageState {
    /// The state in pages and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baking => "baking",
            Self::Good => "good",
            Self::Failed => "failed",
        }
    }
}

/// The text names no state of an image.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no state of an image is called {0:?}")]
pub struct UnknownImageState(String);

impl FromStr for ImageState {
    type Err = UnknownImageState;

    fn from_str(text: &str) -> Result<Self, UnknownImageState> {
        [Self::Baking, Self::Good, Self::Failed]
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or_else(|| UnknownImageState(text.to_owned()))
    }
}

/// What stands for the script's digest of an image that the settings give.
pub const GIVEN: &str = "given";
/// What stands for the script's digest of an image that was adopted without the record of its bake.
pub const ADOPTED: &str = "adopted";

/// A golden image and how its bake went.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Its number.
    pub id: ImageId,
    /// Where it is in its life.
    pub state: ImageState,
    /// The cloud's name of it, once it is good.
    pub cloud_ref: Option<String>,
    /// The digest of the image script it was baked with: a changed script wants a new bake.
    pub script: String,
    /// What it stands on, in words: `Debian GNU/Linux 12 (bookworm)`; empty until the bake has told.
    pub base: String,
    /// The number of the bake's step under way, from 1, and how many there are; none before the first.
    pub step: Option<(u32, u32)>,
    /// The name of that step.
    pub step_name: Option<String>,
    /// When that step began.
    pub step_since: Option<Timestamp>,
    /// Why the bake failed, for an admin.
    pub error: Option<String>,
    /// When its bake began.
    pub created_at: Timestamp,
    /// When its bake ended.
    pub finished_at: Option<Timestamp>,
    /// Whether its bake was asked for and has not begun.
    pub waiting: bool,
    /// Who asked for its bake; none where the site began it by itself, or on the command line.
    pub requested_by: Option<Username>,
    /// Bytes that it takes on disk, where that is known.
    pub size: Option<u64>,
    /// Whether it is being deleted.
    pub leaving: bool,
    /// Why the cloud did not delete it when it was asked to.
    pub kept_because: Option<String>,
}

impl Image {
    /// Whether the settings give it, so that nothing is known of its script, and its age is nobody's concern here.
    pub fn is_given(&self) -> bool {
        self.script == GIVEN
    }

    /// Days after which a golden image is old: distributions publish security updates all the time, and a
    /// machine gets none before it boots; a month is how long one may be without them.
    pub const OLD_DAYS: i64 = 30;

    /// When it was made: the end of its bake, or its beginning where it has not ended.
    pub fn made_at(&self) -> Timestamp {
        self.finished_at.unwrap_or(self.created_at)
    }

    /// Whether a new one should be baked for fresh OS packages.
    pub fn is_old(&self, now: Timestamp) -> bool {
        now >= self.made_at().plus_seconds(Self::OLD_DAYS * 86_400)
    }
}
