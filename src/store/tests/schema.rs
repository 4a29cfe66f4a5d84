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
const EXCEPTIONS: [(&str, &str); 7] = [
    // None, until a bake that somebody asked for; of those who go it becomes none by itself.
    (
        "0004_images.sql",
        "ALTER TABLE images ADD COLUMN requested_by INTEGER REFERENCES users (id) ON DELETE SET NULL",
    ),
    // None, which an older program leaves it, is allowed.
    ("0013_database.sql", "ALTER TABLE instances ADD COLUMN database TEXT CHECK"),
    // The table made anew has every column that it had, and allows more values in one.
    ("0014_commands.sql", "INSERT INTO fetches_new"),
    ("0014_commands.sql", "DROP TABLE fetches"),
    ("0014_commands.sql", "ALTER TABLE fetches_new RENAME TO fetches"),
    // It had this one too.
    ("0014_commands.sql", "CREATE UNIQUE INDEX fetches_one_open"),
    // Numbers go on where they were.
    ("0014_commands.sql", "INSERT INTO sqlite_sequence"),
];

/// What is wrong with a statement of a migration that makes some tables, if it does more than add.
fn objection(file: &str, statement: &str, made: &[&str]) -> Option<String> {
    if EXCEPTIONS.iter().any(|(of, begin)| *of == file && statement.starts_with(begin)) {
        return None;
    }
    let words: Vec<_> = statement.split([' ', '(']).collect();
    let has = |word: &str| words.contains(&word);
    let adds = ["CREATE TABLE ", "CREATE INDEX ", "UPDATE ", "INSERT INTO "];
    let of_made =
        || words.iter().skip_while(|word| **word != "ON").nth(1).is_some_and(|of| made.contains(of));
    let why = match () {
        () if statement.starts_with("ALTER TABLE ") && statement.contains(" ADD COLUMN ") => {
            let demands = has("NOT") && !has("DEFAULT") || has("CHECK") || has("REFERENCES") || has("UNIQUE");
            demands.then_some("an older program does not know what this column demands")
        }
        () if statement.starts_with("CREATE UNIQUE INDEX ") => {
            (!of_made()).then_some("an older program does not know what this table is to have once")
        }
        () if adds.iter().any(|begin| statement.starts_with(begin)) => None,
        () => Some("this does more than add"),
    };
    why.map(|why| format!("{file}: {why}: {statement}"))
}

/// The tables that statements make.
fn made(statements: &[String]) -> Vec<&str> {
    let tables = statements.iter().filter_map(|statement| statement.strip_prefix("CREATE TABLE "));
    tables.filter_map(|rest| rest.split([' ', '(']).next()).collect()
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
        let all = text.split(';').map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "));
        let all: Vec<_> = all.filter(|statement| !statement.is_empty()).collect();
        statements += all.len();
        for statement in &all {
            assert_eq!(objection(&file, statement, &made(&all)), None);
        }
    }
    assert!(statements > 50, "{statements}");
    for bad in [
        "DROP TABLE users",
        "ALTER TABLE users RENAME COLUMN role TO kind",
        "ALTER TABLE users DROP COLUMN role",
        "ALTER TABLE users ADD COLUMN age INTEGER NOT NULL",
        "ALTER TABLE users ADD COLUMN age INTEGER CHECK (age > 17)",
        "ALTER TABLE users ADD COLUMN age INTEGER NOT NULL DEFAULT 0 CHECK(age > 17)",
        "ALTER TABLE users ADD COLUMN boss INTEGER REFERENCES users (id)",
        "CREATE UNIQUE INDEX users_role ON users (role)",
        "CREATE UNIQUE INDEX users_role ON users(role) WHERE role = 'admin'",
        "DELETE FROM users",
    ] {
        assert!(objection("0099_bad.sql", bad, &["things"]).is_some(), "{bad}");
    }
    let good = "CREATE UNIQUE INDEX things_name ON things (name)";
    assert_eq!(objection("0099_good.sql", good, &["things"]), None);
}
