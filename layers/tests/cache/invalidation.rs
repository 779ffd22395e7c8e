//! What ends the use of a DEK before its time.

use std::{future::pending, sync::Arc, time::Duration};

use async_trait::async_trait;
use envelope_layers::{Cache, CacheLimits, CacheStore, KeyStateListener, ReportingAdmin};
use envelope_local::{Argon2Params, Keystore, Passphrase};
use envelope_sdk::{
    EncryptionContext, Envelope, KeyAdmin, KeyChange, KeyDescription, KeyProvider, KeyState, KeyUri, Keyring,
    NewKey, ProviderError, ProviderErrorKind, RewrapError,
};
use envelope_testkit::{AlteredProvider, Fault, FaultProvider, MemoryProvider};

use super::{
    cache,
    support::{Spy, context, dropped_after, fresh_dek, key, opens, poll, shared, wrapped},
};

#[tokio::test(start_paused = true)]
async fn invalidating_a_key_drops_it_in_all_partitions_and_no_other_key() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let (one, dek_one) = wrapped(&cache, "one", &context).await;
    let (two, dek_two) = wrapped(&cache, "two", &context).await;
    let partitions = [cache.clone(), cache.partition("acme"), cache.partition("initech")];
    for partition in &partitions {
        opens(partition, &one, &context, &dek_one).await;
        opens(partition, &two, &context, &dek_two).await;
    }
    cache.store().invalidate(&key("one"));
    let stats = cache.store().stats();
    assert_eq!((stats.kept, stats.invalidated, spy.unwraps().len()), (3, 3, 6));
    for partition in &partitions {
        opens(partition, &two, &context, &dek_two).await;
    }
    assert_eq!(spy.unwraps().len(), 6);
    opens(&cache, &one, &context, &dek_one).await;
    assert_eq!(spy.unwraps().len(), 7);
    cache.store().clear();
    assert_eq!(cache.store().stats().kept, 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_invalidated_by_each_of_its_names() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let (one, dek) = wrapped(&cache, "one", &context).await;
    opens(&cache, &one, &context, &dek).await;
    cache.store().invalidate(&key("also-two"));
    assert_eq!(cache.store().stats().kept, 1);
    cache.store().invalidate(&key("also-one"));
    assert_eq!(cache.store().stats().kept, 0);
}

#[tokio::test(start_paused = true)]
async fn an_alias_that_only_the_key_store_can_tell_drops_all_of_its_scheme() {
    let (keystore, _folder) = keystore();
    let cache = Cache::new(Arc::clone(&keystore), &super::store());
    let (key, context) = (keystore.create_key(&NewKey::named("orders")).await.unwrap().uri, context("acme"));
    let (dek, wrapped) = cache.generate_dek(&key, &context).await.unwrap();
    opens(&cache, &wrapped, &context, &dek).await;
    cache
        .store()
        .invalidate(&KeyUri::parse("awskms:///arn:aws:kms:eu-central-1:111122223333:alias/a").unwrap());
    assert_eq!(cache.store().stats().kept, 1);
    cache.store().invalidate(&KeyUri::parse("local:whatever").unwrap());
    assert_eq!(cache.store().stats().kept, 0);
}

fn arn(region: &str, name: &str) -> KeyUri {
    KeyUri::parse(&format!("awskms:///arn:aws:kms:{region}:111122223333:{name}")).unwrap()
}

