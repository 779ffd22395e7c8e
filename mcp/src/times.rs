//! Times in answers and questions: RFC 3339 in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Failure, failure::Kind};

/// Seconds since 1970. A clock before that says nothing.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// Seconds since 1970 as RFC 3339.
pub(crate) fn shown(seconds: u64) -> String {
    // Beyond the year 9999 there is no RFC 3339, and humantime panics.
    let time = UNIX_EPOCH + Duration::from_secs(seconds.min(END_OF_9999));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// When a file was written.
pub(crate) fn of_file(time: Option<SystemTime>) -> Option<String> {
    Some(shown(time?.duration_since(UNIX_EPOCH).ok()?.as_secs()))
}

/// A moment such as `2026-11-29T10:00:00Z`, or a day, which begins at midnight UTC.
pub(crate) fn parse(what: &str, text: &str) -> Result<u64, Failure> {
    let whole = if text.len() == DAY { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let time = humantime::parse_rfc3339(&whole).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let wrong = || {
        Failure::new(Kind::Usage, format!("`{what}` is a day such as 2026-11-29, or 2026-11-29T10:00:00Z"))
    };
    time.map(|time| time.as_secs()).ok_or_else(wrong)
}

const END_OF_9999: u64 = 253_402_300_799;
/// Bytes of `2026-11-29`.
const DAY: usize = 10;
