//! The URL of a repository, read from whatever a person pastes, and the hosts that may be asked.

use std::{fmt, str::FromStr};

use url::{Host, Url};

use super::{Branch, NameError, ProjectName};

/// The exact allow-list of scheme, host and port that repositories may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitHosts {
    listed: Vec<Url>,
    /// Those of our own, which sentences do not name.
    own: Vec<Url>,
}

impl GitHosts {
    /// The same list with an origin of the site's own, which sentences do not name.
    ///
    /// # Errors
    /// Where `origin` is not `http` or `https`, a host, and at most a port.
    pub fn with_own(mut self, origin: &str) -> Result<Self, NameError> {
        self.own.push(parse_origin(origin)?);
        Ok(self)
    }

    /// Whether `url` has exactly one of these schemes, hosts and ports.
    fn allows(&self, url: &Url) -> bool {
        self.listed.iter().chain(&self.own).any(|origin| {
            origin.scheme() == url.scheme()
                && origin.host() == url.host()
                && origin.port_or_known_default() == url.port_or_known_default()
        })
    }

    /// Checks that a repository that was accepted once is still on one of these hosts.
    ///
    /// # Errors
    /// One sentence that names the hosts, where it is not.
    pub fn check(&self, repo: &RepoUrl) -> Result<(), NameError> {
        if self.allows(&repo.0) { Ok(()) } else { Err(self.refusal(&repo.0)) }
    }

    fn refusal(&self, url: &Url) -> NameError {
        let scheme = if url.scheme() == "https" { "" } else { ", over https" };
        NameError::new(format!("Only repositories on {} can be deployed{scheme}.", self.in_words()))
    }

    /// The listed hosts as addresses: `https://github.com`.
    pub fn addresses(&self) -> Vec<String> {
        self.listed.iter().map(|url| url.as_str().trim_end_matches('/').to_owned()).collect()
    }

    /// The hosts in words, for a sentence: `github.com or git.example.com`.
    pub fn in_words(&self) -> String {
        let names: Vec<_> = self.listed.iter().filter_map(Url::host_str).collect();
        names.join(" or ")
    }
}

/// Origins separated by commas or spaces, as in `GIT_HOSTS`.
impl FromStr for GitHosts {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let origins = text.split([',', ' ']).filter(|origin| !origin.is_empty());
        let hosts = origins.map(parse_origin).collect::<Result<Vec<_>, _>>()?;
        if hosts.is_empty() {
            return Err(NameError::new("at least one host is needed, for example https://github.com"));
        }
        Ok(Self { listed: hosts, own: Vec::new() })
    }
}

impl fmt::Display for GitHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origins: Vec<_> = self.listed.iter().map(|url| url.as_str().trim_end_matches('/')).collect();
        f.write_str(&origins.join(","))
    }
}

fn parse_origin(text: &str) -> Result<Url, NameError> {
    let bad = || NameError::new(format!("{text:?} is not scheme://host or scheme://host:port"));
    let url = Url::parse(text).map_err(|_| bad())?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    if plain { Ok(url) } else { Err(bad()) }
}

/// The URL of a repository on an allowed host, without user, query, fragment, trailing slash or `.git`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RepoUrl(Url);

/// What a pasted repository URL said: the repository, and perhaps a branch and a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastedRepo {
    /// The repository.
    pub url: RepoUrl,
    /// What followed `/tree/`, still one text: a branch may hold slashes, so where it ends and the
    /// directory begins is known only to the repository.
    pub tree: Option<String>,
}

impl PastedRepo {
    /// The branch and directory that a `…/tree/<branch>/<directory>` URL most likely means: the
    /// first part is the branch, the second the project's directory.
    pub fn branch_and_directory(&self) -> (Option<Branch>, Option<ProjectName>) {
        let Some(tree) = &self.tree else { return (None, None) };
        let mut parts = tree.splitn(2, '/');
        let branch = parts.next().and_then(|part| part.parse().ok());
        let directory = parts.next().and_then(|part| part.trim_matches('/').parse().ok());
        (branch, directory)
    }
}

