//! What can go wrong in the store.

use std::{fmt::Display, str::FromStr};

use crate::domain::{InvalidTransition, RepoUrl};

/// The store did not do what it was asked. None of these is the visitor's mistake.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or could not be reached.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the database's schema: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The database's file or directory.
    #[error("the database's file: {0}")]
    File(#[from] std::io::Error),
    /// A row holds what no program of ours writes.
    #[error("{table}.{column} of row {row} is impossible: {problem}")]
    Impossible {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's id.
        row: i64,
        /// What is wrong with it.
        problem: String,
    },
    /// A move that the life of an instance does not have.
    #[error(transparent)]
    Transition(#[from] InvalidTransition),
    /// A row that was there is not.
    #[error("no such {0}")]
    Missing(&'static str),
}

/// Where a value was read, to name it if it is impossible.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub table: &'static str,
    pub row: i64,
}

impl At {
    fn impossible(self, column: &'static str, problem: impl Display) -> StoreError {
        StoreError::Impossible { table: self.table, column, row: self.row, problem: problem.to_string() }
    }

    /// Reads a repository's address.
    pub fn repo(self, column: &'static str, url: &str) -> Result<RepoUrl, StoreError> {
        RepoUrl::from_stored(url).map_err(|problem| self.impossible(column, problem))
    }

    /// Reads a column's text as what it stands for.
    pub fn read<T: FromStr<Err: Display>>(self, column: &'static str, text: &str) -> Result<T, StoreError> {
        text.parse().map_err(|problem: T::Err| self.impossible(column, problem))
    }

    /// The same for a column that may be null.
    pub fn read_opt<T: FromStr<Err: Display>>(
        self,
        column: &'static str,
        text: Option<&str>,
    ) -> Result<Option<T>, StoreError> {
        text.map(|text| self.read(column, text)).transpose()
    }

    /// Reads a column's JSON.
    pub fn json<T: serde::de::DeserializeOwned>(
        self,
        column: &'static str,
        text: &str,
    ) -> Result<T, StoreError> {
        serde_json::from_str(text).map_err(|problem| self.impossible(column, problem))
    }
}

/// A value as the JSON that a column holds. Our own types always have one.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|problem| StoreError::File(problem.into()))
}
