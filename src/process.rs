//! Child processes that read what strangers wrote: a clean environment, an account without rights, limits
//! that the kernel keeps, and an end that takes everything they started along.

use std::{
    ffi::OsStr,
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::{Gid, Pid, Uid, User, chown},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

/// What of a program's complaints is kept, in bytes.
const STDERR_KEPT: u64 = 64 * 1024;

/// The environment that `https` needs on hosts with a proxy or a certificate authority of their own.
const NETWORK_ENVIRONMENT: [&str; 12] = [
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_PROXY_SSL_CAINFO",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "no_proxy",
    "NO_PROXY",
];

/// The account that programs run as which read what strangers wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    uid: Uid,
    gid: Gid,
}

impl Account {
    /// The account `nobody` where we are root; else none, which is our own account.
    ///
    /// # Errors
    /// Where we are root and the host has no `nobody`.
    pub fn unprivileged() -> io::Result<Option<Self>> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        let user = User::from_name("nobody")?
            .ok_or_else(|| io::Error::other("this host has no account `nobody` to run git as"))?;
        Ok(Some(Self { uid: user.uid, gid: user.gid }))
    }

    /// Makes this account the owner of `path`.
    ///
    /// # Errors
    /// Those of chown(2).
    pub fn own(self, path: &Path) -> io::Result<()> {
        Ok(chown(path, Some(self.uid), Some(self.gid))?)
    }
}

/// Whether every directory on the way to `path`, and `path` itself, may be passed through by an account
/// that owns none of them; the first that may not is the error.
///
/// # Errors
/// Where `path` cannot be looked at, or a directory is closed to others: the sentence names it.
pub fn check_reachable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let path = path.canonicalize()?;
    for directory in path.ancestors() {
        if directory.metadata()?.permissions().mode() & 0o001 == 0 {
            let sentence = format!(
                "{} is closed to the unprivileged account that git runs as: give others the right to pass (chmod o+x)",
                directory.display()
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, sentence));
        }
    }
    Ok(())
}

/// Limits that the kernel keeps for a program and for each program that it starts.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest file that may be written, in bytes.
    pub file_size: u64,
    /// The address space, in bytes.
    pub memory: u64,
    /// The end, should we not live to see to it.
    pub time: Duration,
}

/// A command for `program` with a clean environment, its own process group, and `account`'s rights.
///
/// `timeout` and `prlimit` (coreutils and util-linux, on every Debian and Ubuntu) keep the limits: they hold
/// too where we are killed.
pub fn command(program: &str, account: Option<Account>, limits: Limits) -> Command {
    let mut command = Command::new("timeout");
    command
        .arg("--signal=KILL")
        .arg(limits.time.as_secs().max(1).to_string())
        .arg("prlimit")
        .arg(format!("--fsize={}", limits.file_size))
        .arg(format!("--as={}", limits.memory))
        .arg("--core=0")
        .arg("--")
        .arg(program);
    let path = std::env::var_os("PATH");
    let path = path.as_deref().unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
    command.env_clear().env("PATH", path).env("LC_ALL", "C");
    if let Some(account) = account {
        // With a user id, the standard library empties the list of supplementary groups as well.
        command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    command
}

/// Gives `command` the host's proxies and certificate authorities.
pub fn with_network(command: &mut Command) -> &mut Command {
    for name in NETWORK_ENVIRONMENT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// A running program; dropped, it and all that it started are killed.
#[derive(Debug)]
pub struct Running {
    /// The program, for its pipes.
    pub child: Child,
    group: Option<Pid>,
}

/// What a program that ended has said.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// The beginning of its complaints.
    pub stderr: String,
}

/// Why there is no [`Output`].
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It printed more than was asked for, and was killed.
    #[error("it printed more than {0} bytes")]
    TooLong(u64),
    /// It could not be started or read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Running {
    /// Starts `command`, which [`command()`] made.
    ///
    /// # Errors
    /// Where the program cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Self { child, group })
    }

    /// Waits for its end, and ends what it left running.
    ///
    /// # Errors
    /// Those of wait(2).
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.kill_group();
        status
    }

    /// Reads all that it prints, at most `most` bytes, and waits for its end.
    ///
    /// # Errors
    /// Where it prints more, or cannot be read.
    pub async fn output(mut self, most: u64) -> Result<Output, OutputError> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let (stdout, stderr) = tokio::join!(
            async {
                let stdout = read_at_most(stdout, most + 1).await?;
                if stdout.len() as u64 > most {
                    self.kill_group();
                    return Err(OutputError::TooLong(most));
                }
                Ok(stdout)
            },
            read_start(stderr),
        );
        let (stdout, stderr) = (stdout?, stderr?);
        let status = self.wait().await?;
        Ok(Output { status, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() })
    }

    fn kill_group(&mut self) {
        if let Some(group) = self.group.take() {
            // ESRCH, nobody left, is what is wanted.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
    }
}

async fn read_at_most(pipe: Option<impl AsyncRead + Unpin>, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(most).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Keeps the beginning and reads the rest away, so that a talkative program is not held up.
async fn read_start(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let Some(mut pipe) = pipe else { return Ok(Vec::new()) };
    let bytes = read_at_most(Some(&mut pipe), STDERR_KEPT).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { file_size: 1 << 20, memory: 1 << 30, time: Duration::from_secs(20) }
    }

    fn shell(script: &str) -> Command {
        let mut command = command("sh", Account::unprivileged().unwrap(), limits());
        command.args(["-c", script]);
        command
    }

    async fn says(script: &str) -> String {
        let output = Running::spawn(&mut shell(script)).unwrap().output(4096).await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[tokio::test]
    async fn runs_without_rights_and_without_our_environment() {
        if Uid::effective().is_root() {
            assert_eq!(says("id -un; id -G | wc -w").await, "nobody\n1\n");
        }
        let environment = says("env").await;
        assert!(environment.contains("LC_ALL=C"));
        assert!(!environment.contains("HOME="), "{environment}");
        assert!(!environment.contains("CARGO"), "{environment}");
    }

    #[tokio::test]
    async fn files_are_limited_by_the_kernel() {
        assert_eq!(says("ulimit -f; ulimit -c").await, "2048\n0\n");
    }

    #[tokio::test]
    async fn a_program_that_says_too_much_is_ended() {
        let error = Running::spawn(&mut shell("exec yes")).unwrap().output(1000).await.unwrap_err();
        assert!(matches!(error, OutputError::TooLong(1000)), "{error}");
    }

    #[tokio::test]
    async fn what_it_started_ends_with_it() {
        let mut running = Running::spawn(&mut shell("sleep 300 & echo $!; wait")).unwrap();
        let mut line = [0; 16];
        let n = running.child.stdout.as_mut().unwrap().read(&mut line).await.unwrap();
        let id: i32 = std::str::from_utf8(&line[..n]).unwrap().trim().parse().unwrap();
        drop(running);
        for _ in 0..100 {
            // A zombie awaits its reaper; it runs no more.
            let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the grandchild {id} still runs");
    }
}
