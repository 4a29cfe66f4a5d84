//! Kinds that take longer, or are seldom: `./scripts/test.sh --all` deploys them too.

use super::{
    kind::{
        Comes::{Live, LiveOnce},
        Edit::{Append, Move, Replace, Utf16, Write},
        Kind,
    },
    table::{APPS, DJANGO, POSTGRESQL, SETTINGS, SQLITE, live},
};

/// Packages that bring much, in the versions of some years ago.
pub const DEPENDENCIES: [Kind; 5] = [
    live(
        "freeze",
        "a freeze of all that its author ever installed, of 2022, by PowerShell",
        &[Utf16("requirements.txt", include_str!("files/freeze.txt"))],
        &["UTF-16", "==4.1.3"],
    ),
    live(
        "wagtail",
        "Wagtail, of which no dependency is declared",
        &[Replace(
            SETTINGS,
            APPS,
            "    'wagtail.users',\n    'wagtail.images',\n    'wagtail.documents',\n    'wagtail.admin',\n    'wagtail',\n    'modelcluster',\n    'taggit',\n    'catalog',\n]\nWAGTAIL_SITE_NAME = 'shop'\nWAGTAILADMIN_BASE_URL = 'http://localhost'",
        )],
        &["wagtail", "django-taggit"],
    ),
    live(
        "conflict",
        "two pins of which one forbids the other",
        &[Write("requirements.txt", "Django==5.2.8\nrequests==2.25.1\nurllib3==2.2.0\n")],
        &["Repaired", "urllib3"],
    ),
    live(
        "several",
        "a Pipfile, a pyproject.toml and requirements.txt, each with Django",
        &[
            Write("Pipfile", include_str!("files/Pipfile")),
            Write(
                "pyproject.toml",
                "[project]\nname = 'shop'\nversion = '1'\ndependencies = ['django>=5']\n",
            ),
            Write("shop/requirements.txt", "Django==5.2.8\n"),
        ],
        &["beside manage.py", "pyproject.toml"],
    ),
    live(
        "python",
        "a Python that is not the image's, and may not be had",
        &[DJANGO, Write(".python-version", "3.13\n")],
        &["3.13"],
    ),
];

/// What was written for an older Django.
pub const OLD: [Kind; 3] = [
    live(
        "url",
        "code for Django 3, with no version of it declared",
        &[
            Write("requirements.txt", "django\n"),
            Replace(
                "shop/config/urls.py",
                "from django.urls import path\n",
                "from django.conf.urls import url\n",
            ),
            Replace("shop/config/urls.py", "path('', home)", "url(r'^$', home)"),
            Replace("shop/config/urls.py", "path('admin/'", "url(r'^admin/'"),
        ],
        &["Repaired", "does not have url any more", "django 3.2"],
    ),
    live(
        "ancient",
        "Django 1.11, which needs a Python that may not be had",
        &[
            Write("requirements.txt", "Django==1.11.29\npytz==2019.3\n"),
            Replace(SETTINGS, "BASE_DIR / 'db.sqlite3'", "os.path.join(str(BASE_DIR), 'db.sqlite3')"),
            Replace("shop/catalog/migrations/0001_initial.py", "BigAutoField", "AutoField"),
            Replace(
                "shop/config/urls.py",
                "from django.urls import path\n",
                "from django.conf.urls import url\n",
            ),
            Replace("shop/config/urls.py", "path('', home)", "url(r'^$', home)"),
            Replace("shop/config/urls.py", "path('admin/'", "url(r'^admin/'"),
        ],
        &["1.11.29"],
    ),
    live(
        "psycopg2",
        "PostgreSQL with a driver of 2018, which is built from source",
        &[
            Write("requirements.txt", "Django==3.2.25\npsycopg2==2.7.5\n"),
            Replace(SETTINGS, SQLITE, POSTGRESQL),
        ],
        &["PostgreSQL", "psycopg2 2.7.5", "psycopg2-binary"],
    ),
];

