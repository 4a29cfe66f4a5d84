//! A commit as preflight sees it: the paths of its tree, and the texts of the files that say how to deploy it.
//!
//! Everything is read once, and what is concluded from it is plain functions of this value.

use std::collections::{BTreeMap, HashMap};

use crate::domain::{CommitId, Encoding, Timestamp};

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A file, by the name of its object.
    File(String),
    /// A symbolic link, by the name of the object that holds its target.
    Link(String),
    /// Another repository.
    Submodule,
}

/// A file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub text: String,
    pub encoding: Encoding,
}

/// A commit's paths and texts.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub commit: CommitId,
    pub subject: String,
    /// When it was committed, where the commit says so believably.
    pub committed: Option<Timestamp>,
    entries: BTreeMap<String, Entry>,
    texts: HashMap<String, Text>,
}

/// Directories that hold other people's code, or what tools leave: nothing of the project is looked for there.
pub(super) fn is_foreign(path: &str) -> bool {
    path.split('/').rev().skip(1).any(|part| {
        part.starts_with('.')
            || matches!(
                part,
                "venv"
                    | "env"
                    | "virtualenv"
                    | "site-packages"
                    | "node_modules"
                    | "__pycache__"
                    | "bower_components"
            )
    })
}

/// The directory of a path, empty for the root.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// A path's last part.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// `name` in `directory`, which is empty for the root.
pub(super) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// How many directories a path is below the root.
pub(super) fn depth(path: &str) -> usize {
    path.matches('/').count()
}

impl Snapshot {
    pub(super) fn new(commit: CommitId, subject: String, entries: BTreeMap<String, Entry>) -> Self {
        Self { commit, subject, committed: None, entries, texts: HashMap::new() }
    }

    /// Keeps a file's content, where it is text.
    pub(super) fn keep(&mut self, path: &str, bytes: &[u8]) {
        if let Some((text, encoding)) = super::text::decode(bytes) {
            self.texts.insert(path.to_owned(), Text { text, encoding });
        }
    }

    pub(super) fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    pub(super) fn is_file(&self, path: &str) -> bool {
        matches!(self.entries.get(path), Some(Entry::File(_)))
    }

    pub(super) fn is_directory(&self, path: &str) -> bool {
        if path.is_empty() {
            return true;
        }
        let prefix = format!("{path}/");
        self.entries.range(prefix.clone()..).next().is_some_and(|(entry, _)| entry.starts_with(&prefix))
    }

    /// The files below `directory` (the whole repository where it is empty), in order.
    pub(super) fn files_below(&self, directory: &str) -> impl Iterator<Item = &str> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let start = prefix.clone();
        self.entries
            .range(start..)
            .take_while(move |(path, _)| path.starts_with(&prefix))
            .filter(|(_, entry)| matches!(entry, Entry::File(_)))
            .map(|(path, _)| path.as_str())
    }

    /// A file's content, where it was read and is text.
    pub(super) fn text(&self, path: &str) -> Option<&Text> {
        self.texts.get(path)
    }

    /// A file's content, or nothing: for what may be missing.
    pub(super) fn source(&self, path: &str) -> &str {
        self.texts.get(path).map_or("", |text| &text.text)
    }

    /// A commit with these files, for tests.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let entries = files.iter().map(|(path, _)| ((*path).to_owned(), Entry::File(String::new())));
        let commit = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        let mut snapshot = Self::new(commit, String::new(), entries.collect());
        for (path, text) in files {
            snapshot.keep(path, text.as_bytes());
        }
        snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_what_has_files_below() {
        let snapshot = Snapshot::of(&[("shop-2/a.py", ""), ("shop/b/c.py", ""), ("shop.py", "")]);
        assert!(snapshot.is_directory("shop"));
        assert!(snapshot.is_directory("shop/b"));
        assert!(snapshot.is_directory(""));
        assert!(!snapshot.is_directory("sho"));
        assert!(!snapshot.is_directory("shop.py"));
        assert_eq!(snapshot.files_below("shop").collect::<Vec<_>>(), ["shop/b/c.py"]);
        assert_eq!(snapshot.files_below("").count(), 3);
    }

    #[test]
    fn other_peoples_code_is_known_by_its_directory() {
        for path in ["venv/lib/wsgi.py", "a/.venv/b.py", "shop/node_modules/x/manage.py", ".github/a.py"] {
            assert!(is_foreign(path), "{path}");
        }
        for path in ["shop/env.py", "shop/wsgi.py", "venv", "environment/a.py"] {
            assert!(!is_foreign(path), "{path}");
        }
    }
}
