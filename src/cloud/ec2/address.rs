//! Elastic IPs: one for each machine where the settings want it. An allocation has no client token, so that what
//! was allocated is found by its tags before another is asked for, and what is too many is released.

use aws_sdk_ec2::types::{Address, DomainType, ResourceType};

use super::{Ec2, errors::code, tags};
use crate::{
    cloud::{CloudError, ElasticIp, LaunchRequest},
    domain::InstanceId,
};

impl Ec2 {
    /// Whether machines are to have Elastic IPs.
    pub fn gives_addresses(&self) -> bool {
        self.0.config.elastic_ip
    }

    /// Gives a running machine the Elastic IP of its launch: the one that carries the token, else a new one.
    /// Idempotent.
    ///
    /// # Errors
    /// Where EC2 refuses; repeat the call.
    pub async fn give_address(
        &self,
        request: &LaunchRequest,
        id: &InstanceId,
    ) -> Result<ElasticIp, CloudError> {
        let mut there = self.addresses(&request.token).await?;
        if there.is_empty() {
            self.allocate(request).await?;
            there = self.addresses(&request.token).await?;
        }
        let kept = there.iter().position(|address| address.instance_id() == Some(id.as_str())).unwrap_or(0);
        if kept >= there.len() {
            return Err(CloudError::later("AWS does not show yet the Elastic IP that it has allocated."));
        }
        let address = there.swap_remove(kept);
        for extra in &there {
            self.release(extra).await?;
        }
        let elastic = elastic(&address)?;
        if address.instance_id() != Some(id.as_str()) {
            let call = self.0.ec2.associate_address().allocation_id(&elastic.id).instance_id(id.as_str());
            call.send().await.map_err(|error| self.explain("AssociateAddress", error))?;
        }
        Ok(elastic)
    }

    /// Releases whatever Elastic IPs carry a launch token. Idempotent.
    ///
    /// # Errors
    /// Where EC2 refuses; repeat the call.
    pub async fn release_addresses(&self, token: &str) -> Result<(), CloudError> {
        for address in self.addresses(token).await? {
            self.release(&address).await?;
        }
        Ok(())
    }

    async fn addresses(&self, token: &str) -> Result<Vec<Address>, CloudError> {
        let call =
            self.0.ec2.describe_addresses().filters(self.ours()).filters(tags::with(tags::TOKEN, token));
        let answer = call.send().await.map_err(|error| self.explain("DescribeAddresses", error))?;
        let mut found = answer.addresses.unwrap_or_default();
        // The same one whoever looks.
        found.sort_by(|a, b| a.allocation_id.cmp(&b.allocation_id));
        Ok(found)
    }

    async fn allocate(&self, request: &LaunchRequest) -> Result<(), CloudError> {
        let call = self.0.ec2.allocate_address().domain(DomainType::Vpc);
        let call = call.tag_specifications(tags::on(ResourceType::ElasticIp, &tags::of(request)));
        let answer = call.customize().config_override(Self::once()).send().await;
        answer.map(drop).map_err(|error| self.explain("AllocateAddress", error))
    }

    /// Takes an address from whatever has it, and gives it back.
    pub(super) async fn release(&self, address: &Address) -> Result<(), CloudError> {
        if let Some(association) = address.association_id() {
            let answer = self.0.ec2.disassociate_address().association_id(association).send().await;
            if let Err(error) = answer
                && code(&error) != Some("InvalidAssociationID.NotFound")
            {
                return Err(self.explain("DisassociateAddress", error));
            }
        }
        let Some(id) = address.allocation_id() else { return Ok(()) };
        match self.0.ec2.release_address().allocation_id(id).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == Some("InvalidAllocationID.NotFound") => Ok(()),
            Err(error) => Err(self.explain("ReleaseAddress", error)),
        }
    }
}

fn elastic(address: &Address) -> Result<ElasticIp, CloudError> {
    let ip = address.public_ip().and_then(|ip| ip.parse().ok());
    match (address.allocation_id(), ip) {
        (Some(id), Some(ip)) => Ok(ElasticIp { id: id.to_owned(), ip }),
        _ => Err(CloudError::later("AWS shows an Elastic IP without its address.")),
    }
}
