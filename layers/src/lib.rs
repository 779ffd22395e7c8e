#![doc = include_str!("../README.md")]

mod breaker;
mod cache;
mod data_keys;
mod deadline;
mod flights;
mod key_states;
mod limit;
mod observe;
mod retry;
mod sync;

pub use cache::{Cache, CacheLimits, CacheStats, CacheStore};
pub use key_states::{KeyStateListener, ReportingAdmin};
