//! What poetry writes: its section of `pyproject.toml`, whose versions are of a kind of their own, and `poetry.lock`.
//! <https://python-poetry.org/docs/dependency-specification/>

use std::collections::{BTreeMap, HashMap, HashSet};

use toml::{Table, Value};

use super::package::{Git, Package, normal, version_of};

/// What is read of a file that poetry wrote.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub packages: Vec<Package>,
    /// Names of packages that are taken from a place that a machine does not have.
    pub left_out: Vec<String>,
    /// Names of those whose version or condition is none.
    pub unreadable: Vec<String>,
}

impl Read {
    /// Notes a package that gave no line: for its place where it is not from the index, else for how it is written.
    pub(super) fn leave_out(&mut self, name: &str, has_place: bool) {
        let names = if has_place { &mut self.left_out } else { &mut self.unreadable };
        names.push(name.to_owned());
    }
}

/// The packages of `[tool.poetry.dependencies]`, but for Python itself and what is optional.
pub(super) fn dependencies(section: &Table) -> Read {
    let mut read = Read::default();
    for (name, value) in section.iter().filter(|(name, _)| normal(name) != "python") {
        let several = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
        for one in several {
            if one.get("optional").and_then(Value::as_bool) == Some(true) {
                continue;
            }
            match dependency(name, one) {
                Some(package) => read.packages.push(package),
                None => {
                    let has_place = ["path", "url", "git"].iter().any(|key| one.get(key).is_some());
                    read.leave_out(name, has_place);
                }
            }
        }
    }
    read
}

fn dependency(name: &str, value: &Value) -> Option<Package> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let version = value.as_str().or_else(|| text("version")).unwrap_or("*");
    let mut markers: Vec<_> = text("markers").map(str::to_owned).into_iter().collect();
    if let Some(python) = text("python") {
        markers.extend(python_marker(python));
    }
    if let Some(platform) = text("platform") {
        markers.push(format!("sys_platform == \"{platform}\""));
    }
    if value.get("path").is_some() {
        return None;
    }
    if let Some(url) = text("url") {
        return Package::read(&format!("{name} @ {url}"));
    }
    let git = text("git").map(|url| Git {
        url,
        revision: text("rev").or_else(|| text("tag")).or_else(|| text("branch")),
        subdirectory: text("subdirectory"),
    });
    let version = if git.is_some() { String::new() } else { specifier(version)? };
    Package::of(name, &texts(value.get("extras")), &version, git, &markers)
}

/// The texts of an array.
pub(super) fn texts(value: Option<&Value>) -> Vec<&str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A constraint of poetry as a specifier of the index (PEP 440): `^4.2` is `>=4.2,<5`. Of alternatives, the last.
pub(in crate::preflight) fn specifier(constraint: &str) -> Option<String> {
    let last = constraint.rsplit('|').next().unwrap_or_default();
    let mut clauses = Vec::new();
    let mut operator = String::new();
    for word in last.split([',', ' ']).filter(|word| !word.is_empty()) {
        // `>= 4.2` in two words.
        if word.chars().all(|c| "<>=!~^".contains(c)) {
            operator = word.to_owned();
            continue;
        }
        clauses.push(clause(&format!("{}{word}", std::mem::take(&mut operator)))?);
    }
    version_of(&clauses.into_iter().filter(|clause| !clause.is_empty()).collect::<Vec<_>>().join(","))
}

fn clause(text: &str) -> Option<String> {
    if text == "*" {
        return Some(String::new());
    }
    if let Some(version) = text.strip_prefix('^') {
        let numbers = numbers(version)?;
        let at = numbers.iter().position(|&number| number > 0).unwrap_or(numbers.len() - 1);
        return Some(format!(">={version},<{}", next(&numbers, at)));
    }
    if let Some(version) = text.strip_prefix('~').filter(|rest| !rest.starts_with('=')) {
        let numbers = numbers(version)?;
        return Some(format!(">={version},<{}", next(&numbers, 1.min(numbers.len() - 1))));
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(format!("=={text}"));
    }
    match text.strip_prefix('=') {
        Some(version) if version.starts_with(|c: char| c.is_ascii_digit()) => Some(format!("=={version}")),
        _ => Some(text.to_owned()),
    }
}

