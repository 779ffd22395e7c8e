//! What a caller needs, and no more.

use envelope_sdk::{
    Envelope, Keyring,
    ProviderErrorKind::{AccessDenied, NotFound},
};
use std::sync::Arc;

use super::*;

/// Encrypts, and cannot even read the key.
fn encrypts(key: &KeyUri) -> String {
    format!(r#"path "transit/encrypt/{}" {{ capabilities = ["update"] }}"#, server::name(key))
}

fn decrypts(key: &KeyUri) -> String {
    format!(r#"path "transit/decrypt/{}" {{ capabilities = ["update"] }}"#, server::name(key))
}

/// Without the policy `default`, too: the token may not look at itself.
fn bare() -> Value {
    json!({"no_default_policy": true})
}

#[test]
fn a_policy_that_only_encrypts_suffices_to_wrap_and_opens_nothing() {
    let Some(server) = Server::shared() else { return };
    for key in [server.key(), server.derived_key()] {
        for more in [json!({}), bare()] {
            let writer = Arc::new(server.builder().token(server.token(&encrypts(&key), &more)).build());
            let wrapped = wrap(&writer, &key).unwrap();
            let error = unwrap(&writer, &wrapped).unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (AccessDenied, false), "{error}");
            let needs = format!("capability `update` on transit/decrypt/{}", server::name(&key));
            assert!(error.message().contains(&needs), "{error}");
            // An envelope too, whose DEK the server may not make for this caller.
            let (dek, wrapped) = block_on(writer.generate_dek(&key, &context())).unwrap();
            assert_eq!(unwrap(&server.vault(), &wrapped).unwrap().expose(), dek.expose());
            assert!(!writer.generates_deks(&key));
            let envelope = Envelope::new(Keyring::new().encrypt(writer.clone(), key.clone()));
            let sealed = block_on(envelope.encrypt(b"attack at dawn", &EncryptionContext::new())).unwrap();
            let reader = Envelope::new(Keyring::new().decrypt(Arc::new(server.vault()), key.clone()));
            assert_eq!(
                block_on(reader.decrypt(&sealed, &EncryptionContext::new())).unwrap(),
                b"attack at dawn"
            );
        }
    }
}

#[test]
fn a_policy_that_only_decrypts_suffices_to_unwrap_one_or_many_and_wraps_nothing() {
    let Some(server) = Server::shared() else { return };
    for key in [server.key(), server.derived_key()] {
        for more in [json!({}), bare()] {
            let wrapped = wrap(&server.vault(), &key).unwrap();
            let reader = server.builder().token(server.token(&decrypts(&key), &more)).build();
            unwrap(&reader, &wrapped).unwrap();
            let context = context();
            for result in block_on(reader.unwrap_deks(&[(&wrapped, &context), (&wrapped, &context)])) {
                result.unwrap();
            }
            let error = wrap(&reader, &key).unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (AccessDenied, false), "{error}");
            let needs = format!("capability `update` on transit/encrypt/{}", server::name(&key));
            assert!(error.message().contains(&needs), "{error}");
        }
    }
}

#[test]
fn a_policy_with_data_keys_lets_the_server_make_the_dek() {
    let Some(server) = Server::shared() else { return };
    let key = server.derived_key();
    let name = server::name(&key);
    let policy = format!(
        "{}\npath \"transit/datakey/plaintext/{name}\" {{ capabilities = [\"update\"] }}",
        encrypts(&key)
    );
    let vault = server.builder().token(server.token(&policy, &bare())).build();
    let (dek, wrapped) = block_on(vault.generate_dek(&key, &context())).unwrap();
    assert!(vault.generates_deks(&key));
    assert_eq!(unwrap(&server.vault(), &wrapped).unwrap().expose(), dek.expose());
}

/// Who may not rewrap inside unwraps and wraps.
#[test]
fn a_rewrap_goes_through_this_machine_where_the_policy_has_no_rewrap() {
    let Some(server) = Server::shared() else { return };
    let key = server.derived_key();
    let wrapped = wrap(&server.vault(), &key).unwrap();
    server.does("POST", &format!("transit/keys/{}/rotate", server::name(&key)), &json!({}));
    let rewrapped = block_on(server.vault().rewrap_dek(&wrapped, &key, &context())).unwrap().unwrap();
    assert_eq!((wrapped.key_version(), rewrapped.key_version()), ("1", "2"));
    let both = format!("{}\n{}", encrypts(&key), decrypts(&key));
    let vault = server.builder().token(server.token(&both, &bare())).build();
    assert!(block_on(vault.rewrap_dek(&wrapped, &key, &context())).unwrap().is_none());
    let error = block_on(server.vault().rewrap_dek(&wrapped, &key, &other_context())).unwrap_err();
    assert_eq!(error.kind(), envelope_sdk::ProviderErrorKind::Unauthentic, "{error}");
}

/// To a token that may not make it, a key that is not there is one that it may not use; to one
/// that may, it is not made.
#[test]
fn a_key_that_is_not_there_is_refused_by_its_policy() {
    let Some(server) = Server::shared() else { return };
    let missing = key(&fresh_name());
    let writer = server.builder().token(server.token(&encrypts(&missing), &json!({}))).build();
    let error = wrap(&writer, &missing).unwrap_err();
    assert_eq!(error.kind(), AccessDenied, "{error}");
    assert!(error.message().contains("a key that is not there"), "{error}");
    let policy = encrypts(&missing).replace("[\"update\"]", "[\"update\", \"create\"]");
    let maker = server.builder().token(server.token(&policy, &json!({}))).build();
    assert_eq!(wrap(&maker, &missing).unwrap_err().kind(), NotFound);
    let path = format!("transit/keys/{}", server::name(&missing));
    assert_eq!(server.api("GET", &path, &json!({})).0, 404);
}

#[test]
fn a_mount_that_is_not_there_is_not_found() {
    let Some(server) = Server::shared() else { return };
    let missing = KeyUri::parse("hashivault://nobody/mounted/it").unwrap();
    let error = wrap(&server.vault(), &missing).unwrap_err();
    assert_eq!((error.kind(), error.key()), (NotFound, Some(&missing)), "{error}");
    assert!(error.message().contains("mount"), "{error}");
}
