//! What is new in a console that is read again and again: EC2 gives the last 64 KiB of it each time.

use crate::domain::{Line, Mark, parse_line};

/// Bytes of the end of what was read by which the place in a later reading is found.
const ANCHOR: usize = 256;

/// A console as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Console {
    last: Vec<u8>,
    /// A line that has not ended.
    open: String,
    done: bool,
    failed: Option<String>,
}

impl Console {
    /// What of this reading was not in the one before.
    pub fn read(&mut self, now: &[u8]) -> Vec<u8> {
        let now: Vec<u8> = now.iter().copied().filter(|byte| *byte != b'\r').collect();
        let anchor = &self.last[self.last.len().saturating_sub(ANCHOR)..];
        let known = if anchor.is_empty() {
            0
        } else {
            now.windows(anchor.len()).rposition(|window| window == anchor).map_or(0, |at| at + anchor.len())
        };
        let news = now[known..].to_vec();
        if !news.is_empty() {
            self.look(&news);
            self.last = now;
        }
        news
    }

    /// Whether the script's last mark was read.
    pub fn done(&self) -> bool {
        self.done
    }

    /// The step that the script said had failed.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    fn look(&mut self, news: &[u8]) {
        self.open.push_str(&String::from_utf8_lossy(news));
        while let Some(end) = self.open.find('\n') {
            let line: String = self.open.drain(..=end).collect();
            // The kernel may have begun the line before the mark was written.
            let mark = line.trim_end().find("::ec ").map(|at| &line.trim_end()[at..]);
            match mark.map(parse_line) {
                Some(Line::Mark(Mark::Done)) => self.done = true,
                Some(Line::Mark(Mark::Failed(step, _))) => self.failed = Some(step),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_told() {
        let mut console = Console::default();
        assert_eq!(console.read(b"boot\r\n::ec step up"), b"boot\n::ec step up");
        assert_eq!(console.read(b"boot\r\n::ec step up"), b"");
        assert_eq!(console.read(b"boot\r\n::ec step update start\r\n"), b"date start\n");
        assert!(!console.done());
        // The beginning is gone, as it is once 64 KiB are full.
        let long = format!("::ec step update start\n{}", "x".repeat(400));
        console.read(long.as_bytes());
        let rolled = format!("{}\n[ 12.3] ::ec done\n", "x".repeat(300));
        assert_eq!(console.read(rolled.as_bytes()), b"\n[ 12.3] ::ec done\n");
        assert!(console.done() && console.failed().is_none());
    }

    #[test]
    fn a_failed_step_is_known() {
        let mut console = Console::default();
        console.read(b"::ec step nginx start\n::ec step nginx failed 100\n");
        assert_eq!(console.failed(), Some("nginx"));
    }
}
