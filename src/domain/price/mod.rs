//! What a machine costs a month, as far as that can be known beforehand.
//!
//! The figures are AWS's list prices as they were on [`AS_OF`], in US dollars: on demand, Linux, shared tenancy, without
//! taxes, free tiers, discounts, traffic, and without what burstable types are charged for surplus credits. They are for
//! people to compare by; what AWS charges is what its own pages say: [`SOURCE`] for machines,
//! <https://aws.amazon.com/ebs/pricing/> for disks and snapshots, <https://aws.amazon.com/vpc/pricing/> for public IPv4
//! addresses. What is not in the table has no estimate, rather than a wrong one.

mod table;

use std::{fmt, iter::Sum, ops::Add};

use super::{MachineType, Timestamp};

/// The day whose list prices these are.
pub const AS_OF: Timestamp = Timestamp(1_740_873_600_000);
/// Where the prices of machines are, with those of today.
pub const SOURCE: &str = "https://aws.amazon.com/ec2/pricing/on-demand/";
/// Hours of a month, as AWS's own calculator has them: 365 × 24 / 12.
const HOURS: u64 = 730;
/// Hundred-thousandths of a dollar, in which the table is, in a cent.
const UNITS: u64 = 1000;

/// An amount of money, in cents of a US dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cents(pub u64);

impl Cents {
    /// Of an amount in the table's unit, to the nearest cent.
    fn of(units: u64) -> Self {
        Self((units + UNITS / 2) / UNITS)
    }

    /// To the nearest dollar where it is one or more: `$20`; else as it is.
    pub fn about(self) -> String {
        if self.0 < 100 { self.to_string() } else { format!("${}", (self.0 + 50) / 100) }
    }
}

impl fmt::Display for Cents {
    /// Dollars and cents: `$15.18`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl Add for Cents {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sum for Cents {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// What a machine is, as far as it makes its price.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// The region, by AWS's name.
    pub region: &'a str,
    /// The type.
    pub machine_type: &'a MachineType,
    /// The size of its disk, a gp3 volume at its basic speed.
    pub disk_gib: u16,
    /// Whether it has a public IPv4 address: while it runs each has; while it is stopped, one with an Elastic IP.
    pub has_public_ipv4: bool,
    /// Whether it runs; one that is stopped costs its disk, and an address that it keeps.
    pub runs: bool,
}

/// What a machine costs a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The machine itself.
    pub machine: Cents,
    /// Its disk.
    pub disk: Cents,
    /// Its public IPv4 address.
    pub public_ipv4: Cents,
}

impl Estimate {
    /// All of it. It is the sum of what is shown of its parts, to the cent.
    pub fn total(&self) -> Cents {
        self.machine + self.disk + self.public_ipv4
    }
}

impl Machine<'_> {
    /// What it costs a month; none where the region or the type is not in the table.
    pub fn month(&self) -> Option<Estimate> {
        let hour = hour(self.region, self.machine_type)?;
        Some(Estimate {
            machine: if self.runs { Cents::of(hour * HOURS) } else { Cents::default() },
            disk: disk(self.region, self.disk_gib.into())?,
            public_ipv4: if self.has_public_ipv4 { public_ipv4() } else { Cents::default() },
        })
    }
}

/// A month of a gp3 volume of this size at its basic speed; none where the region is not in the table.
pub fn disk(region: &str, gib: u64) -> Option<Cents> {
    Some(Cents::of(table::GP3_GIB[column(region)?] * gib))
}

/// A month of a snapshot of which so much is stored; none where the region is not in the table.
pub fn snapshot(region: &str, gib: u64) -> Option<Cents> {
    Some(Cents::of(table::SNAPSHOT_GIB[column(region)?] * gib))
}

/// A month of a public IPv4 address, in use or idle.
pub fn public_ipv4() -> Cents {
    Cents::of(table::PUBLIC_IPV4_HOUR * HOURS)
}

/// Virtual processors and GiB of memory of a type, where it is in the table.
pub fn size(machine_type: &MachineType) -> Option<(u8, u8)> {
    row(machine_type).map(|row| (row.vcpu, row.memory_gib))
}

fn column(region: &str) -> Option<usize> {
    table::REGIONS.iter().position(|known| *known == region)
}

fn row(machine_type: &MachineType) -> Option<&'static table::Type> {
    table::TYPES.iter().find(|row| row.name == machine_type.as_str())
}

