//! The packages of a project that declares none: by what it imports, and what its database needs.

use std::collections::{BTreeMap, HashMap};

use super::package::{Package, normal};
use crate::{
    domain::{Database, distribution},
    preflight::imports::Imports,
};

/// Names that people give their own modules. One that is imported and not in the repository was left out of it; a package
/// of that name, which is anybody's, would not be it.
const LOCAL: [&str; 32] = [
    "api",
    "app",
    "apps",
    "base",
    "common",
    "config",
    "conf",
    "constants",
    "core",
    "credentials",
    "env",
    "forms",
    "helper",
    "helpers",
    "keys",
    "lib",
    "local",
    "local_settings",
    "main",
    "models",
    "myapp",
    "project",
    "secret",
    "secret_key",
    "settings",
    "settings_local",
    "src",
    "test",
    "tests",
    "urls",
    "utils",
    "views",
];

/// What the imports come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inferred {
    pub packages: Vec<Package>,
    /// Packages that are only guessed to be called as the module is.
    pub guessed: Vec<String>,
    /// Modules for which there is no package to guess, and the files that import them.
    pub absent: Vec<(String, String)>,
}

/// The packages for `imports`, those of `dump` by the versions that it gives.
pub(super) fn packages(imports: &Imports, database: Database, dump: &[Package]) -> Inferred {
    let pins: HashMap<_, _> = dump.iter().map(|package| (package.name.as_str(), package)).collect();
    let mut inferred = Inferred::default();
    let mut found = BTreeMap::new();
    for (module, file) in &imports.needed {
        let top = module.split('.').next().unwrap_or(module);
        let requirement = distribution::of_import(module);
        let Some(package) = Package::read(&requirement) else { continue };
        // A dump may have another package of the same module: psycopg2 and psycopg2-binary.
        let pinned = pins.get(package.name.as_str()).or_else(|| pins.get(normal(top).as_str()));
        let package = match pinned {
            Some(pinned) => (*pinned).clone(),
            None if distribution::known(module).is_some() => package,
            None if LOCAL.contains(&top) || top.len() < 2 || top == "google" => {
                inferred.absent.push((top.to_owned(), file.clone()));
                continue;
            }
            None => {
                inferred.guessed.push(package.name.clone());
                package
            }
        };
        found.entry(package.name.clone()).or_insert(package);
    }
    let has = |found: &BTreeMap<String, Package>, names: &[&str]| {
        names.iter().any(|name| found.contains_key(*name))
    };
    let driver = match database {
        Database::Postgresql if !has(&found, &["psycopg2", "psycopg2-binary", "psycopg"]) => Some("psycopg2"),
        Database::Mysql if !has(&found, &["mysqlclient", "pymysql"]) => Some("MySQLdb"),
        _ => None,
    };
    for module in driver.into_iter().chain(imports.images.then_some("PIL")) {
        if let Some(package) = Package::read(&distribution::of_import(module)) {
            let names = [package.name.clone(), normal(module)];
            let pinned = names.iter().find_map(|name| pins.get(name.as_str()));
            let package = pinned.map_or(package, |pinned| (*pinned).clone());
            found.entry(package.name.clone()).or_insert(package);
        }
    }
    inferred.guessed.sort();
    inferred.guessed.dedup();
    inferred.absent.dedup_by(|one, other| one.0 == other.0);
    inferred.packages = found.into_values().collect();
    inferred
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(modules: &[&str]) -> Imports {
        let needed = modules.iter().map(|module| ((*module).to_owned(), "a.py".to_owned())).collect();
        Imports { needed, ..Imports::default() }
    }

    fn lines(inferred: &Inferred) -> Vec<&str> {
        inferred.packages.iter().map(|package| package.line.as_str()).collect()
    }

    #[test]
    fn names_are_known_guessed_or_absent() {
        let found = packages(
            &imports(&[
                "PIL.Image",
                "PIL",
                "rest_framework",
                "some_thing.x",
                "local_settings",
                "google.cloud.storage",
            ]),
            Database::Sqlite,
            &[],
        );
        assert_eq!(lines(&found), ["djangorestframework", "google-cloud-storage", "pillow", "some-thing"]);
        assert_eq!(found.guessed, ["some-thing"]);
        assert_eq!(found.absent, [("local_settings".to_owned(), "a.py".to_owned())]);
    }

    #[test]
    fn the_database_and_images_bring_what_they_need() {
        let images = Imports { images: true, ..Imports::default() };
        assert_eq!(lines(&packages(&images, Database::Postgresql, &[])), ["pillow", "psycopg2-binary"]);
        assert_eq!(lines(&packages(&imports(&["pymysql"]), Database::Mysql, &[])), ["PyMySQL"]);
        assert_eq!(lines(&packages(&imports(&[]), Database::Mysql, &[])), ["mysqlclient"]);
    }

    #[test]
    fn a_dump_gives_the_versions_of_what_is_imported() {
        let dump = ["pillow==9.0", "psycopg2==2.9", "numpy==1.20", "some-thing"]
            .map(|line| Package::read(line).unwrap());
        let found = packages(&imports(&["PIL", "psycopg2", "some_thing"]), Database::Postgresql, &dump);
        assert_eq!(lines(&found), ["pillow==9.0", "psycopg2==2.9", "some-thing"]);
        assert!(found.guessed.is_empty());
    }
}