/// The numbers that a version begins with, at least one.
fn numbers(version: &str) -> Option<Vec<u64>> {
    let numbers: Vec<_> = version.split('.').map_while(|part| part.parse().ok()).collect();
    (!numbers.is_empty()).then_some(numbers)
}

/// The version after all that begin with `numbers` up to the place `at`.
fn next(numbers: &[u64], at: usize) -> String {
    let parts = numbers[..at].iter().copied().chain([numbers[at].saturating_add(1)]);
    parts.map(|part| part.to_string()).collect::<Vec<_>>().join(".")
}

/// Poetry's `python` of a dependency as a marker.
fn python_marker(constraint: &str) -> Option<String> {
    let specifier = specifier(constraint).filter(|specifier| !specifier.is_empty())?;
    let clauses = specifier.split(',').map(|clause| {
        let at = clause.find(|c: char| c.is_ascii_digit()).unwrap_or(clause.len());
        let (operator, version) = clause.split_at(at);
        let name = if version.matches('.').count() > 1 { "python_full_version" } else { "python_version" };
        format!("{name} {operator} \"{version}\"")
    });
    Some(clauses.collect::<Vec<_>>().join(" and "))
}

/// The pins of `poetry.lock` that the project's main group leads to. `direct` is what `pyproject.toml` asks for, which
/// tells them where the lock does not.
pub(super) fn lock(lock: &Table, direct: &[Package]) -> Read {
    let all: Vec<_> = lock
        .get("package")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_table)
        .collect();
    let reached = reached(&all, direct);
    let mut read = Read::default();
    let mut newest: HashMap<String, usize> = HashMap::new();
    for package in all {
        let text = |key: &str| package.get(key).and_then(Value::as_str);
        let (Some(name), Some(version)) = (text("name"), text("version")) else { continue };
        let key = normal(name);
        let groups = texts(package.get("groups"));
        let markers = match (text("category"), &groups[..]) {
            (Some(category), _) if category != "main" => continue,
            (_, groups) if !groups.is_empty() && !groups.contains(&"main") => continue,
            (None, []) if !direct.is_empty() && !reached.contains_key(&key) => continue,
            _ => own_markers(package).or_else(|| reached.get(&key).cloned()).unwrap_or_default(),
        };
        if package.get("optional").and_then(Value::as_bool) == Some(true) {
            continue;
        }
        let Some(pinned) = pin(package, name, version, &markers) else {
            let place = package.get("source").and_then(|source| source.get("type")).and_then(Value::as_str);
            read.leave_out(name, matches!(place, Some("git" | "url" | "directory" | "file")));
            continue;
        };
        // Of one that is there for several versions of Python, with nothing that tells them apart, the last is the newest.
        match newest.get(&key) {
            Some(&at) if !pinned.line.contains(';') => read.packages[at] = pinned,
            _ => {
                newest.insert(key, read.packages.len());
                read.packages.push(pinned);
            }
        }
    }
    read
}

fn pin(package: &Table, name: &str, version: &str, markers: &[String]) -> Option<Package> {
    let source = package.get("source");
    let text = |key: &str| source.and_then(|source| source.get(key)).and_then(Value::as_str);
    match text("type") {
        Some("git") => {
            let git = Git {
                url: text("url")?,
                revision: text("resolved_reference").or_else(|| text("reference")),
                subdirectory: text("subdirectory"),
            };
            Package::of(name, &[], "", Some(git), markers)
        }
        Some("url") => Package::read(&format!("{name} @ {}", text("url")?)),
        Some("directory" | "file") => None,
        _ => Package::of(name, &[], &format!("=={version}"), None, markers),
    }
}

/// The markers that newer locks give each package, of its main group.
fn own_markers(package: &Table) -> Option<Vec<String>> {
    let markers = package.get("markers")?;
    let text = markers.as_str().or_else(|| markers.get("main")?.as_str())?;
    Some(vec![text.to_owned()])
}

