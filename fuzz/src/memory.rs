//! A bound on the memory that a parser takes for its input.
//!
//! Every allocation of a target is counted, so that each execution can be held
//! to the bound, with and without a sanitizer.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// Runs `parse` on an input of `input_len` bytes. What it holds at once may
/// never pass twice the input and 1 MiB.
///
/// With `ENVELOPE_FUZZ_PEAK` in the environment, each new maximum goes to
/// standard error.
pub fn bounded<T>(input_len: usize, parse: impl FnOnce() -> T) -> T {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let parsed = parse();
    let peak = PEAK.load(Relaxed) - before;
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

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: `System` does all the work; counters change nothing of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Both blocks may be there while the old one is copied.
        add(new_size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

fn add(size: usize) {
    let live = LIVE.fetch_add(size, Relaxed) + size;
    PEAK.fetch_max(live, Relaxed);
}

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
const SLACK: usize = 1024 * 1024;
