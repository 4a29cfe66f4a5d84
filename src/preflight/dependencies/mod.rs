//! What a project needs to run: from the file that declares it, and where none does, from what it imports.

mod inferred;
mod package;
mod pipfile;
mod poetry;
mod pyproject;
mod requirements;
#[cfg(test)]
mod tests;

use toml::Table;

use self::{package::Package, poetry::Read};
pub(super) use self::{package::normal, poetry::specifier, pyproject::at};
use super::{
    database, django,
    imports::Imports,
    modules::{Chain, Modules},
    nearest,
    snapshot::{Entry, file_name, join, parent},
    text::one_line,
};
use crate::domain::{Dependencies, Encoding, distribution};

/// How much of a path or a name from the repository is shown, in characters.
const SHOWN: usize = 80;

/// How many names a sentence holds.
const TOLD: usize = 5;

/// Packages that a list holds; a lock file of a large project has some hundred.
const LISTED: usize = 2000;

/// Packages of which it is asked whether they are misspelt.
const SPELT: usize = 300;

/// Declarations that are not read, since they ask for more than Python's packages or must be run.
const UNREAD: [&str; 5] = ["environment.yml", "environment.yaml", "setup.py", "setup.cfg", "Pipfile"];

/// What the repository declares, or what was inferred in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Declared {
    pub dependencies: Dependencies,
    /// The Django that is to be installed: `==4.2.7`, or empty where any will do.
    pub django: String,
    /// The names of all packages, as the index compares them.
    pub names: Vec<String>,
    pub warnings: Vec<String>,
}

/// A kind of declaration; of several that are as near, the first is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Requirements,
    UvLock,
    PoetryLock,
    PipfileLock,
    Pyproject,
    Pipfile,
}

/// A file that declares packages, at least one.
#[derive(Debug)]
struct Source {
    path: String,
    kind: Kind,
    /// Whether it is beside `manage.py`, and not at the root.
    beside: bool,
    packages: Vec<Package>,
    /// Whether conda wrote it.
    dump: bool,
    /// What the owner should know if it is taken.
    notes: Vec<String>,
}

impl Source {
    fn django(&self) -> Option<&str> {
        self.packages.iter().find(|package| package.name == "django").map(|package| package.version.as_str())
    }
}

/// Finds what is declared for the project whose settings are `chain`.
pub(super) fn find(modules: Modules<'_>, chain: &Chain, imports: &Imports) -> Declared {
    let mut finder = Finder { modules, warnings: Vec::new() };
    let mut sources = Vec::new();
    for (directory, beside) in [(modules.project, true), ("", false)] {
        sources.extend(finder.requirements(directory, beside));
        sources.extend(finder.locked(directory, beside));
    }
    sources.sort_by_key(|source| (source.django().is_none(), !source.beside, source.kind));
    let mut warnings = finder.warnings;
    if sources.is_empty() {
        return undeclared(modules, chain, imports, warnings);
    }
    let source = sources.remove(0);
    warnings.extend(several(&source, &sources));
    if source.dump {
        of_conda(modules, chain, imports, source, warnings)
    } else {
        declared(modules, source, warnings)
    }
}

struct Finder<'a> {
    modules: Modules<'a>,
    warnings: Vec<String>,
}

