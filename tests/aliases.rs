//! Keys that are configured by an alias: when a keyring asks what it means, how
//! often, and what becomes of an answer that does not come.

#![allow(
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop"
)]

mod common;

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use common::{block_on, context, memory};
use envelope_sdk::{
    DecryptError, EncryptError, Envelope, KeyUri, Keyring, ProviderError, ProviderErrorKind, RewrapError,
    WrappedDek,
};
use envelope_testkit::{AlteredProvider, MemoryProvider};
use futures_util::future::join_all;

/// A provider whose key `memory:alias` stands for another one, and which keeps
/// count of who asked.
struct Aliased {
    provider: Arc<AlteredProvider>,
    below: Arc<MemoryProvider>,
    means: Arc<Mutex<Result<KeyUri, ProviderErrorKind>>>,
    asked: Arc<AtomicUsize>,
    /// While it is set, the answer does not come.
    waits: Arc<AtomicBool>,
}

impl Aliased {
    /// The alias means `memory:one`; there is `memory:two` too.
    fn new() -> Self {
        let below = MemoryProvider::new().that_rewraps().with_key(&key("one")).with_key(&key("two"));
        let below = Arc::new(below);
        let means = Arc::new(Mutex::new(Ok(key("one"))));
        let (asked, waits) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (now, count, wait) = (means.clone(), asked.clone(), waits.clone());
        let resolve = move |configured: &KeyUri| match &*now.lock().unwrap() {
            _ if *configured != alias() => Ok(configured.clone()),
            Ok(key) => Ok(key.clone()),
            Err(kind) => Err(ProviderError::new(*kind, "memory", configured, "does not tell")),
        };
        let of_wrap = resolve.clone();
        let provider = AlteredProvider::new(below.clone())
            .on_resolve(move |_, configured| {
                count.fetch_add((*configured == alias()).into(), Ordering::SeqCst);
                let (answer, wait) = (resolve(configured), wait.clone());
                Box::pin(async move {
                    poll_fn(|task| {
                        task.waker().wake_by_ref();
                        if wait.load(Ordering::SeqCst) { Poll::Pending } else { Poll::Ready(()) }
                    })
                    .await;
                    answer
                })
            })
            .on_wrap(move |below, key, dek, context| {
                // The key store knows its aliases, whatever it tells of them.
                let key = of_wrap(key);
                Box::pin(async move { below.wrap_dek(&key?, dek, context).await })
            });
        Self { provider: Arc::new(provider), below, means, asked, waits }
    }

    fn means(&self, meaning: Result<KeyUri, ProviderErrorKind>) {
        *self.means.lock().unwrap() = meaning;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// An envelope of a key that is configured by its own name.
    fn sealed_by(&self, name: &str) -> Vec<u8> {
        let ring = Keyring::new().encrypt(self.below.clone(), key(name));
        block_on(Envelope::new(ring).encrypt(b"attack", &context())).unwrap()
    }

    /// Opens by the alias.
    fn reader(&self) -> Envelope {
        Envelope::new(Keyring::new().decrypt(self.provider.clone(), alias()))
    }
}

fn key(name: &str) -> KeyUri {
    MemoryProvider::key(name)
}

fn alias() -> KeyUri {
    key("alias")
}

fn named(sealed: &[u8]) -> KeyUri {
    Envelope::inspect(sealed).unwrap().recipients()[0].key_uri().clone()
}

// How often it is asked

#[test]
fn an_alias_is_resolved_once_however_often_it_opens() {
    let aliased = Aliased::new();
    let (sealed, reader) = (aliased.sealed_by("one"), aliased.reader());
    assert_eq!(aliased.asked(), 0, "a keyring asks nothing when it is made");
    for _ in 0..3 {
        assert_eq!(block_on(reader.decrypt(&sealed, &context())).unwrap(), b"attack");
    }
    assert_eq!(aliased.asked(), 1);
    let clone = reader.clone();
    assert_eq!(block_on(clone.decrypt(&sealed, &context())).unwrap(), b"attack");
    assert_eq!(aliased.asked(), 1, "a clone of a keyring knows what it knows");
}

#[test]
fn a_crowd_of_sixty_four_openings_asks_once() {
    let aliased = Aliased::new();
    let (sealed, reader, context) = (aliased.sealed_by("one"), aliased.reader(), context());
    // Nobody has an answer before all have asked.
    aliased.waits.store(true, Ordering::SeqCst);
    let mut crowd = pin!(join_all((0..64).map(|_| reader.decrypt(&sealed, &context))));
    assert!(crowd.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(aliased.asked(), 1);
    aliased.waits.store(false, Ordering::SeqCst);
    let opened = block_on(crowd);
    assert!(opened.into_iter().all(|opened| opened.unwrap() == b"attack"));
    assert_eq!(aliased.asked(), 1);
}

#[test]
fn sixty_four_threads_ask_once() {
    let aliased = Aliased::new();
    let (sealed, reader) = (aliased.sealed_by("one"), aliased.reader());
    let start = std::sync::Barrier::new(64);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                start.wait();
                assert_eq!(block_on(reader.decrypt(&sealed, &context())).unwrap(), b"attack");
            });
        }
    });
    assert_eq!(aliased.asked(), 1);
}

