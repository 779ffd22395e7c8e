//! What passes a provider is recorded, or refused.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use envelope_audit::{
    AppendError, Audited, AuditedAdmin, AuditedEnvelope, Entry, Fault, Filter, Log, LogError, LogObserver,
    Outcome, PolicyDecision, Record, Unwritable, VerifyError, about_envelope, acting_as, in_request,
    policy_decided, read, recorded_later,
};
use envelope_layers::Observe;
use envelope_sdk::{
    DecryptError, Dek, EncryptionContext, Envelope, FullContext, KeyAdmin, KeyDescription, KeyProvider,
    KeyUri, Keyring, ProviderError, ProviderErrorKind, WrappedDek, crypto::DefaultEngine,
};
use envelope_testkit::{
    Fault as Trouble, FaultProvider, MemoryProvider, YieldingProvider,
    conformance::{self, Backend, Subject},
    dropped_after,
};
use futures_executor::block_on;

use crate::common::{Place, beside, options};

#[test]
fn each_call_is_recorded_with_who_what_and_how_it_ended() {
    let place = Place::new();
    let log = place.create(options().show_value("tenant"));
    let envelope = audited(&place, &log);
    let context = EncryptionContext::new().with("tenant", "42").with("patient", "Jane Roe");
    block_on(acting_as(
        "user:jane",
        in_request("r-1", async {
            let sealed = envelope.encrypt(b"text", &context).await.unwrap();
            let header = Envelope::inspect(&sealed).unwrap();
            about_envelope(*header.envelope_id(), header.generation(), async {
                envelope.decrypt(&sealed, &context).await.unwrap();
            })
            .await;
        }),
    ));
    drop((envelope, log));
    let records = records(&place);
    let [wrap, unwrap] = records.as_slice() else { panic!("{records:?}") };
    for (record, operation) in [(wrap, "wrap_dek"), (unwrap, "unwrap_dek")] {
        let entry = &record.entry;
        assert_eq!((entry.operation.as_ref(), entry.outcome), (operation, Outcome::Ok));
        assert_eq!(entry.actor.as_deref(), Some("user:jane"));
        assert_eq!(entry.request.as_deref(), Some("r-1"));
        assert_eq!(entry.key.as_deref(), Some("memory:audit"));
        assert_eq!(entry.key_version.as_deref(), Some("1"));
        assert_eq!(entry.context.iter().collect::<Vec<_>>(), [(&"tenant".to_owned(), &"42".to_owned())]);
    }
    assert!(unwrap.entry.envelope.is_some() && unwrap.entry.generation.is_some());
    let text = fs::read_to_string(place.path()).unwrap();
    assert!(!text.contains("Jane Roe") && !text.contains("patient"), "what is not listed is not recorded");
}

#[test]
fn a_failure_is_recorded_by_its_kind() {
    let place = Place::new();
    let log = place.create(options());
    let faulty = FaultProvider::new(place.provider.clone());
    let context = EncryptionContext::new();
    let keys = Envelope::new(Keyring::new().both(place.provider.clone(), place.key.clone()));
    let sealed = block_on(keys.encrypt(b"text", &context)).unwrap();
    faulty.fault_unwraps(Trouble::Fail(ProviderErrorKind::AccessDenied));
    let keyring = Keyring::new().both(Arc::new(Audited::new(faulty, log.clone())), place.key.clone());
    let failed = block_on(Envelope::new(keyring).decrypt(&sealed, &context)).unwrap_err();
    assert!(format!("{failed:?}").contains("AccessDenied"), "{failed:?}");
    drop(log);
    let records = records(&place);
    assert_eq!(records[0].entry.outcome, Outcome::Failed);
    assert_eq!(records[0].entry.error.as_deref(), Some("access_denied"));
}

