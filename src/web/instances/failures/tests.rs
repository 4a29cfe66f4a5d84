use rstest::rstest;

use super::*;
use crate::domain::{Database, Encoding};

fn plan(dependencies: Dependencies) -> Plan {
    Plan {
        commit: "3f1c9ab3f1c9ab3f1c9ab3f1c9ab3f1c9ab3f1c9".parse().unwrap(),
        subject: String::new(),
        committed: None,
        branch: "main".parse().unwrap(),
        project: "shop".parse().unwrap(),
        settings: "config.settings".into(),
        settings_from: "manage.py".into(),
        wsgi: Some("config.wsgi".into()),
        python: None,
        dependencies,
        django: None,
        database: Database::Sqlite,
        chosen_database: None,
        variables: Vec::new(),
        migrations: 0,
        warnings: Vec::new(),
    }
}

fn requirements() -> Dependencies {
    Dependencies::Requirements {
        path: "requirements/prod.txt".into(),
        packages: 3,
        encoding: Encoding::Utf8,
        names_django: true,
    }
}

fn told(step: Step, code: Option<i32>, plan: Option<&Plan>, repaired: &[String], text: &str) -> Option<Cure> {
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    find(&lines, &Context { step, code, plan, repaired, status: Status::Failed })
}

fn of(step: Step, text: &str) -> Cure {
    told(step, Some(1), Some(&plan(requirements())), &[], text).unwrap_or_else(|| panic!("unknown: {text}"))
}

#[test]
fn every_pattern_is_a_regular_expression_and_every_row_is_tested() {
    let patterns = rows().map(|row| row.patterns.len()).sum::<usize>();
    assert_eq!(KNOWN.each.len(), patterns);
    assert_eq!(KNOWN.all.len(), patterns);
    assert!(rows().count() >= 60, "{}", rows().count());
    let mut tested = Vec::new();
    for (_, text, _) in MESSAGES {
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        for (_, line) in unwrapped(&lines) {
            tested.extend(KNOWN.all.matches(&line).iter().next().map(|index| KNOWN.each[index].1));
        }
    }
    let untested: Vec<_> = rows()
        .filter(|row| !tested.iter().any(|tested| std::ptr::eq(*tested, *row)))
        .map(|row| row.patterns)
        .collect();
    assert!(untested.is_empty(), "{untested:#?}");
}

