//! Times and durations as Google writes them.

use std::time::{Duration, SystemTime};

/// RFC 3339 with nanoseconds, as Google writes times.
pub(super) fn time_text(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(time).to_string()
}

pub(super) fn parse_time(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

/// Seconds with the unit, as `google.protobuf.Duration` is written in JSON.
pub(super) fn duration_text(duration: Duration) -> String {
    match duration.subsec_nanos() {
        0 => format!("{}s", duration.as_secs()),
        nanos => format!("{}.{nanos:09}s", duration.as_secs()),
    }
}

/// None of the durations of Cloud KMS may be negative.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.strip_suffix('s')?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    Some(Duration::new(seconds.parse().ok()?, format!("{fraction:0<9}").parse().ok()?))
}

pub(super) const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 60 * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_with_their_unit() {
        for (text, duration) in [
            ("86400s", Duration::from_secs(86_400)),
            ("0s", Duration::ZERO),
            ("1.500000000s", Duration::from_millis(1500)),
        ] {
            assert_eq!(parse_duration(text), Some(duration), "{text}");
            assert_eq!(duration_text(duration), text);
        }
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1500)));
        for wrong in ["", "s", "1", "1m", "-1s", "1.0000000001s", "1e3s", ".5s"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_read_back() {
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
        assert_eq!(time_text(time), "2023-11-14T22:13:20.123456789Z");
        assert_eq!(parse_time(&time_text(time)), Some(time));
    }
}
