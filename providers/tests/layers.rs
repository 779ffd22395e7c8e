//! `[layers]` of a configuration, over a key store of this test and over the local one.

#![cfg(feature = "local")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so"
)]

mod place;

use std::{
    ffi::OsString,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use envelope_layers::{Cache, CacheLimits, CacheStore, Call, Observer, Operation, Outcome, Stage};
use envelope_policy::{Decided, Denied, PolicyFile, PolicyId, Request};
use envelope_sdk::{
    Dek, EncryptionContext, Envelope, FullContext, KeyChange, KeyProvider, KeyState, KeyUri, ProviderError,
    ProviderErrorKind,
    crypto::DefaultEngine,
    registry::{Purpose, Scheme, SettingError, Settings, Surroundings},
};
use envelope_testkit::{AlteredProvider, Fault, FaultProvider, MemoryProvider};
use serde::Deserialize;

#[tokio::test(start_paused = true)]
async fn without_the_table_a_key_store_is_used_as_it_is() {
    let place = Place::new();
    let providers = place.providers("");
    let open =
        |name: &str| providers.registry().provider(&MemoryProvider::key(name), Purpose::Encrypt).unwrap();
    assert!(Arc::ptr_eq(&open("one"), &open("two")));
    assert_eq!(attempts_of(&place, "").await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_instance_has_its_layers_once_however_many_keys_are_opened() {
    let place = Place::new();
    let text = "[layers]\nbreaker = { failures = 2, cool-down = '10s' }";
    let seen = Arc::new(Seen::default());
    let providers = place.builder(text).observe(seen.clone()).build().unwrap();
    for (name, key_store_is_asked) in [("one", true), ("two", true), ("one", false), ("two", false)] {
        let key = MemoryProvider::key(name);
        let before = seen.attempts(Operation::WrapDek);
        let provider = providers.registry().provider(&key, Purpose::Encrypt).unwrap();
        let error = provider.wrap_dek(&key, &dek(), &FullContext::empty()).await.unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
        assert_eq!(seen.attempts(Operation::WrapDek) > before, key_store_is_asked, "{name}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_one_key_store_goes_before_what_is_said_of_all_setting_by_setting() {
    let place = Place::new();
    let retry = |text: &str| format!("[layers.retry]\nfirst-pause = '1ms'\nattempts = 4\n{text}");
    assert_eq!(attempts_of(&place, &retry("")).await, 4);
    assert_eq!(attempts_of(&place, &retry("[layers.flaky.retry]\nattempts = 2")).await, 2);
    assert_eq!(attempts_of(&place, &retry("[layers.flaky]\nretry = false")).await, 1);
    assert_eq!(attempts_of(&place, &retry("[layers.flaky]\nretry = true")).await, 3, "its defaults");
    assert_eq!(attempts_of(&place, &retry("[layers.aws.retry]\nattempts = 2")).await, 4, "it is another's");
}

#[tokio::test(start_paused = true)]
async fn all_key_stores_have_one_budget_of_retries_whose_reserve_is_ten() {
    let place = Place::new();
    let seen = Arc::new(Seen::default());
    let text = "[layers.retry]\nfirst-pause = '1ms'\nattempts = 2";
    let providers = place.builder(text).observe(seen.clone()).build().unwrap();
    let key = MemoryProvider::key("one");
    let provider = providers.registry().provider(&key, Purpose::Encrypt).unwrap();
    for _ in 0..40 {
        provider.wrap_dek(&key, &dek(), &FullContext::empty()).await.unwrap_err();
    }
    assert_eq!(seen.attempts(Operation::WrapDek), 40 + 10 + 4, "a reserve of ten, and a tenth of the calls");
}

#[tokio::test(start_paused = true)]
async fn the_budget_of_retries_can_be_said_for_the_process() {
    let place = Place::new();
    let seen = Arc::new(Seen::default());
    let text = "[layers]\nretry-budget = { percent = 50, reserve = 2 }\n[layers.retry]\nfirst-pause = '1ms'\nattempts = 2";
    let providers = place.builder(text).observe(seen.clone()).build().unwrap();
    let key = MemoryProvider::key("one");
    let provider = providers.registry().provider(&key, Purpose::Encrypt).unwrap();
    for _ in 0..40 {
        provider.wrap_dek(&key, &dek(), &FullContext::empty()).await.unwrap_err();
    }
    assert_eq!(seen.attempts(Operation::WrapDek), 40 + 2 + 20);
}

/// How often a policy allowed something.
#[derive(Default)]
struct Allowed(AtomicUsize);

impl Decided for Allowed {
    fn decided(&self, _: &Request<'_>, decision: Result<(PolicyId, Option<&str>), &Denied>) {
        self.0.fetch_add(usize::from(decision.is_ok()), Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_of_the_program_answers_by_itself_and_the_policy_is_asked_all_the_same() {
    let place = Place::new();
    let (seen, allowed) = (Arc::new(Seen::default()), Arc::new(Allowed::default()));
    let kept = CacheStore::new(CacheLimits::new(Duration::from_secs(60), 10));
    let policy = PolicyFile::open(place.write("policy.toml", "version = 1\ndefault = 'allow'")).unwrap();
    let builder = place.builder("keys = ['local:main']").observe(seen.clone());
    let builder = builder.policy(policy).decided(allowed.clone());
    let providers = builder.outermost(move |below| Arc::new(Cache::new(below, &kept))).build().unwrap();
    let envelope = Envelope::new(providers.keyring().unwrap());
    let sealed = envelope.encrypt(b"data", &EncryptionContext::new()).await.unwrap();
    let before = allowed.0.load(Ordering::SeqCst);
    for _ in 0..5 {
        assert_eq!(envelope.decrypt(&sealed, &EncryptionContext::new()).await.unwrap(), b"data");
    }
    assert_eq!(seen.attempts(Operation::UnwrapDek), 1, "it answered the others");
    assert!(allowed.0.load(Ordering::SeqCst) >= before + 5, "{before} {:?}", allowed.0);
}

/// A call that is cut off counts as all attempts that the client of its key store makes.
#[tokio::test(start_paused = true)]
async fn how_often_the_client_of_a_key_store_attempts_a_call_is_known_from_its_table() {
    let place = Place::new();
    let layers = "[layers]\ndeadline = '1s'\nretry = { attempts = 6, first-pause = '1ms' }\n";
    for (text, attempts) in [
        ("[flaky]", 2),
        ("[flaky]\nattempts = 1", 6),
        ("[flaky]\nattempts = 2", 3),
        ("[flaky]\nattempts = 0x2", 3),
        ("[flaky]\nattempts = 0", 6),
        ("[layers.flaky]\nclient-attempts = 6\n[flaky]\nattempts = 1", 1),
    ] {
        assert_eq!(attempts_of(&place, &format!("{layers}{text}\nhangs = true")).await, attempts, "{text}");
    }
}

#[test]
fn a_deadline_of_an_attempt_that_is_no_shorter_than_that_of_its_call_is_refused() {
    let place = Place::new();
    for (text, is_refused) in [
        ("deadline = '20s'\nretry = true", true),
        ("deadline = '19s'\nretry = true", false),
        ("deadline = '20s'", false),
        ("deadline = '5s'\nretry = { deadline = '5s' }", true),
        ("deadline = '5s'\nretry = { deadline = '6s' }", false),
        ("deadline = '20s'\nflaky = { retry = true }", true),
        ("deadline = '5s'\nretry = true\nflaky = { deadline = '1m' }", true),
    ] {
        let built = place.builder(&format!("[layers]\n{text}")).build();
        assert_eq!(built.is_err(), is_refused, "{text}");
        if let Err(error) = built {
            let told = error.to_string();
            assert!(told.contains("set a shorter `deadline`, or a longer one in `retry`"), "{told}");
        }
    }
}

#[test]
fn a_deadline_of_an_attempt_that_is_no_shorter_than_that_of_a_keyring_is_refused() {
    let place = Place::new();
    for (layers, keyring, is_refused) in [
        ("deadline = '5s'", "deadline = '3s'", true),
        ("deadline = '5s'", "deadline = '5s'", true),
        ("deadline = '5s'", "deadline = '6s'", false),
        ("deadline = '5s'", "", false),
        ("retry = true", "deadline = '3s'", false),
        ("flaky = { deadline = '5s' }", "deadline = '3s'", true),
        ("local = { deadline = '1s' }", "deadline = '3s'", false),
    ] {
        let built = place.builder(&format!("[keyring]\n{keyring}\n[layers]\n{layers}")).build();
        assert_eq!(built.is_err(), is_refused, "{layers} {keyring}");
        if let Err(error) = built {
            assert!(error.to_string().contains("no second key would be asked"), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_over_all_key_stores_is_none_for_one_that_waits_for_a_person() {
    let place = Place::new();
    // No passphrase is hashed in so short a time.
    for (text, opens) in [("deadline = '1ns'", true), ("local = { deadline = '1ns' }", false)] {
        let providers = place.providers(&format!("[layers]\n{text}"));
        let key = KeyUri::parse("local:main").unwrap();
        let provider = providers.registry().provider(&key, Purpose::Encrypt).unwrap();
        let wrapped = provider.wrap_dek(&key, &dek(), &FullContext::empty()).await;
        assert_eq!(wrapped.is_ok(), opens, "{text}: {:?}", wrapped.err());
    }
}

#[tokio::test]
async fn a_key_that_is_suspended_through_the_registry_opens_nothing_from_the_cache() {
    let place = Place::new();
    let seen = Arc::new(Seen::default());
    let text = "[layers.cache]\nage = '1h'\nentries = 100";
    let providers = place.builder(text).observe(seen.clone()).build().unwrap();
    let key = KeyUri::parse("local:main").unwrap();
    let provider = providers.registry().provider(&key, Purpose::Decrypt).unwrap();
    let context = EncryptionContext::new().with("tenant", "42").full().unwrap();
    let wrapped = provider.wrap_dek(&key, &dek(), &context).await.unwrap();
    for _ in 0..3 {
        provider.unwrap_dek(&wrapped, &context).await.unwrap();
    }
    assert_eq!(seen.attempts(Operation::UnwrapDek), 1, "two were hits");
    let admin = providers.registry().admin(&key).unwrap();
    admin.change_key(&key, None, KeyChange::State(KeyState::Suspended)).await.unwrap();
    let refused = provider.unwrap_dek(&wrapped, &context).await.unwrap_err();
    assert_eq!(refused.kind(), ProviderErrorKind::State);
    assert_eq!(seen.attempts(Operation::ChangeKey), 1, "who manages keys is seen too");
}

#[test]
fn a_table_that_cannot_be_is_refused_with_its_line_and_without_its_values() {
    let place = Place::new();
    for (text, says) in [
        ("cash = true", "unknown field `cash`, expected one of `spans`"),
        ("cache = true", "it does nothing without settings"),
        ("cache = { entries = 10 }", "missing field `age`"),
        ("cache = { age = '4711x', entries = 10 }", "it must be a time such as `5s`"),
        ("cache = { age = 4711, entries = 10 }", "expected a time such as `5s`"),
        ("cache = { age = '5s', entries = -4711 }", "expected usize"),
        ("retry = { attempts = 0 }", "expected a nonzero u32"),
        ("retry = '4711'", "expected a table, true or false"),
        ("retry = { pauses = '4711' }", "unknown field `pauses`"),
        ("breaker = { cool-down = 'soon4711' }", "it must be a time"),
        ("deadline = '0s'", "it must be longer than no time"),
        ("limit = { concurrency = 0 }", "at least one call"),
        ("limit = { requests-per-second = '4711' }", "expected a nonzero u32"),
        ("local = { retries = 4711 }", "unknown field `retries`"),
        ("aws = { retries = 4711 }", "unknown field `retries`"),
        ("flaky = 4711", "expected a table of layers"),
        ("nobody = { retry = true }", "unknown field `nobody`"),
        ("limit = {}", "it limits nothing: set `requests-per-second`"),
        ("limit = { waiting = 4711 }", "it limits nothing: set `requests-per-second`"),
        ("client-attempts = 0", "expected a nonzero u32"),
        ("breaker = { time-outs = 0 }", "expected a nonzero u32"),
        ("retry-budget = { percent = 4711 }", "it must be at most 100"),
        ("retry-budget = { share = 4711 }", "unknown field `share`"),
        ("aws = { retry-budget = { percent = 4711 } }", "unknown field `retry-budget`"),
    ] {
        let error = place.builder(&format!("\n[layers]\n{text}")).build().err().expect(text).to_string();
        assert!(error.contains(says) && error.contains(", line 3"), "{text}: {error}");
        assert!(!error.contains("4711"), "{error}");
    }
    place.providers("[layers]\nspans = true\nmetrics = true\n[layers.aws.limit]\nrequests-per-second = 500\nconcurrency = true");
}

/// How often the key store is asked for a wrap that fails each time.
async fn attempts_of(place: &Place, text: &str) -> usize {
    let seen = Arc::new(Seen::default());
    let providers = place.builder(text).observe(seen.clone()).build().unwrap();
    let key = MemoryProvider::key("one");
    let provider = providers.registry().provider(&key, Purpose::Encrypt).unwrap();
    let error = provider.wrap_dek(&key, &dek(), &FullContext::empty()).await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
    seen.attempts(Operation::WrapDek)
}

fn dek() -> Dek {
    Dek::generate::<DefaultEngine>().unwrap()
}

/// What the key stores were asked.
#[derive(Default)]
struct Seen(Mutex<Vec<Operation>>);

impl Seen {
    fn attempts(&self, operation: Operation) -> usize {
        self.0.lock().unwrap().iter().filter(|seen| **seen == operation).count()
    }
}

impl Observer for Seen {
    fn ended(&self, call: &Call<'_>, _: &[Outcome<'_>], _: Duration) {
        if call.stage == Stage::Attempt {
            self.0.lock().unwrap().push(call.operation);
        }
    }
}

type Place = place::Place<Flaky>;

/// A key store that is never there.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Flaky {
    /// Of its client, as key stores of clouds have it.
    #[allow(dead_code, reason = "its client makes one")]
    attempts: Option<u32>,
    hangs: bool,
}

impl Settings for Flaky {
    const PROVIDER: &'static str = "flaky";

    fn set(&mut self, _: &str, _: OsString) -> Result<(), SettingError> {
        Err(SettingError::Unknown)
    }

    fn into_scheme(self, _: &Surroundings) -> Result<Arc<dyn Scheme>, ProviderError> {
        if self.hangs {
            let hangs = AlteredProvider::new(Arc::new(MemoryProvider::new()));
            return Ok(Arc::new(FlakyScheme(Arc::new(hangs.on_wrap(|_, _, _, _| Box::pin(pending()))))));
        }
        let faults = FaultProvider::new(Arc::new(MemoryProvider::new()));
        faults.fault_wraps(Fault::Fail(ProviderErrorKind::Unavailable));
        Ok(Arc::new(FlakyScheme(Arc::new(faults))))
    }
}

struct FlakyScheme(Arc<dyn KeyProvider>);

impl Scheme for FlakyScheme {
    fn provider(&self) -> &'static str {
        "flaky"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["memory"]
    }

    fn open(&self, _: &KeyUri, _: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        Ok(Arc::clone(&self.0))
    }
}