impl RepoUrl {
    /// Longest text that is looked at, in bytes.
    const MAX: usize = 500;

    /// Reads what a person pasted: a web address, one with `.git`, a `…/tree/<branch>/<directory>`, or `git@host:owner/name.git`.
    ///
    /// # Errors
    /// One sentence that says what to change, where the text is no such thing or its host is not in `hosts`.
    pub fn parse_pasted(text: &str, hosts: &GitHosts) -> Result<PastedRepo, NameError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NameError::new(
                "Give the URL of the repository, for example https://github.com/you/repository",
            ));
        }
        if text.len() > Self::MAX {
            return Err(NameError::new("This is too long for a repository's URL."));
        }
        if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(NameError::new("A repository's URL has no spaces, line breaks or backslashes."));
        }
        let (web, was_ssh) = match text.strip_prefix("git@").and_then(|rest| rest.split_once(':')) {
            Some((host, path)) => (format!("https://{host}/{path}"), true),
            None if !text.contains("://") => (format!("https://{text}"), false),
            None => (text.to_owned(), false),
        };
        let url = Url::parse(&web).map_err(|_| {
            NameError::new("This is not a URL. It looks like https://github.com/you/repository")
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            let error = NameError::new(
                "Leave out the user name and password: only public repositories can be deployed, and a password does not belong here.",
            );
            return Err(error);
        }
        if !hosts.allows(&url) {
            return Err(hosts.refusal(&url));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(NameError::new("Leave out what follows ? or # in the URL."));
        }
        let (path, tree) = match url.path().split_once("/tree/") {
            Some((path, tree)) if !was_ssh => (path.to_owned(), Some(tree.trim_matches('/').to_owned())),
            _ => (url.path().to_owned(), None),
        };
        let path = path.trim_end_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let parts: Vec<_> = path.split('/').skip(1).collect();
        let plain = |part: &&str| {
            !part.is_empty()
                && !part.starts_with(['.', '-'])
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'~'))
        };
        let github = url.host() == Some(Host::Domain("github.com"));
        if !parts.iter().all(plain) || parts.len() < 2 || (github && parts.len() > 2) {
            let error = NameError::new(
                "A repository's URL has an owner and a name, as in https://github.com/you/repository",
            );
            return Err(match parts[..] {
                [ref owner, ref name, ..] if github && plain(owner) && plain(name) => {
                    error.suggest(format!("https://github.com/{owner}/{name}"))
                }
                _ => error,
            });
        }
        let mut url = url.clone();
        url.set_path(path);
        Ok(PastedRepo { url: Self(url), tree: tree.filter(|tree| !tree.is_empty()) })
    }

    /// The URL that git is given: with `.git`, which GitHub and `git http-backend` answer without a redirect.
    pub fn clone_url(&self) -> String {
        format!("{}.git", self.0)
    }

    /// The scheme, `http` or `https`.
    pub fn scheme(&self) -> &str {
        self.0.scheme()
    }

    /// The repository in few words: `owner/name`.
    pub fn short(&self) -> &str {
        self.0.path().trim_start_matches('/')
    }

    /// The address of its web page.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Reads back what [`as_str`](Self::as_str) gave, as the store keeps it; the allow-list was asked when it was typed.
    ///
    /// # Errors
    /// Where the text is not a URL.
    pub fn from_stored(text: &str) -> Result<Self, url::ParseError> {
        Url::parse(text).map(Self)
    }
}

