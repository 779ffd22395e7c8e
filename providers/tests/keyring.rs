//! `[keyring]` of a configuration, over a key store of this test in tokio's paused time, and what a service that is
//! configured by a file reaches.

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
    sync::{Arc, Mutex},
    time::Duration,
};

use envelope_layers::KeyStateListener;
use envelope_policy::PolicyFile;
use envelope_sdk::{
    EncryptError, EncryptionContext, Envelope, FullContext, KeyChange, KeyProvider, KeyState, KeyUri,
    Keyring, KeyringEvent, ProviderError, ProviderErrorKind, WrapPolicy,
    registry::{Purpose, Scheme, SettingError, Settings, Surroundings},
};
use envelope_testkit::{AlteredProvider, MemoryProvider};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn without_the_table_a_keyring_is_as_it_is() {
    let place = Place::new();
    let providers = place.providers("keys = ['memory:slow', 'memory:fast']");
    assert_eq!(providers.wrap_policy(), WrapPolicy::All);
    let sealed = seal(providers.keyring().unwrap()).await;
    assert_eq!(opens_in(&providers.keyring().unwrap(), &sealed).await, Some(5000));
}

#[tokio::test(start_paused = true)]
async fn the_order_is_that_of_the_file_if_it_says_so() {
    let place = Place::new();
    let sealed = seal(place.providers("keys = ['memory:slow', 'memory:fast']").keyring().unwrap()).await;
    for (order, took) in [("keyring", 0), ("header", 5000)] {
        let text = format!("keys = ['memory:fast', 'memory:slow']\n[keyring]\norder = '{order}'");
        assert_eq!(
            opens_in(&place.providers(&text).keyring().unwrap(), &sealed).await,
            Some(took),
            "{order}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn every_keyring_has_the_deadline_and_the_hedging() {
    let place = Place::new();
    let keys = "keys = ['memory:slow', 'memory:fast']\n[keyring]\n";
    let sealed = seal(place.providers(keys).keyring().unwrap()).await;
    for (text, took) in [
        ("hedging = true", Some(250)),
        ("hedging = { first-delay = '70ms' }", Some(70)),
        ("hedging = { first-delay = '70ms', least-delay = '3s' }", Some(3000)),
        ("hedging = { first-delay = '70ms', longest-delay = '20ms' }", Some(20)),
        ("hedging = false", Some(5000)),
        ("deadline = '2s'", None),
        ("deadline = '2s'\nhedging = true", Some(250)),
    ] {
        let providers = place.providers(&format!("{keys}{text}"));
        let named = ["memory:slow".to_owned(), "memory:fast".to_owned()];
        for keyring in [
            providers.keyring(),
            providers.keyring_to_decrypt(&[]),
            providers.keyring_to_decrypt(&named),
            providers.keyring_to_rewrap(&[], &named),
        ] {
            assert_eq!(opens_in(&keyring.unwrap(), &sealed).await, took, "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_keyrings_share_what_hedges_there_may_be() {
    let place = Place::new();
    let text = "keys = ['memory:slow', 'memory:fast']\n[keyring]\nhedging = { percent = 0 }";
    let providers = place.providers(text);
    let sealed = seal(providers.keyring().unwrap()).await;
    let mut hedged = 0;
    for _ in 0..20 {
        hedged += usize::from(opens_in(&providers.keyring().unwrap(), &sealed).await == Some(250));
    }
    assert_eq!(hedged, 10, "the ten of the start");
}

#[tokio::test(start_paused = true)]
async fn a_key_may_be_missing_where_the_file_says_so() {
    let place = Place::new();
    let keys = "keys = ['memory:away', 'memory:fast']\n[keyring]\n";
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let listener = move |event: &KeyringEvent<'_>| match event {
        KeyringEvent::WrapMissing { key, .. } => hears.lock().unwrap().push(key.key.to_string()),
        other => panic!("{other:?}"),
    };
    let providers =
        place.builder(&format!("{keys}wrap-at-least = 1")).tell(Arc::new(listener)).build().unwrap();
    assert_eq!(providers.wrap_policy(), WrapPolicy::AtLeast(1));
    let envelope = Envelope::new(providers.keyring().unwrap());
    let context = EncryptionContext::new();
    let made = envelope.reporting(providers.wrap_policy()).encrypt(b"data", &context).await.unwrap();
    assert_eq!(made.missing()[0].key, MemoryProvider::key("away"));
    assert_eq!(*heard.lock().unwrap(), ["memory:away"]);

    for text in ["", "wrap = 'all'"] {
        let providers = place.providers(&format!("{keys}{text}"));
        assert_eq!(providers.wrap_policy(), WrapPolicy::All, "{text}");
    }
    let too_many = place.providers(&format!("{keys}wrap-at-least = 3"));
    let envelope = Envelope::new(too_many.keyring().unwrap());
    let error = envelope.reporting(too_many.wrap_policy()).encrypt(b"data", &context).await.unwrap_err();
    assert!(matches!(error, EncryptError::TooFewKeys { at_least: 3, configured: 2 }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rewrap_has_all_its_keys_also_where_new_envelopes_may_miss_some() {
    let place = Place::new();
    let two = "version = 1\n[[rule]]\nname = 'two'\neffect = 'allow'\nrequire = { recipients = 2 }";
    let rules = place.write("policy.toml", two);
    let text = "keys = ['memory:slow', 'memory:fast']\n[keyring]\nwrap-at-least = 1";
    let sealed = seal(place.providers(text).keyring().unwrap()).await;
    let providers = place.builder(text).policy(PolicyFile::open(&rules).unwrap()).build().unwrap();
    let rewraps = Envelope::new(providers.keyring_to_rewrap(&[], &[]).unwrap());
    rewraps.rewrap(&sealed, &EncryptionContext::new()).await.unwrap();
    // A new one may have a single recipient.
    let encrypts = Envelope::new(providers.keyring_to_encrypt(&[]).unwrap());
    let error = encrypts.encrypt(b"data", &EncryptionContext::new()).await.unwrap_err();
    assert!(error.to_string().contains("two"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_a_profile_says_goes_before_the_file_setting_by_setting() {
    let place = Place::new();
    let text = "keys = ['memory:slow', 'memory:fast']\n\
                [keyring]\nhedging = true\nwrap-at-least = 1\n\
                [profiles.patient]\nkeyring = { hedging = false, order = 'keyring' }\n\
                [profiles.whole.keyring]\nwrap = 'all'\n[profiles.plain]";
    let sealed = seal(place.providers(text).keyring().unwrap()).await;
    for (profile, took, wrap) in [
        ("patient", 5000, WrapPolicy::AtLeast(1)),
        ("whole", 250, WrapPolicy::All),
        ("plain", 250, WrapPolicy::AtLeast(1)),
    ] {
        let providers = place.builder(text).profile(profile).build().unwrap();
        assert_eq!(opens_in(&providers.keyring().unwrap(), &sealed).await, Some(took), "{profile}");
        assert_eq!(providers.wrap_policy(), wrap, "{profile}");
    }
}

#[test]
fn a_table_that_cannot_be_is_refused_with_its_line_and_without_its_values() {
    let place = Place::new();
    for (text, says) in [
        ("keyring.hedge = 4711", "unknown field `hedge`, expected one of `order`"),
        ("keyring.order = 'x4711'", "unknown word …, expected `header` or `keyring`"),
        ("keyring.deadline = '4711x'", "it must be a time such as `5s`"),
        ("keyring.deadline = '0s'", "it must be a time such as `5s`"),
        ("keyring.deadline = 4711", "expected a string"),
        ("keyring.hedging = 4711", "expected a table, true or false"),
        ("keyring.hedging = { percent = 4711 }", "expected u8"),
        ("keyring.hedging = { after = '4711s' }", "unknown field `after`"),
        ("keyring.wrap = 'x4711'", "unknown word …, expected `all`"),
        ("keyring.wrap-at-least = 0", "expected a nonzero usize"),
        ("keyring = { wrap = 'all', wrap-at-least = 4711 }", "either `wrap` or `wrap-at-least`, not both"),
        ("keyring = 4711", "expected a table"),
        ("profiles.x.keyring.hedge = 4711", "unknown field `hedge`"),
        ("profiles.x.layers.retry = true", "unknown field `layers`"),
    ] {
        let error = place.builder(&format!("\n\n{text}")).build().err().expect(text).to_string();
        assert!(error.contains(says) && error.contains(", line 3"), "{text}: {error}");
        assert!(!error.contains("4711"), "{error}");
    }
}

// What a service reaches

#[tokio::test]
async fn a_service_reaches_the_caches_of_the_file() {
    let place = Place::new();
    assert_eq!(place.providers("").caches().iter().count(), 0);
    let providers = place.providers("[layers.local.cache]\nage = '1h'\nentries = 100");
    let caches = providers.caches();
    let hits_and_misses = || {
        let all: Vec<_> = caches.iter().map(|(provider, store)| (provider, store.stats())).collect();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].0, "local");
        (all[0].1.hits, all[0].1.misses)
    };
    let key = KeyUri::parse("local:main").unwrap();
    let keyring =
        Keyring::new().both(providers.registry().provider(&key, Purpose::Decrypt).unwrap(), key.clone());
    let sealed = seal(keyring.clone()).await;
    for expected in [(0, 1), (1, 1)] {
        assert!(opens_in(&keyring, &sealed).await.is_some());
        assert_eq!(hits_and_misses(), expected);
    }
    let header = Envelope::inspect(&sealed).unwrap();
    caches.invalidate(header.recipients()[0].key_uri());
    assert!(opens_in(&keyring, &sealed).await.is_some());
    assert_eq!(hits_and_misses(), (1, 2), "forgotten");
    caches.clear();
    assert!(opens_in(&keyring, &sealed).await.is_some());
    assert_eq!(hits_and_misses(), (1, 3), "all forgotten");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_purged_by_a_task_until_the_providers_are_gone() {
    let place = Place::new();
    let providers = place.providers("[layers.test.cache]\nage = '10s'\nentries = 100");
    let task = tokio::spawn(providers.caches().purge_as_it_expires());
    let key = MemoryProvider::key("fast");
    let keyring = Keyring::new().both(providers.registry().provider(&key, Purpose::Decrypt).unwrap(), key);
    let sealed = seal(keyring.clone()).await;
    assert_eq!(opens_in(&keyring, &sealed).await, Some(0));
    let kept = || providers.caches().iter().map(|(_, store)| store.stats().kept).sum::<usize>();
    assert_eq!(kept(), 1);
    sleep(Duration::from_secs(16)).await;
    assert_eq!(kept(), 0);
    drop((keyring, providers));
    task.await.unwrap();
}

#[tokio::test]
async fn a_listener_hears_of_a_key_that_is_suspended_through_the_registry() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<KeyState>>);
    impl KeyStateListener for Heard {
        fn report(&self, _: &KeyUri, state: KeyState) {
            self.0.lock().unwrap().push(state);
        }
    }
    let place = Place::new();
    let heard = Arc::new(Heard::default());
    let providers = place.builder("").report_to(heard.clone()).build().unwrap();
    let key = KeyUri::parse("local:main").unwrap();
    let admin = providers.registry().admin(&key).unwrap();
    admin.change_key(&key, None, KeyChange::State(KeyState::Suspended)).await.unwrap();
    assert_eq!(*heard.0.lock().unwrap(), [KeyState::Suspended]);
}

async fn seal(keyring: Keyring) -> Vec<u8> {
    Envelope::new(keyring).encrypt(b"data", &EncryptionContext::new()).await.unwrap()
}

/// After how many milliseconds it opens, if it does.
async fn opens_in(keyring: &Keyring, sealed: &[u8]) -> Option<u128> {
    let began = Instant::now();
    let opened = Envelope::new(keyring.clone()).decrypt(sealed, &EncryptionContext::new()).await.ok()?;
    assert_eq!(opened, b"data");
    Some(began.elapsed().as_millis())
}

type Place = place::Place<Test>;

/// A key store with the keys `memory:fast`, `memory:slow`, which takes 5 s to unwrap, and `memory:away`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Test {}

impl Settings for Test {
    const PROVIDER: &'static str = "test";

    fn set(&mut self, _: &str, _: OsString) -> Result<(), SettingError> {
        Err(SettingError::Unknown)
    }

    fn into_scheme(self, _: &Surroundings) -> Result<Arc<dyn Scheme>, ProviderError> {
        Ok(Arc::new(TestScheme))
    }
}

struct TestScheme;

impl Scheme for TestScheme {
    fn provider(&self) -> &'static str {
        "test"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["memory"]
    }

    fn open(&self, _: &KeyUri, _: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        static KEYS: std::sync::OnceLock<Arc<dyn KeyProvider>> = std::sync::OnceLock::new();
        let open = || -> Arc<dyn KeyProvider> {
            let names = ["fast", "slow", "away"].map(MemoryProvider::key);
            let memory = names.iter().fold(MemoryProvider::new(), MemoryProvider::with_key);
            let altered =
                AlteredProvider::new(Arc::new(memory)).on_unwrap(|below, wrapped, context: &FullContext| {
                    Box::pin(async move {
                        if *wrapped.key_uri() == MemoryProvider::key("slow") {
                            sleep(Duration::from_secs(5)).await;
                        }
                        below.unwrap_dek(wrapped, context).await
                    })
                });
            Arc::new(altered.on_wrap(|below, key, dek, context| {
                Box::pin(async move {
                    if *key == MemoryProvider::key("away") {
                        return Err(ProviderError::new(ProviderErrorKind::Unavailable, "test", key, "away"));
                    }
                    below.wrap_dek(key, dek, context).await
                })
            }))
        };
        Ok(Arc::clone(KEYS.get_or_init(open)))
    }
}