/// Messages as the programs print them, with a part of what is said of each.
const MESSAGES: &[(Step, &str, &str)] = &[
    // Imports.
    (
        Step::Collectstatic,
        "ModuleNotFoundError: No module named 'crispy_forms'",
        "imports `crispy_forms`, which its `requirements/prod.txt` does not name",
    ),
    (Step::Migrate, "ModuleNotFoundError: No module named 'config.local'", "its own module `config.local`"),
    (
        Step::Dependencies,
        "      ModuleNotFoundError: No module named 'numpy'",
        "A package needs `numpy` in order to be built",
    ),
    (
        Step::Migrate,
        "ImportError: cannot import name 'url' from 'django.conf.urls' (/srv/app/environments/1/lib/python3.12/site-packages/django/conf/urls/__init__.py)",
        "Django 4 took it away",
    ),
    (
        Step::Migrate,
        "ImportError: cannot import name 'ugettext_lazy' from 'django.utils.translation' (/x/__init__.py)",
        "`ugettext_lazy` of an older Django",
    ),
    (
        Step::Migrate,
        "ModuleNotFoundError: No module named 'django.core.urlresolvers'",
        "Django 2 took it away",
    ),
    (
        Step::Health,
        "AttributeError: 'WSGIRequest' object has no attribute 'is_ajax'",
        "`is_ajax` of an older Django",
    ),
    (
        Step::Migrate,
        "TypeError: 'class Meta' got invalid attribute(s): index_together",
        "Django 5.1 took it away",
    ),
    (
        Step::Migrate,
        "ImportError: cannot import name 'soft_unicode' from 'markupsafe' (/x/markupsafe/__init__.py)",
        "older `markupsafe`",
    ),
    (
        Step::Migrate,
        "ImportError: cannot import name 'Markup' from 'jinja2' (/x/jinja2/__init__.py)",
        "older `jinja2`",
    ),
    (Step::Migrate, "AttributeError: module 'numpy' has no attribute 'float'.", "older `numpy`"),
    (Step::Migrate, "ModuleNotFoundError: No module named 'pkg_resources'", "needs `pkg_resources`"),
    (Step::Migrate, "ModuleNotFoundError: No module named 'distutils'", "Python 3.12 took away"),
    (Step::Migrate, "ModuleNotFoundError: No module named 'cgi'", "Python 3.13 took away"),
    (
        Step::Migrate,
        "ImportError: cannot import name 'Mapping' from 'collections' (/usr/lib/python3.12/collections/__init__.py)",
        "too old for this Python",
    ),
    (Step::Migrate, "AttributeError: module 'inspect' has no attribute 'getargspec'", "`getargspec` is gone"),
    (Step::Migrate, "ModuleNotFoundError: No module named 'win32com'", "only Windows has"),
    (
        Step::Migrate,
        "ImportError: libGL.so.1: cannot open shared object file: No such file or directory",
        "needs a screen",
    ),
    (
        Step::Migrate,
        "ImportError: libcairo.so.2: cannot open shared object file: No such file or directory",
        "system's library `libcairo.so.2`",
    ),
    (
        Step::Migrate,
        "ImportError: cannot import name 'Order' from partially initialized module 'orders.models' (most likely due to a circular import) (/x/orders/models.py)",
        "import each other",
    ),
    (
        Step::Migrate,
        "ImportError: attempted relative import with no known parent package",
        "out of its directory",
    ),
    (
        Step::Migrate,
        "ImportError: cannot import name 'Mailer' from 'sendmail' (/x/sendmail/__init__.py)",
        "imports `Mailer` from `sendmail`",
    ),
    (
        Step::Migrate,
        "ImportError: cannot import name 'Mailer' from 'config.mail' (/x/config/mail.py)",
        "its own `config.mail`",
    ),
    (Step::Migrate, "AttributeError: module 'jwt' has no attribute 'encode'", "uses `encode` of `jwt`"),
    // Installation.
    (Step::Dependencies, "      Error: pg_config executable not found.", "`psycopg2` could not be built"),
    (Step::Dependencies, "  × Failed to build `psycopg2==2.7.5`", "`psycopg2` could not be built"),
    (
        Step::Dependencies,
        "      Exception: Can not find valid pkg-config name.",
        "`mysqlclient` could not be built",
    ),
    (
        Step::Dependencies,
        "      The headers or library files could not be found for jpeg,",
        "`pillow` could not be built",
    ),
    (
        Step::Dependencies,
        "      Error: Please make sure the libxml2 and libxslt development packages are installed.",
        "`lxml` could not be built",
    ),
    (Step::Dependencies, "      error: can't find Rust compiler", "written in Rust"),
    (
        Step::Dependencies,
        "      CMake must be installed to build the following extensions: _dlib_pybind11",
        "CMake",
    ),
    (
        Step::Dependencies,
        "      error in anyjson setup command: use_2to3 is invalid.",
        "`anyjson` is written for Python 2",
    ),
    (
        Step::Dependencies,
        "      src/kerberos.c:17:10: fatal error: gssapi/gssapi.h: No such file or directory",
        "needs `gssapi/gssapi.h`",
    ),
    (
        Step::Dependencies,
        "  × No solution found when resolving dependencies:\n  ╰─▶ Because the current Python version (3.11.2) does not satisfy\n      Python>=3.12 and django==6.0 depends on Python>=3.12, we can conclude that\n      django==6.0 cannot be used.",
        "wants Python `>=3.12`, and the project runs on `3.11.2`",
    ),
    (
        Step::Dependencies,
        "ERROR: Package 'numpy' requires a different Python: 3.9.2 not in '>=3.10'",
        "wants Python `>=3.10`",
    ),
    (
        Step::Dependencies,
        "  ╰─▶ Because pywin32==306 has no wheels with a matching platform tag (e.g., `manylinux_2_36_x86_64`)\n      and you require pywin32==306, we can conclude that your requirements are unsatisfiable.",
        "`pywin32==306` is not made for this Python",
    ),
    (
        Step::Dependencies,
        "ERROR: No matching distribution found for pywin32==306",
        "names `pywin32==306`, which cannot",
    ),
    (
        Step::Dependencies,
        "  × No solution found when resolving dependencies:\n  ╰─▶ Because nosuchpackage was not found in the package registry and you require\n      nosuchpackage, we can conclude that your requirements are unsatisfiable.",
        "names `nosuchpackage`",
    ),
    (
        Step::Dependencies,
        "  × No solution found when resolving dependencies:\n  ╰─▶ Because there is no\n      version of django-nosuch==9 and you require django-nosuch==9, we can conclude",
        "names `django-nosuch`",
    ),
    (Step::Dependencies, "  ╰─▶ Hash mismatch for `django==5.2`", "`django==5.2` is not what its hash says"),
    (
        Step::Dependencies,
        "error: Couldn't parse requirement in `requirements.txt` at position 12",
        "is no requirement",
    ),
    (Step::Dependencies, "error: File not found: `requirements/base.txt`", "not in the repository"),
    (Step::Dependencies, "  ├─▶ Git operation failed", "from a git repository"),
    (
        Step::Dependencies,
        "  × No solution found when resolving dependencies:\n  ╰─▶ Because django-filter==25.1 depends on django>=4.2 and you require\n      django==3.2, we can conclude that your requirements are unsatisfiable.",
        "cannot be installed together",
    ),
    (
        Step::Dependencies,
        "  × Failed to build `backports-zoneinfo==0.2.1`",
        "`backports-zoneinfo` could not be built",
    ),
    (
        Step::Dependencies,
        "      error: command '/usr/bin/x86_64-linux-gnu-gcc' failed with exit code 1",
        "could not be compiled",
    ),
    // Settings.
    (Step::ConfigureGunicorn, "KeyError: 'STRIPE_KEY'", "the variable `STRIPE_KEY`"),
    (
        Step::ConfigureGunicorn,
        "decouple.UndefinedValueError: DB_NAME not found. Declare it as envvar or define a default value.",
        "the variable `DB_NAME`",
    ),
    (
        Step::ConfigureGunicorn,
        "django.core.exceptions.ImproperlyConfigured: Set the API_TOKEN environment variable",
        "the variable `API_TOKEN`",
    ),
    (
        Step::ConfigureGunicorn,
        "environs.EnvError: Environment variable \"MAIL_HOST\" not set",
        "the variable `MAIL_HOST`",
    ),
    (
        Step::ConfigureGunicorn,
        "pydantic_core._pydantic_core.ValidationError: 2 validation errors for Settings",
        "variables that are not set",
    ),
    (Step::ConfigureGunicorn, "ValueError: Invalid truth value: maybe", "cannot read"),
    (
        Step::ConfigureGunicorn,
        "AttributeError: 'NoneType' object has no attribute 'split'",
        "a value that is not there",
    ),
    (
        Step::ConfigureGunicorn,
        "django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.",
        "no `SECRET_KEY`",
    ),
    (
        Step::ConfigureGunicorn,
        "ImportError: Could not import settings 'shop.settings' (Is it on sys.path?)",
        "The settings `config.settings` cannot be found",
    ),
    (
        Step::Migrate,
        "django.core.exceptions.ImproperlyConfigured: Requested setting INSTALLED_APPS, but settings are not configured. You must either define the environment variable DJANGO_SETTINGS_MODULE or call settings.configure() before accessing settings.",
        "cannot be found",
    ),
    (
        Step::Migrate,
        "django.core.exceptions.ImproperlyConfigured: Application labels aren't unique, duplicates: auth",
        "`auth` is in `INSTALLED_APPS` twice",
    ),
    (
        Step::Migrate,
        "RuntimeError: Model class blog.models.Post doesn't declare an explicit app_label and isn't in an application in INSTALLED_APPS.",
        "The app `blog`",
    ),
    (
        Step::Migrate,
        "RuntimeError: Conflicting 'post' models in application 'blog': <class 'blog.models.Post'> and <class 'shop.blog.models.Post'>.",
        "`post` of `blog`",
    ),
    (
        Step::Migrate,
        "django.core.exceptions.AppRegistryNotReady: Apps aren't loaded yet.",
        "still being loaded",
    ),
    (
        Step::Migrate,
        "django.core.exceptions.ImproperlyConfigured: AUTH_USER_MODEL refers to model 'users.User' that has not been installed",
        "`users.User` is referred to",
    ),
    (
        Step::Migrate,
        "django.core.exceptions.ImproperlyConfigured: Cannot import 'blog'. Check that 'apps.blog.apps.BlogConfig.name' is correct.",
        "which cannot be imported",
    ),
    (
        Step::Migrate,
        "django.core.exceptions.ImproperlyConfigured: Error loading psycopg2 or psycopg module",
        "driver `psycopg2 or psycopg`",
    ),
    (
        Step::Migrate,
        "django.core.exceptions.ImproperlyConfigured: 'djongo' isn't an available database backend or couldn't be imported. Check the above exception.",
        "the database `djongo`",
    ),
    (
        Step::Collectstatic,
        "django.core.exceptions.ImproperlyConfigured: You're using the staticfiles app without having set the STATIC_ROOT setting to a filesystem path.",
        "no `STATIC_ROOT`",
    ),
    (
        Step::Start,
        "Failed to find attribute 'application' in 'ec_wsgi'.",
        "The WSGI application `application`",
    ),
    (
        Step::Migrate,
        "django.core.exceptions.ImproperlyConfigured: The included URLconf 'config.urls' does not appear to have any patterns in it. If you see the 'urlpatterns' variable with valid patterns",
        "no list `urlpatterns`",
    ),
    (
        Step::Migrate,
        "TypeError: view must be a callable or a list/tuple in the case of include().",
        "written for an older Django",
    ),
    (
        Step::Migrate,
        "django.core.exceptions.ImproperlyConfigured: Could not find the GDAL library (tried \"gdal\"). Is GDAL installed?",
        "GeoDjango",
    ),
    (
        Step::Migrate,
        "SystemCheckError: System check identified some issues:\n\nERRORS:\nblog.Post.image: (fields.E210) Cannot use ImageField because Pillow is not installed.\n\tHINT: Get Pillow at https://pypi.org/project/Pillow/",
        "has an `ImageField`",
    ),
    (
        Step::Migrate,
        "ERRORS:\nauth.User.groups: (fields.E304) Reverse accessor 'Group.user_set' for 'auth.User.groups' clashes with reverse accessor",
        "clash: `auth.User.groups`",
    ),
    (
        Step::Migrate,
        "ERRORS:\nblog.Post.ok: (fields.E903) NullBooleanField is removed except for support in historical migrations.",
        "The field `blog.Post.ok`",
    ),
    (
        Step::Migrate,
        "SystemCheckError: System check identified some issues:\n\nERRORS:\n<class 'blog.admin.PostAdmin'>: (admin.E108) The value of 'list_display[1]' refers to 'titel', which is not a callable\n\nSystem check identified 1 issue (0 silenced).",
        "errors",
    ),
    (
        Step::Migrate,
        "?: (admin.E403) A 'django.template.backends.django.DjangoTemplates' instance must be configured in TEMPLATES",
        "says `admin.E403`",
    ),
    (
        Step::Migrate,
        "django.core.exceptions.ImproperlyConfigured: LOGIN is odd",
        "not complete: `LOGIN is odd`",
    ),
    // Migrations.
    (
        Step::Migrate,
        "CommandError: Conflicting migrations detected; multiple leaf nodes in the migration graph: (0002_a, 0002_b in blog).",
        "Two migrations follow the same one",
    ),
    (
        Step::Migrate,
        "django.db.migrations.exceptions.InconsistentMigrationHistory: Migration admin.0001_initial is applied before its dependency users.0001_initial on database 'default'.",
        "in another order",
    ),
    (
        Step::Migrate,
        "django.db.migrations.exceptions.NodeNotFoundError: Migration course.0004_auto dependencies reference nonexistent parent node ('course', '0003_auto')",
        "needs the migration",
    ),
    (
        Step::Migrate,
        "django.db.migrations.exceptions.CircularDependencyError: a.0001_initial, b.0001_initial",
        "wait for each other",
    ),
    (
        Step::Migrate,
        "django.db.migrations.exceptions.BadMigrationError: Migration seed in app blog has no Migration class",
        "is none",
    ),
    (
        Step::Migrate,
        "django.db.utils.OperationalError: table \"blog_post\" already exists",
        "makes `blog_post`",
    ),
    (
        Step::Migrate,
        "django.db.utils.ProgrammingError: relation \"blog_post\" already exists",
        "makes `blog_post`",
    ),
    (Step::Health, "django.db.utils.OperationalError: no such table: blog_post", "no table `blog_post`"),
    (
        Step::Health,
        "django.db.utils.ProgrammingError: relation \"shop_item\" does not exist",
        "no table `shop_item`",
    ),
    (
        Step::Health,
        "django.db.utils.OperationalError: no such column: blog_post.slug",
        "no column `blog_post.slug`",
    ),
    (
        Step::Migrate,
        "django.db.utils.IntegrityError: NOT NULL constraint failed: blog_post.author_id",
        "a rule of the models",
    ),
    (Step::Migrate, "django.db.utils.ProgrammingError: type \"citext\" does not exist", "no `citext`"),
    (
        Step::Migrate,
        "django.db.utils.OperationalError: (1071, 'Specified key was too long; max key length is 3072 bytes')",
        "MySQL does not allow",
    ),
    // Databases and services.
    (
        Step::Migrate,
        "django.db.utils.OperationalError: could not translate host name \"db\" to address: Name or service not known",
        "at `db`",
    ),
    (
        Step::Migrate,
        "django.db.utils.OperationalError: connection to server at \"localhost\" (::1), port 5432 failed: FATAL:  password authentication failed for user \"shop\"",
        "refuses the user or the password",
    ),
    (
        Step::Migrate,
        "django.db.utils.OperationalError: (1045, \"Access denied for user 'root'@'localhost' (using password: YES)\")",
        "(`root`)",
    ),
    (
        Step::Migrate,
        "django.db.utils.OperationalError: connection to server failed: FATAL:  database \"shop\" does not exist",
        "no database `shop`",
    ),
    (
        Step::Migrate,
        "django.db.utils.OperationalError: (1049, \"Unknown database 'shop'\")",
        "no database `shop`",
    ),
    (
        Step::ConfigureGunicorn,
        "pymongo.errors.ServerSelectionTimeoutError: localhost:27017: [Errno 111] Connection refused",
        "MongoDB",
    ),
    (
        Step::ConfigureGunicorn,
        "redis.exceptions.ConnectionError: Error 111 connecting to localhost:6379. Connection refused.",
        "Redis",
    ),
    (
        Step::Collectstatic,
        "botocore.exceptions.NoCredentialsError: Unable to locate credentials",
        "no credentials",
    ),
    (
        Step::Migrate,
        "django.db.utils.NotSupportedError: PostgreSQL 14 or later is required (found 13.14).",
        "at least `14`",
    ),
    (Step::Migrate, "django.db.utils.OperationalError: database is locked", "SQLite could not work"),
    (Step::Migrate, "could not connect to server: Connection refused", "does not answer"),
    (
        Step::Migrate,
        "django.db.utils.OperationalError: (2002, \"Can't connect to local MySQL server through socket '/run/mysqld/mysqld.sock' (2)\")",
        "does not answer",
    ),
    (
        Step::Migrate,
        "django.db.utils.NotSupportedError: contains lookup is not supported on this database backend.",
        "cannot do what",
    ),
    (
        Step::ConfigureGunicorn,
        "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='api.example.com', port=443): Max retries exceeded with url: /",
        "another service",
    ),
    // The site.
    (
        Step::Health,
        "django.core.exceptions.DisallowedHost: Invalid HTTP_HOST header: '203.0.113.7'.",
        "refuses requests",
    ),
    (
        Step::Health,
        "ValueError: Missing staticfiles manifest entry for 'css/site.css'",
        "`css/site.css` is used",
    ),
    (Step::Health, "django.template.exceptions.TemplateDoesNotExist: home.html", "The template `home.html`"),
    (
        Step::Health,
        "django.template.exceptions.TemplateSyntaxError: 'staticfiles' is not a registered tag library. Must be one of:",
        "A template cannot be read",
    ),
    (
        Step::Health,
        "django.urls.exceptions.NoReverseMatch: Reverse for 'home' not found. 'home' is not a valid view function or pattern name.",
        "a route that the project does not have",
    ),
    (
        Step::Health,
        "django.contrib.sites.models.Site.DoesNotExist: Site matching query does not exist.",
        "a `Site`",
    ),
    (Step::Health, "blog.models.Post.DoesNotExist: Post matching query does not exist.", "expects data"),
    (Step::Health, "Seen with a visitor's eyes: / redirects in circles.", "round in circles"),
    (
        Step::Health,
        "[2026-01-01 10:00:00 +0000] [7] [CRITICAL] WORKER TIMEOUT (pid:9)",
        "longer than a minute",
    ),
    (Step::Start, "OSError: [Errno 98] Address already in use", "in use already"),
    (
        Step::Health,
        "Seen with a visitor's eyes: /static/a.css answers 404 as text/html, and not 200 as text/css.",
        "styles do not load",
    ),
    (
        Step::Health,
        "Seen with a visitor's eyes: / answers 500 with OperationalError.",
        "answers 500 (`OperationalError`)",
    ),
    (
        Step::Start,
        "[2026-01-01 10:00:00 +0000] [7] [ERROR] Reason: Worker failed to boot.",
        "could not be loaded in it",
    ),
    (Step::Start, "gunicorn did not start. Its last lines:", "Gunicorn did not start"),
    (Step::Health, "nginx is not running.", "Nginx does not answer"),
    (Step::Health, "Seen with a visitor's eyes: it is odd.", "not right: `it is odd.`"),
    // The repository.
    (Step::Clone, "fatal: couldn't find remote ref refs/heads/main", "The branch `main` is gone"),
    (
        Step::Clone,
        "fatal: remote error: upload-pack: not our ref 3f1c9ab3f1c9ab3f1c9ab3f1c9ab3f1c9ab3f1c9",
        "pushed over",
    ),
    (
        Step::Clone,
        "fatal: could not read Username for 'https://github.com': terminal prompts disabled",
        "not public any more",
    ),
    (Step::Clone, "git-lfs filter-process: 1: git-lfs: not found", "Git LFS"),
    (Step::Clone, "error: unable to create file docs/very/long: File name too long", "cannot be written"),
    // The machine.
    (Step::Dependencies, "OSError: [Errno 28] No space left on device", "disk is full"),
    (Step::Dependencies, "c++: fatal error: Killed signal terminated program cc1plus", "out of memory"),
    (Step::Migrate, "It took longer than 600 seconds.", "longer than this step may take"),
    (
        Step::Clone,
        "fatal: unable to access 'https://github.com/you/shop/': Could not resolve host: github.com",
        "reach the network",
    ),
    (Step::Dependencies, "  Caused by: invalid peer certificate: UnknownIssuer", "certificate"),
    (
        Step::Migrate,
        "PermissionError: [Errno 13] Permission denied: '/var/log/shop'",
        "may not write or read `/var/log/shop`",
    ),
    (Step::Environment, "Deployment 9 is newer than this one, and began before it.", "newer deployment"),
    (
        Step::Environment,
        "The image has no uv: GOLDEN_AMI must be an image that the site has baked.",
        "golden image has no `uv`",
    ),
    // Code.
    (
        Step::Migrate,
        "SyntaxError: Missing parentheses in call to 'print'. Did you mean print(...)?",
        "Python 2",
    ),
    (Step::Migrate, "TabError: inconsistent use of tabs and spaces in indentation", "mixes tabs and spaces"),
    (Step::Migrate, "    <<<<<<< HEAD", "a merge that was not finished"),
    (Step::Migrate, "SyntaxError: source code string cannot contain null bytes", "not written in UTF-8"),
    (
        Step::Migrate,
        "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        "another encoding",
    ),
    (Step::Migrate, "SyntaxError: invalid syntax", "not valid for this Python"),
    (
        Step::Migrate,
        "FileNotFoundError: [Errno 2] No such file or directory: 'C:\\\\logs\\\\debug.log'",
        "opens `C:",
    ),
    (Step::Migrate, "NameError: name 'Bokk' is not defined. Did you mean: 'Book'?", "uses the name `Bokk`"),
    (Step::Migrate, "RecursionError: maximum recursion depth exceeded", "without an end"),
];

