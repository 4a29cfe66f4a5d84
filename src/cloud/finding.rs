//! What a look at a cloud finds: whether machines could run there, and what to do where they could not.

use std::fmt;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// As it should be.
    Ok,
    /// Machines run, but something about them will not work, or could not be looked at.
    Warn,
    /// Machines do not run.
    Bad,
}

impl Gravity {
    /// The word at the start of a finding's line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How grave it is.
    pub gravity: Gravity,
    /// What was seen, without a full stop at its end.
    pub what: String,
    /// What to do about it, without a full stop at its end.
    pub cure: Option<String>,
}

impl Finding {
    /// What is as it should be.
    pub fn ok(what: impl Into<String>) -> Self {
        Self { gravity: Gravity::Ok, what: what.into(), cure: None }
    }

    /// What will not work, or could not be looked at.
    pub fn warn(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { gravity: Gravity::Warn, what: what.into(), cure: Some(cure.into()) }
    }

    /// What keeps machines from running.
    pub fn bad(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { gravity: Gravity::Bad, what: what.into(), cure: Some(cure.into()) }
    }
}

/// A finding in one line: `bad  mmdebstrap is not installed. Cure: apt-get install mmdebstrap`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<4} {}", self.gravity.name(), one_line(&self.what))?;
        match &self.cure {
            Some(cure) => write!(f, ". Cure: {}", one_line(cure)),
            None => Ok(()),
        }
    }
}

/// A tool's words may be of several lines.
fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line() {
        let bad = Finding::bad("mmdebstrap is\nnot installed.", "apt-get install mmdebstrap");
        assert_eq!(bad.to_string(), "bad  mmdebstrap is not installed. Cure: apt-get install mmdebstrap");
        assert_eq!(Finding::ok("systemd-nspawn 252").to_string(), "ok   systemd-nspawn 252");
        assert!(Gravity::Ok < Gravity::Warn && Gravity::Warn < Gravity::Bad);
    }
}
