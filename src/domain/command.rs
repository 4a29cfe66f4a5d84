//! Management commands that owners run on their instances: one line, taken apart here and never by a shell.

use super::{Fetch, Instance, NameError, Status, Timestamp, Username, can_be_asked};

/// A management command: its name and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementCommand {
    line: String,
    arguments: Vec<String>,
}

/// Most characters of a command's line.
const LONGEST: usize = 500;

/// Commands that do not end, or need somebody at a terminal, and what to do in their place.
const REFUSED: [(&[&str], &str); 6] = [
    (
        &["runserver", "runserver_plus", "runsslserver", "testserver", "runworker", "daphne", "livereload"],
        "never ends; the project is served already.",
    ),
    (
        &[
            "celery",
            "celeryd",
            "rqworker",
            "qcluster",
            "process_tasks",
            "run_huey",
            "rundramatiq",
            "dramatiq",
        ],
        "never ends: a command has five minutes.",
    ),
    (&["dbshell"], "needs a terminal, which there is none of. Download the database on the page Data."),
    (
        &["changepassword"],
        "asks for the password at a terminal, which there is none of. Change it in the project's admin.",
    ),
    (
        &["makemigrations", "startapp", "startproject", "makemessages"],
        "writes files into this release alone, and the next deployment would be without them. Run it on your own machine and commit what it makes.",
    ),
    (
        &["shell_plus"],
        "needs a terminal, which there is none of. A command of the project's own can do the same.",
    ),
];

impl ManagementCommand {
    /// Reads a line as a POSIX shell takes it apart, with quotes and backslashes and nothing else of a shell. What
    /// people type before the command out of habit, as `python manage.py`, is left out.
    ///
    /// # Errors
    /// A sentence for the field.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let line = text.trim();
        if line.is_empty() {
            return Err(NameError::new("Type a management command, as `check`"));
        }
        if line.chars().count() > LONGEST {
            return Err(NameError::new(format!("A command has at most {LONGEST} characters")));
        }
        if line.chars().any(char::is_control) {
            return Err(NameError::new("A command is one line, without tabs and other control characters"));
        }
        let Ok(mut arguments) = shell_words::split(line) else {
            return Err(NameError::new("A quote is not closed"));
        };
        if arguments.first().is_some_and(|word| matches!(word.as_str(), "python" | "python3")) {
            arguments.remove(0);
        }
        if arguments
            .first()
            .is_some_and(|word| matches!(word.as_str(), "manage.py" | "./manage.py" | "django-admin"))
        {
            arguments.remove(0);
        }
        let Some(name) = arguments.first() else {
            return Err(NameError::new("Type the command that follows `manage.py`, as `check`"));
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(plain) {
            return Err(NameError::new(
                "Begin with the name of a management command, as `check`; other programs are not run",
            ));
        }
        if let Some(why) = refusal(name, &arguments[1..]) {
            return Err(NameError::new(format!("`{name}` {why}")));
        }
        Ok(Self { line: line.to_owned(), arguments })
    }

    /// One that was kept.
    pub fn from_stored(line: String, arguments: Vec<String>) -> Self {
        Self { line, arguments }
    }

    /// As it was typed.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Its name and what follows.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }
}

fn refusal(name: &str, options: &[String]) -> Option<&'static str> {
    let has = |wanted: &[&str]| {
        options.iter().any(|option| wanted.contains(&option.split('=').next().unwrap_or(option)))
    };
    if has(&["--help", "-h"]) {
        return None;
    }
    match name {
        "createsuperuser" if !has(&["--noinput", "--no-input"]) => Some(
            "asks questions at a terminal, which there is none of. Add `--noinput`, with the name and the e-mail address as options; the password is taken from the variable `DJANGO_SUPERUSER_PASSWORD`.",
        ),
        "shell" if !has(&["-c", "--command"]) => {
            Some("needs a terminal, which there is none of. With `-c \"…\"` it runs what it is given.")
        }
        "flush" | "reset_db" if !has(&["--noinput", "--no-input"]) => {
            Some("asks whether it is meant. It removes all data; add `--noinput` if you do mean it.")
        }
        "makemigrations" if has(&["--check", "--dry-run"]) => None,
        _ => REFUSED.iter().find(|(names, _)| names.contains(&name)).map(|(_, why)| *why),
    }
}

/// Whether a command can be begun on an instance now.
///
/// # Errors
/// A sentence that says why not.
pub fn can_run(instance: &Instance) -> Result<(), &'static str> {
    can_be_asked(instance)?;
    match instance.status {
        Status::Live if instance.is_to_stop() => Err("The machine is about to be stopped."),
        Status::Live => Ok(()),
        Status::Deploying => Err("A deployment is under way; a command can be run when it has ended."),
        _ => Err("The project is not live."),
    }
}