#[test]
fn known_failures() {
    for (step, text, expected) in MESSAGES {
        let cure = of(*step, &format!("before\n{text}\nafter"));
        assert!(cure.cause.contains(expected), "{text}\n{}", cure.cause);
        assert!(!cure.help.is_empty() && !cure.help.contains("``"), "{cure:?}");
        assert_eq!(cure.help.matches('`').count() % 2, 0, "{cure:?}");
        assert_eq!(cure.cause.matches('`').count() % 2, 0, "{cure:?}");
    }
}

#[rstest]
#[case(&[], "")]
#[case(&["KeyError: 'name'", "something else"], "")]
#[case(&["No problem was found", "System check identified no issues (0 silenced)."], "")]
fn the_unknown_is_unknown(#[case] lines: &[&str], #[case] _none: &str) {
    assert_eq!(told(Step::Migrate, Some(1), None, &[], &lines.join("\n")), None);
}

#[test]
fn the_last_known_line_tells_among_equals() {
    let cure = of(Step::Migrate, "KeyError: 'A_B'\nModuleNotFoundError: No module named 'yaml'\nx");
    assert_eq!((cure.line, cure.help.contains("`PyYAML`")), (Some(1), true));
}

#[test]
fn a_more_particular_cause_above_wins_over_a_general_one() {
    let chain = "KeyError: 'DB_HOST'\n\nDuring handling of the above exception, another exception occurred:\n\n\
                 Traceback (most recent call last):\ndjango.core.exceptions.ImproperlyConfigured: see above\n\
                 [7] [ERROR] Reason: Worker failed to boot.\ngunicorn did not start. Its last lines:";
    let cure = of(Step::Start, chain);
    assert_eq!((cure.line, cure.page), (Some(0), Some(Page::Environment)), "{cure:?}");
    // What stands far above is of something else.
    let far = format!("KeyError: 'DB_HOST'\n{}ImproperlyConfigured: see above", "x\n".repeat(CHAIN + 5));
    assert_eq!(of(Step::Start, &far).line, Some(CHAIN + 6));
}

