//! Keyrings whose keys are aliases, which somebody turns to other keys meanwhile.

use std::sync::Arc;

use envelope_sdk::{DecryptError, Envelope, KeyProvider, Keyring};

use super::*;

#[test]
fn a_switched_alias_wraps_with_the_new_key_and_no_longer_means_the_old_one() {
    let Some(kms) = localstack() else { return };
    let (old, alias) = create(&kms);
    let (new, _) = create(&kms);
    let dek = Dek::generate::<DefaultEngine>().unwrap();
    let wrapped = block_on(kms.wrap_dek(&alias, &dek, &context())).unwrap();
    assert_eq!(wrapped.key_uri(), &old.uri);
    switch(&kms, &alias, &new.uri);
    assert!(kms.is_same_key(&alias, &new.uri) && !kms.is_same_key(&alias, &old.uri));
    let rewrapped = block_on(kms.wrap_dek(&alias, &dek, &context())).unwrap();
    assert_eq!(rewrapped.key_uri(), &new.uri);
    for wrapped in [wrapped, rewrapped] {
        assert_eq!(block_on(kms.unwrap_dek(&wrapped, &context())).unwrap().expose(), dek.expose());
    }
}

#[test]
fn a_keyring_follows_an_alias_that_somebody_else_turns_while_it_lives() {
    let Some(elsewhere) = localstack() else { return };
    let (old, alias) = create(&elsewhere);
    let (new, _) = create(&elsewhere);
    let keyring = Keyring::new().both(Arc::new(localstack().unwrap()), alias.clone());
    let envelope = Envelope::new(keyring.clone());
    let nothing = EncryptionContext::new();
    let recipient = |sealed: &[u8]| Envelope::inspect(sealed).unwrap().recipients()[0].key_uri().clone();

    let before = block_on(envelope.encrypt(b"before", &nothing)).unwrap();
    assert_eq!(recipient(&before), old.uri);
    assert_eq!(block_on(envelope.decrypt(&before, &nothing)).unwrap(), b"before");
    switch(&elsewhere, &alias, &new.uri);

    let after = block_on(envelope.encrypt(b"after", &nothing)).unwrap();
    assert_eq!(recipient(&after), new.uri, "the new key wraps at once");
    assert_eq!(block_on(envelope.decrypt(&after, &nothing)).unwrap(), b"after");
    block_on(keyring.resolve()).unwrap();
    let refused = block_on(envelope.decrypt(&before, &nothing)).unwrap_err();
    assert!(
        matches!(refused, DecryptError::NoConfiguredKey { .. }),
        "the old key opens by its ARN: {refused}"
    );
    let by_arn = Envelope::new(Keyring::new().decrypt(Arc::new(elsewhere), old.uri));
    assert_eq!(block_on(by_arn.decrypt(&before, &nothing)).unwrap(), b"before");
}

/// Turns an alias to another key.
fn switch(kms: &AwsKms, alias: &KeyUri, key: &KeyUri) {
    let (_, name) = alias.rest().split_once("alias/").unwrap();
    assert_eq!(&block_on(kms.set_alias(name, key)).unwrap(), alias);
}
