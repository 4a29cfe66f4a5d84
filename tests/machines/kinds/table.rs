//! The kinds of repositories, those of `docs/real-projects.md`.

use super::kind::{
    Comes::{Fails, Live, LiveOnce, LiveWithoutHome, Refused},
    Edit::{self, Append, Move, Remove, Replace, Utf16, Write},
    Kind,
};

pub const SETTINGS: &str = "shop/config/settings.py";
const HOSTS: &str = "ALLOWED_HOSTS = []";
pub const APPS: &str = "    'catalog',\n]";
pub const SQLITE: &str =
    "        'ENGINE': 'django.db.backends.sqlite3',\n        'NAME': BASE_DIR / 'db.sqlite3',\n";
pub const DJANGO: Edit = Write("requirements.txt", "Django==5.2.8\n");

/// A kind that is live with the two inputs and nothing else.
pub const fn live(
    name: &'static str,
    what: &'static str,
    edits: &'static [Edit],
    told: &'static [&'static str],
) -> Kind {
    Kind { name, what, edits, typed: &[], comes: Live, told }
}

/// Dependencies: where they are declared, how, and not at all.
pub const DEPENDENCIES: [Kind; 11] = [
    live(
        "nothing",
        "no dependencies declared; the inner package is not called as the directory",
        &[],
        &["none declared: Django alone"],
    ),
    live(
        "imports",
        "no dependencies declared; apps and modules of other packages are used",
        &[
            Replace(
                SETTINGS,
                APPS,
                "    'rest_framework',\n    'crispy_forms',\n    'catalog',\n]\nCRISPY_TEMPLATE_PACK = 'uni_form'",
            ),
            Replace("shop/catalog/views.py", "from .models", "import markdown\n\nfrom .models"),
            Append(
                "shop/catalog/models.py",
                "\n\nclass Picture(models.Model):\n    file = models.ImageField(upload_to='pictures')\n",
            ),
            Write("shop/catalog/migrations/0002_picture.py", PICTURE),
        ],
        &["djangorestframework", "django-crispy-forms", "arkdown", "illow"],
    ),
    live(
        "utf16",
        "requirements.txt at the root in UTF-16 with a byte-order mark",
        &[Utf16("requirements.txt", "Django==5.2.8\r\nsqlparse>=0.3\r\n")],
        &["UTF-16", "==5.2.8"],
    ),
    live(
        "beside",
        "requirements.txt beside manage.py, another at the root that names no Django",
        &[
            Write("shop/requirements.txt", "\u{feff}Django==5.2.8\n"),
            Write("requirements.txt", "black\nruff\n"),
        ],
        &["beside manage.py"],
    ),
    live(
        "folder",
        "requirements/production.txt that includes base.txt and is held by constraints",
        &[
            Write("requirements/base.txt", "-c constraints.txt\nDjango>=5\n"),
            Write("requirements/constraints.txt", "Django==5.2.8\nblack==1\n"),
            Write("requirements/production.txt", "-r base.txt\ndjango-crispy-forms\n"),
            Write("requirements/dev.txt", "-r base.txt\nnosuchpackage-for-development\n"),
        ],
        &["production.txt"],
    ),
    live(
        "pep621",
        "pyproject.toml with [project]",
        &[Write(
            "pyproject.toml",
            "[project]\nname = 'shop'\nversion = '1'\nrequires-python = '>=3.10'\ndependencies = ['django>=5.2,<5.3']\n",
        )],
        &["pyproject.toml"],
    ),
    live(
        "poetry",
        "poetry.lock beside its pyproject.toml",
        &[
            Write("pyproject.toml", include_str!("files/poetry.pyproject.toml")),
            Write("poetry.lock", include_str!("files/poetry.lock")),
        ],
        &["poetry.lock"],
    ),
    live(
        "uv",
        "uv.lock beside its pyproject.toml",
        &[
            Write("pyproject.toml", include_str!("files/uv.pyproject.toml")),
            Write("uv.lock", include_str!("files/uv.lock")),
        ],
        &["uv.lock"],
    ),
    live(
        "pipfile",
        "Pipfile.lock, and an older requirements.txt without Django",
        &[
            Write("Pipfile", include_str!("files/Pipfile")),
            Write("Pipfile.lock", include_str!("files/Pipfile.lock")),
            Write("requirements.txt", "black\n"),
        ],
        &["Pipfile.lock"],
    ),
    live(
        "conda",
        "a dump of conda with paths of its author's computer",
        &[Write(
            "requirements.txt",
            "anaconda-client==1.12.0\nasgiref @ file:///home/conda/feedstock_root/asgiref_1605055780383/work\nDjango @ file:///tmp/build/80754af9/django_1613762073373/work\nmkl-fft==1.3.1\nnumpy @ file:///D:/bld/numpy_1651020388495/work\n",
        )],
        &["Django"],
    ),
    live(
        "forgotten",
        "requirements.txt forgets an app that is installed",
        &[
            DJANGO,
            Replace(
                SETTINGS,
                APPS,
                "    'crispy_forms',\n    'catalog',\n]\nCRISPY_TEMPLATE_PACK = 'uni_form'",
            ),
        ],
        &["Repaired", "django-crispy-forms"],
    ),
];

