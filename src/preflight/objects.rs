//! Reads a fetched commit out of the bare repository, within limits: a tree can be made of a few objects that
//! name each other and list more paths than there is memory.

use std::collections::BTreeMap;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::{
    dependencies,
    git::{BLOB_LIMIT_BYTES, Git, TIP},
    remote::RemoteError,
    snapshot::{Entry, Snapshot, depth, file_name, is_foreign, join},
    text,
};
use crate::{
    domain::{CommitId, ProjectName, Timestamp},
    process::{OutputError, Running},
};

/// What the list of a tree's paths may be long, in bytes: about 300,000 files.
const TREE_LIMIT: u64 = 32 << 20;

/// How many files are read at most; a large real project has some hundred.
const FILES_READ: usize = 4000;

/// How much is read of them all, in bytes.
const BYTES_READ: u64 = 24 << 20;

/// Python files further down than this in the repository, outside of the project, are no settings of it.
const OUTSIDE_DEPTH: usize = 3;

/// A commit's subject, in characters, as the plan has it.
const SUBJECT: usize = 100;

/// Reads the commit that was fetched, and what of it tells how to deploy `project`.
pub(super) async fn read(git: Git<'_>, project: &ProjectName) -> Result<Snapshot, RemoteError> {
    let mut objects = Objects::start(git)?;
    let (commit, kind, bytes) = objects.read(TIP).await?.ok_or_else(|| ours("the tip was not fetched"))?;
    if kind != "commit" {
        return Err(ours("the tip is no commit"));
    }
    let id: CommitId = commit.parse().map_err(|_| ours("the commit has no plain name"))?;
    let mut snapshot = Snapshot::new(id, subject(&bytes), tree(git, &commit).await?);
    snapshot.committed = committed(&bytes).filter(|time| *time <= Timestamp::now());
    let mut left = BYTES_READ;
    for (path, object) in interesting(&snapshot, project) {
        // A file that is big, or was not sent, is as good as missing: what needs it says so.
        let Some((_, _, bytes)) = objects.read(&object).await? else { continue };
        left = left.saturating_sub(bytes.len() as u64);
        if left == 0 {
            break;
        }
        snapshot.keep(&path, &bytes);
    }
    Ok(snapshot)
}

/// The paths of a commit's tree. Names that are no UTF-8 are left out: nothing can refer to them.
async fn tree(git: Git<'_>, commit: &str) -> Result<BTreeMap<String, Entry>, RemoteError> {
    let running = git.read(&["ls-tree", "-r", "-z", "--full-tree", commit]).map_err(ours)?;
    let output = running.output(TREE_LIMIT).await.map_err(|error| match error {
        OutputError::TooLong(_) => RemoteError::TooLarge,
        OutputError::Io(error) => ours(error),
    })?;
    if !output.status.success() {
        return Err(RemoteError::NotGit("the commit's tree cannot be read".to_owned()));
    }
    let mut entries = BTreeMap::new();
    for record in output.stdout.split(|&byte| byte == 0) {
        let Ok(record) = std::str::from_utf8(record) else { continue };
        let Some((head, path)) = record.split_once('\t') else { continue };
        let mut head = head.split(' ');
        let (Some(mode), Some(_), Some(object)) = (head.next(), head.next(), head.next()) else { continue };
        let entry = match mode {
            "160000" => Entry::Submodule,
            "120000" => Entry::Link(object.to_owned()),
            _ => Entry::File(object.to_owned()),
        };
        entries.insert(path.to_owned(), entry);
    }
    Ok(entries)
}

/// Paths and objects of the files worth reading: those that say how the project is run first, then the project's
/// own, the shallow ones before the deep. Links are not followed.
fn interesting(snapshot: &Snapshot, project: &ProjectName) -> Vec<(String, String)> {
    let own = join(project.as_str(), "");
    let mut files: Vec<_> = snapshot
        .entries()
        .filter_map(|(path, entry)| {
            let Entry::File(object) = entry else { return None };
            let outside = !path.starts_with(&own);
            let python = path.ends_with(".py") && (!outside || depth(path) <= OUTSIDE_DEPTH);
            let wanted = !is_foreign(path) && (python || is_declaration(path));
            wanted.then(|| ((rank(path), outside, depth(path)), path.to_owned(), object.clone()))
        })
        .collect();
    files.sort();
    files.truncate(FILES_READ);
    files.into_iter().map(|(_, path, object)| (path, object)).collect()
}

/// How soon a file is read, where there are too many: the lower the sooner.
fn rank(path: &str) -> u8 {
    let name = file_name(path);
    let lower = path.to_ascii_lowercase();
    if matches!(name, "manage.py" | "wsgi.py") || is_declaration(path) {
        0
    } else if lower.contains("settings") || lower.contains("config") {
        1
    } else if lower.contains("/migrations/") {
        // They are many, and only tell the version that made them.
        3
    } else {
        2
    }
}

/// Whether a file may list what the project needs, or give it variables.
fn is_declaration(path: &str) -> bool {
    depth(path) <= OUTSIDE_DEPTH && dependencies::is_declaration(path)
}

/// When a commit was made: the seconds since 1970 that stand before the zone at the end of its committer's line.
fn committed(commit: &[u8]) -> Option<Timestamp> {
    let head = commit.split(|&byte| byte == b'\n').take_while(|line| !line.is_empty());
    let line = head.into_iter().find_map(|line| line.strip_prefix(b"committer "))?;
    let mut words = line.rsplit(|&byte| byte == b' ');
    let seconds: i64 = std::str::from_utf8(words.nth(1)?).ok()?.parse().ok()?;
    (seconds > 0).then(|| seconds.checked_mul(1000)).flatten().map(Timestamp)
}

