//! Python's modules as files of the repository, and the settings that a module gathers by importing others.

use std::collections::HashSet;

use super::{
    evaluate::Names,
    python::{self, Line, Token},
    snapshot::{Snapshot, file_name, is_foreign, join, parent},
};

/// Modules that are followed from one settings module.
const FOLLOWED: usize = 60;

/// The importable modules of a project: its own directory comes before the repository's root, as on the machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Modules<'a> {
    pub snapshot: &'a Snapshot,
    /// The directory of `manage.py`.
    pub project: &'a str,
}

/// A settings module and all that it takes over by `from … import *`: what is first has the last word.
#[derive(Debug)]
pub(super) struct Chain {
    /// Paths and logical lines.
    pub files: Vec<(String, Vec<Line>)>,
}

/// Whether every part of a dotted name can be one in Python.
pub(super) fn is_module_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && name.split('.').all(|part| {
            part.chars().next().is_some_and(|c| c == '_' || c.is_alphabetic())
                && part.chars().all(|c| c == '_' || c.is_alphanumeric())
        })
}

impl<'a> Modules<'a> {
    /// The file of a module: a package's `__init__.py`, else `name.py`, as Python looks.
    pub(super) fn find(self, module: &str) -> Option<String> {
        if !is_module_name(module) {
            return None;
        }
        [self.project, ""].into_iter().find_map(|root| self.at(&join(root, &module.replace('.', "/"))))
    }

    /// The modules directly in a package, by their dotted names and files.
    pub(super) fn children(self, package: &str) -> Vec<(String, String)> {
        if !is_module_name(package) {
            return Vec::new();
        }
        let directory = package.replace('.', "/");
        let roots = [self.project, ""].map(|root| join(root, &directory));
        let Some(directory) = roots.iter().find(|path| self.snapshot.is_directory(path)) else {
            return Vec::new();
        };
        let files = self.snapshot.files_below(directory).filter(|path| parent(path) == directory);
        let names = files.filter_map(|path| Some((file_name(path).strip_suffix(".py")?, path)));
        names
            .map(|(name, path)| (format!("{package}.{name}"), path.to_owned()))
            .filter(|(name, _)| is_module_name(name) && !name.ends_with(".__init__"))
            .collect()
    }

    /// The dotted name of a file in the project's directory, where Python can import it by one.
    pub(super) fn name_of(self, path: &str) -> Option<String> {
        let below = path.strip_prefix(self.project)?.strip_prefix('/')?;
        let name = below.strip_suffix(".py")?.replace('/', ".");
        let name = name.strip_suffix(".__init__").map_or(name.clone(), str::to_owned);
        is_module_name(&name).then_some(name)
    }

    /// The settings module at `path`, and what it imports whole.
    pub(super) fn chain(self, path: &str) -> Chain {
        let mut chain = Chain { files: Vec::new() };
        self.follow(path.to_owned(), &mut chain, &mut HashSet::new());
        chain
    }

    fn follow(self, path: String, chain: &mut Chain, seen: &mut HashSet<String>) {
        if seen.len() >= FOLLOWED || !seen.insert(path.clone()) {
            return;
        }
        let lines = python::lines(self.snapshot.source(&path));
        let mut taken = self.taken_over(&path, &lines);
        chain.files.push((path, lines));
        // What is imported last has the say over what was imported before.
        taken.reverse();
        for path in taken {
            self.follow(path, chain, seen);
        }
    }

    /// The files that a module takes over whole: `from … import *`, and `include(…)` of django-split-settings.
    fn taken_over(self, path: &str, lines: &[Line]) -> Vec<String> {
        let splits =
            lines.iter().any(|line| line.tokens.iter().any(|token| token.name() == Some("split_settings")));
        let mut files = Vec::new();
        for line in lines.iter().filter(|line| !line.inner) {
            if let Some(import) = Import::read(&line.tokens)
                && import.names == ["*"]
            {
                files.extend(self.imported(path, &import));
            }
            if splits && line.tokens.first().and_then(Token::name) == Some("include") {
                for pattern in line.tokens.iter().filter_map(Token::string) {
                    files.extend(self.matching(parent(path), pattern));
                }
            }
        }
        files
    }

    /// The file of an import, relative ones by the importing file's directory.
    pub(super) fn imported(self, path: &str, import: &Import) -> Option<String> {
        if import.dots == 0 {
            return self.find(&import.module);
        }
        let mut directory = parent(path);
        for _ in 1..import.dots {
            if directory.is_empty() {
                return None;
            }
            directory = parent(directory);
        }
        if import.module.is_empty() {
            return Some(join(directory, "__init__.py")).filter(|path| self.snapshot.is_file(path));
        }
        self.at(&join(directory, &import.module.replace('.', "/")))
    }

    /// The files of a pattern as django-split-settings reads it, with one `*` in the last part at most.
    fn matching(self, directory: &str, pattern: &str) -> Vec<String> {
        let path = join(directory, pattern);
        let Some((before, after)) = path.split_once('*') else {
            return Some(path).filter(|path| self.snapshot.is_file(path)).into_iter().collect();
        };
        let place = parent(before);
        let fits = |path: &&str| parent(path) == place && path.starts_with(before) && path.ends_with(after);
        self.snapshot.files_below(place).filter(fits).map(str::to_owned).collect()
    }

    /// The file of the module at a path without its ending.
    pub(super) fn at(self, path: &str) -> Option<String> {
        let files = [format!("{path}/__init__.py"), format!("{path}.py")];
        files.into_iter().find(|path| self.snapshot.is_file(path))
    }