impl Finder<'_> {
    /// The requirements file of a directory: the likeliest that names Django, else the likeliest that names anything.
    fn requirements(&mut self, directory: &str, beside: bool) -> Option<Source> {
        let snapshot = self.modules.snapshot;
        let here = |path: &str| {
            requirements::rank(path, self.modules.project).is_some_and(|(outside, ..)| outside != beside)
        };
        for (path, entry) in snapshot.entries().filter(|(path, _)| path.starts_with(directory) && here(path))
        {
            let shown = one_line(path, SHOWN);
            match entry {
                Entry::Link(_) => {
                    self.warnings.push(format!("{shown} is a symbolic link, which is not followed."))
                }
                Entry::File(_) if snapshot.text(path).is_none() => self.warnings.push(unread(path)),
                _ => {}
            }
        }
        let mut read: Vec<_> = requirements::candidates(snapshot, self.modules.project)
            .into_iter()
            .filter(|path| here(path))
            .map(|path| (requirements::contents(snapshot, &path), path))
            .collect();
        let names_django = |contents: &requirements::Contents| {
            contents.packages.iter().any(|package| package.name == "django")
        };
        let chosen = read
            .iter()
            .position(|(contents, _)| names_django(contents))
            .or_else(|| read.iter().position(|(contents, _)| !contents.packages.is_empty()));
        let Some(chosen) = chosen else {
            if let Some((_, path)) = read.first() {
                self.warnings.push(format!("{} names no package.", one_line(path, SHOWN)));
            }
            return None;
        };
        let (contents, path) = read.swap_remove(chosen);
        let missing = contents.missing.iter().take(TOLD);
        let notes = missing
            .map(|name| {
                let (path, name) = (one_line(&path, SHOWN), one_line(name, SHOWN));
                format!("{path} includes {name}, which is not in the repository.")
            })
            .collect();
        let (packages, dump) = (contents.packages, contents.dump);
        Some(Source { path, kind: Kind::Requirements, beside, packages, dump, notes })
    }

    /// What the files of uv, poetry and pipenv in a directory declare: their locks before what these were made from.
    fn locked(&mut self, directory: &str, beside: bool) -> Vec<Source> {
        let path = |name: &str| join(directory, name);
        let source = |path: String, kind: Kind, read: Read| {
            let notes = left_out(&path, &read);
            Source { path, kind, beside, packages: read.packages, dump: false, notes }
        };
        let mut sources = Vec::new();
        if let Some(pyproject) = self.table(&path("pyproject.toml")) {
            let asked = pyproject::read(&pyproject);
            let uv = path("uv.lock");
            let poetry = path("poetry.lock");
            if self.modules.snapshot.is_file(&uv) {
                // The machine reads it, so that one that is too long for the site will do.
                let lock = self.modules.snapshot.text(&uv).and_then(|_| self.table(&uv));
                let packages = lock.map_or_else(|| asked.packages.clone(), |lock| pyproject::lock(&lock));
                sources.push(source(uv, Kind::UvLock, Read { packages, ..Read::default() }));
            } else if let Some(lock) = self.table(&poetry) {
                sources.push(source(poetry, Kind::PoetryLock, poetry::lock(&lock, &asked.packages)));
            }
            let locked = sources.iter().any(|source| source.django().is_some());
            if !locked {
                sources.push(source(path("pyproject.toml"), Kind::Pyproject, asked));
            }
        }
        let pipenv = sources.len();
        let lock = path("Pipfile.lock");
        if let Some(value) = self.text(&lock) {
            match serde_json::from_str(value) {
                Ok(value) => sources.push(source(lock, Kind::PipfileLock, pipfile::lock(&value))),
                Err(_) => self.warnings.push(format!("{lock} is no JSON: it is passed over.")),
            }
        }
        if !sources[pipenv..].iter().any(|source| source.django().is_some())
            && let Some(pipfile) = self.table(&path("Pipfile"))
        {
            sources.push(source(path("Pipfile"), Kind::Pipfile, pipfile::read(&pipfile)));
        }
        sources.retain(|source| !source.packages.is_empty());
        sources
    }

    fn text(&mut self, path: &str) -> Option<&str> {
        let snapshot = self.modules.snapshot;
        match (snapshot.entry(path), snapshot.text(path)) {
            (Some(Entry::File(_)), Some(text)) => Some(&text.text),
            (Some(Entry::File(_)), None) => {
                self.warnings.push(unread(path));
                None
            }
            (Some(Entry::Link(_)), _) => {
                self.warnings.push(format!("{path} is a symbolic link, which is not followed."));
                None
            }
            _ => None,
        }
    }

    fn table(&mut self, path: &str) -> Option<Table> {
        let table = self.text(path)?.parse().ok();
        if table.is_none() {
            self.warnings.push(format!("{path} is no TOML: it is passed over."));
        }
        table
    }
}