/// An hour of a machine in the table's unit, where the region has the type.
fn hour(region: &str, machine_type: &MachineType) -> Option<u64> {
    let hour = row(machine_type)?.hour[column(region)?];
    (hour > 0).then_some(hour)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(
        region: &str,
        machine_type: &str,
        disk_gib: u16,
        has_public_ipv4: bool,
        runs: bool,
    ) -> Option<[u64; 4]> {
        let machine_type = &machine_type.parse().unwrap();
        let machine = Machine { region, machine_type, disk_gib, has_public_ipv4, runs };
        let cost = machine.month()?;
        Some([cost.machine.0, cost.disk.0, cost.public_ipv4.0, cost.total().0])
    }

    // Each is worked out by hand from the prices on AWS's pages.
    #[test]
    fn a_month_is_730_hours_a_disk_and_an_address() {
        // $0.0208 × 730 = $15.184; 16 × $0.08 = $1.28; $0.005 × 730 = $3.65.
        assert_eq!(month("us-east-1", "t3.small", 16, true, true), Some([1518, 128, 365, 2011]));
        // $0.012 × 730 = $8.76; 8 × $0.0952 = $0.7616.
        assert_eq!(month("eu-central-1", "t3.micro", 8, true, true), Some([876, 76, 365, 1317]));
        // $0.0425 × 730 = $31.025, half a cent rounded up; 20 × $0.0928 = $1.856.
        assert_eq!(month("eu-west-2", "t3a.medium", 20, true, true), Some([3103, 186, 365, 3654]));
        // $0.13067 × 730 = $95.3891; 100 × $0.152 = $15.20.
        assert_eq!(month("sa-east-1", "c7i-flex.large", 100, true, true), Some([9539, 1520, 365, 11424]));
        // $0.248 × 730 = $181.04; 30 × $0.096 = $2.88.
        assert_eq!(month("ap-northeast-1", "m6i.xlarge", 30, false, true), Some([18104, 288, 0, 18392]));
    }

    #[test]
    fn a_stopped_machine_costs_its_disk_and_the_address_that_it_keeps() {
        assert_eq!(month("us-east-1", "t3.small", 16, false, false), Some([0, 128, 0, 128]));
        assert_eq!(month("us-east-1", "t3.small", 16, true, false), Some([0, 128, 365, 493]));
    }

    #[test]
    fn what_is_not_in_the_table_has_no_estimate() {
        assert_eq!(month("moon-west-1", "t3.small", 16, true, true), None);
        assert_eq!(month("us-east-1", "x9.small", 16, true, true), None);
        // A region that does not have the type: also of one that is stopped nothing is said.
        assert_eq!(month("eu-north-1", "t3a.small", 16, true, true), None);
        assert_eq!((disk("", 8), snapshot("us-gov-west-1", 8)), (None, None));
        assert_eq!(size(&"x9.small".parse().unwrap()), None);
    }

    #[test]
    fn disks_snapshots_and_addresses_have_prices_of_their_own() {
        // 8 × $0.0836 = $0.6688; 3 × $0.055 = $0.165, half a cent rounded up.
        assert_eq!(disk("eu-north-1", 8), Some(Cents(67)));
        assert_eq!(snapshot("ap-southeast-2", 3), Some(Cents(17)));
        assert_eq!(disk("sa-east-1", 16_384), Some(Cents(249_037)));
        assert_eq!(public_ipv4(), Cents(365));
    }

    #[test]
    fn money_reads_as_dollars() {
        assert_eq!(AS_OF.rfc3339(), "2025-03-02T00:00:00Z");
        assert_eq!(
            [Cents(0), Cents(5), Cents(1518)].map(|cents| cents.to_string()),
            ["$0.00", "$0.05", "$15.18"]
        );
        assert_eq!([Cents(76), Cents(149), Cents(2050)].map(Cents::about), ["$0.76", "$1", "$21"]);
        assert_eq!([Cents(1), Cents(2), Cents(3)].into_iter().sum::<Cents>(), Cents(6));
    }

    /// A slip of the pen in the table would stand out: a size is twice the one before it, but for rounding, and no
    /// region is far from another.
    #[test]
    fn the_table_is_of_one_piece() {
        for pair in table::TYPES.windows(2) {
            let [small, large] = pair else { unreachable!() };
            assert!(small.name.parse::<MachineType>().is_ok(), "{}", small.name);
            let family = |row: &table::Type| row.name.split('.').next().unwrap();
            if family(small) != family(large) {
                continue;
            }
            for (region, (a, b)) in table::REGIONS.iter().zip(small.hour.iter().zip(large.hour)) {
                assert!(b.abs_diff(2 * a) <= 10, "{} {} in {region}", small.name, large.name);
            }
        }
        for row in &table::TYPES {
            let known = row.hour.iter().filter(|hour| **hour > 0);
            let (low, high) = (known.clone().min().unwrap(), known.max().unwrap());
            assert!(*high < 3 * low, "{}: {low} to {high}", row.name);
        }
        for (gp3, snapshot) in table::GP3_GIB.iter().zip(table::SNAPSHOT_GIB) {
            assert!((4750..=6800).contains(&snapshot) && (8000..=15_200).contains(gp3));
        }
    }
}
