//! A package as a line of a requirements file: checked so that the line can ask for nothing else.

use std::sync::LazyLock;

use regex::Regex;

/// A line is no longer than this, in bytes.
const LINE: usize = 500;

/// Nor is one that is made of what a tool wrote: its markers may be those of all that leads to a package.
const MADE_LINE: usize = 2000;

/// A package that is to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::preflight) struct Package {
    /// Its name as the index compares it.
    pub name: String,
    /// What the version must be, empty where any will do: `==4.2.7`.
    pub version: String,
    /// The whole line.
    pub line: String,
}

/// Where a package comes from, if not by its version from the index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Git<'a> {
    /// The repository's address.
    pub url: &'a str,
    /// A commit, tag or branch.
    pub revision: Option<&'a str>,
    /// The directory in it.
    pub subdirectory: Option<&'a str>,
}

static LINE_OF: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^([A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?) ?(\[[A-Za-z0-9._, -]*\])? ?(.*)$").ok()
});

static VERSION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let clause = r"(?:===|==|~=|!=|>=|<=|<|>)[0-9A-Za-z.*+!_-]+";
    Regex::new(&format!(r"^\(?({clause}(?:,{clause})*),?\)?$")).ok()
});

static ADDRESS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(?:git\+)?https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/[A-Za-z0-9._~/@:%+=&#?,!-]*$").ok()
});

static MARKER: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"^[A-Za-z0-9_.'"<>=!~(), *+-]+$"#).ok());

impl Package {
    /// Reads a requirement (PEP 508): a name with what its version must be, or with an address that begins with
    /// `https` or `git+https`. None for anything else: an option, a path, a variable of the environment.
    pub(super) fn read(text: &str) -> Option<Self> {
        Self::within(text, LINE)
    }

    fn within(text: &str, longest: usize) -> Option<Self> {
        if text.len() > longest || text.contains(|c: char| c.is_control() && c != '\t') {
            return None;
        }
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let captures = LINE_OF.as_ref()?.captures(&text)?;
        let (name, extras) = (&captures[1], captures.get(2).map_or("", |found| found.as_str()));
        let extras = extras.replace(' ', "");
        let rest = &captures[3];
        if let Some(address) = rest.strip_prefix('@') {
            let (address, marker) = address.split_once(" ;").unwrap_or((address, ""));
            let address = address.trim();
            let line = format!("{name}{extras} @ {address}");
            return ADDRESS
                .as_ref()?
                .is_match(address)
                .then(|| Self::with(name, "", line, " ", marker))
                .flatten();
        }
        let (version, marker) = rest.split_once(';').unwrap_or((rest, ""));
        let version = version_of(version)?;
        Self::with(name, &version, format!("{name}{extras}{version}"), "", marker)
    }

    /// The extras that are asked for besides: `redis` of `celery[redis]`.
    pub(super) fn extras(&self) -> impl Iterator<Item = &str> {
        let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let bracket = self.line.split_once('[').filter(|(name, _)| plain(name)).map(|(_, rest)| rest);
        let inner = bracket.and_then(|rest| rest.split_once(']')).map_or("", |(inner, _)| inner);
        inner.split(',').filter(|extra| !extra.is_empty())
    }

    fn with(name: &str, version: &str, mut line: String, space: &str, marker: &str) -> Option<Self> {
        let marker = marker.trim();
        if !marker.is_empty() {
            if !MARKER.as_ref()?.is_match(marker) {
                return None;
            }
            line = format!("{line}{space}; {marker}");
        }
        Some(Self { name: normal(name), version: version.to_owned(), line })
    }

