//! What was asked of machines: files, logs, and commands with what they print.

use ec_django_deployer::domain::{FetchFormat, FetchKind, ManagementCommand};

use super::sql;
use crate::helpers::App;

/// What was asked of machines: logs and files, come and under way and failed.
pub async fn fetched(app: &App) {
    let store = &app.store;
    let want = async |name: &str, kind| {
        let instance = app.found(name).await.instance;
        store.want_fetch(instance.row, kind, instance.owner).await.unwrap()
    };
    let trace = "Traceback (most recent call last):\n  File \"/srv/app/current/shop/views.py\", line 7, in <module>\n\
                 ModuleNotFoundError: No module named 'environ'\n";
    let requests = "203.0.113.9 - - [23/Nov/2026:15:00:00 +0000] \"GET /static/a-rather-long-path/to/some.css HTTP/1.1\" 200 512\n".repeat(20);
    for (name, errors) in [("logged", trace), ("logged-anew", trace), ("logged-well", "")] {
        let part = |name: &str, text: &str| format!("{name} {}\n{text}", text.len());
        let gunicorn = format!("[INFO] Listening at: unix:/run/app.sock <ok>\n{errors}");
        let log =
            [part("gunicorn", &gunicorn), part("nginx-error", ""), part("nginx-access", &requests)].concat();
        let fetch = want(name, FetchKind::Log).await;
        assert!(
            store
                .fetch_ready(fetch, log.len() as u64, FetchFormat::Text, Some(log.as_bytes()))
                .await
                .unwrap()
        );
    }
    let fetch = want("unlogged", FetchKind::Log).await;
    store.fetch_failed(fetch, "The machine did not answer for 60 seconds.").await.unwrap();
    // What ended just now is not asked for anew when its page is opened.
    sql(app, "UPDATE fetches SET ended_at = ended_at + 1800000");
    want("logged-anew", FetchKind::Log).await;

    for name in ["logged", "terminated"] {
        let fetch = want(name, FetchKind::Database).await;
        assert!(store.fetch_ready(fetch, 16_000_000, FetchFormat::Sqlite, None).await.unwrap());
    }
    let fetch = want("logged", FetchKind::Media).await;
    store.fetch_failed(fetch, "There are no media files on this machine.").await.unwrap();
    let fetch = want("logged-anew", FetchKind::Database).await;
    store.fetch_sent(fetch).await.unwrap();
    store.fetch_heard(fetch, 12_300_000).await.unwrap();
    want("logged-well", FetchKind::Database).await;
    want("logged-well", FetchKind::Media).await;
    commands(app).await;
}

/// Commands that ended well and not, one with a long output, one that runs.
async fn commands(app: &App) {
    let store = &app.store;
    let long =
        "Ran a task of the shop with <angle brackets> and a rather long line that goes on and on. ".repeat(3);
    let runs: [(&str, &str, Option<String>); 5] = [
        (
            "logged",
            "check --deploy",
            Some("exit 0\nSystem check identified no issues (0 silenced).\n".to_owned()),
        ),
        ("logged", "import_books 'a file.csv'", None),
        ("logged", "nightly", Some(format!("exit 3\n{}", format!("{long}\n").repeat(80)))),
        ("logged-well", "check", None),
        ("logged-anew", "showmigrations --plan", None),
    ];
    for (name, line, sent) in runs {
        let instance = app.found(name).await.instance;
        let command = ManagementCommand::parse(line).unwrap();
        let id = store.want_command(instance.row, &command, instance.owner).await.unwrap().unwrap();
        store.fetch_sent(id).await.unwrap();
        match (name, sent) {
            (_, Some(bytes)) => {
                let size = bytes.len() as u64;
                assert!(
                    store.fetch_ready(id, size, FetchFormat::Text, Some(bytes.as_bytes())).await.unwrap()
                );
            }
            ("logged-anew", None) => {}
            (_, None) => store.fetch_failed(id, "The machine is busy with a deployment.").await.unwrap(),
        }
    }
}
