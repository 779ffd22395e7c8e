//! [`LayerSettings`]: the layers as a configuration file says them.

use std::{
    fmt,
    marker::PhantomData,
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
    time::Duration,
};

use envelope_sdk::{
    KeyUri, KeyringListener,
    key_uri::{aws::KeyArn, azure::VaultKey, gcp::CryptoKeyName},
};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    Breaker, CacheLimits, CacheStore, Concurrency, Deadline, Limit, Metrics, Retry, RetryBudget, Stack,
};

/// The table `[layers]` of a configuration, for one key store. Every layer is off unless it is named.
///
/// A layer is a table of its settings; `true` is one without any, and `false` takes a layer away that a more general table
/// has. Times are written as `"200ms"`, `"5s"`, `"10m"`, `"1h 30m"`. What is not given is as the layer has it by default.
///
/// | Setting | What |
/// |---|---|
/// | `spans = true` | spans of `tracing`: [`Observe`](crate::Observe) |
/// | `metrics = true` | [`Metrics`], for the recorder of the program, and spans |
/// | `deadline = "5s"` | the longest time of one attempt: [`Deadline`]. Shorter than that of `retry` |
/// | `client-attempts = 1` | how many attempts the key store's own client makes of a call: [`Deadline::client_attempts`] |
/// | `whole-batches = true` | the key store opens a batch in one request, as Vault: [`Limit::whole_batches`], [`Deadline::whole_batches`], [`Retry::whole_batches`] |
/// | `cache` | `age` and `entries`, which both must be given, `uses`, `keep-generated`: [`CacheLimits`] |
/// | `retry` | `attempts`, `first-pause`, `longest-pause`, `deadline` (of the whole call): [`Retry`] |
/// | `breaker` | `failures`, `time-outs`, `cool-down`: [`Breaker`], with a circuit for each region, location or vault |
/// | `limit` | `requests-per-second`, `requests-per-second-of-a-key`, `concurrency` (`true`, or so many always), of which there is one at least, and `waiting`: [`Limit`] |
///
/// The [`RetryBudget`] is one for all key stores, and read for itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "Words")]
pub struct LayerSettings(Words);

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields, expecting = "a table of layers")]
struct Words {
    spans: bool,
    metrics: bool,
    #[serde(deserialize_with = "time_to_wait")]
    deadline: Option<Duration>,
    client_attempts: Option<NonZeroU32>,
    whole_batches: bool,
    #[serde(deserialize_with = "table_or_false")]
    cache: Option<CacheSettings>,
    #[serde(deserialize_with = "switch")]
    retry: Option<RetrySettings>,
    #[serde(deserialize_with = "switch")]
    breaker: Option<BreakerSettings>,
    #[serde(deserialize_with = "limit")]
    limit: Option<LimitSettings>,
}

/// Settings of which each can be, and not both together.
impl TryFrom<Words> for LayerSettings {
    type Error = String;

