//! What the layers tell of themselves, through the recorder of `metrics` and the subscriber of `tracing` that the
//! program has, if any. The names are in the table [`METRICS`](crate::METRICS).

use std::time::Duration;

use envelope_sdk::ProviderErrorKind;
use metrics::{counter, gauge, histogram};

/// A DEK was kept, and is so old.
pub(crate) fn cache_hit(provider: &'static str, age: Duration) {
    counter!(CACHE_HITS, "provider" => provider).increment(1);
    histogram!(CACHE_DEK_AGE, "provider" => provider).record(age.as_secs_f64());
}

/// A DEK was not kept: the key store is asked, or somebody else is asking it.
pub(crate) fn cache_miss(provider: &'static str) {
    counter!(CACHE_MISSES, "provider" => provider).increment(1);
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

/// A word for a kind of error, for labels.
pub(crate) fn kind_name(kind: ProviderErrorKind) -> &'static str {
    match kind {
        ProviderErrorKind::Unauthentic => "unauthentic",
        ProviderErrorKind::NotFound => "not_found",
        ProviderErrorKind::AccessDenied => "access_denied",
        ProviderErrorKind::State => "state",
        ProviderErrorKind::Unavailable => "unavailable",
        ProviderErrorKind::Throttled => "throttled",
        ProviderErrorKind::Unsupported => "unsupported",
        ProviderErrorKind::Protocol => "protocol",
        ProviderErrorKind::Invalid => "invalid",
        _ => "other",
    }
}

pub(crate) const CACHE_HITS: &str = "envelope_cache_hits_total";
pub(crate) const CACHE_MISSES: &str = "envelope_cache_misses_total";
pub(crate) const CACHE_DEK_AGE: &str = "envelope_cache_dek_age_seconds";
pub(crate) const RETRIES: &str = "envelope_retries_total";
pub(crate) const RETRIES_REFUSED: &str = "envelope_retries_refused_total";
pub(crate) const BREAKER_STATE: &str = "envelope_breaker_state";
pub(crate) const BREAKER_REFUSED: &str = "envelope_breaker_refused_total";
pub(crate) const LIMIT_REFUSED: &str = "envelope_limit_refused_total";
