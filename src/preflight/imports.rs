//! What a project needs besides Django, read from its code: the apps and middleware of its settings, and what the
//! modules import that a server loads. A script that lies beside them may import what it likes.

use std::collections::{BTreeMap, HashSet};

use super::{
    guards,
    modules::{Chain, Import, Modules, is_module_name},
    python::{self, Line, Token},
    snapshot::{file_name, join, parent},
    stdlib::is_standard,
};
use crate::domain::distribution;

/// Modules that are read of one project.
const FOLLOWED: usize = 3000;

/// Directories on the import path besides the usual two.
const ROOTS: usize = 4;

/// How often it is looked whether a name is the project's own: more than any project asks for.
const LOOKUPS: usize = 50_000;

/// Modules that are taken down; nobody writes for more.
const NEEDED: usize = 200;

/// Modules of an app that Django and its helpers load by their names.
const OF_AN_APP: [&str; 12] = [
    "__init__",
    "admin",
    "apps",
    "cron",
    "middleware",
    "models",
    "receivers",
    "search_indexes",
    "signals",
    "tasks",
    "translation",
    "wagtail_hooks",
];

/// Packages of an app whose modules Django loads by looking for them.
const LOOKED_FOR: [&str; 4] = ["management/commands", "migrations", "models", "templatetags"];

/// Parts of Django that need a package besides, and what that brings.
const OF_DJANGO: [(&str, &str); 4] = [
    ("django.contrib.auth.hashers.Argon2PasswordHasher", "argon2"),
    ("django.contrib.auth.hashers.BCryptSHA256PasswordHasher", "bcrypt"),
    ("django.core.cache.backends.memcached.PyMemcacheCache", "pymemcache"),
    ("django.core.cache.backends.redis.RedisCache", "redis"),
];

/// The modules that a project needs and does not hold, by their dotted names, with the file that first names each.
#[derive(Debug, Default)]
pub(super) struct Imports {
    pub needed: BTreeMap<String, String>,
    /// Whether a model has an `ImageField`, which needs Pillow without importing it.
    pub images: bool,
    /// The files that a server loads besides the settings' own.
    pub loaded: Vec<String>,
}

/// Reads the settings, and from there whatever they, the URLs and the apps load.
pub(super) fn read(modules: Modules<'_>, chain: &Chain) -> Imports {
    let mut reader = Reader {
        modules,
        imports: Imports::default(),
        open: Vec::new(),
        seen: HashSet::new(),
        lookups: LOOKUPS,
        roots: Vec::new(),
        names: names(modules),
    };
    let run_by: Vec<_> =
        modules.own_files().filter(|path| matches!(file_name(path), "manage.py" | "wsgi.py")).collect();
    for path in &run_by {
        reader.put_on_path(path, &python::lines(modules.snapshot.source(path)));
    }
    for (path, lines) in &chain.files {
        reader.put_on_path(path, lines);
    }
    for (path, lines) in &chain.files {
        reader.seen.insert(path.clone());
        reader.settings(path, lines);
        reader.module(path, lines);
    }
    reader.open.extend(run_by.into_iter().map(str::to_owned));
    while let Some(path) = reader.open.pop() {
        if reader.seen.len() < FOLLOWED && reader.seen.insert(path.clone()) {
            let lines = python::lines(modules.snapshot.source(&path));
            reader.module(&path, &lines);
            if !path.contains("/management/commands/") {
                reader.imports.loaded.push(path);
            }
        }
    }
    reader.imports
}

struct Reader<'a> {
    modules: Modules<'a>,
    imports: Imports,
    open: Vec<String>,
    seen: HashSet<String>,
    /// How many lookups are left.
    lookups: usize,
    /// Directories that the project puts on the import path by itself.
    roots: Vec<String>,
    /// Every name that a module or package of the project has, wherever it is.
    names: HashSet<&'a str>,
}

/// The names of the project's own modules and of the directories that hold some.
fn names<'a>(modules: Modules<'a>) -> HashSet<&'a str> {
    modules.own_files().flat_map(|path| path.strip_suffix(".py").unwrap_or(path).split('/')).collect()
}

