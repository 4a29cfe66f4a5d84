//! The Python that a project is to run on: as one of its files says, else as its Django needs it.

use toml::Value;

use super::{
    dependencies::{at, specifier},
    django,
    modules::Modules,
    series::Series,
    snapshot::{Snapshot, join},
    text::one_line,
};
use crate::domain::PythonWish;

/// The series that can be had, the best first where all will do: what most packages have wheels for before the newest
/// and the old.
const TO_BE_HAD: [Series; 7] =
    [Series(3, 12), Series(3, 13), Series(3, 11), Series(3, 10), Series(3, 14), Series(3, 9), Series(3, 8)];

/// What golden images bring along: where all of these will do and nothing asks for another, there is nothing to wish.
const OF_IMAGES: [Series; 3] = [Series(3, 10), Series(3, 11), Series(3, 12)];

/// How much of a file's own words is shown, in characters.
const SHOWN: usize = 60;

/// What a file says.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    /// The file.
    from: String,
    /// What it asks for, as a specifier of versions.
    specifier: String,
    /// The same in its own words.
    words: String,
}

/// The Python for a project with this Django, a specifier or empty, and what the owner should know of it.
pub(super) fn find(modules: Modules<'_>, django: &str) -> (Option<PythonWish>, Option<String>) {
    let said = [modules.project, ""].into_iter().find_map(|directory| said(modules.snapshot, directory));
    let (by_django, name) = of_django(django);
    let Some(said) = said else {
        let enough = OF_IMAGES.iter().all(|python| by_django.contains(python));
        return (wish(by_django, name).filter(|_| !enough), None);
    };
    let asked: Vec<_> = TO_BE_HAD.into_iter().filter(|python| python.fits(&said.specifier)).collect();
    let both: Vec<_> = by_django.iter().copied().filter(|python| asked.contains(python)).collect();
    let shown = one_line(said.words.trim_start_matches("python-"), SHOWN);
    match (asked.is_empty(), both.is_empty()) {
        (_, false) => (wish(both, said.from), None),
        (true, _) => {
            let taken = by_django.first().map_or_else(|| "3".to_owned(), Series::to_string);
            let note = format!(
                "{} asks for Python {shown}, which cannot be had any more: one that suits {name} is taken, such as {taken}.",
                said.from
            );
            (wish(by_django, name), Some(note))
        }
        (false, true) => {
            let note = format!("{} asks for Python {shown}, which {name} does not support.", said.from);
            (wish(asked, said.from), Some(note))
        }
    }
}

fn wish(versions: Vec<Series>, from: String) -> Option<PythonWish> {
    let versions: Vec<_> = versions.iter().map(Series::to_string).collect();
    (!versions.is_empty()).then_some(PythonWish { versions, from })
}

/// The series that a Django runs on, those it was made for first, and what it is called.
fn of_django(specifier: &str) -> (Vec<Series>, String) {
    let allowed: Vec<_> = django::allowed(specifier).collect();
    let name = match &allowed[..] {
        [one] => format!("Django {}", one.series),
        _ => "Django".to_owned(),
    };
    let mut versions: Vec<_> = TO_BE_HAD
        .into_iter()
        .filter(|python| allowed.is_empty() || allowed.iter().any(|release| release.runs_on(*python)))
        .collect();
    versions.sort_by_key(|python| !allowed.iter().any(|release| release.is_made_for(*python)));
    (versions, name)
}

