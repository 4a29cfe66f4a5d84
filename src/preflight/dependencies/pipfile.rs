//! `Pipfile` and `Pipfile.lock`, which is JSON of the same: their packages for everyday use, not those for development.
//! <https://github.com/pypa/pipfile>

use serde_json::Value;

use super::{
    package::{Git, Package},
    poetry::Read,
};

/// What the `Pipfile` asks for.
pub(super) fn read(pipfile: &toml::Table) -> Read {
    // One shape for both files: what is no text in TOML is a date, and no part of a package.
    let section = pipfile.get("packages").and_then(|section| serde_json::to_value(section).ok());
    packages(section.as_ref())
}

/// The pins of a `Pipfile.lock`.
pub(super) fn lock(lock: &Value) -> Read {
    packages(lock.get("default"))
}

fn packages(section: Option<&Value>) -> Read {
    let mut read = Read::default();
    for (name, value) in section.and_then(Value::as_object).into_iter().flatten() {
        match package(name, value) {
            Some(package) => read.packages.push(package),
            None => {
                let has_place = ["path", "file", "git"].iter().any(|key| value.get(key).is_some());
                read.leave_out(name, has_place);
            }
        }
    }
    read
}

fn package(name: &str, value: &Value) -> Option<Package> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    if text("path").is_some() {
        return None;
    }
    if let Some(url) = text("file") {
        return Package::read(&format!("{name} @ {url}"));
    }
    let mut markers: Vec<_> = text("markers").map(str::to_owned).into_iter().collect();
    for key in ["sys_platform", "platform_system", "os_name", "python_version", "python_full_version"] {
        markers.extend(text(key).map(|condition| format!("{key} {condition}")));
    }
    let extras = value.get("extras").and_then(Value::as_array).into_iter().flatten();
    let extras: Vec<_> = extras.filter_map(Value::as_str).collect();
    let git = text("git").map(|url| Git { url, revision: text("ref"), subdirectory: text("subdirectory") });
    let version = value.as_str().or_else(|| text("version")).filter(|_| git.is_none()).unwrap_or("*");
    let version = match version.trim() {
        "*" => String::new(),
        plain if plain.starts_with(|c: char| c.is_ascii_digit()) => format!("=={plain}"),
        other => other.to_owned(),
    };
    Package::of(name, &extras, &version, git, &markers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(read: &Read) -> Vec<&str> {
        read.packages.iter().map(|package| package.line.as_str()).collect()
    }

    #[test]
    fn a_pipfile_gives_its_packages() {
        let table = r#"
            [packages]
            django = "~=4.2"
            pillow = "*"
            celery = {extras = ["redis"], version = ">=5"}
            fork = {git = "https://github.com/x/fork.git", ref = "main", editable = true}
            own = {path = ".", editable = true}
            pywin32 = {version = "*", sys_platform = "== 'win32'"}
            requests = "2.31.0"
            [dev-packages]
            pytest = "*"
        "#
        .parse()
        .unwrap();
        let read = read(&table);
        let mut found = lines(&read);
        found.sort_unstable();
        assert_eq!(
            found,
            [
                "celery[redis]>=5",
                "django~=4.2",
                "fork @ git+https://github.com/x/fork.git@main",
                "pillow",
                "pywin32; sys_platform == 'win32'",
                "requests==2.31.0"
            ]
        );
        assert_eq!(read.left_out, ["own"]);
    }

    #[test]
    fn a_lock_gives_its_default_section() {
        let value = serde_json::json!({
            "default": {
                "django": {"hashes": ["sha256:x"], "index": "pypi", "version": "==4.2.7"},
                "tomli": {"markers": "python_version < '3.11'", "version": "==2.0"},
                "bad\n--index-url x": {"version": "==1"},
            },
            "develop": {"pytest": {"version": "==8"}},
        });
        let read = lock(&value);
        assert_eq!(lines(&read), ["django==4.2.7", "tomli==2.0; python_version < '3.11'"]);
        assert_eq!(read.unreadable, ["bad\n--index-url x"]);
        assert!(lock(&serde_json::json!([1])).packages.is_empty());
    }
}
