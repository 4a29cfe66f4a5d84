//! Deploy logs: bytes by their offset, and the report that they make.

use super::{
    Change, Store, StoreError,
    error::{At, to_json},
};
use crate::domain::{DeploymentId, Report, RowId, Timestamp};

/// What came of bytes that a machine sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// They are in the log, which now has so many bytes. Bytes that were there already were skipped.
    Taken(u64),
    /// They begin behind the log's end, which is here.
    Gap(u64),
    /// The log would be larger than [`Store::LOG_MAX`].
    TooLarge,
    /// The deployment ended longer ago than [`Store::LATE_SECONDS`], or there is none of this number.
    Closed,
}

impl Store {
    /// Most bytes of one deploy log: 16 MiB.
    pub const LOG_MAX: u64 = 16 * 1024 * 1024;
    /// How long an ended deployment still takes its last bytes.
    pub const LATE_SECONDS: i64 = 3600;

    /// Takes bytes of a deploy log that begin at `offset`, and what they say. Secrets of its instance are masked, byte by
    /// byte; what may be the beginning of one is not taken until it comes again with what follows it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn append_log(
        &self,
        id: DeploymentId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Appended, StoreError> {
        let now = Timestamp::now();
        let mut tx = self.begin().await?;
        let row =
            sqlx::query!("SELECT instance, report, log_size, ended_at FROM deployments WHERE id = $1", id.0)
                .fetch_optional(&mut *tx)
                .await?;
        let Some(row) = row else { return Ok(Appended::Closed) };
        if row.ended_at.is_some_and(|ended| now > Timestamp(ended).plus_seconds(Self::LATE_SECONDS)) {
            return Ok(Appended::Closed);
        }
        let size = u64::try_from(row.log_size).unwrap_or_default();
        if offset > size {
            return Ok(Appended::Gap(size));
        }
        let known = usize::try_from(size - offset).unwrap_or(usize::MAX);
        let mut fresh = bytes.get(known..).unwrap_or_default().to_vec();
        if fresh.is_empty() {
            return Ok(Appended::Taken(size));
        }
        if size + fresh.len() as u64 > Self::LOG_MAX {
            return Ok(Appended::TooLarge);
        }
        let mut report: Report = At { table: "deployments", row: id.0 }.json("report", &row.report)?;
        let (step, admin) = (report.current(), report.admin());
        let taken =
            self.scrubber(&mut tx, RowId(row.instance)).await?.mask_log(report.line_so_far(), &mut fresh);
        report.feed(&fresh[..taken]);
        if row.ended_at.is_some() || report.ended() {
            // Nothing follows it, so that it never becomes a whole secret.
            fresh[taken..].fill(b'*');
            report.feed(&fresh[taken..]);
        } else {
            fresh.truncate(taken);
        }
        if fresh.is_empty() {
            return Ok(Appended::Taken(size));
        }
        let grown = size + fresh.len() as u64;
        if let Some(state) = report.admin().filter(|_| admin.is_none()) {
            self.first_admin_told(&mut tx, id, state).await?;
        }
        let step_since = (report.current() != step).then_some(now.0);
        let (report, log_size) = (to_json(&report)?, grown.cast_signed());
        sqlx::query!(
            "INSERT INTO deploy_logs (deployment, start, bytes) VALUES ($1, $2, $3)",
            id.0,
            row.log_size,
            fresh
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "UPDATE deployments SET report = $2, log_size = $3, first_byte_at = coalesce(first_byte_at, $4),
                    step_since = coalesce($5, step_since)
             WHERE id = $1",
            id.0,
            report,
            log_size,
            now.0,
            step_since
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.tell(Change::Instance(RowId(row.instance)));
        Ok(Appended::Taken(grown))
    }

    /// The bytes of a deploy log from `offset` on, at most about `limit` of them: whole pieces as
    /// they came, so that a long log is read in turns.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn log(&self, id: DeploymentId, offset: u64, limit: usize) -> Result<Vec<u8>, StoreError> {
        /// Pieces read at once: a page's worth of an ordinary log.
        const PIECES: i64 = 256;
        let mut at = offset;
        let mut log = Vec::new();
        loop {
            let from = at.cast_signed();
            let rows = sqlx::query!(
                "SELECT start, bytes FROM deploy_logs WHERE deployment = $1 AND start + length(bytes) > $2
                 ORDER BY start LIMIT $3",
                id.0,
                from,
                PIECES
            )
            .fetch_all(&self.readers)
            .await?;
            if rows.is_empty() {
                return Ok(log);
            }
            for row in rows {
                let start = u64::try_from(row.start).unwrap_or_default();
                let skip = usize::try_from(at.saturating_sub(start)).unwrap_or_default();
                log.extend_from_slice(row.bytes.get(skip..).unwrap_or_default());
                at = start + row.bytes.len() as u64;
                if log.len() >= limit {
                    log.truncate(limit);
                    return Ok(log);
                }
            }
        }
    }
}
