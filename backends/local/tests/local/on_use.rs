//! Keystores and passphrases that are unlocked when they are used, and once.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, sync::mpsc};

use envelope_files::{
    secret::{SecretSource, SecretSourceError},
    trust::TrustError,
};
use envelope_local::{Argon2Error, KeystoreError, KeystoreOnUse, PassphraseOnUse, PassphraseProvider};
use envelope_sdk::{
    DecryptError, Envelope, KeyAdmin, KeyChange, KeyState, Keyring, ProviderErrorKind,
    admin::AutoRotation,
    http::find_cause,
    registry::Purpose,
    secret::{NoSecrets, SecretError},
};
use tokio::task::yield_now;

use super::{secrets::Program, *};

fn with_key() -> Store {
    let store = Store::new();
    block_on(store.keystore.create_key(&NewKey::named("db"))).unwrap();
    store
}

fn on_use(store: &Store, program: &Arc<Program>) -> KeystoreOnUse {
    KeystoreOnUse::new(store.path(), Arc::clone(program) as _).unwrap()
}

fn prompt(store: &Store) -> String {
    format!("keystore-passphrase once: Passphrase of the keystore {}", store.path().display())
}

#[test]
fn nobody_is_asked_before_a_key_is_used_and_then_once() {
    let (store, program) = (with_key(), Program::new().answers("keystore-passphrase", SECRET).shared());
    let keystore = on_use(&store, &program);
    assert_eq!(keystore.id(), store.keystore.id());
    let short = KeyUri::parse("local:db").unwrap();
    let full = store.keystore.key_uri("db").unwrap();
    assert_eq!(block_on(keystore.resolve(&short)).unwrap(), full);
    assert_eq!(block_on(keystore.resolve(&full)).unwrap(), full);
    assert!(keystore.is_same_key(&full, &full));
    assert_eq!(program.asked(), Vec::<String>::new());

    let dek = dek();
    let wrapped = wrap(&keystore, "local:db", &dek).unwrap();
    assert_eq!(
        program.asked(),
        ["given keystore-passphrase".to_owned(), "given passphrase".into(), prompt(&store)]
    );
    assert_eq!(unwrap(&keystore, &wrapped).unwrap().expose(), dek.expose());
    assert_eq!(block_on(keystore.list_keys(None)).unwrap().keys.len(), 1);
    block_on(keystore.rotate_key(&full)).unwrap();
    assert_eq!(block_on(keystore.describe_key(&short)).unwrap().versions.len(), 2);
    assert_eq!(program.asked(), Vec::<String>::new(), "nobody is asked twice");
}

#[test]
fn an_envelope_for_the_keys_of_others_asks_nobody() {
    let (store, other, program) = (with_key(), with_key(), Program::new().shared());
    let context = EncryptionContext::new();
    let db = KeyUri::parse("local:db").unwrap();
    let theirs = Keyring::new().encrypt(Arc::new(other.open()), db.clone());
    let sealed = block_on(Envelope::new(theirs).encrypt(b"data", &context)).unwrap();
    let keystore = Arc::new(on_use(&store, &program));
    let ours = Envelope::new(Keyring::new().decrypt(Arc::clone(&keystore) as _, db));
    let error = block_on(ours.decrypt(&sealed, &context)).unwrap_err();
    assert!(matches!(error, DecryptError::NoConfiguredKey { .. }), "{error}");

    let wrapped = wrap(&other.keystore, "local:db", &dek()).unwrap();
    let error = unwrap(&*keystore, &wrapped).unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::NotFound);
    assert!(error.message().contains(store.keystore.id()), "{error}");
    let error = wrap(&*keystore, "passphrase:", &dek()).unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Unsupported);
    assert_eq!(program.asked(), Vec::<String>::new());
}

