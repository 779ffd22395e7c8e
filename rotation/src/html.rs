//! A report as one page of HTML.

use std::{fmt::Write as _, time::Duration};

use envelope_sdk::printable;
use tokio::time::Instant;

use crate::{ItemReport, Outcome, Totals, Usage};

/// Collects what a page shows, item by item: outcomes, key versions, the rate over time, and the first failures.
///
/// The page is one file without scripts, and asks for nothing from elsewhere; its policy forbids both. Names and errors are foreign
/// words: each is [made printable](envelope_sdk::printable) and escaped. Its size, and the memory until then, are bounded however
/// many items there are: [`FAILURES`](Self::FAILURES) failures and [`KEYS`](Self::KEYS) key versions are shown, and the page
/// says how many more there were.
pub struct HtmlReport {
    begun: Instant,
    totals: Totals,
    usage: Usage,
    failures: Vec<(String, String)>,
    pace: Pace,
}

impl HtmlReport {
    /// Failures that are shown.
    pub const FAILURES: usize = 1000;
    /// Key versions that are shown.
    pub const KEYS: usize = 30;

    /// Of a job that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            totals: Totals::default(),
            usage: Usage::default(),
            failures: Vec::new(),
            pace: Pace::new(),
        }
    }

    /// One more item is done.
    pub fn add(&mut self, item: &ItemReport) {
        self.totals.add(item);
        self.pace.add(self.begun.elapsed());
        if let Some(header) = item.header() {
            self.usage.add(header);
        }
        if let Outcome::Failed(error) = &item.outcome
            && self.failures.len() < Self::FAILURES
        {
            self.failures.push((cut(&item.item.to_string()), cut(&error.to_string())));
        }
    }

    /// The page. `what` is its title, `summary` what is said of the whole, in lines, and `trouble` why it did not come to its end.
    #[must_use]
    pub fn page(&self, what: &str, summary: &str, trouble: Option<&str>) -> String {
        let mut page = String::from(HEAD);
        let what = escape(what);
        let _ = write!(page, "<title>{what}</title>\n</head>\n<body>\n<h1>{what}</h1>\n");
        if let Some(trouble) = trouble {
            let _ = writeln!(page, "<p class=\"trouble\">Not finished: {}</p>", escape(trouble));
        }
        let lines: Vec<_> = summary.trim_end().lines().map(escape).collect();
        let _ = writeln!(page, "<pre>{}</pre>", lines.join("\n"));
        section(&mut page, "Outcomes", &bars(&self.outcomes()));
        section(&mut page, "Envelopes by key version, as they were read", &self.by_key_version());
        section(&mut page, "Items over time", &self.pace.chart());
        section(&mut page, "Failures", &self.failure_table());
        page.push_str("</body>\n</html>\n");
        page
    }

    fn outcomes(&self) -> Vec<Bar> {
        let of = &self.totals;
        let counts = [
            ("rewrapped", of.rewrapped, "done"),
            ("reencrypted", of.reencrypted, "done"),
            ("would be changed", of.would_change, "done"),
            ("in the target state already", of.in_target_state, "calm"),
            ("done by the job before", of.done_before, "calm"),
            ("no envelopes", of.passed_over, "calm"),
            ("failed and are as they were", of.failed, "bad"),
        ];
        let some = counts.into_iter().filter(|(_, count, _)| *count > 0);
        some.map(|(name, count, class)| Bar { name: name.into(), count, class }).collect()
    }

    fn by_key_version(&self) -> String {
        let mut versions = Vec::new();
        for (key, of_key) in &self.usage.keys {
            for (version, opens) in of_key {
                let version = if version.is_empty() { String::new() } else { format!(" version {version}") };
                versions.push(Bar { name: format!("{key}{version}"), count: opens.envelopes, class: "done" });
            }
        }
        // The largest first; those of one size by their names.
        versions.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.name.cmp(&other.name)));
        let more = versions.len().saturating_sub(Self::KEYS);
        versions.truncate(Self::KEYS);
        let mut chart = bars(&versions);
        if more > 0 || self.usage.others.envelopes > 0 {
            let others = self.usage.others.envelopes;
            let _ = writeln!(chart, "<p>{more} key versions more are not shown; others open {others}.</p>");
        }
        chart
    }

    fn failure_table(&self) -> String {
        if self.failures.is_empty() {
            return "<p>None.</p>\n".into();
        }
        let mut table = String::from("<table>\n<tr><th>Item</th><th>Why</th></tr>\n");
        for (item, why) in &self.failures {
            // What could not be listed has no name.
            let item = if item.is_empty() { "(listing)" } else { item };
            let _ = writeln!(table, "<tr><td>{}</td><td>{}</td></tr>", escape(item), escape(why));
        }
        table.push_str("</table>\n");
        let more = self.totals.failed.saturating_sub(self.failures.len() as u64);
        if more > 0 {
            let _ = writeln!(table, "<p>The first {}; {more} more failed.</p>", self.failures.len());
        }
        table
    }
}