/// Keys of two regions, and an alias of the first of them.
fn regions() -> Arc<AlteredProvider> {
    let memory = MemoryProvider::new();
    let keys = [arn("eu-central-1", "key/one"), arn("eu-central-1", "key/two"), arn("us-east-1", "key/one")];
    let memory = keys.iter().fold(memory, MemoryProvider::with_key);
    let meant = |key: &KeyUri| match key.as_str().ends_with(":alias/orders") {
        true => arn("eu-central-1", "key/one"),
        false => key.clone(),
    };
    let denied = |key: &KeyUri| {
        key.as_str()
            .ends_with(":alias/nobody")
            .then(|| ProviderError::new(ProviderErrorKind::NotFound, "aws", key, "there is no such alias"))
    };
    let altered = AlteredProvider::new(Arc::new(memory))
        .on_resolve(move |_, key| Box::pin(async move { denied(key).map_or_else(|| Ok(meant(key)), Err) }))
        .on_wrap(move |below, key, dek, context| {
            Box::pin(async move {
                match (denied(key), context.entries().any(|(name, _)| name == "denied")) {
                    (Some(error), _) => Err(error),
                    (None, true) => {
                        Err(ProviderError::new(ProviderErrorKind::AccessDenied, "aws", key, "no"))
                    }
                    (None, false) => below.wrap_dek(&meant(key), dek, context).await,
                }
            })
        });
    Arc::new(altered)
}

