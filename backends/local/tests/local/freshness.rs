//! When a process learns of what another one changed. The other process is another
//! opening of the same file.

use std::{fs, sync::Arc};

use envelope_local::{KeystoreError, KeystoreOnUse};
use envelope_sdk::{
    DecryptError, Envelope, KeyAdmin, KeyChange, KeyState, Keyring,
    ProviderErrorKind::{self, AccessDenied, Invalid, NotFound, State},
    http::find_cause,
};

use super::{secrets::Program, *};

const SUSPEND: KeyChange = KeyChange::State(KeyState::Suspended);

/// A keystore with a key `db` that a service has open, and the file.
fn service() -> (Store, Arc<KeystoreOnUse>, WrappedDek) {
    let store = Store::new();
    block_on(store.keystore.create_key(&NewKey::named("db"))).unwrap();
    let program = Program::new().given("keystore-passphrase", SECRET).shared();
    let service = KeystoreOnUse::new(store.path(), program).unwrap();
    let wrapped = wrap(&service, "local:db", &dek()).unwrap();
    (store, Arc::new(service), wrapped)
}

fn db() -> KeyUri {
    KeyUri::parse("local:db").unwrap()
}

fn suspend(keystore: &Keystore) {
    block_on(keystore.change_key(&db(), None, SUSPEND)).unwrap();
}

fn kind<T>(outcome: Result<T, ProviderError>) -> ProviderErrorKind {
    outcome.err().expect("it is refused").kind()
}

#[test]
fn a_service_learns_of_a_suspension_when_its_keyring_resolves() {
    let (store, service, _) = service();
    let keyring = Keyring::new().both(service as _, db());
    let envelope = Envelope::new(keyring.clone());
    let context = EncryptionContext::new();
    let sealed = block_on(envelope.encrypt(b"data", &context)).unwrap();
    suspend(&store.keystore);
    // Memory only, until somebody asks.
    block_on(envelope.decrypt(&sealed, &context)).unwrap();
    block_on(keyring.resolve()).unwrap();
    let error = block_on(envelope.decrypt(&sealed, &context)).unwrap_err();
    let DecryptError::Keys { attempts } = &error else { panic!("{error}") };
    assert_eq!(attempts[0].kind(), State, "{error}");
    block_on(store.keystore.change_key(&db(), None, KeyChange::State(KeyState::Active))).unwrap();
    block_on(keyring.resolve()).unwrap();
    block_on(envelope.decrypt(&sealed, &context)).unwrap();
}

/// What is loaded serves, whatever becomes of the file.
#[test]
fn a_new_keyring_of_a_loaded_keystore_reads_no_file_but_to_resolve() {
    let (store, service, _) = service();
    let context = EncryptionContext::new();
    let sealed = {
        let first = Envelope::new(Keyring::new().encrypt(Arc::clone(&service) as _, db()));
        block_on(first.encrypt(b"data", &context)).unwrap()
    };
    fs::remove_file(store.path()).unwrap();
    let keyring = Keyring::new().both(service as _, db());
    let again = Envelope::new(keyring.clone());
    assert_eq!(block_on(again.decrypt(&sealed, &context)).unwrap(), b"data");
    let more = block_on(again.encrypt(b"more", &context)).unwrap();
    let error = block_on(keyring.resolve()).unwrap_err();
    assert!(matches!(find_cause(&error), Some(KeystoreError::NotFound { .. })), "{error}");
    assert_eq!(error.key(), Some(&db()));
    assert_eq!(block_on(again.decrypt(&more, &context)).unwrap(), b"more");
}

#[test]
fn resolving_learns_of_rotations_new_keys_and_destruction_and_of_a_full_name_too() {
    let (store, service, wrapped) = service();
    let full = store.keystore.key_uri("db").unwrap();
    block_on(store.keystore.rotate_key(&full)).unwrap();
    block_on(store.keystore.create_key(&NewKey::named("new"))).unwrap();
    assert_eq!(wrap(&*service, "local:db", &dek()).unwrap().key_version(), "1");
    assert_eq!(kind(wrap(&*service, "local:new", &dek())), NotFound);
    assert_eq!(block_on(service.resolve(&full)).unwrap(), full);
    assert_eq!(wrap(&*service, "local:db", &dek()).unwrap().key_version(), "2");
    wrap(&*service, "local:new", &dek()).unwrap();
    let destroyed = KeyChange::State(KeyState::Destroyed);
    block_on(store.keystore.change_key(&full, Some("1"), destroyed)).unwrap();
    unwrap(&*service, &wrapped).unwrap();
    block_on(service.resolve(&db())).unwrap();
    assert_eq!(kind(unwrap(&*service, &wrapped)), State);
}

#[test]
fn every_administrative_answer_is_of_the_file_and_is_learned_for_wrapping_too() {
    type Ask = fn(&KeystoreOnUse) -> Result<(), ProviderError>;
    let describe: Ask = |service| {
        let described = block_on(service.describe_key(&db()))?;
        assert_eq!(described.state, KeyState::Suspended);
        Ok(())
    };
    let list: Ask = |service| {
        assert_eq!(block_on(service.list_keys(None))?.keys[0].state, KeyState::Suspended);
        Ok(())
    };
    let rotation: Ask = |service| block_on(service.check_rotation(&db()));
    let rotate: Ask = |service| block_on(service.rotate_key(&db())).map(drop);
    let change: Ask = |service| block_on(service.check_change(&db(), None, SUSPEND));
    let new: Ask = |service| block_on(service.check_new_key(&NewKey::named("theirs")));
    let end: Ask = |service| block_on(service.check_set_not_after(&db(), None, Some(1)));
    for (number, (ask, refused)) in [
        (describe, None),
        (list, None),
        (rotation, Some(State)),
        (rotate, Some(State)),
        (change, Some(Invalid)),
        (new, Some(Invalid)),
        (end, None),
    ]
    .into_iter()
    .enumerate()
    {
        let (store, service, _) = service();
        block_on(store.keystore.create_key(&NewKey::named("theirs"))).unwrap();
        suspend(&store.keystore);
        assert_eq!(ask(&service).err().map(|error| error.kind()), refused, "{number}");
        assert_eq!(kind(wrap(&*service, "local:db", &dek())), State, "{number}");
    }
}

