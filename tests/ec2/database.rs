//! The site's database, read and stopped at from beside the site.

use std::path::Path;

use sqlx::{
    AssertSqlSafe, Row, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

/// A place in the site's work at which it comes no further: what is about to be written is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The token and the request are saved, and nothing was sent.
    BeforeSending,
    /// The reply has come, and the machine's id is not saved.
    BeforeId,
}

/// The site's database.
pub struct Database(SqlitePool);

/// One try to get a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub token: String,
    pub state: String,
    pub sent: bool,
    pub instance_id: Option<String>,
    /// The saved request.
    pub request: serde_json::Value,
}

impl Database {
    pub async fn open(path: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(path);
        let options = options.busy_timeout(std::time::Duration::from_secs(10));
        Self(SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap())
    }

    /// Lets the site come no further than this place.
    pub async fn stop(&self, stop: Stop) {
        let column = match stop {
            Stop::BeforeSending => "sent_at",
            Stop::BeforeId => "instance_id",
        };
        self.execute(format!(
            "CREATE TRIGGER stopped_by_a_test BEFORE UPDATE OF {column} ON attempts
             BEGIN SELECT RAISE(ABORT, 'stopped by a test'); END"
        ))
        .await;
    }

    /// Lets it go on.
    pub async fn go_on(&self) {
        self.execute("DROP TRIGGER stopped_by_a_test".to_owned()).await;
    }

    /// Runs statements.
    pub async fn execute(&self, sql: String) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.0).await.unwrap();
    }

    /// The random id of the site.
    pub async fn site(&self) -> String {
        sqlx::query("SELECT site FROM site").fetch_one(&self.0).await.unwrap().get("site")
    }

    /// The attempts of an instance, the first one first.
    pub async fn attempts(&self, name: &str) -> Vec<Attempt> {
        let rows = sqlx::query(
            "SELECT a.token, a.state, a.sent_at, a.instance_id, a.request FROM attempts a
             JOIN instances i ON i.id = a.instance WHERE i.name = $1 ORDER BY a.id",
        )
        .bind(name.to_owned())
        .fetch_all(&self.0)
        .await
        .unwrap();
        let attempts = rows.iter().map(|row| Attempt {
            token: row.get("token"),
            state: row.get("state"),
            sent: row.get::<Option<i64>, _>("sent_at").is_some(),
            instance_id: row.get("instance_id"),
            request: serde_json::from_str(row.get("request")).unwrap(),
        });
        attempts.collect()
    }

    /// Each instance's name, status and machine.
    pub async fn instances(&self) -> Vec<(String, String, Option<String>)> {
        let rows = sqlx::query("SELECT name, status, instance_id FROM instances ORDER BY name");
        let rows = rows.fetch_all(&self.0).await.unwrap();
        rows.iter().map(|row| (row.get("name"), row.get("status"), row.get("instance_id"))).collect()
    }
}
