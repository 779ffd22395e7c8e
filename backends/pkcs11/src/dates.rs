//! Days of PKCS#11, which have no hour, as seconds since 1970.
//!
//! A cryptoperiod that ends on a day ends with the last second of that day, in UTC.

use cryptoki::types::Date;

/// When a day ends, in seconds since 1970, or `None` when it is no day from 1970
/// on.
pub(crate) fn end_of(date: &Date) -> Option<u64> {
    let number = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits).ok()?;
        digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse::<u64>().ok())?
    };
    let (year, month, day) = (number(&date.year)?, number(&date.month)?, number(&date.day)?);
    let is_day = year >= 1970 && (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    is_day.then(|| (days_before(year, month) + day) * SECONDS_OF_A_DAY - 1)
}

/// The last day that ends at `end`, in seconds since 1970, or before; `None` when that
/// is no day of the years 1970 to 9999.
pub(crate) fn last_by(end: u64) -> Option<Date> {
    // Counted from 0 for 1970-01-01.
    let day = (end.saturating_add(1) / SECONDS_OF_A_DAY).checked_sub(1)?;
    let year = (1970..=9999).find(|year| days_before(year + 1, 1) > day)?;
    let month = (1..12).find(|month| days_before(year, month + 1) > day).unwrap_or(12);
    let day = day - days_before(year, month) + 1;
    Date::new_from_str_slice(&format!("{year:04}"), &format!("{month:02}"), &format!("{day:02}")).ok()
}

/// Days from 1970-01-01 to the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    let past = year - 1;
    // Leap years from 1970 to the year before.
    let leaps = past / 4 - past / 100 + past / 400 - LEAPS_BEFORE_1970;
    let months: u64 = (1..month).map(|month| days_of(year, month)).sum();
    (year - 1970) * 365 + leaps + months
}

fn days_of(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;
/// 1969 / 4 - 1969 / 100 + 1969 / 400
const LEAPS_BEFORE_1970: u64 = 477;

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        Date::new_from_str_slice(&text[..4], &text[5..7], &text[8..]).unwrap()
    }

    #[test]
    fn a_day_ends_a_second_before_the_next_one() {
        for (day, next) in [
            ("1970-01-01", 86_400),
            ("1999-12-31", 946_684_800),
            ("2000-02-28", 951_782_400),
            ("2000-02-29", 951_868_800),
            ("2024-12-31", 1_735_689_600),
            ("2100-02-28", 4_107_542_400),
            ("9999-12-31", 253_402_300_800),
        ] {
            assert_eq!(end_of(&date(day)), Some(next - 1), "{day}");
            // Never later than it was asked for.
            for end in [next - 1, next, next + 86_398] {
                assert!(last_by(end) == Some(date(day)), "{day}");
            }
        }
    }

    #[test]
    fn what_is_no_day_has_no_end() {
        for day in ["1969-12-31", "2023-02-29", "2024-00-01", "2024-13-01", "2024-01-00", "20a4-01-01"] {
            assert_eq!(end_of(&date(day)), None, "{day}");
        }
        assert_eq!(end_of(&Date::new_empty()), None);
        assert!(last_by(86_398).is_none() && last_by(253_402_387_199).is_none());
        assert!(last_by(u64::MAX).is_none());
    }
}
