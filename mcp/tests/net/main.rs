//! The server over a network, by clients that speak TLS to it: who is refused, and why that is what the records say.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests too")]

mod authority;
mod client;
mod handler;
mod handshakes;
mod limits;
mod protocol;
mod records;
mod reloads;
mod requests;
mod running;
mod stops;