#[test]
fn one_alias_of_one_provider_is_asked_once_however_often_it_is_configured() {
    let aliased = Aliased::new();
    let sealed = aliased.sealed_by("two");
    let ring =
        Keyring::new().decrypt(aliased.provider.clone(), alias()).decrypt(aliased.provider.clone(), alias());
    let error = block_on(Envelope::new(ring).decrypt(&sealed, &context())).unwrap_err();
    assert!(matches!(error, DecryptError::NoConfiguredKey { .. }), "{error:?}");
    assert_eq!(aliased.asked(), 1);
}

#[test]
fn an_opening_that_is_dropped_while_it_asks_leaves_the_keyring_working() {
    let aliased = Aliased::new();
    let (sealed, reader, context) = (aliased.sealed_by("one"), aliased.reader(), context());
    aliased.waits.store(true, Ordering::SeqCst);
    {
        let mut opening = pin!(reader.decrypt(&sealed, &context));
        assert!(opening.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    aliased.waits.store(false, Ordering::SeqCst);
    assert_eq!(block_on(reader.decrypt(&sealed, &context)).unwrap(), b"attack");
    assert_eq!(aliased.asked(), 2);
}

// When it is not asked

#[test]
fn no_alias_is_resolved_when_no_recipient_is_of_its_scheme() {
    let aliased = Aliased::new();
    let other = KeyUri::parse("elsewhere:one").unwrap();
    let provider = Arc::new(MemoryProvider::new().with_key(&other));
    let sealed = block_on(
        Envelope::new(Keyring::new().encrypt(provider.clone(), other.clone())).encrypt(b"x", &context()),
    );
    let sealed = sealed.unwrap();
    let error = block_on(aliased.reader().decrypt(&sealed, &context())).unwrap_err();
    assert!(matches!(error, DecryptError::NoConfiguredKey { .. }), "{error:?}");
    let both = Keyring::new().decrypt(aliased.provider.clone(), alias()).decrypt(provider, other);
    assert_eq!(block_on(Envelope::new(both).decrypt(&sealed, &context())).unwrap(), b"x");
    assert_eq!((aliased.asked(), aliased.below.unwraps()), (0, 0));
}

#[test]
fn no_alias_is_resolved_when_a_key_before_it_opens() {
    let aliased = Aliased::new();
    let sealed = aliased.sealed_by("one");
    let ring =
        Keyring::new().decrypt(aliased.below.clone(), key("one")).decrypt(aliased.provider.clone(), alias());
    assert_eq!(block_on(Envelope::new(ring).decrypt(&sealed, &context())).unwrap(), b"attack");
    assert_eq!(aliased.asked(), 0);
}

#[test]
fn a_provider_that_takes_the_configured_name_itself_is_not_asked() {
    let (provider, keys) = memory(1);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let provider = AlteredProvider::new(provider).on_resolve(move |below, key| {
        count.fetch_add(1, Ordering::SeqCst);
        below.resolve(key)
    });
    let envelope = Envelope::new(Keyring::new().both(Arc::new(provider), keys[0].clone()));
    let sealed = block_on(envelope.encrypt(b"x", &context())).unwrap();
    assert_eq!(block_on(envelope.decrypt(&sealed, &context())).unwrap(), b"x");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

// An alias that is turned to another key

#[test]
fn a_wrap_under_another_key_than_before_asks_again_and_is_taken() {
    let aliased = Aliased::new();
    let envelope = Envelope::new(Keyring::new().both(aliased.provider.clone(), alias()));
    let first = block_on(envelope.encrypt(b"x", &context())).unwrap();
    assert_eq!((named(&first), aliased.asked()), (key("one"), 1));
    aliased.means(Ok(key("two")));
    let second = block_on(envelope.encrypt(b"x", &context())).unwrap();
    assert_eq!(
        (named(&second), aliased.asked()),
        (key("two"), 2),
        "asked again, since the wrap names another key"
    );
    assert_eq!(block_on(envelope.decrypt(&second, &context())).unwrap(), b"x");
    assert_eq!(aliased.asked(), 2);
    // What the alias meant before is no longer configured.
    let error = block_on(envelope.decrypt(&first, &context())).unwrap_err();
    assert!(matches!(error, DecryptError::NoConfiguredKey { .. }), "{error:?}");
}

#[test]
fn a_wrap_under_a_key_that_the_alias_never_meant_is_refused() {
    let aliased = Aliased::new();
    let below = aliased.below.clone();
    let liar = AlteredProvider::new(aliased.provider.clone()).on_wrap(move |_, _, dek, context| {
        let below = below.clone();
        Box::pin(async move { envelope_sdk::KeyProvider::wrap_dek(&below, &key("two"), dek, context).await })
    });
    let envelope = Envelope::new(Keyring::new().both(Arc::new(liar), alias()));
    match block_on(envelope.encrypt(b"x", &context())).unwrap_err() {
        EncryptError::Provider(error) => {
            assert_eq!((error.kind(), error.key()), (ProviderErrorKind::Protocol, Some(&alias())));
            assert!(error.message().contains("memory:two"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(aliased.asked(), 1, "it was asked before it was refused");
}

#[test]
fn an_opening_does_not_ask_again_for_what_a_header_names() {
    let aliased = Aliased::new();
    let (one, two, reader) = (aliased.sealed_by("one"), aliased.sealed_by("two"), aliased.reader());
    block_on(reader.decrypt(&one, &context())).unwrap();
    aliased.means(Ok(key("two")));
    // A header is a stranger's: it does not make a keyring ask.
    let error = block_on(reader.decrypt(&two, &context())).unwrap_err();
    assert!(matches!(error, DecryptError::NoConfiguredKey { .. }), "{error:?}");
    assert_eq!(aliased.asked(), 1);
    block_on(reader.keyring().resolve()).unwrap();
    assert_eq!(block_on(reader.decrypt(&two, &context())).unwrap(), b"attack");
}

// An answer that does not come

#[test]
fn a_resolution_that_fails_is_told_with_its_error_when_nothing_else_opens() {
    let aliased = Aliased::new();
    let (sealed, reader) = (aliased.sealed_by("one"), aliased.reader());
    aliased.means(Err(ProviderErrorKind::Unavailable));
    match block_on(reader.decrypt(&sealed, &context())).unwrap_err() {
        DecryptError::Keys { attempts } => {
            let [error] = &attempts[..] else { panic!("{attempts:?}") };
            assert_eq!((error.kind(), error.key()), (ProviderErrorKind::Unavailable, Some(&alias())));
            assert_eq!((error.message(), error.is_retryable()), ("does not tell", true));
        }
        other => panic!("{other:?}"),
    }
    // A failure is not kept.
    aliased.means(Ok(key("one")));
    assert_eq!(block_on(reader.decrypt(&sealed, &context())).unwrap(), b"attack");
}

#[test]
fn a_resolution_that_fails_is_asked_once_for_all_recipients_and_told_once() {
    let aliased = Aliased::new();
    let both =
        Keyring::new().encrypt(aliased.below.clone(), key("one")).encrypt(aliased.below.clone(), key("two"));
    let sealed = block_on(Envelope::new(both).encrypt(b"x", &context())).unwrap();
    aliased.means(Err(ProviderErrorKind::AccessDenied));
    match block_on(aliased.reader().decrypt(&sealed, &context())).unwrap_err() {
        DecryptError::Keys { attempts } => assert_eq!(attempts.len(), 1, "{attempts:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(aliased.asked(), 1);
}

#[test]
fn an_exact_key_opens_and_waits_for_no_alias_before_it() {
    let aliased = Aliased::new();
    let sealed = aliased.sealed_by("one");
    aliased.means(Err(ProviderErrorKind::NotFound));
    let ring =
        Keyring::new().decrypt(aliased.provider.clone(), alias()).decrypt(aliased.below.clone(), key("one"));
    assert_eq!(block_on(Envelope::new(ring).decrypt(&sealed, &context())).unwrap(), b"attack");
    assert_eq!(aliased.asked(), 0);
}

#[test]
fn a_key_is_tried_by_its_own_name_also_when_it_cannot_be_resolved() {
    let aliased = Aliased::new();
    let cannot_tell = AlteredProvider::new(aliased.below.clone()).on_resolve(|_, key| {
        let error = ProviderError::new(ProviderErrorKind::AccessDenied, "memory", key, "may not describe");
        Box::pin(async move { Err(error) })
    });
    // The recipient that is somebody else's comes first.
    let writers =
        Keyring::new().encrypt(aliased.below.clone(), key("two")).encrypt(aliased.below.clone(), key("one"));
    let sealed = block_on(Envelope::new(writers).encrypt(b"attack", &context())).unwrap();
    let reader = Envelope::new(Keyring::new().decrypt(Arc::new(cannot_tell), key("one")));
    assert_eq!(block_on(reader.decrypt(&sealed, &context())).unwrap(), b"attack");
}

#[test]
fn a_call_that_is_no_longer_polled_holds_up_no_other() {
    let aliased = Aliased::new();
    let (sealed, reader, context) = (aliased.sealed_by("one"), aliased.reader(), context());
    aliased.waits.store(true, Ordering::SeqCst);
    let mut parked = pin!(reader.decrypt(&sealed, &context));
    assert!(parked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    aliased.waits.store(false, Ordering::SeqCst);
    assert_eq!(block_on(reader.decrypt(&sealed, &context)).unwrap(), b"attack");
    assert_eq!(aliased.asked(), 1);
    assert_eq!(block_on(parked).unwrap(), b"attack");
}

#[test]
fn what_was_just_wrapped_under_a_turned_alias_opens() {
    let aliased = Aliased::new();
    let ring =
        Keyring::new().encrypt(aliased.provider.clone(), alias()).decrypt(aliased.provider.clone(), alias());
    let envelope = Envelope::new(ring);
    for name in ["one", "two"] {
        aliased.means(Ok(key(name)));
        let sealed = block_on(envelope.encrypt(b"attack", &context())).unwrap();
        assert_eq!(named(&sealed), key(name));
        assert_eq!(block_on(envelope.decrypt(&sealed, &context())).unwrap(), b"attack");
    }
}

#[test]
fn a_panic_of_a_provider_is_an_error_of_its_key_and_not_for_ever() {
    let aliased = Aliased::new();
    let first = AtomicBool::new(true);
    let panics = AlteredProvider::new(aliased.provider.clone()).on_resolve(move |below, key| {
        let panics = first.swap(false, Ordering::SeqCst);
        Box::pin(async move { if panics { panic!("of the provider") } else { below.resolve(key).await } })
    });
    let sealed = aliased.sealed_by("one");
    let reader = Envelope::new(Keyring::new().decrypt(Arc::new(panics), alias()));
    match block_on(reader.decrypt(&sealed, &context())).unwrap_err() {
        DecryptError::Keys { attempts } => {
            assert_eq!((attempts[0].kind(), attempts[0].key()), (ProviderErrorKind::Other, Some(&alias())));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(block_on(reader.decrypt(&sealed, &context())).unwrap(), b"attack");
}

#[test]
fn nothing_is_encrypted_for_an_alias_whose_meaning_is_not_told() {
    let aliased = Aliased::new();
    let silent = AlteredProvider::new(aliased.provider.clone()).on_resolve(|_, key| {
        Box::pin(async {
            Err(ProviderError::new(ProviderErrorKind::AccessDenied, "memory", key, "does not tell"))
        })
    });
    let envelope = Envelope::new(Keyring::new().encrypt(Arc::new(silent), alias()));
    match block_on(envelope.encrypt(b"x", &context())).unwrap_err() {
        EncryptError::Provider(error) => {
            assert_eq!((error.kind(), error.key()), (ProviderErrorKind::AccessDenied, Some(&alias())));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_that_means_one_of_another_scheme_opens_nothing() {
    let aliased = Aliased::new();
    let sealed = aliased.sealed_by("one");
    aliased.means(Ok(KeyUri::parse("elsewhere:one").unwrap()));
    match block_on(aliased.reader().decrypt(&sealed, &context())).unwrap_err() {
        DecryptError::Keys { attempts } => {
            assert_eq!(
                (attempts[0].kind(), attempts[0].key()),
                (ProviderErrorKind::Protocol, Some(&alias()))
            );
            assert!(attempts[0].message().contains("elsewhere:one"), "{attempts:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(aliased.below.unwraps(), 0);
}

// Asking at the start

#[test]
fn a_keyring_that_is_resolved_at_the_start_asks_no_more() {
    let aliased = Aliased::new();
    let sealed = aliased.sealed_by("one");
    let keyring = Keyring::new().both(aliased.provider.clone(), alias());
    block_on(keyring.resolve()).unwrap();
    let asked = aliased.asked();
    let envelope = Envelope::new(keyring);
    assert_eq!(block_on(envelope.decrypt(&sealed, &context())).unwrap(), b"attack");
    block_on(envelope.encrypt(b"x", &context())).unwrap();
    assert_eq!(aliased.asked(), asked);
}

#[test]
fn resolving_tells_a_key_that_is_not_there_and_keeps_what_was_answered_before() {
    let aliased = Aliased::new();
    let (sealed, reader) = (aliased.sealed_by("one"), aliased.reader());
    block_on(reader.keyring().resolve()).unwrap();
    aliased.means(Err(ProviderErrorKind::NotFound));
    let error = block_on(reader.keyring().resolve()).unwrap_err();
    assert_eq!((error.kind(), error.key()), (ProviderErrorKind::NotFound, Some(&alias())));
    assert_eq!(block_on(reader.decrypt(&sealed, &context())).unwrap(), b"attack");
}

#[test]
fn one_key_that_cannot_be_resolved_keeps_no_other_from_it() {
    let (broken, aliased) = (Aliased::new(), Aliased::new());
    let keyring =
        Keyring::new().decrypt(broken.provider.clone(), alias()).decrypt(aliased.provider.clone(), alias());
    block_on(keyring.resolve()).unwrap();
    broken.means(Err(ProviderErrorKind::Unavailable));
    aliased.means(Ok(key("two")));
    // It is told while the other one is still to answer.
    aliased.waits.store(true, Ordering::SeqCst);
    let mut resolving = pin!(keyring.resolve());
    assert!(resolving.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    aliased.waits.store(false, Ordering::SeqCst);
    assert_eq!(block_on(resolving).unwrap_err().kind(), ProviderErrorKind::Unavailable);
    let reader = Envelope::new(keyring.clone());
    assert_eq!(block_on(reader.decrypt(&aliased.sealed_by("two"), &context())).unwrap(), b"attack");
}

#[test]
fn resolving_asks_after_the_call_and_an_answer_that_comes_late_replaces_no_newer_one() {
    let aliased = Aliased::new();
    let (one, two) = (aliased.sealed_by("one"), aliased.sealed_by("two"));
    let (reader, context) = (aliased.reader(), context());
    aliased.waits.store(true, Ordering::SeqCst);
    let mut late = pin!(reader.decrypt(&one, &context));
    assert!(late.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    aliased.means(Ok(key("two")));
    aliased.waits.store(false, Ordering::SeqCst);
    block_on(reader.keyring().resolve()).unwrap();
    assert_eq!(block_on(reader.decrypt(&two, &context)).unwrap(), b"attack");
    let error = block_on(late).unwrap_err();
    assert!(matches!(error, DecryptError::NoConfiguredKey { .. }), "{error:?}");
    assert_eq!(block_on(reader.decrypt(&two, &context)).unwrap(), b"attack");
}

/// What another call learned between the looks of this one at what is known and what is not.
#[test]
fn an_alias_that_another_call_resolved_meanwhile_is_tried_like_any_other() {
    let aliased = Aliased::new();
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    let provider =
        AlteredProvider::new(aliased.provider.clone()).on_unwrap(move |below, wrapped, context| {
            let failing = Arc::clone(&failing);
            Box::pin(async move {
                if *wrapped.key_uri() != key("two") {
                    return below.unwrap_dek(wrapped, context).await;
                }
                poll_fn(|task| {
                    task.waker().wake_by_ref();
                    if failing.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                Err(ProviderError::new(ProviderErrorKind::Unavailable, "memory", wrapped.key_uri(), "down"))
            })
        });
    let provider = Arc::new(provider);
    let writers =
        Keyring::new().encrypt(aliased.below.clone(), key("two")).encrypt(aliased.below.clone(), key("one"));
    let sealed = block_on(Envelope::new(writers).encrypt(b"attack", &context())).unwrap();
    let reader =
        Envelope::new(Keyring::new().decrypt(provider.clone(), key("two")).decrypt(provider, alias()));
    let context = context();
    let mut slow = pin!(reader.decrypt(&sealed, &context));
    assert!(slow.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(block_on(reader.decrypt(&aliased.sealed_by("one"), &context)).unwrap(), b"attack");
    fails.store(true, Ordering::SeqCst);
    assert_eq!(block_on(slow).unwrap(), b"attack");
    assert_eq!(aliased.asked(), 1);
}

// Rewrapping

#[test]
fn an_alias_is_rewrapped_inside_the_key_store_to_the_key_that_it_means() {
    let aliased = Aliased::new();
    let sealed = aliased.sealed_by("two");
    let rewrapping =
        AlteredProvider::new(aliased.provider.clone()).on_rewrap(|below, wrapped, to, context| {
            Box::pin(async move { below.rewrap_dek(wrapped, &below.resolve(to).await?, context).await })
        });
    let rewrapping = Arc::new(rewrapping);
    let ring = Keyring::new().decrypt(rewrapping.clone(), key("two")).encrypt(rewrapping, alias());
    let moved = block_on(Envelope::new(ring).rewrap(&sealed, &context())).unwrap();
    assert_eq!((named(&moved), aliased.below.rewraps()), (key("one"), 1));
    assert_eq!(block_on(aliased.reader().decrypt(&moved, &context())).unwrap(), b"attack");
}

#[test]
fn what_an_alias_does_not_open_is_not_rewrapped_by_it() {
    let aliased = Aliased::new();
    let sealed = aliased.sealed_by("two");
    let ring = Keyring::new().both(aliased.provider.clone(), alias());
    let error = block_on(Envelope::new(ring).rewrap(&sealed, &context())).unwrap_err();
    let refused = matches!(&error, RewrapError::Decrypt(DecryptError::NoConfiguredKey { recipients })
        if *recipients == [key("two")]);
    assert!(refused, "{error:?}");
    let recipients = Envelope::inspect(&sealed).unwrap();
    let recipients: Vec<_> = recipients.recipients().iter().map(WrappedDek::key_uri).cloned().collect();
    assert_eq!((recipients, aliased.below.rewraps()), (vec![key("two")], 0));
}
