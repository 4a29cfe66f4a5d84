//! What the cloud shows of all machines: one listing shared by every instance that is looked at.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::Mutex;

use super::decide::Seen;
use crate::{
    cloud::{Cloud, CloudError, Machine},
    domain::{InstanceId, Timestamp},
};

/// A listing, and when it was asked for.
#[derive(Debug)]
struct Listing {
    at: Timestamp,
    machines: HashMap<InstanceId, Machine>,
}

/// The last listing.
#[derive(Clone, Debug)]
pub(super) struct Fleet {
    cloud: Cloud,
    last: Arc<Mutex<Option<Listing>>>,
}

impl Fleet {
    pub fn new(cloud: Cloud) -> Self {
        Self { cloud, last: Arc::default() }
    }

    /// What a listing that was asked for after `since` shows of a machine. Those who need one at
    /// the same time share it.
    pub async fn see(&self, id: &InstanceId, since: Timestamp) -> Seen {
        let mut last = self.last.lock().await;
        if last.as_ref().is_none_or(|listing| listing.at <= since) {
            let at = Timestamp::now();
            match self.list().await {
                Ok(machines) => *last = Some(Listing { at, machines }),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the cloud could not be asked for its machines"
                    );
                    return Seen::Unknown;
                }
            }
        }
        match last.as_ref().and_then(|listing| listing.machines.get(id)) {
            Some(machine) => Seen::Machine(machine.clone()),
            None => Seen::Nothing,
        }
    }

    async fn list(&self) -> Result<HashMap<InstanceId, Machine>, CloudError> {
        let machines = self.cloud.list().await?;
        Ok(machines.into_iter().map(|machine| (machine.id.clone(), machine)).collect())
    }
}
