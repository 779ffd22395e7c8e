//! The server with all that envctl hands to it, over both transports, in this process: what it logs can be heard here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod canary;
mod client;
mod configurations;
mod installed;
mod limits;
mod records;
