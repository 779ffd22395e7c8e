//! Retry, limits, breaker and deadline, in simulated time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "helpers of tests are tests too"
)]

mod breaker;
mod conformance;
mod deadline;
mod dropped;
mod limit;
mod retry;
mod support;
