//! Tests of the scripts as they are put together: quoting, syntax and size.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
};

use flate2::read::GzDecoder;
use proptest::prelude::*;

use super::*;
use crate::{
    cloud::{Job, detached},
    domain::{Database, Dependencies, Encoding, GitHosts},
};

fn plan() -> Plan {
    Plan {
        commit: "3f1c".repeat(10).parse().unwrap(),
        subject: "First".to_owned(),
        branch: "main".parse().unwrap(),
        project: "guestbook".parse().unwrap(),
        settings: "config.settings".to_owned(),
        settings_from: "guestbook/config/wsgi.py".to_owned(),
        wsgi: Some("config.wsgi".to_owned()),
        dependencies: Dependencies::Requirements {
            path: "it's/$(requirements)\n.txt".to_owned(),
            packages: 1,
            encoding: Encoding::Utf8,
            names_django: true,
        },
        django: Some(">=4.2,<5".to_owned()),
        database: Database::Sqlite,
        chosen_database: None,
        variables: Vec::new(),
        python: None,
        committed: None,
        migrations: 1,
        warnings: Vec::new(),
    }
}

/// The script of a deployment whose values are as long as they get.
fn provision_script() -> Vec<u8> {
    let hosts: GitHosts = "https://github.com".parse().unwrap();
    let url = format!("https://github.com/{}/{}", "o".repeat(39), "r".repeat(100));
    let repo = RepoUrl::parse_pasted(&url, &hosts).unwrap().url;
    provision(&Values {
        deployment: DeploymentId(i64::MAX),
        callback_url: "https://deployer.example.com:8443",
        token: &"0123456789abcdef".repeat(4),
        instance: &"a".repeat(40).parse().unwrap(),
        repo: &repo,
        plan: &plan(),
    })
}

/// What bash, or a check of it, says to a script on its standard input.
fn bash(arguments: &[&str], script: &[u8]) -> (bool, Vec<u8>) {
    let mut child = Command::new("bash")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash runs");
    child.stdin.take().unwrap().write_all(script).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), output.stdout)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_passes_through_the_shell_unchanged(text in "([^\u{0}]|['\"$`\\\\\n\r!;&|<>*?~# ])*") {
        let script = format!("{}printf %s \"$EC_VALUE\"\n", block::assignment("EC_VALUE", &text));
        prop_assert_eq!(bash(&["-c", &script], b""), (true, text.into_bytes()));
    }
}

#[test]
#[should_panic(expected = "EC_VALUE holds a NUL")]
fn a_nul_is_refused() {
    block::assignment("EC_VALUE", "a\0b");
}

#[test]
fn every_value_reaches_the_script() {
    let script = String::from_utf8(provision_script()).unwrap();
    let (block, _) = script.split_once("set -euo pipefail").unwrap();
    let shown =
        r#"printf '%s|' "$EC_DEPLOYMENT" "$EC_REQUIREMENTS" "$EC_NAMES_DJANGO" "$EC_DJANGO" "$EC_WSGI""#;
    let (ok, output) = bash(&["-u", "-s"], format!("{block}{shown}").as_bytes());
    assert!(ok);
    let output = String::from_utf8(output).unwrap();
    assert_eq!(output, "9223372036854775807|it's/$(requirements)\n.txt|1|>=4.2,<5|config.wsgi|");
}

/// The script of a fetch with values that would do harm as code.
fn fetch_script() -> Vec<u8> {
    fetch(&FetchValues {
        fetch: FetchId(i64::MAX),
        kind: FetchKind::Database,
        command: None,
        callback_url: "http://10.213.0.1:8001/it's $(id)",
        token: "a'; touch /tmp/x; '",
    })
}

