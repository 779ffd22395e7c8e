//! What an observer is told.

use std::{future::pending, sync::Arc, time::Duration};

use envelope_layers::{CacheLimits, CacheStore, Observe, ObserveAdmin, Retry, RetryBudget, Stack};
use envelope_local::{Argon2Params, Keystore, Passphrase};
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyProvider, KeyState, KeyUri, NewKey, ProviderError, ProviderErrorKind,
};
use envelope_testkit::{
    AlteredProvider, Fault, FaultProvider, MemoryProvider,
    conformance::{self, Backend, Subject},
};
use futures_util::FutureExt;

use super::support::{Recorder, VALUE, ask_all, context, dek, key, memory};

#[tokio::test(start_paused = true)]
async fn every_method_is_seen_with_its_keys_and_the_names_of_the_context() {
    let recorder = Arc::new(Recorder::default());
    let observe = Observe::attempts(memory()).tell(recorder.clone()).show_value("tenant");
    ask_all(&observe).await;
    let key = key();
    let subject = format!("{key} patient=? tenant=42");
    let ends: Vec<_> = recorder.lines().into_iter().filter(|line| line.starts_with("end")).collect();
    assert_eq!(
        ends,
        [
            format!("end Attempt resolve {key} {key} 0ns"),
            format!("end Attempt wrap_dek {subject} {key}@1 0ns"),
            format!("end Attempt unwrap_dek {subject} {key}@1 0ns"),
            format!("end Attempt unwrap_deks {subject} {key} {key}@1 unauthentic 0ns"),
            format!("end Attempt generate_dek {subject} {key}@1 0ns"),
            format!("end Attempt rewrap_dek {subject} {subject} {key}@1 {key}@1 0ns"),
        ]
    );
    let starts = recorder.lines().into_iter().filter(|line| line.starts_with("start")).count();
    assert_eq!(starts, ends.len());
    assert!(recorder.lines().iter().all(|line| !line.contains(VALUE)));
}

#[tokio::test(start_paused = true)]
async fn a_hit_is_a_call_and_no_attempt() {
    let recorder = Arc::new(Recorder::default());
    let store = CacheStore::new(CacheLimits::new(Duration::from_secs(60), 10));
    let provider = Stack::new().observe(recorder.clone()).cache(&store).over(memory());
    let (key, context) = (key(), context());
    let wrapped = provider.wrap_dek(&key, &dek(), &context).await.unwrap();
    for _ in 0..3 {
        provider.unwrap_dek(&wrapped, &context).await.unwrap();
    }
    let ended = |stage: &str| {
        let beginning = format!("end {stage} unwrap_dek");
        recorder.lines().iter().filter(|line| line.starts_with(&beginning)).count()
    };
    assert_eq!((ended("Call"), ended("Attempt")), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_of_a_call_is_seen_with_its_number() {
    let recorder = Arc::new(Recorder::default());
    let faults = FaultProvider::new(memory());
    faults.fault_wraps(Fault::Fail(ProviderErrorKind::Unavailable));
    let budget = RetryBudget::default();
    let stack = Stack::new().observe(recorder.clone()).retry(move |below| Retry::new(below, &budget));
    let provider = stack.over(Arc::new(faults));
    provider.wrap_dek(&key(), &dek(), &context()).await.unwrap_err();
    let attempts: Vec<_> = recorder
        .lines()
        .iter()
        .filter_map(|line| Some(line.strip_prefix("end Attempt wrap_dek ")?.split(' ').next()?.to_owned()))
        .collect();
    assert_eq!(attempts, ["memory:one", "#2", "#3"]);
    assert!(recorder.lines().pop().unwrap().starts_with("end Call wrap_dek memory:one"));
}

#[tokio::test(start_paused = true)]
async fn a_failure_has_its_kind_and_its_time() {
    let away = |key: &KeyUri| ProviderError::new(ProviderErrorKind::Throttled, "slow", key, "later");
    let slow = AlteredProvider::new(memory()).on_wrap(move |_, key, _, _| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(250)).await;
            Err(away(key))
        })
    });
    let recorder = Arc::new(Recorder::default());
    let observe = Observe::calls(slow).tell(recorder.clone());
    let error = observe.wrap_dek(&key(), &dek(), &context()).await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Throttled);
    let last = recorder.lines().pop().unwrap();
    assert!(last.ends_with(" throttled 250ms"), "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_is_told_as_dropped() {
    let hanging = AlteredProvider::new(memory()).on_wrap(|_, _, _, _| Box::pin(pending()));
    let recorder = Arc::new(Recorder::default());
    let observe = Observe::calls(hanging).tell(recorder.clone());
    assert!(observe.wrap_dek(&key(), &dek(), &context()).now_or_never().is_none());
    let lines = recorder.lines();
    assert_eq!(lines.len(), 2);
    assert!(lines[1].contains(" dropped "), "{}", lines[1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_offered_is_no_failure() {
    let recorder = Arc::new(Recorder::default());
    let provider = MemoryProvider::new().with_key(&key());
    let observe = Observe::attempts(provider).tell(recorder.clone());
    let wrapped = observe.wrap_dek(&key(), &dek(), &context()).await.unwrap();
    assert!(observe.rewrap_dek(&wrapped, &key(), &context()).await.unwrap().is_none());
    assert!(recorder.lines().pop().unwrap().contains(" not_offered not_offered "));
}

#[tokio::test]
async fn management_of_keys_is_seen_too() {
    let folder = tempfile::tempdir().unwrap();
    let passphrase = Passphrase::new("correct horse".into()).unwrap();
    let path = folder.path().join("keys.json");
    let keystore = Keystore::create_with(path, &passphrase, Argon2Params::MINIMUM).unwrap();
    let recorder = Arc::new(Recorder::default());
    let admin = ObserveAdmin::new(keystore).tell(recorder.clone());
    admin.create_key(&NewKey::named("one")).await.unwrap();
    let key = KeyUri::parse("local:one").unwrap();
    admin.describe_key(&key).await.unwrap();
    let refused = admin.change_key(&key, None, KeyChange::State(KeyState::Destroyed)).await.unwrap_err();
    assert_eq!(refused.kind(), ProviderErrorKind::Invalid);
    admin.rotate_key(&key).await.unwrap();
    admin.list_keys(None).await.unwrap();
    let seen: Vec<_> = recorder
        .lines()
        .iter()
        .filter_map(|line| {
            line.strip_prefix("end Attempt ").map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
        })
        .collect();
    assert_eq!(
        seen,
        [
            "create_key - ok",
            "describe_key local:one local:one",
            "change_key local:one invalid",
            "rotate_key local:one local:one",
            "list_keys - ok",
        ]
    );
}

#[test]
fn an_observed_provider_conforms() {
    let [one, two] = ["one", "two"].map(MemoryProvider::key);
    let provider = MemoryProvider::new().that_rewraps().that_generates_deks().with_key(&one).with_key(&two);
    let provider = Stack::new().observe(Arc::new(Recorder::default())).over(Arc::new(provider));
    conformance::run(&Memory { provider, one, two }).assert_conforms();
}

struct Memory {
    provider: Arc<dyn KeyProvider>,
    one: KeyUri,
    two: KeyUri,
}

impl Backend for Memory {
    fn subject(&self) -> Subject {
        Subject::new(self.provider.clone(), self.one.clone())
    }

    fn other_subject(&self) -> Subject {
        Subject::new(self.provider.clone(), self.two.clone())
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(MemoryProvider::key("three"))
    }
}