impl Reader<'_> {
    /// The directories that a file puts on the import path: `sys.path.insert(0, BASE_DIR / "apps")`.
    fn put_on_path(&mut self, path: &str, lines: &[Line]) {
        for line in lines.iter().filter(|line| !line.inner || file_name(path) == "manage.py") {
            let put = line.tokens.windows(3).any(|three| {
                three[0].name() == Some("path")
                    && three[1].is_op('.')
                    && matches!(three[2].name(), Some("append" | "insert"))
            });
            let parts: Vec<_> =
                line.tokens.iter().filter_map(Token::string).filter(|part| is_dotted(part)).collect();
            if !put || parts.is_empty() || self.roots.len() >= ROOTS {
                continue;
            }
            let below = parts.join("/");
            for from in [self.modules.project, parent(path), parent(parent(path)), ""] {
                let root = join(from, &below);
                if self.modules.snapshot.is_directory(&root) && !self.roots.contains(&root) {
                    self.roots.push(root);
                }
            }
        }
    }

    /// The apps, middleware and other parts that settings name by texts.
    fn settings(&mut self, path: &str, lines: &[Line]) {
        for line in lines.iter().filter(|line| !line.inner) {
            let Some(name) = line.tokens.first().and_then(Token::name) else { continue };
            let listed = name.ends_with("APPS")
                || name.starts_with("MIDDLEWARE")
                || matches!(name, "AUTHENTICATION_BACKENDS" | "TEMPLATES" | "TEMPLATE_CONTEXT_PROCESSORS");
            for text in line.tokens.iter().filter_map(Token::string).filter(|text| is_dotted(text)) {
                if let Some((_, module)) = OF_DJANGO.iter().find(|(part, _)| *part == text) {
                    self.need(module, path);
                } else if let Some(app) = self.own(text) {
                    self.app(&app);
                } else if (listed && !is_variable(text) && (name != "TEMPLATES" || text.contains('.')))
                    || is_class(text)
                {
                    self.need(text, path);
                }
            }
        }
    }

    /// The file of the module that a dotted name begins with, where it is the project's own.
    fn own(&mut self, name: &str) -> Option<String> {
        self.lookups = self.lookups.checked_sub(1)?;
        let ends = name.match_indices('.').map(|(at, _)| at).chain([name.len()]);
        let mut prefixes: Vec<_> = ends.map(|end| &name[..end]).collect();
        prefixes.reverse();
        let find = |prefix: &str| {
            let roots = self.roots.iter().map(|root| join(root, &prefix.replace('.', "/")));
            self.modules.find(prefix).or_else(|| roots.into_iter().find_map(|path| self.modules.at(&path)))
        };
        prefixes.into_iter().take(4).find_map(find)
    }

    /// What is loaded of the app at a file of whose package the settings speak.
    fn app(&mut self, path: &str) {
        let directory = parent(path);
        let files = OF_AN_APP.iter().map(|name| join(directory, &format!("{name}.py")));
        self.open.extend(files.filter(|path| self.modules.snapshot.is_file(path)));
        for below in LOOKED_FOR {
            let below = join(directory, below);
            let files = self.modules.snapshot.files_below(&below).filter(|path| path.ends_with(".py"));
            self.open.extend(files.map(str::to_owned));
        }
        self.open.push(path.to_owned());
    }

    fn module(&mut self, path: &str, lines: &[Line]) {
        let optional = guards::caught(lines, &["ImportError", "ModuleNotFoundError"]);
        let mut for_checks: Option<usize> = None;
        for (line, optional) in lines.iter().zip(optional) {
            if for_checks.is_some_and(|indent| line.indent > indent) {
                continue;
            }
            for_checks = is_for_checks(line).then_some(line.indent);
            self.imports.images |= line.tokens.iter().any(|token| token.name() == Some("ImageField"));
            self.import(path, python::statement(line), optional || for_checks.is_some());
            // What URLs include, and other parts that are named by texts.
            for text in line.tokens.iter().filter_map(Token::string).filter(|text| text.contains('.')) {
                if is_dotted(text)
                    && let Some(own) = self.own(text)
                {
                    self.open.push(own);
                }
            }
        }
    }

    fn import(&mut self, path: &str, statement: &[Token], optional: bool) {
        match statement.first().and_then(Token::name) {
            Some("import") => {
                for part in statement[1..].split(|token| token.is_op(',')) {
                    let named = part.iter().take_while(|token| token.name() != Some("as"));
                    let module = named.filter_map(Token::name).collect::<Vec<_>>().join(".");
                    self.absolute(path, &module, &[], optional);
                }
            }
            Some("from") => {
                let Some(import) = Import::read(statement) else { return };
                if import.dots == 0 {
                    self.absolute(path, &import.module, &imported_names(statement), optional);
                    return;
                }
                self.open.extend(self.modules.imported(path, &import));
                for name in imported_names(statement) {
                    let module =
                        if import.module.is_empty() { name } else { format!("{}.{name}", import.module) };
                    let below = Import { dots: import.dots, module, names: Vec::new() };
                    self.open.extend(self.modules.imported(path, &below));
                }
            }
            _ => {}
        }
    }

    fn absolute(&mut self, path: &str, module: &str, names: &[String], optional: bool) {
        if !is_module_name(module) {
            return;
        }
        let whole = self.own(module);
        // A directory is a package also without an `__init__.py`.
        let below = names.iter().filter_map(|name| self.modules.find(&format!("{module}.{name}")));
        let own: Vec<_> = whole.into_iter().chain(below).collect();
        if !own.is_empty() {
            self.open.extend(own);
        } else if !optional && self.beside(path, module).is_none() {
            let whole = match names {
                [one] if one != "*" => format!("{module}.{one}"),
                _ => module.to_owned(),
            };
            self.need(&whole, path);
        }
    }

    /// A module in the directory of the file that imports it, as Python 2 found it: not one of the index in any case.
    fn beside(&self, path: &str, module: &str) -> Option<String> {
        let top = module.split('.').next()?;
        let place = join(parent(path), top);
        let snapshot = self.modules.snapshot;
        [format!("{place}.py"), format!("{place}/__init__.py")]
            .into_iter()
            .find(|path| snapshot.is_file(path))
    }

    fn need(&mut self, module: &str, path: &str) {
        let top = module.split('.').next().unwrap_or_default();
        if self.lookups == 0 || self.imports.needed.contains_key(module) {
            return;
        }
        self.lookups -= 1;
        let snapshot = self.modules.snapshot;
        let own = || {
            [self.modules.project, ""].into_iter().any(|root| {
                let directory = join(root, top);
                snapshot.files_below(&directory).any(|path| path.ends_with(".py"))
            })
        };
        // Nobody's package is called as a part of the project is, unless it is a well-known one.
        if self.names.contains(top) && distribution::known(module).is_none() {
            return;
        }
        if top == "django" || is_standard(top) || self.imports.needed.len() >= NEEDED || own() {
            return;
        }
        self.imports.needed.entry(module.to_owned()).or_insert_with(|| path.to_owned());
    }
}

