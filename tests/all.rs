//! The tests of the core in one program: linking each file for itself took longer than running them. Those that listen
//! to the log of the whole process (`canary.rs`) or search its memory (`zeroize/`) are programs of their own.
//!
//! `cargo test --test all spec_rules::` runs those of one file.

#![allow(clippy::duplicate_mod, reason = "each file says what it needs, as if it stood alone")]

#[path = "differential.rs"]
mod differential;
#[path = "envelope.rs"]
mod envelope;
#[path = "inside.rs"]
mod inside;
#[path = "parallel.rs"]
mod parallel;
#[path = "properties.rs"]
mod properties;
#[path = "ranged.rs"]
mod ranged;
#[path = "rewrap.rs"]
mod rewrap;
#[path = "serde.rs"]
mod serde;
#[path = "spec_coverage.rs"]
mod spec_coverage;
#[path = "spec_rules.rs"]
mod spec_rules;
#[path = "stream.rs"]
mod stream;
#[path = "tamper.rs"]
mod tamper;
#[cfg(feature = "tokio")]
#[path = "tokio.rs"]
mod tokio;
#[path = "vectors.rs"]
mod vectors;
#[path = "written_vectors.rs"]
mod written_vectors;
#[path = "wycheproof.rs"]
mod wycheproof;
