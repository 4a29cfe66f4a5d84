//! Modules and names that are not where the project looks for them.

use regex::Captures;

use super::{Context, Level, Row, Words, code_of, first};
use crate::domain::distribution;

/// What Django took away: a part of the message, the release that did it.
const DJANGO_TOOK_AWAY: [(&str, &str); 22] = [
    ("'url' from 'django.conf.urls'", "4"),
    ("'ugettext", "4"),
    ("'ungettext", "4"),
    ("'force_text'", "4"),
    ("'smart_text'", "4"),
    ("'urlquote", "4"),
    ("'urlunquote", "4"),
    ("'is_safe_url'", "4"),
    ("'NullBooleanField'", "4"),
    ("'is_ajax'", "4"),
    ("django.utils.encoding.python_2", "3"),
    ("'python_2_unicode_compatible'", "3"),
    ("'render_to_response'", "3"),
    ("'six' from 'django.utils'", "3"),
    ("'lru_cache' from 'django.utils'", "3"),
    ("'available_attrs'", "3"),
    ("django.utils.six", "3"),
    ("django.contrib.staticfiles.templatetags", "3"),
    ("django.utils.lru_cache", "3"),
    ("django.core.urlresolvers", "2"),
    ("'utc' from 'django.utils.timezone'", "5"),
    ("index_together", "5.1"),
];

/// Names that a package took away: a part of the message, the requirement that has it.
const PACKAGES_TOOK_AWAY: [(&str, &str); 9] = [
    ("'soft_unicode' from 'markupsafe'", "markupsafe==2.0.1"),
    ("'Markup' from 'jinja2'", "jinja2<3.1"),
    ("'escape' from 'jinja2'", "jinja2<3.1"),
    ("'contextfunction' from 'jinja2'", "jinja2<3.1"),
    ("'url_quote' from 'werkzeug.urls'", "werkzeug<3"),
    ("'numpy' has no attribute", "numpy<1.24"),
    ("using NumPy 1.x cannot be run", "numpy<2"),
    ("numpy.dtype size changed", "numpy<2"),
    ("'load_default_backend'", "cryptography<3.1"),
];

/// Modules that Python took away, and the first release without them.
const PYTHON_TOOK_AWAY: [(&str, &str); 14] = [
    ("distutils", "3.12"),
    ("imp", "3.12"),
    ("asyncore", "3.12"),
    ("asynchat", "3.12"),
    ("smtpd", "3.12"),
    ("cgi", "3.13"),
    ("cgitb", "3.13"),
    ("crypt", "3.13"),
    ("imghdr", "3.13"),
    ("pipes", "3.13"),
    ("sndhdr", "3.13"),
    ("telnetlib", "3.13"),
    ("audioop", "3.13"),
    ("formatter", "3.10"),
];

