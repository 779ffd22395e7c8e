use std::sync::Arc;

use envelope_sdk::{
    ContextBinding, KeyAdmin, KeyChange, KeyDescription, KeyState,
    KeyState::{Active, Compromised, Deactivated, Destroyed, PreActive, Suspended},
    KeyUse,
    ProviderErrorKind::{self, Invalid, NotFound, State, Unauthentic, Unsupported},
};

use super::*;

type Outcome = Result<KeyDescription, ProviderError>;

fn create(keystore: &Keystore, name: &str) -> KeyDescription {
    block_on(keystore.create_key(&NewKey::named(name))).unwrap()
}

fn rotate(keystore: &Keystore, name: &str) -> Outcome {
    block_on(keystore.rotate_key(&keystore.key_uri(name).unwrap()))
}

fn change(keystore: &Keystore, name: &str, version: Option<&str>, change: KeyChange) -> Outcome {
    block_on(keystore.change_key(&keystore.key_uri(name).unwrap(), version, change))
}

fn go(keystore: &Keystore, name: &str, version: Option<&str>, state: KeyState) -> Outcome {
    change(keystore, name, version, KeyChange::State(state))
}

fn kind<T>(outcome: Result<T, ProviderError>) -> ProviderErrorKind {
    outcome.err().unwrap().kind()
}

fn states(key: &KeyDescription) -> Vec<KeyState> {
    key.versions.iter().map(|version| version.state).collect()
}

/// The shortest way from the state of a new key to `state`.
fn way_to(state: KeyState) -> &'static [KeyState] {
    match state {
        Active => &[],
        Suspended => &[Suspended],
        Deactivated => &[Deactivated],
        Compromised => &[Compromised],
        Destroyed => &[Deactivated, Destroyed],
        _ => panic!("a key is not made {state} this way"),
    }
}

#[test]
fn a_key_wraps_and_another_opening_of_the_file_unwraps() {
    let store = Store::new();
    let key = create(&store.keystore, "db");
    assert_eq!(key.uri, store.keystore.key_uri("db").unwrap());
    assert_eq!((key.state, states(&key), key.archived), (Active, vec![Active], false));
    let dek = dek();
    let wrapped = wrap(&store.keystore, key.uri.as_str(), &dek).unwrap();
    assert_eq!(wrapped.key_uri(), &key.uri);
    assert_eq!(wrapped.key_version(), "1");
    assert_eq!(wrapped.wrap_algorithm(), "XAES-256-GCM");
    assert_eq!(wrapped.ciphertext().len(), 72);
    assert_eq!(unwrap(&store.open(), &wrapped).unwrap().expose(), dek.expose());
}

#[test]
fn the_short_name_means_the_key_of_this_keystore_and_no_other() {
    let (store, other) = (Store::new(), Store::new());
    create(&store.keystore, "db");
    create(&other.keystore, "db");
    let wrapped = wrap(&store.keystore, "local:db", &dek()).unwrap();
    assert_eq!(wrapped.key_uri(), &store.keystore.key_uri("db").unwrap());
    let resolve = |keystore: &Keystore, key: &str| block_on(keystore.resolve(&KeyUri::parse(key).unwrap()));
    assert_eq!(resolve(&store.keystore, "local:db").unwrap(), *wrapped.key_uri());
    assert_ne!(resolve(&other.keystore, "local:db").unwrap(), *wrapped.key_uri());
    assert_ne!(resolve(&store.keystore, "local:dc").unwrap(), *wrapped.key_uri());
    // The full form names its keystore itself, also another one's.
    assert_eq!(resolve(&other.keystore, wrapped.key_uri().as_str()).unwrap(), *wrapped.key_uri());
    assert_eq!(kind(resolve(&store.keystore, "passphrase:")), Unsupported);
    let error = unwrap(&other.keystore, &wrapped).unwrap_err();
    assert_eq!(error.kind(), NotFound);
    assert!(error.message().contains(other.keystore.id()), "{error}");
}

