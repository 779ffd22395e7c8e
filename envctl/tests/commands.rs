//! What envctl does without a key store behind a network: one binary, since each links for seconds.
//!
//! `servers` has the rest. What limits or measures a process of its own, or listens to all that it logs, is apart.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod common;
#[cfg(feature = "all")]
#[path = "../../backends/pkcs11/tests/tokens/mod.rs"]
mod tokens;

mod audit;
mod detached;
mod files;
mod in_place;
mod keys;
mod kill_loop;
mod many;
mod passphrases;
mod policy;
mod refusals;
mod reports;
mod rotate;
mod situations;
mod terminal;
mod trace;
