//! The queries that nearly every page asks, and whether what was read of them still holds.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::SqlitePool;

use super::{Overview, Store, StoreError, memo::Memo};
use crate::domain::{Deployment, Image, ImageId, Orphan, RowId, ServerName, Timestamp, User, UserId};

/// What was read of the queries that nearly every page asks.
#[derive(Debug, Default)]
pub(super) struct Memos {
    pub sessions: Memo<String, Option<(String, Timestamp)>>,
    pub users: Memo<UserId, Option<User>>,
    pub instances: Memo<ServerName, Option<Overview>>,
    pub lists: Memo<Option<UserId>, Arc<[Arc<Overview>]>>,
    pub deployments: Memo<(RowId, u32), Arc<[Deployment]>>,
    pub serving: Memo<RowId, Option<Deployment>>,
    pub images: Memo<ImageId, Option<Image>>,
    pub newest_image: Memo<(), Option<Image>>,
    pub newest_good_image: Memo<(), Option<Image>>,
    pub orphans: Memo<(), Arc<[Orphan]>>,
}

/// Whether another program has written to the database: SQLite tells a connection of every commit but its own.
#[derive(Debug)]
pub(super) struct Foreign {
    /// One connection, since the number means something on the same one only.
    connection: SqlitePool,
    seen: AtomicI64,
    opened: Instant,
    /// When it was looked at last, in milliseconds since `opened`.
    looked: AtomicU64,
}

impl Foreign {
    pub fn new(connection: SqlitePool) -> Self {
        Self { connection, seen: AtomicI64::new(0), opened: Instant::now(), looked: AtomicU64::new(0) }
    }

    pub async fn close(&self) {
        self.connection.close().await;
    }

    /// Whether it is time for another look; true for one who asks only.
    fn is_due(&self) -> bool {
        let now = self.opened.elapsed();
        let looked = self.looked.load(Ordering::Relaxed);
        let due = now.saturating_sub(Duration::from_millis(looked)) >= Store::FOREIGN;
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        due && self.looked.compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Store {
    /// How long another program's write, one of the command line's, may stay unseen by the pages.
    pub const FOREIGN: Duration = Duration::from_millis(200);

    /// The version that what is read now, or was kept at it, is of.
    pub(super) async fn version(&self) -> Result<u64, StoreError> {
        if self.foreign.is_due() {
            let seen = sqlx::query_scalar("PRAGMA data_version").fetch_one(&self.foreign.connection).await?;
            if self.foreign.seen.swap(seen, Ordering::AcqRel) != seen {
                self.writer.count_foreign();
            }
        }
        Ok(self.writer.version())
    }

    /// What was read of a query for this key, where it still holds; else what `read` reads now.
    pub(super) async fn kept<K: Hash + Eq, V: Clone>(
        &self,
        memo: &Memo<K, V>,
        key: K,
        read: impl Future<Output = Result<V, StoreError>>,
    ) -> Result<V, StoreError> {
        let version = self.version().await?;
        if let Some(kept) = memo.get(version, &key) {
            return Ok(kept);
        }
        let value = read.await?;
        memo.keep(version, key, value.clone());
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        domain::Role,
        store::{
            Store,
            tests::{owner, store, submission},
        },
    };

    #[tokio::test]
    async fn what_was_kept_is_read_anew_after_a_write() {
        let (store, _dir) = store().await;
        let mira = owner(&store, "mira").await;
        assert_eq!(store.user(mira.id).await.unwrap().unwrap().role, Role::Owner);
        store.set_role(&mira.username, Role::Admin).await.unwrap();
        assert_eq!(store.user(mira.id).await.unwrap().unwrap().role, Role::Admin);

        assert!(store.instances(None).await.unwrap().is_empty());
        let name = store.submit(&submission(&mira, Some("shop1"))).await.unwrap().name;
        assert_eq!(store.instances(None).await.unwrap().len(), 1);
        assert_eq!(store.instance(&name).await.unwrap().unwrap().instance.owner, mira.id);
    }

    #[tokio::test]
    async fn another_programs_write_is_seen_in_a_moment() {
        let (here, dir) = store().await;
        let mira = owner(&here, "mira").await;
        assert!(!here.user(mira.id).await.unwrap().unwrap().is_disabled());
        let url = format!("sqlite://{}", dir.path().join("test.db").display());
        let other = Store::open(&url).await.unwrap();
        other.disable(&mira.username).await.unwrap();
        tokio::time::sleep(Store::FOREIGN * 2).await;
        assert!(here.user(mira.id).await.unwrap().unwrap().is_disabled());
    }

    #[tokio::test]
    async fn nothing_is_given_out_by_a_closed_store() {
        let (store, _dir) = store().await;
        let mira = owner(&store, "mira").await;
        store.user(mira.id).await.unwrap();
        store.close().await;
        store.user(mira.id).await.unwrap_err();
    }
}