#[test]
fn unknown_keys_schemes_algorithms_and_versions_are_refused() {
    let store = Store::new();
    create(&store.keystore, "db");
    assert_eq!(kind(wrap(&store.keystore, "local:nothing", &dek())), NotFound);
    assert_eq!(kind(wrap(&store.keystore, "passphrase:", &dek())), Unsupported);
    let wrapped = wrap(&store.keystore, "local:db", &dek()).unwrap();
    for (version, algorithm, expected) in [
        ("2", "XAES-256-GCM", NotFound),
        ("01", "XAES-256-GCM", NotFound),
        ("+1", "XAES-256-GCM", NotFound),
        ("", "XAES-256-GCM", NotFound),
        ("1", "A256KW", Unsupported),
    ] {
        let sealed = wrapped.ciphertext().to_vec();
        let other = WrappedDek::new(wrapped.key_uri().clone(), version, algorithm, sealed).unwrap();
        assert_eq!(kind(unwrap(&store.keystore, &other)), expected, "{version} {algorithm}");
    }
    let describe = |key| block_on(store.keystore.describe_key(&KeyUri::parse(key).unwrap()));
    assert_eq!(kind(describe("local:nothing")), NotFound);
    assert_eq!(kind(rotate(&store.keystore, "nothing")), NotFound);
    assert_eq!(kind(go(&store.keystore, "nothing", None, Suspended)), NotFound);
    assert_eq!(kind(go(&store.keystore, "db", Some("2"), Suspended)), NotFound);
}

#[test]
fn a_wrapped_dek_opens_under_its_own_context_key_and_version_alone() {
    let store = Store::new();
    create(&store.keystore, "a");
    create(&store.keystore, "b");
    let wrapped = wrap(&store.keystore, "local:a", &dek()).unwrap();
    rotate(&store.keystore, "a").unwrap();
    assert_eq!(store.keystore.context_binding(&wrapped), ContextBinding::Provider);
    for wrong in [context("43"), FullContext::empty()] {
        assert_eq!(kind(block_on(store.keystore.unwrap_dek(&wrapped, &wrong))), Unauthentic);
    }
    for (name, version) in [("b", "1"), ("a", "2")] {
        let uri = store.keystore.key_uri(name).unwrap();
        let moved = WrappedDek::new(uri, version, "XAES-256-GCM", wrapped.ciphertext().to_vec()).unwrap();
        assert_eq!(kind(unwrap(&store.keystore, &moved)), Unauthentic, "{name} {version}");
    }
}

#[test]
fn a_wrapped_dek_that_was_changed_or_cut_is_unauthentic() {
    let store = Store::new();
    create(&store.keystore, "a");
    let wrapped = wrap(&store.keystore, "local:a", &dek()).unwrap();
    let with = |blob: Vec<u8>| {
        let changed = WrappedDek::new(wrapped.key_uri().clone(), "1", "XAES-256-GCM", blob).unwrap();
        kind(unwrap(&store.keystore, &changed))
    };
    for at in 0..72 {
        let mut blob = wrapped.ciphertext().to_vec();
        blob[at] ^= 1;
        assert_eq!(with(blob), Unauthentic, "byte {at}");
    }
    for length in (1..72).chain([73, 104, 4096]) {
        let mut blob = wrapped.ciphertext().to_vec();
        blob.resize(length, 0);
        assert_eq!(with(blob), Unauthentic, "{length} bytes");
    }
}

#[test]
fn rotation_wraps_with_the_new_version_and_the_old_one_still_unwraps() {
    let store = Store::new();
    create(&store.keystore, "db");
    let dek = dek();
    let old = wrap(&store.keystore, "local:db", &dek).unwrap();
    let rotated = rotate(&store.keystore, "db").unwrap();
    assert_eq!(states(&rotated), [Deactivated, Active]);
    let new = wrap(&store.keystore, "local:db", &dek).unwrap();
    assert_eq!(new.key_version(), "2");
    for wrapped in [old, new] {
        assert_eq!(unwrap(&store.open(), &wrapped).unwrap().expose(), dek.expose());
    }
}