#[test]
fn what_is_wrong_with_a_call_by_itself_asks_nobody() {
    let (store, program) = (with_key(), Program::new().shared());
    let keystore = on_use(&store, &program);
    let foreign = other_key();
    let unsupported = ProviderErrorKind::Unsupported;
    let db = KeyUri::parse("local:db").unwrap();
    let suspended = KeyChange::State(KeyState::Suspended);
    for (outcome, kind) in [
        (block_on(keystore.create_key(&NewKey::named("a/b"))).map(drop), ProviderErrorKind::Invalid),
        (block_on(keystore.check_new_key(&NewKey::named("a").tag("b", "c"))), ProviderErrorKind::Invalid),
        (block_on(keystore.describe_key(&foreign)).map(drop), ProviderErrorKind::NotFound),
        (block_on(keystore.rotate_key(&foreign)).map(drop), ProviderErrorKind::NotFound),
        (block_on(keystore.check_rotation(&foreign)), ProviderErrorKind::NotFound),
        (block_on(keystore.change_key(&foreign, None, suspended)).map(drop), ProviderErrorKind::NotFound),
        (block_on(keystore.check_change(&foreign, None, suspended)), ProviderErrorKind::NotFound),
        (block_on(keystore.set_not_after(&foreign, None, None)).map(drop), ProviderErrorKind::NotFound),
        (block_on(keystore.set_rotation(&db, AutoRotation::Default)), unsupported),
        (block_on(keystore.rotation_status(&db)).map(drop), unsupported),
        (block_on(keystore.set_alias("a", &db)).map(drop), unsupported),
        (block_on(keystore.restore_key(&db)).map(drop), unsupported),
    ] {
        assert_eq!(outcome.as_ref().unwrap_err().kind(), kind, "{outcome:?}");
    }
    assert_eq!(program.asked(), Vec::<String>::new());
}

fn other_key() -> KeyUri {
    KeyUri::parse(&format!("local://{}/db", "0".repeat(32))).unwrap()
}

#[test]
fn the_keystore_s_own_passphrase_and_file_go_before_the_only_one_and_that_before_a_person() {
    let store = with_key();
    let file = store.folder.path().join("secret");
    let own = "given keystore-passphrase".to_owned();
    let only = "given passphrase".to_owned();
    let write = |text: &str| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let wrong = "battery staple";
    for (program, in_file, asked) in [
        (
            Program::new()
                .given("keystore-passphrase", SECRET)
                .given("passphrase", wrong)
                .answers("keystore-passphrase", wrong),
            Some(wrong),
            vec![own.clone()],
        ),
        (
            Program::new().given("passphrase", wrong).answers("keystore-passphrase", wrong),
            Some("correct horse\nsecond line"),
            vec![own.clone()],
        ),
        (
            Program::new().given("passphrase", SECRET).answers("keystore-passphrase", wrong),
            None,
            vec![own.clone(), only.clone()],
        ),
        (
            Program::new().answers("keystore-passphrase", SECRET),
            None,
            vec![own.clone(), only.clone(), prompt(&store)],
        ),
    ] {
        let program = program.shared();
        let secrets = Arc::clone(&program) as _;
        let keystore = match in_file {
            None => KeystoreOnUse::new(store.path(), secrets),
            Some(text) => {
                write(text);
                KeystoreOnUse::new_with(store.path(), secrets, SecretSource::file(&file))
            }
        };
        let keystore = keystore.unwrap();
        wrap(&keystore, "local:db", &dek()).unwrap();
        assert_eq!(program.asked(), asked);
    }
}

