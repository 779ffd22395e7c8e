#![doc = include_str!("../README.md")]

mod actor;
mod admin;
mod buckets;
mod decision;
mod document;
mod file;
mod guard;
mod meanings;
mod operation;
mod pattern;
mod policy;
mod provider;
mod recipients;
mod request;
mod rule;
mod scheme;
mod states;
mod time;

pub use actor::{Actor, ActorError, ActorKind};
pub use admin::GuardedAdmin;
pub use decision::{Decision, Denied, Open, Unmet, Why};
pub use document::PolicyError;
pub use file::{PolicyFile, PolicyFileError};
pub use guard::{Decided, Guard};
pub use operation::Operation;
pub use policy::{Policy, PolicyId};
pub use provider::Guarded;
pub use recipients::distinct_keys;
pub use request::Request;
pub use scheme::GuardedScheme;
