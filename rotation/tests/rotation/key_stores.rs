//! What a job asks of key stores, and how often.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use envelope_rotation::{Goal, Job, Key, KeyStores, Memory, Shard};
use envelope_sdk::{
    ContextBinding, Dek, EncryptionContext, Envelope, FullContext, KeyProvider, KeyUri, Keyring,
    ProviderError, ProviderIdentity, WrappedDek,
};
use envelope_testkit::MemoryProvider;
use tokio::time::{Duration, Instant};

use crate::{Keys, a_to_b, run, uri};

fn memory(names: &[&str]) -> MemoryProvider {
    let with = |provider: MemoryProvider, name: &&str| provider.with_key(&MemoryProvider::key(name));
    names.iter().fold(MemoryProvider::new(), with)
}

fn key(provider: &Arc<MemoryProvider>, name: &str) -> Key {
    Key::new(provider.clone(), MemoryProvider::key(name))
}

/// `count` envelopes that each of the keys opens.
async fn source_of(count: usize, keys: &[(&Arc<MemoryProvider>, &str)]) -> Arc<Memory> {
    let add = |keyring: Keyring, (provider, name): &(&Arc<MemoryProvider>, &str)| {
        keyring.encrypt(Arc::clone(*provider) as _, MemoryProvider::key(name))
    };
    let envelope = Envelope::new(keys.iter().fold(Keyring::new(), add));
    let source = Memory::new();
    for number in 0..count {
        source.put(number.to_string(), envelope.encrypt(b"x", &EncryptionContext::new()).await.unwrap());
    }
    Arc::new(source)
}

#[tokio::test]
async fn a_wrap_that_many_headers_share_is_unwrapped_once() {
    let keys = Keys::new();
    let source = Memory::new();
    let sealed = keys.envelope("a").encrypt(b"one", &EncryptionContext::new()).await.unwrap();
    for copy in 0..200 {
        source.put(format!("copy-{copy}"), sealed.clone());
    }
    let source = Arc::new(source);
    let (unwraps, wraps) = (keys.0.unwraps(), keys.0.wraps());
    let report = run(Job::new(source.clone(), a_to_b(&keys))).await;
    assert_eq!(report.totals.rewrapped, 200);
    // The shared wrap once; each new wrap is made, and unwrapped at the key store before it counts.
    assert_eq!(keys.0.unwraps() - unwraps, 1 + 200);
    assert_eq!(keys.0.wraps() - wraps, 1 + 200);
    assert_eq!(report.calls["memory"], 1 + 1 + 200 + 200);
    for copy in 0..200 {
        let sealed = source.envelope(format!("copy-{copy}")).unwrap();
        let opened = keys.envelope("b").decrypt(&sealed, &EncryptionContext::new()).await;
        assert_eq!(opened.unwrap(), b"one");
    }
}

#[tokio::test]
async fn keys_of_a_key_store_that_rewraps_take_two_calls_each_and_no_dek_comes_here_but_to_be_verified() {
    let provider = Arc::new(memory(&["a", "b"]).that_rewraps());
    let source = source_of(50, &[(&provider, "a")]).await;
    let (wraps, unwraps) = (provider.wraps(), provider.unwraps());
    let goal = Goal::only(vec![key(&provider, "b")]).open_with(vec![key(&provider, "a")]);
    let report = run(Job::new(source, goal)).await;
    assert_eq!(report.totals.rewrapped, 50);
    assert_eq!(provider.rewraps(), 50);
    assert_eq!(provider.wraps() - wraps, 1, "only to learn the version");
    assert_eq!(provider.unwraps() - unwraps, 50, "only of the new wraps");
    assert_eq!(report.calls["memory"], 1 + 100);
}

#[tokio::test]
async fn calls_are_spread_over_the_key_stores_of_the_recipients() {
    let stores = [0, 1].map(|_| Arc::new(memory(&["one", "two"])));
    let [first, second] = &stores;
    let target = Arc::new(memory(&["new"]));
    let source = source_of(400, &[(first, "one"), (second, "two")]).await;
    let job = || {
        let goal =
            Goal::only(vec![key(&target, "new")]).open_with(vec![key(first, "one"), key(second, "two")]);
        Job::new(source.clone(), goal)
    };
    let report = run(job().shard(Shard::new(1, 2).unwrap())).await;
    assert!((150..250).contains(&report.totals.rewrapped), "{report}");
    let of_a_shard = first.unwraps();
    assert_eq!(report.totals.rewrapped, (first.unwraps() + second.unwraps()) as u64);
    assert!((60..140).contains(&of_a_shard), "a shard asks both: {of_a_shard}");
    assert_eq!(run(job()).await.totals.failed, 0);
    assert_eq!(first.unwraps() + second.unwraps(), 400);
    assert!((160..240).contains(&first.unwraps()), "{} of 400", first.unwraps());
}

