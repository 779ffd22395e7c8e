//! Wraps that are made on this machine, and keys whose type changes.

use envelope_sdk::{
    KeyChange, KeyProvider, KeyState,
    ProviderErrorKind::{Invalid, Protocol, State, Unsupported},
};
use envelope_testkit::azure_server::AzureService;
use serde_json::json;

use super::*;

#[test]
fn a_local_wrap_asks_nobody_and_the_vault_opens_it() {
    let azure = Azure::new();
    let key = azure.key();
    let vaults = azure.builder().local_wraps(true).build();
    let dek = fresh_dek();
    let first = block_on(vaults.wrap_dek(&key, &dek, &context())).unwrap();
    let before = azure.server.exchanges();
    let wrapped = block_on(vaults.wrap_dek(&key, &dek, &context())).unwrap();
    assert_eq!(azure.server.exchanges(), before, "nobody was asked");
    assert_ne!(first.ciphertext(), wrapped.ciphertext());
    for opener in [&vaults, &azure.vaults] {
        for wrapped in [&first, &wrapped] {
            assert_eq!(block_on(opener.unwrap_dek(wrapped, &context())).unwrap().expose(), dek.expose());
        }
    }
    // Pinned by version: of a rotation, or a suspension, it does not hear.
    block_on(azure.vaults.rotate_key(&key)).unwrap();
    let later = block_on(vaults.wrap_dek(&key, &dek, &context())).unwrap();
    assert_eq!(later.key_version(), first.key_version());
    block_on(azure.vaults.change_key(&key, None, KeyChange::State(KeyState::Suspended))).unwrap();
    block_on(vaults.wrap_dek(&key, &dek, &context())).unwrap();
    let error = block_on(vaults.unwrap_dek(&later, &context())).unwrap_err();
    assert_eq!(error.kind(), State, "{error}");
}

/// As the vault would refuse it.
#[test]
fn nothing_is_wrapped_locally_that_the_vault_would_not_wrap() {
    let wrap = |azure: &Azure, service: &AzureService, key: &KeyUri| {
        let vaults = at(service, &azure.folder).local_wraps(true).build();
        block_on(vaults.wrap_dek(key, &fresh_dek(), &context())).map(drop)
    };
    for (part, field, value) in [
        ("attributes", "enabled", json!(false)),
        ("attributes", "exp", json!(1)),
        ("attributes", "nbf", json!(4_000_000_000_u64)),
        ("key", "key_ops", json!(["sign", "verify"])),
        ("key", "key_ops", json!(["unwrapKey"])),
        ("key", "key_ops", json!([])),
    ] {
        let azure = Azure::new();
        let key = azure.key();
        let told = value.clone();
        let service = azure.server.serve_with(move |request, mut reply| {
            if reply.body.get("key").is_some() && request.header("authorization").is_some() {
                reply.body[part][field] = told.clone();
            }
            reply.into()
        });
        let error = wrap(&azure, &service, &key).unwrap_err();
        assert_eq!((error.kind(), error.key()), (State, Some(&key)), "{field} {value}: {error}");
    }
}

/// A vault may tell a key that is smaller than anything it made here.
#[test]
fn a_small_public_key_or_an_odd_exponent_is_not_wrapped_with() {
    for (field, value, kind) in [("n", "AQAB", Invalid), ("e", "Aw", Protocol), ("n", "", Protocol)] {
        let azure = Azure::new();
        let key = azure.key();
        let service = azure.server.serve_with(move |request, mut reply| {
            if reply.body.get("key").is_some() && request.header("authorization").is_some() {
                reply.body["key"][field] = value.into();
            }
            reply.into()
        });
        let vaults = at(&service, &azure.folder).local_wraps(true).build();
        let error = block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
        assert_eq!((error.kind(), error.key()), (kind, Some(&key)), "{field} {value}: {error}");
    }
}

#[test]
fn a_key_of_a_type_that_wraps_nothing_is_refused() {
    let azure = Azure::new();
    let key = azure.key();
    let service = azure.server.serve_with(|request, mut reply| {
        if reply.body.get("key").is_some() && request.header("authorization").is_some() {
            reply.body["key"]["kty"] = "EC".into();
        }
        reply.into()
    });
    let vaults = at(&service, &azure.folder).build();
    let error = block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
    assert_eq!(error.kind(), Unsupported, "{error}");
}
