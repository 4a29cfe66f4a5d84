//! The names that are most like the one that was typed.

/// Names longer than this are compared by their beginning.
const COMPARED: usize = 64;

/// At most `most` of `names` that are like `typed`, the likest first.
pub(super) fn nearest(typed: &str, names: &[&str], most: usize) -> Vec<String> {
    let typed = typed.to_lowercase();
    let mut scored: Vec<_> = names
        .iter()
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let distance = distance(&typed, &lower);
            let longest = typed.chars().count().max(lower.chars().count());
            let contained = !typed.is_empty() && (lower.contains(&typed) || typed.contains(&lower));
            (contained || distance * 3 <= longest).then_some((distance, *name))
        })
        .collect();
    scored.sort();
    scored.into_iter().take(most).map(|(_, name)| name.to_owned()).collect()
}

/// `“a”`, `“a” or “b”`, `“a”, “b” or “c”`.
pub(super) fn in_words(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("\u{201c}{name}\u{201d}")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// How many letters must be put in, taken out or changed to make `b` of `a` (Levenshtein).
pub(super) fn distance(a: &str, b: &str) -> usize {
    let a: Vec<_> = a.chars().take(COMPARED).collect();
    let b: Vec<_> = b.chars().take(COMPARED).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likest_first_and_nothing_unlike() {
        assert_eq!(nearest("shop", &["backend", "shops", "Shop", "s"], 3), ["Shop", "shops", "s"]);
        assert!(nearest("shop", &["backend"], 3).is_empty());
        assert_eq!(nearest("main", &["main-2", "main-1", "main-3"], 2), ["main-1", "main-2"]);
    }

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("django", "django"), 0);
    }

    #[test]
    fn names_in_words() {
        let names = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        assert_eq!(in_words(&names), "\u{201c}a\u{201d}, \u{201c}b\u{201d} or \u{201c}c\u{201d}");
        assert_eq!(in_words(&names[..1]), "\u{201c}a\u{201d}");
    }
}
