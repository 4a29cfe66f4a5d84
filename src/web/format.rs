//! Times, sizes and sentences as people read them.

use std::fmt::Write;

use crate::domain::{NameError, Timestamp};

/// Text with the characters that HTML gives a meaning to written out.
pub fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(c),
        }
    }
    html
}

/// A sentence as HTML; what stands between two backticks is code.
pub fn rich(text: &str) -> String {
    let parts: Vec<_> = text.split('`').collect();
    let last = parts.len() - 1;
    let mut html = String::new();
    for (i, part) in parts.iter().enumerate() {
        match i {
            _ if i % 2 == 1 && i < last => {
                let _ = write!(html, "<code>{}</code>", escape(part));
            }
            // An odd number of backticks: the last one is only itself.
            _ if i % 2 == 1 => {
                let _ = write!(html, "`{}", escape(part));
            }
            _ => html.push_str(&escape(part)),
        }
    }
    html
}

/// An error of a field as HTML: its sentence, and the values that would do as buttons that fill
/// `field`, which read as code where there are no scripts.
pub fn field_error(error: &NameError, field: &str) -> String {
    let mut html = rich(&error.message);
    for (i, value) in error.suggestions.iter().enumerate() {
        let between = if i == 0 { " " } else { " or " };
        let _ = write!(
            html,
            r#"{between}<button class="pick" type="button" data-fill="{field}">{}</button>"#,
            escape(value)
        );
    }
    if !error.message.ends_with(['.', '?', '!']) {
        html.push('.');
    }
    html
}

/// A time as HTML: how long ago it was, which a script keeps true.
pub fn ago(time: Timestamp) -> String {
    let text = match age_in_units(time, Timestamp::now()) {
        None => "just now".to_owned(),
        Some((n, unit)) => format!("{n} {unit}{} ago", if n == 1 { "" } else { "s" }),
    };
    format!(r#"<time datetime="{}" data-relative>{text}</time>"#, time.rfc3339())
}

/// How old something is: `4 days`, `less than a minute`.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    match age_in_units(since, now) {
        None => "less than a minute".to_owned(),
        Some((n, unit)) => format!("{n} {unit}{}", if n == 1 { "" } else { "s" }),
    }
}

fn age_in_units(since: Timestamp, now: Timestamp) -> Option<(i64, &'static str)> {
    let seconds = ((now.0 - since.0) / 1000).max(0);
    [("year", 31_536_000), ("month", 2_592_000), ("day", 86_400), ("hour", 3600), ("minute", 60)]
        .into_iter()
        .find(|(_, size)| seconds >= *size)
        .map(|(unit, size)| (seconds / size, unit))
}

/// How long something took: `0.41 s`, `11.8 s`, `2 min 5 s`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 9.995 {
        format!("{seconds:.2} s")
    } else if seconds < 99.95 {
        format!("{seconds:.1} s")
    } else if seconds < 3600.0 {
        format!("{} min {} s", (seconds / 60.0) as u64, (seconds % 60.0) as u64)
    } else {
        format!("{} h {} min", (seconds / 3600.0) as u64, (seconds % 3600.0 / 60.0) as u64)
    }
}

/// How many bytes: `840 B`, `1.2 kB`, `3.4 MB`, `3.1 GB`.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// A number and its thing: `1 package`, `9 packages`.
pub fn count(n: impl Into<u64>, thing: &str) -> String {
    let n = n.into();
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_well() {
        assert_eq!(duration(0.414), "0.41 s");
        assert_eq!(duration(11.83), "11.8 s");
        assert_eq!(duration(125.0), "2 min 5 s");
        assert_eq!(duration(3720.0), "1 h 2 min");
        assert_eq!(size(1234), "1.2 kB");
        assert_eq!((size(999_999_999).as_str(), size(2_000_000_000).as_str()), ("1000.0 MB", "2.0 GB"));
        assert_eq!(age(Timestamp(0), Timestamp(4 * 86_400_000)), "4 days");
        assert_eq!(age(Timestamp(0), Timestamp(59_000)), "less than a minute");
        assert_eq!(count(1u64, "package"), "1 package");
    }

    #[test]
    fn whatever_a_sentence_holds_is_text_and_backticks_are_code() {
        assert_eq!(rich("no `a<b` here"), "no <code>a&lt;b</code> here");
        assert_eq!(rich("one ` alone"), "one ` alone");
        assert_eq!(rich("`a` and `b"), "<code>a</code> and `b");
        let error = NameError::new("Try").suggest("\"><script>").suggest("b");
        assert_eq!(
            field_error(&error, "name"),
            "Try <button class=\"pick\" type=\"button\" data-fill=\"name\">&quot;&gt;&lt;script&gt;</button> or \
             <button class=\"pick\" type=\"button\" data-fill=\"name\">b</button>."
        );
    }
}
