//! Days and moments, as people write them.

use std::time::UNIX_EPOCH;

use crate::error::{CliError, Result};

/// As [`parse`], or `None` for `never`.
pub(crate) fn parse_or_never(text: &str) -> Result<Option<u64>> {
    if text == "never" { Ok(None) } else { parse(text).map(Some) }
}

/// Seconds since 1970 of a moment such as `2027-12-31T12:00:00Z`, or of the end of
/// a day such as `2027-12-31`, in UTC.
pub(crate) fn parse(text: &str) -> Result<u64> {
    parse_at(text, "23:59:59")
}

/// As [`parse`], but a day is taken from its beginning: what is older than a day was there before it began.
pub(crate) fn parse_beginning(text: &str) -> Result<u64> {
    parse_at(text, "00:00:00")
}

fn parse_at(text: &str, time_of_day: &str) -> Result<u64> {
    let on_that_day = format!("{text}T{time_of_day}Z");
    let moment = if text.contains(['T', 't', ' ']) { text } else { &on_that_day };
    humantime::parse_rfc3339(moment)
        .ok()
        .and_then(|moment| moment.duration_since(UNIX_EPOCH).ok())
        .map(|since| since.as_secs())
        .ok_or_else(|| {
            CliError::usage("a date is a day such as 2027-12-31 or a moment such as 2027-12-31T12:00:00Z")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_taken_to_its_end_and_a_moment_as_it_is() {
        assert_eq!(parse("1970-01-01").unwrap(), 86_399);
        assert_eq!(parse_beginning("1970-01-02").unwrap(), 86_400);
        assert_eq!(parse_beginning("2027-12-31T12:00:00Z").unwrap(), 1_830_254_400);
        assert_eq!(parse("2027-12-31T12:00:00Z").unwrap(), 1_830_254_400);
        for text in
            ["", "tomorrow", "2027-13-01", "2027-02-30", "1969-12-31", "2027-12-31T12:00:00", "-1", "2027"]
        {
            let error = parse(text).unwrap_err().text();
            assert!(error.starts_with("a date is a day such as"), "{text}: {error}");
        }
    }
}
