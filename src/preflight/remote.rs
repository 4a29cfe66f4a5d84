//! What a remote repository says of itself, and what it means when it says nothing good.

use std::collections::BTreeMap;

use super::{Field, Finding, Limits, nearest};
use crate::domain::{Branch, NameError, RepoUrl};

/// Branches that are kept of a list; beyond them a name is still found only if it sorts before.
const BRANCHES_KEPT: usize = 50_000;

/// How many branches are offered in place of one that is not there.
const OFFERED: usize = 3;

/// Why a remote gave nothing. The text from git is for the log alone: a server chooses what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RemoteError {
    #[error("not found, or not public")]
    NotFound,
    #[error("a redirect, which is not followed")]
    Redirected,
    #[error("no answer: {0}")]
    Unreachable(String),
    #[error("the server answered {0}")]
    Status(String),
    #[error("not a git repository: {0}")]
    NotGit(String),
    #[error("larger than the limits")]
    TooLarge,
    #[error("the branch is gone")]
    BranchGone,
    #[error("the site's own failure: {0}")]
    Ours(String),
}

impl RemoteError {
    /// Reads the complaints of git, in the words that versions 2.30 to 2.50 use.
    pub(super) fn of_git(stderr: &str) -> Self {
        let own = |line: &&str| !line.starts_with("remote:") && !line.starts_with("warning:");
        let text: Vec<_> = stderr.lines().filter(own).collect();
        let text: String = text.join("\n").chars().take(1000).collect();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if says(&["died of signal 25", "File too large", "out of memory", "Out of memory", "malloc"]) {
            return Self::TooLarge;
        }
        if says(&["could not read Username", "could not read Password", "Authentication failed"]) {
            return Self::NotFound;
        }
        if let Some((_, status)) = text.split_once("The requested URL returned error: ") {
            let status: String = status.chars().take_while(char::is_ascii_digit).collect();
            return match status.as_str() {
                "301" | "302" | "303" | "307" | "308" => Self::Redirected,
                "401" | "404" | "410" => Self::NotFound,
                _ => Self::Status(status),
            };
        }
        if text.contains("repository '") && text.contains("' not found") {
            return Self::NotFound;
        }
        if says(&["couldn't find remote ref"]) {
            return Self::BranchGone;
        }
        if says(&["unable to access", "unable to rewind", "RPC failed", "hung up", "early EOF"]) {
            return Self::Unreachable(text);
        }
        if says(&["cannot create", "unable to create", "No space left", "Permission denied"]) {
            return Self::Ours(text);
        }
        Self::NotGit(text)
    }

    /// The finding for the person who typed the URL.
    pub(super) fn finding(&self, repo: &RepoUrl, limits: Limits) -> Finding {
        let short = repo.short();
        let message = match self {
            Self::NotFound => format!(
                "There is no public repository \u{201c}{short}\u{201d} there. Check the owner and the name; private repositories cannot be deployed yet."
            ),
            Self::Redirected => {
                "This address leads to another one: the repository may have been renamed. Open it in a browser and paste the address that it ends at.".to_owned()
            }
            Self::Unreachable(_) => {
                "The repository's host could not be reached. Try again in a minute.".to_owned()
            }
            Self::Status(status) => format!(
                "The repository's host refused to show it (it answered {status}). Try again in a minute."
            ),
            Self::NotGit(_) => {
                "What answers at this address is not a git repository. Paste the address that you clone from.".to_owned()
            }
            Self::TooLarge => format!(
                "The repository is too large: without its big files, its newest commit must be below {} MB.",
                limits.size >> 20
            ),
            Self::BranchGone => "The branch has just gone away. Try again.".to_owned(),
            Self::Ours(_) => ours().to_owned(),
        };
        Finding { field: Field::Repo, error: NameError::new(message) }
    }
}