    /// A package by its parts, as the files of tools have them.
    pub(super) fn of(
        name: &str,
        extras: &[&str],
        version: &str,
        git: Option<Git<'_>>,
        markers: &[String],
    ) -> Option<Self> {
        let extras = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
        let source = match git {
            // Text of another kind would go on with the name.
            None => version_of(version).map(|_| version.to_owned())?,
            Some(git) => {
                let revision = git.revision.map(|revision| format!("@{revision}")).unwrap_or_default();
                let below = git.subdirectory.map(|path| format!("#subdirectory={path}")).unwrap_or_default();
                format!(" @ git+{}{revision}{below}", git.url.trim_start_matches("git+"))
            }
        };
        let markers = match markers {
            [] => String::new(),
            [one] => format!(" ; {one}"),
            many => format!(" ; ({})", many.join(") and (")),
        };
        Self::within(&format!("{name}{extras}{source}{markers}"), MADE_LINE)
    }
}

/// What a version must be, without spaces; empty where any will do, none where it is no such thing.
pub(super) fn version_of(text: &str) -> Option<String> {
    let version: String = text.chars().filter(|c| !c.is_whitespace()).take(200).collect();
    if version.is_empty() || version == "*" {
        return Some(String::new());
    }
    Some(VERSION.as_ref()?.captures(&version)?[1].to_owned())
}

/// A package's name as the index compares it (PEP 503).
pub(in crate::preflight) fn normal(name: &str) -> String {
    let mut normal = String::new();
    for c in name.chars().take(100) {
        match c.to_ascii_lowercase() {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            c if c.is_ascii_alphanumeric() => normal.push(c),
            _ => {}
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("Django", "Django", "")]
    #[case(" Django >= 4.2, < 5 ", "Django>=4.2,<5", ">=4.2,<5")]
    #[case("Django (>=4.2)", "Django>=4.2", ">=4.2")]
    #[case("a[b, c]~=1.0 ; python_version > '3.8'", "a[b,c]~=1.0; python_version > '3.8'", "~=1.0")]
    #[case("a @ https://example.com/a.whl", "a @ https://example.com/a.whl", "")]
    #[case(
        "a @ git+https://github.com/x/a.git@main ; os_name=='nt'",
        "a @ git+https://github.com/x/a.git@main ; os_name=='nt'",
        ""
    )]
    fn plain_lines(#[case] text: &str, #[case] line: &str, #[case] version: &str) {
        let package = Package::read(text).unwrap();
        assert_eq!((package.line.as_str(), package.version.as_str()), (line, version));
        assert_eq!(
            package.extras().collect::<Vec<_>>().join(","),
            if line.contains('[') { "b,c" } else { "" }
        );
    }

    #[rstest]
    #[case("-e .")]
    #[case("--index-url https://example.com")]
    #[case("-r other.txt")]
    #[case("./local")]
    #[case("../local.whl")]
    #[case("a @ file:///etc/passwd")]
    #[case("a @ git+ssh://git@github.com/x/a.git")]
    #[case("a @ https://${TOKEN}@example.com/a.whl")]
    #[case("a @ https://user:word@example.com/a.whl")]
    #[case("a==1.0\n--index-url https://example.com")]
    #[case("a==1.0 --index-url https://example.com")]
    #[case("a==1.0 \\")]
    #[case("a==1.0; x # y")]
    #[case("a==$(reboot)")]
    #[case("a is a package")]
    #[case("")]
    fn nothing_else(#[case] text: &str) {
        assert_eq!(Package::read(text), None);
    }

    #[test]
    fn what_a_tool_wrote_may_be_longer() {
        let of = |times: usize| {
            let markers = vec!["python_version < '3.12' or sys_platform == 'win32'".to_owned(); times];
            Package::of("tzdata", &[], "==2025.2", None, &markers)
        };
        assert!(of(20).is_some_and(|package| package.line.len() > LINE));
        assert_eq!(of(50), None);
    }

    proptest! {
        #[test]
        fn a_line_is_one_line_and_no_option(text in any::<String>()) {
            if let Some(package) = Package::read(&text) {
                prop_assert!(!package.line.contains(['\n', '\r', '$', '\\']));
                prop_assert!(package.line.starts_with(|c: char| c.is_ascii_alphanumeric()));
            }
        }
    }
}