#[test]
fn a_fetch_is_told_its_values_and_brings_its_program_alone() {
    let script = String::from_utf8(fetch_script()).unwrap();
    let (block, rest) = script.split_once("set -euo pipefail").unwrap();
    let shown = r#"printf '%s|' "$EC_FETCH" "$EC_KIND" "$EC_CALLBACK_URL" "$EC_TOKEN""#;
    let (ok, output) = bash(&["-u", "-s"], format!("{block}{shown}").as_bytes());
    assert!(ok);
    let output = String::from_utf8(output).unwrap();
    assert_eq!(output, "9223372036854775807|database|http://10.213.0.1:8001/it's $(id)|a'; touch /tmp/x; '|");
    assert!(rest.contains("/fetch.py\" <<'EC_END_OF_FILE'"));
    assert_eq!(rest.matches("<<'EC_END_OF_FILE'").count(), 1);
    // What is the same for everyone has no value in it.
    let words = ["greet".to_owned(), "it's \"$(id)\"\n`;'".to_owned()];
    let other = fetch(&FetchValues {
        fetch: FetchId(1),
        kind: FetchKind::Command,
        command: Some(&words),
        callback_url: "",
        token: "",
    });
    let said =
        bash(&["-c", "eval \"$(head -n 20 | grep ^EC_COMMAND=)\"; printf %s \"$EC_COMMAND\""], &other).1;
    assert_eq!(serde_json::from_slice::<Vec<String>>(&said).unwrap(), words);
    assert_eq!(String::from_utf8(other).unwrap().split_once("set -euo pipefail").unwrap().1, rest);
    assert!(!String::from_utf8(provision_script()).unwrap().contains("fetch.py"));
}

#[test]
fn the_scripts_are_bash_and_hold_whole_programs() {
    for script in [provision_script(), image(), fetch_script()] {
        assert!(bash(&["-n"], &script).0);
        assert!(script.starts_with(b"#!/bin/bash\n"));
    }
    let compile = "import sys; compile(sys.stdin.read(), 'program', 'exec')";
    for (name, program) in PROGRAMS.into_iter().filter(|(name, _)| name.ends_with(".py")) {
        let python = Command::new("python3").args(["-c", compile]).stdin(Stdio::piped()).spawn();
        let mut python = python.expect("python3 runs");
        python.stdin.take().unwrap().write_all(outdent(&slim(program)).as_bytes()).unwrap();
        assert!(python.wait().unwrap().success(), "{name} is not Python");
        assert!(program.ends_with('\n'), "{name} has no line break at its end");
        assert!(program.lines().all(|line| line != END), "{name} has a line that ends it");
    }
}

#[test]
fn a_program_keeps_its_shape_with_less_space() {
    let text = "def f(a,\n      b):\n    if a:\n        return g(\n            b)\n";
    assert_eq!(outdent(text), "def f(a,\n   b):\n if a:\n  return g(\n   b)\n");
}

#[test]
fn only_comments_docstrings_and_empty_lines_are_left_out() {
    let text = "\"\"\"Says what.\n\nAt length.\n\"\"\"\n\n# Why.\ndef f():\n    \"\"\"Short.\"\"\"\n    return 1  # one\n";
    assert_eq!(slim(text), "def f():\n    return 1  # one\n");
}

#[test]
fn user_data_fits_as_ec2_counts_it() {
    // A builder's is sent as it is.
    assert!(image().len() <= LIMIT, "{} bytes", image().len());
    for script in [provision_script(), image()] {
        let sent = compressed(&script);
        println!("{} bytes of {LIMIT}", sent.len());
        assert!(sent.len() <= LIMIT, "{} bytes", sent.len());
        assert_eq!(sent, compressed(&script));
        if sent.len() != script.len() {
            let mut text = Vec::new();
            GzDecoder::new(&sent[..]).read_to_end(&mut text).unwrap();
            assert_eq!(text, script);
            assert_eq!(sent[4..8], [0; 4], "the time of writing");
        }
    }
}

#[test]
fn a_later_deployment_fits_into_a_command_of_systems_manager() {
    for script in [provision_script(), fetch_script()] {
        let text = detached::command(Job::Deploy(DeploymentId(i64::MAX)), &script);
        println!("{} bytes of {}", text.len(), detached::LIMIT);
        assert!(text.len() <= detached::LIMIT, "{} bytes", text.len());
    }
}

#[test]
fn what_the_script_does_not_bring_along_the_site_gives_and_the_script_knows_it() {
    let script = String::from_utf8(provision_script()).unwrap();
    let given: BTreeMap<String, String> = serde_json::from_slice(programs()).unwrap();
    for (name, _) in PROGRAMS {
        let brought = script.contains(&format!("/{name}\" <<'{END}'"));
        assert_eq!(brought, OF_DEPLOYMENT.contains(&name), "{name}");
        assert_eq!(given.contains_key(name), !brought && name != OF_FETCH, "{name}");
    }
    let digest = hex::encode(Sha256::digest(programs()));
    assert!(script.contains(&format!("\nEC_PROGRAMS='{digest}'\n")));
    assert!(given["run.py"].contains("os.execvpe"));
}