#[test]
fn what_cannot_be_recorded_is_refused_and_no_dek_is_handed_out() {
    let place = Place::new();
    let log = place.create(options());
    let provider = Audited::new(place.provider.clone(), log.clone());
    let context = EncryptionContext::new().full().unwrap();
    let dek = Dek::generate::<DefaultEngine>().unwrap();
    let wrapped = block_on(provider.wrap_dek(&place.key, &dek, &context)).unwrap();
    // Nothing can be written any more.
    let head = beside(&place.path(), "head");
    let kept = fs::read(&head).unwrap();
    fs::remove_file(&head).unwrap();
    withheld(block_on(provider.unwrap_dek(&wrapped, &context)));
    let refused = block_on(provider.unwrap_deks(&[(&wrapped, &context), (&wrapped, &context)]));
    assert_eq!(refused.len(), 2);
    refused.into_iter().for_each(withheld);
    withheld(block_on(provider.wrap_dek(&place.key, &dek, &context)));
    withheld(block_on(provider.generate_dek(&place.key, &context)));
    drop((log, provider));
    fs::write(&head, kept).unwrap();
    // Unless the log says so.
    let log = place.open(options().if_unwritable(Unwritable::BestEffort)).unwrap();
    let provider = Audited::new(place.provider.clone(), log);
    fs::remove_file(&head).unwrap();
    block_on(provider.unwrap_dek(&wrapped, &context)).unwrap();
}

#[test]
fn what_is_recorded_later_is_waited_for_before_an_envelope_is_handed_out() {
    let place = Place::new();
    let log = place.create(options());
    let provider = Arc::new(Audited::new(place.provider.clone(), log.clone()));
    let keys = Envelope::new(Keyring::new().both(provider.clone(), place.key.clone()));
    let audited = AuditedEnvelope::new(keys, log.clone());
    let none = EncryptionContext::new();
    let sealed = block_on(audited.encrypt(b"text", &none)).unwrap();
    assert_eq!(block_on(audited.decrypt(&sealed, &none)).unwrap(), b"text");
    let context = none.full().unwrap();
    let (made, unwritten) = block_on(recorded_later(provider.generate_dek(&place.key, &context)));
    made.unwrap();
    block_on(unwritten.wait()).unwrap();
    // Nothing can be written any more: who waits later is told so, and who waits for an envelope has none.
    let head = beside(&place.path(), "head");
    let kept = fs::read(&head).unwrap();
    fs::remove_file(&head).unwrap();
    let (made, unwritten) = block_on(recorded_later(provider.generate_dek(&place.key, &context)));
    made.unwrap();
    let error = block_on(unwritten.wait()).unwrap_err();
    assert!(matches!(error.reason(), LogError::Damaged(_)), "{error:?}");
    let error = block_on(audited.encrypt(b"text", &none)).unwrap_err();
    assert!(error.to_string().contains("not recorded, so its result is withheld"), "{error}");
    let error = block_on(audited.decrypt(&sealed, &none)).unwrap_err();
    let DecryptError::Keys { attempts } = &error else { panic!("{error:?}") };
    assert!(attempts[0].to_string().contains("not recorded, so its result is withheld"), "{error}");
    drop((log, provider, audited));
    fs::write(&head, kept).unwrap();
    let mut operations = Vec::new();
    read::<VerifyError>(&place.path(), &Filter::new(), |record, _| {
        operations.push(record.entry.operation.to_string());
        Ok(())
    })
    .unwrap();
    let expected = ["log-begin", "wrap_dek", "encrypt", "unwrap_dek", "decrypt", "generate_dek"];
    assert_eq!(operations, expected);
}

