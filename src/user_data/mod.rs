//! What a machine runs: the typed block of values, then one library of steps, then a static script.
//!
//! All but the block is the same for everyone and is kept as files that shellcheck and Python can read:
//! `scripts/lib.sh`, the scripts and the programs in `user_data/`. No value from outside is put into
//! their text: it reaches them as a shell variable, single-quoted, and travels on in the environment.
//!
//! A deployment's script brings along only the programs that its log needs, since EC2 takes 16 KB of user data. It asks
//! the site for the others in its first step, and knows them by their digest: neither an old golden image nor another
//! version of the site gives it programs that it was not made with.

mod block;

use std::{collections::BTreeMap, io::Write, sync::LazyLock};

use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};

use crate::domain::{DeploymentId, FetchId, FetchKind, Plan, RepoUrl, ServerName};

/// Most bytes of user data that EC2 takes, before it is base64
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html>).
pub const LIMIT: usize = 16 * 1024;

const LIBRARY: &str = include_str!("../../scripts/lib.sh");
const IMAGE: &str = include_str!("../../user_data/userdata_image.sh");
/// A deployment's script, in parts by what they hold; the last is what runs.
const PROVISION: &str = concat!(
    include_str!("../../user_data/machine.sh"),
    include_str!("../../user_data/python.sh"),
    include_str!("../../user_data/project.sh"),
    include_str!("../../user_data/nginx.sh"),
    include_str!("../../user_data/releases.sh"),
    include_str!("../../user_data/userdata_provision.sh"),
);
const FETCH: &str = include_str!("../../user_data/userdata_fetch.sh");

/// The programs of a machine.
const PROGRAMS: [(&str, &str); 25] = [
    ("log.py", include_str!("../../user_data/log.py")),
    ("ship.py", include_str!("../../user_data/ship.py")),
    ("run.py", include_str!("../../user_data/run.py")),
    ("variables.py", include_str!("../../user_data/variables.py")),
    ("machine.py", include_str!("../../user_data/machine.py")),
    ("imports.txt", include_str!("../../user_data/imports.txt")),
    ("requirements.py", include_str!("../../user_data/requirements.py")),
    ("sources.py", include_str!("../../user_data/sources.py")),
    ("repair.py", include_str!("../../user_data/repair.py")),
    ("loading.py", include_str!("../../user_data/loading.py")),
    ("command.py", include_str!("../../user_data/command.py")),
    ("install.py", include_str!("../../user_data/install.py")),
    ("project.py", include_str!("../../user_data/project.py")),
    ("database.py", include_str!("../../user_data/database.py")),
    ("servers.py", include_str!("../../user_data/servers.py")),
    ("first_admin.py", include_str!("../../user_data/first_admin.py")),
    ("health.py", include_str!("../../user_data/health.py")),
    ("ec_overlay.py", include_str!("../../user_data/ec_overlay.py")),
    ("ec_notes.py", include_str!("../../user_data/ec_notes.py")),
    ("ec_databases.py", include_str!("../../user_data/ec_databases.py")),
    ("ec_services.py", include_str!("../../user_data/ec_services.py")),
    ("ec_storage.py", include_str!("../../user_data/ec_storage.py")),
    ("ec_wsgi.py", include_str!("../../user_data/ec_wsgi.py")),
    ("ec_gunicorn.py", include_str!("../../user_data/ec_gunicorn.py")),
    (OF_FETCH, include_str!("../../user_data/fetch.py")),
];

/// The program that a fetch's script needs beside those of a deployment.
const OF_FETCH: &str = "fetch.py";

/// The programs that a deployment's script brings along: its log, and what asks the site for the others. All of them
/// would leave no room in [`LIMIT`].
const OF_DEPLOYMENT: [&str; 3] = ["log.py", "ship.py", "machine.py"];

/// The programs that the image script needs: the log's filter, and the one that runs commands as `app`.
const OF_IMAGE: [&str; 2] = ["log.py", "run.py"];

/// Ends the text of a program in the script; no program has such a line.
const END: &str = "EC_END_OF_FILE";

/// What a deployment's script is told. Nothing else from outside reaches it.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Where the machine reaches the site, without a slash at the end.
    pub callback_url: &'a str,
    /// The deployment's bearer token.
    pub token: &'a str,
    /// The instance's name.
    pub instance: &'a ServerName,
    /// The repository.
    pub repo: &'a RepoUrl,
    /// How the commit is to be deployed.
    pub plan: &'a Plan,
}

/// What a fetch's script is told.
#[derive(Clone, Debug)]
pub struct FetchValues<'a> {
    /// The fetch.
    pub fetch: FetchId,
    /// What is to be sent.
    pub kind: FetchKind,
    /// The management command that is to be run for it: its name and its arguments.
    pub command: Option<&'a [String]>,
    /// Where the machine reaches the site, without a slash at the end.
    pub callback_url: &'a str,
    /// The fetch's bearer token.
    pub token: &'a str,
}

