//! Which distribution of the package index brings a module: many are called otherwise than what they bring.

use std::{collections::HashMap, sync::LazyLock};

/// A line for each: the import name, a space, the distribution as a requirement. Machines have the same file.
const TABLE: &str = include_str!("../../user_data/imports.txt");

static BY_IMPORT: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' ')).collect()
});

/// The distribution of a module, as a requirement: `pillow` for `PIL` or `PIL.Image`; where nothing else is known, the
/// top-level module's own name.
pub fn of_import(module: &str) -> String {
    let top = module.split('.').next().unwrap_or(module);
    known(module).map_or_else(|| top.replace('_', "-"), str::to_owned)
}

/// The same, where it is known for certain: by the longest part of the dotted name that is in the table.
pub fn known(module: &str) -> Option<&'static str> {
    let ends = module.match_indices('.').map(|(at, _)| at).chain([module.len()]);
    ends.filter_map(|end| BY_IMPORT.get(&module[..end]).copied()).last()
}

/// Every distribution of the table, by its name alone.
pub fn all() -> impl Iterator<Item = &'static str> {
    let end = |text: &str| text.find(['<', '>', '=', '[']).unwrap_or(text.len());
    BY_IMPORT.values().map(move |requirement| &requirement[..end(requirement)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_and_names_that_do_not() {
        assert_eq!(of_import("PIL"), "pillow");
        assert_eq!(of_import("some_thing"), "some-thing");
        assert_eq!((known("rest_framework"), known("some_thing")), (Some("djangorestframework"), None));
        assert_eq!(
            (of_import("PIL.Image"), of_import("some_thing.part")),
            ("pillow".into(), "some-thing".into())
        );
        assert_eq!(known("google.cloud.storage.blob"), Some("google-cloud-storage"));
        assert_eq!((known("google"), known("google.cloud")), (None, None));
    }

    #[test]
    fn every_line_is_a_name_and_a_requirement() {
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let (name, requirement) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-<>=,[]".contains(c);
            assert!(name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.'), "{line}");
            assert!(requirement.chars().all(plain), "{line}");
        }
    }

    #[test]
    fn the_table_is_in_order_and_says_nothing_twice() {
        let names: Vec<_> =
            TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(|l| l.split(' ').next()).collect();
        let mut sorted = names.clone();
        sorted.sort_by_key(|name| name.to_lowercase());
        sorted.dedup();
        assert_eq!(names, sorted);
    }
}