impl fmt::Display for RepoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn hosts() -> GitHosts {
        "https://github.com,http://10.213.0.1:8001".parse().unwrap()
    }

    #[rstest]
    #[case("https://github.com/you/shop", "https://github.com/you/shop")]
    #[case("  https://github.com/you/shop.git \n", "https://github.com/you/shop")]
    #[case("https://GitHub.com/you/shop/", "https://github.com/you/shop")]
    #[case("https://github.com:443/you/shop", "https://github.com/you/shop")]
    #[case("github.com/you/shop", "https://github.com/you/shop")]
    #[case("git@github.com:you/shop.git", "https://github.com/you/shop")]
    #[case("http://10.213.0.1:8001/samples/guestbook.git", "http://10.213.0.1:8001/samples/guestbook")]
    fn understood(#[case] text: &str, #[case] url: &str) {
        assert_eq!(RepoUrl::parse_pasted(text, &hosts()).unwrap().url.as_str(), url);
    }

    #[rstest]
    #[case("")]
    #[case("shop")]
    #[case("http://github.com/you/shop")]
    #[case("https://github.com@evil/you/shop")]
    #[case("https://evil.com/github.com/shop")]
    #[case("https://github.com.evil.com/you/shop")]
    #[case("https://github.com:8443/you/shop")]
    #[case("https://me:secret@github.com/you/shop")]
    #[case("file:///etc/passwd")]
    #[case("ext::sh -c reboot")]
    #[case("--upload-pack=/bin/sh")]
    #[case("http://169.254.169.254/latest/meta-data")]
    #[case("https://github.com/you/shop?x=1")]
    #[case("https://github.com/you/../shop")]
    #[case("https://github.com/you/$(reboot)")]
    #[case("https://github.com/you/shop;rm")]
    #[case("https://github.com/you")]
    #[case("https://github.com/you/shop/issues/1")]
    #[case("https://github.com/you/-shop")]
    #[case("ssh://git@github.com/you/shop")]
    fn refused(#[case] text: &str) {
        assert!(RepoUrl::parse_pasted(text, &hosts()).is_err());
    }

    #[test]
    fn a_pasted_directory_gives_branch_and_project() {
        let pasted =
            RepoUrl::parse_pasted("https://github.com/you/shop/tree/main/backend", &hosts()).unwrap();
        let (branch, directory) = pasted.branch_and_directory();
        assert_eq!(pasted.url.as_str(), "https://github.com/you/shop");
        assert_eq!(branch.unwrap().as_str(), "main");
        assert_eq!(directory.unwrap().as_str(), "backend");
    }

    #[test]
    fn a_host_of_our_own_is_allowed_and_not_named() {
        let hosts =
            "https://github.com".parse::<GitHosts>().unwrap().with_own("http://10.213.0.1:8001").unwrap();
        assert!(RepoUrl::parse_pasted("http://10.213.0.1:8001/samples/guestbook.git", &hosts).is_ok());
        assert_eq!(hosts.in_words(), "github.com");
        let sample = RepoUrl::from_stored("http://10.213.0.1:8001/samples/guestbook").unwrap();
        assert!(hosts.check(&sample).is_ok());
        assert!("https://github.com".parse::<GitHosts>().unwrap().check(&sample).is_err());
    }

    #[test]
    fn the_list_of_hosts_is_exact_and_reads_back() {
        assert_eq!(hosts().to_string().parse(), Ok(hosts()));
        assert!("https://github.com/you".parse::<GitHosts>().is_err());
        assert!("".parse::<GitHosts>().is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_pasted_the_answer_is_on_an_allowed_host(text in any::<String>()) {
            if let Ok(pasted) = RepoUrl::parse_pasted(&text, &hosts()) {
                prop_assert!(hosts().allows(&pasted.url.0));
            }
        }

        #[test]
        fn a_url_reads_back_as_itself(owner in "[a-z0-9][a-z0-9._-]{0,10}", name in "[a-z0-9][a-z0-9_-]{0,10}") {
            let url = RepoUrl::parse_pasted(&format!("https://github.com/{owner}/{name}"), &hosts()).unwrap().url;
            prop_assert_eq!(&RepoUrl::from_stored(url.as_str()).unwrap(), &url);
            prop_assert_eq!(RepoUrl::parse_pasted(&url.clone_url(), &hosts()).unwrap().url, url);
        }
    }
}
