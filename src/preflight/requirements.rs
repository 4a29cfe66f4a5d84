//! The requirements file: beside `manage.py` before the repository's root, and of several the one that names Django.

use std::{collections::HashSet, sync::LazyLock};

use regex::Regex;

use super::{
    nearest,
    snapshot::{Entry, Snapshot, file_name, join, parent},
    text::one_line,
};
use crate::domain::Dependencies;

/// Files that are followed by `-r` from one.
const FOLLOWED: usize = 20;

/// How much of a path from the repository is shown, in characters.
const SHOWN: usize = 80;

/// Other ways to declare what a project needs, which are not read yet.
const OTHERS: [&str; 7] = [
    "pyproject.toml",
    "Pipfile",
    "setup.py",
    "setup.cfg",
    "poetry.lock",
    "environment.yml",
    "environment.yaml",
];

/// What the repository declares.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Declared {
    pub dependencies: Dependencies,
    /// The version of Django as the file gives it: `==4.2.7`, or empty where it names none.
    pub django: Option<String>,
    pub warnings: Vec<String>,
}

/// What one file and those it includes name.
#[derive(Debug, Default)]
struct Contents {
    packages: Vec<String>,
    django: Option<String>,
    missing: Vec<String>,
}

/// Finds what is declared for `project`.
pub(super) fn find(snapshot: &Snapshot, project: &str) -> Declared {
    let mut read: Vec<_> = candidates(snapshot, project)
        .into_iter()
        .map(|path| {
            let contents = contents(snapshot, &path);
            (path, contents)
        })
        .collect();
    let named = read.iter().position(|(_, contents)| contents.django.is_some());
    let chosen = named.or_else(|| read.iter().position(|(_, contents)| !contents.packages.is_empty()));
    let Some(chosen) = chosen.or(if read.is_empty() { None } else { Some(0) }) else {
        return undeclared(snapshot, project);
    };
    let (path, contents) = read.swap_remove(chosen);
    let mut warnings: Vec<_> = contents
        .missing
        .iter()
        .map(|name| {
            format!(
                "{} includes {}, which is not in the repository.",
                one_line(&path, SHOWN),
                one_line(name, SHOWN)
            )
        })
        .collect();
    if contents.django.is_none() {
        warnings.push(without_django(&path, &contents.packages));
    }
    let dependencies = Dependencies::Requirements {
        packages: u32::try_from(contents.packages.len()).unwrap_or(u32::MAX),
        encoding: snapshot.text(&path).map_or(crate::domain::Encoding::Utf8, |text| text.encoding),
        names_django: contents.django.is_some(),
        path,
    };
    Declared { dependencies, django: contents.django, warnings }
}

fn without_django(path: &str, packages: &[String]) -> String {
    let path = one_line(path, SHOWN);
    let like = packages.iter().find(|name| nearest::distance(name, "django") <= 2);
    match like {
        Some(name) => format!(
            "{path} does not name Django, but \u{201c}{name}\u{201d}: is that a misspelling? Django is installed besides."
        ),
        None => format!("{path} does not name Django: it is installed besides."),
    }
}

fn undeclared(snapshot: &Snapshot, project: &str) -> Declared {
    let other = [project, ""]
        .into_iter()
        .flat_map(|directory| OTHERS.map(|name| join(directory, name)))
        .find(|path| snapshot.is_file(path));
    let link = candidate_links(snapshot, project).next();
    let warning = match (link, other) {
        (Some(path), _) => format!(
            "{} is a symbolic link, which is not followed: Django alone is installed.",
            one_line(path, SHOWN)
        ),
        (None, Some(path)) => {
            format!("{path} is not read yet, and there is no requirements file: Django alone is installed.")
        }
        (None, None) => "No dependencies are declared: Django alone is installed.".to_owned(),
    };
    Declared { dependencies: Dependencies::None, django: None, warnings: vec![warning] }
}

/// The requirements files, the likeliest first.
fn candidates(snapshot: &Snapshot, project: &str) -> Vec<String> {
    let mut found: Vec<_> = snapshot
        .entries()
        .filter(|(path, entry)| matches!(entry, Entry::File(_)) && snapshot.text(path).is_some())
        .filter_map(|(path, _)| Some((rank(path, project)?, path.to_owned())))
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

fn candidate_links<'a>(snapshot: &'a Snapshot, project: &'a str) -> impl Iterator<Item = &'a str> {
    snapshot
        .entries()
        .filter(|(path, entry)| matches!(entry, Entry::Link(_)) && rank(path, project).is_some())
        .map(|(path, _)| path)
}

/// How likely a path is the requirements file: the lower the likelier, none where it is no such file.
fn rank(path: &str, project: &str) -> Option<(bool, usize, usize)> {
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
fn contents(snapshot: &Snapshot, path: &str) -> Contents {
    let mut contents = Contents::default();
    let mut seen = HashSet::new();
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        if seen.len() >= FOLLOWED || !seen.insert(path.clone()) {
            continue;
        }
        for line in logical_lines(snapshot.source(&path)) {
            match Requirement::read(&line) {
                Some(Requirement::Package { name, version }) => {
                    if name == "django" {
                        contents.django.get_or_insert(version);
                    }
                    contents.packages.push(name);
                }
                Some(Requirement::Include(name)) => match resolve(parent(&path), &name) {
                    Some(included) if snapshot.text(&included).is_some() => open.push(included),
                    _ => contents.missing.push(name),
                },
                None => {}
            }
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
        /// In small letters with hyphens.
        name: String,
        /// What the version must be, empty where any will do.
        version: String,
    },
    Include(String),
}

static PACKAGE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(.*)$").ok());

static VERSION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^\(?((?:===|==|~=|!=|>=|<=|<|>)[0-9A-Za-z.*+!-]+(?:,(?:===|==|~=|!=|>=|<=|<|>)[0-9A-Za-z.*+!-]+)*),?\)?$").ok()
});

