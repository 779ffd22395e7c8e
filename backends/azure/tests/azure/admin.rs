//! Managing keys beyond what every key store has.

use envelope_sdk::{
    KeyChange, KeyProvider, KeyState,
    ProviderErrorKind::{AccessDenied, Invalid, NotFound, State, Unsupported},
    admin::{AutoRotation, Detail, all_keys},
};

use super::*;

#[test]
fn a_deleted_key_is_told_recovered_and_purged() {
    for azure in [Azure::new(), Azure::hsm()] {
        let key = azure.key();
        let wrapped = block_on(azure.vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
        assert_eq!(block_on(azure.vaults.check_purge(&key)).unwrap_err().kind(), State);
        go(&azure, &key, KeyState::Suspended);
        let gone = go(&azure, &key, KeyState::Destroyed);
        assert_eq!(gone.state, KeyState::Suspended);
        assert!(matches!(gone.details.get("purge"), Some(Detail::Time(_))), "{gone:?}");
        for error in [
            block_on(azure.vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err(),
            block_on(azure.vaults.unwrap_dek(&wrapped, &context())).unwrap_err(),
        ] {
            assert_eq!(error.kind(), State);
            assert!(error.message().contains("recover it"), "{error}");
        }
        let same = NewKey::named(key.as_str().rsplit_once('/').unwrap().1);
        let error = block_on(azure.vaults.create_key(&same)).unwrap_err();
        assert!(error.kind() == Invalid && error.message().contains("deleted key"), "{error}");
        block_on(azure.vaults.restore_key(&key)).unwrap();
        go(&azure, &key, KeyState::Active);
        block_on(azure.vaults.unwrap_dek(&wrapped, &context())).unwrap();
        go(&azure, &key, KeyState::Suspended);
        go(&azure, &key, KeyState::Destroyed);
        azure.server.set_purge_protection(true);
        let error = block_on(azure.vaults.purge_key(&key)).unwrap_err();
        assert_eq!((error.kind(), error.key()), (AccessDenied, Some(&key)), "{error}");
        azure.server.set_purge_protection(false);
        block_on(azure.vaults.check_purge(&key)).unwrap();
        block_on(azure.vaults.purge_key(&key)).unwrap();
        assert_eq!(block_on(azure.vaults.describe_key(&key)).unwrap_err().kind(), NotFound);
        assert_eq!(block_on(azure.vaults.unwrap_dek(&wrapped, &context())).unwrap_err().kind(), NotFound);
    }
}

/// A vault answers before it is done.
#[test]
fn a_deletion_that_takes_its_time_is_waited_for() {
    let azure = Azure::new();
    let key = azure.key();
    go(&azure, &key, KeyState::Suspended);
    azure.server.set_deletion_time(Duration::from_millis(400));
    go(&azure, &key, KeyState::Destroyed);
    let restored = block_on(azure.vaults.restore_key(&key)).unwrap();
    assert_eq!(restored.state, KeyState::Suspended);
    go(&azure, &key, KeyState::Active);
}

#[test]
fn small_and_exportable_keys_are_refused_and_each_other_kind_is_made() {
    let refused = |azure: &Azure, new: NewKey| {
        let checked = block_on(azure.vaults.check_new_key(&new)).unwrap_err();
        let made = block_on(azure.vaults.create_key(&new)).unwrap_err();
        assert_eq!(checked.kind(), made.kind());
        made.kind()
    };
    let vault = Azure::new();
    let new = || NewKey::named(fresh_name());
    assert_eq!(refused(&vault, new().algorithm("RSA-2048")), Invalid);
    assert_eq!(refused(&vault, new().option("exportable", "true")), Unsupported);
    for (azure, kinds) in [
        (vault, &[("RSA-3072", "RSA"), ("RSA-HSM-3072", "RSA-HSM")][..]),
        (Azure::hsm(), &[("RSA-HSM-3072", "RSA-HSM"), ("oct-HSM-256", "oct-HSM")]),
    ] {
        for (kind, kty) in kinds {
            let key = azure.key_with(|new| new.algorithm(*kind).tag("team", "shop"));
            let told = block_on(azure.vaults.describe(&key)).unwrap();
            assert_eq!(told.kind, *kty);
            assert_eq!(told.current().unwrap().tags["team"], "shop");
            assert_eq!(told.bits, kty.starts_with("RSA").then_some(3072));
        }
    }
}

#[test]
fn a_key_begins_when_it_is_activated_and_wraps_no_more_when_it_expires() {
    let azure = Azure::hsm();
    let key = azure.key_with(NewKey::pre_active);
    let error = block_on(azure.vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
    assert!(error.kind() == State && error.message().contains("not valid yet"), "{error}");
    assert_eq!(go(&azure, &key, KeyState::Active).state, KeyState::Active);
    let wrapped = block_on(azure.vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    assert_eq!(go(&azure, &key, KeyState::Deactivated).state, KeyState::Deactivated);
    let error = block_on(azure.vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
    assert!(error.kind() == State && error.message().contains("expired"), "{error}");
    block_on(azure.vaults.unwrap_dek(&wrapped, &context())).unwrap();
}

#[test]
fn tags_are_replaced_and_the_end_of_the_cryptoperiod_stays() {
    let azure = Azure::hsm();
    let key = azure.key_with(|new| new.tag("team", "shop").not_after(4_000_000_000));
    let tags = std::collections::BTreeMap::from([("owner".to_owned(), "me".to_owned())]);
    let told = block_on(azure.vaults.set_tags(&key, &tags)).unwrap();
    assert_eq!(told.details.get("tags"), Some(&Detail::List(vec!["owner=me".into()])));
    assert_eq!(told.current().unwrap().not_after, Some(4_000_000_000));
    let rotated = block_on(azure.vaults.rotate_key(&key)).unwrap();
    assert_eq!(rotated.current().unwrap().not_after, None);
    assert_eq!(rotated.versions[0].not_after, Some(4_000_000_000));
}

/// NIST SP 800-57 part 1, section 7, has no way from deactivated to suspended.
#[test]
fn an_old_version_is_not_suspended_alone_and_the_error_says_what_to_do() {
    let azure = Azure::new();
    let key = azure.key();
    let wrapped = block_on(azure.vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    let old = wrapped.key_version().to_owned();
    block_on(azure.vaults.rotate_key(&key)).unwrap();
    let suspend = KeyChange::State(KeyState::Suspended);
    for error in [
        block_on(azure.vaults.check_change(&key, Some(&old), suspend)).unwrap_err(),
        block_on(azure.vaults.change_key(&key, Some(&old), suspend)).unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.key()), (State, Some(&key)), "{error}");
        let words =
            format!("version {old} is deactivated and cannot become suspended: suspend the whole key");
        assert!(error.message().starts_with(&words), "{error}");
    }
    block_on(azure.vaults.unwrap_dek(&wrapped, &context())).unwrap();
    // What it says: the whole key, and then the current version alone is made active again.
    go(&azure, &key, KeyState::Suspended);
    assert_eq!(block_on(azure.vaults.unwrap_dek(&wrapped, &context())).unwrap_err().kind(), State);
    let current = block_on(azure.vaults.describe(&key)).unwrap().current().unwrap().version.clone();
    let activate = KeyChange::State(KeyState::Active);
    let told = block_on(azure.vaults.change_key(&key, Some(&current), activate)).unwrap();
    let states: Vec<_> = told.versions.iter().map(|version| version.state).collect();
    assert_eq!((told.state, states), (KeyState::Active, vec![KeyState::Suspended, KeyState::Active]));
    block_on(azure.vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    assert_eq!(block_on(azure.vaults.unwrap_dek(&wrapped, &context())).unwrap_err().kind(), State);
}

#[test]
fn a_period_of_rotation_has_its_limits() {
    let azure = Azure::hsm();
    let key = azure.key();
    for days in [0, 6, 36_501] {
        let error = block_on(azure.vaults.set_rotation(&key, AutoRotation::Days(days))).unwrap_err();
        assert_eq!(error.kind(), Invalid);
    }
    block_on(azure.vaults.set_rotation(&key, AutoRotation::Days(90))).unwrap();
    let status = block_on(azure.vaults.rotation_status(&key)).unwrap();
    assert_eq!((status.automatic, status.period_days), (true, Some(90)));
    assert!(status.next.is_some());
}

#[test]
fn a_list_of_several_pages_has_each_key_once() {
    let azure = Azure::hsm();
    let mut made: Vec<_> = (0..30).map(|_| azure.key()).collect();
    let listed = block_on(all_keys(&azure.vaults)).unwrap();
    let mut listed: Vec<_> = listed.into_iter().map(|key| key.uri).collect();
    made.sort();
    listed.sort();
    assert_eq!(listed, made);
    for page in ["", "x", "https://other.vault.localhost/keys?$skiptoken=1"] {
        assert_eq!(block_on(azure.vaults.list_keys(Some(page))).unwrap_err().kind(), Invalid);
    }
}

#[test]
fn without_a_vault_in_the_settings_nothing_is_made_or_listed() {
    let azure = Azure::new();
    for vaults in [
        azure.builder().build(),
        azure.builder().vault("https://x").build(),
        azure.builder().vault("x.example").build(),
    ] {
        for error in [
            block_on(vaults.list_keys(None)).unwrap_err(),
            block_on(vaults.create_key(&NewKey::named("k"))).unwrap_err(),
        ] {
            assert_eq!(error.kind(), Invalid, "{error}");
        }
    }
}

fn go(azure: &Azure, key: &KeyUri, state: KeyState) -> envelope_sdk::KeyDescription {
    block_on(azure.vaults.change_key(key, None, KeyChange::State(state))).unwrap()
}
