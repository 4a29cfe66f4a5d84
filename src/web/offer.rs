//! The machines of a cloud that has a choice of them, and what they cost, as pages tell it.

use crate::domain::{
    Instance, MachineType, Status,
    price::{Estimate, Machine},
};

/// The machines of a cloud that has a choice of them.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The types that forms offer.
    pub types: Vec<MachineType>,
    /// The type where the owner chooses none. It is offered too.
    pub default: MachineType,
    /// The region, by AWS's name; without it nothing is known of prices.
    pub region: Option<String>,
    /// The size of a machine's disk, in GiB.
    pub disk_gib: u16,
    /// Whether each machine has an Elastic IP, which it keeps while it is stopped.
    pub elastic_ip: bool,
}

impl Offer {
    /// The types that can be chosen, the default among them, in the order of the setting.
    pub fn choices(&self) -> Vec<&MachineType> {
        let default = Some(&self.default).filter(|default| !self.types.contains(default));
        default.into_iter().chain(&self.types).collect()
    }

    /// What a machine of this type costs a month, while it runs or while it is stopped; none where that is not known.
    pub fn month(&self, machine_type: &MachineType, runs: bool) -> Option<Estimate> {
        let region = self.region.as_deref()?;
        let has_public_ipv4 = runs || self.elastic_ip;
        Machine { region, machine_type, disk_gib: self.disk_gib, has_public_ipv4, runs }.month()
    }

    /// The type of an instance's machine.
    pub fn type_of<'a>(&'a self, instance: &'a Instance) -> &'a MachineType {
        instance.machine_type.as_ref().unwrap_or(&self.default)
    }

    /// What an instance costs a month as it is now, or will once it has its machine; none where that is not known, and
    /// where it has no machine and is to have none.
    pub fn month_of(&self, instance: &Instance) -> Option<Estimate> {
        let has_machine = match instance.status {
            Status::Requested | Status::Launching => true,
            Status::Terminating | Status::Terminated => false,
            Status::Booting
            | Status::Deploying
            | Status::Live
            | Status::Stopping
            | Status::Stopped
            | Status::Starting
            | Status::Failed => instance.instance_id.is_some(),
        };
        let machine_type = self.type_of(instance);
        has_machine.then(|| self.month(machine_type, !instance.status.is_off())).flatten()
    }
}
