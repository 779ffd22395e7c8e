#![doc = include_str!("../README.md")]

mod batch;
mod breaker;
mod cache;
mod counter;
mod data_keys;
mod deadline;
mod events;
mod flights;
mod key_states;
mod limit;
mod observe;
mod retry;
mod settings;
mod stack;
mod sync;

pub use breaker::{Breaker, BreakerState, CircuitOpen};
pub use cache::{Cache, CacheLimits, CacheStats, CacheStore};
pub use data_keys::{
    CurrentDataKey, DataKeyId, DataKeyLimits, DataKeyStore, DataKeys, DataKeysError, DataKeysStats,
    MemoryDataKeyStore, SealedRecord, StoreError,
};
pub use deadline::{Deadline, TimedOut};
pub use key_states::{KeyStateListener, ReportingAdmin};
pub use limit::{Concurrency, Limit};
pub use observe::{
    Call, METRICS, Metric, MetricKind, Metrics, Observe, ObserveAdmin, Observer, Operation, Outcome, Stage,
    Subject, about_envelope, envelope_around,
};
pub use retry::{Retry, RetryBudget};
pub use settings::LayerSettings;
pub use stack::{Layered, Stack};
