use std::collections::HashSet;

use cryptoki::{
    mechanism::Mechanism,
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use envelope_sdk::{
    ContextBinding,
    ProviderErrorKind::{NotFound, State, Unauthentic, Unsupported},
};

use super::*;

on_each_token!(
    a_key_wraps_and_another_provider_of_the_token_unwraps,
    every_iv_is_another,
    a_wrapped_dek_opens_under_its_own_context_key_and_version_alone,
    a_wrapped_dek_that_was_changed_or_cut_is_unauthentic,
    unknown_algorithms_versions_and_schemes_are_refused,
    a_key_of_another_token_is_not_found,
    key_wrap_with_padding_is_used_where_a_key_only_wraps,
    rsa_oaep_is_used_with_sha_256_or_not_at_all,
    a_planted_public_key_of_the_same_name_is_not_used,
    a_planted_public_key_of_the_same_modulus_is_not_used,
    a_large_context_is_bound,
);

fn a_key_wraps_and_another_provider_of_the_token_unwraps(token: &Token) {
    let (provider, key) = with_key(token);
    let text = format!("pkcs11:token={};object=db", token.label.replace(' ', "%20"));
    assert_eq!(key.as_str(), text);
    let dek = dek();
    let wrapped = wrap(&provider, &key, &dek).unwrap();
    assert_eq!(provider.context_binding(&wrapped), ContextBinding::Provider);
    // Another provider need not have used the key, and one key may have wrapped in several ways.
    assert_eq!(open(token).context_binding(&wrapped), ContextBinding::Provider);
    for unbound in ["PKCS11-AES-KWP", "PKCS11-RSA-OAEP-256", "ANOTHER"] {
        let other = WrappedDek::new(key.clone(), "1", unbound, wrapped.ciphertext().to_vec()).unwrap();
        assert_eq!(provider.context_binding(&other), ContextBinding::EnvelopeOnly, "{unbound}");
    }
    assert_eq!((wrapped.key_uri(), wrapped.key_version()), (&key, "1"));
    assert_eq!(wrapped.wrap_algorithm(), "PKCS11-AES-256-GCM");
    assert_eq!(wrapped.ciphertext().len(), 60);
    assert_eq!(unwrap(&open(token), &wrapped).unwrap().expose(), dek.expose());
}

fn every_iv_is_another(token: &Token) {
    let (provider, key) = with_key(token);
    let dek = dek();
    let ivs: HashSet<_> =
        (0..500).map(|_| wrap(&provider, &key, &dek).unwrap().ciphertext()[..12].to_vec()).collect();
    assert_eq!(ivs.len(), 500);
    // Neither zero nor counted: every byte of an IV takes many values.
    for at in 0..12 {
        let values: HashSet<_> = ivs.iter().map(|iv| iv[at]).collect();
        assert!(values.len() > 100, "byte {at} of the IVs takes {} values", values.len());
    }
}

fn a_wrapped_dek_opens_under_its_own_context_key_and_version_alone(token: &Token) {
    let (provider, key) = with_key(token);
    let other = create(&provider, "other").uri;
    let wrapped = wrap(&provider, &key, &dek()).unwrap();
    for wrong in [context("43"), FullContext::empty()] {
        let outcome = block_on(provider.unwrap_dek(&wrapped, &wrong));
        refused(outcome, Unauthentic, "the context is another one");
    }
    let moved = |key: &KeyUri, version: &str| {
        let bytes = wrapped.ciphertext().to_vec();
        WrappedDek::new(key.clone(), version, "PKCS11-AES-256-GCM", bytes).unwrap()
    };
    refused(unwrap(&provider, &moved(&other, "1")), Unauthentic, "was changed");
    block_on(provider.rotate_key(&key)).unwrap();
    refused(unwrap(&provider, &moved(&key, "2")), Unauthentic, "was changed");
    unwrap(&provider, &wrapped).unwrap();
}

fn a_wrapped_dek_that_was_changed_or_cut_is_unauthentic(token: &Token) {
    let (provider, key) = with_key(token);
    let wrapped = wrap(&provider, &key, &dek()).unwrap();
    let with = |bytes: Vec<u8>| {
        let changed = WrappedDek::new(key.clone(), "1", "PKCS11-AES-256-GCM", bytes).unwrap();
        refused(unwrap(&provider, &changed), Unauthentic, "was changed");
    };
    for at in 0..60 {
        let mut bytes = wrapped.ciphertext().to_vec();
        bytes[at] ^= 1;
        with(bytes);
    }
    for length in (1..60).chain([61, 76, 4096]) {
        let mut bytes = wrapped.ciphertext().to_vec();
        bytes.resize(length, 0);
        with(bytes);
    }
    unwrap(&provider, &wrapped).unwrap();
}

fn unknown_algorithms_versions_and_schemes_are_refused(token: &Token) {
    let (provider, key) = with_key(token);
    let bytes = wrap(&provider, &key, &dek()).unwrap().ciphertext().to_vec();
    for (version, algorithm, kind, says) in [
        ("2", "PKCS11-AES-256-GCM", NotFound, "no version 2"),
        ("01", "PKCS11-AES-256-GCM", NotFound, "no such version"),
        ("", "PKCS11-AES-256-GCM", NotFound, "no such version"),
        ("1", "A256GCM", Unsupported, "wraps only with"),
        // The algorithm comes first.
        ("2", "A256GCM", Unsupported, "wraps only with"),
        ("1", "PKCS11-AES-KWP", Unsupported, "does not permit"),
        ("1", "PKCS11-RSA-OAEP-256", Unsupported, "does not permit"),
    ] {
        let other = WrappedDek::new(key.clone(), version, algorithm, bytes.clone()).unwrap();
        refused(unwrap(&provider, &other), kind, says);
    }
    let scheme = KeyUri::parse("local:db").unwrap();
    refused(wrap(&provider, &scheme, &dek()), Unsupported, "only keys of the scheme pkcs11:");
}

fn a_key_of_another_token_is_not_found(token: &Token) {
    let (provider, _) = with_key(token);
    let other = KeyUri::parse("pkcs11:token=elsewhere;object=db").unwrap();
    refused(wrap(&provider, &other, &dek()), NotFound, &token.label);
    let serial = format!("pkcs11:serial={};object=db", token.serial());
    wrap(&provider, &KeyUri::parse(&serial).unwrap(), &dek()).unwrap();
    let serial = KeyUri::parse("pkcs11:serial=0000;object=db").unwrap();
    refused(wrap(&provider, &serial, &dek()), NotFound, "another token");
}

/// SoftHSM wraps so; kryoptic does not offer it.
fn key_wrap_with_padding_is_used_where_a_key_only_wraps(token: &Token) {
    let wraps = [
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Wrap(true),
        Attribute::Unwrap(true),
    ];
    token.generate(&token.session(), "kw", &wraps);
    let provider = open(token);
    let key = provider.key_uri("kw").unwrap();
    let dek = dek();
    if token.kind == Kind::Kryoptic {
        let offered = "token offers (PKCS11-AES-256-GCM, PKCS11-RSA-OAEP-256)";
        refused(wrap(&provider, &key, &dek), Unsupported, offered);
        return;
    }
    let wrapped = wrap(&provider, &key, &dek).unwrap();
    assert_eq!(wrapped.wrap_algorithm(), "PKCS11-AES-KWP");
    assert_eq!(wrapped.ciphertext().len(), 40);
    assert_eq!(provider.context_binding(&wrapped), ContextBinding::EnvelopeOnly);
    for _ in 0..3 {
        assert_eq!(unwrap(&provider, &wrapped).unwrap().expose(), dek.expose());
    }
    for at in [0, 8, 39] {
        let mut bytes = wrapped.ciphertext().to_vec();
        bytes[at] ^= 1;
        let changed = WrappedDek::new(key.clone(), "1", "PKCS11-AES-KWP", bytes).unwrap();
        refused(unwrap(&provider, &changed), Unauthentic, "was changed");
    }
    let mine = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Token(false)];
    assert_eq!(token.session().find_objects(&mine).unwrap(), [], "no DEK stays on the token");
}

