//! Settings that were written for another machine, over the versions of Django that there are.

use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    person::{Person, hidden},
    repository::Repository,
    site::Site,
};

/// What projects have in their settings that would not do here.
const ODD: &str = "from .base import *

import django
import os

ALLOWED_HOSTS = 'https://example.com/'
CSRF_TRUSTED_ORIGINS = ['example.com']
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
SECURE_HSTS_SECONDS = 31536000
SESSION_COOKIE_DOMAIN = '.example.com'
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = 'None'

# One directory, and neither a list of them nor a tuple.
STATICFILES_DIRS = (os.path.join(str(BASE_DIR), 'assets'))
STATIC_URL = 'assets'
MIDDLEWARE.insert(1, 'whitenoise.middleware.WhiteNoiseMiddleware')
if django.VERSION >= (4, 2):
    STORAGES = {'staticfiles': {'BACKEND': 'whitenoise.storage.CompressedManifestStaticFilesStorage'}}
else:
    STATICFILES_STORAGE = 'whitenoise.storage.CompressedManifestStaticFilesStorage'

CACHES = {'default': {'BACKEND': 'django.core.cache.backends.redis.RedisCache', 'LOCATION': 'redis://redis:6379/0'}}
SESSION_ENGINE = 'django.contrib.sessions.backends.cache'
LOGGING = {
    'version': 1,
    'disable_existing_loggers': False,
    'handlers': {
        'theirs': {'class': 'logging.FileHandler', 'filename': '/var/log/shop/debug.log'},
        'ours': {'class': 'logging.FileHandler', 'filename': os.path.join(str(BASE_DIR), 'logs', 'debug.log')},
    },
    'root': {'handlers': ['theirs', 'ours'], 'level': 'INFO'},
}
DATABASES['default']['OPTIONS'] = {'sslmode': 'require'}
if DEBUG:
    INSTALLED_APPS.append('debug_toolbar')
    MIDDLEWARE.insert(0, 'debug_toolbar.middleware.DebugToolbarMiddleware')
    DEBUG_TOOLBAR_CONFIG = {'SHOW_TOOLBAR_CALLBACK': lambda request: True}
open(os.path.join(str(BASE_DIR), '.env')).close()
";
const URLS: &str = "from django.conf import settings
from django.contrib import admin
from django.shortcuts import render
from django.urls import include, path


def index(request):
    request.session['visits'] = request.session.get('visits', 0) + 1
    return render(request, 'index.html', {'visits': request.session['visits']})


urlpatterns = [path('admin/', admin.site.urls), path('', index)]
if settings.DEBUG:
    urlpatterns += [path('__debug__/', include('debug_toolbar.urls'))]
";
const PAGE: &[u8] = b"{% load static %}<!doctype html><title>Shop</title>
<link rel=\"stylesheet\" href=\"{% static 'shop.css' %}\">
<script src=\"{% static 'gone.js' %}\"></script>
<body><p>{{ visits }} visits</p></body>
";

/// The same project with another Django.
fn pin(repository: &Repository, django: &str) {
    let requirements = format!("Django=={django}\nwhitenoise==5.3.0\ndjango-debug-toolbar\n");
    repository.commit(&format!("Use Django {django}"), &[("requirements.txt", requirements.as_bytes())]);
}

/// Deploys what was committed, and gives the deployment's log.
async fn redeployed(mira: &Person, name: &str) -> String {
    mira.redeploy(name).await;
    mira.wait(name, 20, |info| info["status"] == "deploying").await;
    mira.wait(name, 240, |info| info["status"] == "live").await;
    assert_eq!(mira.info(name).await["error"], Value::Null);
    mira.get(&format!("/instances/{name}/log")).await.text
}

