//! The owner's environment variables: names that a project may be given, and values that do not print themselves.

use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};

use super::{NameError, names::name_type};

/// The name of a variable: `[A-Za-z_][A-Za-z0-9_]{0,99}`, and none that the machine sets itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VariableName(String);

/// What the machine needs to run a project, and how a program is told which code to load.
const OF_THE_MACHINE: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PYTHONUNBUFFERED",
    "DJANGO_SETTINGS_MODULE",
    "VIRTUAL_ENV",
    "GUNICORN_CMD_ARGS",
    "BASH_ENV",
    "ENV",
    "SHELLOPTS",
];

/// Beginnings of names that are the machine's own: the deployer's values, the dynamic linker's, and those of the
/// programs that fetch a project and what it needs.
const BEGINNINGS: [&str; 4] = ["EC_", "LD_", "UV_", "GIT_"];

impl VariableName {
    /// Longest name, in characters.
    pub const MAX: usize = 100;

    /// The name under which every project has a secret, which is made where its owner gives none.
    pub fn secret_key() -> Self {
        Self("SECRET_KEY".to_owned())
    }

    /// Whether a name is the machine's own, so that nobody need or can give it a value.
    pub fn is_of_the_machine(name: &str) -> bool {
        OF_THE_MACHINE.contains(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
    }
}

impl FromStr for VariableName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut bytes = text.bytes();
        let begins = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !begins || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(NameError::new(
                "A name has letters, digits and underscores, and does not begin with a digit.",
            ));
        }
        if text.len() > Self::MAX {
            return Err(NameError::new(format!("A name has at most {} characters.", Self::MAX)));
        }
        if text == "DJANGO_SETTINGS_MODULE" {
            return Err(NameError::new(
                "The settings module is read from the project's `manage.py` and `wsgi.py`, so that it is not given here.",
            ));
        }
        if Self::is_of_the_machine(text) {
            return Err(NameError::new(format!(
                "`{text}` is set by the machine itself: with another value the project could not be run."
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

name_type!(VariableName);

/// The value of a variable: any text without NUL. It prints as nothing and is wiped from memory.
#[derive(Clone, Debug)]
pub struct SecretValue(SecretString);

impl SecretValue {
    /// Longest value, in bytes.
    pub const MAX: usize = 32 * 1024;

    /// The value itself, for who delivers or seals it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// A random one: 50 letters and digits, as long as what `startproject` makes.
    pub fn random() -> Self {
        use rand::distr::{Alphanumeric, SampleString};
        Self(Alphanumeric.sample_string(&mut rand::rng(), 50).into())
    }
}

impl TryFrom<String> for SecretValue {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let why = if text.contains('\0') {
            Some("A value cannot hold the character NUL.")
        } else if text.len() > Self::MAX {
            Some("A value has at most 32 KB.")
        } else {
            None
        };
        let value = Self(text.into());
        why.map_or(Ok(value), |why| Err(NameError::new(why)))
    }
}

/// A variable with its value.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name.
    pub name: VariableName,
    /// Its value.
    pub value: SecretValue,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("STRIPE_KEY", true)]
    #[case("_a1", true)]
    #[case("lower", true)]
    #[case("ENVIRONMENT", true)]
    #[case("PATHS", true)]
    #[case("", false)]
    #[case("1A", false)]
    #[case("A-B", false)]
    #[case("A B", false)]
    #[case("A=B", false)]
    #[case("\u{c4}", false)]
    #[case("A\n", false)]
    #[case("PATH", false)]
    #[case("EC_TOKEN", false)]
    #[case("LD_PRELOAD", false)]
    #[case("DJANGO_SETTINGS_MODULE", false)]
    fn names_are_by_the_rule_and_not_the_machines_own(#[case] text: &str, #[case] good: bool) {
        assert_eq!(text.parse::<VariableName>().is_ok(), good, "{text:?}");
    }

    #[test]
    fn a_name_has_a_hundred_characters_and_a_value_32_kb_at_most() {
        assert!("A".repeat(100).parse::<VariableName>().is_ok());
        assert!("A".repeat(101).parse::<VariableName>().is_err());
        assert!(SecretValue::try_from("x".repeat(32 * 1024)).is_ok());
        assert!(SecretValue::try_from("x".repeat(32 * 1024 + 1)).is_err());
        assert!(SecretValue::try_from("a\0b".to_owned()).is_err());
        assert!(SecretValue::try_from(String::new()).is_ok());
    }

    #[test]
    fn a_value_does_not_print_itself() {
        let value = SecretValue::try_from("hunter22".to_owned()).unwrap();
        let variable = Variable { name: "TOKEN".parse().unwrap(), value };
        let printed = format!("{variable:?}");
        assert!(printed.contains("TOKEN") && !printed.contains("hunter22"), "{printed}");
        assert_eq!(variable.value.expose(), "hunter22");
        assert_eq!(SecretValue::random().expose().len(), 50);
    }
}