#[test]
fn a_cure_names_the_file_that_there_is() {
    let missing = "ModuleNotFoundError: No module named 'crispy_forms'";
    let help = |dependencies| told(Step::Migrate, None, Some(&plan(dependencies)), &[], missing).unwrap();
    assert!(help(requirements()).help.contains("to `requirements/prod.txt`"));
    let none = help(Dependencies::Inferred { list: vec!["Django".into()] });
    assert!(none.cause.contains("nothing in the repository declares"), "{none:?}");
    assert!(none.help.contains("a `requirements.txt` beside `manage.py`"), "{none:?}");
    let lock = Dependencies::Listed { path: "Pipfile.lock".into(), list: Vec::new(), names_django: true };
    assert!(help(lock).help.contains("`Pipfile` (then run `pipenv lock`)"));
    let uv = help(Dependencies::Uv { path: "uv.lock".into(), packages: 9 });
    assert!(uv.cause.contains("`uv.lock`") && uv.help.contains("`uv lock`"), "{uv:?}");
}

#[test]
fn what_was_tried_is_not_advised_as_if_it_were_new() {
    let repaired = ["psycopg2 2.7.5 does not build on Python 3.12; used psycopg2-binary 2.9".to_owned()];
    let cure = told(
        Step::Dependencies,
        Some(1),
        Some(&plan(requirements())),
        &repaired,
        "Error: pg_config executable not found.",
    );
    assert!(cure.unwrap().help.starts_with("this was tried already: psycopg2 2.7.5 does not build"));
}