/// What the files of a directory say, the plainest first.
fn said(snapshot: &Snapshot, directory: &str) -> Option<Said> {
    let said = |name: &str, specifier: Option<String>, words: &str| {
        let specifier = specifier.filter(|specifier| !specifier.is_empty())?;
        Some(Said { from: join(directory, name), specifier, words: words.trim().to_owned() })
    };
    let text = |name: &str| snapshot.source(&join(directory, name));
    let table = |name: &str| text(name).parse::<toml::Table>().unwrap_or_default();
    let line = text(".python-version").lines().find(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let pinned = line.and_then(|line| said(".python-version", exactly(line), line));
    let runtime =
        || text("runtime.txt").lines().next().and_then(|line| said("runtime.txt", exactly(line), line));
    let pipfile = || {
        let pipfile = table("Pipfile");
        let version = |key: &str| at(&pipfile, &["requires", key]).and_then(Value::as_str).map(str::to_owned);
        let version = version("python_full_version").or_else(|| version("python_version"))?;
        said("Pipfile", exactly(&version), &version)
    };
    let pyproject = || {
        let pyproject = table("pyproject.toml");
        let standard = at(&pyproject, &["project", "requires-python"]).and_then(Value::as_str);
        let poetry = at(&pyproject, &["tool", "poetry", "dependencies", "python"]).and_then(Value::as_str);
        let words = standard.or(poetry)?;
        said("pyproject.toml", specifier(words), words)
    };
    let lock = || {
        let lock =
            text("uv.lock").lines().take(10).find_map(|line| line.strip_prefix("requires-python = "))?;
        let words = lock.trim_matches('"');
        said("uv.lock", specifier(words), words)
    };
    pinned.or_else(runtime).or_else(pipfile).or_else(pyproject).or_else(lock)
}

/// One version, `3.8.5` or `python-3.8.5`, as a specifier of its series; another interpreter is passed over.
fn exactly(text: &str) -> Option<String> {
    let version = text.trim();
    let version = ["cpython-", "python-", "cpython@", "python@"]
        .iter()
        .find_map(|prefix| version.strip_prefix(prefix))
        .unwrap_or(version);
    let plain = version.starts_with(|c: char| c.is_ascii_digit());
    plain.then(|| Series::of(version)).flatten().map(|series| format!("=={series}.*"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn found(django: &str, files: &[(&str, &str)]) -> (String, String, Option<String>) {
        let snapshot = Snapshot::of(files);
        let (wish, note) = find(Modules { snapshot: &snapshot, project: "shop" }, django);
        let (versions, from) = wish.map(|wish| (wish.versions.join(" "), wish.from)).unwrap_or_default();
        (versions, from, note)
    }

    #[rstest]
    #[case("", "", "")]
    #[case(">=4.2,<5.0", "", "")]
    #[case("==5.2.1", "", "")]
    #[case("==1.11.29", "3.9 3.8", "Django 1.11")]
    #[case("~=2.2.0", "3.9 3.8 3.11 3.10", "Django 2.2")]
    #[case("==4.0.*", "3.10 3.9 3.8 3.11", "Django 4.0")]
    #[case("==4.1", "3.11 3.10 3.9 3.8", "Django 4.1")]
    #[case(">=6.0", "3.12 3.13 3.14", "Django 6.0")]
    #[case("==1.8", "", "")]
    #[case("<2.2", "3.9 3.8", "Django")]
    fn by_the_django(#[case] django: &str, #[case] versions: &str, #[case] from: &str) {
        assert_eq!(found(django, &[]), (versions.to_owned(), from.to_owned(), None));
    }

    #[rstest]
    #[case(&[(".python-version", "3.9.7\n")], "3.9", ".python-version")]
    #[case(&[("shop/.python-version", "# mine\n3.11"), (".python-version", "3.9")], "3.11", "shop/.python-version")]
    #[case(&[("runtime.txt", "python-3.10.4\r\n")], "3.10", "runtime.txt")]
    #[case(&[(".python-version", "pypy3.9-7.3"), ("runtime.txt", "python-3.8.1")], "3.8", "runtime.txt")]
    #[case(&[("Pipfile", "[requires]\npython_version = '3.8'")], "3.8", "Pipfile")]
    #[case(&[("Pipfile", "[requires]\npython_full_version = '3.9.1'\npython_version = '3.8'")], "3.9", "Pipfile")]
    #[case(&[("pyproject.toml", "[project]\nrequires-python = '>=3.11'")], "3.12 3.11", "pyproject.toml")]
    #[case(&[("pyproject.toml", "[tool.poetry.dependencies]\npython = '~3.11'")], "3.11", "pyproject.toml")]
    #[case(&[("shop/uv.lock", "version = 1\nrequires-python = \">=3.10, <3.12\"\n")], "3.11 3.10", "shop/uv.lock")]
    fn by_a_file_and_the_django(#[case] files: &[(&str, &str)], #[case] versions: &str, #[case] from: &str) {
        assert_eq!(found("==4.2.7", files), (versions.to_owned(), from.to_owned(), None));
    }

    #[test]
    fn what_cannot_be_had_and_what_does_not_fit_is_told() {
        let (versions, from, note) = found("==2.2", &[("runtime.txt", "python-3.6.9")]);
        assert_eq!((versions.as_str(), from.as_str()), ("3.9 3.8 3.11 3.10", "Django 2.2"));
        assert_eq!(
            note.unwrap(),
            "runtime.txt asks for Python 3.6.9, which cannot be had any more: one that suits Django 2.2 is taken, such as 3.9."
        );
        let (versions, _, note) = found("==2.2", &[(".python-version", "3.13")]);
        assert_eq!(versions, "3.13");
        assert_eq!(note.unwrap(), ".python-version asks for Python 3.13, which Django 2.2 does not support.");
    }

    #[test]
    fn files_that_say_nothing_are_passed_over() {
        for (name, text) in [
            (".python-version", "system"),
            ("runtime.txt", "\u{1b}[2J"),
            ("Pipfile", "[[["),
            (".python-version", ""),
        ] {
            assert_eq!(found("==4.2", &[(name, text)]), (String::new(), String::new(), None), "{name}");
        }
    }
}
