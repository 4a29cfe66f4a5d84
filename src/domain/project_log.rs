//! The project's own log: the last lines of gunicorn and nginx, as a machine sends them, and what of them tells of
//! an error. The lines are the project's output and may hold anything.

/// The end of a project's log, in three parts. Lines are as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectLog {
    /// What the project and gunicorn wrote.
    pub gunicorn: String,
    /// What nginx said of its own troubles.
    pub nginx_errors: String,
    /// The requests that nginx served.
    pub nginx_access: String,
}

impl ProjectLog {
    /// Most bytes of all three, as they are sent: 512 KiB.
    pub const MAX: usize = 512 * 1024;
    /// Most lines of the project's own errors that stand first: some tracebacks.
    const OWN_ERRORS: usize = 300;
    /// Most lines of nginx's errors, and of failed requests, that stand first.
    const NGINX_ERRORS: usize = 100;

    /// Reads what a machine sent: each part begins with a line of its name and how many bytes it has, so that no line
    /// of a project can pass for another part. What is cut off or unknown is left out.
    pub fn read(mut bytes: &[u8]) -> Self {
        let mut log = Self::default();
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            bytes = &bytes[end + 1..];
            let Some((name, Ok(size))) = head.split_once(' ').map(|(name, size)| (name, size.parse())) else {
                break;
            };
            let (part, rest) = bytes.split_at(bytes.len().min(size));
            bytes = rest;
            let text = String::from_utf8_lossy(part).into_owned();
            match name {
                "gunicorn" => log.gunicorn = text,
                "nginx-error" => log.nginx_errors = text,
                "nginx-access" => log.nginx_access = text,
                _ => {}
            }
        }
        log
    }

    /// The same log with each line as `clean` gives it.
    pub fn cleaned(self, clean: impl Fn(&str) -> String) -> Self {
        let lines = |text: String| text.lines().map(|line| clean(line) + "\n").collect();
        Self {
            gunicorn: lines(self.gunicorn),
            nginx_errors: lines(self.nginx_errors),
            nginx_access: lines(self.nginx_access),
        }
    }

    /// Whether nothing was written at all.
    pub fn is_empty(&self) -> bool {
        [&self.gunicorn, &self.nginx_errors, &self.nginx_access].iter().all(|part| part.trim().is_empty())
    }

    /// What tells of an error, in this order: the project's tracebacks and lines of level ERROR or CRITICAL, nginx's
    /// own errors, and requests that were answered with a 5xx. The newest of each, in the order they were written.
    pub fn errors(&self) -> Vec<&str> {
        let mut errors = newest(errors_of_project(&self.gunicorn), Self::OWN_ERRORS);
        let nginx = self.nginx_errors.lines().filter(|line| is_error_of_nginx(line)).collect();
        errors.extend(newest(nginx, Self::NGINX_ERRORS));
        let requests = self.nginx_access.lines().filter(|line| is_server_error(line)).collect();
        errors.extend(newest(requests, Self::NGINX_ERRORS));
        errors
    }
}

fn newest(mut lines: Vec<&str>, most: usize) -> Vec<&str> {
    lines.drain(..lines.len().saturating_sub(most));
    lines
}

/// Tracebacks, from their first line to the exception, and lines of a level that says error.
fn errors_of_project(text: &str) -> Vec<&str> {
    let mut errors = Vec::new();
    let mut in_traceback = false;
    for line in text.lines() {
        if line.contains("Traceback (most recent call last)") {
            in_traceback = true;
        } else if in_traceback {
            // The frames are indented; the first line that is not is the exception.
            in_traceback = line.starts_with([' ', '\t']) || line.is_empty();
        } else if !has_level(line) {
            continue;
        }
        errors.push(line);
    }
    errors
}

/// Whether a line is of level ERROR or CRITICAL, or says what Django says of a page that failed.
fn has_level(line: &str) -> bool {
    line.contains("Internal Server Error: ")
        || line
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .any(|word| matches!(word, "ERROR" | "CRITICAL" | "FATAL"))
}

/// nginx also notes in its error log that it was reloaded.
fn is_error_of_nginx(line: &str) -> bool {
    !line.trim().is_empty() && !["[notice]", "[info]", "[debug]"].iter().any(|level| line.contains(level))
}

/// Whether a line of the access log, in nginx's `combined` format, has a status of 5xx: what follows the request,
/// whose own quotes nginx writes as `\x22`.
fn is_server_error(line: &str) -> bool {
    let status = line.split('"').nth(2).and_then(|rest| rest.split_whitespace().next());
    status.is_some_and(|status| status.len() == 3 && status.starts_with('5'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GUNICORN: &str = "[2026-11-23 09:41:02 +0000] [7] [INFO] Booting worker\n\
        Internal Server Error: /boom/\n\
        Traceback (most recent call last):\n  File \"views.py\", line 3, in boom\n    raise ValueError(\"no\")\n\
        ValueError: no\n\
        Not Found: /favicon.ico\n\
        [2026-11-23 09:41:09 +0000] [7] [CRITICAL] WORKER TIMEOUT (pid:9)\n\
        a word like TERROR or ERRORS is none\n";

    #[test]
    fn errors_stand_first() {
        let log = ProjectLog {
            gunicorn: GUNICORN.to_owned(),
            nginx_errors: "2026/11/23 09:41:02 [notice] 1#1: signal process started\n\
                           2026/11/23 09:41:03 [error] 8#8: *1 upstream prematurely closed connection\n"
                .to_owned(),
            nginx_access:
                "10.0.0.9 - - [23/Nov/2026:09:41:03 +0000] \"GET /boom/ HTTP/1.1\" 500 145 \"-\" \"x 500\"\n\
                 10.0.0.9 - - [23/Nov/2026:09:41:04 +0000] \"GET /500 HTTP/1.1\" 200 5000 \"-\" \"curl\"\n"
                    .to_owned(),
        };
        let errors = log.errors();
        let begins: Vec<_> = errors.iter().map(|line| line.trim().split(' ').next().unwrap()).collect();
        let expected = [
            "Internal",
            "Traceback",
            "File",
            "raise",
            "ValueError:",
            "[2026-11-23",
            "2026/11/23",
            "10.0.0.9",
        ];
        assert_eq!(begins, expected, "{errors:#?}");
        assert!(errors[7].contains("/boom/"));
    }

    #[test]
    fn parts_are_told_by_their_size_and_not_by_what_they_hold() {
        let log =
            ProjectLog::read(b"gunicorn 17\nnginx-error 3\nab\nnginx-error 0\nnginx-access 9\nab\xffc\n");
        assert_eq!(log.gunicorn, "nginx-error 3\nab\n");
        assert_eq!((log.nginx_errors.as_str(), log.nginx_access.as_str()), ("", "ab\u{fffd}c\n"));
        assert!(ProjectLog::read(b"").is_empty());
        assert!(ProjectLog::read(b"gunicorn 2\n \n").is_empty());
    }

    #[test]
    fn a_flood_of_one_kind_leaves_room_for_the_others() {
        let log = ProjectLog { gunicorn: "x ERROR\n".repeat(500), ..ProjectLog::default() };
        assert_eq!(log.errors().len(), ProjectLog::OWN_ERRORS);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read(bytes in any::<Vec<u8>>()) {
            ProjectLog::read(&bytes).errors();
        }
    }
}
