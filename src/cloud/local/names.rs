//! What a machine is called on this host. All of it follows from its launch token, so that whoever has
//! the token finds the machine, whatever was cut short.

use std::net::Ipv4Addr;

use sha2::{Digest, Sha256};

use crate::domain::InstanceId;

/// The machine of a launch token. The same token is the same machine.
pub(super) fn instance_id(token: &str) -> InstanceId {
    format!("i-{}", &digest(&[token])[..17]).parse().expect("a digest's digits make an instance id")
}

/// The machine's name on this host, which no machine of another site has: a host name's characters, at
/// most 64.
pub(super) fn machine_name(site: &str, place: &str) -> String {
    format!("{place}-{}", &digest(&[site])[..8])
}

/// The host's end of the machine's network cable: at most 15 characters, as the kernel wants.
pub(super) fn link_name(machine_name: &str) -> String {
    format!("ec{}", &digest(&[machine_name])[..12])
}

/// The hardware address that goes with an address, so that whoever remembers the one reaches the other
/// when a new machine has taken it. The second-lowest bit of the first byte says: locally administered.
pub(super) fn hardware_address(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:ec:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// The machine's own id for systemd: 32 hexadecimal digits.
pub(super) fn machine_id(machine_name: &str) -> String {
    digest(&["machine-id", machine_name])[..32].to_owned()
}

/// SHA-256 of the parts, in hexadecimal; where one ends and the next begins counts.
pub(super) fn digest(parts: &[impl AsRef<[u8]>]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        if parts.len() > 1 {
            hash.update((part.len() as u64).to_be_bytes());
        }
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_follow_from_the_token() {
        let id = instance_id("token");
        // `printf token | sha256sum`
        assert_eq!(id.as_str(), "i-3c469e9d6c5875d37");
        assert_ne!(id, instance_id("tokem"));
        let name = machine_name("site", id.as_str());
        assert!(name.len() <= 64 && name.starts_with("i-3c469e9d6c5875d37-"), "{name}");
        assert_ne!(name, machine_name("another", id.as_str()));
        assert_eq!(link_name(&name).len(), 14);
        assert_eq!(machine_id(&name).len(), 32);
        assert_eq!(hardware_address(Ipv4Addr::new(10, 213, 0, 2)), "02:ec:0a:d5:00:02");
    }

    #[test]
    fn where_a_part_ends_counts() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }
}
