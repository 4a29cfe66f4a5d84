//! How many machines there are, of each owner and in all, and what they cost a month.

use std::collections::BTreeMap;

use crate::{
    domain::{
        Instance,
        price::{AS_OF, Cents, SOURCE},
    },
    web::{Offer, Site, error::WebError, format::count},
};

/// The machines of one owner, or of all.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Machines that run, or are on their way to it.
    pub running: u64,
    /// Machines that are stopped, or are being stopped.
    pub stopped: u64,
    /// What those cost a month whose price is known.
    month: Cents,
    /// Machines whose price is not known.
    unknown: u64,
}

impl Line {
    fn add(&mut self, instance: &Instance, offer: Option<&Offer>) {
        let runs = !instance.status.is_off();
        *(if runs { &mut self.running } else { &mut self.stopped }) += 1;
        // One that is being terminated costs until it is gone.
        match offer.and_then(|offer| offer.month(offer.type_of(instance), runs)) {
            Some(month) => self.month = self.month + month.total(),
            None => self.unknown += 1,
        }
    }

    /// What they cost a month, in words; machines without a known price are told of, not left out.
    pub fn month(&self) -> String {
        match (self.running + self.stopped - self.unknown, self.unknown) {
            (0, 0) => Cents::default().to_string(),
            (0, _) => "not known".to_owned(),
            (_, 0) => self.month.to_string(),
            (_, unknown) => format!("{} and {} without a known price", self.month, count(unknown, "machine")),
        }
    }
}

/// The machines of each owner and of all.
pub struct Totals {
    /// By the owner's name; owners without a machine are left out.
    pub owners: Vec<(String, Line)>,
    pub all: Line,
    /// The cloud's name.
    pub cloud: &'static str,
    /// Whether machines of this cloud cost money.
    pub cost: bool,
    /// The region whose prices they are.
    pub region: Option<String>,
}

impl Totals {
    /// As they are now.
    pub async fn of(site: &Site) -> Result<Self, WebError> {
        let offer = site.settings.offer.as_ref();
        let (mut owners, mut all) = (BTreeMap::<String, Line>::new(), Line::default());
        for found in site.store.instances(None).await?.iter() {
            let instance = &found.instance;
            if instance.instance_id.is_some() {
                owners.entry(instance.owner_name.to_string()).or_default().add(instance, offer);
                all.add(instance, offer);
            }
        }
        Ok(Self {
            owners: owners.into_iter().collect(),
            all,
            cloud: site.settings.cloud,
            cost: offer.is_some(),
            region: offer.and_then(|offer| offer.region.clone()),
        })
    }

    /// The day whose prices they are.
    pub fn as_of(&self) -> String {
        AS_OF.date()
    }

    /// Where AWS tells its prices.
    pub fn source(&self) -> &'static str {
        SOURCE
    }
}