/// A command that was run, or is.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandRun {
    /// Where it is in its life.
    pub fetch: Fetch,
    /// Its words.
    pub command: ManagementCommand,
    /// Who asked for it, while there is such a user.
    pub requested_by: Option<Username>,
    /// Its exit code, once it has ended.
    pub exit_code: Option<i32>,
}

impl CommandRun {
    /// Commands of an instance that are kept.
    pub const KEPT: u32 = 20;

    /// Seconds that it took, as far as the site saw it.
    pub fn seconds(&self) -> Option<f64> {
        Some(self.fetch.ended_at?.seconds_since(self.fetch.sent_at?))
    }

    /// When it was asked for.
    pub fn asked_at(&self) -> Timestamp {
        self.fetch.created_at
    }
}

/// What a machine sends of a command: a line `exit CODE`, then what it printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandOutput<'a> {
    /// The exit code; below 0 where a signal ended it.
    pub exit_code: i32,
    /// What it printed.
    pub printed: &'a [u8],
}

impl<'a> CommandOutput<'a> {
    /// Most bytes that a machine sends: what is kept of a long output, and the first line.
    pub const MAX: usize = 1024 * 1024 + 256;

    /// Reads what a machine sent; none where it is no such thing.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.iter().take(64).position(|byte| *byte == b'\n')?;
        let exit_code = std::str::from_utf8(&bytes[..end]).ok()?.strip_prefix("exit ")?.parse().ok()?;
        Some(Self { exit_code, printed: &bytes[end + 1..] })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("check", &["check"])]
    #[case("  python manage.py check --deploy ", &["check", "--deploy"])]
    #[case("./manage.py greet 'two words' \"$(id)\" a\\;b ''", &["greet", "two words", "$(id)", "a;b", ""])]
    #[case("greet `id` | tee > file && x #", &["greet", "`id`", "|", "tee", ">", "file", "&&", "x"])]
    #[case("createsuperuser --noinput --username=mira", &["createsuperuser", "--noinput", "--username=mira"])]
    #[case("shell -c 'print(1)'", &["shell", "-c", "print(1)"])]
    #[case("runserver --help", &["runserver", "--help"])]
    #[case("makemigrations --check", &["makemigrations", "--check"])]
    fn a_line_becomes_a_list(#[case] line: &str, #[case] arguments: &[&str]) {
        let command = ManagementCommand::parse(line).unwrap();
        assert_eq!(command.arguments(), arguments);
        assert_eq!(command.line(), line.trim());
    }

    #[rstest]
    #[case("", "Type a management command")]
    #[case("python manage.py", "that follows `manage.py`")]
    #[case("check\nflush", "one line")]
    #[case("check\0", "one line")]
    #[case("greet 'open", "A quote is not closed")]
    #[case("/bin/sh -c id", "Begin with the name")]
    #[case("--version", "Begin with the name")]
    #[case("$(id)", "Begin with the name")]
    #[case("runserver 0:8000", "`runserver` never ends")]
    #[case("python manage.py shell", "needs a terminal")]
    #[case("dbshell", "needs a terminal")]
    #[case("changepassword mira", "asks for the password")]
    #[case("createsuperuser", "Add `--noinput`")]
    #[case("makemigrations shop", "into this release alone")]
    #[case("flush", "add `--noinput`")]
    fn what_cannot_be_run_is_refused_with_a_sentence(#[case] line: &str, #[case] why: &str) {
        let error = ManagementCommand::parse(line).unwrap_err();
        assert!(error.message.contains(why), "{}", error.message);
    }

    #[test]
    fn a_line_has_an_end() {
        assert!(ManagementCommand::parse(&format!("greet {}", "ä".repeat(494))).is_ok());
        assert!(ManagementCommand::parse(&format!("greet {}", "ä".repeat(495))).is_err());
    }

    #[rstest]
    #[case(b"exit 3\nhello\n", Some((3, &b"hello\n"[..])))]
    #[case(b"exit -9\n", Some((-9, &b""[..])))]
    #[case(b"exit 0\nexit 1\n", Some((0, &b"exit 1\n"[..])))]
    #[case(b"exit\n", None)]
    #[case(b"exit x\n", None)]
    #[case(b"hello\n", None)]
    #[case(b"", None)]
    fn what_a_machine_sends_is_a_code_and_what_was_printed(
        #[case] bytes: &[u8],
        #[case] expected: Option<(i32, &[u8])>,
    ) {
        let read = CommandOutput::read(bytes).map(|output| (output.exit_code, output.printed));
        assert_eq!(read, expected);
    }
}