/// The whole deployment script, as plain text: the same serves as user data at first boot and, through
/// [`Cloud::run`](crate::cloud::Cloud::run), for every later deployment.
///
/// # Panics
/// Where a value holds a NUL, which no shell can: none of the domain's types lets one in.
pub fn provision(values: &Values<'_>) -> Vec<u8> {
    script(&block::of(values), |name| OF_DEPLOYMENT.contains(&name), PROVISION)
}

/// The other programs of a deployment, which its script asks the site for: a JSON object of names and texts.
pub fn programs() -> &'static [u8] {
    static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let wanted = |name: &str| name != OF_FETCH && !OF_DEPLOYMENT.contains(&name);
        let programs: BTreeMap<_, _> = PROGRAMS
            .into_iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, text)| (name, outdent(&slim(text))))
            .collect();
        serde_json::to_vec(&programs).expect("programs are plain text")
    });
    &TEXT
}

/// Hexadecimal SHA-256 of [`programs`], by which a script knows its own.
fn programs_digest() -> &'static str {
    static DIGEST: LazyLock<String> = LazyLock::new(|| digest(programs()));
    &DIGEST
}

/// Hexadecimal SHA-256.
fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// What a plan lists to be installed, as the text of a requirements file: the deployment's script asks the site for it
/// and knows it by its digest, since a lock file's list would fill the user data.
pub fn requirements(plan: &Plan) -> Option<String> {
    plan.list().map(|list| list.iter().flat_map(|line| [line.as_str(), "\n"]).collect())
}

/// The whole script that sends the site what it asked of a machine, as plain text. The machine has begun a
/// deployment before, so that it has the other programs.
pub fn fetch(values: &FetchValues<'_>) -> Vec<u8> {
    script(&block::of_fetch(values), |name| name == OF_FETCH, FETCH)
}

/// The whole image script that a bake runs, as plain text.
pub fn image() -> Vec<u8> {
    script("", |name| OF_IMAGE.contains(&name), IMAGE)
}

/// Hexadecimal SHA-256 of [`image`]: an image baked by another script is to be baked anew.
pub fn image_digest() -> &'static str {
    static DIGEST: LazyLock<String> = LazyLock::new(|| digest(&image()));
    &DIGEST
}

/// User data as a cloud takes it: as it is where it fits into [`LIMIT`], else compressed, which cloud-init
/// understands. The same bytes always give the same bytes.
pub fn compressed(script: &[u8]) -> Vec<u8> {
    if script.len() <= LIMIT {
        return script.to_vec();
    }
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(script).and_then(|()| gzip.finish()).expect("writing to memory does not fail")
}

/// One script of its parts: the block of values, the library, the programs, and what runs.
fn script(block: &str, wanted: impl Fn(&str) -> bool, body: &str) -> Vec<u8> {
    let mut text = format!("#!/bin/bash\n{block}{}", slim(LIBRARY));
    text.push_str("unpack() {\n  install -d -m 755 \"$EC_LIB\"\n");
    for (name, program) in PROGRAMS.into_iter().filter(|(name, _)| wanted(name)) {
        let program = outdent(&slim(program));
        text.push_str(&format!("  put \"$EC_LIB/{name}\" <<'{END}'\n{program}{END}\n"));
    }
    text.push_str("}\n");
    text.push_str(&slim(body));
    text.into_bytes()
}

/// The text without empty lines, comments that have a line of their own, and docstrings: a third of what
/// is sent, and of no use to a machine. Our files use `"""` for docstrings alone.
fn slim(text: &str) -> String {
    let mut kept = String::new();
    let mut in_docstring = false;
    for line in text.lines() {
        let trimmed = line.trim_start();
        if in_docstring {
            in_docstring = !trimmed.ends_with("\"\"\"");
        } else if let Some(docstring) = trimmed.strip_prefix("\"\"\"") {
            in_docstring = !docstring.ends_with("\"\"\"");
        } else if !trimmed.is_empty() && !trimmed.starts_with('#') {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// A Python program with one space where it has four before a line's first word. None of ours has a string of
/// several lines.
fn outdent(program: &str) -> String {
    let mut narrow = String::with_capacity(program.len());
    for line in program.lines() {
        let text = line.trim_start_matches(' ');
        let spaces = line.len() - text.len();
        narrow.extend(std::iter::repeat_n(' ', spaces / 4 + spaces % 4));
        narrow.push_str(text);
        narrow.push('\n');
    }
    narrow
}

#[cfg(test)]
mod settings_tests;
#[cfg(test)]
mod tests;