fn unread(path: &str) -> String {
    format!("{} is larger than 256 KB, or no text: it is not read.", one_line(path, SHOWN))
}

/// What is not installed of all that a file names, and why.
fn left_out(path: &str, read: &Read) -> Vec<String> {
    let told = |names: &[String], say: &dyn Fn(&str) -> String| {
        let names: Vec<_> = names.iter().take(TOLD).map(|name| one_line(name, SHOWN)).collect();
        (!names.is_empty()).then(|| say(&names.join(", ")))
    };
    let place = told(&read.left_out, &|names| {
        format!(
            "{path} takes {names} from a path or a private place, which a machine cannot reach: that is not installed."
        )
    });
    let unreadable = told(&read.unreadable, &|names| {
        format!(
            "{path} names {names} with a version or a condition that cannot be read: that is not installed."
        )
    });
    place.into_iter().chain(unreadable).collect()
}

/// Which of several was taken, and why.
fn several(taken: &Source, others: &[Source]) -> Option<String> {
    let other = others.first()?;
    let reason = if taken.django().is_some() && other.django().is_none() {
        "it names Django"
    } else if taken.beside && !other.beside {
        "it is beside manage.py"
    } else if taken.kind == Kind::Requirements {
        "it is what other hosts install from, too"
    } else {
        "it pins every version"
    };
    let path = |source: &Source| one_line(&source.path, SHOWN);
    Some(format!(
        "{} and {} are both there: {} is taken, because {reason}.",
        path(taken),
        path(other),
        path(taken)
    ))
}

/// What a file declares.
fn declared(modules: Modules<'_>, source: Source, mut warnings: Vec<String>) -> Declared {
    let Source { path, kind, mut packages, notes, .. } = source;
    warnings.extend(notes);
    let django =
        packages.iter().find(|package| package.name == "django").map(|package| package.version.clone());
    if django.is_none() {
        warnings.push(without_django(&path, &packages));
    }
    warnings.extend(misspelt(&path, &packages));
    let names = packages.iter().map(|package| package.name.clone()).collect();
    let names_django = django.is_some();
    let count = u32::try_from(packages.len()).unwrap_or(u32::MAX);
    packages.truncate(LISTED);
    let dependencies = match kind {
        Kind::Requirements => Dependencies::Requirements {
            packages: count,
            encoding: modules.snapshot.text(&path).map_or(Encoding::Utf8, |text| text.encoding),
            names_django,
            path,
        },
        Kind::UvLock if names_django => Dependencies::Uv { path, packages: count },
        _ => Dependencies::Listed { path, list: lines(packages), names_django },
    };
    Declared { dependencies, django: django.unwrap_or_else(|| django::infer(modules)), names, warnings }
}

fn lines(packages: Vec<Package>) -> Vec<String> {
    packages.into_iter().map(|package| package.line).collect()
}

/// Of a list of all that conda had installed, what the project imports.
fn of_conda(
    modules: Modules<'_>,
    chain: &Chain,
    imports: &Imports,
    source: Source,
    mut warnings: Vec<String>,
) -> Declared {
    let inferred = inferred::packages(imports, database::find(chain, &[]).database, &source.packages);
    let path = one_line(&source.path, SHOWN);
    warnings.push(format!(
        "{path} lists what conda had installed: of that, what the project imports is installed."
    ));
    warnings.extend(source.notes.iter().cloned());
    warnings.extend(doubts(&inferred));
    let pinned = source.django().filter(|version| !version.is_empty()).map(str::to_owned);
    let django = pinned.unwrap_or_else(|| django::infer(modules));
    let (list, names) = with_django(&django, inferred.packages);
    Declared {
        dependencies: Dependencies::Listed { path: source.path, list, names_django: true },
        django,
        names,
        warnings,
    }
}

fn with_django(django: &str, packages: Vec<Package>) -> (Vec<String>, Vec<String>) {
    let names = ["django".to_owned()].into_iter().chain(packages.iter().map(|package| package.name.clone()));
    let names = names.collect();
    let list = [format!("Django{django}")].into_iter().chain(lines(packages)).collect();
    (list, names)
}