#[tokio::test(start_paused = true)]
async fn an_alias_of_aws_that_is_invalidated_drops_what_is_of_its_account_and_region() {
    let (cache, context) = (Cache::new(regions(), &super::store()), context("acme"));
    for (region, name) in [("eu-central-1", "key/one"), ("eu-central-1", "key/two"), ("us-east-1", "key/one")]
    {
        let dek = fresh_dek();
        let wrapped = cache.wrap_dek(&arn(region, name), &dek, &context).await.unwrap();
        opens(&cache, &wrapped, &context, &dek).await;
    }
    cache.store().invalidate(&arn("eu-west-1", "alias/orders"));
    assert_eq!(cache.store().stats().kept, 3);
    cache.store().invalidate(&arn("eu-central-1", "alias/orders"));
    assert_eq!(cache.store().stats().kept, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_alias_drops_the_deks_of_the_key_that_it_meant_and_one_that_never_worked_none() {
    let denied = EncryptionContext::new().with("denied", "").full().unwrap();
    for learn_by in ["resolve", "wrap"] {
        let (cache, context) = (Cache::new(regions(), &super::store()), context("acme"));
        for (region, name) in
            [("eu-central-1", "key/one"), ("eu-central-1", "key/two"), ("us-east-1", "key/one")]
        {
            let dek = fresh_dek();
            let wrapped = cache.wrap_dek(&arn(region, name), &dek, &context).await.unwrap();
            opens(&cache, &wrapped, &context, &dek).await;
        }
        let (alias, nobody) = (arn("eu-central-1", "alias/orders"), arn("eu-central-1", "alias/nobody"));
        cache.wrap_dek(&nobody, &fresh_dek(), &context).await.unwrap_err();
        cache.resolve(&nobody).await.unwrap_err();
        cache.wrap_dek(&alias, &fresh_dek(), &denied).await.unwrap_err();
        assert_eq!(cache.store().stats().kept, 3, "nothing is known of what they mean");
        match learn_by {
            "resolve" => drop(cache.resolve(&alias).await.unwrap()),
            _ => drop(cache.wrap_dek(&alias, &fresh_dek(), &context).await.unwrap()),
        }
        cache.wrap_dek(&alias, &fresh_dek(), &denied).await.unwrap_err();
        assert_eq!(cache.store().stats().kept, 2, "{learn_by}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dek_that_was_found_to_be_wrong_is_asked_for_again_and_no_other() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let (one, dek_one) = wrapped(&cache, "one", &context).await;
    let (other, dek_other) = wrapped(&cache, "one", &context).await;
    let partition = cache.partition("initech");
    for provider in [&cache, &partition] {
        opens(provider, &one, &context, &dek_one).await;
        opens(provider, &other, &context, &dek_other).await;
    }
    cache.refuted(&one, &context);
    assert_eq!((cache.store().stats().kept, cache.store().stats().invalidated), (3, 1));
    opens(&cache, &one, &context, &dek_one).await;
    assert_eq!(spy.unwraps().len(), 5);
    // What is under way may be as wrong.
    cache.refuted(&one, &context);
    spy.close();
    let mut under_way = cache.unwrap_dek(&one, &context);
    assert!(poll(&mut under_way).is_pending());
    cache.refuted(&one, &context);
    spy.open();
    under_way.await.unwrap();
    assert_eq!(cache.store().stats().kept, 3);
}

#[tokio::test(start_paused = true)]
async fn whoever_refutes_one_dek_keeps_no_other_from_being_kept() {
    let spy = shared(Spy::new());
    let limits = CacheLimits::new(Duration::from_secs(60), 10).keep_generated(true);
    let (cache, context) = (Cache::new(Arc::clone(&spy), &CacheStore::new(limits)), context("acme"));
    let (one, _) = wrapped(&cache, "one", &context).await;
    let key = key("one");
    spy.close();
    let mut made = cache.generate_dek(&key, &context);
    assert!(poll(&mut made).is_pending());
    cache.refuted(&one, &context);
    spy.open();
    made.await.unwrap();
    assert_eq!(cache.store().stats().kept, 1);
}

/// A key store that once gave another DEK: the envelope does not open, and the next time it does.
#[tokio::test(start_paused = true)]
async fn a_wrong_dek_opens_nothing_and_does_not_stay() {
    let spy = shared(Spy::new());
    let faulty = Arc::new(FaultProvider::new(Arc::clone(&spy) as Arc<dyn KeyProvider>));
    let cache = Cache::new(Arc::clone(&faulty), &super::store());
    let store = cache.store().clone();
    let envelope = Envelope::new(Keyring::new().both(Arc::new(cache), key("one")));
    let context = EncryptionContext::new().with("tenant", "acme");
    let sealed = envelope.encrypt(b"attack at dawn", &context).await.unwrap();
    faulty.fault_unwraps(Fault::OtherDek);
    envelope.decrypt(&sealed, &context).await.unwrap_err();
    assert_eq!(store.stats().kept, 0);
    faulty.fault_unwraps(None);
    assert_eq!(envelope.decrypt(&sealed, &context).await.unwrap(), b"attack at dawn");
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_when_its_key_was_invalidated_is_told_and_not_kept() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let (one, dek_one) = wrapped(&cache, "one", &context).await;
    let (two, dek_two) = wrapped(&cache, "two", &context).await;
    spy.close();
    let mut before = cache.unwrap_dek(&one, &context);
    let mut other = cache.unwrap_dek(&two, &context);
    assert!(poll(&mut before).is_pending() && poll(&mut other).is_pending());
    cache.store().invalidate(&key("one"));
    let mut after = cache.unwrap_dek(&one, &context);
    assert!(poll(&mut after).is_pending());
    assert_eq!(spy.unwraps().len(), 3, "who comes after it does not join the call of before");
    spy.open();
    assert_eq!(before.await.unwrap().expose(), dek_one.expose());
    assert_eq!(cache.store().stats().kept, 0);
    assert_eq!(other.await.unwrap().expose(), dek_two.expose());
    assert_eq!(after.await.unwrap().expose(), dek_one.expose());
    assert_eq!(cache.store().stats().kept, 2);
}

#[tokio::test(start_paused = true)]
async fn a_generated_dek_is_not_kept_if_its_key_was_invalidated_meanwhile() {
    let (spy, context) = (shared(Spy::new()), context("acme"));
    let limits = CacheLimits::new(super::HOUR, 10).keep_generated(true);
    let cache = Cache::new(Arc::clone(&spy), &CacheStore::new(limits));
    spy.close();
    let one = key("one");
    let mut generating = cache.generate_dek(&one, &context);
    assert!(poll(&mut generating).is_pending());
    cache.store().invalidate(&one);
    spy.open();
    generating.await.unwrap();
    assert_eq!(cache.store().stats().kept, 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_key_drops_its_deks_and_another_failure_does_not() {
    use ProviderErrorKind::{
        AccessDenied, Invalid, NotFound, Other, Protocol, State, Throttled, Unauthentic, Unavailable,
        Unsupported,
    };
    let context = context("acme");
    let kinds = [
        (State, 0),
        (NotFound, 0),
        (AccessDenied, 0),
        (Unauthentic, 1),
        (Unavailable, 1),
        (Throttled, 1),
        (Unsupported, 1),
        (Protocol, 1),
        (Invalid, 1),
        (Other, 1),
    ];
    for (kind, kept) in kinds {
        for call in ["unwrap", "unwrap several", "wrap", "generate"] {
            let spy = shared(Spy::new());
            let cache = cache(&spy);
            let (one, dek_one) = wrapped(&cache, "one", &context).await;
            let (again, _) = wrapped(&cache, "one", &context).await;
            let (two, dek_two) = wrapped(&cache, "two", &context).await;
            opens(&cache, &one, &context, &dek_one).await;
            opens(&cache.partition("acme"), &two, &context, &dek_two).await;
            spy.fail(kind);
            let told = match call {
                "unwrap" => cache.unwrap_dek(&again, &context).await.map(drop),
                "unwrap several" => {
                    let wraps = [(&one, &context), (&again, &context)];
                    cache.unwrap_deks(&wraps).await.pop().unwrap().map(drop)
                }
                "wrap" => cache.wrap_dek(&key("one"), &dek_one, &context).await.map(drop),
                _ => cache.generate_dek(&key("one"), &context).await.map(drop),
            };
            assert_eq!(told.unwrap_err().kind(), kind);
            assert_eq!(cache.store().stats().kept, kept + 1, "{call}: {kind:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_rewrap_drops_the_deks_of_both_keys() {
    let (spy, context) = (shared(Spy::new()), context("acme"));
    let faulty = Arc::new(FaultProvider::new(Arc::clone(&spy) as Arc<dyn KeyProvider>));
    let cache = Cache::new(Arc::clone(&faulty), &super::store());
    let (one, dek_one) = wrapped(&cache, "one", &context).await;
    let (two, dek_two) = wrapped(&cache, "two", &context).await;
    opens(&cache, &one, &context, &dek_one).await;
    opens(&cache, &two, &context, &dek_two).await;
    faulty.fault_rewraps(Fault::Fail(ProviderErrorKind::State));
    let told = cache.rewrap_dek(&one, &key("two"), &context).await.unwrap_err();
    assert_eq!((told.kind(), cache.store().stats().kept), (ProviderErrorKind::State, 0));
}

#[tokio::test(start_paused = true)]
async fn reports_of_held_back_compromised_and_destroyed_keys_drop_them_at_once() {
    let context = context("acme");
    for state in KeyState::ALL {
        let spy = shared(Spy::new());
        let cache = cache(&spy);
        let (wrapped, dek) = wrapped(&cache, "one", &context).await;
        opens(&cache, &wrapped, &context, &dek).await;
        cache.store().report(&key("one"), state);
        let stays = matches!(state, KeyState::Active | KeyState::Deactivated);
        assert_eq!(cache.store().stats().kept, usize::from(stays), "{state}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_this_process_suspends_opens_nothing_from_then_on() {
    let (keystore, _folder) = keystore();
    let cache = Cache::new(Arc::clone(&keystore), &super::store());
    let admin = ReportingAdmin::new(Arc::clone(&keystore)).tell(cache.store().clone());
    let context = context("acme");
    for name in ["by its URI", "by its name"] {
        let by_uri = name == "by its URI";
        let key = admin.create_key(&NewKey::named(if by_uri { "one" } else { "two" })).await.unwrap().uri;
        let configured = if by_uri { key.clone() } else { KeyUri::parse("local:two").unwrap() };
        let (dek, wrapped) = cache.generate_dek(&key, &context).await.unwrap();
        opens(&cache, &wrapped, &context, &dek).await;
        opens(&cache, &wrapped, &context, &dek).await;
        assert_eq!(cache.store().stats().kept, 1);
        admin.change_key(&configured, None, KeyChange::State(KeyState::Suspended)).await.unwrap();
        assert_eq!(cache.store().stats().kept, 0, "{name}");
        let refused = cache.unwrap_dek(&wrapped, &context).await.unwrap_err();
        assert_eq!(refused.kind(), ProviderErrorKind::State, "{name}");
        admin.change_key(&configured, None, KeyChange::State(KeyState::Active)).await.unwrap();
        opens(&cache, &wrapped, &context, &dek).await;
        cache.store().clear();
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_failed_or_was_dropped_is_reported_too() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let (wrapped, dek) = wrapped(&cache, "one", &context).await;
    let suspend = KeyChange::State(KeyState::Suspended);
    for (fails, kept) in [(true, 0), (false, 0)] {
        let admin = ReportingAdmin::new(Stuck { fails }).tell(cache.store().clone());
        opens(&cache, &wrapped, &context, &dek).await;
        match dropped_after(3, admin.change_key(&key("one"), None, suspend)).await {
            Some(told) => assert_eq!(told.unwrap_err().kind(), ProviderErrorKind::Unavailable),
            None => assert!(!fails),
        }
        assert_eq!(cache.store().stats().kept, kept);
    }
    opens(&cache, &wrapped, &context, &dek).await;
    let admin = ReportingAdmin::new(Stuck { fails: true }).tell(cache.store().clone());
    admin.change_key(&key("one"), None, KeyChange::Archive).await.unwrap_err();
    assert_eq!(cache.store().stats().kept, 1, "an archived key is in no other state");
}

/// The new wrap is opened by the key store, not by the cache.
#[tokio::test(start_paused = true)]
async fn a_rewrap_to_a_key_that_gives_back_another_dek_is_refused_behind_a_cache() {
    let spy = shared(Spy::new());
    let faulty = Arc::new(FaultProvider::new(Arc::clone(&spy) as Arc<dyn KeyProvider>));
    let limits = CacheLimits::new(super::HOUR, 10).keep_generated(true);
    let cache = Cache::new(Arc::clone(&faulty), &CacheStore::new(limits));
    let cache: Arc<dyn KeyProvider> = Arc::new(cache);
    let old = Envelope::new(Keyring::new().both(Arc::clone(&cache), key("one")));
    let new =
        Envelope::new(Keyring::new().encrypt(Arc::clone(&cache), key("two")).decrypt(cache, key("one")));
    let context = EncryptionContext::new().with("tenant", "acme");
    let sealed = old.encrypt(b"attack at dawn", &context).await.unwrap();
    faulty.fault_wraps(Fault::OtherDek);
    let refused = new.rewrap(&sealed, &context).await.unwrap_err();
    assert!(matches!(refused, RewrapError::WrapNotVerified { key: of } if of == key("two")));
    faulty.fault_wraps(None);
    new.rewrap(&sealed, &context).await.unwrap();
}

fn keystore() -> (Arc<Keystore>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let passphrase = Passphrase::new("correct horse".into()).unwrap();
    let path = folder.path().join("keys.json");
    (Arc::new(Keystore::create_with(path, &passphrase, Argon2Params::MINIMUM).unwrap()), folder)
}

/// Manages a key store that does not answer, or answers that it is away.
struct Stuck {
    fails: bool,
}

#[async_trait]
impl KeyAdmin for Stuck {
    fn provider(&self) -> &'static str {
        "stuck"
    }

    async fn change_key(
        &self,
        key: &KeyUri,
        _version: Option<&str>,
        _change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        if self.fails {
            return Err(ProviderError::new(ProviderErrorKind::Unavailable, "stuck", key, "away"));
        }
        pending().await
    }
}