/// The sentence for a failure that nobody outside can help.
pub(super) fn ours() -> &'static str {
    "The repository could not be looked at, through a fault of this site. Try again; if it stays so, tell its admin."
}

/// The branches of a remote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RemoteBranches {
    /// Names and the commits at their tips.
    tips: BTreeMap<Branch, String>,
    /// The branch that HEAD stands for, where the remote says so.
    symbolic: Option<Branch>,
    /// The commit at HEAD.
    head: Option<String>,
}

impl RemoteBranches {
    /// Reads what `git ls-remote --symref` prints. Names that are no branch's name here are left out.
    pub(super) fn parse(stdout: &[u8]) -> Self {
        let mut branches = Self::default();
        for line in String::from_utf8_lossy(stdout).lines() {
            let Some((what, name)) = line.split_once('\t') else { continue };
            let branch = name.strip_prefix("refs/heads/").and_then(|name| name.parse::<Branch>().ok());
            match (what.strip_prefix("ref: "), name) {
                (Some(target), "HEAD") => {
                    branches.symbolic = target.strip_prefix("refs/heads/").and_then(|name| name.parse().ok());
                }
                (None, "HEAD") => branches.head = Some(what.to_owned()),
                (None, _) => {
                    if let Some(branch) = branch.filter(|_| branches.tips.len() < BRANCHES_KEPT) {
                        branches.tips.insert(branch, what.to_owned());
                    }
                }
                _ => {}
            }
        }
        branches
    }

    /// Whether the remote names its objects by SHA-256.
    pub(super) fn is_sha256(&self) -> bool {
        self.tips.values().next().is_some_and(|id| id.len() == 64)
    }

    /// The branch to deploy: the one that was asked for, else the default.
    pub(super) fn choose(&self, wanted: Option<&Branch>) -> Result<Branch, Finding> {
        if self.tips.is_empty() {
            let message = "The repository has no branch yet: push a commit first.";
            return Err(Finding { field: Field::Repo, error: NameError::new(message) });
        }
        match wanted {
            Some(branch) if self.tips.contains_key(branch) => Ok(branch.clone()),
            Some(branch) => Err(self.missing(branch)),
            None => self.default_branch().ok_or_else(|| {
                let message = "The repository has no default branch: give the name of one.";
                let likely = ["main", "master"].into_iter().filter(|name| self.has(name));
                let rest =
                    self.tips.keys().map(Branch::as_str).filter(|name| !matches!(*name, "main" | "master"));
                let offered = likely.chain(rest).take(OFFERED).map(str::to_owned).collect();
                Finding {
                    field: Field::Branch,
                    error: NameError { message: message.to_owned(), suggestions: offered },
                }
            }),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.tips.keys().any(|branch| branch.as_str() == name)
    }

    /// The branch of HEAD; where HEAD is a commit alone, the one branch that is there, or main or master.
    fn default_branch(&self) -> Option<Branch> {
        if let Some(branch) = &self.symbolic {
            return self.tips.contains_key(branch).then(|| branch.clone());
        }
        let head = self.head.as_ref()?;
        let mut there: Vec<_> =
            self.tips.iter().filter(|(_, tip)| *tip == head).map(|(name, _)| name).collect();
        there.sort_by_key(|branch| !matches!(branch.as_str(), "main" | "master"));
        match there[..] {
            [one] => Some(one.clone()),
            [first, ..] if matches!(first.as_str(), "main" | "master") => Some(first.clone()),
            _ => None,
        }
    }

    fn missing(&self, branch: &Branch) -> Finding {
        let names: Vec<_> = self.tips.keys().map(Branch::as_str).collect();
        let mut suggestions = nearest::nearest(branch.as_str(), &names, OFFERED);
        if suggestions.is_empty() {
            let default = self.default_branch();
            suggestions.extend(default.map(String::from));
        }
        let mut message = format!("There is no branch \u{201c}{branch}\u{201d} in the repository.");
        if !suggestions.is_empty() {
            message.push_str(&format!(" Did you mean {}?", nearest::in_words(&suggestions)));
        }
        Finding { field: Field::Branch, error: NameError { message, suggestions } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(
        "fatal: could not read Username for 'https://github.com': terminal prompts disabled\n",
        RemoteError::NotFound
    )]
    #[case("fatal: repository 'http://127.0.0.1:1/a/b.git/' not found\n", RemoteError::NotFound)]
    #[case("fatal: unable to access 'x': The requested URL returned error: 301\n", RemoteError::Redirected)]
    #[case("fatal: unable to access 'x': The requested URL returned error: 429\n", RemoteError::Status("429".into()))]
    #[case("error: index-pack died of signal 25\nfatal: early EOF", RemoteError::TooLarge)]
    #[case(
        "remote: repository 'x' not found\nfatal: couldn't find remote ref refs/heads/x",
        RemoteError::BranchGone
    )]
    fn complaints_are_understood(#[case] stderr: &str, #[case] error: RemoteError) {
        assert_eq!(RemoteError::of_git(stderr), error);
    }