impl Requirement {
    /// Reads a line by pip's rules. <https://pip.pypa.io/en/stable/reference/requirements-file-format/>
    fn read(line: &str) -> Option<Self> {
        let line = line.trim();
        let options = [("--requirement", true), ("-r", true), ("--editable", false), ("-e", false)];
        for (option, includes) in options {
            if let Some(rest) =
                line.strip_prefix(option).filter(|rest| option.len() == 2 || rest.starts_with([' ', '=']))
            {
                let value = rest.trim_start_matches([' ', '=', '\t']).trim();
                return match (value.is_empty(), includes) {
                    (true, _) => None,
                    (_, true) => Some(Self::Include(value.to_owned())),
                    (_, false) => Some(Self::at_url(value)),
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
        let version = rest.split(" --").next().unwrap_or_default().split(';').next().unwrap_or_default();
        let version: String = version.chars().filter(|c| !c.is_whitespace()).take(100).collect();
        let version = VERSION.as_ref()?.captures(&version).map_or(String::new(), |found| found[1].to_owned());
        Some(Self::Package { name: normal(&captures[1]), version })
    }

    /// A package by the address it comes from; its name is in the fragment, or the address's end.
    fn at_url(url: &str) -> Self {
        let named = url.split_once("#egg=").map(|(_, name)| name);
        let last = || url.split(['#', '@']).next().unwrap_or(url).trim_end_matches('/').rsplit('/').next();
        let name = named.or_else(last).unwrap_or_default();
        let name = name.strip_suffix(".git").unwrap_or(name);
        let end = name.find(['&', '[', ' ', ';']).unwrap_or(name.len());
        Self::Package { name: normal(&name[..end]), version: String::new() }
    }
}

/// A package's name as the index compares it (PEP 503).
fn normal(name: &str) -> String {
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
    use rstest::rstest;

    #[rstest]
    #[case("Django==4.2.7", "django", "==4.2.7")]
    #[case("django >= 4.2, < 5", "django", ">=4.2,<5")]
    #[case("Django[argon2]~=5.2 ; python_version > '3.8'", "django", "~=5.2")]
    #[case("Django==4.2 --hash=sha256:abc", "django", "==4.2")]
    #[case("DJANGO", "django", "")]
    #[case("Django @ https://example.com/django.tar.gz", "django", "")]
    #[case("git+https://github.com/django/django.git@main#egg=Django", "django", "")]
    #[case("-e git+https://github.com/django/django.git", "django", "")]
    #[case("Django==$(reboot)", "django", "")]
    #[case("django_crispy.forms", "django-crispy-forms", "")]
    fn packages(#[case] line: &str, #[case] name: &str, #[case] version: &str) {
        let package = Requirement::Package { name: name.to_owned(), version: version.to_owned() };
        assert_eq!(Requirement::read(line), Some(package));
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

    fn found(files: &[(&str, &str)]) -> (Option<String>, u32, Option<String>, Vec<String>) {
        let declared = find(&Snapshot::of(files), "shop");
        match declared.dependencies {
            Dependencies::None => (None, 0, declared.django, declared.warnings),
            Dependencies::Requirements { path, packages, .. } => {
                (Some(path), packages, declared.django, declared.warnings)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn beside_manage_py_before_the_root() {
        let files =
            [("requirements.txt", "Django==4.0"), ("shop/requirements.txt", "Django==5.0\nPillow # images")];
        let (path, packages, django, warnings) = found(&files);
        assert_eq!((path.as_deref(), packages), (Some("shop/requirements.txt"), 2));
        assert_eq!((django.as_deref(), warnings.len()), (Some("==5.0"), 0));
    }

    #[test]
    fn the_file_that_names_django_is_taken() {
        let files = [("shop/requirements.txt", "numpy"), ("requirements.txt", "Django")];
        assert_eq!(found(&files).0.as_deref(), Some("requirements.txt"));
    }

    #[test]
    fn included_files_count() {
        let files = [
            ("requirements/base.txt", "Django==5.2\n-r base.txt\n-r ../../../etc/passwd"),
            ("requirements/production.txt", "-r base.txt\ngunicorn\n"),
            ("requirements/dev.txt", "-r base.txt\npytest"),
        ];
        let (path, packages, django, warnings) = found(&files);
        assert_eq!((path.as_deref(), packages), (Some("requirements/production.txt"), 2));
        assert_eq!(django.as_deref(), Some("==5.2"));
        assert!(warnings[0].contains("not in the repository"), "{warnings:?}");
    }

    #[test]
    fn no_django_and_nothing_at_all_are_told() {
        let (path, _, django, warnings) = found(&[("requirements.txt", "djando==1.0\n")]);
        assert_eq!((path.as_deref(), django), (Some("requirements.txt"), None));
        assert!(warnings[0].contains("\u{201c}djando\u{201d}: is that a misspelling?"), "{warnings:?}");
        let (path, _, _, warnings) = found(&[("shop/Pipfile", ""), ("shop/requirements.md", "")]);
        assert_eq!(path, None);
        assert!(warnings[0].starts_with("shop/Pipfile is not read yet"), "{warnings:?}");
        assert!(found(&[("a/b/requirements.txt", "Django")]).3[0].starts_with("No dependencies"));
    }
}
