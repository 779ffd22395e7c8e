//! What must hold of the MCP server, over the transport that clients use, with a keystore and envelopes as they are on disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]
#![allow(clippy::print_stderr, reason = "seeds speak through it")]

mod buckets;
mod calls;
mod client;
mod dependencies;
mod files;
mod hostile;
mod messages;
mod served;
mod tools;
