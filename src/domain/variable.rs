//! The owner's environment variables: names that a project may be given, and values that do not print themselves.

use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};

use super::{NameError, names::name_type};

/// The name of a variable: `[A-Za-z_][A-Za-z0-9_]{0,99}`, and none that the machine sets itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VariableName(String);

/// What the machine gives every project.
const SET_BY_THE_MACHINE: [&str; 10] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
    "DJANGO_SETTINGS_MODULE",
    "VIRTUAL_ENV",
];

/// How else a program is told which code to load, from where to fetch it and where to find it: `bash(1)`, `python(1)`,
/// `ld.so(8)`, `git(1)`.
const OF_PROGRAMS: [&str; 32] = [
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "GUNICORN_CMD_ARGS",
    "BASH_ENV",
    "SHELLOPTS",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_ASSUME_KERNEL",
    "LD_AUDIT",
    "LD_BIND_NOW",
    "LD_BIND_NOT",
    "LD_DEBUG",
    "LD_DEBUG_OUTPUT",
    "LD_DYNAMIC_WEAK",
    "LD_HWCAP_MASK",
    "LD_ORIGIN_PATH",
    "LD_PROFILE",
    "LD_PROFILE_OUTPUT",
    "LD_SHOW_AUXV",
    "LD_TRACE_LOADED_OBJECTS",
    "LD_USE_LOAD_BIAS",
    "LD_VERBOSE",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_EXEC_PATH",
    "GIT_TEMPLATE_DIR",
    "GIT_ASKPASS",
    "GIT_TERMINAL_PROMPT",
    "GIT_ALLOW_PROTOCOL",
];

/// Beginnings of names that are not a project's own: the deployer's values, and what git and uv are told by. `GIT_SHA`
/// and `LD_SDK_KEY` are names of projects.
const BEGINNINGS: [&str; 9] = [
    "EC_",
    "UV_",
    "GIT_CONFIG",
    "GIT_SSH",
    "GIT_SSL_",
    "GIT_HTTP_",
    "GIT_PROXY_",
    "GIT_TRACE",
    "GIT_ALTERNATE_OBJECT",
];

/// Words of a name whose value is nobody else's business.
const SECRETS: [&str; 11] = [
    "KEY",
    "SECRET",
    "TOKEN",
    "PASSWORD",
    "PASS",
    "PASSWD",
    "PWD",
    "CREDENTIALS",
    "DSN",
    "PASSPHRASE",
    "APIKEY",
];

/// The same at the end of names that are written as one word; short ones end others by chance.
const SECRET_ENDS: [&str; 4] = ["SECRETKEY", "APIKEY", "TOKEN", "PASSWORD"];

impl VariableName {
    /// Longest name, in characters.
    pub const MAX: usize = 100;

    /// The name under which every project has a secret, which is made where its owner gives none.
    pub fn secret_key() -> Self {
        Self("SECRET_KEY".to_owned())
    }

    /// Whether the machine gives every project a variable of this name, so that nobody need or can give it a value.
    pub fn is_set_by_the_machine(name: &str) -> bool {
        SET_BY_THE_MACHINE.contains(&name)
    }

    /// Whether a name is the machine's own or one that its programs go by, so that nobody can give it a value.
    pub fn is_of_the_machine(name: &str) -> bool {
        Self::is_set_by_the_machine(name)
            || OF_PROGRAMS.contains(&name)
            || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
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
        if Self::is_set_by_the_machine(text) {
            return Err(NameError::new(format!(
                "`{text}` is set by the machine itself: with another value the project could not be run."
            )));
        }
        if Self::is_of_the_machine(text) {
            return Err(NameError::new(format!(
                "`{text}` is a name that the programs on the machine go by, so that no project can be given it."
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

name_type!(VariableName);

/// Whether a value under this name is a secret whatever it looks like, by the words of the name. A public key, which
/// visitors see, is called too much like the others to be told from them.
pub fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.split('_').any(|word| SECRETS.contains(&word)) || SECRET_ENDS.iter().any(|end| name.ends_with(end))
}

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

    /// Whether it is what tells nothing under a name that is no secret's: one word in small letters, or a path of such.
    fn is_plain(&self) -> bool {
        let text = self.expose();
        let plain = |part: &str| {
            let small =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
            part.len() <= 20
                && part.chars().all(small)
                && part.chars().filter(char::is_ascii_digit).count() <= 2
        };
        match text.contains('/') {
            true => text.len() <= 100 && text.split('/').all(plain),
            false => text.len() <= 20 && text.chars().all(|c| c.is_ascii_lowercase()),
        }
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

impl Variable {
    /// Whether its value is to be kept out of logs: it is not where neither name nor value look like a secret's.
    pub fn may_be_secret(&self) -> bool {
        names_a_secret(self.name.as_str()) || !self.value.is_plain()
    }
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
    #[case("ENV", true)]
    #[case("GIT_SHA", true)]
    #[case("GIT_COMMIT", true)]
    #[case("LD_SDK_KEY", true)]
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
    #[case("LD_LIBRARY_PATH", false)]
    #[case("GIT_DIR", false)]
    #[case("GIT_SSH_COMMAND", false)]
    #[case("GIT_CONFIG_GLOBAL", false)]
    #[case("UV_INDEX_URL", false)]
    #[case("BASH_ENV", false)]
    #[case("DJANGO_SETTINGS_MODULE", false)]
    fn names_are_by_the_rule_and_not_the_machines_own(#[case] text: &str, #[case] good: bool) {
        assert_eq!(text.parse::<VariableName>().is_ok(), good, "{text:?}");
    }

    #[rstest]
    #[case("STRIPE_KEY", true)]
    #[case("stripe_secret", true)]
    #[case("STRIPESECRETKEY", true)]
    #[case("BOTTOKEN", true)]
    #[case("SENTRY_DSN", true)]
    #[case("STATIC_URL", false)]
    #[case("MONKEY", false)]
    #[case("SITE_NAME", false)]
    fn a_name_tells_a_secret(#[case] name: &str, #[case] secret: bool) {
        assert_eq!(names_a_secret(name), secret, "{name}");
    }

    #[rstest]
    #[case("guestbook", true)]
    #[case("/static/", true)]
    #[case("admin/", true)]
    #[case("/srv/app/shared/db.sqlite3", true)]
    #[case("api/v1/", true)]
    #[case("/services/T0000/B0000", false)]
    #[case("/hooks/8f7a6b5c4d", false)]
    #[case("correct-horse-battery", false)]
    #[case("correcthorsebatterystaple", false)]
    #[case("hunter22", false)]
    #[case("redis://:pw@host/0", false)]
    fn one_word_and_a_path_are_plain(#[case] value: &str, #[case] plain: bool) {
        assert_eq!(SecretValue::try_from(value.to_owned()).unwrap().is_plain(), plain, "{value}");
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