/// Projects from the templates that many use, and of other systems.
pub const MADE_BY_OTHERS: [Kind; 8] = [
    Kind {
        name: "cookiecutter",
        what: "settings of a template: a package with a production part that demands variables",
        edits: &[
            Write(
                "requirements/base.txt",
                "Django==5.2.8\ndjango-environ==0.11.2\ndjangorestframework==3.16.0\ncelery==5.5.3\nredis==5.2.1\ndjango-redis==5.4.0\nwhitenoise==6.8.2\npsycopg[binary]==3.2.13\n",
            ),
            Write("requirements/local.txt", "-r base.txt\nwerkzeug\nipdb\n"),
            Write("requirements/production.txt", "-r base.txt\ngunicorn==22.0.0\ndjango-anymail==12.0\n"),
            Move(SETTINGS, "shop/config/settings/base.py"),
            Replace(
                "shop/config/settings/base.py",
                "import os\nfrom pathlib import Path\n\nBASE_DIR = Path(__file__).resolve().parent.parent",
                "from pathlib import Path\n\nimport environ\n\nBASE_DIR = Path(__file__).resolve().parent.parent.parent\nenv = environ.Env()",
            ),
            Replace(
                "shop/config/settings/base.py",
                "DATABASES = {\n    'default': {\n        'ENGINE': 'django.db.backends.sqlite3',\n        'NAME': BASE_DIR / 'db.sqlite3',\n    }\n}",
                "DATABASES = {'default': env.db('DATABASE_URL', default='postgres:///shop')}\nDATABASES['default']['ATOMIC_REQUESTS'] = True",
            ),
            Replace("shop/config/settings/base.py", APPS, "    'rest_framework',\n    'catalog',\n]"),
            Write("shop/config/settings/__init__.py", ""),
            Write(
                "shop/config/settings/local.py",
                "from .base import *  # noqa\n\nSECRET_KEY = env('DJANGO_SECRET_KEY', default='local')\nDEBUG = True\n",
            ),
            Write("shop/config/settings/production.py", PRODUCTION),
            Replace("shop/manage.py", "config.settings'", "config.settings.local'"),
            Replace("shop/config/wsgi.py", "config.settings'", "config.settings.production'"),
        ],
        typed: &[],
        comes: LiveOnce(&[("env.DJANGO_SERVER_EMAIL", "shop@example.com"), ("env.MAILGUN_API_KEY", "key-1")]),
        told: &["config.settings.production", "PostgreSQL"],
    },
    live(
        "no-database",
        "a database only where variables that nobody has set name it",
        &[
            Write("requirements.txt", "Django==5.2.8\npsycopg2-binary==2.9.10\n"),
            Replace(
                SETTINGS,
                SQLITE,
                "        'ENGINE': 'django.db.backends.postgresql',\n        'NAME': os.environ.get('DB_NAME'),\n",
            ),
            Replace(SETTINGS, "DATABASES = {\n", "if os.environ.get('DB_NAME'):\n  DATABASES = {\n"),
        ],
        &["PostgreSQL"],
    ),
    live(
        "channels",
        "an ASGI application with channels and a channel layer",
        &[
            Write(
                "requirements.txt",
                "Django==5.2.8\nchannels==4.2.0\ndaphne==4.1.2\nchannels-redis==4.2.1\n",
            ),
            Replace(
                SETTINGS,
                APPS,
                "    'channels',\n    'catalog',\n]\nASGI_APPLICATION = 'config.asgi.application'",
            ),
            Append(
                SETTINGS,
                "\nCHANNEL_LAYERS = {'default': {'BACKEND': 'channels_redis.core.RedisChannelLayer', 'CONFIG': {'hosts': [('127.0.0.1', 6379)]}}}\n",
            ),
            Write(
                "shop/config/asgi.py",
                "import os\n\nfrom channels.routing import ProtocolTypeRouter\nfrom django.core.asgi import get_asgi_application\n\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'config.settings')\napplication = ProtocolTypeRouter({'http': get_asgi_application()})\n",
            ),
        ],
        &[],
    ),
    live(
        "capitals",
        "templates and static files in directories with capitals, as Windows takes them",
        &[
            DJANGO,
            Move("shop/catalog/templates", "shop/catalog/Templates"),
            Move("shop/catalog/static", "shop/catalog/Static"),
        ],
        &["Repaired", "Templates"],
    ),
    live(
        "users",
        "a model of its own for users, without migrations, on PostgreSQL",
        &[
            Write("requirements.txt", "Django==5.2.8\npsycopg2-binary==2.9.10\n"),
            Replace(SETTINGS, SQLITE, POSTGRESQL),
            Write("shop/people/__init__.py", ""),
            Write(
                "shop/people/models.py",
                "from django.contrib.auth.models import AbstractUser\n\n\nclass User(AbstractUser):\n    pass\n",
            ),
            Replace(SETTINGS, APPS, "    'people',\n    'catalog',\n]\nAUTH_USER_MODEL = 'people.User'"),
        ],
        &["PostgreSQL", "people"],
    ),
    live(
        "asks-early",
        "a form that asks the database while its module is imported, and scripts named as Python's own modules are",
        &[
            DJANGO,
            Write("calendar.py", "raise SystemExit('a script')\n"),
            Write("email.py", "raise SystemExit('a script')\n"),
            Append(
                "shop/catalog/views.py",
                "\n\nNAMES = [product.name for product in Product.objects.all()]\n",
            ),
        ],
        &["own checks find fault"],
    ),
    live(
        "wsgi",
        "a wsgi.py for another server",
        &[
            DJANGO,
            Replace(
                "shop/config/wsgi.py",
                "import os\n",
                "import os\n\nexec(open('/home/mira/venv/bin/activate_this.py').read())\n",
            ),
        ],
        &["own entry is used"],
    ),
    Kind {
        name: "static-root",
        what: "stylesheets are where the settings gather static files, with a manifest",
        edits: &[
            DJANGO,
            Move("shop/catalog/static", "shop/static"),
            Append(
                SETTINGS,
                "\nSTATIC_ROOT = BASE_DIR / 'static'\nSTORAGES = {'default': {'BACKEND': 'django.core.files.storage.FileSystemStorage'}, 'staticfiles': {'BACKEND': 'django.contrib.staticfiles.storage.ManifestStaticFilesStorage'}}\n",
            ),
        ],
        typed: &[],
        comes: Live,
        told: &[],
    },
];

