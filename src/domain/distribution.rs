//! Which distribution of the package index brings a module: many are called otherwise than what they bring.

use std::{collections::HashMap, sync::LazyLock};

/// A line for each: the import name, a space, the distribution as a requirement. Machines have the same file.
const TABLE: &str = include_str!("../../user_data/imports.txt");

static BY_IMPORT: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' ')).collect()
});

/// The distribution of a top-level module, as a requirement: `pillow` for `PIL`; where nothing else is known, the
/// module's own name.
pub fn of_import(module: &str) -> String {
    known(module).map_or_else(|| module.replace('_', "-"), str::to_owned)
}

/// The same, where it is known for certain.
pub fn known(module: &str) -> Option<&'static str> {
    BY_IMPORT.get(module).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_and_names_that_do_not() {
        assert_eq!(of_import("PIL"), "pillow");
        assert_eq!(of_import("some_thing"), "some-thing");
        assert_eq!((known("rest_framework"), known("some_thing")), (Some("djangorestframework"), None));
    }

    #[test]
    fn every_line_is_a_name_and_a_requirement() {
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let (name, requirement) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-<>=,[]".contains(c);
            assert!(name.chars().all(|c| c.is_alphanumeric() || c == '_'), "{line}");
            assert!(requirement.chars().all(plain), "{line}");
        }
    }
}
