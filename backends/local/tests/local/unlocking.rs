//! What goes wrong when something is unlocked: what is told, what is tried again.

use std::{
    collections::VecDeque,
    error::Error,
    fs,
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Waker},
};

use envelope_files::secret::{SecretSource, SecretSourceError};
use envelope_local::{KeystoreError, KeystoreOnUse, PassphraseError, PassphraseOnUse};
use envelope_sdk::{
    DecryptError, Envelope, KeyAdmin, Keyring,
    ProviderErrorKind::{self, AccessDenied, Invalid, NotFound, Other, Throttled, Unauthentic, Unavailable},
    http::find_cause,
    registry::Purpose,
    secret::{Prompt, SecretError, Secrets},
};
use zeroize::Zeroizing;

use super::{secrets::Program, *};

type Answer = Box<dyn FnOnce() -> Result<Zeroizing<String>, SecretError> + Send>;

/// A person who answers in turn, or what stands for one.
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<usize>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        let answers = answers.into_iter().collect::<VecDeque<_>>().into();
        Arc::new(Self { answers, asked: Mutex::default() })
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

impl Secrets for Script {
    fn given(&self, _name: &str) -> Result<Option<Zeroizing<String>>, SecretError> {
        Ok(None)
    }

    fn ask(&self, _name: &str, _prompt: &Prompt<'_>) -> Result<Zeroizing<String>, SecretError> {
        *self.asked.lock().unwrap() += 1;
        let answer = self.answers.lock().unwrap().pop_front();
        answer.expect("nobody is asked so often")()
    }
}

fn says(text: &'static str) -> Answer {
    Box::new(move || Ok(Zeroizing::new(text.into())))
}

fn fails(kind: ProviderErrorKind) -> Answer {
    Box::new(move || Err(SecretError::new(kind, "the vault says no")))
}

fn panics() -> Answer {
    Box::new(|| panic!("on purpose"))
}

fn with_key() -> Store {
    let store = Store::new();
    block_on(store.keystore.create_key(&NewKey::named("db"))).unwrap();
    store
}

fn on_use(store: &Store, secrets: &Arc<Script>) -> KeystoreOnUse {
    KeystoreOnUse::new(store.path(), Arc::clone(secrets) as _).unwrap()
}

fn refused(keystore: &KeystoreOnUse) -> ProviderError {
    wrap(keystore, "local:db", &dek()).unwrap_err()
}

/// What an error and its sources say, one after the other.
fn chain(error: &dyn Error) -> Vec<String> {
    let mut told = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        told.push(error.to_string());
        next = error.source();
    }
    told
}

