//! The suites find what is wrong: providers, managers of keys and schemes with one
//! flaw each, and the check that must fail for it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod admin;
#[path = "../../outside/src/lib.rs"]
#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    reason = "a crate of another workspace: Cargo takes no such path for a dependency"
)]
mod example;
mod provider;
mod scheme;