#[test]
fn who_records_himself_writes_what_was_left_together_with_what_stands_behind_it() {
    let place = Place::new();
    // Each look at the clock is a millisecond: one when a write begins, and one for each of its records.
    let clock = AtomicU64::new(1);
    let tick = move || clock.fetch_add(1, Ordering::Relaxed);
    let log = place.create(options().write_on_callers_threads().clock(tick));
    let provider = Audited::new(place.provider.clone(), log.clone());
    let context = EncryptionContext::new().full().unwrap();
    // The log's thread, which looks each second, may come between.
    for _ in 0..10 {
        let (made, unwritten) = block_on(recorded_later(provider.generate_dek(&place.key, &context)));
        made.unwrap();
        log.append_blocking(Entry::new("encrypt", Outcome::Ok)).unwrap();
        block_on(unwritten.wait()).unwrap();
    }
    // Nobody waits for these.
    let (made, unwritten) = block_on(recorded_later(provider.generate_dek(&place.key, &context)));
    made.unwrap();
    drop(unwritten);
    drop(log.append_later(vec![Entry::new("encrypt", Outcome::Ok)]));
    drop((log, provider));
    let records = records(&place);
    let operations: Vec<_> = records.iter().map(|record| record.entry.operation.as_ref()).collect();
    assert_eq!(operations, ["generate_dek", "encrypt"].repeat(11));
    let is_of_one = |pair: &&[Record]| pair[1].time - pair[0].time == 1;
    assert!(records.chunks(2).filter(is_of_one).count() > 5, "{records:?}");
}

/// A result that is not handed out, since the head of the log is gone.
fn withheld<T>(answer: Result<T, ProviderError>) {
    let Err(error) = answer else { panic!("it was handed out") };
    assert!(error.to_string().contains("not recorded, so its result is withheld"), "{error}");
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<AppendError>());
    let Some(LogError::Damaged(damage)) = source.map(AppendError::reason) else { panic!("{error:?}") };
    assert_eq!(damage.fault, Fault::Missing);
}

/// A policy that denies one key, and could not be asked for the others.
struct Judged {
    below: MemoryProvider,
    denied: KeyUri,
}

#[async_trait::async_trait]
impl KeyProvider for Judged {
    envelope_sdk::hand_on!(below);

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.below.wrap_dek(key, dek, context).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, _: &FullContext) -> Result<Dek, ProviderError> {
        let key = wrapped.key_uri();
        let kind = if *key == self.denied {
            let (key, rule) = (Some(key.to_string()), Some("nobody".to_owned()));
            policy_decided(PolicyDecision { key, rule, denied: true, ..Default::default() }).unwrap();
            ProviderErrorKind::AccessDenied
        } else {
            ProviderErrorKind::Unavailable
        };
        Err(ProviderError::new(kind, self.name(), key, "refused"))
    }
}

#[test]
fn what_one_wrap_of_a_batch_is_denied_is_not_said_of_another() {
    let place = Place::new();
    let log = place.create(options());
    let other = MemoryProvider::key("other");
    let below = MemoryProvider::new().with_key(&place.key).with_key(&other);
    let provider = Audited::new(Judged { below, denied: place.key.clone() }, log.clone());
    let context = EncryptionContext::new().full().unwrap();
    let dek = Dek::generate::<DefaultEngine>().unwrap();
    let wraps = [&place.key, &other].map(|key| block_on(provider.wrap_dek(key, &dek, &context)).unwrap());
    let batch: Vec<_> = wraps.iter().map(|wrapped| (wrapped, &context)).collect();
    assert!(block_on(provider.unwrap_deks(&batch)).iter().all(Result::is_err));
    drop((provider, log));
    let records = records(&place);
    let said: Vec<_> = records
        .iter()
        .filter(|record| record.entry.operation == "unwrap_dek")
        .map(|record| (record.entry.outcome, record.entry.error.as_deref(), record.entry.rule.as_deref()))
        .collect();
    let expected = [(Outcome::Denied, None, Some("nobody")), (Outcome::Failed, Some("unavailable"), None)];
    assert_eq!(said, expected);
}

