//! Masks an instance's secrets in its logs: each byte by one byte, so that what is stored is as long as what came.

use std::{collections::HashSet, ops::Range};

use aho_corasick::{Anchored, automaton::Automaton, nfa::contiguous::NFA};

use super::SecretValue;

/// Finds and masks values in text. Without any it does nothing.
#[derive(Debug, Default)]
pub struct Scrubber(Option<Found>);

/// What finds them.
struct Found {
    automaton: NFA,
    /// What is looked for, in its order.
    patterns: Vec<Vec<u8>>,
    longest: usize,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} patterns", self.patterns.len())
    }
}

/// Fewest bytes of a secret: less is found in words that tell nothing.
const SHORTEST: usize = 6;
/// Bytes of a line of a value that are looked for in one piece: a longer one is looked for in several, so that the end
/// of a log that may be the beginning of a secret is short.
const PIECE: usize = 512;

/// Values that are no secret, in small letters: a log without these words says nothing any more. Among them are those
/// that are offered for what settings ask for.
const WORDS: [&str; 34] = [
    "/media/",
    "/static/",
    "admin/",
    "django.core.mail.backends.smtp.emailbackend",
    "http://localhost",
    "redis://localhost:6379",
    "redis://localhost:6379/0",
    "root@localhost",
    "webmaster@localhost",
    "backend",
    "console",
    "default",
    "develop",
    "development",
    "disabled",
    "django",
    "enabled",
    "example.com",
    "false",
    "filesystem",
    "localhost",
    "localhost,127.0.0.1",
    "memory",
    "production",
    "postgres",
    "postgresql",
    "public",
    "sqlite",
    "sqlite3",
    "staging",
    "static",
    "testing",
    "utf-8",
    "warning",
];

fn is_ordinary(text: &str) -> bool {
    let number = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | ':' | '-' | '+');
    text.len() < SHORTEST
        || text.chars().all(number)
        || WORDS.contains(&text.to_ascii_lowercase().as_str())
        || text.starts_with("localhost:")
}

/// How many bytes at the beginning of a line are the machine's own words, which no value of a variable may take away:
/// a step may be called as somebody's password is.
fn own_words(line: &[u8]) -> usize {
    let texts: [&[u8]; 3] = [b"::ec saw ", b"::ec repaired ", b"::ec warning "];
    match texts.iter().find(|text| line.starts_with(text)) {
        Some(text) => text.len(),
        None if line.starts_with(b"::ec ") => line.len(),
        None => 0,
    }
}

impl Scrubber {
    /// Looks for these values, each of their lines alone. What is too short or too common to be a secret is left out,
    /// and so is what is `known`: logs are full of it.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a SecretValue>, known: &HashSet<String>) -> Self {
        let mut patterns: Vec<Vec<u8>> = values
            .into_iter()
            .flat_map(|value| value.expose().lines())
            .map(str::trim)
            .filter(|line| !is_ordinary(line) && !known.contains(*line))
            .flat_map(|line| pieces(line.as_bytes()))
            .collect();
        patterns.sort_unstable();
        patterns.dedup();
        let Some(longest) = patterns.iter().map(Vec::len).max() else { return Self(None) };
        // 256 KB of values at most, far from what it can hold.
        let automaton = NFA::new(&patterns).ok();
        Self(automaton.map(|automaton| Found { automaton, patterns, longest }))
    }

    /// Masks every secret in a text.
    pub fn mask_text(&self, bytes: &mut [u8]) {
        let Some(found) = &self.0 else { return };
        for range in found.ranges(bytes) {
            bytes[range].fill(b'*');
        }
    }

    /// Masks every secret in the next bytes of a deploy log, which follow `line`, the beginning of their first line; what
    /// marks are told by stays. Says how many of the bytes can be stored now: those behind may be the beginning of a
    /// secret, and are to come again with what follows them.
    pub fn mask_log(&self, line: &[u8], bytes: &mut [u8]) -> usize {
        let Some(found) = &self.0 else { return bytes.len() };
        let ranges = found.ranges(bytes);
        let mut end = bytes.len() - found.held(bytes);
        // A secret that is all there is not taken apart.
        while let Some(range) = ranges.iter().rev().find(|range| range.start < end && end < range.end) {
            end = range.start;
            if end == 0 {
                end = bytes.len();
            }
        }
        let original = bytes.to_vec();
        for range in ranges {
            bytes[range].fill(b'*');
        }
        let mut at = 0;
        for (n, text) in original.split_inclusive(|b| *b == b'\n').enumerate() {
            let before = if n == 0 { line } else { b"" };
            // Of a long line the beginning is enough.
            let whole = [before, &text[..text.len().min(64)]].concat();
            let own = match own_words(&whole) {
                all if all == whole.len() => text.len(),
                some => some.saturating_sub(before.len()),
            };
            bytes[at..at + own].copy_from_slice(&text[..own]);
            at += text.len();
        }
        end
    }
}

