//! The schema over versions: an older program starts on the database of a newer one, which may be taken back.

use sqlx::{Connection, SqliteConnection};

use super::*;

/// What a newer program may add to a database.
const NEWER: &str = "
    CREATE TABLE next_things (id INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL) STRICT;
    ALTER TABLE instances ADD COLUMN next_note TEXT;
    ALTER TABLE deployments ADD COLUMN next_count INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE users ADD COLUMN next_flag INTEGER NOT NULL DEFAULT 1;
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9001, 'next', TRUE, x'00', 1);";

#[tokio::test]
async fn an_older_program_works_on_a_newer_schema() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("test.db").display());
    let before = Store::open(&url).await.unwrap();
    let aiko = owner(&before, "aiko").await;
    before.close().await;
    let mut newer = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(NEWER).execute(&mut newer).await.unwrap();
    newer.close().await.unwrap();

    let store = Store::open(&url).await.unwrap();
    owner(&store, "noor").await;
    store.submit(&submission(&aiko, Some("books"))).await.unwrap();
    deploying(&store).await;
    assert_eq!(store.users().await.unwrap().len(), 3);
    store.close().await;
    assert!(Store::open(&url).await.is_ok(), "and once more");
}

/// Statements that do more than add, each with why an older program bears it.
const EXCEPTIONS: [(&str, &str); 4] = [
    // The table made anew has every column that it had, and allows more values in one.
    ("0014_commands.sql", "INSERT INTO fetches_new"),
    ("0014_commands.sql", "DROP TABLE fetches"),
    ("0014_commands.sql", "ALTER TABLE fetches_new RENAME TO fetches"),
    // Numbers go on where they were.
    ("0014_commands.sql", "INSERT INTO sqlite_sequence"),
];

/// What is wrong with a statement of a migration, if it does more than add.
fn objection(file: &str, statement: &str) -> Option<String> {
    if EXCEPTIONS.iter().any(|(of, begin)| *of == file && statement.starts_with(begin)) {
        return None;
    }
    let adds = ["CREATE TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX ", "UPDATE ", "INSERT INTO "];
    let column = statement.starts_with("ALTER TABLE ") && statement.contains(" ADD COLUMN ");
    let demands = statement.contains(" NOT NULL") && !statement.contains(" DEFAULT ");
    match () {
        () if column && demands => {
            Some(format!("{file}: an older program does not fill this column: {statement}"))
        }
        () if column || adds.iter().any(|begin| statement.starts_with(begin)) => None,
        () => Some(format!("{file}: this does more than add: {statement}")),
    }
}

#[test]
fn migrations_only_ever_add() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut statements = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let text: Vec<_> = text.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
        let text = text.join(" ");
        for statement in text.split(';') {
            let statement = statement.split_whitespace().collect::<Vec<_>>().join(" ");
            if !statement.is_empty() {
                statements += 1;
                assert_eq!(objection(&file, &statement), None);
            }
        }
    }
    assert!(statements > 50, "{statements}");
    for bad in [
        "DROP TABLE users",
        "ALTER TABLE users RENAME COLUMN role TO kind",
        "ALTER TABLE users DROP COLUMN role",
        "ALTER TABLE users ADD COLUMN age INTEGER NOT NULL",
        "DELETE FROM users",
    ] {
        assert!(objection("0099_bad.sql", bad).is_some(), "{bad}");
    }
}
