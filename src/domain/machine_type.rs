//! The cloud's name of a kind of machine.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{NameError, names::name_type};

/// A kind of machine by the cloud's name: `t3.small`. Two parts of small letters, digits and hyphens with a dot
/// between them, at most 32 characters.
/// <https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MachineType(String);

impl FromStr for MachineType {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        let good =
            text.len() <= 32 && text.split_once('.').is_some_and(|(family, size)| word(family) && word(size));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::new("This is not an instance type, for example").suggest("t3.small"))
        }
    }
}

name_type!(MachineType);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_two_words_with_a_dot() {
        for good in ["t3.small", "m7i-flex.large", "u-6tb1.112xlarge"] {
            assert_eq!(good.parse::<MachineType>().unwrap().as_str(), good);
        }
        for bad in ["", "t3", "t3.", ".small", "T3.small", "t3.small.x", "t3.sm all", "t3.small;reboot"] {
            assert!(bad.parse::<MachineType>().is_err(), "{bad}");
        }
    }
}
