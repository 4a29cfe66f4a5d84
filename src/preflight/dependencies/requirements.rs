//! Requirements files, which the machine reads itself: which there are, and what they name.

use std::{collections::HashSet, sync::LazyLock};

use regex::Regex;

use super::package::{Package, normal, version_of};
use crate::preflight::snapshot::{Entry, Snapshot, file_name, parent};

/// Files that are followed by `-r` and `-c` from one.
const FOLLOWED: usize = 20;

/// Packages that are read of one file and those it includes.
const PACKAGES: usize = 5000;

/// What one file and those it includes name.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub packages: Vec<Package>,
    /// Included files that are not in the repository.
    pub missing: Vec<String>,
    /// Whether it lists what conda had installed: packages by places on somebody's disk, or by conda's own builds.
    pub dump: bool,
}

/// The requirements files that could be read, the likeliest first.
pub(super) fn candidates(snapshot: &Snapshot, project: &str) -> Vec<String> {
    let mut found: Vec<_> = snapshot
        .entries()
        .filter(|(path, entry)| matches!(entry, Entry::File(_)) && snapshot.text(path).is_some())
        .filter_map(|(path, _)| Some((rank(path, project)?, path.to_owned())))
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// How likely a path is the requirements file: the lower the likelier, none where it is no such file.
pub(super) fn rank(path: &str, project: &str) -> Option<(bool, usize, usize)> {
    let name = file_name(path).to_ascii_lowercase();
    let stem = name.strip_suffix(".txt")?;
    let directory = parent(path);
    let (directory, inside) = match file_name(directory).to_ascii_lowercase().as_str() {
        "requirements" | "requirement" | "reqs" if directory != project => (parent(directory), true),
        _ => (directory, false),
    };
    if (directory != project && !directory.is_empty())
        || !(inside || stem.contains("requir") || stem == "reqs")
    {
        return None;
    }
    let for_others = ["dev", "test", "local", "doc", "lint", "ci"].iter().any(|word| stem.contains(word));
    let for_servers = ["prod", "deploy", "live", "server"].iter().any(|word| stem.contains(word));
    let place = match stem {
        "requirements" if !inside => 0,
        _ if for_servers => 1,
        "base" | "common" | "requirements" | "requirement" | "main" => 2,
        _ if for_others => 4,
        _ => 3,
    };
    Some((directory != project, place, path.len()))
}

/// What a file and those it includes name.
pub(super) fn contents(snapshot: &Snapshot, path: &str) -> Contents {
    let mut contents = Contents::default();
    let mut pins = Vec::new();
    let mut seen = HashSet::new();
    let mut open = vec![(path.to_owned(), false)];
    while let Some((path, constrains)) = open.pop() {
        if seen.len() >= FOLLOWED || !seen.insert(path.clone()) {
            continue;
        }
        for line in logical_lines(snapshot.source(&path)) {
            let (name, constrains) = match Requirement::read(&line) {
                Some(Requirement::Package { package, dump }) => {
                    contents.dump |= dump;
                    let list = if constrains { &mut pins } else { &mut contents.packages };
                    if list.len() < PACKAGES {
                        list.push(package);
                    }
                    continue;
                }
                Some(Requirement::Include(name)) => (name, constrains),
                Some(Requirement::Constraint(name)) => (name, true),
                None => continue,
            };
            match resolve(parent(&path), &name) {
                Some(included) if snapshot.text(&included).is_some() => open.push((included, constrains)),
                _ if name.contains("://") => {}
                _ => contents.missing.push(name),
            }
        }
    }
    let open =
        contents.packages.iter_mut().filter(|package| package.name == "django" && package.version.is_empty());
    for package in open {
        if let Some(pin) = pins.iter().find(|pin| pin.name == package.name) {
            package.version.clone_from(&pin.version);
        }
    }
    contents
}

/// A path relative to `directory`, inside of the repository.
fn resolve(directory: &str, path: &str) -> Option<String> {
    let mut parts: Vec<_> = directory.split('/').filter(|part| !part.is_empty()).collect();
    if path.starts_with('/') {
        return None;
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Lines without comments, continued ones joined.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut whole = String::new();
    for line in text.lines() {
        let line = match line.find('#') {
            Some(at) if at == 0 || line[..at].ends_with([' ', '\t']) => &line[..at],
            _ => line,
        };
        match line.trim_end().strip_suffix('\\') {
            Some(part) => whole.push_str(part),
            None => {
                whole.push_str(line);
                lines.push(std::mem::take(&mut whole));
            }
        }
    }
    lines.push(whole);
    lines
}

/// What a line of a requirements file asks for.
#[derive(Debug, PartialEq, Eq)]
enum Requirement {
    Package {
        package: Package,
        /// Whether only a dump of conda has such a line.
        dump: bool,
    },
    Include(String),
    Constraint(String),
}

static PACKAGE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^([A-Za-z0-9_][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(.*)$").ok());

/// `conda list --export`: `django=4.2.7=py311_0`.
static OF_CONDA: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^=([0-9][0-9A-Za-z.]*)=[0-9A-Za-z_.]+$").ok());

/// The version in a wheel's name.
static WHEEL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"-([0-9][0-9A-Za-z.]*)-[^/]*\.whl").ok());

const OPTIONS: [&str; 6] = ["--requirement", "-r", "--constraint", "-c", "--editable", "-e"];

impl Requirement {
    /// Reads a line by pip's rules. <https://pip.pypa.io/en/stable/reference/requirements-file-format/>
    fn read(line: &str) -> Option<Self> {
        let line = line.trim();
        for option in OPTIONS {
            if let Some(rest) =
                line.strip_prefix(option).filter(|rest| option.len() == 2 || rest.starts_with([' ', '=']))
            {
                let value = rest.trim_start_matches([' ', '=', '\t']).trim();
                return match (value.is_empty(), option.trim_start_matches('-').chars().next()) {
                    (true, _) => None,
                    (_, Some('r')) => Some(Self::Include(value.to_owned())),
                    (_, Some('c')) => Some(Self::Constraint(value.to_owned())),
                    _ => Some(Self::at_url(value)),
                };
            }
        }
        if line.starts_with('-') {
            return None;
        }
        let head = line.split([' ', ';']).next().unwrap_or_default();
        if head.contains("://") {
            return Some(Self::at_url(line));
        }
        let captures = PACKAGE.as_ref()?.captures(line)?;
        let rest = &captures[2];
        // What follows a name begins with a comparison, a marker, an address or an option, or it is prose.
        if !rest.is_empty() && !rest.starts_with(['=', '<', '>', '!', '~', ';', '@', '(', '-']) {
            return None;
        }
        if let Some(conda) = OF_CONDA.as_ref()?.captures(rest) {
            return Some(Self::package(&captures[1], format!("=={}", &conda[1]), true));
        }
        if rest.strip_prefix('@').is_some_and(|address| address.trim_start().starts_with("file:")) {
            let wheel = WHEEL.as_ref()?.captures(rest);
            let version = wheel.map(|found| format!("=={}", &found[1])).unwrap_or_default();
            return Some(Self::package(&captures[1], version, true));
        }
        let version = rest.split(" --").next().unwrap_or_default().split(';').next().unwrap_or_default();
        Some(Self::package(&captures[1], version_of(version).unwrap_or_default(), false))
    }

    fn package(name: &str, version: String, dump: bool) -> Self {
        let name = normal(name);
        let line = format!("{name}{version}");
        Self::Package { package: Package { name, version, line }, dump }
    }

    /// A package by the address it comes from; its name is in the fragment, or the address's end.
    fn at_url(url: &str) -> Self {
        let named = url.split_once("#egg=").map(|(_, name)| name);
        let last = || url.split(['#', '@']).next().unwrap_or(url).trim_end_matches('/').rsplit('/').next();
        let name = named.or_else(last).unwrap_or_default();
        let name = name.strip_suffix(".git").unwrap_or(name);
        let end = name.find(['&', '[', ' ', ';']).unwrap_or(name.len());
        Self::package(&name[..end], String::new(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("Django==4.2.7", "django", "==4.2.7", false)]
    #[case("django >= 4.2, < 5", "django", ">=4.2,<5", false)]
    #[case("Django[argon2]~=5.2 ; python_version > '3.8'", "django", "~=5.2", false)]
    #[case("Django==4.2 --hash=sha256:abc", "django", "==4.2", false)]
    #[case("DJANGO", "django", "", false)]
    #[case("Django @ https://example.com/django.tar.gz", "django", "", false)]
    #[case("git+https://github.com/django/django.git@main#egg=Django", "django", "", false)]
    #[case("-e git+https://github.com/django/django.git", "django", "", false)]
    #[case("Django==$(reboot)", "django", "", false)]
    #[case("django_crispy.forms", "django-crispy-forms", "", false)]
    #[case("asgiref @ file:///tmp/build/80754af9/asgiref_1605055780383/work", "asgiref", "", true)]
    #[case("six @ file:///C:/ci/six-1.16.0-py3-none-any.whl", "six", "==1.16.0", true)]
    #[case("django=4.2.7=py311haa95532_0", "django", "==4.2.7", true)]
    #[case("asgiref=3.7.2=pypi_0", "asgiref", "==3.7.2", true)]
    #[case("_libgcc_mutex=0.1=main", "-libgcc-mutex", "==0.1", true)]
    fn packages(#[case] line: &str, #[case] name: &str, #[case] version: &str, #[case] dump: bool) {
        assert_eq!(Requirement::read(line), Some(Requirement::package(name, version.to_owned(), dump)));
    }

    #[rstest]
    #[case("")]
    #[case("-i https://pypi.org/simple")]
    #[case("--no-binary :all:")]
    #[case("<<<<<<< HEAD")]
    #[case("=======")]
    #[case("these are the packages")]
    #[case("-r")]
    fn no_packages(#[case] line: &str) {
        assert_eq!(Requirement::read(line), None);
    }

    #[test]
    fn a_constraint_pins_and_adds_nothing() {
        let snapshot = Snapshot::of(&[
            ("requirements.txt", "Django\n-c constraints.txt\n-c https://example.com/c.txt\n"),
            ("constraints.txt", "Django==4.2.7\nnumpy==1.26\n"),
        ]);
        let contents = contents(&snapshot, "requirements.txt");
        let [django] = &contents.packages[..] else { panic!("{contents:?}") };
        assert_eq!((django.version.as_str(), contents.missing.len()), ("==4.2.7", 0));
    }

    #[test]
    fn files_that_include_each_other_end() {
        let snapshot = Snapshot::of(&[("a.txt", "-r b.txt\nx"), ("b.txt", "-r a.txt\n-r b.txt\ny")]);
        assert_eq!(contents(&snapshot, "a.txt").packages.len(), 2);
    }
}