    #[test]
    fn a_host_that_cannot_be_reached_is_no_missing_repository() {
        let error = RemoteError::of_git("fatal: unable to access 'http://x/': Could not resolve host: x");
        assert!(matches!(error, RemoteError::Unreachable(_)));
    }

    const MAIN: &str = "ref: refs/heads/main\tHEAD\naaa\tHEAD\naaa\trefs/heads/main\nbbb\trefs/heads/develop\n\
                        ccc\trefs/pull/1/head\nddd\trefs/tags/v1\n";

    fn choose(listing: &str, wanted: Option<&str>) -> Result<String, (Field, String, Vec<String>)> {
        let branches = RemoteBranches::parse(listing.as_bytes());
        let wanted = wanted.map(|name| name.parse().unwrap());
        let chosen = branches.choose(wanted.as_ref());
        chosen.map(String::from).map_err(|f| (f.field, f.error.message, f.error.suggestions))
    }

    #[test]
    fn the_default_branch_or_the_one_asked_for() {
        assert_eq!(choose(MAIN, None).unwrap(), "main");
        assert_eq!(choose(MAIN, Some("develop")).unwrap(), "develop");
    }

    #[test]
    fn a_missing_branch_gets_the_nearest_ones() {
        let (field, message, suggestions) = choose(MAIN, Some("dev")).unwrap_err();
        assert_eq!(field, Field::Branch);
        assert_eq!(suggestions, ["develop"]);
        assert_eq!(
            message,
            "There is no branch \u{201c}dev\u{201d} in the repository. Did you mean \u{201c}develop\u{201d}?"
        );
        assert_eq!(choose(MAIN, Some("zzzzzzzz")).unwrap_err().2, ["main"]);
    }

    #[test]
    fn empty_repositories_and_heads_that_stand_for_nothing() {
        assert_eq!(choose("", None).unwrap_err().0, Field::Repo);
        let unborn = "ref: refs/heads/main\tHEAD\naaa\trefs/heads/work\n";
        let (field, _, suggestions) = choose(unborn, None).unwrap_err();
        assert_eq!((field, suggestions), (Field::Branch, vec!["work".to_owned()]));
    }

    #[test]
    fn a_detached_head_is_the_branch_at_its_commit() {
        assert_eq!(choose("aaa\tHEAD\naaa\trefs/heads/x\nbbb\trefs/heads/y\n", None).unwrap(), "x");
        let several = "aaa\tHEAD\naaa\trefs/heads/a\naaa\trefs/heads/master\n";
        assert_eq!(choose(several, None).unwrap(), "master");
        let unknown = "aaa\tHEAD\nbbb\trefs/heads/a\nccc\trefs/heads/b\n";
        assert_eq!(choose(unknown, None).unwrap_err().2, ["a", "b"]);
    }
}