impl Found {
    /// Where secrets are, in order; those that meet are one.
    fn ranges(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let Ok(mut state) = self.automaton.start_state(Anchored::No) else { return ranges };
        for (at, byte) in bytes.iter().enumerate() {
            state = self.automaton.next_state(Anchored::No, state, *byte);
            if !self.automaton.is_special(state) || !self.automaton.is_match(state) {
                continue;
            }
            // The longest that ends here comes first.
            let length = self.automaton.pattern_len(self.automaton.match_pattern(state, 0));
            let (start, end) = (at + 1 - length, at + 1);
            let mut joined = start..end;
            while let Some(last) = ranges.pop_if(|last| last.end >= joined.start) {
                joined.start = joined.start.min(last.start);
            }
            ranges.push(joined);
        }
        ranges
    }

    /// How many bytes at the end may be the beginning of a secret. None of them goes over the end of a line.
    fn held(&self, bytes: &[u8]) -> usize {
        let tail = &bytes[bytes.len().saturating_sub(self.longest - 1)..];
        let line = tail.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let begins = |start: &usize| {
            let end = &tail[*start..];
            let next = self.patterns.partition_point(|pattern| pattern.as_slice() < end);
            self.patterns.get(next).is_some_and(|pattern| pattern.starts_with(end))
        };
        (line..tail.len()).find(begins).map_or(0, |start| tail.len() - start)
    }
}

