//! What carries this site's mark in the cloud and no record knows: each with what it costs a month, and what can be done
//! about it.

use axum::{Router, response::Redirect, routing::post};

use crate::{
    domain::{
        HoldingKind, MachineType, Orphan, OrphanWish, STOPPED, Timestamp,
        price::{Cents, Machine, disk, public_ipv4, snapshot},
    },
    store::Inventory,
    web::{
        Offer, Site,
        auth::{Admin, CheckedForm, NoFields},
        error::WebError,
        format::{ago, count},
    },
};

pub fn router() -> Router<Site> {
    Router::new().route("/cloud/orphans/look", post(look))
}

/// Asks for an inventory now.
async fn look(Admin(visit): Admin, _form: CheckedForm<NoFields>) -> Result<Redirect, WebError> {
    visit.site.store.want_inventory().await?;
    tracing::info!(by = %visit.user.username, "orphans are to be looked for");
    Ok(Redirect::to("/cloud#orphans"))
}

/// An orphan and what it costs.
#[derive(Clone, Debug)]
pub struct Row {
    pub orphan: Orphan,
    /// What it costs a month, where that is known.
    pub cost: Option<Cents>,
}

impl Row {
    /// What else is known of it, each in a line.
    pub fn subs(&self) -> Vec<String> {
        let holding = &self.orphan.holding;
        let ip = holding.public_ip.map(|ip| ip.to_string());
        let held = holding.holder.as_ref().map(|id| format!("held by {id}"));
        let failure = self.orphan.failure.clone();
        holding.name.clone().into_iter().chain(ip).chain(held).chain(failure).collect()
    }

    /// What kind of thing it is, in a sentence.
    pub fn kind(&self) -> &'static str {
        kind_in_words(self.orphan.holding.kind)
    }

    /// How large it is, in words.
    pub fn size(&self) -> Option<String> {
        let holding = &self.orphan.holding;
        let machine_type = holding.machine_type.as_ref().map(MachineType::to_string);
        let parts: Vec<_> =
            machine_type.into_iter().chain(holding.gib.map(|gib| format!("{gib} GiB"))).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Its state in words.
    pub fn state(&self) -> &str {
        match self.orphan.wish {
            Some(OrphanWish::Adopt) => "adopting",
            Some(OrphanWish::Terminate) => "terminating",
            None => &self.orphan.holding.state,
        }
    }

    /// The status whose colour it has: what has nothing wrong is still nobody's.
    pub fn tone(&self) -> &'static str {
        match self.orphan.wish {
            Some(OrphanWish::Adopt) => "starting",
            Some(OrphanWish::Terminate) => "terminating",
            None if self.orphan.failure.is_some() => "failed",
            None => "warn",
        }
    }

    /// Since when it is there, as far as that is known, as HTML.
    pub fn since(&self) -> String {
        match self.orphan.holding.created_at {
            Some(made) => ago(made),
            None => format!("found {}", ago(self.orphan.found_at)),
        }
    }

    /// What it costs a month, in words.
    pub fn month(&self) -> String {
        self.cost.map_or_else(|| "not known".to_owned(), |cost| cost.to_string())
    }
}

/// What the part of the page shows.
pub struct OrphansView {
    pub rows: Vec<Row>,
    pub inventory: Inventory,
}

impl OrphansView {
    /// The orphans as they were seen last.
    pub async fn of(site: &Site) -> Result<Self, WebError> {
        Ok(Self { rows: rows(site).await?, inventory: site.store.inventory().await? })
    }

    /// Whether something will change by itself.
    pub fn is_moving(&self) -> bool {
        self.inventory.is_awaited() || self.rows.iter().any(|row| row.orphan.wish.is_some())
    }

    /// What they cost a month, where anything is known of that.
    pub fn month(&self) -> Option<Cents> {
        month(&self.rows)
    }

    /// When they were looked for, as HTML.
    pub fn looked(&self) -> String {
        match self.inventory.looked_at {
            _ if self.inventory.is_awaited() => "looking now".to_owned(),
            Some(at) if at <= Timestamp::now() => format!("looked for {}", ago(at)),
            Some(_) | None => "not looked for yet".to_owned(),
        }
    }
}

/// Every orphan with what it costs.
pub async fn rows(site: &Site) -> Result<Vec<Row>, WebError> {
    let orphans = site.store.orphans().await?;
    let offer = site.settings.offer.as_ref();
    let cost = |orphan: &Orphan| offer.and_then(|offer| month_of(orphan, &orphans, offer));
    Ok(orphans.iter().map(|orphan| Row { orphan: orphan.clone(), cost: cost(orphan) }).collect())
}

/// One orphan with what it costs.
pub async fn row(site: &Site, orphan: Orphan) -> Result<Row, WebError> {
    let orphans = site.store.orphans().await?;
    let cost = site.settings.offer.as_ref().and_then(|offer| month_of(&orphan, &orphans, offer));
    Ok(Row { orphan, cost })
}

/// What orphans cost a month, where anything is known of that.
pub fn month(rows: &[Row]) -> Option<Cents> {
    let known: Vec<_> = rows.iter().filter_map(|row| row.cost).collect();
    (!known.is_empty()).then(|| known.into_iter().sum())
}

