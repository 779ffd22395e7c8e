//! The spelling of what is in the files: hexadecimal, times, and JSON in the form of RFC 8785.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// `value` as JSON in the form of RFC 8785, at the end of `out`. Its members must be declared in ascending order and its
/// numbers be integers below 2⁵³: `serde_json` writes no blanks and escapes as ECMAScript does.
pub(crate) fn write_json(out: &mut Vec<u8>, value: &impl Serialize) {
    // Nothing in the types of this crate can fail to serialize, and a `Vec` takes every byte.
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "{written:?}");
}

/// `value` as [`write_json`] writes it.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    write_json(&mut out, value);
    out
}

/// `bytes` in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
    }
    text
}

/// The bytes of lower-case hexadecimal of exactly this length.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = [0; N];
    if pairs.len() != N {
        return None;
    }
    // No branch for each digit: hashes are what most of a record is, and nobody guesses their digits.
    let mut seen = 0;
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (VALUES[usize::from(*high)], VALUES[usize::from(*low)]);
        seen |= high | low;
        *byte = high << 4 | low & 15;
    }
    (seen & NO_DIGIT == 0).then_some(bytes)
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn time(milliseconds: u64) -> String {
    let capped = milliseconds.min(MAX_TIME);
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(capped)).to_string()
}

/// The milliseconds since 1970 that [`time`] spells so.
pub(crate) fn untime(text: &str) -> Option<u64> {
    // Of this form each millisecond has one spelling, but for a leap second, which `humantime` takes for the one before.
    let form = text.len() == 24 && text.as_bytes()[10] == b'T' && text.as_bytes()[19] == b'.';
    if !form || text.as_bytes()[17] == b'6' || !text.ends_with('Z') {
        return None;
    }
    let since = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok().filter(|&milliseconds| milliseconds <= MAX_TIME)
}

/// What the clock says, in milliseconds since 1970.
pub(crate) fn milliseconds(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(MAX_TIME).min(MAX_TIME)
}

/// 1 to 64 of `a–z 0–9 _ -`.
pub(crate) fn is_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// Of each byte the value of the digit that it is.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values
};
const NO_DIGIT: u8 = 0x80;
/// Integers above are not exact in every reader of JSON.
pub(crate) const MAX_INTEGER: u64 = (1 << 53) - 1;
/// The last millisecond of the year 9999.
const MAX_TIME: u64 = 253_402_300_799_999;