#[test]
fn the_image_is_known_by_its_script() {
    assert_eq!(image_digest().len(), 64);
    assert_eq!(image_digest(), image_digest());
}

/// What `fetch.py` makes of logs and uploads, away from a machine.
const FETCHED: &str = r#"
import io, os, sys, tarfile, tempfile
f = {"__name__": "fetch", "__file__": "/opt/ec-deployer/fetch.py"}
exec(sys.stdin.read(), f)
here = tempfile.TemporaryDirectory()
log, media = here.name + "/app-7.log", here.name + "/media/"

def write(path, text):
    with open(path, "w") as file:
        file.write(text)

# The end of a log that was put aside just now is in the one before it.
write(log, "".join("new %d\n" % i for i in range(10)))
write(log + ".1", "".join("old %d\n" % i for i in range(1000)))
lines = f["tail"](log).decode().splitlines()
assert (len(lines), lines[0], lines[489], lines[-1]) == (500, "old 510", "old 999", "new 9"), lines
# One line without an end is not taken whole, and a line that is cut off not at all.
write(log, "x" * 1000000 + "\nlast")
assert f["tail"](log) == b"last\n"
write(log, "".join("%0400d\n" % i for i in range(2000)))
lines = f["tail"](log).splitlines()
assert len(lines) > 300 and all(len(line) == 400 for line in lines), len(lines)
# What is no plain file is not read, and nobody is waited for.
os.remove(log), os.remove(log + ".1")
os.symlink("/etc/passwd", log), os.mkfifo(log + ".1")
assert f["tail"](log) == b""

f["SHARED"] = here.name
os.makedirs(media + "sub")
os.symlink("/etc", media + "all"), os.symlink("/etc/passwd", media + "one"), os.mkfifo(media + "pipe")
try:
    f["pack_media"](io.BytesIO())
    raise AssertionError("links are no media files")
except f["Refused"] as refused:
    assert str(refused) == "There are no media files on this machine."
name = "sub/" + "\u00e9" * 60 + "\n"
write(media + name, "uploaded")
out = io.BytesIO()
f["pack_media"](out)
head, _, packed = out.getvalue().partition(b"\n")
archive = tarfile.open(fileobj=io.BytesIO(packed))
assert (head, archive.getnames()) == (b"tar.gz", ["media/" + name])
assert archive.extractfile("media/" + name).read() == b"uploaded"
# A file that becomes shorter while it is packed does not break the archive.
assert f["Exactly"](io.BytesIO(b"abc")).read(5) == b"abc\0\0"
"#;

#[test]
fn a_machine_sends_the_end_of_its_logs_and_files_but_no_links() {
    let python =
        Command::new("python3").args(["-I", "-X", "utf8", "-c", FETCHED]).stdin(Stdio::piped()).spawn();
    let mut python = python.expect("python3 runs");
    let program = PROGRAMS.iter().find(|(name, _)| *name == OF_FETCH).unwrap().1;
    python.stdin.take().unwrap().write_all(slim(program).as_bytes()).unwrap();
    assert!(python.wait().unwrap().success());
}

/// What `machine.py` makes of the answers that it gets, away from a machine.
const ASKED: &str = r#"
import hashlib, io, os, sys, tempfile, urllib.error
m = {"__name__": "machine"}
exec(sys.stdin.read(), m)
here = tempfile.TemporaryDirectory()
m["ETC"] = m["LIB"] = here.name + "/"
m["time"] = type("Time", (), {"sleep": staticmethod(lambda seconds: slept.append(seconds))})
slept, answers, asked, written = [], [], [], {}

def ask(url, method="GET", headers={}, timeout=5):
    asked.append((method, url.rpartition("/latest/")[2]))
    answer = answers.pop(0)
    if isinstance(answer, Exception):
        raise answer
    return answer

def replace(path, data, mode):
    written[os.path.basename(path)] = data
    if path.startswith(here.name):
        with open(path, "wb") as file:
            file.write(data)

