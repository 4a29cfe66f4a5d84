//! Machines on this host.

use std::{net::Ipv4Addr, path::PathBuf};

use tokio::sync::mpsc;

use super::{BakeSpec, Baked, CloudError, LaunchRequest, Machine};
use crate::domain::{DeploymentId, InstanceId};

/// How this host runs machines.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// Where base, images and machines are kept: `STATE_DIR/local`.
    pub state_dir: PathBuf,
    /// The bridge's name, at most 15 characters: `LOCAL_BRIDGE`.
    pub bridge: String,
    /// The bridge's own address, the first of the subnet.
    pub gateway: Ipv4Addr,
    /// The subnet's prefix length: `LOCAL_SUBNET` is gateway's network and this.
    pub prefix: u8,
    /// The port on the bridge's address that machines may reach: the callback listener's.
    pub callback_port: u16,
    /// The site's random id, the tag of its machines.
    pub site: String,
    /// This program, which also holds a machine's terminal.
    pub program: PathBuf,
}

/// Machines on this host.
#[derive(Clone, Debug)]
pub struct Local {}

#[allow(clippy::unused_async, missing_docs, unused_variables)]
impl Local {
    pub fn new(config: LocalConfig) -> Self {
        Self {}
    }
    pub async fn prepare(&self) -> Result<(), CloudError> {
        unimplemented!()
    }
    pub async fn launch(&self, request: &LaunchRequest) -> Result<Machine, CloudError> {
        unimplemented!()
    }
    pub async fn list(&self) -> Result<Vec<Machine>, CloudError> {
        unimplemented!()
    }
    pub async fn stop(&self, id: &InstanceId) -> Result<(), CloudError> {
        unimplemented!()
    }
    pub async fn start(&self, id: &InstanceId) -> Result<(), CloudError> {
        unimplemented!()
    }
    pub async fn terminate(&self, id: &InstanceId) -> Result<(), CloudError> {
        unimplemented!()
    }
    pub async fn run(
        &self,
        id: &InstanceId,
        deployment: DeploymentId,
        script: &[u8],
    ) -> Result<(), CloudError> {
        unimplemented!()
    }
    pub async fn console(&self, id: &InstanceId) -> Result<Vec<u8>, CloudError> {
        unimplemented!()
    }
    pub async fn bake(&self, spec: BakeSpec, log: mpsc::Sender<Vec<u8>>) -> Result<Baked, CloudError> {
        unimplemented!()
    }
    pub async fn images(&self) -> Result<Vec<String>, CloudError> {
        unimplemented!()
    }
}