fn key_pair(session: &Session, label: &str, id: &str, private: bool) -> (ObjectHandle, ObjectHandle) {
    let public = [
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Encrypt(true),
        Attribute::ModulusBits(2048.into()),
        Attribute::Label(label.into()),
        Attribute::Id(id.into()),
    ];
    let private = [
        Attribute::Token(true),
        Attribute::Private(private),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Decrypt(true),
        Attribute::Label(label.into()),
        Attribute::Id(id.into()),
    ];
    session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private).unwrap()
}

fn rsa_oaep_is_used_with_sha_256_or_not_at_all(token: &Token) {
    key_pair(&token.session(), "pair", "pair", true);
    let provider = open(token);
    let key = provider.key_uri("pair").unwrap();
    let dek = dek();
    if token.kind == Kind::SoftHsm {
        // It knows SHA-1 alone, which is not fallen back to.
        refused(wrap(&provider, &key, &dek), Unsupported, "RSA-OAEP with SHA-256");
        return;
    }
    let wrapped = wrap(&provider, &key, &dek).unwrap();
    assert_eq!(wrapped.wrap_algorithm(), "PKCS11-RSA-OAEP-256");
    assert_eq!((wrapped.ciphertext().len(), wrapped.key_version()), (256, "1"));
    assert_eq!(unwrap(&provider, &wrapped).unwrap().expose(), dek.expose());
    for at in [0, 128, 255] {
        let mut bytes = wrapped.ciphertext().to_vec();
        bytes[at] ^= 1;
        let changed = WrappedDek::new(key.clone(), "1", "PKCS11-RSA-OAEP-256", bytes).unwrap();
        refused(unwrap(&provider, &changed), Unauthentic, "was changed");
    }
}