#[test]
fn every_state_of_the_key_permits_what_the_table_says() {
    for state in [Active, Suspended, Deactivated, Compromised, Destroyed] {
        let store = Store::new();
        create(&store.keystore, "db");
        let wrapped = wrap(&store.keystore, "local:db", &dek()).unwrap();
        for step in way_to(state) {
            go(&store.keystore, "db", None, *step).unwrap();
        }
        for keystore in [&store.keystore, &store.open()] {
            let outcomes = [
                (KeyUse::Wrap, wrap(keystore, "local:db", &dek()).map(drop)),
                (KeyUse::Unwrap, unwrap(keystore, &wrapped).map(drop)),
            ];
            for (usage, outcome) in outcomes {
                match outcome {
                    Ok(()) => assert!(state.permits(usage), "{state} {usage:?}"),
                    Err(error) => {
                        assert!(!state.permits(usage), "{state} {usage:?}: {error}");
                        assert_eq!(error.kind(), State, "{error}");
                        assert!(error.message().contains(state.name()), "{error}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_state_of_an_old_version_permits_what_the_table_says() {
    for state in [Deactivated, Compromised, Destroyed, Suspended] {
        let store = Store::new();
        create(&store.keystore, "db");
        let wrapped = wrap(&store.keystore, "local:db", &dek()).unwrap();
        if state == Suspended {
            go(&store.keystore, "db", Some("1"), Suspended).unwrap();
        }
        rotate(&store.keystore, "db").unwrap();
        if matches!(state, Compromised | Destroyed) {
            go(&store.keystore, "db", Some("1"), state).unwrap();
        }
        assert_eq!(states(&block_on(store.keystore.list_keys(None)).unwrap().keys[0]), [state, Active]);
        for keystore in [&store.keystore, &store.open()] {
            assert_eq!(wrap(keystore, "local:db", &dek()).unwrap().key_version(), "2");
            match unwrap(keystore, &wrapped) {
                Ok(_) => assert!(state.permits(KeyUse::Unwrap), "{state}"),
                Err(error) => {
                    assert!(!state.permits(KeyUse::Unwrap), "{state}: {error}");
                    assert_eq!(error.kind(), State);
                }
            }
        }
    }
}

#[test]
fn a_pre_active_key_does_nothing_until_it_is_active() {
    let store = Store::new();
    let key = block_on(store.keystore.create_key(&NewKey::named("later").pre_active())).unwrap();
    assert_eq!((key.state, states(&key)), (PreActive, vec![PreActive]));
    assert_eq!(kind(wrap(&store.keystore, "local:later", &dek())), State);
    assert_eq!(kind(rotate(&store.keystore, "later")), State);
    let key = go(&store.keystore, "later", None, Active).unwrap();
    assert_eq!((key.state, states(&key)), (Active, vec![Active]));
    let wrapped = wrap(&store.keystore, "local:later", &dek()).unwrap();
    unwrap(&store.keystore, &wrapped).unwrap();
}

#[test]
fn only_transitions_of_the_table_are_made_and_the_rest_says_what_is_possible() {
    for from in [Active, Suspended, Deactivated, Compromised, Destroyed] {
        let store = Store::new();
        create(&store.keystore, "db");
        for step in way_to(from) {
            go(&store.keystore, "db", None, *step).unwrap();
        }
        let generation = store.keystore.generation();
        for to in KeyState::ALL.into_iter().filter(|to| !from.may_become(*to)) {
            let error = go(&store.keystore, "db", None, to).unwrap_err();
            assert_eq!(error.kind(), Invalid, "{from} → {to}: {error}");
            assert!(error.message().contains("may become") || from == Destroyed, "{error}");
        }
        assert_eq!(store.open().generation(), generation, "a refused change writes nothing");
    }
}

#[test]
fn only_an_active_key_is_rotated() {
    for state in [Suspended, Deactivated, Compromised, Destroyed] {
        let store = Store::new();
        create(&store.keystore, "db");
        for step in way_to(state) {
            go(&store.keystore, "db", None, *step).unwrap();
        }
        assert_eq!(kind(rotate(&store.keystore, "db")), State, "{state}");
    }
}

#[test]
fn the_current_version_of_an_active_key_is_not_taken_out_alone() {
    let store = Store::new();
    create(&store.keystore, "db");
    for state in [Deactivated, Compromised] {
        let error = go(&store.keystore, "db", Some("1"), state).unwrap_err();
        assert_eq!(error.kind(), Invalid);
        assert!(error.message().contains("rotate the key first"), "{error}");
    }
    assert_eq!(kind(go(&store.keystore, "db", Some("1"), Destroyed)), Invalid);
    go(&store.keystore, "db", Some("1"), Suspended).unwrap();
    assert_eq!(kind(wrap(&store.keystore, "local:db", &dek())), State);
    go(&store.keystore, "db", Some("1"), Active).unwrap();
    wrap(&store.keystore, "local:db", &dek()).unwrap();
    rotate(&store.keystore, "db").unwrap();
    go(&store.keystore, "db", Some("1"), Compromised).unwrap();
}

#[test]
fn an_old_version_never_becomes_active_again() {
    let store = Store::new();
    create(&store.keystore, "db");
    go(&store.keystore, "db", Some("1"), Suspended).unwrap();
    rotate(&store.keystore, "db").unwrap();
    let error = go(&store.keystore, "db", Some("1"), Active).unwrap_err();
    assert_eq!(error.kind(), Invalid);
    assert!(error.message().contains("deactivated"), "{error}");
    go(&store.keystore, "db", Some("1"), Deactivated).unwrap();
}

#[test]
fn destroying_takes_the_keys_out_of_the_file_and_keeps_the_name_taken() {
    let store = Store::new();
    create(&store.keystore, "db");
    rotate(&store.keystore, "db").unwrap();
    go(&store.keystore, "db", Some("1"), Destroyed).unwrap();
    assert_eq!(store.text().matches("\"wrapped_kek\": null").count(), 1);
    go(&store.keystore, "db", None, Deactivated).unwrap();
    change(&store.keystore, "db", None, KeyChange::Archive).unwrap();
    let gone = go(&store.keystore, "db", None, Destroyed).unwrap();
    assert_eq!((gone.state, states(&gone), gone.archived), (Destroyed, vec![Destroyed; 2], false));
    assert_eq!(store.text().matches("\"wrapped_kek\": null").count(), 2);
    assert_eq!(kind(block_on(store.keystore.create_key(&NewKey::named("db")))), Invalid);
}

#[test]
fn only_whole_deactivated_or_compromised_keys_are_archived() {
    let store = Store::new();
    create(&store.keystore, "db");
    assert_eq!(kind(change(&store.keystore, "db", None, KeyChange::Archive)), Invalid);
    go(&store.keystore, "db", None, Deactivated).unwrap();
    assert_eq!(kind(change(&store.keystore, "db", Some("1"), KeyChange::Archive)), Invalid);
    assert!(change(&store.keystore, "db", None, KeyChange::Archive).unwrap().archived);
    assert!(go(&store.keystore, "db", None, Compromised).unwrap().archived);
}

#[test]
fn names_are_unique_and_of_the_form_of_key_uris() {
    let store = Store::new();
    create(&store.keystore, "db");
    assert_eq!(kind(block_on(store.keystore.create_key(&NewKey::named("db")))), Invalid);
    for name in ["", "a/b", "-a", "a b", "ä", &"x".repeat(65)] {
        assert_eq!(kind(block_on(store.keystore.create_key(&NewKey::named(name)))), Invalid, "{name:?}");
        let error = store.keystore.key_uri(name).unwrap_err();
        let reason = if name.contains([' ', 'ä']) {
            "must be printable ASCII"
        } else {
            "a local key name has 1 to 64"
        };
        assert!(error.reason().starts_with(reason), "{name:?}: {error}");
    }
    create(&store.keystore, &"x".repeat(64));
}

#[test]
fn what_a_keystore_has_no_place_for_is_refused_and_not_left_out() {
    let store = Store::new();
    let new = || NewKey::named("db");
    for (asked, told) in [
        (new().description("of the shop"), "no description"),
        (new().tag("team", "shop"), "no tags"),
        (new().algorithm("AES-256"), "only of the algorithm XAES-256-GCM"),
        (new().option("multi-region", "true"), "no options"),
    ] {
        for outcome in [
            block_on(store.keystore.check_new_key(&asked)),
            block_on(store.keystore.create_key(&asked)).map(drop),
        ] {
            let error = outcome.unwrap_err();
            assert_eq!((error.kind(), error.key()), (Invalid, None), "{error}");
            assert!(error.message().contains(told), "{error}");
        }
    }
    assert_eq!(store.keystore.generation(), 0);
    block_on(store.keystore.create_key(&new().algorithm("XAES-256-GCM"))).unwrap();
}

#[test]
fn the_list_has_one_page() {
    let store = Store::new();
    create(&store.keystore, "db");
    assert_eq!(block_on(store.keystore.list_keys(None)).unwrap().next, None);
    let error = block_on(store.keystore.list_keys(Some("2"))).unwrap_err();
    assert_eq!((error.kind(), error.key()), (Invalid, None), "{error}");
}

#[test]
fn keys_are_listed_by_name() {
    let store = Store::new();
    for name in ["b", "a", "B", "a.1"] {
        create(&store.keystore, name);
    }
    let listed = block_on(store.keystore.list_keys(None)).unwrap().keys;
    let names: Vec<_> = listed.iter().map(|key| key.uri.as_str().rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["B", "a", "a.1", "b"]);
}

#[test]
fn changes_of_others_are_kept_and_seen_after_reload() {
    let store = Store::new();
    let other = store.open();
    create(&other, "theirs");
    assert_eq!(kind(wrap(&store.keystore, "local:theirs", &dek())), NotFound);
    create(&store.keystore, "ours");
    wrap(&store.keystore, "local:theirs", &dek()).unwrap();
    assert_eq!(kind(wrap(&other, "local:ours", &dek())), NotFound);
    other.reload().unwrap();
    wrap(&other, "local:ours", &dek()).unwrap();
}

#[test]
fn every_write_raises_the_generation_by_one() {
    let store = Store::new();
    assert_eq!(store.keystore.generation(), 0);
    create(&store.keystore, "db");
    rotate(&store.keystore, "db").unwrap();
    store.keystore.change_passphrase(&passphrase(SECRET)).unwrap();
    assert_eq!(store.keystore.generation(), 3);
    assert_eq!(store.open().generation(), 3);
}

#[test]
fn threads_share_a_keystore() {
    let store = Store::new();
    create(&store.keystore, "db");
    let keystore = Arc::new(store.open());
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let keystore = Arc::clone(&keystore);
            std::thread::spawn(move || {
                for round in 0..10 {
                    create(&keystore, &format!("t{thread}-{round}"));
                    let dek = dek();
                    let wrapped = wrap(&*keystore, "local:db", &dek).unwrap();
                    assert_eq!(unwrap(&*keystore, &wrapped).unwrap().expose(), dek.expose());
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(block_on(keystore.list_keys(None)).unwrap().keys.len(), 41);
    assert_eq!(keystore.generation(), 41);
}