#[test]
fn a_batch_is_recorded_wrap_by_wrap_and_a_rewrap_by_both_of_its_wraps() {
    let place = Place::new();
    let log = place.create(options());
    let other = MemoryProvider::key("other");
    let memory = MemoryProvider::new().with_key(&place.key).with_key(&other).that_rewraps();
    let provider = Audited::new(memory, log.clone());
    let context = EncryptionContext::new().full().unwrap();
    block_on(async {
        let (_, wrapped) = provider.generate_dek(&place.key, &context).await.unwrap();
        let opened = provider.unwrap_deks(&[(&wrapped, &context), (&wrapped, &context)]).await;
        assert!(opened.iter().all(Result::is_ok));
        provider.rewrap_dek(&wrapped, &other, &context).await.unwrap().unwrap();
        assert!(provider.unwrap_deks(&[]).await.is_empty());
    });
    drop((provider, log));
    let said: Vec<_> = records(&place)
        .into_iter()
        .map(|record| (record.entry.operation.to_string(), record.entry.key.unwrap()))
        .collect();
    let expected = [
        ("generate_dek", "memory:audit"),
        ("unwrap_dek", "memory:audit"),
        ("unwrap_dek", "memory:audit"),
        ("rewrap_dek", "memory:audit"),
        ("rewrap_dek", "memory:other"),
    ];
    let expected = expected.map(|(operation, key)| (operation.to_owned(), key.to_owned()));
    assert_eq!(said, expected);
}

#[test]
fn a_call_that_is_dropped_is_recorded_as_that() {
    let place = Place::new();
    let log = place.create(options());
    let yielding = YieldingProvider::new(place.provider.clone(), 3);
    let provider = Audited::new(yielding, log.clone());
    let context = EncryptionContext::new().full().unwrap();
    let dek = Dek::generate::<DefaultEngine>().unwrap();
    dropped_after(1, provider.wrap_dek(&place.key, &dek, &context));
    drop((provider, log));
    let records = records(&place);
    assert_eq!(records.len(), 1);
    assert_eq!(
        (records[0].entry.operation.as_ref(), records[0].entry.outcome),
        ("wrap_dek", Outcome::Dropped)
    );
}

#[test]
fn a_provider_under_an_audit_passes_the_conformance_suite() {
    struct Backed(Arc<Audited<MemoryProvider>>, KeyUri, KeyUri);
    impl Backend for Backed {
        fn subject(&self) -> Subject {
            Subject::new(self.0.clone(), self.1.clone())
        }
        fn other_subject(&self) -> Subject {
            Subject::new(self.0.clone(), self.2.clone())
        }
    }
    let place = Place::new();
    let log = place.create(options());
    let other = MemoryProvider::key("other");
    let memory = MemoryProvider::new().with_key(&place.key).with_key(&other);
    let provider = Arc::new(Audited::new(memory, log));
    conformance::run(&Backed(provider, place.key.clone(), other)).assert_conforms();
    place.verify().unwrap();
}

#[test]
fn a_change_of_keys_is_recorded_before_and_after_and_not_made_without_a_record() {
    struct Keys;
    #[async_trait::async_trait]
    impl KeyAdmin for Keys {
        fn provider(&self) -> &'static str {
            "keys"
        }
    }
    let place = Place::new();
    let log = place.create(options());
    let admin = AuditedAdmin::new(Keys, log.clone());
    // What the key store says goes through.
    for failed in [
        block_on(admin.rotate_key(&place.key)).unwrap_err(),
        block_on(admin.describe_key(&place.key)).unwrap_err(),
    ] {
        assert_eq!(failed.kind(), ProviderErrorKind::Unsupported, "{failed}");
    }
    fs::remove_file(beside(&place.path(), "head")).unwrap();
    let refused = block_on(admin.rotate_key(&place.key)).unwrap_err();
    assert!(refused.to_string().contains("nothing was changed"), "{refused}");
    // Nothing could be taken back by whoever waits later.
    let (refused, unwritten) = block_on(recorded_later(admin.rotate_key(&place.key)));
    let refused = refused.unwrap_err();
    assert!(refused.to_string().contains("nothing was changed"), "{refused}");
    block_on(unwritten.wait()).unwrap();
    drop((admin, log));
    let said: Vec<_> = records(&place)
        .into_iter()
        .map(|record| (record.entry.operation.to_string(), record.entry.outcome))
        .collect();
    let expected =
        [("rotate_key", Outcome::Begun), ("rotate_key", Outcome::Failed), ("describe_key", Outcome::Failed)];
    assert_eq!(said, expected.map(|(operation, outcome)| (operation.to_owned(), outcome)));
}