#[test]
fn a_refused_change_still_learns_of_what_others_changed() {
    let store = Store::new();
    block_on(store.keystore.create_key(&NewKey::named("db"))).unwrap();
    let other = store.open();
    suspend(&other);
    wrap(&store.keystore, "local:db", &dek()).unwrap();
    assert_eq!(kind(block_on(store.keystore.create_key(&NewKey::named("db")))), Invalid);
    assert_eq!(store.keystore.generation(), other.generation());
    assert_eq!(kind(wrap(&store.keystore, "local:db", &dek())), State);
}

#[test]
fn dry_runs_of_a_keystore_agree_with_the_operation_after_a_change_by_others() {
    let store = Store::new();
    block_on(store.keystore.create_key(&NewKey::named("db"))).unwrap();
    let words = |outcome: Result<(), ProviderError>| {
        let error = outcome.unwrap_err();
        (error.kind(), error.to_string())
    };
    // What is opened before the change, for the dry run and for the operation.
    let both = || (store.open(), store.open());
    let (rotation, change, new) = (both(), both(), both());
    let other = store.open();
    suspend(&other);
    block_on(other.create_key(&NewKey::named("theirs"))).unwrap();

    let check = words(block_on(rotation.0.check_rotation(&db())));
    assert_eq!(check.0, State);
    assert_eq!(check, words(block_on(rotation.1.rotate_key(&db())).map(drop)));

    let check = words(block_on(change.0.check_change(&db(), None, SUSPEND)));
    assert_eq!(check.0, Invalid);
    assert_eq!(check, words(block_on(change.1.change_key(&db(), None, SUSPEND)).map(drop)));

    let theirs = NewKey::named("theirs");
    let check = words(block_on(new.0.check_new_key(&theirs)));
    assert_eq!(check.0, Invalid);
    assert_eq!(check, words(block_on(new.1.create_key(&theirs)).map(drop)));
}

#[test]
fn a_file_that_is_refused_is_the_error_and_what_was_loaded_stays_in_use() {
    let (store, service, wrapped) = service();
    let old = store.text();
    block_on(store.keystore.create_key(&NewKey::named("more"))).unwrap();
    block_on(service.resolve(&db())).unwrap();
    let (new, other) = (store.text(), Store::new().text());
    type Is = fn(&KeystoreError) -> bool;
    let cases: [(String, Is); 3] = [
        (new.replacen("\"archived\": false", "\"archived\": true", 1), |error| {
            matches!(error, KeystoreError::Tampered { .. })
        }),
        (old, |error| matches!(error, KeystoreError::RolledBack { .. })),
        (other, |error| matches!(error, KeystoreError::OtherKeystore { .. })),
    ];
    for (text, is) in cases {
        fs::write(store.path(), text).unwrap();
        let by_key = [
            block_on(service.resolve(&db())).map(drop),
            block_on(service.describe_key(&db())).map(drop),
            block_on(service.check_rotation(&db())),
            block_on(service.check_change(&db(), None, SUSPEND)),
            block_on(service.check_set_not_after(&db(), None, None)),
        ];
        let by_none = [
            block_on(service.list_keys(None)).map(drop),
            block_on(service.check_new_key(&NewKey::named("x"))),
        ];
        let about = by_key.into_iter().map(|told| (told, true)).chain(by_none.map(|told| (told, false)));
        for (told, has_key) in about {
            let error = told.unwrap_err();
            assert_eq!((error.kind(), error.key().is_some()), (AccessDenied, has_key), "{error}");
            let cause = find_cause::<KeystoreError>(&error).unwrap();
            assert!(is(cause), "{cause}");
        }
        unwrap(&*service, &wrapped).unwrap();
    }
    fs::write(store.path(), new).unwrap();
    block_on(service.resolve(&db())).unwrap();
}

#[test]
fn resolving_keys_of_another_keystore_reads_nothing() {
    let (store, service, _) = service();
    fs::remove_file(store.path()).unwrap();
    let foreign = KeyUri::parse(&format!("local://{}/db", "0".repeat(32))).unwrap();
    assert_eq!(block_on(service.resolve(&foreign)).unwrap(), foreign);
    assert_eq!(kind(block_on(service.resolve(&db()))), NotFound);
}

#[test]
fn a_new_passphrase_does_not_lower_the_work_that_another_process_raised() {
    let store = Store::new();
    let raised = Argon2Params { m_cost: 20_000, t_cost: 2, p_cost: 2 };
    store.open().change_passphrase_with(&passphrase("second"), raised).unwrap();
    store.keystore.change_passphrase(&passphrase("third")).unwrap();
    assert!(store.text().contains("\"m_cost\": 20000,\n    \"t_cost\": 2,\n    \"p_cost\": 2"));
}
