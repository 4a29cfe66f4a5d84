//! Asks an address as machines do, by git: it is there on every host that runs machines, and speaks https by the
//! host's own trust and proxies. That there is no repository is an answer too.

use std::process::Command;

use super::super::command::tool;

/// How long an address may take, in seconds; where it can be reached it takes a fraction of one.
const PATIENCE: &str = "6";

/// What came of asking an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// It answers.
    Yes,
    /// Its name is not known.
    Unknown,
    /// Nothing answers: no way there, or something on it drops what is sent.
    Silent,
    /// Whoever answers is not trusted.
    Untrusted,
    /// Something answers that it will not have it.
    Refused,
}

impl Reached {
    /// In words that follow the address.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Yes => "answers",
            Self::Unknown => "cannot be resolved: DNS does not know its name",
            Self::Silent => "does not answer: there is no route, or a firewall drops it",
            Self::Untrusted => "answers with a certificate that is not trusted",
            Self::Refused => "is refused by something on the way, or does not work",
        }
    }
}

/// Asks an address from the namespaces of the thread that calls.
pub(super) fn fetch(url: &str) -> Reached {
    let output = command(url).output();
    output.map_or(Reached::Silent, |output| {
        let said = String::from_utf8_lossy(&output.stderr);
        understand(output.status.code(), &said)
    })
}

fn command(url: &str) -> Command {
    let mut command = tool("timeout");
    command.args(["--signal=KILL", PATIENCE, "git", "-c", "credential.helper=", "ls-remote", url]);
    for (name, value) in [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("HOME", "/nonexistent"),
    ] {
        command.env(name, value);
    }
    for name in super::super::base::WAYS_OUT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

fn understand(code: Option<i32>, said: &str) -> Reached {
    let said = said.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if code == Some(0) || has(&["not found", "could not read username", "authentication failed"]) {
        Reached::Yes
    } else if has(&["could not resolve"]) {
        Reached::Unknown
    } else if has(&["certificate"]) {
        Reached::Untrusted
    } else if has(&["returned error", "response 4", "response 5", "from proxy"]) {
        Reached::Refused
    } else {
        Reached::Silent
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Some(0), "", Reached::Yes)]
    #[case(Some(128), "fatal: repository 'https://pypi.org/simple/' not found", Reached::Yes)]
    #[case(
        Some(128),
        "fatal: could not read Username for 'https://github.com': terminal prompts disabled",
        Reached::Yes
    )]
    #[case(
        Some(128),
        "fatal: unable to access 'https://github.com/': Could not resolve host: github.com",
        Reached::Unknown
    )]
    #[case(
        Some(128),
        "fatal: unable to access 'x': Failed to connect to a port 443 after 3 ms: Couldn't connect to server",
        Reached::Silent
    )]
    #[case(None, "", Reached::Silent)]
    #[case(
        Some(128),
        "fatal: unable to access 'x': server certificate verification failed. CAfile: none",
        Reached::Untrusted
    )]
    #[case(Some(128), "fatal: unable to access 'x': The requested URL returned error: 403", Reached::Refused)]
    #[case(Some(128), "fatal: unable to access 'x': CONNECT tunnel failed, response 403", Reached::Refused)]
    fn what_git_says_is_understood(#[case] code: Option<i32>, #[case] said: &str, #[case] reached: Reached) {
        assert_eq!(understand(code, said), reached);
    }
}