#[test]
fn a_change_whose_answer_is_lost_is_not_recorded_as_one_that_failed() {
    /// Says this of whatever it is asked.
    struct Lost(ProviderErrorKind);
    #[async_trait::async_trait]
    impl KeyAdmin for Lost {
        fn provider(&self) -> &'static str {
            "keys"
        }
        async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
            Err(ProviderError::new(self.0, "keys", key, "no"))
        }
        async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
            Err(ProviderError::new(self.0, "keys", key, "no"))
        }
    }
    let place = Place::new();
    let log = place.create(options());
    for kind in [ProviderErrorKind::Unavailable, ProviderErrorKind::Protocol, ProviderErrorKind::State] {
        let admin = AuditedAdmin::new(Lost(kind), log.clone());
        assert_eq!(block_on(admin.rotate_key(&place.key)).unwrap_err().kind(), kind);
    }
    // A look changes nothing.
    let admin = AuditedAdmin::new(Lost(ProviderErrorKind::Unavailable), log.clone());
    block_on(admin.describe_key(&place.key)).unwrap_err();
    drop((admin, log));
    let records = records(&place);
    let said = |record: &Record| (record.entry.outcome, record.entry.error.clone().unwrap_or_default());
    let ended = records.iter().filter(|record| record.entry.outcome != Outcome::Begun).map(said);
    let expected = [
        (Outcome::Dropped, "unavailable"),
        (Outcome::Dropped, "protocol"),
        (Outcome::Failed, "state"),
        (Outcome::Failed, "unavailable"),
    ];
    assert_eq!(ended.collect::<Vec<_>>(), expected.map(|(outcome, error)| (outcome, error.into())));
}

#[tokio::test]
async fn an_observer_of_the_layers_records_calls_or_attempts() {
    let place = Place::new();
    let log = Log::create(&place.path(), &place.keys, options().show_value("tenant")).await.unwrap();
    let provider = Observe::calls(
        Observe::attempts(place.provider.clone()).tell(Arc::new(LogObserver::attempts(log.clone()))),
    )
    .tell(Arc::new(LogObserver::calls(log.clone())))
    .show_value("tenant");
    let context = EncryptionContext::new().with("tenant", "42").full().unwrap();
    let dek = Dek::generate::<DefaultEngine>().unwrap();
    provider.wrap_dek(&place.key, &dek, &context).await.unwrap();
    drop((provider, log));
    let records = records(&place);
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].entry.detail["call"], records[1].entry.detail["call"]);
    assert_eq!((records[0].entry.context.len(), records[1].entry.context.len()), (0, 1));
}

#[test]
fn an_entry_is_handed_over_when_nobody_waits_for_it() {
    let place = Place::new();
    let log = place.create(options());
    drop(log.append(Entry::new("configuration-changed", Outcome::Ok).with_detail("setting", "audit.file")));
    drop(log);
    assert_eq!(records(&place).len(), 1);
}

fn audited(place: &Place, log: &Log) -> Envelope {
    let provider = Arc::new(Audited::new(place.provider.clone(), log.clone()));
    Envelope::new(Keyring::new().both(provider, place.key.clone()))
}

/// All but the log's own.
fn records(place: &Place) -> Vec<Record> {
    place.verify().ok();
    let mut records = Vec::new();
    read::<VerifyError>(&place.path(), &Filter::new(), |record, _| {
        if !record.is_of_the_log() {
            records.push(record.clone());
        }
        Ok(())
    })
    .unwrap();
    records
}
