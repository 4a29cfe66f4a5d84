//! The settings and WSGI modules, read from `wsgi.py` and `manage.py`: in two of three real repositories the inner package
//! is not called as the directory is. Where what they name is not there, one that will do is taken, and the owner told.

use super::{
    evaluate::{Names, Value},
    modules::{Chain, Import, Modules, is_module_name},
    python::{self, Line, Token},
    snapshot::{depth, file_name, join},
    text::one_line,
};
use crate::domain::NameError;

const VARIABLE: &str = "DJANGO_SETTINGS_MODULE";

/// Where a package holds several settings modules and which one is taken is computed, these names come first:
/// they are meant for servers.
const FOR_SERVERS: [&str; 10] = [
    "production",
    "prod",
    "deployment",
    "deploy",
    "live",
    "staging",
    "default",
    "base",
    "development",
    "dev",
];

/// How much of a name from the repository is shown, in characters.
const SHOWN: usize = 80;

/// Modules that are tried where none that is named is there.
const TRIED: usize = 40;

/// Places of one line that may name the settings.
const NAMED: usize = 20;

/// How many of the things that were looked at are told.
const TOLD: usize = 3;

/// The modules that a project is run by.
#[derive(Debug)]
pub(super) struct Found {
    pub module: String,
    /// The file that named it.
    pub from: String,
    pub wsgi: Option<String>,
    pub chain: Chain,
    pub warnings: Vec<String>,
}

/// A place that names the settings module.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    /// By a text, or by one that can be told without running it.
    Plainly(String),
    /// Put together at run time; the texts that it may be made of.
    Computed(Vec<String>),
}

/// Finds the settings module, then the WSGI module.
pub(super) fn find(modules: Modules<'_>) -> Result<Found, NameError> {
    let wsgi = shallowest_wsgi(modules);
    let manage = join(modules.project, "manage.py");
    let mut looked_at = Vec::new();
    for from in wsgi.iter().map(|(path, _)| path).chain([&manage]) {
        for named in named_in(&python::lines(modules.snapshot.source(from))) {
            let tried = match &named {
                Named::Plainly(module) => accept(modules, module).map(|chain| (module.clone(), chain, false)),
                Named::Computed(texts) => computed(modules, texts).map(|(name, chain)| (name, chain, true)),
            };
            match tried {
                Ok((module, chain, guessed)) => {
                    let mut warnings = Vec::new();
                    if guessed {
                        warnings.push(format!(
                            "{from} computes the name of the settings module: {module} is taken."
                        ));
                    }
                    let shallowest = wsgi.as_ref().map(|(_, name)| name.clone());
                    let wsgi = wsgi_of(modules, &chain).or(shallowest);
                    return Ok(Found { module, from: from.clone(), wsgi, chain, warnings });
                }
                Err(reason) => looked_at.push(format!("\u{201c}{}\u{201d} {reason}", one_line(from, SHOWN))),
            }
        }
    }
    if let Some((module, chain)) = likeliest(modules) {
        let why = looked_at.first().map_or("Nothing names the settings module".to_owned(), Clone::clone);
        let warnings = vec![format!("{why}: {module} is taken.")];
        let shallowest = wsgi.as_ref().map(|(_, name)| name.clone());
        let wsgi = wsgi_of(modules, &chain).or(shallowest);
        let from = chain.files.first().map(|(path, _)| path.clone()).unwrap_or_default();
        return Ok(Found { module, from, wsgi, chain, warnings });
    }
    looked_at.dedup();
    let message = if looked_at.is_empty() {
        format!(
            "The settings module is not named: neither manage.py nor a wsgi.py in \u{201c}{}/\u{201d} sets {VARIABLE}.",
            modules.project
        )
    } else {
        looked_at.truncate(TOLD);
        format!("The settings module was not found: {}.", looked_at.join("; "))
    };
    Err(NameError::new(message))
}