/// A public key can be put on many tokens without a PIN.
fn a_planted_public_key_of_the_same_name_is_not_used(token: &Token) {
    if token.kind == Kind::SoftHsm {
        return println!("not run: SoftHSM has no OAEP with SHA-256");
    }
    let session = token.session();
    let (_, own) = key_pair(&session, "pair", "pair", true);
    let (planted, _) = key_pair(&session, "attacker", "attacker", true);
    let relabel = [Attribute::Label("pair".into()), Attribute::Id("pair".into())];
    session.update_attributes(planted, &relabel).unwrap();
    let provider = open(token);
    let key = provider.key_uri("pair").unwrap();
    for _ in 0..4 {
        let dek = dek();
        let wrapped = wrap(&provider, &key, &dek).unwrap();
        assert_eq!(unwrap(&provider, &wrapped).unwrap().expose(), dek.expose(), "{own}");
    }
}

/// What is encrypted by the exponent 1 is as good as in the clear, and the private key does not open it.
fn a_planted_public_key_of_the_same_modulus_is_not_used(token: &Token) {
    let session = token.session();
    let (own, _) = key_pair(&session, "pair", "pair", true);
    let modulus = session.get_attributes(own, &[AttributeType::Modulus]).unwrap();
    let planted = [
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Encrypt(true),
        Attribute::PublicExponent(vec![1]),
        Attribute::Label("pair".into()),
        Attribute::Id("pair".into()),
    ];
    session.create_object(&[&planted[..], &modulus[..]].concat()).unwrap();
    let key = open(token).key_uri("pair").unwrap();
    let wraps = || block_on(open(token).attributes(&key)).unwrap()[0].encrypt;
    assert!(wraps());
    if token.kind == Kind::Kryoptic {
        let (provider, dek) = (open(token), dek());
        let wrapped = wrap(&provider, &key, &dek).unwrap();
        assert_eq!(unwrap(&provider, &wrapped).unwrap().expose(), dek.expose());
    }
    // Whoever may put one there may take the pair's own away.
    session.destroy_object(own).unwrap();
    assert!(!wraps());
    refused(wrap(&open(token), &key, &dek()), State, "deactivated");
}

fn a_large_context_is_bound(token: &Token) {
    let (provider, key) = with_key(token);
    let large = |last: char| {
        let value = format!("{}{last}", "x".repeat(8 * 1024 - 2 - 4 - 5));
        EncryptionContext::new().with("name", value).full().unwrap()
    };
    assert_eq!(large('a').as_bytes().len(), 8 * 1024);
    let dek = dek();
    let wrapped = block_on(provider.wrap_dek(&key, &dek, &large('a'))).unwrap();
    let opened = block_on(provider.unwrap_dek(&wrapped, &large('a'))).unwrap();
    assert_eq!(opened.expose(), dek.expose());
    refused(block_on(provider.unwrap_dek(&wrapped, &large('b'))), Unauthentic, "the context");
}
