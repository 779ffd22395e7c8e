#![doc = include_str!("../README.md")]

mod breaker;
mod cache;
mod counter;
mod data_keys;
mod deadline;
mod flights;
mod key_states;
mod limit;
mod observe;
mod retry;
mod stack;
mod sync;

pub use cache::{Cache, CacheLimits, CacheStats, CacheStore};
pub use data_keys::{
    CurrentDataKey, DataKeyId, DataKeyLimits, DataKeyStore, DataKeys, DataKeysError, DataKeysStats,
    MemoryDataKeyStore, SealedRecord, StoreError,
};
pub use key_states::{KeyStateListener, ReportingAdmin};
pub use observe::{
    Call, METRICS, Metric, MetricKind, Metrics, Observe, ObserveAdmin, Observer, Operation, Outcome, Stage,
    Subject, about_envelope,
};
pub use stack::{Layered, Stack};