/// Accepts only a module that is there and has `ROOT_URLCONF`: some `wsgi.py` name one that is missing or empty.
fn accept(modules: Modules<'_>, module: &str) -> Result<Chain, String> {
    let shown = one_line(module, SHOWN);
    let Some(path) = modules.find(module) else {
        return Err(format!("names \u{201c}{shown}\u{201d}, which is not in the repository"));
    };
    let chain = modules.chain(&path);
    if chain.defines("ROOT_URLCONF") {
        Ok(chain)
    } else {
        Err(format!("names \u{201c}{shown}\u{201d}, which sets no ROOT_URLCONF"))
    }
}

/// The module that a computed name most likely means: one of its texts, or what a text ending in a dot leads to.
fn computed(modules: Modules<'_>, texts: &[String]) -> Result<(String, Chain), String> {
    for text in texts {
        if let Ok(chain) = accept(modules, text) {
            return Ok((text.clone(), chain));
        }
    }
    let packages = texts.iter().filter_map(|text| {
        text.split_once(['{', '%']).map_or(text.as_str(), |(head, _)| head).strip_suffix('.')
    });
    for package in packages {
        let mut children = modules.children(package);
        children.sort_by_key(|(name, _)| (rank(name), name.clone()));
        for (module, path) in children {
            let chain = modules.chain(&path);
            if chain.defines("ROOT_URLCONF") {
                return Ok((module, chain));
            }
        }
    }
    Err("computes the name of the settings module, and none that it could mean is in the repository"
        .to_owned())
}

/// How well a module's name fits settings for a server: the lower the better.
fn rank(name: &str) -> (bool, usize) {
    let last = name.rsplit('.').next().unwrap_or_default().to_lowercase();
    let place = FOR_SERVERS.iter().position(|known| *known == last).unwrap_or(FOR_SERVERS.len());
    (last.contains("test"), place)
}

/// The project's module that has `ROOT_URLCONF`, where what is named is not there: it was left out of the repository, or
/// is chosen by a variable. Of several, the one that is meant for a server.
fn likeliest(modules: Modules<'_>) -> Option<(String, Chain)> {
    let mut found: Vec<_> = modules
        .own_files()
        .filter_map(|path| Some((modules.name_of(path)?, path)))
        .filter(|(name, _)| name.contains("settings") || name.contains("conf"))
        .collect();
    found.sort_by_key(|(name, path)| (rank(name), depth(path), name.clone()));
    let chains = found.into_iter().take(TRIED).map(|(name, path)| (name, modules.chain(path)));
    chains.into_iter().find(|(_, chain)| chain.defines("ROOT_URLCONF"))
}

/// Where a file names the settings module, in order.
fn named_in(lines: &[Line]) -> Vec<Named> {
    let names = Names::of(lines);
    let mut found = Vec::new();
    for line in lines {
        let tokens = &line.tokens;
        let places = (0..tokens.len()).filter(|&at| tokens[at].string() == Some(VARIABLE));
        for at in places.take(NAMED) {
            let value = match (&tokens[..at], &tokens[at + 1..]) {
                // os.environ.setdefault("…", value)
                ([.., Token::Name(call), Token::Op('(')], [Token::Op(','), value @ ..])
                    if call == "setdefault" || call == "putenv" =>
                {
                    python::expression(value)
                }
                // os.environ["…"] = value
                ([.., Token::Op('[')], [Token::Op(']'), Token::Op('='), value @ ..])
                    if !value.first().is_some_and(|token| token.is_op('=')) =>
                {
                    value
                }
                // os.environ.update({"…": value})
                ([.., Token::Op('{' | ',')], [Token::Op(':'), value @ ..]) => python::expression(value),
                _ => continue,
            };
            found.push(match names.evaluate(value) {
                Value::Text(module) => Named::Plainly(module),
                _ => Named::Computed(value.iter().filter_map(Token::string).map(str::to_owned).collect()),
            });
        }
    }
    found
}