    /// The Python files of the project's own directory.
    pub(super) fn own_files(self) -> impl Iterator<Item = &'a str> {
        let snapshot = self.snapshot;
        snapshot.files_below(self.project).filter(|path| path.ends_with(".py") && !is_foreign(path))
    }
}

/// `from ..module import names`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Import {
    /// How many dots it begins with: none where it names the whole module.
    pub dots: usize,
    /// The module, dotted.
    pub module: String,
    /// The names as the importing module will know them; `*` for all.
    pub names: Vec<String>,
}

impl Import {
    /// Reads a line that begins with `from`.
    pub(super) fn read(tokens: &[Token]) -> Option<Self> {
        let at = tokens.iter().position(|token| token.name() == Some("import"))?;
        let (source, names) = tokens.split_at(at);
        let (from, source) = source.split_first()?;
        if from.name() != Some("from") {
            return None;
        }
        let dots = source.iter().take_while(|token| token.is_op('.')).count();
        let module: Vec<_> = source.iter().filter_map(Token::name).collect();
        let names = names[1..].split(|token| token.is_op(',')).filter_map(|name| {
            name.iter().rev().find_map(|token| match token {
                Token::Name(name) => Some(name.clone()),
                Token::Op('*') => Some("*".to_owned()),
                _ => None,
            })
        });
        Some(Self { dots, module: module.join("."), names: names.collect() })
    }
}

impl Chain {
    /// Whether a module of the chain has `name` at its top level.
    pub(super) fn defines(&self, name: &str) -> bool {
        self.files.iter().flat_map(|(_, lines)| lines).filter(|line| !line.inner).any(|line| {
            python::assigned(line, name).is_some()
                || Import::read(&line.tokens)
                    .is_some_and(|import| import.names.iter().any(|taken| taken == name))
        })
    }

    /// What `name` is assigned last, and in which lines that stands.
    pub(super) fn assigned(&self, name: &str) -> Option<(&[Token], &[Line])> {
        self.files.iter().find_map(|(_, lines)| {
            let value = lines
                .iter()
                .rev()
                .filter(|line| !line.inner)
                .find_map(|line| python::assigned(line, name))?;
            Some((value, lines.as_slice()))
        })
    }

    /// What its modules assign, those that are taken over before those that take them.
    pub(super) fn names(&self) -> Names {
        Names::of(self.files.iter().rev().flat_map(|(_, lines)| lines))
    }

    /// Every string of the chain.
    pub(super) fn strings(&self) -> impl Iterator<Item = &str> {
        self.files.iter().flat_map(|(_, lines)| lines).flat_map(|line| &line.tokens).filter_map(Token::string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(files: &[(&str, &str)], start: &str) -> Vec<String> {
        let snapshot = Snapshot::of(files);
        let modules = Modules { snapshot: &snapshot, project: "shop" };
        modules.chain(start).files.into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn star_imports_are_followed_the_last_first_and_in_circles_once() {
        let files = [
            (
                "shop/conf/settings/__init__.py",
                "from .base import *\ntry:\n    from .local import *\nexcept ImportError: pass\n",
            ),
            ("shop/conf/settings/base.py", "from ..common import *\nfrom . import *\n"),
            ("shop/conf/common.py", "from conf.settings.base import *\nfrom nowhere import *"),
            ("shop/conf/settings/local.py", "def f():\n    from shared import *"),
            ("shared.py", ""),
        ];
        assert_eq!(
            paths(&files, "shop/conf/settings/__init__.py"),
            [
                "shop/conf/settings/__init__.py",
                "shop/conf/settings/local.py",
                "shop/conf/settings/base.py",
                "shop/conf/common.py"
            ]
        );
    }

    #[test]
    fn split_settings_are_followed() {
        let files = [
            (
                "shop/s/__init__.py",
                "from split_settings.tools import include\ninclude('components/*.py', 'local.py')",
            ),
            ("shop/s/components/a.py", "ROOT_URLCONF = 'x'"),
            ("shop/s/components/b.txt", ""),
        ];
        assert_eq!(paths(&files, "shop/s/__init__.py"), ["shop/s/__init__.py", "shop/s/components/a.py"]);
    }

    #[test]
    fn a_module_is_found_in_the_project_then_at_the_root() {
        let snapshot = Snapshot::of(&[("shop/a.py", ""), ("a.py", ""), ("b/__init__.py", ""), ("b.py", "")]);
        let modules = Modules { snapshot: &snapshot, project: "shop" };
        assert_eq!(modules.find("a").as_deref(), Some("shop/a.py"));
        assert_eq!(modules.find("b").as_deref(), Some("b/__init__.py"));
        assert_eq!(modules.find("../b"), None);
        assert_eq!(modules.find("c"), None);
        assert_eq!(modules.name_of("shop/a.py").as_deref(), Some("a"));
        assert_eq!(modules.name_of("a.py"), None);
    }

    #[test]
    fn definitions_by_assignment_and_by_import() {
        let files = [
            ("shop/a.py", "from b import (X,\n  Y as ROOT_URLCONF)\n"),
            ("shop/c.py", "class Base:\n    ROOT_URLCONF = 'x'\n"),
            ("shop/d.py", "if 1:\n    ROOT_URLCONF = 'x'\n"),
        ];
        let snapshot = Snapshot::of(&files);
        let modules = Modules { snapshot: &snapshot, project: "shop" };
        let defines = |path| modules.chain(path).defines("ROOT_URLCONF");
        assert_eq!((defines("shop/a.py"), defines("shop/c.py"), defines("shop/d.py")), (true, false, true));
    }
}