    fn try_from(words: Words) -> Result<Self, String> {
        let whole = words.retry.map(|retry| retry.deadline.unwrap_or(Retry::<()>::DEADLINE));
        if let (Some(attempt), Some(whole)) = (words.deadline, whole)
            && attempt >= whole
        {
            return Err(format!(
                "`deadline`, the time of one attempt, is {}, and `retry` gives a whole call {}: no attempt would ever be \
                 seen to fail, and the breaker would not open; set a shorter `deadline`, or a longer one in `retry`",
                humantime::format_duration(attempt),
                humantime::format_duration(whole)
            ));
        }
        Ok(Self(words))
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct CacheSettings {
    #[serde(deserialize_with = "time")]
    age: Duration,
    entries: usize,
    uses: Option<NonZeroU64>,
    #[serde(default)]
    keep_generated: bool,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct RetrySettings {
    attempts: Option<NonZeroU32>,
    #[serde(deserialize_with = "some_time")]
    first_pause: Option<Duration>,
    #[serde(deserialize_with = "some_time")]
    longest_pause: Option<Duration>,
    #[serde(deserialize_with = "time_to_wait")]
    deadline: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct BreakerSettings {
    failures: Option<NonZeroU32>,
    time_outs: Option<NonZeroU32>,
    #[serde(deserialize_with = "some_time")]
    cool_down: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct LimitSettings {
    requests_per_second: Option<NonZeroU32>,
    requests_per_second_of_a_key: Option<NonZeroU32>,
    #[serde(deserialize_with = "concurrency")]
    concurrency: Option<Concurrency>,
    waiting: Option<usize>,
}

impl LayerSettings {
    /// The names of the layers that bound, repeat or refuse calls: not for a key store that waits for a person, who
    /// types a passphrase or a PIN or touches a token, unless somebody wants it so.
    pub const HASTE: [&str; 4] = ["deadline", "retry", "breaker", "limit"];

    /// The same, where the key store's own client is known to make so many attempts of a call; what is set goes before it.
    #[must_use]
    pub fn with_client_attempts(mut self, attempts: NonZeroU32) -> Self {
        self.0.client_attempts.get_or_insert(attempts);
        self
    }

    /// The longest time of one attempt, where it has one.
    #[must_use]
    pub fn attempt_time(&self) -> Option<Duration> {
        self.0.deadline
    }

    /// Who counts what keyrings do, where `metrics` are wanted: for [`Keyring::tell`](envelope_sdk::Keyring::tell).
    #[must_use]
    pub fn listener(&self) -> Option<Arc<dyn KeyringListener>> {
        self.0.metrics.then(|| Arc::new(Metrics::new()) as Arc<dyn KeyringListener>)
    }

    /// The layers, with a new store for the cache. `budget` is that of the whole process.
    pub fn stack(&self, budget: &RetryBudget) -> Stack {
        let Words { spans, metrics, deadline, client_attempts, whole_batches, cache, retry, breaker, limit } =
            self.0;
        let mut stack = Stack::new();
        if spans {
            stack = stack.spans();
        }
        if metrics {
            stack = stack.observe(Arc::new(Metrics::new()));
        }
        if let Some(cache) = cache {
            stack = stack.cache(&CacheStore::new(cache.limits()));
        }
        if let Some(retry) = retry {
            let budget = budget.clone();
            stack = stack.retry(move |below| {
                let layer = retry.set(Retry::new(below, &budget));
                if whole_batches { layer.whole_batches() } else { layer }
            });
        }
        if let Some(breaker) = breaker {
            stack = stack.breaker(move |below| breaker.set(Breaker::new(below).by(place)));
        }
        if let Some(limit) = limit {
            stack = stack.limit(move |below| {
                let limit = limit.set(Limit::new(below));
                if whole_batches { limit.whole_batches() } else { limit }
            });
        }
        if let Some(time) = deadline {
            stack = stack.deadline(move |below| {
                let deadline = Deadline::of(below, time);
                let deadline = if whole_batches { deadline.whole_batches() } else { deadline };
                match client_attempts {
                    Some(attempts) => deadline.client_attempts(attempts.get()),
                    None => deadline,
                }
            });
        }
        stack
    }
}

/// The table `retry-budget` of `[layers]`: `percent` of the calls, at most 100, and a `reserve` of retries. What is not given
/// is as [`RetryBudget::default`] has it.
impl<'de> Deserialize<'de> for RetryBudget {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let BudgetSettings { percent, reserve } = BudgetSettings::deserialize(from)?;
        Ok(Self::new(percent, reserve))
    }
}

#[derive(Deserialize)]
#[serde(
    default,
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a table of `percent` and `reserve`"
)]
struct BudgetSettings {
    #[serde(deserialize_with = "percent")]
    percent: u32,
    reserve: u32,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { percent: RetryBudget::PERCENT, reserve: RetryBudget::RESERVE }
    }
}

impl CacheSettings {
    fn limits(self) -> CacheLimits {
        let limits = CacheLimits::new(self.age, self.entries).keep_generated(self.keep_generated);
        self.uses.map_or(limits, |uses| limits.uses(uses.get()))
    }
}

impl RetrySettings {
    fn set<P>(self, mut retry: Retry<P>) -> Retry<P> {
        if let Some(attempts) = self.attempts {
            retry = retry.attempts(attempts.get());
        }
        if self.first_pause.is_some() || self.longest_pause.is_some() {
            let first = self.first_pause.unwrap_or(Retry::<()>::FIRST_PAUSE);
            retry = retry.pauses(first, self.longest_pause.unwrap_or(Retry::<()>::LONGEST_PAUSE.max(first)));
        }
        match self.deadline {
            Some(deadline) => retry.deadline(deadline),
            None => retry,
        }
    }
}

impl BreakerSettings {
    fn set<P>(self, mut breaker: Breaker<P>) -> Breaker<P> {
        if let Some(failures) = self.failures {
            breaker = breaker.failures(failures.get());
        }
        if let Some(time_outs) = self.time_outs {
            breaker = breaker.time_outs(time_outs.get());
        }
        match self.cool_down {
            Some(cool_down) => breaker.cool_down(cool_down),
            None => breaker,
        }
    }
}

impl LimitSettings {
    fn set<P>(self, mut limit: Limit<P>) -> Limit<P> {
        if let Some(requests) = self.requests_per_second {
            limit = limit.requests_per_second(requests.get());
        }
        if let Some(requests) = self.requests_per_second_of_a_key {
            limit = limit.requests_per_second_of_a_key(requests.get());
        }
        if let Some(concurrency) = self.concurrency {
            limit = limit.concurrency(concurrency);
        }
        match self.waiting {
            Some(waiting) => limit.waiting(waiting),
            None => limit,
        }
    }
}

/// What fails together: the region of a key of AWS, the location of one of Google, the host of one of Azure. One
/// provider reaches several.
fn place(key: &KeyUri) -> &str {
    if let Some(arn) = KeyArn::of(key) {
        return arn.region;
    }
    if let Some(name) = CryptoKeyName::of(key) {
        return name.location;
    }
    VaultKey::of(key).map_or("", |key| key.host)
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    struct Words;
    impl Visitor<'_> for Words {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a time such as `5s` or `200ms`")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            // What humantime says quotes the text.
            humantime::parse_duration(text)
                .map_err(|_| E::custom("it must be a time such as `5s` or `200ms`"))
        }
    }
    from.deserialize_str(Words)
}