pub(super) const ROWS: &[Row] = &[
    Row {
        patterns: &[
            r"ImportError: (cannot import name 'url' from 'django\.conf\.urls')",
            r"ImportError: (cannot import name '(?:ugettext|ungettext|force_text|smart_text|urlquote|urlunquote|is_safe_url|python_2_unicode_compatible|render_to_response|available_attrs|NullBooleanField)\w*' from 'django)",
            r"ImportError: (cannot import name '(?:six|lru_cache)' from 'django\.utils')",
            r"ImportError: (cannot import name 'utc' from 'django\.utils\.timezone')",
            r"ModuleNotFoundError: No module named '(django\.(?:utils\.six|utils\.lru_cache|core\.urlresolvers|contrib\.staticfiles\.templatetags)[\w.]*)'",
            r"object has no attribute ('is_ajax')",
            r"'class Meta' got invalid attribute\(s\): (index_together)",
        ],
        level: Level::Particular,
        words: older_django,
    },
    Row {
        patterns: &[
            r"ImportError: (cannot import name '(?:soft_unicode|Markup|escape|contextfunction|url_quote)' from '(?:markupsafe|jinja2|werkzeug\.urls)')",
            r"AttributeError: module ('numpy' has no attribute) '(?:float|int|bool|object|str|complex|long|unicode)'",
            r"A module that was compiled (using NumPy 1\.x cannot be run)",
            r"(numpy\.dtype size changed)",
        ],
        level: Level::Particular,
        words: |found, context| {
            let told = first(found);
            let known = PACKAGES_TOOK_AWAY.iter().find(|(part, _)| told.contains(part));
            let requirement = known.map_or("", |(_, requirement)| requirement);
            let package = requirement.split(['<', '=']).next().unwrap_or(requirement);
            Words::new(
                format!("The project was written for an older {}.", code_of(package)),
                context.name_package(requirement),
            )
        },
    },
    Row {
        patterns: &[r"No module named '(pkg_resources)'"],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "The project, or a package of it, needs `pkg_resources`, which new releases of `setuptools` do not have.",
                context.name_package("setuptools<81"),
            )
        },
    },
    Row {
        patterns: &[
            r"No module named '(distutils|imp|asyncore|asynchat|smtpd|cgi|cgitb|crypt|imghdr|pipes|sndhdr|telnetlib|audioop|formatter)(?:\.\w+)*'",
        ],
        level: Level::Particular,
        words: python_took_away,
    },
    Row {
        patterns: &[
            r"cannot import name '(\w+)' from 'collections'",
            r"module 'collections' has no attribute '(\w+)'",
            r"module 'inspect' has no attribute '(getargspec|formatargspec)'",
            r"module 'asyncio' has no attribute '(coroutine)'",
            r"module 'pkgutil' has no attribute '(ImpImporter)'",
            r"module 'ast' has no attribute '(Str|Num|NameConstant)'",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "A package of the project is too old for this Python: {} is gone.",
                    code_of(first(found))
                ),
                older_python(context),
            )
        },
    },
    Row {
        patterns: &[
            r"No module named '(winreg|_winapi|win32api|win32com|win32con|win32gui|pywintypes|msvcrt|winsound|pythoncom)[\w.]*'",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "The project imports {}, which only Windows has; it runs on Linux here.",
                    code_of(first(found))
                ),
                format!("take out what needs Windows, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"ImportError: (libGL\.so\.1|libgthread-2\.0\.so\.0): cannot open shared object file"],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "`opencv-python` needs a screen, which a server does not have.",
                format!(
                    "write `opencv-python-headless` instead of `opencv-python` in {}, {}",
                    context.requirements(),
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"(?:ImportError|OSError): (lib[\w.+-]+\.so[\w.]*): cannot open shared object file"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "A package needs the system's library {}, which the machine does not have.",
                    code_of(first(found))
                ),
                format!(
                    "use a package that brings its own, often called `…-binary` or `…-headless`, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[
            r"cannot import name '(\w+)' from partially initialized module '([\w.]+)'",
            r"partially initialized module '([\w.]+)' has no attribute '(\w+)'",
        ],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!(
                    "Two modules of the project import each other ({} and {}).",
                    code_of(&found[1]),
                    code_of(&found[2])
                ),
                format!("move one of the imports into the function that needs it, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[
            r"ImportError: (attempted relative import (?:with no known parent package|beyond top-level package))",
        ],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "The project imports by a path that leads out of its directory.",
                format!("write the import from the directory of `manage.py` on, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"(?:ModuleNotFoundError|ImportError): No module named '?([\w.]+)'?"],
        level: Level::Particular,
        words: missing_module,
    },
];

pub(super) const GENERAL: &[Row] = &[
    Row {
        patterns: &[r"ImportError: cannot import name '?([\w.]+)'? from '([\w.]+)'"],
        level: Level::General,
        words: |found, context| {
            let (name, module) = (&found[1], &found[2]);
            if context.is_own(module) {
                return Words::new(
                    format!(
                        "The project imports {} from its own {}, which does not have it.",
                        code_of(name),
                        code_of(module)
                    ),
                    format!("see whether the file is committed as it is on your machine, {}", context.push()),
                );
            }
            let package = distribution::of_import(module.split('.').next().unwrap_or(module));
            Words::new(
                format!(
                    "The project imports {} from {}, which does not have it.",
                    code_of(name),
                    code_of(module)
                ),
                format!(
                    "name the version of {} that the project was written for in {}, {}",
                    code_of(&package),
                    context.requirements(),
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"^\s*AttributeError: module '([\w.]+)' has no attribute '(\w+)'"],
        level: Level::General,
        words: |found, context| {
            Words::new(
                format!(
                    "The project uses {} of {}, which does not have it.",
                    code_of(&found[2]),
                    code_of(&found[1])
                ),
                format!(
                    "if that is a package, name the version that the project was written for in {}; if it is your own module, see whether it is committed. Then {}",
                    context.requirements(),
                    context.push()
                ),
            )
        },
    },
];

fn older_django(found: &Captures<'_>, context: &Context<'_>) -> Words {
    let told = first(found);
    let version =
        DJANGO_TOOK_AWAY.iter().find(|(part, _)| told.contains(part)).map_or("4", |(_, version)| version);
    let name = told.split('\'').nth(1).unwrap_or(told);
    Words::new(
        format!("The project uses {} of an older Django; Django {version} took it away.", code_of(name)),
        format!(
            "write {} in {}, or bring the project up to the newer Django, {}",
            code_of(&format!("Django<{version}")),
            context.requirements(),
            context.push()
        ),
    )
}

/// What helps against a Python that is too new.
fn older_python(context: &Context<'_>) -> String {
    format!(
        "name newer versions of the packages in {}, or write an older Python, as `3.9`, into a file `.python-version` at the repository's root, {}",
        context.requirements(),
        context.push()
    )
}

fn python_took_away(found: &Captures<'_>, context: &Context<'_>) -> Words {
    let module = first(found);
    let version =
        PYTHON_TOOK_AWAY.iter().find(|(name, _)| *name == module).map_or("3.12", |(_, version)| version);
    let help = match module {
        "distutils" => format!(
            "name `setuptools` in {}, which brings it, or write `3.11` into a file `.python-version` at the repository's root, {}",
            context.requirements(),
            context.push()
        ),
        _ => older_python(context),
    };
    Words::new(
        format!(
            "The project, or a package of it, needs the module {}, which Python {version} took away.",
            code_of(module)
        ),
        help,
    )
}

fn missing_module(found: &Captures<'_>, context: &Context<'_>) -> Words {
    let module = found[1].split('.').next().unwrap_or(&found[1]);
    if context.installs() {
        return Words::new(
            format!("A package needs {} in order to be built, and does not say so.", code_of(module)),
            format!(
                "name a newer version of that package in {}: one that comes ready-made need not be built. Then {}",
                context.requirements(),
                context.push()
            ),
        );
    }
    if context.is_own(module) {
        return Words::new(
            format!(
                "The project imports its own module {}, which is not where it looks.",
                code_of(&found[1])
            ),
            format!(
                "see whether it is committed and spelt as on Linux, where capitals count, {}",
                context.push()
            ),
        );
    }
    let package = distribution::of_import(module);
    let (names, add_to) = match context.declared_in() {
        Some(file) => (format!("which its {file} does not name."), context.requirements()),
        None => ("which nothing in the repository declares.".to_owned(), context.requirements()),
    };
    let own = match distribution::known(module) {
        Some(_) => "",
        None => " (if it is a module of your own, commit it, spelt as it is imported)",
    };
    Words::new(
        format!("The project imports {}, {names}", code_of(module)),
        format!("add {} to {add_to}{own}, {}", code_of(&package), context.push()),
    )
}