#[test]
fn a_wrong_passphrase_is_told_at_each_use_and_nobody_is_asked_twice() {
    let (store, program) = (with_key(), Program::new().answers("keystore-passphrase", "wrong").shared());
    let keystore = on_use(&store, &program);
    let wrapped = wrap(&store.keystore, "local:db", &dek()).unwrap();
    let mut told = Vec::new();
    for error in [
        wrap(&keystore, "local:db", &dek()).unwrap_err(),
        unwrap(&keystore, &wrapped).unwrap_err(),
        block_on(keystore.list_keys(None)).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ProviderErrorKind::AccessDenied);
        let cause = find_cause::<KeystoreError>(&error).unwrap();
        assert!(matches!(cause, KeystoreError::WrongPassphrase { .. }), "{cause}");
        told.push((error.key().map(ToString::to_string), error.message().to_owned()));
    }
    assert_eq!(told[0].0.as_deref(), Some("local:db"));
    assert_eq!(told[2].0, None, "a list is about no key");
    assert!(told.iter().all(|(_, words)| *words == told[0].1), "{told:?}");
    assert_eq!(program.asked().len(), 3);
}

#[test]
fn an_empty_passphrase_no_person_and_an_unsafe_file_are_told_by_their_kinds() {
    let store = with_key();
    let refused = |program: Program, file: Option<&std::path::Path>| {
        let secrets = program.shared();
        let keystore = match file {
            None => KeystoreOnUse::new(store.path(), secrets),
            Some(file) => KeystoreOnUse::new_with(store.path(), secrets, SecretSource::file(file)),
        };
        wrap(&keystore.unwrap(), "local:db", &dek()).unwrap_err()
    };
    let error = refused(Program::new().given("passphrase", ""), None);
    assert_eq!((error.kind(), error.message()), (ProviderErrorKind::Invalid, "the passphrase is empty"));
    let error = refused(Program::new(), None);
    assert_eq!((error.kind(), error.message()), (ProviderErrorKind::Invalid, "there is nobody to ask"));
    assert!(find_cause::<SecretError>(&error).is_some());
    let file = store.folder.path().join("secret");
    fs::write(&file, SECRET).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let error = refused(Program::new().answers("keystore-passphrase", SECRET), Some(&file));
    assert_eq!(error.kind(), ProviderErrorKind::Other);
    let cause = find_cause::<SecretSourceError>(&error).unwrap();
    assert!(matches!(cause, SecretSourceError::File(TrustError::Readable { mode: 0o644, .. })), "{cause}");
}

#[test]
fn a_missing_or_unsafe_file_is_told_before_anybody_is_asked() {
    let store = with_key();
    let refused = |path: PathBuf| KeystoreOnUse::new(path, Arc::new(NoSecrets)).err().unwrap();
    assert!(matches!(refused(store.folder.path().join("none")), KeystoreError::NotFound { .. }));
    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(refused(store.path()), KeystoreError::Permissions { mode: 0o640, .. }));
}