/// A visitor reads the page and its stylesheet, is known when coming back, and an admin can sign in.
async fn serves(site: &Site, mira: &Person, name: &str) {
    let visitor = Person::new(&mira.address(name).await);
    for visit in 1..4 {
        let page = visitor.get("/").await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        assert!(page.text.contains(&format!("<p>{visit} visits</p>")), "{}", page.text);
        assert!(!page.text.contains("djDebug"), "{}", page.text);
        let sheet = page.text.split("href=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        assert!(sheet.starts_with("/assets/shop."), "{sheet}");
        assert!(visitor.get(&sheet).await.text.contains("color"), "{sheet}");
    }

    let id = mira.info(name).await["instance_id"].as_str().unwrap().to_owned();
    let create = "cd /; python3 -IS /opt/ec-deployer/run.py --release $(basename $(readlink /srv/app/current)) env \
                  DJANGO_SUPERUSER_PASSWORD=correct-horse python -m django createsuperuser --noinput --username mira \
                  --email mira@example.com 2>&1";
    site.exec(&id, &["bash", "-c", create]).await;
    let form = visitor.get("/admin/login/").await;
    let token = hidden(&form.text, "csrfmiddlewaretoken").expect("a form");
    let fields =
        [("csrfmiddlewaretoken", token.as_str()), ("username", "mira"), ("password", "correct-horse")];
    let answer =
        visitor.post_to(&format!("{}/admin/login/?next=/admin/", mira.address(name).await), &fields).await;
    assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.text);
    assert!(visitor.get("/admin/").await.text.contains("Site administration"));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_written_for_another_machine_serve_here_with_django_2_2_to_5_2() {
    let (site, mira) = Site::start("overlay").await;
    let repository = Repository::of(&site, "overlay", "tests/machines/projects/plain");
    let base = repository
        .read("mysite/mysite/settings.py")
        .replace(".parent.parent", ".parent.parent.parent")
        .replace("'DIRS': []", "'DIRS': [BASE_DIR / 'pages']");
    let entry = |path| repository.read(path).replace("'mysite.settings'", "'mysite.conf.local'");
    let (wsgi, manage) = (entry("mysite/mysite/wsgi.py"), entry("mysite/manage.py"));
    repository.commit(
        "Write settings for another machine",
        &[
            ("mysite/mysite/conf/__init__.py", b""),
            ("mysite/mysite/conf/base.py", base.as_bytes()),
            ("mysite/mysite/conf/local.py", ODD.as_bytes()),
            ("mysite/mysite/wsgi.py", wsgi.as_bytes()),
            ("mysite/manage.py", manage.as_bytes()),
            ("mysite/mysite/urls.py", URLS.as_bytes()),
            ("mysite/pages/index.html", PAGE),
            ("mysite/assets/shop.css", b"body { color: teal; background: url(nowhere.png) }\n"),
        ],
    );
    pin(&repository, "5.2.8");
    let name = mira.deploy(&repository.url, "mysite").await;
    mira.until(&name, "live", 240).await;
    let log = mira.get(&format!("/instances/{name}/log")).await.text;
    for told in [
        "CSRF_TRUSTED_ORIGINS has example.com",
        "The log handler theirs cannot write to /var/log/shop/debug.log",
        "Nothing answers for the cache default",
        "names the static file nowhere.png, which is not there",
        "The settings insist on a file mysite/.env",
    ] {
        assert!(log.contains(told), "{told}:\n{log}");
    }
    serves(&site, &mira, &name).await;

    for django in ["2.2.28", "3.2.25", "4.2.16"] {
        pin(&repository, django);
        redeployed(&mira, &name).await;
        serves(&site, &mira, &name).await;
    }

    // All pages are there for DEBUG alone: it stays, and the tools of development do not.
    let debug = URLS.replace("urlpatterns = [", "urlpatterns = [] if not settings.DEBUG else [");
    repository.commit("Need DEBUG", &[("mysite/mysite/urls.py", debug.as_bytes())]);
    let log = redeployed(&mira, &name).await;
    assert!(log.contains("so DEBUG stays as the project sets it"), "{log}");
    let visitor = Person::new(&mira.address(&name).await);
    let page = visitor.get("/").await;
    assert!(page.text.contains("<p>1 visits</p>") && !page.text.contains("djDebug"), "{}", page.text);
}
