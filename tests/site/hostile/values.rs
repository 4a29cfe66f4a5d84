//! What nobody means well who types it.

use std::path::Path;

/// A hostile value: what it is, for a failing test to say, and its bytes.
pub type Value = (&'static str, Vec<u8>);

/// Every hostile value. Those that would run a command would make the file `canary`.
pub fn values(canary: &Path) -> Vec<Value> {
    let touch = format!("touch {}", canary.display());
    let texts: [(&str, String); 35] = [
        ("empty", String::new()),
        ("blank", " ".to_owned()),
        ("long", "ä".repeat(10_000)),
        ("NUL", "shop\0one".to_owned()),
        ("line break", "shop\none".to_owned()),
        ("header", "shop\r\nX-Injected: yes\r\n\r\n<script>alert(1)</script>".to_owned()),
        ("escape sequence", "\x1b[2J\x1b]0;x\x07".to_owned()),
        ("up", "../..".to_owned()),
        ("a file", "../../../etc/passwd".to_owned()),
        ("an absolute path", "/etc/passwd".to_owned()),
        ("command substitution", format!("$({touch})")),
        ("backticks", format!("`{touch}`")),
        ("next command", format!("; {touch} #")),
        ("quoted command", format!("'; {touch}; '")),
        ("double-quoted command", format!("\"; {touch}; \"")),
        ("pipe", format!("| {touch}")),
        ("background", format!("& {touch} &")),
        ("command on a new line", format!("x\n{touch}\n")),
        ("option of git", format!("--upload-pack={touch}")),
        ("option of ssh", format!("-oProxyCommand={touch}")),
        ("transport of git", format!("ext::sh -c {}", touch.replace(' ', "%20"))),
        ("deletes all", "; rm -rf /nosuch".to_owned()),
        ("file", "file:///etc".to_owned()),
        ("metadata", "http://169.254.169.254/latest/meta-data".to_owned()),
        ("inside", "http://127.0.0.1:8000/a/b".to_owned()),
        ("inside by IPv6", "http://[::ffff:127.0.0.1]/a/b".to_owned()),
        ("another host as user", "https://github.com@evil.example/a/b".to_owned()),
        ("user and password", "https://user:secret@github.com/a/b?x=1#y".to_owned()),
        ("right to left", "shop\u{202e}gpj.exe".to_owned()),
        ("nothing to see", "\u{feff}\u{200b}\u{2066}".to_owned()),
        ("script", "<script>alert(1)</script>".to_owned()),
        ("attribute", "\"><img src=x onerror=alert(1)>".to_owned()),
        ("SQL", "x'; DROP TABLE instances; --".to_owned()),
        ("template", "{{1337*7}}{% raw %}${1337*7}<%= 1337*7 %>".to_owned()),
        ("encoded twice", "%00%0d%0a%252e%252e".to_owned()),
    ];
    let mut values: Vec<Value> = texts.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    values.push(("no UTF-8", b"shop\xff\xfe\xc0\xaf".to_vec()));
    values
}

/// The value with every byte encoded, as in a form, a query or a path.
pub fn encode(value: &[u8]) -> String {
    value.iter().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn what_would_run_a_command_runs_it_where_it_is_let() {
    let directory = tempfile::tempdir().unwrap();
    let canary = directory.path().join("canary");
    let mut ran = 0;
    for (_, value) in values(&canary) {
        let Ok(text) = String::from_utf8(value) else { continue };
        if text.contains('\0') || text.contains("rm -rf") {
            continue;
        }
        let command = format!("echo {text}");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &command]).current_dir(directory.path());
        shell.stdin(std::process::Stdio::null()).output().unwrap();
        if canary.exists() {
            ran += 1;
            std::fs::remove_file(&canary).unwrap();
        }
    }
    assert!(ran >= 6, "{ran}");
}