/// The names that are taken from a module, by the names that they have there.
fn imported_names(statement: &[Token]) -> Vec<String> {
    let Some(at) = statement.iter().position(|token| token.name() == Some("import")) else {
        return Vec::new();
    };
    let names = statement[at + 1..].split(|token| token.is_op(','));
    names.filter_map(|name| name.iter().find_map(Token::name)).map(str::to_owned).collect()
}

/// Whether a block is for those who check types, or the one that a program alone runs.
fn is_for_checks(line: &Line) -> bool {
    line.tokens.first().and_then(Token::name) == Some("if")
        && (line.tokens.iter().any(|token| token.name() == Some("TYPE_CHECKING"))
            || line.tokens.iter().any(|token| token.string() == Some("__main__")))
}

/// Whether a text can be a module, or a name in one.
fn is_dotted(text: &str) -> bool {
    text.len() <= 120 && text.is_ascii() && is_module_name(text)
}

/// Whether a text is written as a variable of the environment is.
fn is_variable(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// `package.module.Class`, which is how settings name parts of packages; a host or a file has no capital there.
fn is_class(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    let capital = |part: &str| part.starts_with(|c: char| c.is_ascii_uppercase());
    match parts.split_last() {
        Some((last, before)) => {
            before.len() >= 2
                && capital(last)
                && !is_variable(last)
                && !before.iter().any(|part| capital(part))
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::snapshot::Snapshot;
    use rstest::rstest;

    fn needed(settings: &str, files: &[(&str, &str)]) -> Vec<String> {
        let mut all = vec![("shop/config/settings.py", settings), ("shop/config/__init__.py", "")];
        all.extend_from_slice(files);
        let snapshot = Snapshot::of(&all);
        let modules = Modules { snapshot: &snapshot, project: "shop" };
        let chain = modules.chain("shop/config/settings.py");
        read(modules, &chain).needed.into_keys().collect()
    }

    #[rstest]
    #[case("INSTALLED_APPS = ['django.contrib.admin', 'rest_framework', 'blog']", &["rest_framework"])]
    #[case("THIRD_PARTY_APPS = ['taggit']\nINSTALLED_APPS = A + THIRD_PARTY_APPS", &["taggit"])]
    #[case("if DEBUG:\n    INSTALLED_APPS += ['debug_toolbar']", &["debug_toolbar"])]
    #[case("INSTALLED_APPS.append('crispy_forms')", &["crispy_forms"])]
    #[case("MIDDLEWARE = ['whitenoise.middleware.WhiteNoiseMiddleware']", &["whitenoise.middleware.WhiteNoiseMiddleware"])]
    #[case("CACHES = {'default': {'BACKEND': 'django_redis.cache.RedisCache'}}", &["django_redis.cache.RedisCache"])]
    #[case("CACHES = {'default': {'BACKEND': 'django.core.cache.backends.redis.RedisCache'}}", &["redis"])]
    #[case("TEMPLATES = [{'DIRS': [j(B, 'templates')], 'OPTIONS': {'context_processors': ['constance.context_processors.config']}}]", &["constance.context_processors.config"])]
    #[case("EMAIL_HOST = 'smtp.gmail.com'\nDB = 'db.sqlite3'\nX = 'en.US'\nY = 'DEFAULT'", &[])]
    #[case("INSTALLED_APPS = [os.environ['EXTRA_APP']]", &[])]
    #[case("import os, sys\nfrom decouple import config", &["decouple.config"])]
    #[case("import dj_database_url as d, environ", &["dj_database_url", "environ"])]
    #[case("try:\n    import bogus\nexcept ImportError:\n    bogus = None", &[])]
    #[case("if TYPE_CHECKING:\n    import bogus\nimport real", &["real"])]
    #[case("def f():\n    import requests", &["requests"])]
    #[case("if DEBUG: import requests", &["requests"])]
    #[case("from urllib2 import urlopen\nfrom django import forms\nimport __builtin__", &[])]
    fn what_settings_need(#[case] settings: &str, #[case] expected: &[&str]) {
        assert_eq!(needed(settings, &[("shop/blog/__init__.py", "")]), expected);
    }

    #[test]
    fn what_a_server_loads_is_read_and_scripts_are_not() {
        let files = [
            ("shop/config/urls.py", "path('', include('blog.urls'))"),
            ("shop/blog/apps.py", "import blog.signals"),
            ("shop/blog/signals.py", "import celery"),
            ("shop/blog/models.py", "from PIL import Image\nfrom .fields import X"),
            ("shop/blog/fields.py", "import phonenumbers"),
            ("shop/blog/urls.py", "from . import views"),
            ("shop/blog/views.py", "import requests\nfrom utils.tools import x\nfrom lib import y"),
            ("shop/blog/migrations/0001_initial.py", "import ckeditor.fields"),
            ("shop/blog/tests.py", "import pytest"),
            ("shop/scrape.py", "import torch"),
            ("shop/utils/tools.py", "import pandas as pd"),
            ("lib/__init__.py", "import numpy"),
        ];
        let found = needed("ROOT_URLCONF = 'config.urls'\nINSTALLED_APPS = ['blog.apps.BlogConfig']", &files);
        assert_eq!(
            found,
            ["PIL.Image", "celery", "ckeditor.fields", "numpy", "pandas", "phonenumbers", "requests"]
        );
    }

    #[test]
    fn a_module_beside_the_importing_one_is_no_package() {
        let files = [
            ("shop/blog/models.py", "import forms\nfrom helpers import x"),
            ("shop/blog/forms.py", ""),
            ("shop/helpers/x.py", ""),
        ];
        assert_eq!(
            needed(
                "INSTALLED_APPS = ['blog']",
                &[files[0], files[1], files[2], ("shop/blog/__init__.py", "")]
            ),
            [""; 0]
        );
    }

    #[test]
    fn a_directory_that_is_put_on_the_path_holds_own_modules() {
        let files = [
            ("shop/apps/blog/__init__.py", ""),
            ("shop/apps/blog/models.py", "import celery"),
            ("shop/config/celery.py", ""),
            ("shop/parts/news/views.py", ""),
        ];
        let apps = "INSTALLED_APPS = ['blog', 'news']\n";
        let put = format!("sys.path.insert(0, os.path.join(BASE_DIR, 'apps'))\n{apps}");
        assert_eq!(needed(&put, &files), ["celery"]);
        // Where it cannot be told, one's own name is no stranger's package.
        assert_eq!(needed(apps, &files), [""; 0]);
    }

    #[test]
    fn a_hundred_thousand_imports_are_bounded() {
        let settings: String = (0..100_000).map(|n| format!("import m{n}\n")).collect();
        assert_eq!(needed(&settings, &[]).len(), NEEDED);
    }
}
