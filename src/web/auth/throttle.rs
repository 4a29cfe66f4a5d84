//! Slows down failed sign-ins, for each account and each address: a few quick ones, then one in a
//! while. A try is taken in advance and given back when it was right, so that many at once are not
//! all let through; what a rate limiter does not offer, hence our own few lines.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What tries are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Account(u64),
    Address(IpAddr),
}

/// Tries at signing in, by account and by address.
#[derive(Debug, Default)]
pub struct Throttle {
    /// When the tries so far will all be forgotten.
    forgotten: Mutex<HashMap<Key, Instant>>,
}

/// A try that was let through; to be given back when it was right.
#[derive(Debug)]
pub struct Try([Key; 2]);

impl Throttle {
    /// Tries that may follow each other at once: who mistypes a password twice notices nothing.
    const QUICK: u32 = 5;
    /// The wait for one more after that: 8,640 guesses a day, of which none finds a password of 12 characters.
    const PERIOD: Duration = Duration::from_secs(10);
    /// Accounts and addresses that are remembered, a few hundred kilobytes of them.
    const MAX: usize = 10_000;

    /// Takes a try at `account` from `address`, or says how long to wait.
    pub fn take(&self, account: &str, address: IpAddr, now: Instant) -> Result<Try, Duration> {
        let keys = [Key::Account(digest(account)), Key::Address(network(address))];
        let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        let full = Self::PERIOD * (Self::QUICK - 1);
        let wait = keys
            .iter()
            .filter_map(|key| forgotten.get(key)?.checked_duration_since(now + full))
            .max()
            .filter(|wait| !wait.is_zero());
        if let Some(wait) = wait {
            return Err(wait);
        }
        make_room(&mut forgotten, now);
        for key in keys {
            let until = forgotten.entry(key).or_insert(now);
            *until = (*until).max(now) + Self::PERIOD;
        }
        Ok(Try(keys))
    }

    /// Gives back a try that was right.
    pub fn give_back(&self, taken: Try) {
        let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        for key in taken.0 {
            if let Some(until) = forgotten.get_mut(&key) {
                *until = until.checked_sub(Self::PERIOD).unwrap_or(*until);
            }
        }
    }
}

/// What somebody is told who has to wait, and the whole seconds of it.
pub fn too_many(wait: Duration) -> (String, u64) {
    let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
    (format!("Too many failed tries. Wait {seconds} seconds, then try again."), seconds)
}

/// Forgets what is over; where that is not enough, what would be forgotten next.
fn make_room(forgotten: &mut HashMap<Key, Instant>, now: Instant) {
    if forgotten.len() + 2 <= Throttle::MAX {
        return;
    }
    forgotten.retain(|_, until| *until > now);
    if forgotten.len() + 2 > Throttle::MAX {
        let mut times: Vec<_> = forgotten.values().copied().collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        forgotten.retain(|_, until| *until > median);
    }
}

/// An account by a digest of what was typed, which may be long.
fn digest(account: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    account.trim().to_lowercase().hash(&mut hasher);
    hasher.finish()
}

/// The address itself, or of IPv6 the network of 64 bits, all of which one visitor usually has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + last).into())
    }

    #[test]
    fn five_are_quick_then_one_in_ten_seconds() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for _ in 0..5 {
            throttle.take("mira", address(1), start).unwrap();
        }
        let wait = throttle.take("mira", address(1), start).unwrap_err();
        assert_eq!(wait, Duration::from_secs(10));
        assert!(
            throttle.take("MIRA", address(2), start).is_err(),
            "the account is slowed wherever it is tried"
        );
        assert!(throttle.take("aiko", address(1), start).is_err(), "the address is slowed whomever it tries");
        assert!(throttle.take("aiko", address(2), start).is_ok());
        let later = start + Duration::from_secs(10);
        throttle.take("mira", address(1), later).unwrap();
        throttle.take("mira", address(1), later).unwrap_err();
    }

    #[test]
    fn who_is_right_is_never_slowed() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for _ in 0..100 {
            let taken = throttle.take("mira", address(1), start).unwrap();
            throttle.give_back(taken);
        }
    }

    #[test]
    fn a_flood_of_names_takes_bounded_memory() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for i in 0..30_000 {
            throttle.take(&format!("user{i}"), address(i), start).unwrap();
        }
        assert!(throttle.forgotten.lock().unwrap().len() <= Throttle::MAX);
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one_visitor() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
