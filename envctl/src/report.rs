//! Results, as JSON or as lines for people.

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use envelope_sdk::{
    Header, KeyDescription, MissingKey, WrappedDek,
    admin::{Detail, Details},
    printable,
};
use serde_json::{Map, Value, json};

use crate::{
    descriptor,
    error::{CliError, ErrorKind, Result},
};

/// Writes a result to standard output: `value` as JSON, or `text`.
pub(crate) fn print(as_json: bool, value: &Value, text: &str) -> Result<()> {
    let said = if as_json { format!("{}\n", printable::json(format!("{value:#}"))) } else { lines(text) };
    print_bytes(said.as_bytes())
}

/// Writes to standard output, and not through the standard library, which takes a
/// descriptor that cannot be written for one that takes everything.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<()> {
    ignore_closed_pipe(descriptor::duplicate(1).and_then(|mut stdout| stdout.write_all(bytes)))
}

/// Writes a status line to standard error, for when standard output is taken
/// or for people only. The work is done by then: standard error that is full or
/// closed is no reason to stop.
pub(crate) fn status(as_json: bool, value: &Value, text: &str) -> Result<()> {
    let mut stderr = anstream::stderr().lock();
    let _ =
        if as_json { writeln!(stderr, "{}", json_line(value)) } else { writeln!(stderr, "{}", lines(text)) };
    Ok(())
}

/// Warns of the keys that an envelope does not open with yet. They wait for a rewrap, so this is no failure.
pub(crate) fn missing_keys(as_json: bool, missing: &[MissingKey], envelope: Option<&Path>) -> Result<()> {
    let name = envelope.map_or_else(|| "the envelope".to_owned(), printable::path);
    missing.iter().try_for_each(|missing| {
        let text = format!(
            "warning: {name} does not open with {} yet, which did not wrap: {}; `envctl rewrap` adds it once its key \
             store is back",
            missing.key, missing.error
        );
        status(as_json, &json!({ "missing": missing_json(missing) }), &text)
    })
}

/// A key that did not wrap, in JSON.
pub(crate) fn missing_json(missing: &MissingKey) -> Value {
    json!({ "key": missing.key.as_str(), "error": printable::text(&missing.error.to_string()) })
}

/// JSON in one line.
pub(crate) fn json_line(value: &Value) -> String {
    printable::json(value.to_string())
}

/// Text of several lines, each of which may hold foreign words.
pub(crate) fn lines(text: &str) -> String {
    text.split('\n').map(printable::text).collect::<Vec<_>>().join("\n")
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
        "post_quantum_safe": recipient.is_post_quantum_safe(),
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
                "not_after": version.not_after.map(time),
            })
        })
        .collect();
    json!({
        "key": key.uri.as_str(),
        "state": key.state.name(),
        "archived": key.archived,
        "due": key.is_due(now()),
        "versions": versions,
    })
}

/// What a key store tells, in JSON.
pub(crate) fn details_json(details: &Details) -> Map<String, Value> {
    details.iter().map(|(name, detail)| (name.to_owned(), detail_json(detail))).collect()
}

fn detail_json(detail: &Detail) -> Value {
    match detail {
        Detail::Text(text) => text.as_str().into(),
        Detail::Number(number) => (*number).into(),
        Detail::Flag(is) => (*is).into(),
        Detail::Time(seconds) => time(*seconds).into(),
        Detail::List(list) => list.iter().map(detail_json).collect(),
        Detail::Table(details) => Value::Object(details_json(details)),
        _ => Value::Null,
    }
}

/// Seconds since 1970. A clock before that says nothing.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// A word that an attacker may have written: safe to show, and cut at 200
/// characters.
pub(crate) fn safe(text: &str) -> String {
    printable::cut(text, SHOWN)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of hexadecimal digits, of exactly this length.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    if pairs.len() != N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: &u8| char::from(*digit).to_digit(16);
        *byte = u8::try_from(16 * digit(high)? + digit(low)?).ok()?;
    }
    Some(bytes)
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
    fn hexadecimal_is_of_digits_alone_and_of_its_length() {
        assert_eq!(unhex("00fFa0"), Some([0, 255, 160]));
        for text in ["", "00fFa", "00fFa00", "00fFa0a0", "+0fFa0", "00fF a", "0xfFa0", "\u{e4}\u{e4}\u{e4}"] {
            assert_eq!(unhex::<3>(text), None, "{text}");
        }
    }

    #[test]
    fn text_of_a_file_cannot_drive_the_terminal() {
        assert_eq!(safe("a\x1b[2Jb\u{202e}c"), "a\\u{1b}[2Jb\\u{202e}c");
        assert_eq!(safe(&"x".repeat(300)).chars().count(), 201);
        assert_eq!(lines("a\x1b[2J\nb\u{9b}c\n"), "a\\u{1b}[2J\nb\\u{9b}c\n");
    }

    #[test]
    fn json_cannot_drive_the_terminal_and_means_the_same() {
        let value = json!({ "file": "grün \u{9b}31m \u{202e} \x1b[2J \u{7f} \u{1f511} \u{e0041}" });
        for text in [json_line(&value), printable::json(format!("{value:#}"))] {
            assert!(
                text.chars().all(|shown| shown == '\n' || printable::text(&shown.to_string()).len() <= 4)
            );
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }
}
