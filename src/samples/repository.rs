//! Makes a bare repository of a sample's files: the same files give the same commit.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use super::SamplesError;

/// Who makes the commits, and when: fixed, so that every site has the same ones.
const SIGNATURE: &str = "EC Django Deployer <samples@localhost> 1767225600 +0000";

/// The ref that a sample's files are first imported to, beside `main`.
const CANDIDATE: &str = "refs/heads/candidate";

/// What lets clients fetch as from a real host: without big files, and a commit by its id.
const CONFIG: [(&str, &str); 5] = [
    ("uploadpack.allowFilter", "true"),
    ("uploadpack.allowAnySHA1InWant", "true"),
    ("http.uploadpack", "true"),
    ("http.receivepack", "false"),
    ("gc.auto", "0"),
];

/// Makes `<directory>/<name>.git`, or adds a commit to its `main` where the files have changed.
pub(super) fn prepare(directory: &Path, name: &str, files: &[(&str, &[u8])]) -> Result<(), SamplesError> {
    let path = directory.join(format!("{name}.git"));
    let git = Git { name, path: &path };
    std::fs::create_dir_all(&path).map_err(|cause| SamplesError::Directory { path: path.clone(), cause })?;
    git.run("init", &["--quiet", "--bare", "--template=", "--initial-branch=main"], b"")?;
    for (key, value) in CONFIG {
        git.run("config", &[key, value], b"")?;
    }
    // The stream says `from nothing`, so a candidate that a crash left behind is put aside by force.
    git.run("fast-import", &["--quiet", "--force"], &stream(name, files))?;
    let wanted = git.ask("rev-parse", &[&format!("{CANDIDATE}^{{tree}}")])?;
    let main = git.find("refs/heads/main")?;
    let commit = match &main {
        None => Some(git.ask("rev-parse", &[CANDIDATE])?),
        Some(main) if git.ask("rev-parse", &[&format!("{main}^{{tree}}")])? == wanted => None,
        Some(main) => Some(git.ask("commit-tree", &["-p", main, "-m", &subject(name), &wanted])?),
    };
    if let Some(commit) = commit {
        git.run("update-ref", &["refs/heads/main", &commit], b"")?;
    }
    git.run("update-ref", &["-d", CANDIDATE], b"")?;
    Ok(())
}

fn subject(name: &str) -> String {
    format!("The sample project {name}")
}

/// The commit in the language of `git fast-import`.
fn stream(name: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let message = format!("{}\n", subject(name));
    let mut stream = Vec::new();
    let head = format!("commit {CANDIDATE}\nauthor {SIGNATURE}\ncommitter {SIGNATURE}\n");
    stream.extend_from_slice(head.as_bytes());
    stream.extend_from_slice(format!("data {}\n{message}\n", message.len()).as_bytes());
    for (path, bytes) in files {
        stream.extend_from_slice(format!("M 100644 inline {path}\ndata {}\n", bytes.len()).as_bytes());
        stream.extend_from_slice(bytes);
        stream.push(b'\n');
    }
    stream.extend_from_slice(b"done\n");
    stream
}

/// git in one repository, free of the host's configuration.
struct Git<'a> {
    name: &'a str,
    path: &'a Path,
}

impl Git<'_> {
    fn command(&self, action: &str, arguments: &[&str]) -> Command {
        let (who, date) = SIGNATURE.split_once("> ").unwrap_or((SIGNATURE, ""));
        let (person, email) = who.split_once(" <").unwrap_or((who, ""));
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(self.path).arg(action).args(arguments).env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_NAME", person)
            .env("GIT_AUTHOR_EMAIL", email)
            .env("GIT_AUTHOR_DATE", date)
            .env("GIT_COMMITTER_NAME", person)
            .env("GIT_COMMITTER_EMAIL", email)
            .env("GIT_COMMITTER_DATE", date)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs git with `input`; its answer and whether it succeeded.
    fn output(
        &self,
        action: &'static str,
        arguments: &[&str],
        input: &[u8],
    ) -> Result<std::process::Output, SamplesError> {
        let fail = |cause: std::io::Error| self.error(action, cause.to_string());
        let mut child = self.command(action, arguments).spawn().map_err(fail)?;
        if let Some(mut stdin) = child.stdin.take() {
            // Where git ended before it read everything, its own words say why.
            let _ = stdin.write_all(input);
        }
        child.wait_with_output().map_err(fail)
    }

    fn run(&self, action: &'static str, arguments: &[&str], input: &[u8]) -> Result<String, SamplesError> {
        let output = self.output(action, arguments, input)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(self.error(action, String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    fn ask(&self, action: &'static str, arguments: &[&str]) -> Result<String, SamplesError> {
        self.run(action, arguments, b"")
    }

    /// The object that a ref names, where there is such a ref.
    fn find(&self, reference: &str) -> Result<Option<String>, SamplesError> {
        let output = self.output("rev-parse", &["--verify", "--quiet", reference], b"")?;
        let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((output.status.success() && !id.is_empty()).then_some(id))
    }

    fn error(&self, action: &'static str, cause: String) -> SamplesError {
        SamplesError::Git { name: self.name.to_owned(), action, cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [(&str, &[u8]); 2] = [("shop/manage.py", b"import django\n"), ("README.md", b"A shop.")];

    fn log(directory: &Path) -> Vec<String> {
        let path = directory.join("shop.git");
        let git = Git { name: "shop", path: &path };
        git.ask("rev-list", &["--all"]).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_same_files_are_the_same_commit_everywhere_and_every_time() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        prepare(one.path(), "shop", &FILES).unwrap();
        prepare(one.path(), "shop", &FILES).unwrap();
        prepare(two.path(), "shop", &FILES).unwrap();
        assert_eq!(log(one.path()).len(), 1);
        assert_eq!(log(one.path()), log(two.path()));
    }

    #[test]
    fn changed_files_are_one_more_commit_on_main() {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path(), "shop", &FILES).unwrap();
        let first = log(directory.path());
        prepare(directory.path(), "shop", &FILES[..1]).unwrap();
        prepare(directory.path(), "shop", &FILES[..1]).unwrap();
        let second = log(directory.path());
        assert_eq!(second.len(), 2);
        assert_eq!(second[1..], first);
        let path = directory.path().join("shop.git");
        let git = Git { name: "shop", path: &path };
        assert_eq!(git.ask("ls-tree", &["-r", "--name-only", "main"]).unwrap(), "shop/manage.py");
        assert_eq!(git.ask("cat-file", &["blob", "main:shop/manage.py"]).unwrap(), "import django");
    }
}
