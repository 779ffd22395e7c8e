//! envctl with key stores behind a server, and with tokens: what waits more than it computes.

#![cfg(feature = "all")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod common;
#[path = "../../backends/pkcs11/tests/tokens/mod.rs"]
mod tokens;

mod aws;
mod aws_credentials;
mod azure;
mod gcp;
#[cfg(feature = "objects")]
mod objects;
mod pkcs11;
#[cfg(feature = "sql")]
mod records;
mod vault;
