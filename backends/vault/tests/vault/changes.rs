//! Versions that are held back and trimmed, keys that are deleted, and changes whose answers are lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyState, NewKey,
    ProviderErrorKind::{AccessDenied, Invalid, NotFound, Protocol, State, Unavailable, Unsupported},
};
use envelope_testkit::http_server::{Answer, HttpServer};

use super::{
    between::{ask, losing, passing},
    *,
};
use KeyState::{Active, Deactivated, Destroyed, Suspended};

#[test]
fn a_version_is_first_held_back_and_then_gone_for_good() {
    let Some(server) = Server::shared() else { return };
    let (vault, key) = (server.vault(), server.key());
    let first = wrap(&vault, &key).unwrap();
    block_on(vault.rotate_key(&key)).unwrap();
    let second = wrap(&vault, &key).unwrap();
    block_on(vault.rotate_key(&key)).unwrap();

    assert_eq!(states(&to(&vault, &key, "1", Destroyed).unwrap()), [Suspended, Deactivated, Active]);
    let error = unwrap(&vault, &first).unwrap_err();
    assert!(error.kind() == State && error.message().contains("min_decryption_version"), "{error}");
    unwrap(&vault, &second).unwrap();

    // It was needed after all.
    assert_eq!(states(&to(&vault, &key, "1", Deactivated).unwrap()), [Deactivated, Deactivated, Active]);
    unwrap(&vault, &first).unwrap();
    to(&vault, &key, "1", Destroyed).unwrap();
    to(&vault, &key, "2", Destroyed).unwrap();
    block_on(vault.check_restore_key(&key)).unwrap();
    let restored = block_on(vault.restore_key(&key)).unwrap();
    assert_eq!(states(&restored), [Deactivated, Deactivated, Active]);
    for wrapped in [&first, &second] {
        unwrap(&vault, wrapped).unwrap();
    }

    for version in ["1", "2"] {
        to(&vault, &key, version, Destroyed).unwrap();
        // Repeated, it does no more.
        let error = to(&vault, &key, version, Destroyed).unwrap_err();
        assert!(error.kind() == State && error.message().contains("is held back already"), "{error}");
    }
    block_on(vault.trim_below(&key, 2)).unwrap();
    let told = block_on(vault.describe(&key)).unwrap();
    assert_eq!(states(&told.describe()), [Destroyed, Suspended, Active]);
    assert_eq!(
        (told.min_available_version, told.min_decryption_version, told.min_encryption_version),
        (2, 3, 3)
    );
    // What is gone does not come back, and what is held back does.
    assert_eq!(states(&block_on(vault.restore_key(&key)).unwrap()), [Destroyed, Deactivated, Active]);
    assert_eq!(unwrap(&vault, &first).unwrap_err().kind(), State);
    unwrap(&vault, &second).unwrap();
    for refused in [block_on(vault.check_restore_key(&key)), block_on(vault.restore_key(&key)).map(drop)] {
        let error = refused.unwrap_err();
        assert!(error.kind() == State && error.message().contains("nothing to restore"), "{error}");
    }
    wrap(&vault, &key).unwrap();
}

#[test]
fn a_change_that_would_change_other_versions_is_refused_with_the_one_that_is_next() {
    let Some(server) = Server::shared() else { return };
    let (vault, key) = (server.vault(), server.key());
    for _ in 0..4 {
        block_on(vault.rotate_key(&key)).unwrap();
    }
    to(&vault, &key, "1", Destroyed).unwrap();
    to(&vault, &key, "2", Destroyed).unwrap();
    let before = block_on(vault.describe(&key)).unwrap();
    for (version, state, kind, words) in [
        ("4", Destroyed, State, "version 3 is the next one"),
        ("2", Destroyed, State, "is held back already"),
        ("1", Deactivated, State, "version 2 is the next one"),
        ("1", Active, State, "make it deactivated"),
        ("3", Suspended, State, "destroy it, and it is held back"),
        ("5", Destroyed, State, "version 5 is active and cannot become destroyed"),
        ("5", Suspended, Unsupported, "rotate the key"),
        ("6", Destroyed, NotFound, "no version 6"),
        ("01", Destroyed, NotFound, "no version 01"),
    ] {
        let change = KeyChange::State(state);
        for refused in [
            block_on(vault.check_change(&key, Some(version), change)),
            to(&vault, &key, version, state).map(drop),
        ] {
            let error = refused.unwrap_err();
            assert!(error.kind() == kind && error.message().contains(words), "{version}, {state}: {error}");
        }
    }
    assert_eq!(block_on(vault.describe(&key)).unwrap(), before);
}

