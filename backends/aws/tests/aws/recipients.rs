//! Envelopes with keys of KMS: beside a local key, by alias, and in several
//! regions.

use std::sync::Arc;

use envelope_local::{Argon2Params, Passphrase, PassphraseProvider};
use envelope_sdk::{
    DecryptError, Envelope, KeyProvider, Keyring,
    ProviderErrorKind::{NotFound, Unsupported},
    WrappedDek,
};

use super::*;

#[test]
fn an_envelope_with_a_local_and_an_aws_recipient_opens_with_either() {
    let Some(kms) = localstack() else { return };
    let (key, _) = create(&kms);
    let kms: Arc<dyn KeyProvider> = Arc::new(kms);
    let passphrase = Passphrase::new("correct horse".into()).unwrap();
    let local = PassphraseProvider::with_params(passphrase, Argon2Params::MINIMUM).unwrap();
    let local: Arc<dyn KeyProvider> = Arc::new(local);

    let both =
        Keyring::new().encrypt(kms.clone(), key.uri.clone()).encrypt(local.clone(), KeyUri::passphrase());
    let context = EncryptionContext::new().with("tenant", "42").withhold("patient", "7");
    let sealed = block_on(Envelope::new(both).encrypt(b"attack at dawn", &context)).unwrap();
    assert_eq!(Envelope::inspect(&sealed).unwrap().recipients().len(), 2);
    for (provider, uri) in [(kms, key.uri), (local, KeyUri::passphrase())] {
        let alone = Envelope::new(Keyring::new().decrypt(provider, uri));
        assert_eq!(block_on(alone.decrypt(&sealed, &context)).unwrap(), b"attack at dawn");
    }
}

#[test]
fn a_wrap_names_the_key_behind_the_alias_and_an_alias_opens_once_it_is_resolved() {
    let Some(kms) = localstack() else { return };
    let (key, alias) = create(&kms);
    let kms = Arc::new(kms);
    let envelope = Envelope::new(Keyring::new().encrypt(kms.clone(), alias.clone()));
    let sealed = block_on(envelope.encrypt(b"x", &EncryptionContext::new())).unwrap();
    assert_eq!(Envelope::inspect(&sealed).unwrap().recipients()[0].key_uri(), &key.uri);

    // Another process has not asked KMS what the alias means.
    let other = Arc::new(localstack().unwrap());
    let opening = Envelope::new(Keyring::new().decrypt(other.clone(), alias.clone()));
    let refused = block_on(opening.decrypt(&sealed, &EncryptionContext::new())).unwrap_err();
    assert!(matches!(refused, DecryptError::NoConfiguredKey { .. }), "{refused}");
    assert_eq!(block_on(other.resolve(&alias)).unwrap(), key.uri);
    assert_eq!(block_on(opening.decrypt(&sealed, &EncryptionContext::new())).unwrap(), b"x");

    // It means this key, and no other of the account.
    let (stranger, _) = create(&kms);
    assert!(!other.is_same_key(&alias, &stranger.uri));
}

#[test]
fn a_switched_alias_wraps_with_the_new_key_and_no_longer_means_the_old_one() {
    let Some(kms) = localstack() else { return };
    let (old, alias) = create(&kms);
    let (new, _) = create(&kms);
    let dek = Dek::generate::<DefaultEngine>().unwrap();
    let wrapped = block_on(kms.wrap_dek(&alias, &dek, &context())).unwrap();
    assert_eq!(wrapped.key_uri(), &old.uri);
    block_on(kms.switch_alias(&alias, &new.uri)).unwrap();
    assert!(kms.is_same_key(&alias, &new.uri) && !kms.is_same_key(&alias, &old.uri));
    let rewrapped = block_on(kms.wrap_dek(&alias, &dek, &context())).unwrap();
    assert_eq!(rewrapped.key_uri(), &new.uri);
    for wrapped in [wrapped, rewrapped] {
        assert_eq!(block_on(kms.unwrap_dek(&wrapped, &context())).unwrap().expose(), dek.expose());
    }
}

#[test]
fn a_multi_region_key_opens_in_the_configured_region_that_has_a_replica() {
    let Some(address) = servers::address("LOCALSTACK") else { return };
    let kms = block_on(at(&address).build());
    let new = NewKey { multi_region: true, ..NewKey::default() };
    let primary = block_on(kms.create(&new)).unwrap();
    assert!(primary.multi_region && primary.uri.rest().contains("key/mrk-"), "{:?}", primary.uri);
    let dek = Dek::generate::<DefaultEngine>().unwrap();
    let wrapped = block_on(kms.wrap_dek(&primary.uri, &dek, &context())).unwrap();
    replicate(&address, &primary.uri, "us-east-1");
    let replica =
        KeyUri::parse(&primary.uri.rest().trim_start_matches('/').replace(REGION, "us-east-1")).unwrap();

    let elsewhere = block_on(at(&address).replica_regions(["us-east-1"]).build());
    assert!(elsewhere.is_same_key(&replica, &primary.uri));
    assert_eq!(block_on(elsewhere.unwrap_dek(&wrapped, &context())).unwrap().expose(), dek.expose());
    // A region without a replica is passed over.
    let both = block_on(at(&address).replica_regions(["ap-south-1", "us-east-1"]).build());
    assert_eq!(block_on(both.unwrap_dek(&wrapped, &context())).unwrap().expose(), dek.expose());
    // And nothing opens where nothing is.
    let nowhere = block_on(at(&address).replica_regions(["ap-south-1"]).build());
    assert_eq!(block_on(nowhere.unwrap_dek(&wrapped, &context())).unwrap_err().kind(), NotFound);
}

#[test]
fn replicas_are_one_key_only_where_their_region_is_configured() {
    let there = |region: &str| KeyUri::parse(&format!("arn:aws:kms:{region}:{ACCOUNT}:key/mrk-1a")).unwrap();
    let kms = block_on(at("http://127.0.0.1:1").replica_regions(["us-east-1"]).build());
    assert!(kms.is_same_key(&there("us-east-1"), &there(REGION)));
    assert!(!kms.is_same_key(&there(REGION), &there("us-east-1")), "its region is not configured");
    let other_account = KeyUri::parse(&format!("arn:aws:kms:{REGION}:111122223333:key/mrk-1a")).unwrap();
    assert!(!kms.is_same_key(&there("us-east-1"), &other_account));
    let single = |region: &str| KeyUri::parse(&format!("arn:aws:kms:{region}:{ACCOUNT}:key/1a")).unwrap();
    assert!(!kms.is_same_key(&single("us-east-1"), &single(REGION)), "no multi-region key");
}

#[test]
fn wraps_of_other_algorithms_or_with_a_version_are_unsupported() {
    let kms = block_on(at("http://127.0.0.1:1").build());
    for (version, algorithm) in [("", "A256KW"), ("1", "AWS-KMS")] {
        let wrapped = WrappedDek::new(key("1a"), version, algorithm, vec![1; 184]).unwrap();
        assert_eq!(block_on(kms.unwrap_dek(&wrapped, &context())).unwrap_err().kind(), Unsupported);
    }
}

fn replicate(address: &str, key: &KeyUri, region: &str) {
    let arn = key.rest().trim_start_matches('/');
    block_on(async {
        client(address).await.replicate_key().key_id(arn).replica_region(region).send().await.unwrap();
    });
}
