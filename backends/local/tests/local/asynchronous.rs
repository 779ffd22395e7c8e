//! Calls in an asynchronous service: what blocks is done elsewhere.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
    task::{Context, Waker},
    thread,
    time::Duration,
};

use envelope_local::PassphraseProvider;
use envelope_sdk::{KeyAdmin, KeyChange, KeyState};
use rustix::fs::{FlockOperation, flock};
use tokio::task::yield_now;

use super::*;

/// Counts how often the runtime gives a turn to a task beside.
fn ticking() -> Arc<AtomicUsize> {
    let ticks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ticks);
    tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::SeqCst);
            yield_now().await;
        }
    });
    ticks
}

#[tokio::test(flavor = "current_thread")]
async fn a_current_thread_runtime_goes_on_ticking_while_a_passphrase_is_hashed() {
    // Long enough that the thread is not done before the first look.
    let slow = Argon2Params { m_cost: 65536, t_cost: 6, p_cost: 4 };
    let provider = PassphraseProvider::with_params(passphrase(SECRET), slow).unwrap();
    let other = PassphraseProvider::with_params(passphrase(SECRET), slow).unwrap();
    let (ticks, dek, context) = (ticking(), dek(), context("42"));
    let wrapped = provider.wrap_dek(&KeyUri::passphrase(), &dek, &context).await.unwrap();
    let while_wrapping = ticks.load(Ordering::SeqCst);
    assert!(while_wrapping > 0);
    assert_eq!(other.unwrap_dek(&wrapped, &context).await.unwrap().expose(), dek.expose());
    assert!(ticks.load(Ordering::SeqCst) > while_wrapping);
}

#[tokio::test(flavor = "current_thread")]
async fn a_current_thread_runtime_goes_on_ticking_while_a_change_waits_for_another_process() {
    let store = Store::new();
    let key = store.keystore.create_key(&NewKey::named("main")).await.unwrap().uri;
    let lock = File::open(store.folder.path().join("keys.json.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let ticks = ticking();
    let waiting = Arc::clone(&ticks);
    let release = async {
        while waiting.load(Ordering::SeqCst) < 100 {
            yield_now().await;
        }
        drop(lock);
    };
    let (rotated, ()) = tokio::join!(store.keystore.rotate_key(&key), release);
    assert_eq!(rotated.unwrap().versions.len(), 2);
    // What takes no disk is not held up by a change.
    let wrapped = store.keystore.wrap_dek(&key, &dek(), &context("42")).await.unwrap();
    assert_eq!(wrapped.key_version(), "2");
}

#[test]
fn a_hash_that_nobody_waits_for_is_kept_for_the_next_call() {
    let provider = PassphraseProvider::with_params(passphrase(SECRET), FAST).unwrap();
    let (dek, context, key) = (dek(), context("42"), KeyUri::passphrase());
    for _ in 0..3 {
        let mut dropped = provider.wrap_dek(&key, &dek, &context);
        let _ = dropped.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    let wrapped = block_on(provider.wrap_dek(&key, &dek, &context)).unwrap();
    assert_eq!(block_on(provider.unwrap_dek(&wrapped, &context)).unwrap().expose(), dek.expose());
}

#[test]
fn a_call_that_waits_for_a_hash_and_is_not_polled_any_more_holds_up_no_other() {
    let provider = Arc::new(PassphraseProvider::with_params(passphrase(SECRET), FAST).unwrap());
    let (dek, context) = (dek(), context("42"));
    // Of other providers, so that each has a salt of its own. The first takes so long that the others come meanwhile.
    let slow = Argon2Params { m_cost: 65536, t_cost: 6, p_cost: 1 };
    let [one, two, three] = [slow, FAST, FAST].map(|params| {
        let other = PassphraseProvider::with_params(passphrase(SECRET), params).unwrap();
        wrap(&other, "passphrase:", &dek).unwrap()
    });
    let mut first = provider.unwrap_dek(&one, &context);
    let mut second = provider.unwrap_dek(&two, &context);
    for call in [&mut first, &mut second] {
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    let (tell, told) = channel();
    let third = Arc::clone(&provider);
    thread::spawn(move || tell.send(unwrap(&*third, &three).is_ok()));
    assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok(true), "it waits for one that nobody polls");
    assert!(block_on(second).is_ok() && block_on(first).is_ok());
}

#[test]
fn a_change_that_nobody_waits_for_is_made_whole_and_the_next_one_follows_it() {
    let store = Store::new();
    let key = block_on(store.keystore.create_key(&NewKey::named("main"))).unwrap().uri;
    let lock = File::open(store.folder.path().join("keys.json.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let mut dropped = store.keystore.rotate_key(&key);
    assert!(dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(dropped);
    drop(lock);
    let suspended = KeyChange::State(KeyState::Suspended);
    let described = block_on(store.keystore.change_key(&key, None, suspended)).unwrap();
    assert_eq!((described.versions.len(), described.state), (2, KeyState::Suspended));
    assert_eq!(store.open().generation(), 3);
    assert_eq!(store.names(), ["keys.json", "keys.json.lock"]);
}
