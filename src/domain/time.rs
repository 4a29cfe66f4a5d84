//! Points in time, as the store keeps them.

use ::time::{OffsetDateTime, format_description::well_known::Rfc3339};
use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The host's clock, now.
    pub fn now() -> Self {
        let nanos = OffsetDateTime::now_utc().unix_timestamp_nanos();
        Self(i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX))
    }

    /// This time as RFC 3339 in UTC, to the millisecond: `2026-11-23T09:41:02.123Z`.
    pub fn rfc3339(self) -> String {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|time| time.format(&Rfc3339).ok())
            .unwrap_or_default()
    }

    /// This time's date in words: `23 November 2026`.
    pub fn date(self) -> String {
        let Ok(time) = OffsetDateTime::from_unix_timestamp(self.0.div_euclid(1000)) else {
            return String::new();
        };
        format!("{} {} {}", time.day(), time.month(), time.year())
    }

    /// Seconds from `earlier` to this time; negative where it is later.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        (self.0 - earlier.0) as f64 / 1000.0
    }

    /// This time and `seconds` more.
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_as_rfc_3339_and_as_a_date() {
        let time = Timestamp(1_795_426_862_123);
        assert_eq!(time.rfc3339(), "2026-11-23T09:41:02.123Z");
        assert_eq!(time.date(), "23 November 2026");
        assert_eq!(time.plus_seconds(2).seconds_since(time), 2.0);
    }
}
