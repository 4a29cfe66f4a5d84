//! What masks secrets, kept for each instance whose log grows: made anew for each piece of it, it would take longer than
//! all the rest.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::domain::{RowId, Scrubber};

/// The scrubbers of instances. They are read, kept and forgotten within transactions that may write, of which there is
/// one at a time.
#[derive(Debug, Default)]
pub(super) struct Scrubbers(Mutex<HashMap<RowId, Arc<Scrubber>>>);

impl Scrubbers {
    /// Instances whose scrubbers are kept: as many as deploy at once, and more.
    const KEPT: usize = 64;

    fn all(&self) -> MutexGuard<'_, HashMap<RowId, Arc<Scrubber>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, instance: RowId) -> Option<Arc<Scrubber>> {
        self.all().get(&instance).cloned()
    }

    pub fn keep(&self, instance: RowId, scrubber: Scrubber) -> Arc<Scrubber> {
        let scrubber = Arc::new(scrubber);
        let mut all = self.all();
        if all.len() >= Self::KEPT {
            all.clear();
        }
        all.insert(instance, scrubber.clone());
        scrubber
    }

    /// An instance has other secrets from now on.
    pub fn forget(&self, instance: RowId) {
        self.all().remove(&instance);
    }
}