fn write_secret(store: &Store, text: &str) -> PathBuf {
    let file = store.folder.path().join("secret");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

#[test]
fn a_keystore_that_does_not_open_is_not_told_as_damage_of_what_it_should_decrypt() {
    let db = KeyUri::parse("local:db").unwrap();
    let context = EncryptionContext::new();
    type Is = fn(&KeystoreError) -> bool;
    let wrong: Is = |error| matches!(error, KeystoreError::WrongPassphrase { .. });
    let tampered: Is = |error| matches!(error, KeystoreError::Tampered { .. });
    let other: Is = |error| matches!(error, KeystoreError::OtherKeystore { .. });
    for (secret, change, is) in [("wrong", 0, wrong), (SECRET, 1, tampered), (SECRET, 2, other)] {
        let (store, another) = (with_key(), with_key());
        let encrypting = Envelope::new(Keyring::new().encrypt(Arc::new(store.open()), db.clone()));
        let sealed = block_on(encrypting.encrypt(b"data", &context)).unwrap();
        let keystore = Arc::new(on_use(&store, &Script::new([says(secret)])));
        match change {
            1 => fs::write(store.path(), store.text().replace("\"archived\": false", "\"archived\": true")),
            2 => fs::write(store.path(), another.text()),
            _ => Ok(()),
        }
        .unwrap();
        let envelope = Envelope::new(Keyring::new().decrypt(keystore, db.clone()));
        let error = block_on(envelope.decrypt(&sealed, &context)).unwrap_err();
        let DecryptError::Keys { attempts } = &error else { panic!("{error}") };
        assert_eq!(attempts[0].kind(), AccessDenied, "{error}");
        assert!(!attempts[0].is_retryable(), "{error}");
        let cause = find_cause::<KeystoreError>(&attempts[0]).unwrap();
        assert!(is(cause), "{cause}");
    }
}

#[test]
fn no_secret_makes_an_unlocking_unauthentic() {
    let store = with_key();
    assert_eq!(refused(&on_use(&store, &Script::new([fails(Unauthentic)]))).kind(), AccessDenied);
    let secrets = Script::new([fails(Unauthentic)]);
    let passphrase = PassphraseOnUse::new(secrets, Purpose::Encrypt, 4);
    assert_eq!(wrap(&passphrase, "passphrase:", &dek()).unwrap_err().kind(), AccessDenied);
}

#[test]
fn what_another_try_cannot_change_is_kept_and_not_worth_one() {
    let store = with_key();
    let long: Answer = Box::new(|| Ok(Zeroizing::new("x".repeat(4097))));
    for (answer, kind) in
        [(says("wrong"), AccessDenied), (says(""), Invalid), (long, Invalid), (fails(Invalid), Invalid)]
    {
        let secrets = Script::new([answer]);
        let keystore = on_use(&store, &secrets);
        let first = refused(&keystore);
        for error in [&first, &refused(&keystore), &block_on(keystore.list_keys(None)).unwrap_err()] {
            assert_eq!((error.kind(), error.is_retryable()), (kind, false), "{error}");
            assert_eq!(error.message(), first.message());
        }
        assert_eq!(secrets.asked(), 1, "{first}");
    }
}

#[test]
fn what_may_be_another_way_later_is_told_and_then_tried_again() {
    let store = with_key();
    for (kind, retryable) in
        [(Unavailable, true), (Throttled, true), (Other, false), (NotFound, false), (AccessDenied, false)]
    {
        let secrets = Script::new([fails(kind), fails(kind), says(SECRET)]);
        let keystore = on_use(&store, &secrets);
        for _ in 0..2 {
            let error = refused(&keystore);
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{error}");
            assert_eq!(find_cause::<SecretError>(&error).unwrap().kind(), kind);
        }
        for _ in 0..2 {
            wrap(&keystore, "local:db", &dek()).unwrap();
        }
        assert_eq!(secrets.asked(), 3);

        let secrets = Script::new([fails(kind), says(SECRET)]);
        let passphrase = PassphraseOnUse::new(Arc::clone(&secrets) as _, Purpose::Encrypt, 4);
        assert_eq!(wrap(&passphrase, "passphrase:", &dek()).unwrap_err().is_retryable(), retryable);
        wrap(&passphrase, "passphrase:", &dek()).unwrap();
        assert_eq!(secrets.asked(), 2);
    }
}

#[test]
fn a_file_that_had_no_passphrase_yet_or_was_not_there_is_read_again() {
    let store = with_key();
    let file = write_secret(&store, "");
    let keystore = KeystoreOnUse::new_with(store.path(), Script::new([]), SecretSource::file(&file)).unwrap();
    let error = refused(&keystore);
    assert_eq!(error.kind(), Invalid);
    let empty = "what was read as the passphrase of the keystore is none: the passphrase is empty";
    assert_eq!(error.message(), empty);
    assert_eq!(find_cause::<PassphraseError>(&error), Some(&PassphraseError::Empty));
    fs::remove_file(&file).unwrap();
    let error = refused(&keystore);
    assert_eq!(error.kind(), Other);
    assert!(
        error.message().starts_with("cannot read the passphrase of the keystore: cannot read "),
        "{error}"
    );
    assert!(matches!(find_cause(&error), Some(SecretSourceError::File(error)) if error.is_not_found()));
    write_secret(&store, SECRET);
    wrap(&keystore, "local:db", &dek()).unwrap();
}

#[test]
fn nobody_is_asked_for_a_keystore_that_cannot_be_read_and_nobody_types_twice() {
    let store = with_key();
    let text = store.text();
    let secrets = Script::new([says(SECRET)]);
    let keystore = on_use(&store, &secrets);
    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let cause = |error: &ProviderError| find_cause::<KeystoreError>(error).unwrap().to_string();
    let error = refused(&keystore);
    assert!(cause(&error).contains("run chmod 600"), "{error}");
    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(store.path(), "{}").unwrap();
    let error = refused(&keystore);
    assert!(cause(&error).contains("is no keystore"), "{error}");
    assert_eq!(secrets.asked(), 0);
    // Only the right passphrase shows that it was changed: that of before will do for the next try.
    fs::write(store.path(), text.replace("\"archived\": false", "\"archived\": true")).unwrap();
    for _ in 0..2 {
        let error = refused(&keystore);
        assert!(cause(&error).contains("was changed by something else"), "{error}");
    }
    fs::write(store.path(), &text).unwrap();
    wrap(&keystore, "local:db", &dek()).unwrap();
    assert_eq!(secrets.asked(), 1);
}

#[test]
fn what_was_typed_and_is_wrong_since_the_file_has_another_one_is_asked_for_again() {
    let store = with_key();
    let person = Script::new([says(SECRET), says("new horse")]);
    let keystore = on_use(&store, &person);
    let good = fs::read_to_string(store.path()).unwrap();
    let changed = good.replacen("\"state\": \"active\"", "\"state\": \"suspended\"", 1);
    assert_ne!(good, changed);
    fs::write(store.path(), changed).unwrap();
    assert!(matches!(find_cause(&refused(&keystore)), Some(KeystoreError::Tampered { .. })));
    fs::write(store.path(), good).unwrap();
    store.keystore.change_passphrase_with(&passphrase("new horse"), FAST).unwrap();
    wrap(&keystore, "local:db", &dek()).unwrap();
    assert_eq!(person.asked(), 2);
}

#[test]
fn a_panic_of_who_gives_secrets_is_told_and_then_the_right_answer_is_taken() {
    let store = with_key();
    let secrets = Script::new([panics(), says(SECRET)]);
    let keystore = on_use(&store, &secrets);
    let error = refused(&keystore);
    assert_eq!((error.kind(), error.is_retryable()), (Other, false), "{error}");
    assert_eq!(error.message(), "it was not unlocked because of a panic");
    assert_eq!(secrets.asked(), 1);
    wrap(&keystore, "local:db", &dek()).unwrap();
    wrap(&keystore, "local:db", &dek()).unwrap();
    assert_eq!(secrets.asked(), 2);
}

/// Answers when it is told to.
fn held_up(answer: Answer) -> (Answer, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (started, did_start) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let held_up = move || {
        started.send(()).unwrap();
        may_go_on.recv().unwrap();
        answer()
    };
    (Box::new(held_up), did_start, go_on)
}

#[test]
fn a_crowd_is_told_what_came_of_the_one_try_that_it_waited_for() {
    let store = with_key();
    for (answer, kind) in
        [(panics(), Other), (fails(Unavailable), Unavailable), (says("wrong"), AccessDenied)]
    {
        let (answer, did_start, go_on) = held_up(answer);
        let secrets = Script::new([answer]);
        let keystore = on_use(&store, &secrets);
        let (key, dek, context) = (KeyUri::parse("local:db").unwrap(), dek(), context("42"));
        let mut calls: Vec<_> = (0..4).map(|_| keystore.wrap_dek(&key, &dek, &context)).collect();
        for call in &mut calls {
            assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        did_start.recv().unwrap();
        // Gone, not polled any more, and two that wait.
        drop(calls.remove(0));
        let _idle = calls.remove(0);
        go_on.send(()).unwrap();
        for call in calls {
            let error = block_on(call).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
        }
        assert_eq!(secrets.asked(), 1);
    }
}

#[test]
fn a_panic_that_nobody_waits_for_any_more_leaves_room_for_the_next_try() {
    let store = with_key();
    let (answer, did_start, go_on) = held_up(panics());
    let secrets = Script::new([answer, says(SECRET)]);
    let keystore = on_use(&store, &secrets);
    let (key, dek, context) = (KeyUri::parse("local:db").unwrap(), dek(), context("42"));
    let mut dropped = keystore.wrap_dek(&key, &dek, &context);
    assert!(dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    did_start.recv().unwrap();
    drop(dropped);
    let mut waits = keystore.wrap_dek(&key, &dek, &context);
    assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(secrets.asked(), 1, "the next call waits for the try of before");
    go_on.send(()).unwrap();
    assert_eq!(block_on(waits).unwrap_err().kind(), Other);
    block_on(keystore.wrap_dek(&key, &dek, &context)).unwrap();
    assert_eq!(secrets.asked(), 2);
}

#[test]
fn the_sources_of_an_error_say_once_what_it_says() {
    let store = with_key();
    let file = write_secret(&store, "");
    let of_file = KeystoreOnUse::new_with(store.path(), Script::new([]), SecretSource::file(&file)).unwrap();
    let asked = |answers: Vec<Answer>| on_use(&store, &Script::new(answers));
    for (keystore, words) in [
        (asked(vec![says("wrong")]), "wrong passphrase"),
        (asked(vec![says("")]), "is empty"),
        (asked(vec![fails(Other), fails(Other)]), "the vault says no"),
        (of_file, "is empty"),
    ] {
        for error in [refused(&keystore), refused(&keystore)] {
            let told = chain(&error);
            assert!(told[0].contains(words), "{told:?}");
            assert_eq!(told[1..].iter().filter(|said| said.contains(words)).count(), 1, "{told:?}");
        }
    }
}

#[test]
fn a_program_that_gives_a_secret_that_is_refused_is_not_asked_again() {
    let store = with_key();
    let program = Program::new().given("keystore-passphrase", "").shared();
    let keystore = KeystoreOnUse::new(store.path(), Arc::clone(&program) as _).unwrap();
    for _ in 0..2 {
        assert_eq!(refused(&keystore).kind(), Invalid);
    }
    assert_eq!(program.asked(), ["given keystore-passphrase"]);
}
