//! Names that people type, each a type that cannot hold a bad one.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a name was refused: one sentence for the person who typed it, and a value that would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NameError {
    /// One sentence that says what to do.
    pub message: String,
    /// Values that would be accepted, offered on the form; often empty.
    pub suggestions: Vec<String>,
}

impl NameError {
    /// An error that has only its sentence.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), suggestions: Vec::new() }
    }

    /// The same error with a value that would be accepted.
    pub fn suggest(mut self, value: impl Into<String>) -> Self {
        self.suggestions.push(value.into());
        self
    }
}

/// Implements what every name has: reading it from text with its rule, showing it, and serde by the same rule.
macro_rules! name_type {
    ($type:ident) => {
        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(value: String) -> Result<Self, NameError> {
                value.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.0
            }
        }
    };
}
pub(super) use name_type;

/// The name of an instance, unique on this site: `[a-z][a-z0-9-]{0,38}[a-z0-9]`, and not `new`,
/// which is a page.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerName(String);

impl ServerName {
    /// Longest name, in characters.
    pub const MAX: usize = 40;

    /// A name made from any text: small letters, digits and single hyphens; `fallback` when too
    /// little of the text is left.
    pub fn slug(text: &str, fallback: &str) -> Self {
        let mut slug = String::new();
        for c in text.chars().map(|c| c.to_ascii_lowercase()) {
            match c {
                'a'..='z' => slug.push(c),
                '0'..='9' if !slug.is_empty() => slug.push(c),
                _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
                _ => {}
            }
        }
        slug.truncate(Self::MAX);
        let slug = slug.trim_end_matches('-');
        Self(if Self::is_name(slug) { slug } else { fallback }.to_owned())
    }

    fn is_name(text: &str) -> bool {
        let bytes = text.as_bytes();
        (2..=Self::MAX).contains(&bytes.len())
            && bytes[0].is_ascii_lowercase()
            && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && bytes[bytes.len() - 1] != b'-'
            && text != "new"
    }

    /// This name with `-n` after it, shortened where it would be too long: the `n`th try at a free name.
    pub fn numbered(&self, n: usize) -> Self {
        let suffix = format!("-{n}");
        let kept = self.0.len().min(Self::MAX - suffix.len());
        Self(format!("{}{suffix}", self.0[..kept].trim_end_matches('-')))
    }
}

impl FromStr for ServerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if Self::is_name(text) {
            return Ok(Self(text.to_owned()));
        }
        let message = if text == "new" {
            "The name \u{201c}new\u{201d} is taken by a page of this site; choose another, for example"
        } else if text.len() > Self::MAX {
            "At most 40 characters, for example"
        } else {
            "Two or more small letters, digits and hyphens, a letter first and no hyphen last, for example"
        };
        let suggestion = Self::slug(text, if text == "new" { "new-site" } else { "my-site" });
        Err(NameError::new(message).suggest(suggestion.0))
    }
}

name_type!(ServerName);

/// The Django project's name: the directory that holds `manage.py`, a direct child of the
/// repository's root. `[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectName(String);

impl FromStr for ProjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err(NameError::new("Give the name of the directory that holds manage.py."));
        }
        if text.contains('/') || text.contains('\\') {
            let last =
                text.rsplit(['/', '\\']).find(|part| !part.is_empty() && *part != "." && *part != "..");
            let error = NameError::new(
                "One directory's name, without slashes: manage.py must be in a direct child directory of the repository.",
            );
            return Err(match last.map(str::parse::<Self>) {
                Some(Ok(name)) => error.suggest(name.0),
                _ => error,
            });
        }
        let good = bytes.len() <= 100
            && (bytes[0].is_ascii_alphanumeric() || bytes[0] == b'_')
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::new(
                "A directory's name of letters, digits, hyphens, dots and underscores, at most 100 characters.",
            ))
        }
    }
}

name_type!(ProjectName);

/// A branch's name, by the rules of `git check-ref-format --branch`, ASCII or not, at most 200 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Branch(String);

impl FromStr for Branch {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad_char = |c: char| {
            c.is_control()
                || c.is_whitespace()
                || is_invisible(c)
                || matches!(c, '~' | '^' | ':' | '?' | '*' | '[' | '\\')
        };
        let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
        let good = !text.is_empty()
            && text.len() <= 200
            && !text.starts_with('-')
            && !text.ends_with('.')
            && text != "@"
            && text != "HEAD"
            && !text.contains("..")
            && !text.contains("@{")
            && !text.contains(bad_char)
            && !text.split('/').any(bad_part);
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::new(
                "This is not a branch's name; leave it empty for the repository's own default.",
            ))
        }
    }
}