def refused(code):
    return urllib.error.HTTPError("http://site", code, "no", None, io.BytesIO())

def failing(call, *words):
    try:
        call(*words)
    except SystemExit as end:
        return str(end)
    raise AssertionError("it did not fail")

real_open = open
m["open"] = lambda path, *mode: io.StringIO("http://site/deployments/7\nT\nboot\n") if path.endswith("/ship/7") else real_open(path, *mode)
m["ask"], m["replace"] = ask, replace
data = b'{"run.py": "import os\\n"}'
digest = hashlib.sha256(data).hexdigest()

# The site is away for a moment, then gives them.
answers[:] = [refused(503), OSError("refused"), data]
m["programs"]("7", digest)
assert (written, slept) == ({"run.py": b"import os\n"}, [1, 2]), (written, slept)
# Those of another version are not taken, and what is not allowed is not asked for again.
written.clear()
answers[:] = [data + b" "]
assert "was upgraded" in failing(m["programs"], "7", digest)
answers[:] = [refused(401)]
assert "programs of this deployment: HTTP Error 401" in failing(m["programs"], "7", digest)
answers[:] = [OSError("down")] * len(m["WAITS"])
assert "does not give the environment: down" in failing(m["environment"], "7")
assert (written, answers) == ({}, []), (written, answers)

# The list of what is to be installed is that of this deployment or none.
written.clear()
answers[:] = [data]
m["requirements"]("7", digest)
assert written == {"listed": data}, written
answers[:] = [data + b"idna\n"]
assert "has other requirements now" in failing(m["requirements"], "7", digest)
assert written == {"listed": data}, written

# An address is what the metadata service says; none is an answer too, and silence is neither.
m["own_address"] = lambda: "10.0.0.7"
m["socket"] = type("Socket", (), {"gethostname": staticmethod(lambda: "shop"), "getfqdn": staticmethod(lambda: "shop")})
answers[:] = [b"token", b"203.0.113.7"]
assert m["public_address"]() == "203.0.113.7"
assert asked[-2:] == [("PUT", "api/token"), ("GET", "meta-data/public-ipv4")], asked
answers[:] = [b"token", refused(404)]
assert m["public_address"]() == ""
for silence in ([refused(404)], [b"token", refused(503)], [OSError("timed out")]):
    answers[:] = silence
    try:
        m["public_address"]()
        raise AssertionError(silence)
    except OSError:
        pass

# The names are written anew where the address is another, and for nothing else.
renewed, looks = [], ["203.0.113.7"] * 2 + [OSError("silence")] * 2 + ["203.0.113.7", "198.51.100.9", "", ""]

def look():
    if not looks:
        raise KeyboardInterrupt
    seen = looks.pop(0)
    if isinstance(seen, Exception):
        raise seen
    return seen

m["public_address"] = look
assert m["renew"]("203.0.113.7") and written["hosts"] == b"203.0.113.7\n10.0.0.7\nshop\n", written
m["replace"] = lambda path, data, mode: renewed.append(data.split()[0]) or replace(path, data, mode)
try:
    m["watch"]()
except KeyboardInterrupt:
    pass
assert renewed == [b"198.51.100.9", b"10.0.0.7"], renewed
"#;

#[test]
fn a_machine_takes_only_its_own_programs_and_notices_another_address() {
    let mut python = Command::new("python3")
        .args(["-I", "-X", "utf8", "-c", ASKED])
        .stdin(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let program = PROGRAMS.iter().find(|(name, _)| *name == "machine.py").unwrap().1;
    python.stdin.take().unwrap().write_all(slim(program).as_bytes()).unwrap();
    assert!(python.wait().unwrap().success());
}

#[test]
fn what_is_installed_and_repaired() {
    let here = tempfile::tempdir().unwrap();
    for (name, program) in PROGRAMS {
        let program = if name.ends_with(".py") { outdent(&slim(program)) } else { program.to_owned() };
        std::fs::write(here.path().join(name), program).unwrap();
    }
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/install.py");
    let output =
        Command::new("python3").args(["-IS", tests]).arg(here.path()).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_check_of_a_site_sees_what_a_visitor_sees() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let ran = Command::new("python3")
        .args([root.join("tests/programs/health.py"), root.join("user_data/health.py")])
        .output()
        .expect("python3 runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}
