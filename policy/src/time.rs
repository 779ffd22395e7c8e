//! Times in rules. All are UTC: a rule means the same on every machine.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;

/// When a rule holds. Each condition that is given must.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// In seconds since 1970, from this on.
    from: Option<u64>,
    /// Until before this.
    until: Option<u64>,
    /// Days of the week from Monday on, a bit each; none is all.
    days: u8,
    /// Minutes of the day, from and until before. Over midnight where the first is later.
    hours: Option<(u16, u16)>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct WindowWords {
    from: Option<String>,
    until: Option<String>,
    days: Option<Vec<String>>,
    hours: Option<String>,
}

impl Window {
    pub(crate) fn of(words: &WindowWords) -> Result<Self, String> {
        let moment = |text: &Option<String>| {
            text.as_deref().map(|text| moment(text).ok_or(BAD_MOMENT.to_owned())).transpose()
        };
        let (from, until) = (moment(&words.from)?, moment(&words.until)?);
        if from.zip(until).is_some_and(|(from, until)| from >= until) {
            return Err("`time.until` is not later than `time.from`: the rule would never hold".into());
        }
        let mut days = 0;
        for day in words.days.iter().flatten() {
            let number = DAYS.iter().position(|known| known == day);
            days |= 1 << number.ok_or("a day is mon, tue, wed, thu, fri, sat or sun")?;
        }
        if words.days.as_ref().is_some_and(Vec::is_empty) {
            return Err("`time.days` names no day: the rule would never hold".into());
        }
        let hours = words.hours.as_deref().map(|text| hours(text).ok_or(BAD_HOURS.to_owned())).transpose()?;
        let window = Self { from, until, days, hours };
        if window == Self::default() { Err("`time` says nothing".into()) } else { Ok(window) }
    }

    /// Whether it holds at `now`, in seconds since 1970.
    pub(crate) fn holds(&self, now: u64) -> bool {
        let (day, minute) = (now / DAY, now % DAY / 60);
        // 1970 began on a Thursday.
        let is_its_day = self.days == 0 || self.days & (1 << ((day + 3) % 7)) != 0;
        let is_its_hour = self.hours.is_none_or(|(from, until)| {
            let (from, until) = (u64::from(from), u64::from(until));
            if from < until { (from..until).contains(&minute) } else { minute >= from || minute < until }
        });
        self.from.is_none_or(|from| from <= now)
            && self.until.is_none_or(|until| now < until)
            && is_its_day
            && is_its_hour
    }
}

/// Seconds since 1970; 0 for a clock before that.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn moment(text: &str) -> Option<u64> {
    let whole = if text.len() == "2026-12-31".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let moment = humantime::parse_rfc3339(&whole).ok()?;
    moment.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

fn hours(text: &str) -> Option<(u16, u16)> {
    let (from, until) = text.split_once('-')?;
    let (from, until) = (minutes(from)?, minutes(until)?);
    // Nobody could tell whether that is never or always.
    (from != until).then_some((from, until))
}

fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| (text.len() == 2).then(|| text.parse::<u16>().ok()).flatten();
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= 24 * 60).then_some(all)
}

const DAY: u64 = 24 * 60 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const BAD_MOMENT: &str = "a moment is written `2026-12-31` or `2026-12-31T18:00:00Z`";
const BAD_HOURS: &str = "`time.hours` is written `08:00-18:00`, in UTC";

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Result<Window, String> {
        Window::of(&toml::from_str(text).unwrap())
    }

    fn at(text: &str) -> u64 {
        moment(text).unwrap()
    }

    #[test]
    fn a_window_holds_from_its_beginning_until_before_its_end() {
        let window = window("from = '2026-12-01'\nuntil = '2026-12-31T18:00:00Z'").unwrap();
        assert!(window.holds(at("2026-12-01")) && !window.holds(at("2026-12-01") - 1));
        assert!(window.holds(at("2026-12-31T17:59:59Z")) && !window.holds(at("2026-12-31T18:00:00Z")));
    }

    #[test]
    fn days_and_hours_are_those_of_the_calendar() {
        let work = window("days = ['mon', 'fri']\nhours = '08:00-18:00'").unwrap();
        // 30 November 2026 is a Monday.
        assert!(work.holds(at("2026-11-30T08:00:00Z")) && work.holds(at("2026-12-04T17:59:59Z")));
        assert!(!work.holds(at("2026-11-30T18:00:00Z")) && !work.holds(at("2026-11-29T09:00:00Z")));
        let night = window("hours = '22:00-06:00'").unwrap();
        assert!(night.holds(at("2026-11-30T23:00:00Z")) && night.holds(at("2026-11-30T05:59:00Z")));
        assert!(!night.holds(at("2026-11-30T06:00:00Z")));
    }

    #[test]
    fn a_window_that_never_holds_or_says_nothing_is_refused() {
        for (text, why) in [
            ("", "says nothing"),
            ("from = '2026-12-31'\nuntil = '2026-12-31'", "never hold"),
            ("days = []", "never hold"),
            ("days = ['monday']", "a day is mon"),
            ("hours = '08:00-08:00'", "08:00-18:00"),
            ("hours = '8-18'", "08:00-18:00"),
            ("hours = '08:00-24:01'", "08:00-18:00"),
            ("from = 'tomorrow'", "a moment is written"),
            ("from = '1969-12-31'", "a moment is written"),
        ] {
            let error = window(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