/// The first line of a commit's message.
fn subject(commit: &[u8]) -> String {
    let message =
        commit.windows(2).position(|pair| pair == b"\n\n").map_or(&commit[..0], |at| &commit[at + 2..]);
    let message = String::from_utf8_lossy(message);
    let first = message.trim_start().split("\n\n").next().unwrap_or_default();
    text::one_line(first, SUBJECT)
}

/// `git cat-file`, once for sizes and once for contents, so that a huge object is never asked for.
struct Objects {
    sizes: Pipe,
    contents: Pipe,
}

impl Objects {
    fn start(git: Git<'_>) -> Result<Self, RemoteError> {
        Ok(Self {
            sizes: Pipe::start(git.read(&["cat-file", "--batch-check"]))?,
            contents: Pipe::start(git.read(&["cat-file", "--batch"]))?,
        })
    }

    /// An object's name, kind and content; none where it was not fetched or is big.
    async fn read(&mut self, name: &str) -> Result<Option<(String, String, Vec<u8>)>, RemoteError> {
        let Some((_, _, size)) = self.sizes.ask(name).await? else { return Ok(None) };
        if size > BLOB_LIMIT_BYTES {
            return Ok(None);
        }
        let Some((object, kind, size)) = self.contents.ask(name).await? else { return Ok(None) };
        if size > BLOB_LIMIT_BYTES {
            return Err(ours("an object changed its size"));
        }
        let mut bytes = vec![0; size as usize + 1];
        self.contents.answers.read_exact(&mut bytes).await.map_err(ours)?;
        bytes.pop();
        Ok(Some((object, kind, bytes)))
    }
}

/// One `git cat-file` at work.
struct Pipe {
    questions: tokio::process::ChildStdin,
    answers: BufReader<tokio::process::ChildStdout>,
    _running: Running,
}

impl Pipe {
    fn start(running: std::io::Result<Running>) -> Result<Self, RemoteError> {
        let mut running = running.map_err(ours)?;
        let questions = running.child.stdin.take().ok_or_else(|| ours("no pipe"))?;
        let answers = running.child.stdout.take().ok_or_else(|| ours("no pipe"))?;
        Ok(Self { questions, answers: BufReader::new(answers), _running: running })
    }

    /// Asks for an object by a name of ours or an id; its id, kind and size, or none where it is missing.
    async fn ask(&mut self, name: &str) -> Result<Option<(String, String, u64)>, RemoteError> {
        self.questions.write_all(format!("{name}\n").as_bytes()).await.map_err(ours)?;
        let mut line = Vec::new();
        (&mut self.answers).take(1024).read_until(b'\n', &mut line).await.map_err(ours)?;
        let line = String::from_utf8_lossy(&line);
        let mut words = line.trim_end().split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some(_), Some("missing"), _) => Ok(None),
            (Some(id), Some(kind), Some(size)) => {
                let size = size.parse().map_err(ours)?;
                Ok(Some((id.to_owned(), kind.to_owned(), size)))
            }
            // It ends on an object that is broken.
            _ => Err(RemoteError::NotGit("an object cannot be read".to_owned())),
        }
    }
}

fn ours(error: impl ToString) -> RemoteError {
    RemoteError::Ours(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_plain_line() {
        let commit = b"tree 0\nauthor a <b> 1 +0\n\nFix\x1b[31m the\nshop\n\nBody";
        assert_eq!(subject(commit), "Fix[31m the shop");
        assert_eq!(subject(b"tree 0\n\n"), "");
        assert_eq!(subject(b"tree 0"), "");
        let long = format!("tree 0\n\n{}", "x".repeat(300));
        assert_eq!(subject(long.as_bytes()).chars().count(), 100);
    }

    #[test]
    fn a_commit_tells_its_time() {
        let commit = b"tree 0\nauthor a <b> 1 +0\ncommitter c d <e> 1700000000 +0100\n\ncommitter x 5 +0";
        assert_eq!(committed(commit), Some(Timestamp(1_700_000_000_000)));
        let lines: [&[u8]; 5] = [
            b"tree 0\n\ncommitter x 5 +0",
            b"committer 5",
            b"committer a -5 +0",
            b"committer a 99999999999999999999 +0",
            b"committer a 9223372036854775807 +0",
        ];
        for line in lines {
            assert_eq!(committed(line), None);
        }
    }

    #[test]
    fn what_matters_is_read_first_and_migrations_last() {
        let snapshot = Snapshot::of(&[
            ("a/b.py", ""),
            ("requirements.txt", ""),
            ("shop/app/migrations/0001_initial.py", ""),
            ("shop/app/models.py", ""),
            ("shop/manage.py", ""),
            ("shop/shop/settings.py", ""),
            ("shop/static/site.css", ""),
            ("shop/venv/lib/x.py", ""),
        ]);
        let paths = interesting(&snapshot, &"shop".parse().unwrap());
        let paths: Vec<_> = paths.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "shop/manage.py",
                "requirements.txt",
                "shop/shop/settings.py",
                "shop/app/models.py",
                "a/b.py",
                "shop/app/migrations/0001_initial.py"
            ]
        );
    }
}