const PRODUCTION: &str = "from .base import *  # noqa

SECRET_KEY = env('DJANGO_SECRET_KEY')
ALLOWED_HOSTS = env.list('DJANGO_ALLOWED_HOSTS', default=['example.com'])
DEBUG = False
CACHES = {
    'default': {
        'BACKEND': 'django_redis.cache.RedisCache',
        'LOCATION': env('REDIS_URL', default='redis://127.0.0.1:6379/0'),
        'OPTIONS': {'CLIENT_CLASS': 'django_redis.client.DefaultClient', 'IGNORE_EXCEPTIONS': True},
    }
}
SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'https')
SECURE_SSL_REDIRECT = env.bool('DJANGO_SECURE_SSL_REDIRECT', default=True)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
SESSION_COOKIE_NAME = '__Secure-sessionid'
CSRF_COOKIE_NAME = '__Secure-csrftoken'
STORAGES = {
    'default': {'BACKEND': 'django.core.files.storage.FileSystemStorage'},
    'staticfiles': {'BACKEND': 'whitenoise.storage.CompressedManifestStaticFilesStorage'},
}
MIDDLEWARE.insert(1, 'whitenoise.middleware.WhiteNoiseMiddleware')
SERVER_EMAIL = env('DJANGO_SERVER_EMAIL')
INSTALLED_APPS += ['anymail']
EMAIL_BACKEND = 'anymail.backends.mailgun.EmailBackend'
ANYMAIL = {'MAILGUN_API_KEY': env('MAILGUN_API_KEY')}
LOGGING = {
    'version': 1,
    'disable_existing_loggers': False,
    'filters': {'require_debug_false': {'()': 'django.utils.log.RequireDebugFalse'}},
    'formatters': {'verbose': {'format': '%(levelname)s %(asctime)s %(module)s %(message)s'}},
    'handlers': {
        'mail_admins': {
            'level': 'ERROR',
            'filters': ['require_debug_false'],
            'class': 'django.utils.log.AdminEmailHandler',
        },
        'console': {'level': 'DEBUG', 'class': 'logging.StreamHandler', 'formatter': 'verbose'},
    },
    'root': {'level': 'INFO', 'handlers': ['console']},
}
";
