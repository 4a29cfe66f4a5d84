//! How many there are of what, for those who watch over the site.

use super::{Store, StoreError};

/// How many there are of what.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    rows: Vec<(String, String, i64)>,
    /// Connections to the database that are open.
    pub connections: u32,
    /// Those of them that nobody uses just now.
    pub idle: usize,
}

impl Counts {
    /// How many of a table's rows are in a state; of `database`, its size in `bytes`.
    pub fn of(&self, table: &str, state: &str) -> f64 {
        let found = self.rows.iter().find(|(what, which, _)| what == table && which == state);
        found.map_or(0.0, |(_, _, count)| *count as f64)
    }
}

impl Store {
    /// Counts instances by status, images by state, orphans by kind, and deployments that have not ended. No row with a plan or a
    /// log is read for it: the open deployments have indexes of their own.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT 'instances' AS "what!: String", status AS "state!: String", count(*) AS "count!: i64"
               FROM instances GROUP BY status
               UNION ALL SELECT 'images', state, count(*) FROM images GROUP BY state
               UNION ALL SELECT 'deployments', 'queued', count(*) FROM deployments
                         WHERE outcome IS NULL AND begun_at IS NULL
               UNION ALL SELECT 'deployments', 'running', count(*) FROM deployments
                         WHERE outcome IS NULL AND begun_at IS NOT NULL
               UNION ALL SELECT 'orphans', kind, count(*) FROM orphans GROUP BY kind
               UNION ALL SELECT 'database', 'bytes', page_count * page_size
                         FROM pragma_page_count, pragma_page_size"#
        )
        .fetch_all(&self.readers)
        .await?;
        let (writers, idle) = self.writer.connections();
        Ok(Counts {
            rows: rows.into_iter().map(|row| (row.what, row.state, row.count)).collect(),
            connections: self.readers.size() + writers,
            idle: self.readers.num_idle() + idle,
        })
    }
}