#[test]
fn nothing_is_trimmed_that_still_opens() {
    let Some(server) = Server::shared() else { return };
    let (vault, key) = (server.vault(), server.key());
    for _ in 0..3 {
        block_on(vault.rotate_key(&key)).unwrap();
    }
    to(&vault, &key, "1", Destroyed).unwrap();
    let before = block_on(vault.describe(&key)).unwrap();
    for (below, kind, words) in [
        (0, Invalid, "the first version of a key is 1"),
        (3, State, "version 2 still opens"),
        (4, State, "version 2 still opens"),
        (5, NotFound, "no version 5"),
    ] {
        for refused in
            [block_on(vault.check_trim_below(&key, below)), block_on(vault.trim_below(&key, below)).map(drop)]
        {
            let error = refused.unwrap_err();
            assert!(error.kind() == kind && error.message().contains(words), "{below}: {error}");
        }
    }
    block_on(vault.trim_below(&key, 1)).unwrap();
    block_on(vault.check_trim_below(&key, 2)).unwrap();
    assert_eq!(block_on(vault.describe(&key)).unwrap(), before);
}

#[test]
fn a_key_is_deleted_by_two_calls_and_not_by_one() {
    let Some(server) = Server::shared() else { return };
    let (vault, key) = (server.vault(), server.key());
    let wrapped = wrap(&vault, &key).unwrap();
    let destroy = KeyChange::State(Destroyed);
    let refused = || {
        for refused in [
            block_on(vault.check_change(&key, None, destroy)),
            block_on(vault.change_key(&key, None, destroy)).map(drop),
        ] {
            let error = refused.unwrap_err();
            assert!(error.kind() == State && error.message().contains("deletion_allowed first"), "{error}");
        }
        unwrap(&vault, &wrapped).unwrap();
    };
    refused();
    let allowed = block_on(vault.allow_deletion(&key, true)).unwrap();
    assert_eq!(allowed.details.get("deletion_allowed"), Some(&true.into()));
    unwrap(&vault, &wrapped).unwrap();
    block_on(vault.allow_deletion(&key, false)).unwrap();
    refused();
    block_on(vault.allow_deletion(&key, true)).unwrap();
    block_on(vault.check_change(&key, None, destroy)).unwrap();
    let gone = block_on(vault.change_key(&key, None, destroy)).unwrap();
    assert_eq!((gone.state, states(&gone)), (Destroyed, vec![Destroyed]));
    for error in [
        block_on(vault.describe_key(&key)).unwrap_err(),
        block_on(vault.change_key(&key, None, destroy)).unwrap_err(),
        unwrap(&vault, &wrapped).map(drop).unwrap_err(),
        wrap(&vault, &key).map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), NotFound, "{error}");
    }
}

#[test]
fn what_transit_has_not_is_refused_in_our_words() {
    let Some(server) = Server::shared() else { return };
    let (vault, key) = (server.vault(), server.key());
    for (change, words) in [
        (KeyChange::State(Suspended), "cannot hold back a key as a whole"),
        (KeyChange::State(Deactivated), "cannot hold back a key as a whole"),
        (KeyChange::State(KeyState::Compromised), "cannot make a key compromised"),
        (KeyChange::State(KeyState::PreActive), "cannot make a key pre-active"),
        (KeyChange::Archive, "cannot archive keys"),
    ] {
        let error = block_on(vault.change_key(&key, None, change)).unwrap_err();
        assert_eq!((error.kind(), error.key()), (Unsupported, Some(&key)));
        assert!(error.message().starts_with("this key store ") && error.message().contains(words), "{error}");
    }
}

/// Who may set borders, and may not trim.
#[test]
fn a_change_that_failed_half_way_is_done_again() {
    let Some(server) = Server::shared() else { return };
    let (root, key) = (server.vault(), server.key());
    block_on(root.rotate_key(&key)).unwrap();
    to(&root, &key, "1", Destroyed).unwrap();
    let name = server::name(&key);
    let policy = format!(
        "path \"transit/keys/{name}\" {{ capabilities = [\"read\"] }}
         path \"transit/keys/{name}/config\" {{ capabilities = [\"update\"] }}"
    );
    let some = server.builder().token(server.token(&policy, &json!({}))).build();
    let error = block_on(some.trim_below(&key, 2)).unwrap_err();
    assert!(
        error.kind() == AccessDenied && error.message().contains(&format!("transit/keys/{name}/trim")),
        "{error}"
    );
    let told = block_on(root.describe(&key)).unwrap();
    assert_eq!((told.min_encryption_version, told.min_available_version), (2, 0));
    for _ in 0..2 {
        assert_eq!(states(&block_on(root.trim_below(&key, 2)).unwrap()), [Destroyed, Active]);
    }
}

