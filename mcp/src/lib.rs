#![doc = include_str!("../README.md")]

#[cfg(not(unix))]
compile_error!("envelope-mcp reads files below the handles of folders, as Unix has them");

mod answer;
mod call;
mod caller;
mod cursor;
mod facade;
mod failure;
mod header;
#[cfg(feature = "listen")]
pub mod net;
mod places;
mod prompts;
mod resources;
mod roots;
mod server;
mod stdio;
mod times;
mod tools;
mod words;

pub use caller::{Caller, CallerError};
pub use facade::{
    AuditFilter, AuditMetadata, AuditRecord, AuditVerified, Buckets, Check, CheckResult, ConfiguredKeys,
    Document, Estimate, Event, Explanation, Facade, FoundEnvelope, FoundObject, Installation, KeyMetadata,
    KeyStore, Look, PolicyMetadata, PolicySummary, Prices, Question, Recorder,
};
pub use failure::{Denial, Failure, Kind};
pub use roots::{Roots, RootsError};
pub use server::Server;
pub use stdio::{Ended, MAX_MESSAGE, serve};