/// The packages that `direct` leads to, each with the markers under which it is needed: none where it is needed always.
fn reached(all: &[&Table], direct: &[Package]) -> BTreeMap<String, Vec<String>> {
    let wanted = extras(all, direct);
    let mut edges: HashMap<String, Vec<(String, Option<String>)>> = HashMap::new();
    for package in all {
        let Some(name) = package.get("name").and_then(Value::as_str).map(normal) else { continue };
        let brought = brought(package, wanted.get(&name));
        let of = edges.entry(name).or_default();
        for (needed, value) in several(package.get("dependencies")) {
            let needed = normal(needed);
            let marker = value.get("markers").and_then(Value::as_str).map(str::to_owned);
            if value.get("optional").and_then(Value::as_bool) != Some(true) {
                of.push((needed, marker));
            } else if brought.contains(&needed) {
                of.push((needed, marker.filter(|marker| !marker.contains("extra"))));
            }
        }
    }
    let mut markers: BTreeMap<String, Option<Vec<String>>> = BTreeMap::new();
    let mut seen = HashSet::new();
    let mut open: Vec<_> = direct.iter().map(|package| (package.name.clone(), None)).collect();
    while let Some((name, marker)) = open.pop() {
        let known = markers.entry(name.clone()).or_insert_with(|| Some(Vec::new()));
        match (marker, known.as_mut()) {
            (Some(marker), Some(some)) if !some.contains(&marker) => some.push(marker),
            (None, _) => *known = None,
            _ => {}
        }
        if seen.insert(name.clone()) {
            open.extend(edges.remove(&name).unwrap_or_default());
        }
    }
    let any = |several: Vec<String>| match &several[..] {
        [] | [_] => several,
        _ => vec![format!("({})", several.join(") or ("))],
    };
    markers.into_iter().map(|(name, several)| (name, several.map(any).unwrap_or_default())).collect()
}

/// The pairs of a table of dependencies, of which each may be given in several ways.
fn several(table: Option<&Value>) -> impl Iterator<Item = (&str, &Value)> {
    table.and_then(Value::as_table).into_iter().flatten().flat_map(|(name, value)| {
        let ways = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
        ways.iter().map(move |way| (name.as_str(), way))
    })
}

/// The extras that are asked for of each package, by the project or by another package.
fn extras(all: &[&Table], direct: &[Package]) -> HashMap<String, HashSet<String>> {
    let mut wanted: HashMap<String, HashSet<String>> = HashMap::new();
    for package in direct {
        wanted.entry(package.name.clone()).or_default().extend(package.extras().map(normal));
    }
    for (name, value) in all.iter().flat_map(|package| several(package.get("dependencies"))) {
        let asked = texts(value.get("extras"));
        if !asked.is_empty() {
            wanted.entry(normal(name)).or_default().extend(asked.into_iter().map(normal));
        }
    }
    wanted
}

