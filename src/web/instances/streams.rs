//! How many event streams a person has open. Each holds a connection and looks at the store at
//! every change, so that there is a limit.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::domain::UserId;

/// The open event streams of everybody.
#[derive(Clone, Debug, Default)]
pub struct Streams(Arc<Mutex<HashMap<UserId, usize>>>);

/// One open stream; counted until it is dropped.
#[derive(Debug)]
pub struct OpenStream {
    of: UserId,
    streams: Streams,
}

impl Streams {
    /// Most streams of one person: many tabs on several devices.
    const MAX: usize = 32;

    /// Counts one more stream, unless the person has too many.
    pub fn open(&self, of: UserId) -> Option<OpenStream> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(of).or_default();
        if *count >= Self::MAX {
            return None;
        }
        *count += 1;
        Some(OpenStream { of, streams: self.clone() })
    }

    /// How many are open, of everybody.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut counts = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_has_so_many_streams_and_closed_ones_do_not_count() {
        let streams = Streams::default();
        let open: Vec<_> = (0..Streams::MAX).map(|_| streams.open(UserId(1)).unwrap()).collect();
        assert!(streams.open(UserId(1)).is_none());
        assert!(streams.open(UserId(2)).is_some());
        drop(open);
        assert!(streams.0.lock().unwrap().is_empty());
    }
}
