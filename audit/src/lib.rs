#![doc = include_str!("../README.md")]

mod audited;
mod audited_admin;
mod audited_envelope;
mod audited_scheme;
mod basis;
mod chain;
mod checkpoint;
mod config;
mod damage;
mod desk;
mod disk;
mod document;
mod entry;
mod error;
mod export;
mod folder;
mod follow;
mod head;
mod key;
mod lazy;
mod log;
mod observer;
mod query;
mod record;
mod scope;
mod segments;
mod sign;
mod sink;
mod tell;
mod text;
mod verify;
mod writer;

pub use audited::Audited;
pub use audited_admin::AuditedAdmin;
pub use audited_envelope::AuditedEnvelope;
pub use audited_scheme::AuditedScheme;
pub use checkpoint::{Anchor, AnchorError};
pub use config::{LogOptions, Unwritable};
pub use damage::{Damage, Fault};
pub use document::{DocumentError, DocumentSignature};
pub use entry::{Entry, Outcome};
pub use error::{AppendError, LogError};
pub use export::{write_csv, write_json};
pub use key::{KeyFile, LogKey};
pub use lazy::LazyLog;
pub use log::{Appended, Log, Pruned};
pub use observer::LogObserver;
pub use query::{Filter, read};
pub use record::{NotARecord, Record};
pub use scope::{
    PolicyDecision, Unwritten, about_envelope, acting_as, in_request, policy_decided, recorded_later,
};
pub use segments::closed_segment;
pub use sink::{Lines, Sink, Spans, Syslog};
pub use verify::{Verified, Verifier, VerifyError};

#[cfg(test)]
mod tests;
