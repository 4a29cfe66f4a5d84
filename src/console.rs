//! The holder of a machine's terminal: a process of its own that outlives the site.
//!
//! `systemd-nspawn` says nothing without a terminal, and a terminal that the site held would take the
//! machine along when the site goes. So a small process in a session of its own holds it, keeps what
//! the console prints in a file of limited size, and ends with the machine.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::OpenOptionsExt, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    pty::{Winsize, openpty},
    sys::signal::{SigSet, Signal},
    unistd::{getpid, getsid, setsid},
};

/// The exit code by which `systemd-nspawn --keep-unit` asks to be started again: the machine rebooted.
/// <https://www.freedesktop.org/software/systemd/man/latest/systemd-nspawn.html#--keep-unit>
const REBOOT: i32 = 133;

/// How long what is still in the terminal is waited for once the command has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs `command` on a terminal of its own until it ends, again after a machine's reboot, and appends
/// what it prints to `log`, of which the newest `max` bytes are kept. Gives the command's exit code, or
/// 128 and the number of the signal that ended it.
///
/// # Errors
/// Where the terminal or the log cannot be had, or the command cannot be started.
pub fn hold(log: &Path, max: u64, command: &[OsString]) -> io::Result<i32> {
    if getsid(None)? != getpid() {
        // The leader of a process group may not; it was started by hand, and keeps its shell's session.
        let _ = setsid();
    }
    let mut log = CappedLog::open(log, max)?;
    loop {
        let (status, rest) = hold_once(log, command)?;
        log = rest;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        if code != REBOOT {
            return Ok(code);
        }
    }
}

fn hold_once(mut log: CappedLog, command: &[OsString]) -> io::Result<(ExitStatus, CappedLog)> {
    let (program, args) = command
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command to hold a terminal for"))?;
    let size = Winsize { ws_row: 24, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(&size, None)?;
    // A child that held its own terminal's master would keep it open for ever.
    close_on_exec(&terminal.master)?;
    close_on_exec(&terminal.slave)?;
    let mut child = {
        let slave = terminal.slave;
        Command::new(program)
            .args(args)
            .stdin(Stdio::from(slave.try_clone()?))
            .stdout(Stdio::from(slave.try_clone()?))
            .stderr(Stdio::from(slave))
            .spawn()?
    };
    // Asked to end, the command ends in its own way, and its last words are still taken.
    let mut asked = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        asked.add(signal);
    }
    asked.thread_block()?;
    let (ended, reader_ended) = mpsc::channel();
    let mut master = File::from(terminal.master);
    let path = log.path.clone();
    let max = log.max;
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        loop {
            match master.read(&mut buffer) {
                Ok(0) => break,
                // A full disk must not stop the machine, so its console is read on and lost.
                Ok(n) => drop(log.write(&buffer[..n])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = ended.send(log);
    });
    let status = child.wait()?;
    asked.thread_unblock()?;
    let log = match reader_ended.recv_timeout(LAST_WORDS) {
        Ok(log) => log,
        Err(_) => CappedLog::open(&path, max)?,
    };
    Ok((status, log))
}

fn close_on_exec(fd: &OwnedFd) -> io::Result<()> {
    fcntl(fd.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}

/// A file that keeps the newest of what is written to it.
struct CappedLog {
    path: PathBuf,
    file: File,
    length: u64,
    max: u64,
}

impl CappedLog {
    fn open(path: &Path, max: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, length, max })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        if self.length > self.max { self.shorten() } else { Ok(()) }
    }

    /// Keeps the newest half, so that shortening is rare.
    fn shorten(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.length.saturating_sub(self.max / 2)))?;
        let mut newest = Vec::new();
        self.file.read_to_end(&mut newest)?;
        let beside = self.path.with_extension("new");
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
        file.write_all(&newest)?;
        fs::rename(&beside, &self.path)?;
        *self = Self::open(&self.path, self.max)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(max: u64, script: &str) -> (i32, String) {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("console.log");
        let code = hold(&log, max, &["sh".into(), "-c".into(), script.into()]).unwrap();
        (code, String::from_utf8(fs::read(&log).unwrap()).unwrap())
    }

    #[test]
    fn the_command_has_a_terminal_and_its_last_words_are_kept() {
        let (code, log) = held(1000, "test -t 0 && test -t 1 && test -t 2 && echo terminal; exit 7");
        assert_eq!((code, log.trim()), (7, "terminal"));
    }

    #[test]
    fn only_the_newest_is_kept() {
        let (_, log) = held(1000, "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done");
        assert!(log.len() <= 1000, "{}", log.len());
        assert!(log.trim_end().ends_with("line 1999"), "{log}");
    }

    #[test]
    fn a_reboot_starts_the_command_again() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("mark").display().to_string();
        let (code, log) = held(1000, &format!("echo up; test -e {mark} || {{ touch {mark}; exit 133; }}"));
        assert_eq!((code, log.matches("up").count()), (0, 2), "{log}");
    }

    #[test]
    fn a_signal_shows_in_the_code() {
        assert_eq!(held(1000, "kill -9 $$").0, 128 + 9);
    }
}
