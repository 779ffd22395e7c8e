//! What observers, spans and metrics are told, and what they are never told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod canary;
mod metrics;
mod observers;
mod spans;
mod support;
