//! Keeps this site below what EC2 lets an account ask for in `RunInstances`.

use std::{num::NonZeroU32, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Launches at once: EC2's bucket holds 5 requests (and 1,000 instances; a request of ours is for one).
/// <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>
const BURST: NonZeroU32 = NonZeroU32::new(4).unwrap();
/// Pause between two launches after that: EC2's bucket gets 2 requests a second.
const PAUSE: Duration = Duration::from_millis(600);

/// A bucket of launches.
pub(super) struct Limiter(DefaultDirectRateLimiter);

impl Limiter {
    pub fn new() -> Self {
        let quota =
            Quota::with_period(PAUSE).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(BURST);
        Self(RateLimiter::direct(quota))
    }

    /// Waits for a turn.
    pub async fn turn(&self) {
        self.0.until_ready().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launches_stay_below_what_ec2_allows() {
        let limiter = Limiter::new();
        let at_once = (0..10).filter(|_| limiter.0.check().is_ok()).count();
        assert_eq!(at_once, 4);
        assert!(PAUSE > Duration::from_millis(500));
    }
}
