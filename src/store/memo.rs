//! What was read is kept for the next who asks, until anything is written: most pages are asked for more often than
//! something changes.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{PoisonError, RwLock},
};

/// Answers of one query, by what was asked. Each holds for the version of the database that it was read at.
pub(super) struct Memo<K, V>(RwLock<HashMap<K, (u64, V)>>);

/// Most answers that are kept of one query: when there are more, those of older versions go, or all.
const KEPT: usize = 256;

impl<K: Hash + Eq, V: Clone> Memo<K, V> {
    /// The answer, where it was read at this version.
    pub fn get(&self, version: u64, key: &K) -> Option<V> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|(read_at, _)| *read_at == version).map(|(_, value)| value.clone())
    }

    /// Keeps an answer. `version` is what was asked for before it was read.
    pub fn keep(&self, version: u64, key: K, value: V) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.retain(|_, (read_at, _)| *read_at == version);
            if kept.len() >= KEPT {
                kept.clear();
            }
        }
        kept.insert(key, (version, value));
    }
}

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K, V> fmt::Debug for Memo<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memo")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_for_its_version_alone() {
        let memo = Memo::<char, i32>::default();
        memo.keep(1, 'a', 10);
        assert_eq!(memo.get(1, &'a'), Some(10));
        assert_eq!(memo.get(2, &'a'), None);
        assert_eq!(memo.get(1, &'b'), None);
        memo.keep(2, 'a', 11);
        assert_eq!(memo.get(2, &'a'), Some(11));
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let memo = Memo::<usize, ()>::default();
        for n in 0..10 * KEPT {
            memo.keep(1, n, ());
        }
        assert!(memo.0.read().unwrap().len() <= KEPT);
        assert_eq!(memo.get(1, &(10 * KEPT - 1)), Some(()));
    }
}