/// Nothing is declared: what the project imports.
fn undeclared(modules: Modules<'_>, chain: &Chain, imports: &Imports, mut warnings: Vec<String>) -> Declared {
    let directories = [modules.project, ""];
    let unread = directories
        .into_iter()
        .flat_map(|directory| UNREAD.map(|name| join(directory, name)))
        .find(|path| modules.snapshot.is_file(path) && file_name(path) != "Pipfile");
    let inferred = inferred::packages(imports, database::find(chain, &[]).database, &[]);
    let django = django::infer(modules);
    let what = if inferred.packages.is_empty() { "Django alone is" } else { "what the project imports is" };
    warnings.push(match unread {
        Some(path) => {
            format!("{path} is not read, and nothing else declares dependencies: {what} installed.")
        }
        None if warnings.is_empty() => format!("No dependencies are declared: {what} installed."),
        None => format!("No other dependencies are declared: {what} installed."),
    });
    warnings.extend(doubts(&inferred));
    let none = inferred.packages.is_empty();
    let (list, names) = with_django(&django, inferred.packages);
    let dependencies = if none { Dependencies::None } else { Dependencies::Inferred { list } };
    Declared { dependencies, django, names, warnings }
}

/// What the owner should know of packages that are only guessed.
fn doubts(inferred: &inferred::Inferred) -> Vec<String> {
    let mut sentences = Vec::new();
    if !inferred.guessed.is_empty() {
        let names =
            inferred.guessed.iter().take(TOLD).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let more = inferred.guessed.len().saturating_sub(TOLD);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        sentences.push(format!(
            "Guessed from the imports: {names}{more}. List what the project needs in a requirements.txt if that is wrong."
        ));
    }
    sentences.extend(inferred.absent.iter().take(TOLD).map(|(module, file)| {
        format!("{} imports `{module}`, which is not in the repository.", one_line(file, SHOWN))
    }));
    sentences
}

fn without_django(path: &str, packages: &[Package]) -> String {
    let path = one_line(path, SHOWN);
    let like = packages.iter().take(SPELT).find(|package| nearest::distance(&package.name, "django") <= 2);
    match like {
        Some(package) => format!(
            "{path} does not name Django, but \u{201c}{}\u{201d}: is that a misspelling? Django is installed besides.",
            package.name
        ),
        None => format!("{path} does not name Django: it is installed besides."),
    }
}

/// Packages whose names are but a letter from a well-known one: a misspelt name is often somebody else's package.
fn misspelt(path: &str, packages: &[Package]) -> Vec<String> {
    let known: Vec<_> = distribution::all().map(normal).collect();
    // Such names are called after one another: psycopg-binary and psycopg2-binary.
    let stem = |name: &str| name.replace(|c: char| c.is_ascii_digit(), "");
    packages
        .iter()
        .take(SPELT)
        .filter(|package| package.name.len() >= 6 && !known.contains(&package.name))
        .filter_map(|package| {
            let like = known.iter().find(|known| {
                known.len().abs_diff(package.name.len()) <= 1
                    && stem(known) != stem(&package.name)
                    && nearest::distance(known, &package.name) == 1
            })?;
            Some(format!(
                "{} names \u{201c}{}\u{201d}: is that a misspelling of \u{201c}{like}\u{201d}?",
                one_line(path, SHOWN),
                package.name
            ))
        })
        .take(TOLD)
        .collect()
}

/// Whether a file may declare what the project needs, by its path.
pub(super) fn is_declaration(path: &str) -> bool {
    let name = file_name(path);
    name.to_ascii_lowercase().ends_with(".txt")
        || matches!(
            name,
            "pyproject.toml" | "uv.lock" | "poetry.lock" | "Pipfile" | "Pipfile.lock" | ".python-version"
        )
        || is_environment_file(path)
}

/// Whether a file may give variables: `.env` and its kind.
pub(super) fn is_environment_file(path: &str) -> bool {
    let name = file_name(path);
    name.starts_with(".env")
        || name.ends_with(".env")
        || matches!(name, "env.example" | "env.sample")
        || (name == "settings.ini" && !parent(path).is_empty())
}
