//! What a machine may leave behind on its host, as text that is compared before and after.

use std::{collections::BTreeSet, fs, io::Write, path::Path, process::Command};

use crate::site::Site;

/// Notes a machine that a test has booted in the file `EC_TEST_MACHINES`, for the end of `scripts/test.sh`.
pub fn booted(id: &str) {
    if let Some(path) = std::env::var_os("EC_TEST_MACHINES") {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        // In one write, so that lines of tests that run at once do not mix.
        file.write_all(format!("{id}\n").as_bytes()).unwrap();
    }
}

/// The trace once it stays the same for a second: the site itself starts short commands now and then.
pub async fn settled(site: &Site) -> BTreeSet<String> {
    let mut last = trace(site);
    for _ in 0..30 {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let now = trace(site);
        if now == last {
            break;
        }
        last = now;
    }
    last
}

/// Mounts, addresses, routes, firewall rules, processes and the state directory's tree, a line each.
pub fn trace(site: &Site) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let mut keep = |kind: &str, text: &str| {
        lines.extend(
            text.lines().map(|line| format!("{kind}: {}", line.trim())).filter(|line| ours(line, site)),
        );
    };
    keep("mount", &fs::read_to_string("/proc/self/mountinfo").unwrap());
    keep("link", &links());
    keep("address", &output("ip", &["-o", "address"]));
    keep("route", &output("ip", &["route", "show", "table", "all"]));
    keep("neighbour", &output("ip", &["neighbour", "show", "nud", "permanent"]));
    keep("iptables", &output("iptables-save", &[]));
    keep("process", &processes());
    let mut tree = Vec::new();
    walk(&site.state_dir.join("local"), &mut tree);
    keep("file", &tree.join("\n"));
    lines
}

/// Other tests run beside this one: only what names this site's directory, bridge or subnet is its own.
fn ours(line: &str, site: &Site) -> bool {
    let [a, b, c, _] = site.network.gateway.octets();
    line.contains(&site.network.bridge)
        || line.contains(&format!("{a}.{b}.{c}."))
        || line.contains(&*site.state_dir.to_string_lossy())
}

/// The two sides' difference, for a failing test to print.
pub fn difference(before: &BTreeSet<String>, after: &BTreeSet<String>) -> String {
    let gone = before.difference(after).map(|line| format!("- {line}"));
    let new = after.difference(before).map(|line| format!("+ {line}"));
    gone.chain(new).collect::<Vec<_>>().join("\n")
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    // Counters change by themselves, and whether a bridge has a carrier is told where it has had one.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .map(|line| line.split(" [").next().unwrap_or(line).replace(" linkdown", ""))
        .filter(|line| !line.starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every network device by its name.
fn links() -> String {
    let names = fs::read_dir("/sys/class/net").unwrap().flatten();
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>().join("\n")
}

/// Every process by its command line, without its number. The site itself is one of them.
fn processes() -> String {
    let mut lines = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        if let Ok(command) = fs::read(entry.path().join("cmdline")) {
            lines.push(String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    lines.join("\n")
}

fn walk(directory: &Path, into: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        into.push(path.display().to_string());
        // An image's own thousands of files cannot change: its name is enough.
        let inside = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if inside && !path.parent().is_some_and(|parent| parent.ends_with("images")) {
            walk(&path, into);
        }
    }
}
