//! A failure names its step, and Try again goes on from it.

use reqwest::StatusCode;
use serde_json::Value;

use crate::{person::Person, repository::Repository, sample::stylesheets, site::Site};

const BROKEN_MIGRATION: &[u8] = b"from django.db import migrations


def refuse(apps, schema_editor):
    raise RuntimeError('the shelf is too small')


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [migrations.RunPython(refuse)]
";
const GOOD_MIGRATION: &[u8] = b"from django.db import migrations


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = []
";

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_migration_is_named_and_tried_again_on_the_same_machine() {
    let (site, mira) = Site::start("migration").await;
    let repository = Repository::of(&site, "shelf", "tests/machines/projects/plain");
    let settings = repository
        .read("mysite/mysite/settings.py")
        .replace("INSTALLED_APPS = [", "INSTALLED_APPS = [\n    'health',");
    // An app called as one of our own programs on the machine is.
    repository.commit(
        "Add a shelf",
        &[
            ("mysite/mysite/settings.py", settings.as_bytes()),
            ("mysite/health/__init__.py", b""),
            ("mysite/health/models.py", b""),
            ("mysite/health/migrations/__init__.py", b""),
            ("mysite/health/migrations/0001_initial.py", BROKEN_MIGRATION),
        ],
    );
    let name = mira.deploy(&repository.url, "mysite").await;
    let failed = mira.wait(&name, 180, |info| info["status"] == "failed").await;
    assert_eq!(failed["error"]["step"], "migrate", "{failed:#}");
    assert!(failed["error"]["message"].as_str().unwrap().contains("the shelf is too small"), "{failed:#}");
    let page = mira.get(&format!("/instances/{name}")).await.text;
    assert!(page.contains("the shelf is too small") && page.contains("Try again"), "{page}");

    repository
        .commit("Make the shelf larger", &[("mysite/health/migrations/0001_initial.py", GOOD_MIGRATION)]);
    mira.redeploy(&name).await;
    let tried = |info: &Value| info["status"] == "live";
    let live = wait_past_failure(&mira, &name, tried).await;
    assert_eq!(live["instance_id"], failed["instance_id"], "the same machine");
    assert_eq!(live["error"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_second_commit_leaves_the_first_page_and_its_css_serving() {
    let (site, mira) = Site::start("second").await;
    let repository = Repository::of(&site, "book", "samples/guestbook");
    let name = mira.deploy(&repository.url, "guestbook").await;
    mira.until(&name, "live", 180).await;
    let visitor = Person::new(&mira.address(&name).await);
    let first = visitor.get("/").await;
    let sheet = stylesheets(&first.text).into_iter().next().expect("a stylesheet");
    let style = visitor.get(&sheet).await.text;

    let urls = repository.read("guestbook/config/urls.py");
    repository.commit(
        "Break the pages and the style",
        &[
            (
                "guestbook/config/urls.py",
                format!("{urls}\nraise RuntimeError('half a thought')\n").as_bytes(),
            ),
            ("guestbook/entries/static/entries/guestbook.css", b"body { display: none }\n"),
        ],
    );
    mira.redeploy(&name).await;
    let failed = mira.wait(&name, 180, |info| info["error"] != Value::Null).await;
    assert_eq!(failed["status"], "live", "the first release goes on serving: {failed:#}");
    let after = visitor.get("/").await;
    assert_eq!(after.status, StatusCode::OK);
    assert_eq!(visitor.get(&sheet).await.text, style);
    assert!(mira.get(&format!("/instances/{name}")).await.text.contains("goes on serving"));
}

const NEW_TABLE: &[u8] = b"from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [('entries', '0001_initial')]
    operations = [migrations.RunSQL('CREATE TABLE half_done (id integer)')]
";
const SLEEP: &[u8] = b"import time

from django.db import migrations


def sleep(apps, schema_editor):
    time.sleep(300)


class Migration(migrations.Migration):
    dependencies = [('entries', '0002_table')]
    operations = [migrations.RunPython(sleep)]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_cut_off_while_it_migrates_comes_back_with_the_first_release_and_its_database() {
    let (site, mira) = Site::start("cut").await;
    let repository = Repository::of(&site, "cut", "samples/guestbook");
    let name = mira.deploy(&repository.url, "guestbook").await;
    let live = mira.until(&name, "live", 180).await;
    let id = live["instance_id"].as_str().unwrap();
    repository.commit(
        "Migrate for ever",
        &[
            ("guestbook/entries/migrations/0002_table.py", NEW_TABLE),
            ("guestbook/entries/migrations/0003_sleep.py", SLEEP),
        ],
    );
    mira.redeploy(&name).await;
    mira.wait(&name, 120, |info| info["step"] == "migrate").await;
    let applied = "import sqlite3; print(sqlite3.connect('/srv/app/shared/db.sqlite3').execute(\"SELECT count(*) \
                   FROM django_migrations WHERE app = 'entries'\").fetchone()[0])";
    for _ in 0..100 {
        if site.exec(id, &["python3", "-c", applied]).await.trim() == "2" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert_eq!(site.exec(id, &["python3", "-c", applied]).await.trim(), "2", "it is in the middle of it");

    site.cloud().stop(&id.parse().unwrap()).await.unwrap();
    let failed = mira.wait(&name, 60, |info| info["status"] == "failed").await;
    assert_eq!(failed["error"]["step"], "migrate", "{failed:#}");
    site.cloud().start(&id.parse().unwrap()).await.unwrap();
    wait_past_failure(&mira, &name, |info| info["public_ip"] != Value::Null).await;
    let visitor = Person::new(&mira.address(&name).await);
    let mut status = None;
    for _ in 0..100 {
        status = visitor.try_get("/").await;
        if status == Some(StatusCode::OK) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    assert_eq!(status, Some(StatusCode::OK), "the first release serves");
    assert_eq!(site.exec(id, &["python3", "-c", applied]).await.trim(), "1", "and its database is as it was");
}

/// Waits over a failure that is still shown from the deployment before.
async fn wait_past_failure(person: &Person, name: &str, wish: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..600 {
        let info = person.info(name).await;
        if wish(&info) {
            return info;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("{name} did not come back: {:#}", person.info(name).await);
}