const PICTURE: &str = "from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('catalog', '0001_initial')]
    operations = [
        migrations.CreateModel(
            name='Picture',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('file', models.ImageField(upload_to='pictures')),
            ],
        ),
    ]
";

/// Settings: where they are, and what they say that would keep a visitor out.
pub const SETTINGS_KINDS: [Kind; 12] = [
    live(
        "package",
        "settings are a package, and manage.py computes which",
        &[
            DJANGO,
            Move(SETTINGS, "shop/config/settings/base.py"),
            Replace(
                "shop/config/settings/base.py",
                "resolve().parent.parent",
                "resolve().parent.parent.parent",
            ),
            Write("shop/config/settings/__init__.py", ""),
            Write("shop/config/settings/local.py", "from .base import *\nDEBUG = True\n"),
            Write(
                "shop/config/settings/production.py",
                "from .base import *\nDEBUG = False\nALLOWED_HOSTS = ['shop.example.com']\n",
            ),
            Replace(
                "shop/manage.py",
                "'config.settings')",
                "'config.settings.' + os.environ.get('DJANGO_ENV', 'production'))",
            ),
        ],
        &["config.settings.production"],
    ),
    live(
        "configuraciones",
        "settings by an unusual name, wsgi.py names a module that is missing",
        &[
            DJANGO,
            Write("shop/configuraciones/__init__.py", ""),
            Move(SETTINGS, "shop/configuraciones/local.py"),
            Replace("shop/manage.py", "config.settings", "configuraciones.local"),
        ],
        &["configuraciones.local"],
    ),
    live(
        "root",
        "settings and apps import from the repository's root as well",
        &[
            DJANGO,
            Write("common/__init__.py", ""),
            Write("common/names.py", "SHOP = 'the shop'\n"),
            Append(SETTINGS, "\nfrom common.names import SHOP\n"),
            Replace(
                "shop/catalog/views.py",
                "from .models",
                "from common.names import SHOP\nfrom shop.catalog import apps as _\n\nfrom .models",
            ),
            Write("shop/catalog/apps.py", ""),
        ],
        &[],
    ),
    live(
        "dotenv",
        "a committed .env that python-decouple reads",
        &[
            Write("requirements.txt", "Django==5.2.8\npython-decouple==3.8\n"),
            Write("shop/.env", "SECRET_KEY=committed-by-mistake\nGREETING=hello\n"),
            Replace(SETTINGS, "import os\n", "from decouple import config\n"),
            Append(
                SETTINGS,
                "\nGREETING = config('GREETING')\nSECRET_KEY = config('SECRET_KEY')\nDEBUG = config('DEBUG', default=True, cast=bool)\n",
            ),
        ],
        &[],
    ),
    live(
        "no-dotenv",
        "a .env is read that is not committed; what it would give has meanings that are known",
        &[
            Write("requirements.txt", "Django==5.2.8\ndjango-environ==0.11.2\n"),
            Replace(SETTINGS, "import os\n", "import environ\n"),
            Append(
                SETTINGS,
                "\nenv = environ.Env()\nenviron.Env.read_env(BASE_DIR / '.env')\nSECRET_KEY = env('SECRET_KEY')\nDEBUG = env.bool('DEBUG')\nALLOWED_HOSTS = env.list('ALLOWED_HOSTS')\nDATABASES = {'default': env.db('DATABASE_URL')}\n",
            ),
        ],
        &["made for you"],
    ),
    Kind {
        name: "demands",
        what: "settings demand variables whose meaning only the owner knows",
        edits: &[
            DJANGO,
            Append(
                SETTINGS,
                "\nSECRET_KEY = os.environ['SECRET_KEY']\nSTRIPE_SECRET_KEY = os.environ['STRIPE_SECRET_KEY']\nSITE_NAME = os.environ['SITE_NAME']\nPAGE = int(os.environ.get('PAGE_SIZE'))\nSENTRY = os.environ.get('SENTRY_DSN')\n",
            ),
        ],
        typed: &[],
        comes: LiveOnce(&[
            ("env.STRIPE_SECRET_KEY", "sk_test_1"),
            ("env.SITE_NAME", "Teapots"),
            ("env.PAGE_SIZE", "20"),
        ]),
        told: &[],
    },
    live(
        "https-only",
        "redirects to https, cookies for https only, hosts with URLs in them",
        &[
            DJANGO,
            Replace(SETTINGS, HOSTS, "ALLOWED_HOSTS = ['https://shop.example.com/', 'localhost']"),
            Append(
                SETTINGS,
                "\nSECURE_SSL_REDIRECT = True\nSESSION_COOKIE_SECURE = True\nCSRF_COOKIE_SECURE = True\nSECURE_HSTS_SECONDS = 31536000\nCSRF_TRUSTED_ORIGINS = ['https://shop.example.com']\n",
            ),
        ],
        &[],
    ),
    live(
        "whitenoise",
        "whitenoise with a manifest, and a stylesheet that names a file that is missing",
        &[
            Write("requirements.txt", "Django==5.2.8\nwhitenoise==6.8.2\n"),
            Replace(
                SETTINGS,
                "    'django.contrib.sessions.middleware",
                "    'whitenoise.middleware.WhiteNoiseMiddleware',\n    'django.contrib.sessions.middleware",
            ),
            Append(
                SETTINGS,
                "\nSTATIC_ROOT = BASE_DIR / 'staticfiles'\nSTORAGES = {'default': {'BACKEND': 'django.core.files.storage.FileSystemStorage'}, 'staticfiles': {'BACKEND': 'whitenoise.storage.CompressedManifestStaticFilesStorage'}}\n",
            ),
            Append("shop/catalog/static/catalog/shop.css", "body { background: url('missing.png') }\n"),
        ],
        &["Found"],
    ),
    live(
        "toolbar",
        "the debug toolbar in apps, middleware and URLs",
        &[
            Write("requirements.txt", "Django==5.2.8\ndjango-debug-toolbar==5.2.0\n"),
            Replace(SETTINGS, APPS, "    'debug_toolbar',\n    'catalog',\n]\nINTERNAL_IPS = ['127.0.0.1']"),
            Replace(
                SETTINGS,
                "MIDDLEWARE = [",
                "MIDDLEWARE = [\n    'debug_toolbar.middleware.DebugToolbarMiddleware',",
            ),
            Replace("shop/config/urls.py", "import path", "import include, path"),
            Replace(
                "shop/config/urls.py",
                "    path('admin/'",
                "    path('__debug__/', include('debug_toolbar.urls')),\n    path('admin/'",
            ),
        ],
        &[],
    ),
    live(
        "debug-urls",
        "URLs that are there with DEBUG alone, and a log in a file",
        &[
            DJANGO,
            Replace(
                "shop/config/urls.py",
                "urlpatterns = [",
                "from django.conf import settings\n\nif settings.DEBUG:\n  urlpatterns = [",
            ),
            Append(
                SETTINGS,
                "\nLOGGING = {'version': 1, 'handlers': {'file': {'class': 'logging.FileHandler', 'filename': BASE_DIR / 'shop.log'}}, 'loggers': {'django': {'handlers': ['file']}}}\n",
            ),
        ],
        &["DEBUG stays"],
    ),
    live(
        "unmigrated",
        "an app with models and no migrations",
        &[DJANGO, Remove("shop/catalog/migrations")],
        &["Found"],
    ),
    live(
        "cache",
        "a redis cache, sessions in it, and a log file in a directory that is not there",
        &[
            Write("requirements.txt", "Django==5.2.8\nredis==5.2.1\n"),
            Append(
                SETTINGS,
                "\nCACHES = {'default': {'BACKEND': 'django.core.cache.backends.redis.RedisCache', 'LOCATION': 'redis://127.0.0.1:6379/1'}}\nSESSION_ENGINE = 'django.contrib.sessions.backends.cache'\nLOGGING = {'version': 1, 'handlers': {'file': {'class': 'logging.FileHandler', 'filename': BASE_DIR / 'logs/shop.log'}}, 'root': {'handlers': ['file'], 'level': 'INFO'}}\n",
            ),
        ],
        &["Found"],
    ),
];

