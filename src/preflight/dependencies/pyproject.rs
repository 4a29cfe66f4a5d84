//! `pyproject.toml` with or without poetry, and `uv.lock`.
//! <https://packaging.python.org/en/latest/specifications/pyproject-toml/>

use toml::{Table, Value};

use super::{
    package::{Git, Package, normal},
    poetry::{self, Read},
};

/// A value below a table by its keys.
pub(in crate::preflight) fn at<'a>(table: &'a Table, keys: &[&str]) -> Option<&'a Value> {
    let (first, rest) = keys.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, key| value.get(key))
}

/// What a `pyproject.toml` asks for: `[project]` where it has dependencies, else poetry's section.
pub(super) fn read(pyproject: &Table) -> Read {
    let standard = poetry::texts(at(pyproject, &["project", "dependencies"]));
    let section = at(pyproject, &["tool", "poetry", "dependencies"]).and_then(Value::as_table);
    if standard.is_empty() {
        return section.map(poetry::dependencies).unwrap_or_default();
    }
    let sources = at(pyproject, &["tool", "uv", "sources"]).and_then(Value::as_table);
    let mut read = Read::default();
    for text in standard {
        match Package::read(text).map(|package| sourced(package, sources)) {
            Some(Some(package)) => read.packages.push(package),
            Some(None) => read.leave_out(text, true),
            None => read.leave_out(text, text.contains('@')),
        }
    }
    read
}

/// The package from where uv's sources say; none where that is a path.
fn sourced(package: Package, sources: Option<&Table>) -> Option<Package> {
    let Some(source) = sources.and_then(|sources| {
        sources.iter().find_map(|(name, source)| (normal(name) == package.name).then_some(source))
    }) else {
        return Some(package);
    };
    let text = |key: &str| source.get(key).and_then(Value::as_str);
    if source.get("path").is_some() || source.get("workspace").is_some() {
        return None;
    }
    if let Some(url) = text("url") {
        return Package::read(&format!("{} @ {url}", package.name));
    }
    let Some(url) = text("git") else { return Some(package) };
    let revision = text("rev").or_else(|| text("tag")).or_else(|| text("branch"));
    let git = Git { url, revision, subdirectory: text("subdirectory") };
    Package::of(&package.name, &[], "", Some(git), &[])
}

/// The packages of a `uv.lock`, by name and version, but for the project itself.
pub(super) fn lock(lock: &Table) -> Vec<Package> {
    let packages = lock.get("package").and_then(Value::as_array).into_iter().flatten();
    packages
        .filter(|package| {
            let own = |key: &str| package.get("source").is_some_and(|source| source.get(key).is_some());
            !(own("virtual") || own("editable") || own("directory"))
        })
        .filter_map(|package| {
            let text = |key: &str| package.get(key).and_then(Value::as_str);
            let version = text("version").map(|version| format!("=={version}")).unwrap_or_default();
            Package::of(text("name")?, &[], &version, None, &[])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(read: &Read) -> Vec<&str> {
        read.packages.iter().map(|package| package.line.as_str()).collect()
    }

    #[test]
    fn the_standard_section_comes_first() {
        let table: Table = r#"
            [project]
            name = "shop"
            dependencies = ["Django>=4.2", "pillow", "own @ file:///x", "--pre", "fork", "near"]
            [tool.poetry.dependencies]
            Django = "^3"
            [tool.uv.sources]
            fork = { git = "https://github.com/x/fork", rev = "abc" }
            near = { path = "../near" }
        "#
        .parse()
        .unwrap();
        let read = read(&table);
        assert_eq!(lines(&read), ["Django>=4.2", "pillow", "fork @ git+https://github.com/x/fork@abc"]);
        assert_eq!(read.left_out, ["own @ file:///x", "near"]);
        assert_eq!(read.unreadable, ["--pre"]);
    }

    #[test]
    fn without_it_poetry_is_read_and_tools_alone_give_nothing() {
        let poetry: Table = "[tool.poetry.dependencies]\npython = '^3.9'\nDjango = '^4.2'".parse().unwrap();
        assert_eq!(lines(&read(&poetry)), ["Django>=4.2,<5"]);
        let tools: Table = "[tool.black]\nline-length = 100\n[project]\nname = 3".parse().unwrap();
        assert!(lines(&read(&tools)).is_empty());
    }

    #[test]
    fn a_uv_lock_is_counted_without_the_project_itself() {
        let table: Table = r#"
            [[package]]
            name = "django"
            version = "5.2.1"
            source = { registry = "https://pypi.org/simple" }
            [[package]]
            name = "shop"
            version = "0.1.0"
            source = { virtual = "." }
        "#
        .parse()
        .unwrap();
        let packages = lock(&table);
        assert_eq!(packages.len(), 1);
        assert_eq!((packages[0].name.as_str(), packages[0].version.as_str()), ("django", "==5.2.1"));
    }
}