name_type!(Branch);

/// The full name of a git commit: 40 small hexadecimal digits (SHA-1), or 64 (SHA-256).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

impl CommitId {
    /// The first seven digits, as people quote a commit.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl FromStr for CommitId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex && matches!(text.len(), 40 | 64) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::new("This is not the full name of a commit."))
        }
    }
}

name_type!(CommitId);

/// The name a person signs in by: `[a-z][a-z0-9-]{0,38}[a-z0-9]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username(String);

impl FromStr for Username {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.parse::<ServerName>() {
            Ok(name) => Ok(Self(name.0)),
            Err(_) if text == "new" => Ok(Self(text.to_owned())),
            Err(_) => Err(NameError::new(
                "Two to forty small letters, digits and hyphens, a letter first and no hyphen last.",
            )),
        }
    }
}

name_type!(Username);

/// Whether a character shows nothing or turns the direction of what follows, so that a name with
/// it would not be what it looks like.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("shop", true)]
    #[case("a1", true)]
    #[case("a", false)]
    #[case("", false)]
    #[case("1shop", false)]
    #[case("shop-", false)]
    #[case("Shop", false)]
    #[case("new", false)]
    #[case("sh\u{f6}p", false)]
    #[case("shop\n", false)]
    #[case("a234567890123456789012345678901234567890", true)]
    #[case("a2345678901234567890123456789012345678901", false)]
    fn server_names(#[case] text: &str, #[case] good: bool) {
        assert_eq!(text.parse::<ServerName>().is_ok(), good);
    }

    #[rstest]
    #[case("mysite", true)]
    #[case("my_site-2.0", true)]
    #[case("_x", true)]
    #[case("..", false)]
    #[case(".git", false)]
    #[case("-rf", false)]
    #[case("a/b", false)]
    #[case("$(reboot)", false)]
    #[case("a\0b", false)]
    fn project_names(#[case] text: &str, #[case] good: bool) {
        assert_eq!(text.parse::<ProjectName>().is_ok(), good);
    }

    #[rstest]
    #[case("main", true)]
    #[case("feature/shop-2", true)]
    #[case("--upload-pack=x", false)]
    #[case("a..b", false)]
    #[case("a b", false)]
    #[case("a/.b", false)]
    #[case("HEAD", false)]
    #[case("x\u{202e}y", false)]
    #[case("refs/heads/", false)]
    fn branches(#[case] text: &str, #[case] good: bool) {
        assert_eq!(text.parse::<Branch>().is_ok(), good);
    }

    #[test]
    fn a_path_as_project_name_suggests_its_last_directory() {
        let error = "src/backend/".parse::<ProjectName>().unwrap_err();
        assert_eq!(error.suggestions, ["backend"]);
    }

    #[test]
    fn a_bad_server_name_suggests_one_that_would_do() {
        assert_eq!("Book Shop!".parse::<ServerName>().unwrap_err().suggestions, ["book-shop"]);
        assert_eq!("new".parse::<ServerName>().unwrap_err().suggestions, ["new-site"]);
    }

    proptest! {
        #[test]
        fn whatever_is_typed_the_suggestion_is_accepted(text in any::<String>()) {
            if let Err(error) = text.parse::<ServerName>() {
                for suggestion in error.suggestions {
                    prop_assert!(suggestion.parse::<ServerName>().is_ok(), "{suggestion}");
                }
            }
        }

        #[test]
        fn a_numbered_name_is_a_name(name in "[a-z][a-z0-9-]{0,38}[a-z0-9]", n in 2usize..10_000) {
            prop_assume!(name != "new");
            let name: ServerName = name.parse().unwrap();
            prop_assert!(name.numbered(n).as_str().parse::<ServerName>().is_ok());
        }

        #[test]
        fn an_accepted_project_name_is_one_plain_path_component(text in any::<String>()) {
            if let Ok(name) = text.parse::<ProjectName>() {
                let components: Vec<_> = std::path::Path::new(name.as_str()).components().collect();
                prop_assert_eq!(components.len(), 1);
                prop_assert!(matches!(components[0], std::path::Component::Normal(_)));
            }
        }
    }
}
