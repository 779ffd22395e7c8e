//! What the layers tell of themselves, through the recorder of `metrics` and the subscriber of `tracing` that the
//! program has, if any. The names are in the table [`METRICS`](crate::METRICS).

use std::{sync::OnceLock, time::Duration};

use envelope_sdk::{KeyUri, ProviderErrorKind};
use metrics::{Counter, Histogram, counter, gauge, histogram};

/// What a cache counts for its provider. The recorder is asked for each once, by the first call that needs it.
#[derive(Default)]
pub(crate) struct CacheEvents {
    hits: OnceLock<Counter>,
    misses: OnceLock<Counter>,
    age: OnceLock<Histogram>,
}

impl CacheEvents {
    /// A DEK was kept, and is so old.
    pub(crate) fn hit(&self, provider: &'static str, age: Duration) {
        self.hits.get_or_init(|| counter!(CACHE_HITS, "provider" => provider)).increment(1);
        let ages = self.age.get_or_init(|| histogram!(CACHE_DEK_AGE, "provider" => provider));
        ages.record(age.as_secs_f64());
    }

    /// A DEK was not kept: the key store is asked, or somebody else is asking it.
    pub(crate) fn miss(&self, provider: &'static str) {
        self.misses.get_or_init(|| counter!(CACHE_MISSES, "provider" => provider)).increment(1);
    }
}

/// A call is made again after an error of this kind.
pub(crate) fn retry(provider: &'static str, kind: ProviderErrorKind, attempt: u32) {
    tracing::debug!(envelope.provider = provider, error.type = kind_name(kind), attempt, "attempts it again");
    counter!(RETRIES, "provider" => provider, "outcome" => kind_name(kind)).increment(1);
}

/// So many calls are not made again since the process has used up its retries.
pub(crate) fn retries_refused(provider: &'static str, calls: u64) {
    if calls > 0 {
        tracing::warn!(envelope.provider = provider, calls, "no retry: the process has used up its retries");
        counter!(RETRIES_REFUSED, "provider" => provider).increment(calls);
    }
}

/// States of a circuit, as they are told.
pub(crate) const CLOSED: u8 = 0;
/// A probe is under way.
pub(crate) const HALF_OPEN: u8 = 1;
pub(crate) const OPEN: u8 = 2;

/// A circuit is in another state.
pub(crate) fn breaker(provider: &'static str, circuit: &str, state: u8) {
    let word = ["closed", "half-open", "open"].get(usize::from(state)).copied().unwrap_or_default();
    tracing::warn!(envelope.provider = provider, circuit, state = word, "the breaker changes");
    gauge!(BREAKER_STATE, "provider" => provider, "circuit" => circuit.to_owned()).set(f64::from(state));
}

/// An open circuit refused a call.
pub(crate) fn breaker_refused(provider: &'static str) {
    counter!(BREAKER_REFUSED, "provider" => provider).increment(1);
}

/// As many calls wait as may.
pub(crate) fn limit_refused(provider: &'static str) {
    counter!(LIMIT_REFUSED, "provider" => provider).increment(1);
}

/// What became of a hedge: `won`, `lost` or `failed`.
pub(crate) fn hedge(provider: &'static str, key: &KeyUri, outcome: &'static str) {
    tracing::debug!(
        envelope.provider = provider,
        envelope.key.uri = key.as_str(),
        outcome,
        "a hedge has ended"
    );
    counter!(HEDGES, "provider" => provider, "outcome" => outcome).increment(1);
}

/// A key did not open, and another is asked.
pub(crate) fn failover(provider: &'static str, from: &KeyUri, kind: ProviderErrorKind, to: &KeyUri) {
    let (outcome, from, to) = (kind_name(kind), from.as_str(), to.as_str());
    tracing::warn!(envelope.provider = provider, error.type = outcome, from, to, "another key is asked");
    counter!(FAILOVERS, "provider" => provider, "outcome" => outcome).increment(1);
}

/// An envelope was made without the wrap of a key.
pub(crate) fn wrap_missing(provider: &'static str, key: &KeyUri, kind: ProviderErrorKind) {
    let (outcome, key) = (kind_name(kind), key.as_str());
    tracing::warn!(envelope.provider = provider, error.type = outcome, envelope.key.uri = key, "a wrap is missing");
    counter!(WRAPS_MISSING, "provider" => provider, "outcome" => outcome).increment(1);
}

/// A word for a kind of error, for labels.
pub(crate) fn kind_name(kind: ProviderErrorKind) -> &'static str {
    KIND_NAMES[kind_index(kind)]
}

/// The place of a kind of error in [`KIND_NAMES`].
pub(crate) fn kind_index(kind: ProviderErrorKind) -> usize {
    match kind {
        ProviderErrorKind::Unauthentic => 1,
        ProviderErrorKind::NotFound => 2,
        ProviderErrorKind::AccessDenied => 3,
        ProviderErrorKind::State => 4,
        ProviderErrorKind::Unavailable => 5,
        ProviderErrorKind::Throttled => 6,
        ProviderErrorKind::Unsupported => 7,
        ProviderErrorKind::Protocol => 8,
        ProviderErrorKind::Invalid => 9,
        _ => 0,
    }
}

pub(crate) const KIND_NAMES: [&str; 10] = [
    "other",
    "unauthentic",
    "not_found",
    "access_denied",
    "state",
    "unavailable",
    "throttled",
    "unsupported",
    "protocol",
    "invalid",
];

pub(crate) const CACHE_HITS: &str = "envelope_cache_hits_total";
pub(crate) const CACHE_MISSES: &str = "envelope_cache_misses_total";
pub(crate) const CACHE_DEK_AGE: &str = "envelope_cache_dek_age_seconds";
pub(crate) const RETRIES: &str = "envelope_retries_total";
pub(crate) const RETRIES_REFUSED: &str = "envelope_retries_refused_total";
pub(crate) const BREAKER_STATE: &str = "envelope_breaker_state";
pub(crate) const BREAKER_REFUSED: &str = "envelope_breaker_refused_total";
pub(crate) const LIMIT_REFUSED: &str = "envelope_limit_refused_total";
pub(crate) const HEDGES: &str = "envelope_hedges_total";
pub(crate) const FAILOVERS: &str = "envelope_failovers_total";
pub(crate) const WRAPS_MISSING: &str = "envelope_wraps_missing_total";