/// The server did it, and the answer did not come.
#[test]
fn what_may_not_be_done_twice_is_attempted_once_and_told_as_not_known() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let between = losing(&server, "POST", "/rotate", usize::MAX);
    let error = block_on(at(&between.url()).build().rotate_key(&key)).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Unavailable, false), "{error}");
    assert!(error.message().contains("not known") && error.message().contains("describe the key"), "{error}");
    assert_eq!(block_on(server.vault().describe(&key)).unwrap().latest_version, 2);

    let name = fresh_name();
    let between = losing(&server, "POST", &name, usize::MAX);
    let error = block_on(at(&between.url()).build().create_key(&NewKey::named(&name))).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Unavailable, false), "{error}");
    assert!(error.message().contains("not known"), "{error}");
    assert_eq!(between.requests().iter().filter(|request| request.method == "POST").count(), 1);
    block_on(server.vault().describe_key(&super::key(&name))).unwrap();
}

#[test]
fn what_is_the_same_each_time_is_attempted_again() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    block_on(server.vault().rotate_key(&key)).unwrap();
    let between = losing(&server, "POST", "/config", 1);
    let vault = at(&between.url()).build();
    assert_eq!(states(&to(&vault, &key, "1", Destroyed).unwrap()), [Suspended, Active]);
    let between = losing(&server, "POST", "/trim", 1);
    let vault = at(&between.url()).build();
    assert_eq!(states(&block_on(vault.trim_below(&key, 2)).unwrap()), [Destroyed, Active]);
}

#[test]
fn a_deletion_whose_answer_is_lost_is_looked_at() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    block_on(server.vault().allow_deletion(&key, true)).unwrap();
    let between = losing(&server, "DELETE", "", usize::MAX);
    let gone =
        block_on(at(&between.url()).build().change_key(&key, None, KeyChange::State(Destroyed))).unwrap();
    assert_eq!(gone.state, Destroyed);
    assert_eq!(between.requests().iter().filter(|request| request.method == "DELETE").count(), 1);
    assert_eq!(block_on(server.vault().describe_key(&key)).unwrap_err().kind(), NotFound);
}

/// Between the look at a key and its change.
#[test]
fn what_others_do_meanwhile_is_told_as_it_is() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    // As if its deletion had been allowed a moment ago.
    let between = passing(&server, |_, mut answer| {
        answer.1["data"]["deletion_allowed"] = json!(true);
        answer.into()
    });
    let error =
        block_on(at(&between.url()).build().change_key(&key, None, KeyChange::State(Destroyed))).unwrap_err();
    assert!(error.kind() == State && error.message().contains("deletion_allowed first"), "{error}");
    // As if it had been there a moment ago.
    let told = server.does("GET", &format!("transit/keys/{}", server::name(&key)), &json!({})).to_string();
    block_on(server.vault().allow_deletion(&key, true)).unwrap();
    server.does("DELETE", &format!("transit/keys/{}", server::name(&key)), &json!({}));
    let told = told.replace("\"deletion_allowed\":false", "\"deletion_allowed\":true");
    let between = passing(&server, move |request, answer| {
        if request.method == "GET" { Answer::json(200, told.clone()) } else { answer.into() }
    });
    let vault = at(&between.url()).build();
    for refused in [
        block_on(vault.rotate_key(&key)).map(drop),
        block_on(vault.allow_deletion(&key, false)).map(drop),
        block_on(vault.change_key(&key, None, KeyChange::State(Destroyed))).map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind(), NotFound);
    }
}

/// Described once before the change, and not after it.
#[test]
fn what_was_done_and_cannot_be_described_is_not_worth_another_try() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let done = Arc::new(AtomicBool::new(false));
    let between = passing(&server, move |request, answer| match request.method.as_str() {
        "GET" if done.load(Ordering::SeqCst) => Answer::new(503),
        "GET" => answer.into(),
        _ => {
            done.store(true, Ordering::SeqCst);
            answer.into()
        }
    });
    let error = block_on(at(&between.url()).build().rotate_key(&key)).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Unavailable, false), "{error}");
    assert!(error.message().starts_with("the key was changed, and could not be described"), "{error}");
}

/// It answers as if it had done it.
#[test]
fn a_server_that_does_not_do_what_it_says_is_told() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    block_on(server.vault().rotate_key(&key)).unwrap();
    let url = server.url.clone();
    let lies = HttpServer::answering(move |request| {
        if request.method != "GET" {
            return Answer::new(204);
        }
        ask(&url, "GET", request.target.trim_start_matches("/v1/"), "").into()
    });
    let vault = at(&lies.url()).build();
    for outcome in [
        block_on(vault.rotate_key(&key)).map(drop),
        to(&vault, &key, "1", Destroyed).map(drop),
        block_on(vault.allow_deletion(&key, true)).map(drop),
    ] {
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Protocol, false), "{error}");
        assert!(error.message().contains("does not show the change"), "{error}");
    }
}

fn to(
    vault: &HashiVault,
    key: &KeyUri,
    version: &str,
    state: KeyState,
) -> Result<KeyDescription, ProviderError> {
    block_on(vault.change_key(key, Some(version), KeyChange::State(state)))
}

fn states(described: &KeyDescription) -> Vec<KeyState> {
    described.versions.iter().map(|version| version.state).collect()
}
