//! Results, as JSON or as lines for people.

use std::{
    fmt::Write as _,
    io::{self, Write},
    time::{Duration, UNIX_EPOCH},
};

use envelope_sdk::{Header, KeyDescription, WrappedDek};
use serde_json::{Value, json};

use crate::error::{CliError, ErrorKind, Result};

/// Writes a result to standard output: `value` as JSON, or `text`.
pub(crate) fn print(as_json: bool, value: &Value, text: &str) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    let written = if as_json { writeln!(stdout, "{value:#}") } else { stdout.write_all(text.as_bytes()) };
    ignore_closed_pipe(written)
}

/// Writes a status line to standard error, for when standard output is taken
/// or for people only.
pub(crate) fn status(as_json: bool, value: &Value, text: &str) -> Result<()> {
    let mut stderr = anstream::stderr().lock();
    ignore_closed_pipe(if as_json { writeln!(stderr, "{value}") } else { writeln!(stderr, "{text}") })
}

/// A header in JSON. Nothing of it is verified unless it was opened.
pub(crate) fn header_json(header: &Header, verified: bool) -> Value {
    let recipients: Vec<Value> = header.recipients().iter().map(recipient_json).collect();
    json!({
        "format": "envelope-v1",
        "verified": verified,
        "kind": header.kind().name(),
        "suite": header.suite().id(),
        "envelope_id": hex(header.envelope_id()),
        "generation": header.generation(),
        "context": header.stored_context(),
        "withheld": header.withheld(),
        "recipients": recipients,
        "header_bytes": header.len(),
        "padding_bytes": header.padding(),
    })
}

fn recipient_json(recipient: &WrappedDek) -> Value {
    json!({
        "key": recipient.key_uri().as_str(),
        "version": recipient.key_version(),
        "wrap_algorithm": recipient.wrap_algorithm(),
        "wrapped_dek_bytes": recipient.ciphertext().len(),
    })
}

/// A key in JSON.
pub(crate) fn key_json(key: &KeyDescription) -> Value {
    let versions: Vec<Value> = key
        .versions
        .iter()
        .map(|version| {
            json!({
                "version": version.version,
                "state": version.state.name(),
                "created": version.created.map(time),
            })
        })
        .collect();
    json!({
        "key": key.uri.as_str(),
        "state": key.state.name(),
        "archived": key.archived,
        "versions": versions,
    })
}

/// Text from a file, which an attacker may have written: escaped, so that it
/// cannot drive the terminal, and cut at 200 characters.
pub(crate) fn safe(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}…", escaped(&text[..cut])),
        None => escaped(text),
    }
}

/// Text with control characters and changes of direction escaped.
pub(crate) fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, character| {
        if character.is_control() || BIDI.contains(&character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
        shown
    })
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Seconds since 1970 as RFC 3339 in UTC.
pub(crate) fn time(seconds: u64) -> String {
    // Beyond the year 9999 there is no RFC 3339, and humantime panics.
    let time = UNIX_EPOCH + Duration::from_secs(seconds.min(END_OF_9999));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// `head` and its friends close the pipe early: no reason to complain.
fn ignore_closed_pipe(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::new(ErrorKind::InputOutput, format!("cannot write the output: {error}")))
        }
        _ => Ok(()),
    }
}

const END_OF_9999: u64 = 253_402_300_799;
const SHOWN: usize = 200;
/// Characters that change the direction of what follows.
const BIDI: [char; 11] = [
    '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}',
    '\u{2067}', '\u{2068}', '\u{2069}',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(time(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn text_of_a_file_cannot_drive_the_terminal() {
        assert_eq!(safe("a\x1b[2Jb\u{202e}c"), "a\\u{1b}[2Jb\\u{202e}c");
        assert_eq!(safe(&"x".repeat(300)).chars().count(), 201);
    }
}
