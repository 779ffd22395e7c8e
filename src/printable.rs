//! Foreign words made safe to show: names of files and keys, labels of tokens,
//! answers of servers, entries of a header.
//!
//! An attacker may have written any of them. Printed raw, an escape sequence
//! drives the terminal, a line feed forges a line of a log, and a change of
//! direction shows another name than is meant. Every path and every foreign
//! word passes one of these functions before a person or a log sees it.

use std::{fmt::Write, path::Path};

/// `text` with control characters, line and paragraph separators, changes of
/// direction and characters that show nothing written as `\u{…}`. Everything
/// else stays as it is.
///
/// ```
/// use envelope_sdk::printable;
///
/// assert_eq!(printable::text("a\x1b[2J\nb"), "a\\u{1b}[2J\\u{a}b");
/// assert_eq!(printable::text("grün"), "grün");
/// ```
#[must_use]
pub fn text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    push(&mut shown, text);
    shown
}

/// As [`text`], and cut behind `limit` characters, with `…` for the rest.
#[must_use]
pub fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", self::text(&text[..end])),
        None => self::text(text),
    }
}

/// A path as [`text`]; bytes of it that are not UTF-8 are written as `\xNN`.
#[must_use]
pub fn path(path: &Path) -> String {
    let mut shown = String::new();
    for part in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        push(&mut shown, part.valid());
        for byte in part.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// A text in JSON (RFC 8259), in which the characters that [`text`] writes otherwise are `\uXXXX`, which means the same. Those
/// below U+0020 stay: within strings whoever wrote the JSON has escaped them, and outside they are its blanks.
///
/// ```
/// use envelope_sdk::printable;
///
/// let json = String::from("{\"name\": \"a\u{9b}31m \u{e0041} grün\"}");
/// assert_eq!(printable::json(json), r#"{"name": "a\u009b31m \udb40\udc41 grün"}"#);
/// ```
#[must_use]
pub fn json(json: String) -> String {
    let is_hidden = |character: char| character >= '\u{7f}' && is_shown_otherwise(character);
    if !json.contains(is_hidden) {
        return json;
    }
    json.chars().fold(String::with_capacity(json.len()), |mut plain, character| {
        if is_hidden(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(plain, "\\u{unit:04x}");
            }
        } else {
            plain.push(character);
        }
        plain
    })
}

fn is_shown_otherwise(character: char) -> bool {
    character.is_control() || is_odd(character)
}

fn push(shown: &mut String, text: &str) {
    for character in text.chars() {
        if is_shown_otherwise(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
}

/// Line and paragraph separator, what changes the direction of what follows (Unicode UAX #9), and
/// what shows nothing (`Default_Ignorable_Code_Point` of Unicode 16): two names that differ in it look the same, and tags
/// (U+E0000 to U+E007F) and variation selectors (U+FE00 to U+FE0F, U+E0100 to U+E01EF) hide a whole text.
fn is_odd(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_words_cannot_drive_a_terminal_or_forge_a_line() {
        assert_eq!(text("a\x1b[2Jb\u{202e}c\r\n"), "a\\u{1b}[2Jb\\u{202e}c\\u{d}\\u{a}");
        assert_eq!(text("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(text("two\u{2028}lines"), "two\\u{2028}lines");
    }

    #[test]
    fn foreign_words_hide_nothing() {
        for hidden in [
            '\u{ad}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{2060}',
            '\u{2064}',
            '\u{feff}',
            '\u{e0000}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{34f}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{e01ef}',
        ] {
            let shown = format!("pay{}roll", hidden.escape_unicode());
            assert_eq!(text(&format!("pay{hidden}roll")), shown);
            assert_eq!(path(Path::new(&format!("pay{hidden}roll"))), shown);
        }
    }

    #[test]
    fn long_words_are_cut_at_a_character() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äöü…");
    }

    #[cfg(unix)]
    #[test]
    fn a_path_shows_every_byte_of_it() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let odd = Path::new(OsStr::from_bytes(b"a/\x1b[2J\xff\xfe\nb"));
        assert_eq!(path(odd), "a/\\u{1b}[2J\\xff\\xfe\\u{a}b");
    }
}
