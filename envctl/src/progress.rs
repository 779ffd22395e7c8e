//! A bar with throughput and time left, for work that takes longer than a
//! second, on a terminal.

use std::{
    io::{self, IsTerminal},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use envelope_rotation::Shard;
use futures_util::StreamExt;
use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};

use crate::{
    cli::{Global, Rotation},
    sources,
};

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

/// Counts items and calls to key stores. How many items there are is counted meanwhile. Cleared when dropped.
pub(crate) struct Items {
    begun: Instant,
    wanted: bool,
    done: u64,
    all: Arc<Listed>,
    bar: Option<ProgressBar>,
}

/// Items that were listed so far, and whether those are all.
#[derive(Default)]
struct Listed {
    items: AtomicU64,
    all: AtomicBool,
}

impl Items {
    /// Nothing is ever shown with `--json`, or when standard error is no terminal.
    pub(crate) fn new(global: &Global) -> Self {
        let wanted = !global.json && io::stderr().is_terminal();
        Self { begun: Instant::now(), wanted, done: 0, all: Arc::default(), bar: None }
    }

    /// Begins to count the items of a job, on the runtime that calls this. A list on standard input can be read only once.
    pub(crate) fn count(&self, args: &Rotation) {
        if !self.wanted || args.paths.iter().any(|path| path.as_os_str() == "-") {
            return;
        }
        // What is wrong with the words is told by the job.
        let Ok(source) = sources::open(&args.paths, false) else { return };
        let shard = args.shard.unwrap_or(Shard::ALL);
        let all = Arc::clone(&self.all);
        tokio::spawn(async move {
            let mut listing = source.list();
            while let Some(listed) = listing.next().await {
                if listed.is_ok_and(|item| shard.has(&item)) {
                    all.items.fetch_add(1, Ordering::Relaxed);
                }
            }
            all.all.store(true, Ordering::Release);
        });
    }

    /// Whether somebody looks: otherwise nothing need be counted.
    #[cfg(feature = "sql")]
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Counts what there is to do in another way, on the runtime that calls this. `None`: it is not known.
    #[cfg(feature = "sql")]
    pub(crate) fn count_by(&self, counting: impl Future<Output = Option<u64>> + Send + 'static) {
        if !self.wanted {
            return;
        }
        let all = Arc::clone(&self.all);
        tokio::spawn(async move {
            if let Some(items) = counting.await {
                all.items.store(items, Ordering::Relaxed);
                all.all.store(true, Ordering::Release);
            }
        });
    }

    /// One more is done; `calls` have been made so far.
    pub(crate) fn add(&mut self, calls: u64) {
        self.add_many(1, calls);
    }

    /// So many more are done; `calls` have been made so far.
    pub(crate) fn add_many(&mut self, items: u64, calls: u64) {
        self.done += items;
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
            let all = self.all.all.load(Ordering::Acquire).then(|| self.all.items.load(Ordering::Relaxed));
            bar.set_message(pace_of_items(self.done, all, calls, elapsed));
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

/// Of `all` items, where that is known: what is left to do, and how long that takes at the rate so far.
fn pace_of_items(done: u64, all: Option<u64>, calls: u64, elapsed: Duration) -> String {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = done.saturating_mul(1000) / millis;
    match all {
        Some(all) => {
            let left = u128::from(all.saturating_sub(done)) * u128::from(millis) / u128::from(done.max(1));
            let left = Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX));
            format!("of {all}, {rate}/s, {calls} calls to key stores, {} left", HumanDuration(left))
        }
        None => format!("{rate}/s, {calls} calls to key stores, {} so far", HumanDuration(elapsed)),
    }
}

/// Whether a bar stands in the line of the terminal.
pub(crate) fn is_shown() -> bool {
    SHOWN.load(Ordering::SeqCst)
}

static SHOWN: AtomicBool = AtomicBool::new(false);

const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_of_the_items_that_are_left() {
        let at = |done, all| pace_of_items(done, all, 30, Duration::from_secs(10));
        assert_eq!(at(100, None), "10/s, 30 calls to key stores, 10 seconds so far");
        assert_eq!(at(100, Some(400)), "of 400, 10/s, 30 calls to key stores, 30 seconds left");
        // Slower than one in a second.
        assert_eq!(at(2, Some(12)), "of 12, 0/s, 30 calls to key stores, 50 seconds left");
        assert_eq!(at(5, Some(3)), "of 3, 0/s, 30 calls to key stores, 0 seconds left");
    }
}
