//! The log on a real disk.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::semicolon_if_nothing_returned
)]

mod audited;
mod common;
mod damage;
mod documents;
mod export;
mod processes;
mod pruned;
mod sinks;
mod vectors;
