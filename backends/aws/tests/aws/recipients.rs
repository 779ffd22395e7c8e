//! Envelopes with keys of KMS: beside a local key, by alias, and in several
//! regions.

use std::sync::Arc;

use envelope_sdk::{
    DecryptError, Envelope, KeyProvider, Keyring,
    ProviderErrorKind::{NotFound, Unsupported},
    WrappedDek,
    admin::Detail,
};
use envelope_testkit::MemoryProvider;

use super::*;

#[test]
fn an_envelope_with_an_aws_recipient_and_one_of_another_key_store_opens_with_either() {
    let Some(kms) = localstack() else { return };
    let (key, _) = create(&kms);
    let (kms, own): (Arc<dyn KeyProvider>, _) = (Arc::new(kms), MemoryProvider::key("own"));
    let memory: Arc<dyn KeyProvider> = Arc::new(MemoryProvider::new().with_key(&own));
    let both = Keyring::new().encrypt(kms.clone(), key.uri.clone()).encrypt(memory.clone(), own.clone());
    let context = EncryptionContext::new().with("tenant", "42").withhold("patient", "7");
    let sealed = block_on(Envelope::new(both).encrypt(b"attack at dawn", &context)).unwrap();
    assert_eq!(Envelope::inspect(&sealed).unwrap().recipients().len(), 2);
    for (provider, uri) in [(kms, key.uri), (memory, own)] {
        let alone = Envelope::new(Keyring::new().decrypt(provider, uri));
        assert_eq!(block_on(alone.decrypt(&sealed, &context)).unwrap(), b"attack at dawn");
    }
}

#[test]
fn a_wrap_names_the_key_behind_the_alias_and_an_alias_opens_once_it_is_resolved() {
    let Some(kms) = localstack() else { return };
    let (key, alias) = create(&kms);
    let kms = Arc::new(kms);
    let nothing = EncryptionContext::new();
    let envelope = Envelope::new(Keyring::new().encrypt(kms.clone(), alias.clone()));
    let sealed = block_on(envelope.encrypt(b"x", &nothing)).unwrap();
    assert_eq!(Envelope::inspect(&sealed).unwrap().recipients()[0].key_uri(), &key.uri);

    // Another process has not asked KMS what the alias means: the keyring does.
    let other = Arc::new(localstack().unwrap());
    assert!(!other.is_same_key(&alias, &key.uri));
    let opening = Envelope::new(Keyring::new().decrypt(other.clone(), alias.clone()));
    assert_eq!(block_on(opening.decrypt(&sealed, &nothing)).unwrap(), b"x");
    assert_eq!(block_on(other.resolve(&alias)).unwrap(), key.uri);

    // It means this key, and no other of the account.
    let (stranger, _) = create(&kms);
    assert!(!other.is_same_key(&alias, &stranger.uri));
    let envelope = Envelope::new(Keyring::new().encrypt(kms, stranger.uri));
    let sealed = block_on(envelope.encrypt(b"x", &nothing)).unwrap();
    let refused = block_on(opening.decrypt(&sealed, &nothing)).unwrap_err();
    assert!(matches!(refused, DecryptError::NoConfiguredKey { .. }), "{refused}");
}

#[test]
fn a_multi_region_key_opens_in_the_configured_region_that_has_a_replica() {
    let Some(address) = servers::address("LOCALSTACK") else { return };
    let kms = at(&address).build();
    let new = NewKey::named(fresh_name()).option("multi-region", "true");
    let primary = block_on(kms.create_key(&new)).unwrap();
    assert_eq!(primary.details.get("multi_region"), Some(&Detail::Flag(true)));
    assert!(primary.uri.rest().contains("key/mrk-"), "{:?}", primary.uri);
    let dek = Dek::generate::<DefaultEngine>().unwrap();
    let wrapped = block_on(kms.wrap_dek(&primary.uri, &dek, &context())).unwrap();
    replicate(&address, &primary.uri, "us-east-1");
    let replica =
        KeyUri::parse(&primary.uri.rest().trim_start_matches('/').replace(REGION, "us-east-1")).unwrap();

    let elsewhere = at(&address).replica_regions(["us-east-1"]).build();
    assert!(elsewhere.is_same_key(&replica, &primary.uri));
    assert_eq!(block_on(elsewhere.unwrap_dek(&wrapped, &context())).unwrap().expose(), dek.expose());
    // A region without a replica is passed over.
    let both = at(&address).replica_regions(["ap-south-1", "us-east-1"]).build();
    assert_eq!(block_on(both.unwrap_dek(&wrapped, &context())).unwrap().expose(), dek.expose());
    // And nothing opens where nothing is.
    let nowhere = at(&address).replica_regions(["ap-south-1"]).build();
    assert_eq!(block_on(nowhere.unwrap_dek(&wrapped, &context())).unwrap_err().kind(), NotFound);
}

#[test]
fn replicas_are_one_key_only_where_their_region_is_configured() {
    let there = |region: &str| KeyUri::parse(&format!("arn:aws:kms:{region}:{ACCOUNT}:key/mrk-1a")).unwrap();
    let kms = at("http://127.0.0.1:1").replica_regions(["us-east-1"]).build();
    assert!(kms.is_same_key(&there("us-east-1"), &there(REGION)));
    assert!(!kms.is_same_key(&there(REGION), &there("us-east-1")), "its region is not configured");
    let other_account = KeyUri::parse(&format!("arn:aws:kms:{REGION}:111122223333:key/mrk-1a")).unwrap();
    assert!(!kms.is_same_key(&there("us-east-1"), &other_account));
    let single = |region: &str| KeyUri::parse(&format!("arn:aws:kms:{region}:{ACCOUNT}:key/1a")).unwrap();
    assert!(!kms.is_same_key(&single("us-east-1"), &single(REGION)), "no multi-region key");
}

#[test]
fn wraps_of_other_algorithms_or_with_a_version_are_unsupported() {
    let kms = at("http://127.0.0.1:1").build();
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