#[tokio::test]
async fn a_key_store_that_can_rewrap_inside_is_asked_before_one_that_cannot() {
    let rewrapping = Arc::new(memory(&["old", "new"]).that_rewraps());
    let other = Arc::new(memory(&["other"]));
    let source = source_of(100, &[(&other, "other"), (&rewrapping, "old")]).await;
    let goal = Goal::only(vec![key(&rewrapping, "new")])
        .open_with(vec![key(&other, "other"), key(&rewrapping, "old")]);
    assert_eq!(run(Job::new(source, goal)).await.totals.rewrapped, 100);
    assert_eq!((rewrapping.rewraps(), other.unwraps()), (100, 0));
}

#[tokio::test]
async fn calls_of_a_reencryption_are_spread_since_nothing_is_rewrapped_inside() {
    let (first, second) = (Arc::new(memory(&["one", "new"])), Arc::new(memory(&["two"])));
    let source = source_of(100, &[(&first, "one"), (&second, "two")]).await;
    let goal = Goal::only(vec![key(&first, "new")]).open_with(vec![key(&first, "one"), key(&second, "two")]);
    assert_eq!(run(Job::new(source, goal.reencrypting())).await.totals.reencrypted, 100);
    assert!((30..70).contains(&second.unwraps()), "{} of 100", second.unwraps());
}

#[tokio::test]
async fn a_key_store_that_is_away_leaves_its_part_to_the_other() {
    let (there, target) = (Arc::new(memory(&["two"])), Arc::new(memory(&["new"])));
    let away = Arc::new(memory(&["one"]));
    let source = source_of(40, &[(&away, "one"), (&there, "two")]).await;
    // Another one of the same name, which opens nothing.
    let stranger = Arc::new(memory(&["one"]));
    let goal =
        Goal::only(vec![key(&target, "new")]).open_with(vec![key(&stranger, "one"), key(&there, "two")]);
    assert_eq!(run(Job::new(source, goal)).await.totals.rewrapped, 40);
    assert_eq!(there.unwraps(), 40);
}

/// Notes when it is called, and answers after a while.
struct Timed {
    inner: MemoryProvider,
    called: Mutex<Vec<Instant>>,
    resolved: AtomicUsize,
}

impl Timed {
    async fn call(&self) {
        self.called.lock().unwrap().push(Instant::now());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[async_trait]
impl KeyProvider for Timed {
    fn name(&self) -> &'static str {
        "timed"
    }
    fn identity(&self) -> Option<ProviderIdentity> {
        self.inner.identity()
    }
    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        self.inner.context_binding(wrapped)
    }
    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        self.resolved.fetch_add(1, Ordering::SeqCst);
        self.call().await;
        Ok(key.clone())
    }
    async fn wrap_dek(&self, key: &KeyUri, dek: &Dek, of: &FullContext) -> Result<WrappedDek, ProviderError> {
        self.call().await;
        self.inner.wrap_dek(key, dek, of).await
    }
    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.call().await;
        self.inner.unwrap_dek(wrapped, context).await
    }
    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        self.call().await;
        self.inner.rewrap_dek(wrapped, key, context).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_store_limited_to_500_calls_a_second_is_used_to_95_percent_and_never_exceeded() {
    let (most, rate) = used_of_500_calls_a_second(2000).await;
    assert!(most <= 500, "{most} calls in one second");
    assert!(rate >= 0.95 * 500.0, "{rate} calls a second");
}

#[tokio::test(start_paused = true)]
async fn a_key_store_that_is_opened_once_for_each_key_has_one_limit() {
    let inner = memory(&["a", "b"]);
    let timed = Arc::new(Timed { inner, called: Mutex::default(), resolved: AtomicUsize::new(0) });
    // As a policy stands before a key store: two providers of one identity.
    let [from, to]: [Arc<dyn KeyProvider>; 2] = [Arc::new(timed.clone()), Arc::new(timed.clone())];
    let envelope = Envelope::new(Keyring::new().encrypt(from.clone(), uri('a')));
    let source = Memory::new();
    for number in 0..100 {
        source.put(number.to_string(), envelope.encrypt(b"x", &EncryptionContext::new()).await.unwrap());
    }
    timed.called.lock().unwrap().clear();
    let goal = Goal::only(vec![Key::new(to, uri('b'))]).open_with(vec![Key::new(from, uri('a'))]);
    let report = run(Job::new(Arc::new(source), goal).concurrency(64).calls_per_second(50)).await;
    assert_eq!(report.totals.rewrapped, 100);
    let most = most_in_a_second(&timed);
    assert!(most <= 50, "{most} calls in one second");
}

