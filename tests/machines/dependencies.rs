//! What projects ask to be installed, as real ones write it down: odd, forgotten, of another year.

use serde_json::Value;

use crate::{person::Person, repository::Repository, site::Site};

/// What PowerShell makes of a text.
fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// The settings of the plain project with more apps.
fn settings(repository: &Repository, apps: &[&str]) -> Vec<u8> {
    let apps: String = apps.iter().map(|app| format!("\n    '{app}',")).collect();
    let text = repository.read("mysite/mysite/settings.py");
    text.replacen("INSTALLED_APPS = [", &format!("INSTALLED_APPS = [{apps}"), 1).into_bytes()
}

/// Redeploys what was committed, and waits until it is live; gives the page's text and the log.
async fn live_again(person: &Person, name: &str) -> (String, String) {
    person.redeploy(name).await;
    person.wait(name, 20, |info| info["status"] == "deploying").await;
    person.wait(name, 300, |info| info["status"] == "live").await;
    let info = person.info(name).await;
    assert_eq!(info["error"], Value::Null, "{}", person.get(&format!("/instances/{name}/log")).await.text);
    told(person, name).await
}

async fn told(person: &Person, name: &str) -> (String, String) {
    let page = person.get(&format!("/instances/{name}")).await.text;
    (page, person.get(&format!("/instances/{name}/log")).await.text)
}

/// Asserts that the log has each of these, and the page too where it is a mark's text.
fn has(told: &(String, String), wanted: &[&str]) {
    for text in wanted {
        assert!(told.1.contains(text), "the log does not say {text:?}:\n{}", told.1);
    }
}

