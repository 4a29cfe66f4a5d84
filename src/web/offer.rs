//! The machines of a cloud that has a choice of them, and what they cost, as pages tell it.

use crate::domain::{
    Instance, MachineType, Status,
    price::{AS_OF, Estimate, Machine, size},
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
        let runs = !instance.status.is_off();
        Self::has_machine(instance).then(|| self.month(self.type_of(instance), runs)).flatten()
    }

    /// Whether an instance has a machine to pay for, or is about to have one.
    pub fn has_machine(instance: &Instance) -> bool {
        match instance.status {
            Status::Requested | Status::Launching => true,
            Status::Terminating | Status::Terminated => false,
            Status::Booting
            | Status::Deploying
            | Status::Live
            | Status::Stopping
            | Status::Stopped
            | Status::Starting
            | Status::Failed => instance.instance_id.is_some(),
        }
    }
}

/// What a type of machine is: `2 vCPU, 2 GiB`; none where that is not known.
pub fn size_in_words(machine_type: &MachineType) -> Option<String> {
    size(machine_type).map(|(vcpu, memory)| format!("{vcpu} vCPU, {memory} GiB"))
}

impl Offer {
    /// A type as it is offered: `t3.small: 2 vCPU, 2 GiB, about $20 a month`, as far as that is known.
    pub fn label(&self, machine_type: &MachineType) -> String {
        let price =
            self.month(machine_type, true).map(|month| format!("about {} a month", month.total().about()));
        let known: Vec<_> = size_in_words(machine_type).into_iter().chain(price).collect();
        if known.is_empty() {
            machine_type.to_string()
        } else {
            format!("{machine_type}: {}", known.join(", "))
        }
    }

    /// What the prices of the choices are of; or that none is known.
    pub fn basis(&self) -> String {
        let known = self.choices().iter().any(|machine_type| self.month(machine_type, true).is_some());
        match &self.region {
            Some(region) if known => format!(
                "With a disk of {} GiB and a public IPv4 address, by AWS's list prices of {} for {region}.",
                self.disk_gib,
                AS_OF.date()
            ),
            _ => "What they cost a month is not known here.".to_owned(),
        }
    }

    /// What a machine of this type costs while it runs, as a sentence, where that is known.
    pub fn cost(&self, machine_type: &MachineType) -> Option<String> {
        let month = self.month(machine_type, true)?;
        Some(format!("About {} a month on {machine_type}, while it runs.", month.total().about()))
    }
}
