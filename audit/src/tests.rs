//! The log over a disk in memory that fails, and loses power, at every step.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::print_stdout
)]

mod kills;
pub(crate) mod memory_disk;
mod reference;