impl Default for HtmlReport {
    fn default() -> Self {
        Self::new()
    }
}

struct Bar {
    name: String,
    count: u64,
    class: &'static str,
}

/// How many items were done in each part of the time. The parts grow with it, so that there are never many.
struct Pace {
    each: Duration,
    counts: Vec<u64>,
}

impl Pace {
    fn new() -> Self {
        Self { each: Duration::from_millis(100), counts: Vec::new() }
    }

    fn add(&mut self, at: Duration) {
        let mut part = self.part(at);
        while part >= PARTS {
            self.counts = self.counts.chunks(2).map(|pair| pair.iter().sum()).collect();
            self.each *= 2;
            part = self.part(at);
        }
        if self.counts.len() <= part {
            self.counts.resize(part + 1, 0);
        }
        self.counts[part] += 1;
    }

    fn part(&self, at: Duration) -> usize {
        usize::try_from(at.as_nanos() / self.each.as_nanos().max(1)).unwrap_or(usize::MAX)
    }

    fn chart(&self) -> String {
        let seconds = self.each.as_secs_f64();
        let rates: Vec<f64> = self.counts.iter().map(|count| *count as f64 / seconds).collect();
        let top = rates.iter().copied().fold(0.0, f64::max);
        if top <= 0.0 {
            return "<p>Nothing was done.</p>\n".into();
        }
        let width = f64::from(WIDTH) / rates.len() as f64;
        let mut chart = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Items in a second over time, at most {top:.0}\">\n"
        );
        for (at, rate) in rates.iter().enumerate() {
            let height = rate / top * f64::from(HEIGHT - MARGIN);
            let (x, y) = (at as f64 * width, f64::from(HEIGHT) - height);
            let _ = writeln!(
                chart,
                "<rect class=\"done\" x=\"{x:.2}\" y=\"{y:.2}\" width=\"{:.2}\" height=\"{height:.2}\"/>",
                width.max(0.5)
            );
        }
        let end = seconds * rates.len() as f64;
        let _ = writeln!(chart, "<text x=\"0\" y=\"14\">at most {top:.0} items/s</text>");
        let _ = writeln!(
            chart,
            "<text x=\"{WIDTH}\" y=\"14\" text-anchor=\"end\">{end:.1} s in all</text>\n</svg>"
        );
        chart
    }
}

fn section(page: &mut String, title: &str, body: &str) {
    let _ = write!(page, "<section>\n<h2>{title}</h2>\n{body}</section>\n");
}

/// A bar for each, with its name and number.
fn bars(of: &[Bar]) -> String {
    let top = of.iter().map(|bar| bar.count).max().unwrap_or_default();
    if top == 0 {
        return "<p>None.</p>\n".into();
    }
    let height = ROW * of.len();
    let mut chart = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Bars\">\n");
    for (row, Bar { name, count, class }) in of.iter().enumerate() {
        let length = (*count as f64 / top as f64 * f64::from(WIDTH)).max(1.0);
        let (text, bar) = (row * ROW + 14, row * ROW + 20);
        let name = escape(&cut_name(name));
        let _ = writeln!(
            chart,
            "<text x=\"0\" y=\"{text}\">{name}: {count}</text>\
             <rect class=\"{class}\" x=\"0\" y=\"{bar}\" width=\"{length:.1}\" height=\"10\" rx=\"2\"/>"
        );
    }
    chart.push_str("</svg>\n");
    chart
}

