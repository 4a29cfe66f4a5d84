//! Stopping, starting, rebooting and terminating machines. Each is repeated until it is seen to have happened.

use aws_sdk_ec2::types::Instance;

use super::{Ec2, errors::code, tags};
use crate::{cloud::CloudError, domain::InstanceId};

impl Ec2 {
    /// Stops a machine and keeps its disk. Idempotent.
    ///
    /// # Errors
    /// Where EC2 refuses, or there is no such machine.
    pub async fn stop(&self, id: &InstanceId) -> Result<(), CloudError> {
        let answer = self.0.ec2.stop_instances().instance_ids(id.as_str()).send().await;
        answer.map(drop).map_err(|error| self.explain("StopInstances", error))
    }

    /// Starts a stopped machine again; its public IP is another one, unless it is an Elastic IP. Idempotent.
    ///
    /// # Errors
    /// Where EC2 refuses, or there is no such machine.
    pub async fn start(&self, id: &InstanceId) -> Result<(), CloudError> {
        let answer = self.0.ec2.start_instances().instance_ids(id.as_str()).send().await;
        answer.map(drop).map_err(|error| self.explain("StartInstances", error))
    }

    /// Reboots a running machine; it keeps its address and its disk.
    ///
    /// # Errors
    /// Where EC2 refuses, or there is no such machine.
    pub async fn reboot(&self, id: &InstanceId) -> Result<(), CloudError> {
        let call = self.0.ec2.reboot_instances().instance_ids(id.as_str());
        match call.customize().config_override(Self::once()).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == Some("IncorrectInstanceState") => {
                Err(CloudError::never("The machine is not running."))
            }
            Err(error) => Err(self.explain("RebootInstances", error)),
        }
    }

    /// Asks for the end of a machine that carries this site's tag; one that is gone already is no error.
    ///
    /// # Errors
    /// Where EC2 refuses, or the machine is not this site's.
    pub async fn terminate(&self, id: &InstanceId) -> Result<(), CloudError> {
        let found = self.describe(vec![tags::filter("instance-id", [id.as_str()])]).await?;
        if found.first().is_some_and(is_gone) {
            return Ok(());
        }
        if let Some(machine) = found.first()
            && !self.is_ours(machine.tags())
        {
            return Err(CloudError::never(format!(
                "The machine {id} does not carry this site's tag {} = {}, so that it is not terminated from here. Put the tag back, or terminate it in AWS's console.",
                tags::SITE,
                self.0.config.site
            )));
        }
        self.end(id.as_str()).await
    }

    /// Asks for the end of a machine that is known to be this site's.
    pub(super) async fn end(&self, id: &str) -> Result<(), CloudError> {
        match self.0.ec2.terminate_instances().instance_ids(id).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == Some("InvalidInstanceID.NotFound") => Ok(()),
            Err(error) => Err(self.explain("TerminateInstances", error)),
        }
    }
}

/// Whether the machine has a state that it does not leave again.
pub(super) fn is_gone(machine: &Instance) -> bool {
    use aws_sdk_ec2::types::InstanceStateName::{ShuttingDown, Terminated};
    matches!(machine.state().and_then(|state| state.name()), Some(ShuttingDown | Terminated))
}