fn some_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    time(from).map(Some)
}

/// Within no time nothing is done.
fn time_to_wait<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    match time(from)? {
        Duration::ZERO => Err(D::Error::custom("it must be longer than no time")),
        time => Ok(Some(time)),
    }
}

fn percent<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match u32::deserialize(from)? {
        percent @ 0..=100 => Ok(percent),
        _ => Err(D::Error::custom("it must be at most 100")),
    }
}

/// A layer that works without any setting.
fn switch<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<Option<T>, D::Error> {
    from.deserialize_any(Layer { on: Some(T::default), of: PhantomData })
}

/// A layer that does not.
fn table_or_false<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    from.deserialize_any(Layer { on: None, of: PhantomData })
}

/// A limit that limits nothing is a mistake.
fn limit<'de, D: Deserializer<'de>>(from: D) -> Result<Option<LimitSettings>, D::Error> {
    let limit: Option<LimitSettings> = table_or_false(from)?;
    let limits = |limit: &LimitSettings| {
        limit.requests_per_second.is_some()
            || limit.requests_per_second_of_a_key.is_some()
            || limit.concurrency.is_some()
    };
    match limit {
        Some(limit) if !limits(&limit) => Err(D::Error::custom(
            "it limits nothing: set `requests-per-second`, `requests-per-second-of-a-key` or `concurrency`",
        )),
        limit => Ok(limit),
    }
}

struct Layer<T> {
    on: Option<fn() -> T>,
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Layer<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.on.is_some() { "a table, true or false" } else { "a table or false" })
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Self::Value, E> {
        match (on, self.on) {
            (false, _) => Ok(None),
            (true, Some(default)) => Ok(Some(default())),
            (true, None) => Err(E::custom("it does nothing without settings: write a table of them")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

fn concurrency<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Concurrency>, D::Error> {
    struct Number;
    impl Visitor<'_> for Number {
        type Value = Option<Concurrency>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true, false or a number of calls")
        }

        fn visit_bool<E: Error>(self, on: bool) -> Result<Self::Value, E> {
            Ok(on.then(Concurrency::default))
        }

        fn visit_i64<E: Error>(self, calls: i64) -> Result<Self::Value, E> {
            self.visit_u64(u64::try_from(calls).unwrap_or_default())
        }

        fn visit_u64<E: Error>(self, calls: u64) -> Result<Self::Value, E> {
            match usize::try_from(calls) {
                Ok(calls @ 1..) => Ok(Some(Concurrency::fixed(calls))),
                _ => Err(E::custom("it must be at least one call")),
            }
        }
    }
    from.deserialize_any(Number)
}
