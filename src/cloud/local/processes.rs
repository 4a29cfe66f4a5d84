//! Processes of this host that belong to machines. A machine's state is read off them, not off a record
//! of them: what was started a moment before the site was killed is found all the same.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How often something that is about to happen is looked for.
pub(super) const LOOK: Duration = Duration::from_millis(25);

/// A process. A number alone may have passed on to another one, so its start time is part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pid: i32,
    /// In clock ticks since the host's boot.
    started: u64,
}

impl Process {
    /// Its number.
    pub(super) fn pid(self) -> i32 {
        self.pid
    }

    /// Whether it still runs. One that is dead and not yet buried does not.
    pub(super) fn runs(self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.started == self.started && !stat.dead)
    }

    /// Ends it at once. One that is gone is no error.
    pub(super) fn kill(self) -> io::Result<()> {
        if !self.runs() {
            return Ok(());
        }
        match kill(Pid::from_raw(self.pid), Signal::SIGKILL) {
            Err(error) if error != Errno::ESRCH => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Waits until none of them runs any more; says whether that came in time.
pub(super) fn wait_gone(processes: &[Process], within: Duration) -> bool {
    let deadline = Instant::now() + within;
    loop {
        if !processes.iter().any(|process| process.runs()) {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(LOOK);
    }
}

/// What `/proc/PID/stat` says.
/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: i32,
    started: u64,
    dead: bool,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses and may hold anything.
        let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            dead: matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// The processes of one machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MachineProcesses {
    /// All that keep it on the host's side: the terminal's holder, `systemd-nspawn`, and what is about to
    /// become them.
    pub keepers: Vec<Process>,
    /// The machine's own first process, once its system has begun.
    pub leader: Option<Process>,
}

/// A look at every process of the host that names a machine.
pub(super) struct Look {
    all: Vec<(Process, i32)>,
    named: Vec<(Process, i32, Vec<OsString>)>,
}

impl Look {
    /// Looks now.
    pub(super) fn now() -> io::Result<Self> {
        let mut look = Self { all: Vec::new(), named: Vec::new() };
        for entry in fs::read_dir("/proc")? {
            let Ok(entry) = entry else { continue };
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Some(stat) = Stat::read(pid).filter(|stat| !stat.dead) else { continue };
            let process = Process { pid, started: stat.started };
            look.all.push((process, stat.parent));
            // Only root's processes count: anyone may call themselves what they like.
            if entry.metadata().is_ok_and(|metadata| metadata.uid() == 0)
                && let Ok(line) = fs::read(format!("/proc/{pid}/cmdline"))
            {
                let args: Vec<_> =
                    line.split(|b| *b == 0).map(|arg| OsString::from_vec(arg.to_vec())).collect();
                if args.iter().any(|arg| arg.as_encoded_bytes().starts_with(b"--machine=")) {
                    look.named.push((process, stat.parent, args));
                }
            }
        }
        Ok(look)
    }

    /// The processes of the machine of this name on this root.
    pub(super) fn machine(&self, name: &str, root: &Path) -> MachineProcesses {
        let [by_name, by_root] = arguments(name, root);
        let keepers: Vec<_> = self
            .named
            .iter()
            .filter(|(_, _, args)| args.contains(&by_name) && args.contains(&by_root))
            .map(|(process, parent, _)| (*process, *parent))
            .collect();
        let leader = self
            .all
            .iter()
            .filter(|(_, parent)| keepers.iter().any(|(keeper, _)| keeper.pid == *parent))
            .map(|(process, _)| *process)
            .find(|process| is_first_of_its_own(process.pid));
        MachineProcesses { keepers: keepers.into_iter().map(|(process, _)| process).collect(), leader }
    }
}

/// The arguments of `systemd-nspawn` by which a machine's processes are known.
pub(super) fn arguments(name: &str, root: &Path) -> [OsString; 2] {
    let mut by_root = OsString::from("--directory=");
    by_root.push(root);
    [format!("--machine={name}").into(), by_root]
}

/// Whether a process is number 1 of a system of its own, which has begun.
fn is_first_of_its_own(pid: i32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    let first = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .is_some_and(|numbers| numbers.split_whitespace().skip(1).last() == Some("1"));
    let begun = fs::read_link(format!("/proc/{pid}/exe"))
        .is_ok_and(|program| program.file_name().is_some_and(|name| name != "systemd-nspawn"));
    first && begun
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_whatever_the_program_is_called() {
        let text = "7 (a) b (c) S 3 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 1";
        assert_eq!(Stat::parse(text), Some(Stat { parent: 3, started: 4711, dead: false }));
        assert_eq!(Stat::parse("7 (a) Z 3"), None);
    }

    #[test]
    fn a_process_is_known_by_its_start_too() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let me = Process { pid, started: Stat::read(pid).unwrap().started };
        assert!(me.runs());
        let another = Process { started: me.started + 1, ..me };
        assert!(!another.runs());
        another.kill().unwrap();
        assert!(wait_gone(&[another], Duration::ZERO));
        assert!(!wait_gone(&[me], Duration::ZERO));
    }

    #[test]
    fn a_machines_processes_need_its_name_and_its_root() {
        let process = |pid| Process { pid, started: 1 };
        let args = |name: &str, root: &str| arguments(name, Path::new(root)).to_vec();
        let look = Look {
            all: Vec::new(),
            named: vec![
                (process(10), 1, args("a", "/x")),
                (process(11), 10, args("a", "/y")),
                (process(12), 10, args("ab", "/x")),
            ],
        };
        assert_eq!(look.machine("a", Path::new("/x")).keepers, [process(10)]);
        assert_eq!(look.machine("b", Path::new("/x")), MachineProcesses::default());
    }
}