#[test]
fn another_keystore_that_came_into_the_place_of_the_file_is_not_taken_for_it() {
    let (store, other) = (with_key(), with_key());
    let program = Program::new().given("keystore-passphrase", SECRET).shared();
    let keystore = on_use(&store, &program);
    fs::write(store.path(), other.text()).unwrap();
    let error = wrap(&keystore, "local:db", &dek()).unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::AccessDenied);
    let cause = find_cause::<KeystoreError>(&error).unwrap();
    assert!(
        matches!(cause, KeystoreError::OtherKeystore { expected, found, .. }
            if expected == store.keystore.id() && found == other.keystore.id()),
        "{cause}"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_runtime_goes_on_while_a_person_is_asked_and_a_crowd_asks_once() {
    let store = with_key();
    let (answer, wait) = mpsc::channel();
    let mut program = Program::new().answers("keystore-passphrase", SECRET);
    program.wait = Some(wait.into());
    let program = program.shared();
    let keystore = on_use(&store, &program);
    let key = KeyUri::parse("local:db").unwrap();
    let (dek, context) = (dek(), context("42"));
    let person = async {
        for _ in 0..100 {
            yield_now().await;
        }
        answer.send(()).unwrap();
    };
    let (one, other, ()) = tokio::join!(
        keystore.wrap_dek(&key, &dek, &context),
        keystore.wrap_dek(&key, &dek, &context),
        person
    );
    one.unwrap();
    other.unwrap();
    assert_eq!(program.asked().len(), 3);
}

#[test]
fn an_answer_that_nobody_waits_for_any_more_is_kept_for_the_next_call() {
    let store = with_key();
    let (answer, wait) = mpsc::channel();
    let mut program = Program::new().answers("keystore-passphrase", SECRET);
    program.wait = Some(wait.into());
    let program = program.shared();
    let keystore = on_use(&store, &program);
    let key = KeyUri::parse("local:db").unwrap();
    let (dek, context) = (dek(), context("42"));
    let mut dropped = keystore.wrap_dek(&key, &dek, &context);
    assert!(
        dropped.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending()
    );
    drop(dropped);
    answer.send(()).unwrap();
    block_on(keystore.wrap_dek(&key, &dek, &context)).unwrap();
    assert_eq!(program.asked().len(), 3);
}

#[test]
fn each_purpose_has_its_secret_and_its_prompt() {
    let work = PassphraseProvider::DEFAULT_ALLOWED_WORK;
    let ask = |program: Program, purpose| {
        let program = program.shared();
        let passphrase = PassphraseOnUse::new(Arc::clone(&program) as _, purpose, work);
        assert_eq!(program.asked(), Vec::<String>::new(), "nobody is asked before it is used");
        for _ in 0..2 {
            wrap(&passphrase, "passphrase:", &dek()).unwrap_err();
        }
        program.asked()
    };
    assert_eq!(ask(Program::new(), Purpose::Encrypt), ["given passphrase", "passphrase twice: Passphrase"]);
    assert_eq!(ask(Program::new(), Purpose::Decrypt), ["given passphrase", "passphrase once: Passphrase"]);
    assert_eq!(
        ask(Program::new(), Purpose::Replace),
        ["given new-passphrase", "new-passphrase twice: New passphrase"]
    );
    let given = || Program::new().given("passphrase", "");
    assert_eq!(ask(given(), Purpose::Encrypt), ["given passphrase"]);
    assert_eq!(ask(given(), Purpose::Decrypt), ["given passphrase"]);
    assert_eq!(ask(Program::new().given("new-passphrase", ""), Purpose::Replace), ["given new-passphrase"]);
}

#[test]
fn a_passphrase_is_asked_once_and_opens_what_it_encrypted() {
    let program = Program::new().answers("passphrase", SECRET).shared();
    let new = |purpose| PassphraseOnUse::new(Arc::clone(&program) as _, purpose, 4);
    let (encrypting, decrypting) = (new(Purpose::Encrypt), new(Purpose::Decrypt));
    let dek = dek();
    let wrapped = wrap(&encrypting, "passphrase:", &dek).unwrap();
    assert_eq!(program.asked(), ["given passphrase", "passphrase twice: Passphrase"]);
    for _ in 0..2 {
        assert_eq!(unwrap(&decrypting, &wrapped).unwrap().expose(), dek.expose());
    }
    assert_eq!(program.asked(), ["given passphrase", "passphrase once: Passphrase"]);
    let error = wrap(&encrypting, "local:db", &dek).unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Unsupported);
}

#[test]
fn more_work_is_allowed_to_decrypt_alone() {
    let hard = Argon2Params { m_cost: 19456, t_cost: 60 / 4, p_cost: 1 };
    assert!(hard.work() > 1);
    let provider = PassphraseProvider::with_params(passphrase(SECRET), hard).unwrap();
    let wrapped = wrap(&provider, "passphrase:", &dek()).unwrap();
    let program = Program::new().given("passphrase", SECRET).shared();
    let new = |purpose, work| PassphraseOnUse::new(Arc::clone(&program) as _, purpose, work);
    unwrap(&new(Purpose::Decrypt, hard.work()), &wrapped).unwrap();
    let error = unwrap(&new(Purpose::Decrypt, 1), &wrapped).unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Unsupported);
    let cause = find_cause::<Argon2Error>(&error).unwrap();
    assert!(matches!(cause, Argon2Error::TooMuchWork { allowed: 1, .. }), "{cause}");
}
