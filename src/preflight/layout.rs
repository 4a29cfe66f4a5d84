//! The layout rule: `manage.py` is in a direct child directory of the repository, which gives the project its name.

use super::{
    nearest,
    snapshot::{Entry, Snapshot, depth, file_name, is_foreign, join, parent},
    text::one_line,
};
use crate::domain::{NameError, ProjectName};

const MANAGE: &str = "manage.py";

/// How many directories are offered.
const OFFERED: usize = 3;

/// How much of a path from the repository is shown, in characters.
const SHOWN: usize = 80;

/// Whether `<project>/manage.py` is there and a plain file; else what to do.
pub(super) fn check(snapshot: &Snapshot, project: &ProjectName) -> Result<(), NameError> {
    let path = join(project.as_str(), MANAGE);
    let refuse = |message: String| Err(NameError::new(message));
    match snapshot.entry(&path) {
        Some(Entry::File(_)) if snapshot.text(&path).is_some() => Ok(()),
        Some(Entry::File(_)) => refuse(format!(
            "\u{201c}{path}\u{201d} is no script of Django: it is larger than 256 KB, or no text."
        )),
        Some(Entry::Link(_)) => {
            refuse(format!("\u{201c}{path}\u{201d} is a symbolic link: commit the file itself in its place."))
        }
        Some(Entry::Submodule) => {
            refuse(format!("\u{201c}{path}\u{201d} is another repository, and not a file."))
        }
        None => Err(missing(snapshot, project)),
    }
}

fn missing(snapshot: &Snapshot, project: &ProjectName) -> NameError {
    let instead = match snapshot.entry(project.as_str()) {
        Some(Entry::Submodule) => {
            return NameError::new(format!(
                "\u{201c}{project}\u{201d} is a submodule, which is a repository of its own and is not fetched: give its URL instead."
            ));
        }
        Some(Entry::Link(_)) => format!(
            "\u{201c}{project}\u{201d} is a symbolic link: give the directory itself that holds manage.py."
        ),
        Some(Entry::File(_)) => {
            format!("\u{201c}{project}\u{201d} is a file: give the directory that holds manage.py.")
        }
        None if snapshot.is_directory(project.as_str()) => {
            format!("There is no manage.py in \u{201c}{project}/\u{201d}.")
        }
        None => format!("There is no directory \u{201c}{project}\u{201d} in the repository."),
    };
    let places: Vec<_> =
        snapshot.files_below("").filter(|path| file_name(path) == MANAGE && !is_foreign(path)).collect();
    let suggestions = suggestions(project, &places);
    let hint = if !suggestions.is_empty() {
        format!("Did you mean {}?", nearest::in_words(&suggestions))
    } else if places.contains(&MANAGE) {
        "manage.py is at the repository's root: move the project into a directory of its own there, whose name is then the project's name.".to_owned()
    } else if let Some(deep) = places.iter().min_by_key(|path| (depth(path), **path)) {
        format!(
            "manage.py is in \u{201c}{}/\u{201d}, which is too deep: its directory must be a direct child of the repository's root.",
            one_line(parent(deep), SHOWN)
        )
    } else {
        "No directory of the repository has a manage.py: is it a Django project?".to_owned()
    };
    NameError { message: format!("{instead} {hint}"), suggestions }
}

/// The direct children that have a `manage.py`, the likest to what was typed first.
fn suggestions(project: &ProjectName, places: &[&str]) -> Vec<String> {
    let mut names: Vec<_> = places
        .iter()
        .filter(|path| depth(path) == 1)
        .map(|path| parent(path))
        .filter(|name| name.parse::<ProjectName>().is_ok())
        .collect();
    names.sort_by_key(|name| {
        (nearest::distance(&name.to_lowercase(), &project.as_str().to_lowercase()), *name)
    });
    names.into_iter().take(OFFERED).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_of(files: &[&str]) -> Result<(), NameError> {
        let files: Vec<_> = files.iter().map(|path| (*path, "import django\n")).collect();
        check(&Snapshot::of(&files), &"shop".parse().unwrap())
    }

    fn message_of(files: &[&str]) -> String {
        check_of(files).unwrap_err().message
    }

    #[test]
    fn a_direct_child_is_right() {
        assert_eq!(check_of(&["shop/manage.py", "manage.py"]), Ok(()));
    }

    #[test]
    fn other_directories_are_offered() {
        let error =
            check_of(&["shop/x.py", "backend/manage.py", "shops/manage.py", "venv/manage.py"]).unwrap_err();
        assert_eq!(error.suggestions, ["shops", "backend"]);
        assert_eq!(
            error.message,
            "There is no manage.py in \u{201c}shop/\u{201d}. Did you mean \u{201c}shops\u{201d} or \u{201c}backend\u{201d}?"
        );
        let error = check_of(&["Shop/manage.py"]).unwrap_err();
        assert_eq!(error.suggestions, ["Shop"]);
        assert!(error.message.starts_with("There is no directory \u{201c}shop\u{201d}"));
    }

    #[test]
    fn manage_py_elsewhere_is_said_where() {
        assert!(message_of(&["manage.py", "shop/settings.py"]).contains("at the repository's root"));
        let deep = message_of(&["src/backend/manage.py", "src/backend/x/manage.py"]);
        assert!(deep.contains("\u{201c}src/backend/\u{201d}, which is too deep"), "{deep}");
        assert!(message_of(&["app.py"]).contains("is it a Django project?"));
        assert!(message_of(&["shop"]).contains("is a file"));
    }

    #[test]
    fn names_that_would_not_be_accepted_are_not_offered() {
        let error = check_of(&["my shop\n/manage.py", "a/b\u{202e}\n/manage.py"]).unwrap_err();
        assert!(error.suggestions.is_empty());
        assert!(!error.message.contains(['\n', '\u{202e}']));
    }
}
