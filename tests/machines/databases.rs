//! Database servers on the machine, with a database of our own in the place of what the settings name.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    fetch::{download, shell},
    person::Person,
    repository::Repository,
    site::Site,
};

const MODELS: &[u8] = b"from django.db import models


class Visit(models.Model):
    words = models.CharField(max_length=200)

    def __str__(self):
        return self.words
";
const URLS: &str = "from django.contrib import admin
from django.http import HttpResponse
from django.urls import path

from shelf.models import Visit


def index(request):
    if request.GET:
        Visit.objects.create(words='\u{1f4da} caf\u{e9}')
    return HttpResponse('%d visits: %s' % (Visit.objects.count(), Visit.objects.last()))


urlpatterns = [path('admin/', admin.site.urls), path('', index)]
";
const FIRST: &[u8] = b"from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel('Visit', [
            ('id', models.BigAutoField(primary_key=True, serialize=False)),
            ('words', models.CharField(max_length=200)),
        ]),
    ]
";
/// Changes the schema and the rows, and fails in a second migration.
const SECOND: &[u8] = b"from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('shelf', '0001_initial')]
    operations = [
        migrations.AddField('Visit', 'shelf', models.IntegerField(default=1)),
        migrations.RunSQL('DELETE FROM shelf_visit'),
    ]
";
const THIRD: &[u8] = b"from django.db import migrations


def refuse(apps, schema_editor):
    raise RuntimeError('the shelf is too small')


class Migration(migrations.Migration):
    dependencies = [('shelf', '0002_shelf')]
    operations = [migrations.RunPython(refuse)]
";

/// A project with a page that counts its visits, and these databases.
fn counting(site: &Site, name: &str, requirements: &str, databases: &str) -> Repository {
    let repository = Repository::of(site, name, "tests/machines/projects/plain");
    let settings = repository
        .read("mysite/mysite/settings.py")
        .replace("INSTALLED_APPS = [", "INSTALLED_APPS = [\n    'shelf',");
    let settings = format!("{settings}\nDEFAULT_AUTO_FIELD = 'django.db.models.BigAutoField'\n{databases}\n");
    repository.commit(
        "Count visits",
        &[
            ("requirements.txt", requirements.as_bytes()),
            ("mysite/mysite/settings.py", settings.as_bytes()),
            ("mysite/mysite/urls.py", URLS.as_bytes()),
            ("mysite/shelf/__init__.py", b""),
            ("mysite/shelf/models.py", MODELS),
            ("mysite/shelf/migrations/__init__.py", b""),
            ("mysite/shelf/migrations/0001_initial.py", FIRST),
        ],
    );
    repository
}

/// How many visits the page tells of, this one among them.
async fn visits(visitor: &Person) -> u32 {
    let page = visitor.get("/?visit=1").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert!(page.text.ends_with(": \u{1f4da} caf\u{e9}"), "{}", page.text);
    page.text.split(' ').next().unwrap().parse().unwrap()
}

/// A redeployment that fails in migrate leaves the release before and its rows.
async fn fails_and_is_undone(mira: &Person, name: &str, repository: &Repository) {
    let visitor = Person::new(&mira.address(name).await);
    let before = visits(&visitor).await;
    repository.commit(
        "Build a shelf",
        &[
            ("mysite/shelf/migrations/0002_shelf.py", SECOND),
            ("mysite/shelf/migrations/0003_refuse.py", THIRD),
        ],
    );
    mira.redeploy(name).await;
    let failed = mira.wait(name, 180, |info| info["error"] != Value::Null).await;
    assert_eq!(
        (&failed["status"], &failed["error"]["step"]),
        (&"live".into(), &"migrate".into()),
        "{failed:#}"
    );
    let log = mira.get(&format!("/instances/{name}/log")).await.text;
    assert!(log.contains("the shelf is too small"), "{log}");
    assert!(log.contains("Put the database app back as it was before migrate."), "{log}");
    assert_eq!(visits(&visitor).await, before + 1, "no row is lost");
}

