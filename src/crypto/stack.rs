//! Wiping what other crates' code leaves on the stack.

use core::hint::black_box;

/// Runs `work`, then overwrites `DEPTH` bytes of the stack that it used.
///
/// The cipher types of the libraries below hold an expanded key, which begins
/// with the key itself, and wipe it when they are dropped. But moving one out
/// of a function copies it, and nobody wipes where it stood before. So they
/// are made in here and leave in a box; `T` must hold nothing secret itself.
#[inline(never)]
pub fn wiped_after<const DEPTH: usize, T>(work: impl FnOnce() -> T) -> T {
    let made = run(work);
    wipe::<DEPTH>();
    made
}

/// A frame of its own, below the caller's: all of it is where [`wipe`]'s will be.
#[inline(never)]
fn run<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe<const DEPTH: usize>() {
    let mut below = [0_u8; DEPTH];
    black_box(&mut below);
}

/// Bytes of stack that key expansion takes, several times over.
pub(super) const KEY_EXPANSION: usize = 8 * 1024;
