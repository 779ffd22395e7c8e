//! A bound on the memory that a parser takes for its input.
//!
//! Every allocation of a target is counted, so that each execution can be held
//! to the bound, with and without a sanitizer.

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use peak_alloc::PeakAlloc;

/// Runs `parse` on an input of `input_len` bytes. What it holds at once may
/// never pass twice the input and 1 MiB.
///
/// With `ENVELOPE_FUZZ_PEAK` in the environment, each new maximum goes to
/// standard error.
pub fn bounded<T>(input_len: usize, parse: impl FnOnce() -> T) -> T {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let parsed = parse();
    let peak = ALLOCATOR.peak_usage() - before;
    assert!(peak <= 2 * input_len + SLACK, "{peak} bytes of memory for an input of {input_len}");
    if peak > MOST.load(Relaxed) && reports() {
        MOST.store(peak, Relaxed);
        eprintln!("peak: {peak} bytes of memory for an input of {input_len}");
    }
    parsed
}

fn reports() -> bool {
    static REPORTS: OnceLock<bool> = OnceLock::new();
    *REPORTS.get_or_init(|| std::env::var_os("ENVELOPE_FUZZ_PEAK").is_some())
}

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

static MOST: AtomicUsize = AtomicUsize::new(0);
const SLACK: usize = 1024 * 1024;