/// How many of what: `2 machines, 1 Elastic IP`.
pub fn in_words(rows: &[Row]) -> String {
    let of = |kind| rows.iter().filter(|row| row.orphan.holding.kind == kind).count() as u64;
    let kinds = HoldingKind::ALL.into_iter().filter(|kind| of(*kind) > 0);
    kinds.map(|kind| count(of(kind), kind_in_words(kind))).collect::<Vec<_>>().join(", ")
}

/// A kind of thing, in a sentence.
fn kind_in_words(kind: HoldingKind) -> &'static str {
    match kind {
        HoldingKind::Machine => "machine",
        HoldingKind::Image => "golden image",
        HoldingKind::Address => "Elastic IP",
        HoldingKind::Volume => "volume",
        HoldingKind::Snapshot => "snapshot",
    }
}

/// What an orphan costs a month, where that is known. An address that is an orphan by itself is not told again with
/// its machine.
fn month_of(orphan: &Orphan, all: &[Orphan], offer: &Offer) -> Option<Cents> {
    let holding = &orphan.holding;
    let region = offer.region.as_deref()?;
    let gib = holding.gib.map(u64::from);
    match holding.kind {
        HoldingKind::Machine => {
            let told_apart = all.iter().any(|other| {
                other.holding.kind == HoldingKind::Address
                    && other.holding.holder.as_ref() == Some(&holding.id)
            });
            let machine = Machine {
                region,
                machine_type: holding.machine_type.as_ref()?,
                disk_gib: 0,
                has_public_ipv4: holding.public_ip.is_some() && !told_apart,
                runs: holding.state != STOPPED,
            };
            Some(machine.month()?.total() + disk(region, gib.unwrap_or_default())?)
        }
        // An image is its snapshots.
        HoldingKind::Image | HoldingKind::Snapshot => snapshot(region, gib?),
        HoldingKind::Address => Some(public_ipv4()),
        HoldingKind::Volume => disk(region, gib?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Holding, OrphanId, RUNNING};

    fn orphan(holding: Holding) -> Orphan {
        Orphan {
            row: OrphanId(1),
            holding,
            found_at: Timestamp(0),
            last_seen_at: Timestamp(0),
            wish: None,
            wished_by: None,
            failure: None,
        }
    }

    fn offer(region: Option<&str>) -> Offer {
        Offer {
            types: Vec::new(),
            default: "t3.small".parse().unwrap(),
            region: region.map(str::to_owned),
            disk_gib: 16,
            elastic_ip: false,
        }
    }

    // $0.0208 × 730 = $15.184; 16 × $0.08 = $1.28; $0.005 × 730 = $3.65; 8 × $0.05 = $0.40.
    #[test]
    fn each_kind_has_its_price_and_nothing_is_told_twice() {
        let machine = orphan(Holding {
            machine_type: Some("t3.small".parse().unwrap()),
            gib: Some(16),
            public_ip: Some("203.0.113.9".parse().unwrap()),
            ..Holding::new(HoldingKind::Machine, "i-1", RUNNING)
        });
        let address = orphan(Holding {
            holder: Some("i-1".to_owned()),
            ..Holding::new(HoldingKind::Address, "eipalloc-1", "in use")
        });
        let of = |kind, gib| orphan(Holding { gib: Some(gib), ..Holding::new(kind, "x", "available") });
        let there = offer(Some("us-east-1"));
        let cost = |orphan: &Orphan, all: &[Orphan]| month_of(orphan, all, &there).map(|cents| cents.0);
        assert_eq!(cost(&machine, &[]), Some(1518 + 128 + 365));
        assert_eq!(cost(&machine, std::slice::from_ref(&address)), Some(1518 + 128));
        assert_eq!(cost(&address, &[]), Some(365));
        let stopped = Holding { state: STOPPED.to_owned(), public_ip: None, ..machine.holding.clone() };
        assert_eq!(cost(&orphan(stopped), &[]), Some(128));
        assert_eq!(cost(&of(HoldingKind::Volume, 16), &[]), Some(128));
        assert_eq!(cost(&of(HoldingKind::Snapshot, 8), &[]), Some(40));
        assert_eq!(cost(&of(HoldingKind::Image, 8), &[]), Some(40));
        let unknown = Holding { machine_type: None, ..machine.holding.clone() };
        assert_eq!(cost(&orphan(unknown), &[]), None, "nothing is said rather than a wrong thing");
        assert_eq!(month_of(&machine, &[], &offer(None)), None);
    }

    #[test]
    fn they_are_told_in_words() {
        let row = |kind| Row { orphan: orphan(Holding::new(kind, "x", "idle")), cost: Some(Cents(100)) };
        let rows = [row(HoldingKind::Address), row(HoldingKind::Machine), row(HoldingKind::Machine)];
        assert_eq!(in_words(&rows), "2 machines, 1 Elastic IP");
        assert_eq!(month(&rows), Some(Cents(300)));
        assert_eq!(month(&[]), None);
    }
}