/// The WSGI file nearest to `manage.py` that has an application, and its module.
fn shallowest_wsgi(modules: Modules<'_>) -> Option<(String, String)> {
    modules
        .own_files()
        .filter(|path| file_name(path) == "wsgi.py" && has_application(modules, path))
        .filter_map(|path| Some((path.to_owned(), modules.name_of(path)?)))
        .min_by_key(|(path, _)| (depth(path), path.clone()))
}

/// The module of the settings' `WSGI_APPLICATION`, where it is there: it settles which of several is meant.
fn wsgi_of(modules: Modules<'_>, chain: &Chain) -> Option<String> {
    let (value, lines) = chain.assigned("WSGI_APPLICATION")?;
    let value = Names::of(lines).text(value)?;
    let module = value.strip_suffix(".application")?;
    let path = modules.find(module)?;
    (is_module_name(module) && has_application(modules, &path)).then(|| module.to_owned())
}

/// Whether a file has `application` at its top level.
fn has_application(modules: Modules<'_>, path: &str) -> bool {
    python::lines(modules.snapshot.source(path)).iter().filter(|line| !line.inner).any(|line| {
        let name = |token: &Token| token.name() == Some("application");
        let assigned = line.tokens.windows(2).any(|pair| name(&pair[0]) && pair[1].is_op('='));
        let defined = line.tokens.windows(2).any(|pair| pair[0].name() == Some("def") && name(&pair[1]));
        let imported = || {
            Import::read(&line.tokens)
                .is_some_and(|import| import.names.iter().any(|taken| taken == "application" || taken == "*"))
        };
        assigned || defined || imported()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::snapshot::Snapshot;

    const URLS: &str = "ROOT_URLCONF = 'config.urls'\n";
    const WSGI: &str = "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'config.settings')\napplication = get()\n";

    fn find_in(files: &[(&str, &str)]) -> Result<(String, String, Option<String>), String> {
        let snapshot = Snapshot::of(files);
        let found = find(Modules { snapshot: &snapshot, project: "shop" });
        found.map(|found| (found.module, found.from, found.wsgi)).map_err(|error| error.message)
    }

    fn manage(settings: &str) -> String {
        format!("def main():\n    os.environ.setdefault('DJANGO_SETTINGS_MODULE', {settings})\n")
    }

    #[test]
    fn a_line_names_the_settings_a_few_times_at_most() {
        let lines = python::lines(&format!("X = {}'x'", "{'DJANGO_SETTINGS_MODULE':".repeat(6000)));
        assert_eq!(named_in(&lines).len(), NAMED);
    }

    #[test]
    fn the_inner_package_may_have_another_name() {
        let manage = manage("'config.settings'");
        let files = [
            ("shop/manage.py", manage.as_str()),
            ("shop/config/wsgi.py", WSGI),
            ("shop/config/settings.py", URLS),
        ];
        let found = find_in(&files).unwrap();
        assert_eq!(
            found,
            ("config.settings".into(), "shop/config/wsgi.py".into(), Some("config.wsgi".into()))
        );
    }

    #[test]
    fn a_module_that_is_missing_or_empty_is_passed_over() {
        let manage = manage("\"config.settings.dev\" # config.settings");
        let files = [
            ("shop/manage.py", manage.as_str()),
            ("shop/config/wsgi.py", WSGI),
            ("shop/config/settings/__init__.py", ""),
            ("shop/config/settings/dev.py", "from .base import *"),
            ("shop/config/settings/base.py", URLS),
        ];
        let found = find_in(&files).unwrap();
        assert_eq!((found.0.as_str(), found.1.as_str()), ("config.settings.dev", "shop/manage.py"));
    }

    #[test]
    fn a_computed_name_is_worked_out_where_it_can_be() {
        fn files(manage: &str) -> [(&str, &str); 5] {
            [
                ("shop/manage.py", manage),
                ("shop/config/settings/__init__.py", ""),
                ("shop/config/settings/local.py", URLS),
                ("shop/config/settings/production.py", URLS),
                ("shop/config/settings/test.py", URLS),
            ]
        }
        let default = "e = os.environ.get('ENV', 'local')\nos.environ['DJANGO_SETTINGS_MODULE'] = 'config.settings.' + e";
        assert_eq!(find_in(&files(default)).unwrap().0, "config.settings.local");
        for open in
            ["'config.settings.' + environ['ENV']", "f'config.settings.{x()}'", "'config.settings.%s' % x"]
        {
            let manage = manage(open);
            assert_eq!(find_in(&files(&manage)).unwrap().0, "config.settings.production", "{open}");
        }
        let either = manage("'config.settings.test' if testing else 'config.settings.local'");
        assert_eq!(find_in(&files(&either)).unwrap().0, "config.settings.test");
    }

    #[test]
    fn odd_names_are_as_good_as_others() {
        for module in ["settings.local", "configuraciones.local", "my_site.conf.prod_v2"] {
            let manage = manage(&format!("'{module}'"));
            let path = format!("shop/{}.py", module.replace('.', "/"));
            let files = [("shop/manage.py", manage.as_str()), (path.as_str(), URLS)];
            let found = find_in(&files).unwrap();
            assert_eq!((found.0.as_str(), found.1.as_str()), (module, "shop/manage.py"));
        }
        // A package at the repository's root, beside the project's directory.
        let manage = manage("'config.settings'");
        let files = [("shop/manage.py", manage.as_str()), ("config/settings.py", URLS)];
        assert_eq!(find_in(&files).unwrap().0, "config.settings");
    }

    #[test]
    fn a_name_that_ends_in_a_dot_or_leads_to_nothing_leaves_what_is_there() {
        let files = |settings: &str| {
            let manage = manage(settings);
            find_in(&[
                ("shop/manage.py", manage.as_str()),
                ("shop/config/settings/__init__.py", ""),
                ("shop/config/settings/base.py", URLS),
                ("shop/config/settings/dev.py", "from .base import *"),
                ("shop/config/settings/test.py", URLS),
            ])
            .unwrap()
            .0
        };
        for named in [
            "'config.settings.'",
            "'config.settings'",
            "'config.settings.local'",
            "config('X')",
            "'settings.'",
        ] {
            assert_eq!(files(named), "config.settings.base", "{named}");
        }
    }

    #[test]
    fn what_was_looked_at_is_told() {
        let manage = manage("'shop.settings'");
        let files = [("shop/manage.py", manage.as_str()), ("shop/config/wsgi.py", WSGI)];
        assert_eq!(
            find_in(&files).unwrap_err(),
            "The settings module was not found: \u{201c}shop/config/wsgi.py\u{201d} names \u{201c}config.settings\u{201d}, \
             which is not in the repository; \u{201c}shop/manage.py\u{201d} names \u{201c}shop.settings\u{201d}, \
             which is not in the repository."
        );
        let none = find_in(&[("shop/manage.py", "# DJANGO_SETTINGS_MODULE")]).unwrap_err();
        assert!(none.contains("neither manage.py nor a wsgi.py in \u{201c}shop/\u{201d}"), "{none}");
    }

    #[test]
    fn wsgi_is_the_shallowest_with_an_application_but_for_what_the_settings_say() {
        let manage = manage("'config.settings'");
        let named = format!("{URLS}WSGI_APPLICATION = 'other.wsgi.application'\n");
        let files = |settings| {
            [
                ("shop/manage.py", manage.as_str()),
                ("shop/config/settings.py", settings),
                ("shop/a/deep/wsgi.py", WSGI),
                ("shop/config/wsgi.py", "# nothing\n"),
                ("shop/other/wsgi.py", WSGI),
                ("shop/another/wsgi.py", WSGI),
                ("shop/venv/wsgi.py", WSGI),
            ]
        };
        assert_eq!(find_in(&files(URLS)).unwrap().2.as_deref(), Some("another.wsgi"));
        assert_eq!(find_in(&files(&named)).unwrap().2.as_deref(), Some("other.wsgi"));
        let without = [("shop/manage.py", manage.as_str()), ("shop/config/settings.py", URLS)];
        assert_eq!(find_in(&without).unwrap().2, None);
    }
}