/// The packages that a package's wanted extras bring.
fn brought(package: &Table, wanted: Option<&HashSet<String>>) -> HashSet<String> {
    let offered = package.get("extras").and_then(Value::as_table).into_iter().flatten();
    let taken = offered.filter(|(name, _)| wanted.is_some_and(|wanted| wanted.contains(&normal(name))));
    let name = |text: &str| {
        let end =
            text.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(text.len());
        normal(&text[..end])
    };
    taken.flat_map(|(_, brings)| texts(Some(brings))).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("^4.2", ">=4.2,<5")]
    #[case("^4.2.7", ">=4.2.7,<5")]
    #[case("^0.2.3", ">=0.2.3,<0.3")]
    #[case("^0.0.3", ">=0.0.3,<0.0.4")]
    #[case("^0.0", ">=0.0,<0.1")]
    #[case("^0", ">=0,<1")]
    #[case("~4.2.7", ">=4.2.7,<4.3")]
    #[case("~4.2", ">=4.2,<4.3")]
    #[case("~4", ">=4,<5")]
    #[case("~=4.2", "~=4.2")]
    #[case("*", "")]
    #[case("4.2.*", "==4.2.*")]
    #[case("4.2", "==4.2")]
    #[case("=4.2", "==4.2")]
    #[case(">= 4.2, < 5", ">=4.2,<5")]
    #[case(">=4.2 <5", ">=4.2,<5")]
    #[case("^3.2 || ^4.2", ">=4.2,<5")]
    #[case("^18446744073709551615", ">=18446744073709551615,<18446744073709551615")]
    fn constraints(#[case] constraint: &str, #[case] expected: &str) {
        assert_eq!(specifier(constraint).as_deref(), Some(expected));
    }

    #[rstest]
    #[case("^x")]
    #[case("latest")]
    #[case(">=4.2;x")]
    fn no_constraints(#[case] constraint: &str) {
        assert_eq!(specifier(constraint), None);
    }

    fn lines(read: &Read) -> Vec<&str> {
        read.packages.iter().map(|package| package.line.as_str()).collect()
    }

    #[test]
    fn dependencies_become_lines() {
        let section: Table = r#"
            python = "^3.9"
            Django = "^4.2"
            celery = {version = "~5.3", extras = ["redis"]}
            tomli = {version = "*", python = "<3.11"}
            tool = {git = "https://github.com/x/tool.git", tag = "v1"}
            here = {path = "../here"}
            secret = {git = "ssh://git@github.com/x/y.git"}
            extra = {version = "1.0", optional = true}
            numpy = [{version = "<2", python = "<3.9"}, {version = ">=2", python = ">=3.9"}]
            wheel = {url = "https://example.com/wheel.whl"}
        "#
        .parse()
        .unwrap();
        let read = dependencies(&section);
        let mut found = lines(&read);
        found.sort_unstable();
        assert_eq!(
            found,
            [
                "Django>=4.2,<5",
                "celery[redis]>=5.3,<5.4",
                "numpy<2; python_version < \"3.9\"",
                "numpy>=2; python_version >= \"3.9\"",
                "tomli; python_version < \"3.11\"",
                "tool @ git+https://github.com/x/tool.git@v1",
                "wheel @ https://example.com/wheel.whl",
            ]
        );
        assert_eq!(read.left_out, ["here", "secret"]);
    }

    #[test]
    fn a_lock_gives_the_main_group_by_what_leads_to_it() {
        let table: Table = r#"
            [[package]]
            name = "django"
            version = "4.2.7"
            [package.dependencies]
            asgiref = ">=3.6"
            tzdata = {version = "*", markers = "sys_platform == \"win32\""}
            argon2 = {version = "*", optional = true, markers = "extra == \"argon2\""}
            bcrypt = {version = "*", optional = true, markers = "extra == \"bcrypt\""}
            [package.extras]
            argon2 = ["argon2 (>=19)"]
            bcrypt = ["bcrypt"]
            [[package]]
            name = "bcrypt"
            version = "4.0"
            [[package]]
            name = "asgiref"
            version = "3.7"
            [[package]]
            name = "tzdata"
            version = "2024.1"
            [[package]]
            name = "argon2"
            version = "1.0"
            [[package]]
            name = "pytest"
            version = "8.0"
            [[package]]
            name = "fork"
            version = "1.0"
            [package.source]
            type = "git"
            url = "https://github.com/x/fork.git"
            reference = "main"
            resolved_reference = "abc123"
        "#
        .parse()
        .unwrap();
        let direct = ["django[argon2]", "fork"].map(|name| Package::read(name).unwrap());
        assert_eq!(
            lines(&lock(&table, &direct)),
            [
                "django==4.2.7",
                "asgiref==3.7",
                "tzdata==2024.1; sys_platform == \"win32\"",
                "argon2==1.0",
                "fork @ git+https://github.com/x/fork.git@abc123"
            ]
        );
    }

    #[test]
    fn groups_and_categories_of_locks_are_heeded() {
        let table: Table = r#"
            [[package]]
            name = "a"
            version = "1"
            groups = ["main", "dev"]
            markers = {main = "python_version < \"3.12\"", dev = "x"}
            [[package]]
            name = "b"
            version = "1"
            groups = ["dev"]
            [[package]]
            name = "c"
            version = "1"
            category = "dev"
            [[package]]
            name = "d"
            version = "1"
            category = "main"
            [[package]]
            name = "e"
            version = "1"
            optional = true
            groups = ["main"]
            [[package]]
            name = "f"
            version = "1"
            groups = ["main"]
            [package.source]
            type = "directory"
            url = "../f"
        "#
        .parse()
        .unwrap();
        let read = lock(&table, &[]);
        assert_eq!(lines(&read), ["a==1; python_version < \"3.12\"", "d==1"]);
        assert_eq!(read.left_out, ["f"]);
    }
}
