//! What a cloud answers when it does not do what it was asked.

/// Whether asking again can help. Where an error arises decides it; the loop owns the backoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It may pass, or it is not known what came of the call: repeat the same request.
    Later,
    /// A definite refusal: nothing came of the call, and the same request will not do.
    Never,
    /// A definite refusal that is the place's: a request for another place may do.
    Elsewhere,
}

/// A cloud did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct CloudError {
    /// Whether asking again can help.
    pub retry: Retry,
    /// One sentence for the owner, with the cure where one is known.
    pub sentence: String,
    /// Whether it is certain that nothing came of this very call, though asking again may help. A refusal says that by
    /// itself.
    pub certain: bool,
    /// What it came from, for the log.
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl CloudError {
    /// An error that may pass.
    pub fn later(sentence: impl Into<String>) -> Self {
        Self { retry: Retry::Later, sentence: sentence.into(), certain: false, cause: None }
    }

    /// A definite refusal.
    pub fn never(sentence: impl Into<String>) -> Self {
        Self { retry: Retry::Never, sentence: sentence.into(), certain: true, cause: None }
    }

    /// The same error, of a call of which nothing came.
    pub fn for_certain(mut self) -> Self {
        self.certain = true;
        self
    }

    /// The same error with what it came from.
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}