#[test]
fn how_it_ended_tells_where_the_lines_do_not() {
    let by = |code, text| told(Step::Dependencies, Some(code), Some(&plan(requirements())), &[], text);
    assert!(by(137, "Building").unwrap().cause.contains("out of memory"));
    assert!(by(124, "Building").unwrap().cause.contains("longer than"));
    assert_eq!(by(1, "Building"), None);
    assert!(by(137, "No space left on device").unwrap().cause.contains("disk is full"));
    assert_eq!(by(124, "Building").unwrap().line, None);
}

#[test]
fn the_button_is_called_as_it_is() {
    let lines = ["ModuleNotFoundError: No module named 'yaml'".to_owned()];
    let plan = plan(requirements());
    let of = |status| {
        let context = Context { step: Step::Migrate, code: None, plan: Some(&plan), repaired: &[], status };
        find(&lines, &context).unwrap().help
    };
    assert!(of(Status::Failed).ends_with("push to `main`, then choose Try again."));
    assert!(of(Status::Live).ends_with("choose Redeploy."));
    assert!(of(Status::Terminated).ends_with("deploy again."));
}

#[test]
fn what_a_project_prints_cannot_end_the_code_it_is_shown_in() {
    let cure = of(Step::Migrate, "ImproperlyConfigured: `a` <b> `");
    assert_eq!(cure.cause, "The settings are not complete: `'a' <b> '`");
    let long = of(Step::Migrate, &format!("ImproperlyConfigured: {}", "ä".repeat(1000)));
    assert!(long.cause.len() < 500, "{}", long.cause);
}
