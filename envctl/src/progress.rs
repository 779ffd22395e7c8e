//! A bar with throughput and time left, for work that takes longer than a
//! second, on a terminal.

use std::{
    io::{self, IsTerminal},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};

use crate::cli::Global;

/// Counts bytes and shows them. Cleared when dropped.
pub(crate) struct Progress {
    begun: Instant,
    wanted: bool,
    total: Option<u64>,
    done: AtomicU64,
    bar: OnceLock<ProgressBar>,
}

impl Progress {
    /// Of `total` bytes, or of as many as come. Nothing is ever shown with
    /// `--json`, when standard error is no terminal, or when the output goes to
    /// one.
    pub(crate) fn new(global: &Global, total: Option<u64>, output_to_terminal: bool) -> Self {
        let wanted = !global.json && !output_to_terminal && io::stderr().is_terminal();
        Self { begun: Instant::now(), wanted, total, done: AtomicU64::new(0), bar: OnceLock::new() }
    }

    /// So many more bytes are done.
    pub(crate) fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let elapsed = self.begun.elapsed();
        if self.wanted && elapsed >= PATIENCE {
            let bar = self.bar.get_or_init(|| self.show());
            bar.set_message(self.pace(done, elapsed));
            bar.set_position(done);
        }
    }

    /// Throughput since the beginning, and the time left at that.
    fn pace(&self, done: u64, elapsed: Duration) -> String {
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = done.saturating_mul(1000) / millis;
        let throughput = format!("{}/s", HumanBytes(rate));
        match self.total {
            Some(total) => {
                let left = Duration::from_secs(total.saturating_sub(done) / rate.max(1));
                format!("{throughput}, {} left", HumanDuration(left))
            }
            None => format!("{throughput}, {} so far", HumanDuration(elapsed)),
        }
    }

    fn show(&self) -> ProgressBar {
        SHOWN.store(true, Ordering::SeqCst);
        let (bar, template) = match self.total {
            Some(total) => (ProgressBar::new(total), "{wide_bar} {bytes}/{total_bytes} {msg}"),
            None => (ProgressBar::no_length(), "{bytes} {msg}"),
        };
        // The templates are ours; one that did not parse would leave the default.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
            SHOWN.store(false, Ordering::SeqCst);
        }
    }
}

/// Counts items, of which nobody knows how many there are, and calls to key stores. Cleared when dropped.
pub(crate) struct Items {
    begun: Instant,
    wanted: bool,
    done: u64,
    bar: Option<ProgressBar>,
}

impl Items {
    /// Nothing is ever shown with `--json`, or when standard error is no terminal.
    pub(crate) fn new(global: &Global) -> Self {
        Self { begun: Instant::now(), wanted: !global.json && io::stderr().is_terminal(), done: 0, bar: None }
    }

    /// One more is done; `calls` have been made so far.
    pub(crate) fn add(&mut self, calls: u64) {
        self.done += 1;
        let elapsed = self.begun.elapsed();
        if self.wanted && elapsed >= PATIENCE {
            let bar = self.bar.get_or_insert_with(|| {
                SHOWN.store(true, Ordering::SeqCst);
                let bar = ProgressBar::no_length();
                // As above: it is ours.
                if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} items {msg}") {
                    bar.set_style(style);
                }
                bar
            });
            let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
            let rate = self.done.saturating_mul(1000) / millis;
            bar.set_message(format!("{rate}/s, {calls} calls to key stores, {}", HumanDuration(elapsed)));
            bar.set_position(self.done);
        }
    }

    /// Writes something else to the terminal.
    pub(crate) fn aside(&self, say: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            SHOWN.store(false, Ordering::SeqCst);
        }
    }
}

/// Whether a bar stands in the line of the terminal.
pub(crate) fn is_shown() -> bool {
    SHOWN.load(Ordering::SeqCst)
}

static SHOWN: AtomicBool = AtomicBool::new(false);

const PATIENCE: Duration = Duration::from_secs(1);
