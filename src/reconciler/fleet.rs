//! What the cloud shows of all machines: one listing shared by every instance that is looked at.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::{sync::Mutex, time::Instant};

use super::decide::Seen;
use crate::{
    cloud::{Cloud, CloudError, Machine},
    domain::{InstanceId, Timestamp},
    store::Store,
};

/// A listing, and when it was asked for.
#[derive(Debug)]
struct Listing {
    at: Timestamp,
    machines: HashMap<InstanceId, Machine>,
}

/// The last listing, and when the cloud was asked last, whether it answered or not.
#[derive(Debug, Default)]
struct Last {
    listing: Option<Listing>,
    asked: Option<Instant>,
}

/// The last listing.
#[derive(Clone, Debug)]
pub(super) struct Fleet {
    cloud: Cloud,
    store: Store,
    last: Arc<Mutex<Last>>,
}

impl Fleet {
    pub fn new(cloud: Cloud, store: Store) -> Self {
        Self { cloud, store, last: Arc::default() }
    }

    /// What a listing that was asked for after `since` shows of a machine. Those who need one at the same time share
    /// it; where the cloud was asked just now, its pace has to allow another listing first.
    pub async fn see(&self, id: &InstanceId, since: Timestamp) -> Seen {
        let mut last = self.last.lock().await;
        if last.listing.as_ref().is_none_or(|listing| listing.at <= since) {
            let between = self.cloud.pace().between;
            if last.asked.is_some_and(|asked| asked.elapsed() < between) {
                return Seen::Later;
            }
            last.asked = Some(Instant::now());
            let at = Timestamp::now();
            match self.list().await {
                Ok(machines) => last.listing = Some(Listing { at, machines }),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the cloud could not be asked for its machines"
                    );
                    return Seen::Unknown;
                }
            }
        }
        match last.listing.as_ref().and_then(|listing| listing.machines.get(id)) {
            Some(machine) => Seen::Machine(machine.clone()),
            None => Seen::Nothing,
        }
    }

    /// Something was asked of a machine: what was listed before is not true any more.
    pub async fn forget(&self) {
        self.last.lock().await.listing = None;
    }

    /// Every machine that carries this site's tag; those that instances have and the listing lacks are asked for by
    /// their ids, all of them at once.
    async fn list(&self) -> Result<HashMap<InstanceId, Machine>, CloudError> {
        let mut machines = self.cloud.list().await?;
        let listed: HashSet<_> = machines.iter().map(|machine| machine.id.clone()).collect();
        let known = self.store.machine_ids().await;
        let known =
            known.map_err(|error| CloudError::later("The site cannot read its database.").because(error))?;
        let missing: Vec<_> = known.into_iter().filter(|id| !listed.contains(id)).collect();
        if !missing.is_empty() {
            machines.extend(self.cloud.find(&missing).await?);
        }
        Ok(machines.into_iter().map(|machine| (machine.id.clone(), machine)).collect())
    }
}
