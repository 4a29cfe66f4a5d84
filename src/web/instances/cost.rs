//! What an instance's machine is and costs, on its page and as JSON.

use serde::Serialize;

use crate::{
    domain::{
        Instance,
        price::{AS_OF, Estimate},
    },
    web::{Offer, Site, format::escape, offer::size_in_words},
};

/// What an instance's machine is and costs, in a cloud that has a choice of them.
pub struct Cost {
    /// Its type.
    machine_type: String,
    /// What that is, where it is known.
    size: Option<String>,
    /// Whether there is a machine to pay for, or is to be.
    pub has_machine: bool,
    /// What it costs a month as it is now, where that is known.
    pub month: Option<Estimate>,
    /// What it costs a month while it is stopped, where that is known.
    pub stopped: Option<Estimate>,
    /// Whether it has an Elastic IP, which it keeps while it is stopped.
    pub keeps_address: bool,
    is_off: bool,
    pub disk_gib: u16,
    region: Option<String>,
}

impl Cost {
    /// Of an instance as it is now; none in a cloud that has no choice of machines.
    pub fn of(site: &Site, instance: &Instance) -> Option<Self> {
        let offer = site.settings.offer.as_ref()?;
        let machine_type = offer.type_of(instance);
        Some(Self {
            machine_type: machine_type.to_string(),
            size: size_in_words(machine_type),
            has_machine: Offer::has_machine(instance),
            month: offer.month_of(instance),
            stopped: offer.month(machine_type, false),
            keeps_address: offer.elastic_ip,
            is_off: instance.status.is_off(),
            disk_gib: offer.disk_gib,
            region: offer.region.clone(),
        })
    }

    /// The type and what it is, as HTML.
    pub fn machine_type(&self) -> String {
        let name = escape(&self.machine_type);
        match &self.size {
            Some(size) => format!(r#"<code>{name}</code> <span class="quiet small num">{size}</span>"#),
            None => format!("<code>{name}</code>"),
        }
    }

    /// When it costs that.
    pub fn state(&self) -> &'static str {
        if self.is_off { "while it is stopped" } else { "while it runs" }
    }

    /// What the prices are of.
    pub fn basis(&self) -> String {
        let region = self.region.as_deref().unwrap_or_default();
        format!(
            "An estimate by AWS's list prices of {} for {region}, without traffic and taxes.",
            AS_OF.date()
        )
    }
}

/// What a machine costs a month, as JSON, in cents.
#[derive(Serialize)]
pub struct MonthInfo {
    currency: &'static str,
    machine_cents: u64,
    disk_cents: u64,
    public_ipv4_cents: u64,
    total_cents: u64,
    region: Option<String>,
    /// The day of the list prices; RFC 3339, UTC.
    as_of: String,
}

impl Cost {
    /// The type, and what is known of what it costs.
    pub fn info(self) -> (String, Option<MonthInfo>) {
        let month = self.month.map(|month| MonthInfo {
            currency: "USD",
            machine_cents: month.machine.0,
            disk_cents: month.disk.0,
            public_ipv4_cents: month.public_ipv4.0,
            total_cents: month.total().0,
            region: self.region,
            as_of: AS_OF.rfc3339(),
        });
        (self.machine_type, month)
    }
}
