//! Where to ask for a project's page instead of its public IP.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use super::NameError;

/// A rule of the address map: `54.214.1.2=127.0.0.1:8080`, or `*=127.0.0.1:8080`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRule {
    /// The address that is replaced; none replaces every one.
    pub from: Option<IpAddr>,
    /// The address to ask instead, and perhaps the port.
    pub to: SocketAddr,
}

impl FromStr for AddressRule {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::new(format!("{text:?} is not from=address:port"));
        let (from, to) = text.split_once('=').ok_or_else(bad)?;
        let from = if from == "*" { None } else { Some(from.parse().map_err(|_| bad())?) };
        Ok(Self { from, to: to.parse().map_err(|_| bad())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_rule_names_one_or_all() {
        let rule: AddressRule = "54.214.1.2=127.0.0.1:8080".parse().unwrap();
        assert_eq!((rule.from, rule.to.port()), (Some([54, 214, 1, 2].into()), 8080));
        assert_eq!("*=127.0.0.1:80".parse::<AddressRule>().unwrap().from, None);
        for bad in ["", "*", "54.214.1.2", "x=127.0.0.1:80", "*=127.0.0.1"] {
            assert!(bad.parse::<AddressRule>().is_err(), "{bad}");
        }
    }
}
