//! The one connection that writes, and the number by which readers know that what they keep still holds.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction, pool::PoolConnection};

/// The one connection that writes: writers wait for each other here and not in SQLite.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pool: SqlitePool,
    version: Arc<AtomicU64>,
}

/// Counts a write once it is over, however it ended: committed, rolled back or given up.
#[derive(Debug)]
struct Count(Arc<AtomicU64>);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// A transaction that may write.
#[derive(Debug)]
pub(super) struct Tx {
    transaction: Transaction<'static, Sqlite>,
    count: Count,
}

/// The connection for one statement, which is a transaction of its own.
#[derive(Debug)]
pub(super) struct Statement {
    connection: PoolConnection<Sqlite>,
    // Behind the connection, so that it is counted when the statement is over.
    _count: Count,
}

impl Writer {
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool, version: Arc::default() }
    }

    /// Begins a transaction that may write: it takes the write lock at once, so that what it reads
    /// first still holds when it writes.
    pub async fn begin(&self) -> Result<Tx, sqlx::Error> {
        let transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Tx { transaction, count: self.count() })
    }

    /// The connection, for one statement.
    pub async fn statement(&self) -> Result<Statement, sqlx::Error> {
        Ok(Statement { connection: self.pool.acquire().await?, _count: self.count() })
    }

    /// How many writes are over. What was read after it was asked for holds as long as it stays the same.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Counts a write that somebody else has made.
    pub fn count_foreign(&self) {
        drop(self.count());
    }

    /// Open connections, and how many of them do nothing.
    pub fn connections(&self) -> (u32, usize) {
        (self.pool.size(), self.pool.num_idle())
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }

    fn count(&self) -> Count {
        Count(self.version.clone())
    }
}

impl Tx {
    /// Makes what was written durable and seen by others.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        let Self { transaction, count } = self;
        let done = transaction.commit().await;
        drop(count);
        done
    }
}

impl Deref for Tx {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

impl Deref for Statement {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Statement {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}
