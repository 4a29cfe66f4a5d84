//! Whose turn it is: a few looks at once, and one for each owner, so that nobody can take them all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::domain::UserId;

type Owners = HashMap<UserId, Weak<tokio::sync::Mutex<()>>>;

/// The turns of a site.
#[derive(Debug)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    owners: Mutex<Owners>,
}

/// A turn; dropped, it is the next one's.
#[derive(Debug)]
pub(super) struct Turn {
    _owner: OwnedMutexGuard<()>,
    _all: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(super) fn new(at_once: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(at_once)), owners: Mutex::default() }
    }

    /// Waits until no other look of `owner` is under way, then until there is room.
    pub(super) async fn take(&self, owner: UserId) -> Turn {
        // The owner's own lock first: who waits for oneself must not take room from others.
        let lock = self.lock_of(owner);
        let owner = lock.lock_owned().await;
        // The semaphore is never closed.
        Turn { _owner: owner, _all: Arc::clone(&self.all).acquire_owned().await.ok() }
    }

    fn lock_of(&self, owner: UserId) -> Arc<tokio::sync::Mutex<()>> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = owners.get(&owner).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        owners.insert(owner, Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn one_for_each_owner_and_a_few_in_all() {
        let turns = Turns::new(2);
        let first = turns.take(UserId(1)).await;
        assert!(turns.take(UserId(1)).now_or_never().is_none(), "an owner has one");
        let second = turns.take(UserId(2)).await;
        assert!(turns.take(UserId(3)).now_or_never().is_none(), "two are the most");
        drop(second);
        assert!(turns.take(UserId(3)).now_or_never().is_some());
        drop(first);
        assert!(turns.take(UserId(1)).now_or_never().is_some());
        assert!(turns.owners.lock().unwrap().len() <= 2, "owners are forgotten");
    }
}
