//! Management commands: fetches with words, whose history is kept.

use sqlx::SqliteConnection;

use super::{
    Change, Store, StoreError,
    error::{At, to_json},
};
use crate::domain::{
    CommandOutput, CommandRun, Fetch, FetchId, FetchKind, ManagementCommand, RowId, Timestamp, UserId,
};

struct CommandRow {
    id: i64,
    instance: i64,
    kind: String,
    state: String,
    created_at: i64,
    sent_at: Option<i64>,
    heard_at: Option<i64>,
    ended_at: Option<i64>,
    size: i64,
    error: Option<String>,
    line: String,
    arguments: String,
    requested_by: Option<String>,
    head: Option<Vec<u8>>,
}

impl CommandRow {
    fn read(self) -> Result<CommandRun, StoreError> {
        let at = At { table: "fetches", row: self.id };
        let fetch = Fetch {
            id: FetchId(self.id),
            instance: RowId(self.instance),
            kind: at.read("kind", &self.kind)?,
            state: at.read("state", &self.state)?,
            created_at: Timestamp(self.created_at),
            sent_at: self.sent_at.map(Timestamp),
            heard_at: self.heard_at.map(Timestamp),
            ended_at: self.ended_at.map(Timestamp),
            size: u64::try_from(self.size).unwrap_or_default(),
            format: None,
            error: self.error,
        };
        Ok(CommandRun {
            command: ManagementCommand::from_stored(self.line, read_arguments(self.id, &self.arguments)?),
            requested_by: at.read_opt("requested_by", self.requested_by.as_deref())?,
            exit_code: self.head.and_then(|head| CommandOutput::read(&head).map(|output| output.exit_code)),
            fetch,
        })
    }
}

fn read_arguments(row: i64, text: &str) -> Result<Vec<String>, StoreError> {
    At { table: "commands", row }.json("arguments", text)
}

/// Selects commands; the argument is the condition and what follows it.
macro_rules! commands {
    ($rest:literal $(, $arg:expr)*) => {
        sqlx::query_as!(
            CommandRow,
            r#"SELECT f.id, f.instance, f.kind, f.state, f.created_at, f.sent_at, f.heard_at, f.ended_at, f.size, f.error,
                      c.line, c.arguments, u.username AS "requested_by?", substr(f.log, 1, 64) AS "head?: Vec<u8>"
               FROM commands c JOIN fetches f ON f.id = c.fetch LEFT JOIN users u ON u.id = f.requested_by
               WHERE "# + $rest
            $(, $arg)*
        )
    };
}

impl Store {
    /// Asks an instance's machine to run a command. None where another has not ended.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn want_command(
        &self,
        instance: RowId,
        command: &ManagementCommand,
        by: UserId,
    ) -> Result<Option<FetchId>, StoreError> {
        let (now, kind, line) = (Timestamp::now().0, FetchKind::Command.name(), command.line());
        let arguments = to_json(&command.arguments())?;
        let mut tx = self.begin().await?;
        if is_open(&mut tx, instance).await? {
            return Ok(None);
        }
        let row = sqlx::query!(
            "INSERT INTO fetches (instance, kind, state, requested_by, created_at)
             VALUES ($1, $2, 'wanted', $3, $4) RETURNING id AS \"id!: i64\"",
            instance.0,
            kind,
            by.0,
            now
        )
        .fetch_one(&mut *tx)
        .await?;
        sqlx::query!(
            "INSERT INTO commands (fetch, line, arguments) VALUES ($1, $2, $3)",
            row.id,
            line,
            arguments
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.tell(Change::Fetch(instance));
        Ok(Some(FetchId(row.id)))
    }

    /// The newest commands of an instance, the newest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn commands(&self, instance: RowId) -> Result<Vec<CommandRun>, StoreError> {
        let kept = CommandRun::KEPT;
        let rows = commands!("f.instance = $1 ORDER BY f.id DESC LIMIT $2", instance.0, kept)
            .fetch_all(&self.readers)
            .await?;
        rows.into_iter().map(CommandRow::read).collect()
    }

    /// The words of a command, by its fetch.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn command_arguments(&self, id: FetchId) -> Result<Option<Vec<String>>, StoreError> {
        let row = sqlx::query!("SELECT arguments FROM commands WHERE fetch = $1", id.0)
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| read_arguments(id.0, &row.arguments)).transpose()
    }
}

async fn is_open(tx: &mut SqliteConnection, instance: RowId) -> Result<bool, StoreError> {
    let open = sqlx::query!(
        "SELECT id FROM fetches WHERE instance = $1 AND kind = 'command' AND state IN ('wanted', 'sent')",
        instance.0
    )
    .fetch_optional(tx)
    .await?;
    Ok(open.is_some())
}
