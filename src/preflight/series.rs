//! Series of versions, `5.2` with all its patches, and which of them a specifier allows (PEP 440).

use std::fmt;

/// A series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series(pub u32, pub u32);

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Series {
    /// The series of a version: `3.12` of `3.12.1`, none where it names no minor version.
    pub(super) fn of(version: &str) -> Option<Self> {
        match numbers(version)[..] {
            [major, minor, ..] => Some(Self(major, minor)),
            _ => None,
        }
    }

    /// The newest patch of the series, as a specifier.
    pub(super) fn specifier(self) -> String {
        format!(">={}.{},<{}.{}", self.0, self.1, self.0, self.1 + 1)
    }

    /// Whether some version of the series is one that `specifier` allows. What it says beyond versions and their
    /// comparisons allows anything.
    pub(super) fn fits(self, specifier: &str) -> bool {
        specifier.split(',').all(|clause| self.fits_clause(clause.trim()))
    }

    fn fits_clause(self, clause: &str) -> bool {
        let at = clause.find(|c: char| c.is_ascii_digit()).unwrap_or(clause.len());
        let (operator, version) = clause.split_at(at);
        let any_patch = version.ends_with(".*");
        let numbers = numbers(version);
        let part = |at: usize| numbers.get(at).copied().unwrap_or(0);
        // The series as a range of versions: its first, and one after its last.
        let first = (self.0, self.1, 0);
        let last = (self.0, self.1, u32::MAX);
        let asked = (part(0), part(1), part(2));
        let alike = self.0 == asked.0 && (numbers.len() < 2 || self.1 == asked.1);
        match operator.trim() {
            _ if numbers.is_empty() => true,
            "==" | "===" if any_patch => alike,
            "==" | "===" => (self.0, self.1) == (asked.0, asked.1),
            "~=" if numbers.len() > 2 => alike && last >= asked,
            "~=" => self.0 == asked.0 && last >= asked,
            "!=" => !(any_patch && alike),
            ">=" | ">" => last > asked,
            "<=" => first <= asked,
            "<" => first < asked,
            _ => true,
        }
    }
}

/// The numbers that a version begins with.
fn numbers(version: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for part in version.trim().split('.').take(4) {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        match part[..digits].parse() {
            Ok(number) => found.push(number),
            Err(_) => break,
        }
        if digits < part.len() {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", true)]
    #[case("==4.2.7", true)]
    #[case("==4.2", true)]
    #[case("==4.2.*", true)]
    #[case("==4.*", true)]
    #[case("==4.1.3", false)]
    #[case("==5", false)]
    #[case("~=4.1", true)]
    #[case("~=4.2.3", true)]
    #[case("~=4.1.3", false)]
    #[case("~=4.3", false)]
    #[case(">=4.2.7,<5", true)]
    #[case(">=3,<4.2", false)]
    #[case(">=3,<4.2.1", true)]
    #[case("<=4.2", true)]
    #[case("<=4.1.9", false)]
    #[case(">4.2", true)]
    #[case(">=4.3", false)]
    #[case("!=4.2.*", false)]
    #[case("!=4.2.3", true)]
    #[case(">=4.2rc1", true)]
    #[case("nonsense", true)]
    #[case(">=99999999999999999999", true)]
    fn what_a_specifier_allows(#[case] specifier: &str, #[case] fits: bool) {
        assert_eq!(Series(4, 2).fits(specifier), fits, "{specifier}");
    }
}