pub const POSTGRESQL: &str = "        'ENGINE': 'django.db.backends.postgresql',\n        'NAME': 'shop',\n        'USER': 'mira',\n        'PASSWORD': 'secret',\n        'HOST': 'db',\n        'PORT': '5432',\n        'OPTIONS': {'sslmode': 'require'},\n";
const MYSQL: &str = "        'ENGINE': 'django.db.backends.mysql',\n        'NAME': 'shop',\n        'USER': 'root',\n        'PASSWORD': 'root',\n        'HOST': 'localhost',\n        'PORT': '3306',\n";

/// Databases, old pins, pages, and what cannot come up.
pub const OTHERS: [Kind; 9] = [
    live(
        "postgresql",
        "PostgreSQL on a host of its author's, with a hard-coded user; psycopg2 from source",
        &[
            Write("requirements.txt", "Django==5.2.8\npsycopg2==2.9.10\n"),
            Replace(SETTINGS, SQLITE, POSTGRESQL),
        ],
        &["PostgreSQL"],
    ),
    live(
        "mysql",
        "MySQL as root on localhost",
        &[Write("requirements.txt", "Django==5.2.8\nPyMySQL==1.1.1\n"), Replace(SETTINGS, SQLITE, MYSQL)],
        &["MySQL"],
    ),
    Kind {
        name: "chosen",
        what: "PostgreSQL in the settings, SQLite chosen by the owner",
        edits: &[
            Write("requirements.txt", "Django==5.2.8\npsycopg2-binary==2.9.10\n"),
            Replace(SETTINGS, SQLITE, POSTGRESQL),
        ],
        typed: &[("database", "sqlite")],
        comes: Live,
        told: &["SQLite"],
    },
    live(
        "old",
        "Django 2.2 with pins of 2019",
        &[
            Write("requirements.txt", "Django==2.2.28\npytz==2019.3\nsqlparse==0.3.0\nPillow==6.2.1\n"),
            Replace(SETTINGS, "BASE_DIR / 'db.sqlite3'", "os.path.join(str(BASE_DIR), 'db.sqlite3')"),
            Replace("shop/catalog/migrations/0001_initial.py", "BigAutoField", "AutoField"),
        ],
        &["2.2.28"],
    ),
    live(
        "wheels",
        "a pin that does not build on the machine's Python",
        &[Write("requirements.txt", "Django==5.2.8\nPyYAML==5.4.1\n")],
        &["Repaired", "pyyaml 5.4.1"],
    ),
    Kind {
        name: "no-home",
        what: "no page at /",
        edits: &[DJANGO, Replace("shop/config/urls.py", "path('', home)", "path('teapots/', home)")],
        typed: &[],
        comes: LiveWithoutHome,
        told: &["no page at /", "/teapots/"],
    },
    Kind {
        name: "mistake",
        what: "a mistake in the project's own models",
        edits: &[DJANGO, Append("shop/catalog/models.py", "\nPRICES = cheap\n")],
        typed: &[],
        comes: Fails("configure_gunicorn"),
        told: &["NameError"],
    },
    Kind {
        name: "error-page",
        what: "a page that fails for every visitor",
        edits: &[
            DJANGO,
            Replace(
                "shop/catalog/views.py",
                "def home(request):",
                "def home(request):\n    raise ValueError('sold out')",
            ),
        ],
        typed: &[],
        comes: Fails("health"),
        told: &["sold out"],
    },
    Kind {
        name: "too-deep",
        what: "manage.py is not in a direct child of the root",
        edits: &[Move("shop", "src/shop")],
        typed: &[],
        comes: Refused,
        told: &["too deep"],
    },
];
