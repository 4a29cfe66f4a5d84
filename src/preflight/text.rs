//! Files as text, however they were written, and other people's text as something to show.

use crate::domain::Encoding;

/// The text of a file: UTF-8 or UTF-16, which PowerShell's `>` writes, with or without a byte-order mark. None where it holds zero bytes, which no text does.
pub(super) fn decode(bytes: &[u8]) -> Option<(String, Encoding)> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>()
    };
    let (text, encoding) = match bytes {
        [0xff, 0xfe, rest @ ..] => (utf16(rest, u16::from_le_bytes), Encoding::Utf16),
        [0xfe, 0xff, rest @ ..] => (utf16(rest, u16::from_be_bytes), Encoding::Utf16),
        bytes if is_utf16(bytes, 1) => (utf16(bytes, u16::from_le_bytes), Encoding::Utf16),
        bytes if is_utf16(bytes, 0) => (utf16(bytes, u16::from_be_bytes), Encoding::Utf16),
        [0xef, 0xbb, 0xbf, rest @ ..] => (String::from_utf8_lossy(rest).into_owned(), Encoding::Utf8),
        _ => (String::from_utf8_lossy(bytes).into_owned(), Encoding::Utf8),
    };
    (!text.contains('\0')).then_some((text, encoding))
}

/// Whether a text without a mark is UTF-16 all the same: nearly every second byte of its beginning is zero, and no other.
fn is_utf16(bytes: &[u8], zero: usize) -> bool {
    let head: Vec<_> = bytes.chunks_exact(2).take(32).collect();
    let zeros = head.iter().filter(|pair| pair[zero] == 0).count();
    head.len() > 2 && zeros * 10 >= head.len() * 9 && head.iter().all(|pair| pair[1 - zero] != 0)
}

/// `text` on one line of at most `most` characters, without what would not show, or turn what follows.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let shown = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let spaced: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let clean: String = spaced.chars().filter(shown).collect();
    let words: Vec<_> = clean.split(' ').filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    if line.chars().count() <= most {
        return line;
    }
    line.chars().take(most.saturating_sub(1)).chain(['\u{2026}']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case(b"Django\n", Encoding::Utf8)]
    #[case(b"\xef\xbb\xbfDjango\n", Encoding::Utf8)]
    #[case(b"\xff\xfeD\0j\0a\0n\0g\0o\0\n\0", Encoding::Utf16)]
    #[case(b"D\0j\0a\0n\0g\0o\0\n\0", Encoding::Utf16)]
    #[case(b"\0D\0j\0a\0n\0g\0o\0\n", Encoding::Utf16)]
    #[case(b"\xfe\xff\0D\0j\0a\0n\0g\0o\0\n", Encoding::Utf16)]
    fn encodings(#[case] bytes: &[u8], #[case] encoding: Encoding) {
        assert_eq!(decode(bytes), Some(("Django\n".to_owned(), encoding)));
    }

    #[test]
    fn zero_bytes_are_no_text() {
        assert_eq!(decode(b"\x7fELF\0\0"), None);
    }

    proptest! {
        #[test]
        fn a_line_is_short_and_plain(text in any::<String>()) {
            let line = one_line(&text, 100);
            prop_assert!(line.chars().count() <= 100);
            prop_assert!(!line.contains(|c: char| c.is_control()));
        }

        #[test]
        fn utf16_reads_back(text in "[^\0]*") {
            let mut bytes = vec![0xff, 0xfe];
            bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            prop_assert_eq!(decode(&bytes), Some((text, Encoding::Utf16)));
        }
    }
}
