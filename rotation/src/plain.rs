//! JSON that a person may show at a terminal.

use std::fmt::Write;

use envelope_sdk::printable;

/// JSON lets characters through that drive a terminal or hide: they are written as `\uXXXX`, which means the same. (Those below
/// U+0020 are escaped already, within strings, and stand for blanks outside of them.)
pub(crate) fn json(json: String) -> String {
    let odd = |character: char| {
        character >= '\u{7f}' && printable::text(character.encode_utf8(&mut [0; 4])).len() > 4
    };
    if !json.contains(odd) {
        return json;
    }
    json.chars().fold(String::with_capacity(json.len()), |mut plain, character| {
        if odd(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(plain, "\\u{unit:04x}");
            }
        } else {
            plain.push(character);
        }
        plain
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that goes wrong shall stop")]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_or_hides_is_escaped_and_means_the_same() {
        let value =
            serde_json::json!({ "item": "grün \u{9b}31m \u{202e} \x1b[2J \u{7f} \u{1f511} \u{e0041}" });
        let text = json(value.to_string());
        assert!(
            text.contains("grün \\u009b31m \\u202e \\u001b[2J \\u007f \u{1f511} \\udb40\\udc41"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