fn most_in_a_second(timed: &Timed) -> usize {
    let mut called = timed.called.lock().unwrap().clone();
    called.sort();
    let within = |from: Instant| move |to: &&Instant| **to - from < Duration::from_secs(1);
    let from = called.iter().enumerate();
    from.map(|(at, from)| called[at..].iter().take_while(within(*from)).count()).max().unwrap_or_default()
}

/// Most calls in any second, and how many in a second they were, of a job that rewraps `count` envelopes at 500.
pub(crate) async fn used_of_500_calls_a_second(count: u64) -> (usize, f64) {
    let inner = memory(&["a", "b"]).that_rewraps();
    let timed = Arc::new(Timed { inner, called: Mutex::default(), resolved: AtomicUsize::new(0) });
    let provider: Arc<dyn KeyProvider> = timed.clone();
    let envelope = Envelope::new(Keyring::new().encrypt(provider.clone(), uri('a')));
    let source = Memory::new();
    let sealed: Vec<_> = {
        let context = EncryptionContext::new();
        let one = || envelope.encrypt(b"x", &context);
        futures_util::future::try_join_all((0..count).map(|_| one())).await.unwrap()
    };
    for (number, sealed) in sealed.into_iter().enumerate() {
        source.put(number.to_string(), sealed);
    }
    timed.called.lock().unwrap().clear();
    timed.resolved.store(0, Ordering::SeqCst);
    let goal =
        Goal::only(vec![Key::new(provider.clone(), uri('b'))]).open_with(vec![Key::new(provider, uri('a'))]);
    let begun = Instant::now();
    let report = run(Job::new(Arc::new(source), goal).concurrency(64).calls_per_second(500)).await;
    assert_eq!(report.totals.rewrapped, count);
    let calls = timed.called.lock().unwrap().len();
    // ReEncrypt and Decrypt for each, one wrap at the beginning, and what the keys mean.
    assert_eq!(calls as u64, 2 * count + 1 + timed.resolved.load(Ordering::SeqCst) as u64);
    (most_in_a_second(&timed), calls as f64 / begun.elapsed().as_secs_f64())
}

/// Stands over key stores and is to hear of each use of a key, as a policy and an audit log are.
struct Hearing {
    below: Arc<dyn KeyProvider>,
    unwraps: AtomicUsize,
}

impl Hearing {
    fn over(below: Arc<dyn KeyProvider>) -> Arc<Self> {
        Arc::new(Self { below, unwraps: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl KeyProvider for Hearing {
    fn name(&self) -> &'static str {
        self.below.name()
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        self.below.identity()
    }

    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        self.below.context_binding(wrapped)
    }

    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        self.below.is_same_key(configured, recipient)
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.below.wrap_dek(key, dek, context).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.unwraps.fetch_add(1, Ordering::SeqCst);
        self.below.unwrap_dek(wrapped, context).await
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        self.below.rewrap_dek(wrapped, key, context).await
    }
}

#[tokio::test]
async fn what_stands_over_the_key_stores_hears_of_each_item_though_a_shared_wrap_is_unwrapped_once() {
    const COPIES: usize = 40;
    let below = Arc::new(memory(&["a", "b"]));
    let sealing = Envelope::new(Keyring::new().both(below.clone(), uri('a')));
    let sealed = sealing.encrypt(b"one", &EncryptionContext::new()).await.unwrap();
    let source = Memory::new();
    for copy in 0..COPIES {
        source.put(format!("copy-{copy}"), sealed.clone());
    }
    let key_stores = KeyStores::new();
    let hearing = Hearing::over(key_stores.over(&(below.clone() as Arc<dyn KeyProvider>)));
    let key = |letter| Key::new(hearing.clone(), uri(letter));
    let goal = Goal::only(vec![key('b')]).open_with(vec![key('a')]);
    let unwraps = below.unwraps();
    let report = run(Job::new(Arc::new(source), goal).key_stores(key_stores)).await;
    assert_eq!(report.totals.rewrapped, COPIES as u64);
    // The shared wrap once, and each new one to verify it.
    assert_eq!(below.unwraps() - unwraps, 1 + COPIES);
    assert_eq!(report.calls["memory"], 1 + 1 + 2 * COPIES as u64);
    assert_eq!(hearing.unwraps.load(Ordering::SeqCst), 2 * COPIES, "the old wrap and the new one of each");
}