/// A file of the environment that a release has.
async fn in_environment(site: &Site, info: &Value, release: &str, pattern: &str) -> String {
    let command = format!("ls -d /srv/app/{release}/venv/lib/python3*/site-packages/{pattern}");
    site.exec(info["instance_id"].as_str().unwrap(), &["bash", "-c", &command]).await.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_install_or_is_forgotten_is_repaired_and_told() {
    let (site, mira) = Site::start("dependencies").await;
    let repository = Repository::of(&site, "odd", "tests/machines/projects/plain");
    let image =
        b"from django.db import models\n\n\nclass Photo(models.Model):\n    file = models.ImageField()\n";
    repository.commit(
        "Forget some",
        &[
            (
                "requirements.txt",
                &utf16("Django==5.2.8\r\n-r more.txt\r\npywin32==306\r\npkg-resources==0.0.0\r\n"),
            ),
            ("more.txt", &utf16("MarkupSafe==1.0 # of 2017\r\npsycopg2==2.9.9\r\n")),
            ("mysite/mysite/settings.py", &settings(&repository, &["shelf", "crispy_forms"])),
            ("mysite/shelf/__init__.py", b""),
            ("mysite/shelf/models.py", image),
        ],
    );
    let name = mira.deploy(&repository.url, "mysite").await;
    let info = mira.until(&name, "live", 300).await;
    let first = told(&mira, &name).await;
    has(
        &first,
        &[
            "markupsafe 1.0 does not build on Python 3.11; markupsafe 3.",
            "django-crispy-forms 2.",
            "the project names crispy_forms",
            "its image fields need it",
            "for another system than Linux, or of its own: pywin32",
        ],
    );
    assert!(first.0.contains("its image fields need it"), "the page tells of repairs:\n{}", first.0);
    assert!(
        in_environment(&site, &info, "current", "psycopg2-2.9.9.dist-info").await.contains("psycopg2-2.9.9")
    );

    // The same list, and one more app that it forgets: the release before keeps its environment as it was.
    repository.commit("Tweak", &[("mysite/mysite/settings.py", &settings(&repository, &["widget_tweaks"]))]);
    let second = live_again(&mira, &name).await;
    has(&second, &["serves this one too", "django-widget-tweaks", "django-crispy-forms 2."]);
    assert_ne!(in_environment(&site, &info, "current", "widget_tweaks").await, "");
    assert_eq!(in_environment(&site, &info, "releases/1", "widget_tweaks").await, "");
    assert_ne!(in_environment(&site, &info, "releases/1", "crispy_forms").await, "");

    // A name that nobody has, two words on one package, and a package that builds here and does not load.
    let models = [b"import psycopg2\n", &image[..]].concat();
    repository.commit(
        "Ask for too much",
        &[
            ("requirements.txt", b"Django==5.2.8\nasgiref==3.7.0\nsqlparse==0.5.0\nsqlparse==0.5.1\nno-such-thing-ec\npsycopg2-binary==2.8.6\n"),
            ("mysite/shelf/models.py", &models),
        ],
    );
    let third = live_again(&mira, &name).await;
    has(
        &third,
        &[
            "the project asks for asgiref==3.7.0: asgiref 3.7.0 is installed",
            "sqlparse is asked for twice",
            "no-such-thing-ec is not on the package index, so it is left out",
            "psycopg2-binary 2.8.6 was built here and does not load; psycopg2-binary 2.9.",
        ],
    );
}

const PYPROJECT: &[u8] = b"[project]
name = \"mysite\"
version = \"1\"
requires-python = \">=3.11\"
dependencies = [\"Django==5.2.7\", \"idna==3.10\"]
";
const LOCK: &[u8] = b"version = 1
revision = 3
requires-python = \">=3.11\"

[[package]]
name = \"asgiref\"
version = \"3.8.1\"
source = { registry = \"https://pypi.org/simple\" }

[[package]]
name = \"django\"
version = \"5.2.6\"
source = { registry = \"https://pypi.org/simple\" }
dependencies = [{ name = \"asgiref\" }, { name = \"sqlparse\" }]

[[package]]
name = \"mysite\"
version = \"1\"
source = { virtual = \".\" }
dependencies = [{ name = \"django\" }]

[package.dev-dependencies]
dev = [{ name = \"idna\" }]

[package.metadata]
requires-dist = [{ name = \"django\" }]

[[package]]
name = \"idna\"
version = \"3.10\"
source = { registry = \"https://pypi.org/simple\" }

[[package]]
name = \"sqlparse\"
version = \"0.5.1\"
source = { registry = \"https://pypi.org/simple\" }
";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_elsewhere_than_in_requirements_is_installed_and_what_is_not_pinned_is_of_its_time()
{
    let (site, mira) = Site::start("declared").await;
    let repository = Repository::of(&site, "declared", "tests/machines/projects/plain");
    repository.commit("Declare", &[("pyproject.toml", PYPROJECT)]);
    let name = mira.deploy(&repository.url, "mysite").await;
    mira.until(&name, "live", 300).await;
    has(&told(&mira, &name).await, &["django 5.2.7", "idna 3.10"]);

    repository.commit("Lock", &[("uv.lock", LOCK)]);
    let locked = live_again(&mira, &name).await;
    has(&locked, &["asgiref 3.8.1, django 5.2.6", "sqlparse 0.5.1"]);
    assert!(!locked.1.contains("idna 3.10"), "what is for developers is not installed:\n{}", locked.1);

    // Nothing is declared: what the settings name is inferred.
    for path in ["pyproject.toml", "uv.lock"] {
        repository.remove(path);
    }
    let inferred = settings(&repository, &["crispy_forms"]);
    repository.commit("Declare nothing", &[("mysite/mysite/settings.py", &inferred)]);
    has(&live_again(&mira, &name).await, &["django-crispy-forms 1.14"]);

    // A release of jinja2 of today breaks a project of 2021 that does not pin it; a Python that cannot be had is told.
    let urls = repository.read("mysite/mysite/urls.py");
    repository.commit_at(
        "Of its time",
        &[
            ("requirements.txt", b"Django==3.2.7\njinja2\ndjango-crispy-forms\n"),
            (".python-version", b"3.7.99\n"),
            ("mysite/mysite/urls.py", format!("{urls}\nfrom jinja2 import Markup\n").as_bytes()),
        ],
        Some("2021-10-01T12:00:00+00:00"),
    );
    let old = live_again(&mira, &name).await;
    has(&old, &["as of its commit's date, 2021-10-01", "jinja2 3.0.1"]);
    assert!(old.0.contains("3.7.99, which cannot be had any more"), "the page tells of it:\n{}", old.0);
    assert!(old.0.contains("as of its commit"), "the page tells of it:\n{}", old.0);
}