/// The one way of foreign words into the page.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in printable::text(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONG) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Of a key URI, the end tells more.
fn cut_name(name: &str) -> String {
    let long = name.chars().count().saturating_sub(NAME);
    match name.char_indices().nth(long) {
        Some((begin, _)) if long > 0 => format!("…{}", &name[begin..]),
        _ => name.to_owned(),
    }
}

/// Characters of an error or the name of an item.
const LONG: usize = 500;
/// Characters of a name beside its bar.
const NAME: usize = 110;
/// Parts of the time, at most.
const PARTS: usize = 200;
const WIDTH: u32 = 900;
const HEIGHT: u32 = 160;
const MARGIN: u32 = 24;
const ROW: usize = 38;

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">
<meta name=\"referrer\" content=\"no-referrer\">
<meta name=\"viewport\" content=\"width=device-width\">
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
pre { background: #f3f5f7; padding: 1rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere }
svg { width: 100%; height: auto } text { font: 13px system-ui, sans-serif; fill: #1b1f24 }
rect.done { fill: #2f6fb2 } rect.calm { fill: #9aa5b1 } rect.bad { fill: #c0392b }
.trouble { border-left: 4px solid #c0392b; padding: .5rem 1rem; background: #fbeeec }
table { border-collapse: collapse; width: 100%; table-layout: fixed } th:first-child { width: 40% } th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid #dde2e7; overflow-wrap: anywhere }
</style>
";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that goes wrong shall stop")]
mod tests {
    use super::*;
    use crate::{Item, ItemError, SourceError};

    fn failed(name: &str, why: &str) -> ItemReport {
        let error = ItemError::Source(SourceError::store(why));
        ItemReport { outcome: Outcome::Failed(error), ..ItemReport::of(Item::named(name)) }
    }

    #[test]
    fn foreign_words_cannot_leave_their_place_in_the_page() {
        let hostile = "</td><script>alert(1)</script>\"'&\u{9b}31m\u{202e}\x1b[2J";
        let mut report = HtmlReport::new();
        report.add(&failed(hostile, hostile));
        let page = report.page(hostile, hostile, Some(hostile));
        assert!(!page.contains("<script") && !page.contains("</td><s"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"), "{page}");
        let odd = |shown: char| shown != '\n' && printable::text(&shown.to_string()).len() > shown.len_utf8();
        assert!(!page.contains(odd), "{page}");
    }

    #[test]
    fn the_page_asks_for_nothing_from_elsewhere_and_forbids_it() {
        let mut report = HtmlReport::new();
        report.add(&failed("a", "b"));
        let page = report.page("Rotation", "1 item", None);
        let policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">";
        assert!(page.contains(policy));
        for word in [
            "<script", "src=", "href=", "url(", "@import", "http://", "https://", "onload", "<iframe",
            "<link",
        ] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn the_page_stays_small_and_says_what_it_leaves_out() {
        let mut report = HtmlReport::new();
        for number in 0..5000 {
            report.add(&failed(&format!("{number}{}", "x".repeat(2000)), &"y".repeat(2000)));
        }
        let page = report.page("Rotation", "", None);
        assert!(page.len() < 1 << 21, "{} bytes", page.len());
        assert!(page.contains("The first 1000; 4000 more failed."));
    }

    #[test]
    fn the_parts_of_time_are_few_however_long_it_takes_and_lose_nothing() {
        let mut pace = Pace::new();
        for second in 0..100_000 {
            pace.add(Duration::from_secs(second));
        }
        assert!(pace.counts.len() <= PARTS, "{}", pace.counts.len());
        assert_eq!(pace.counts.iter().sum::<u64>(), 100_000);
        assert!(pace.chart().contains("<rect"));
    }
}
