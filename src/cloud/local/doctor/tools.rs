//! The tools that machines need, and their versions.

use super::{
    super::{
        command::{is_installed, tool},
        host::{self, Release},
    },
    Look,
};

pub(super) fn examine(look: &Look<'_>) {
    match Release::read() {
        Ok(release) => look.ok(release.pretty_name),
        Err(error) => look.bad(
            "this host is neither Debian nor Ubuntu, and local machines are made of its own distribution",
            error.sentence.rsplit(": ").next().unwrap_or_default(),
        ),
    }
    for (name, package) in host::TOOLS {
        if is_installed(name) {
            look.ok(match version(name) {
                Some(version) => format!("{name} {version}"),
                None => format!("{name} is installed"),
            });
        } else {
            look.bad(format!("{name} is not installed"), format!("apt-get install {package}"));
        }
    }
}

fn version(name: &str) -> Option<String> {
    // Those of iproute2 know no --version in every release.
    let flag = if matches!(name, "ip" | "bridge") { "-V" } else { "--version" };
    let output = tool(name).arg(flag).output().ok()?;
    first_version(&String::from_utf8_lossy(&output.stdout))
}

/// The first word that is a version: digits after an optional `v` or a name and a hyphen.
fn first_version(text: &str) -> Option<String> {
    let words = text.lines().next()?.split(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')'));
    words
        .map(|word| word.trim_start_matches("iproute2-").trim_start_matches('v'))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("systemd 252 (252.39-1~deb12u2)\n+PAM", Some("252"))]
    #[case("ip utility, iproute2-6.1.0, libbpf 1.1.2", Some("6.1.0"))]
    #[case("iptables v1.8.9 (nf_tables)", Some("1.8.9"))]
    #[case("nsenter from util-linux 2.38.1", Some("2.38.1"))]
    #[case("timeout (GNU coreutils) 9.1", Some("9.1"))]
    #[case("no version here", None)]
    #[case("", None)]
    fn versions_are_found(#[case] text: &str, #[case] version: Option<&str>) {
        assert_eq!(first_version(text).as_deref(), version);
    }
}