/// The next deployment is live and has the rows of the one before.
async fn is_kept(mira: &Person, name: &str, repository: &Repository) {
    let visitor = Person::new(&mira.address(name).await);
    let before = visits(&visitor).await;
    repository.commit(
        "Make the shelf larger",
        &[
            (
                "mysite/shelf/migrations/0002_shelf.py",
                b"from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [('shelf', '0001_initial')]
    operations = [migrations.RunSQL(\"UPDATE shelf_visit SET words = 'kept'\")]
",
            ),
            (
                "mysite/shelf/migrations/0003_refuse.py",
                b"from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [('shelf', '0002_shelf')]
    operations = []
",
            ),
        ],
    );
    mira.redeploy(name).await;
    mira.wait(name, 20, |info| info["status"] == "deploying").await;
    mira.wait(name, 180, |info| info["status"] == "live" && info["error"] == Value::Null).await;
    assert_eq!(visits(&visitor).await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_of_hard_coded_settings_is_on_the_machine_and_survives_failures_and_a_restart() {
    let (site, mira) = Site::start("postgresql").await;
    // The engine's name of old, another machine, a user that is nobody here, and no driver.
    let repository = counting(
        &site,
        "postgresql",
        "Django==5.2.8\n",
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql_psycopg2', 'NAME': 'shop', 'USER': 'root',
    'PASSWORD': 'hunter2', 'HOST': 'db', 'PORT': 6543, 'CONN_MAX_AGE': 600, 'OPTIONS': {'sslmode': 'require', 'connect_timeout': 5}}}",
    );
    let name = mira.deploy(&repository.url, "mysite").await;
    let live = mira.until(&name, "live", 240).await;
    let id = live["instance_id"].as_str().unwrap().to_owned();
    let log = mira.get(&format!("/instances/{name}/log")).await.text;
    assert!(
        log.contains("is installed besides: nothing that the project asks for speaks to PostgreSQL"),
        "{log}"
    );
    let visitor = Person::new(&mira.address(&name).await);
    let first = visits(&visitor).await;
    assert_eq!(visits(&visitor).await, first + 1);
    let admin = visitor.get("/admin/login/").await;
    assert_eq!(admin.status, StatusCode::OK);

    // It listens to this machine alone, with little memory, and the other server does not run.
    let state = "ss -tlnH | awk '{print $4}'; systemctl is-enabled postgresql mariadb; systemctl is-active mariadb; \
                 stat -c '%a %U:%G' /etc/ec-deployer/database_password";
    let state = site.exec(&id, &["bash", "-c", state]).await;
    assert!(state.contains("127.0.0.1:5432") && !state.contains("0.0.0.0:5432"), "{state}");
    assert!(state.contains("enabled\ndisabled\ninactive\n640 root:app"), "{state}");
    let password = site.exec(&id, &["cat", "/etc/ec-deployer/database_password"]).await;
    assert!(password.len() > 40 && !log.contains(password.trim()), "a password of our own");

    // Its own user may add the extensions that migrations ask for; what is put back has them too.
    let extend = "for name in citext hstore unaccent pg_trgm btree_gin uuid-ossp pgcrypto; do \
                  PGPASSWORD=$(cat /etc/ec-deployer/database_password) psql -h 127.0.0.1 -U app app \
                  -c \"CREATE EXTENSION \\\"$name\\\"\"; done 2>&1";
    let extended = site.exec(&id, &["bash", "-c", extend]).await;
    assert_eq!(extended.matches("CREATE EXTENSION").count(), 7, "{extended}");
    fails_and_is_undone(&mira, &name, &repository).await;
    is_kept(&mira, &name, &repository).await;

    download(&mira, &site, &name, "database").await;
    assert_eq!(shell(&site, "tar -tzf database.download"), "postgresql-app.sql\n");
    let copy = shell(&site, "tar -xzOf database.download");
    assert!(
        copy.contains("COPY public.shelf_visit") && copy.contains("EXTENSION IF NOT EXISTS citext"),
        "{copy}"
    );

    // After a restart the server is there before the project.
    let before = visits(&visitor).await;
    site.cloud().stop(&id.parse().unwrap()).await.unwrap();
    mira.until(&name, "stopped", 60).await;
    site.cloud().start(&id.parse().unwrap()).await.unwrap();
    mira.until(&name, "live", 120).await;
    let moved = Person::new(&mira.address(&name).await);
    for _ in 0..100 {
        if moved.try_get("/admin/login/").await == Some(StatusCode::OK) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(visits(&moved).await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_of_hard_coded_settings_is_on_the_machine_and_survives_failures() {
    let (site, mira) = Site::start("mysql").await;
    let repository = counting(
        &site,
        "mysql",
        "Django==4.2.16\nPyMySQL\n",
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.mysql', 'NAME': 'shop', 'USER': 'root', 'PASSWORD': '',
    'HOST': 'localhost', 'CONN_MAX_AGE': 600, 'OPTIONS': {'init_command': \"SET sql_mode='STRICT_TRANS_TABLES'\", 'ssl': {'ca': '/x'}}}}",
    );
    let name = mira.deploy(&repository.url, "mysite").await;
    mira.until(&name, "live", 240).await;
    let visitor = Person::new(&mira.address(&name).await);
    let first = visits(&visitor).await;
    assert_eq!(visits(&visitor).await, first + 1);
    fails_and_is_undone(&mira, &name, &repository).await;
    is_kept(&mira, &name, &repository).await;
    download(&mira, &site, &name, "database").await;
    assert_eq!(shell(&site, "tar -tzf database.download"), "mysql-app.sql\n");
    assert!(shell(&site, "tar -xzOf database.download").contains("INSERT INTO `shelf_visit`"));
}

/// Settings that do not load without variables, and a page that tells what came of them.
const DEMANDING: &str = "
import os

import dj_database_url

DATABASES = {'default': dj_database_url.parse(os.environ['DATABASE_URL'])}
SECRET_KEY = os.environ['SECRET_KEY']
JWT_SECRET_KEY = os.environ['JWT_SECRET_KEY']
";
const TELLING: &str = "from django.conf import settings
from django.db import connection
from django.http import HttpResponse
from django.urls import path


def index(request):
    with connection.cursor() as cursor:
        cursor.execute('SELECT count(*) FROM shelf_visit')
        return HttpResponse('%s %d %d' % (connection.vendor, len(settings.JWT_SECRET_KEY), cursor.fetchone()[0]))


urlpatterns = [path('', index)]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_database_url_that_is_demanded_is_filled_in_and_the_owner_may_choose_another_database() {
    let (site, mira) = Site::start("demanding").await;
    let repository = counting(
        &site,
        "demanding",
        "Django==5.2.8\ndj-database-url==2.3.0\npsycopg[binary]\nPyMySQL\n",
        DEMANDING,
    );
    repository.commit("Tell", &[("mysite/mysite/urls.py", TELLING.as_bytes())]);
    let fields = [
        ("github_url", repository.url.as_str()),
        ("project_name", "mysite"),
        ("name", "shop"),
        ("database", ""),
    ];
    let answer = mira.post("/instances/new", &fields).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    mira.until("shop", "live", 240).await;
    let visitor = Person::new(&mira.address("shop").await);
    assert_eq!(visitor.get("/").await.text, "postgresql 44 0");

    // SQLite, and MySQL, in the place of what the settings say.
    for (chosen, vendor) in [("sqlite", "sqlite"), ("mysql", "mysql")] {
        let form = mira.get("/instances/shop/edit").await.text;
        let version = crate::person::hidden(&form, "version").unwrap();
        let fields = [
            ("version", version.as_str()),
            ("github_url", repository.url.as_str()),
            ("project_name", "mysite"),
            ("database", chosen),
        ];
        let answer = mira.post("/instances/shop/edit", &fields).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        mira.wait("shop", 60, |info| info["status"] == "deploying").await;
        mira.wait("shop", 240, |info| info["status"] == "live" && info["error"] == Value::Null).await;
        assert_eq!(visitor.get("/").await.text, format!("{vendor} 44 0"));
    }
}