/// A line in pieces, the last of which is not a short one.
fn pieces(line: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while rest.len() >= 2 * PIECE {
        let (piece, more) = rest.split_at(PIECE);
        pieces.push(piece.to_vec());
        rest = more;
    }
    pieces.push(rest.to_vec());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scrubber(values: &[&str]) -> Scrubber {
        beside(&[], values)
    }

    /// The same, where some is known.
    fn beside(known: &[&str], values: &[&str]) -> Scrubber {
        let values: Vec<_> =
            values.iter().map(|value| SecretValue::try_from((*value).to_owned()).unwrap()).collect();
        Scrubber::new(&values, &known.iter().map(|known| (*known).to_owned()).collect())
    }

    /// The log as it is stored, of what a machine sends in pieces and sends again where it is held back.
    fn stored(scrubber: &Scrubber, pieces: &[&str]) -> String {
        let (mut stored, mut waiting): (Vec<u8>, Vec<u8>) = Default::default();
        for piece in pieces {
            waiting.extend_from_slice(piece.as_bytes());
            let line = stored.rsplit(|b| *b == b'\n').next().unwrap_or_default().to_vec();
            let mut bytes = waiting.clone();
            let end = scrubber.mask_log(&line, &mut bytes);
            stored.extend_from_slice(&bytes[..end]);
            waiting.drain(..end);
        }
        stored.extend_from_slice(&waiting);
        String::from_utf8(stored).unwrap()
    }

    #[test]
    fn a_value_is_masked_byte_by_byte_also_where_it_comes_in_pieces() {
        let scrubber = scrubber(&["hunter22", "postgres://u:hunter22@h/d"]);
        assert_eq!(stored(&scrubber, &["key=hunter22;\n"]), "key=********;\n");
        assert_eq!(stored(&scrubber, &["key=hun", "ter", "22;\n"]), "key=********;\n");
        let url = "*".repeat("postgres://u:hunter22@h/d".len());
        assert_eq!(stored(&scrubber, &["postgres://u:hunter22", "@h/d\n"]), format!("{url}\n"));
        assert_eq!(stored(&scrubber, &["hunt", "ing hun\n", "ter22\n"]), "hunting hun\nter22\n");
    }

    #[test]
    fn what_is_short_or_common_is_left_and_lines_are_looked_for_alone() {
        let plain = scrubber(&["True", "localhost", "production", "12345678", "127.0.0.1", "abc", ""]);
        let text = "True localhost production 12345678 127.0.0.1 abc\n";
        assert_eq!(stored(&plain, &[text]), text);
        assert!(plain.0.is_none());
        let key = scrubber(&["-----BEGIN KEY-----\nMIIEvQ\n  c2VjcmV0 \r\nab\n"]);
        assert_eq!(stored(&key, &["MIIEvQ c2VjcmV0 ab\n"]), "****** ******** ab\n");
        let long = "x1".repeat(1500);
        let masked = stored(&scrubber(&[&long]), &[&long[..700], &long[700..], "\n"]);
        assert!(masked.trim_end().bytes().all(|b| b == b'*') && masked.len() == long.len() + 1);
    }

    #[test]
    fn what_is_offered_and_what_is_known_is_left() {
        let plain = beside(&["guestbook"], &["/static/", "Admin/", "redis://localhost:6379/0", "guestbook"]);
        assert!(plain.0.is_none());
        let other = beside(&["guestbook"], &["guestbook-2"]);
        assert_eq!(stored(&other, &["guestbook guestbook-2\n"]), "guestbook ***********\n");
    }

    #[test]
    fn marks_are_told_by_what_they_were_told_by_before() {
        let scrubber = scrubber(&["environment", "warning", "collectstatic", "::ec done"]);
        let log = "::ec step environment start\nthe environment\n::ec warning the environment\n::ec done\n";
        let masked =
            "::ec step environment start\nthe ***********\n::ec warning the ***********\n::ec done\n";
        assert_eq!(stored(&scrubber, &[log]), masked);
        assert_eq!(
            stored(&scrubber, &["::ec step env", "ironment ok 0.1\n"]),
            "::ec step environment ok 0.1\n"
        );
        assert_eq!(stored(&scrubber, &["::ec war", "ning environment\n"]), "::ec warning ***********\n");
    }

    #[test]
    fn a_large_piece_with_many_values_takes_little_time() {
        let values: Vec<String> = (0..100).map(|n| format!("{n:02}").repeat(1300)).collect();
        let scrubber = scrubber(&values.iter().map(String::as_str).chain(["aaaaaa"]).collect::<Vec<_>>());
        let mut piece = "a".repeat(256 * 1024).into_bytes();
        let begun = std::time::Instant::now();
        assert_eq!(scrubber.mask_log(b"", &mut piece), piece.len());
        assert!(piece.iter().all(|b| *b == b'*'));
        assert!(begun.elapsed().as_millis() < 500, "{:?}", begun.elapsed());
    }

    proptest! {
        #[test]
        fn no_value_is_left_whatever_pieces_it_comes_in(
            text in "[ab\n]{0,60}",
            values in prop::collection::vec("[ab]{6,9}", 1..4),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let scrubber = scrubber(&values.iter().map(String::as_str).collect::<Vec<_>>());
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|two| &text[two[0]..two[1]]).collect();
            let stored = stored(&scrubber, &pieces);
            prop_assert_eq!(stored.len(), text.len());
            let shown = stored.trim_end_matches(['a', 'b']);
            for value in &values {
                prop_assert!(!shown.contains(value.as_str()), "{value} in {stored}");
            }
        }
    }
}
