use cryptoki::object::{Attribute, KeyType, ObjectClass};
use envelope_sdk::ProviderErrorKind::{AccessDenied, Invalid, NotFound};

use super::*;

on_each_token!(
    keys_unfit_to_wrap_are_refused_with_the_reason,
    a_key_that_is_not_private_is_refused_and_not_taken_for_a_new_version,
    an_accepted_weakness_of_one_key_is_tolerated_and_no_other,
    a_key_that_was_brought_to_the_token_is_not_taken_for_a_rotation,
    a_key_that_is_absent_is_not_found,
    a_name_of_several_keys_is_refused,
    a_key_is_named_by_its_id,
    a_token_is_named_by_its_serial_number,
    a_token_that_is_absent_is_told_with_those_that_are_there,
    a_label_of_several_tokens_is_refused,
);

fn keys_unfit_to_wrap_are_refused_with_the_reason(token: &Token) {
    let session = token.session();
    let unfit: [(&str, &[Attribute], &str); 5] = [
        ("extractable", &[Attribute::Extractable(true)], "it is extractable"),
        ("readable", &[Attribute::Sensitive(false)], "it is not sensitive"),
        ("wrapping", &[Attribute::Wrap(true)], "both wrapping and decrypting"),
        ("unwrapping", &[Attribute::Wrap(true), Attribute::Unwrap(true)], "both wrapping and decrypting"),
        ("short", &[Attribute::ValueLen(16.into())], "it does not have 256 bits"),
    ];
    let provider = open(token);
    let good = create(&provider, "good").uri;
    let wrapped = wrap(&provider, &good, &dek()).unwrap();
    for (label, attributes, says) in unfit {
        token.generate(&session, label, attributes);
        let key = provider.key_uri(label).unwrap();
        let error = refused(wrap(&provider, &key, &dek()), AccessDenied, says);
        let command = "pkcs11-tool --keygen --key-type AES:32 --private --sensitive --usage-decrypt";
        assert!(error.message().contains(command), "{error}");
        let bytes = wrapped.ciphertext().to_vec();
        let foreign = WrappedDek::new(key.clone(), "1", wrapped.wrap_algorithm(), bytes).unwrap();
        refused(unwrap(&provider, &foreign), AccessDenied, says);
        let told = &block_on(provider.attributes(&key)).unwrap()[0];
        assert!(told.refusal().unwrap().contains(says), "{told:?}");
    }
    let told = &block_on(provider.attributes(&good)).unwrap()[0];
    assert_eq!((told.refusal(), told.bits, told.local, told.id.len()), (None, 256, true, 16));
    assert!(told.always_sensitive && told.never_extractable, "{told:?}");
    // Unfit keys are listed all the same: somebody is looking for them.
    assert_eq!(list(&provider).len(), 6);
}

/// Many tokens let anybody create an object that is not private.
fn a_key_that_is_not_private_is_refused_and_not_taken_for_a_new_version(token: &Token) {
    let session = token.session();
    token.generate(&session, "open", &[Attribute::Private(false)]);
    let provider = open(token);
    let key = provider.key_uri("open").unwrap();
    refused(wrap(&provider, &key, &dek()), AccessDenied, "it is not private");
    let key = create(&provider, "db").uri;
    token.generate(&session, "db#v2", &[Attribute::Private(false)]);
    assert_eq!(wrap(&open(token), &key, &dek()).unwrap().key_version(), "1");
}

fn an_accepted_weakness_of_one_key_is_tolerated_and_no_other(token: &Token) {
    let session = token.session();
    let both = [Attribute::Wrap(true), Attribute::Unwrap(true)];
    token.generate(&session, "open", &[Attribute::Private(false)]);
    token.generate(&session, "wrapping", &both);
    token.generate(&session, "worst", &[&both[..], &[Attribute::Private(false)]].concat());
    token.generate(&session, "readable", &[Attribute::Private(false), Attribute::Sensitive(false)]);
    token.generate(&session, "extractable", &[&both[..], &[Attribute::Extractable(true)]].concat());
    let key = |name: &str| open(token).key_uri(name).unwrap();
    let accepting = |names: &[&str], weaknesses: &[Weakness]| {
        let all = names.iter().flat_map(|name| weaknesses.iter().map(move |weakness| (*name, *weakness)));
        let config = all.fold(config(token), |config, (name, weakness)| config.accept(&key(name), weakness));
        Pkcs11Provider::open(config).unwrap()
    };
    for (name, weaknesses) in [
        ("open", &[Weakness::NotPrivate][..]),
        ("wrapping", &[Weakness::WrapsAndDecrypts]),
        ("worst", &Weakness::ALL),
    ] {
        let provider = accepting(&[name], weaknesses);
        let dek = dek();
        let wrapped = wrap(&provider, &key(name), &dek).unwrap();
        assert_eq!(unwrap(&provider, &wrapped).unwrap().expose(), dek.expose(), "{name}");
        let told = &block_on(provider.attributes(&key(name))).unwrap()[0];
        assert_eq!(told.weaknesses().collect::<Vec<_>>(), weaknesses, "{name}");
        assert_eq!(provider.accepted(&key(name)).collect::<Vec<_>>(), weaknesses, "{name}");
        // Another key with the same weakness, and the same key without the other half of what it needs.
        for other in ["open", "wrapping", "worst"].into_iter().filter(|other| *other != name) {
            let error = wrap(&provider, &key(other), &dek).unwrap_err();
            assert_eq!(error.kind(), AccessDenied, "{name}, {other}: {error}");
        }
        if let [one, _] = weaknesses {
            refused(wrap(&accepting(&[name], &[*one]), &key(name), &dek), AccessDenied, "wraps-and-decrypts");
        }
    }
    // What is never tolerable, whatever is accepted.
    let provider = accepting(&["readable", "extractable"], &Weakness::ALL);
    refused(wrap(&provider, &key("readable"), &dek()), AccessDenied, "it is not sensitive");
    refused(wrap(&provider, &key("extractable"), &dek()), AccessDenied, "it is extractable");
    // Nobody plants a version of a key whose first one is accepted, or takes its place.
    let provider = accepting(&["open"], &[Weakness::NotPrivate]);
    token.generate(&session, "open#v2", &[Attribute::Private(false)]);
    assert_eq!(wrap(&provider, &key("open"), &dek()).unwrap().key_version(), "1");
    token.generate(&session, "open", &[]);
    refused(
        wrap(&accepting(&["open"], &[Weakness::NotPrivate]), &key("open"), &dek()),
        Invalid,
        "several keys",
    );
}

/// Who brought it knows it.
fn a_key_that_was_brought_to_the_token_is_not_taken_for_a_rotation(token: &Token) {
    let (provider, key) = with_key(token);
    let wrapped = wrap(&provider, &key, &dek()).unwrap();
    let known = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Label("db#v2".into()),
        Attribute::Value(vec![7; 32]),
    ];
    token.session().create_object(&known).unwrap();
    let other = open(token);
    refused(wrap(&other, &key, &dek()), AccessDenied, "was not made in the token");
    unwrap(&other, &wrapped).unwrap();
}

fn a_key_that_is_absent_is_not_found(token: &Token) {
    let (provider, _) = with_key(token);
    for uri in ["object=nobody", "id=%01", "object=db;id=%01", "object=DB", "object=d"] {
        let uri = format!("pkcs11:token={};{uri}", token.label.replace(' ', "%20"));
        let key = KeyUri::parse(&uri).unwrap();
        refused(wrap(&provider, &key, &dek()), NotFound, "no such key");
        refused(block_on(provider.describe_key(&key)), NotFound, "no such key");
    }
    let version = provider.key_uri("db#v2").unwrap();
    refused(wrap(&provider, &version, &dek()), Invalid, "names one version");
}

fn a_name_of_several_keys_is_refused(token: &Token) {
    let session = token.session();
    token.generate(&session, "twin", &[Attribute::Id(vec![1])]);
    token.generate(&session, "twin", &[Attribute::Id(vec![2])]);
    let provider = open(token);
    let key = provider.key_uri("twin").unwrap();
    refused(wrap(&provider, &key, &dek()), Invalid, "several keys");
    let with_id = KeyUri::parse(&format!("{key};id=%02")).unwrap();
    let dek = dek();
    let wrapped = wrap(&provider, &with_id, &dek).unwrap();
    assert_eq!(unwrap(&provider, &wrapped).unwrap().expose(), dek.expose());
    let listed = list(&provider);
    let listed: Vec<_> = listed.iter().map(|key| key.uri.clone()).collect();
    assert_eq!(listed, [KeyUri::parse(&format!("{key};id=%01")).unwrap(), with_id]);
}

fn a_key_is_named_by_its_id(token: &Token) {
    token.generate(&token.session(), "named", &[Attribute::Id(vec![0, 7, 255])]);
    let provider = open(token);
    let label = token.label.replace(' ', "%20");
    let key = KeyUri::parse(&format!("pkcs11:token={label};id=%00%07%FF")).unwrap();
    let dek = dek();
    let wrapped = wrap(&provider, &key, &dek).unwrap();
    assert_eq!((wrapped.key_uri(), wrapped.key_version()), (&key, ""));
    assert_eq!(unwrap(&provider, &wrapped).unwrap().expose(), dek.expose());
    let numbered =
        WrappedDek::new(key, "1", wrapped.wrap_algorithm(), wrapped.ciphertext().to_vec()).unwrap();
    refused(unwrap(&provider, &numbered), NotFound, "no such version");
}

fn a_token_is_named_by_its_serial_number(token: &Token) {
    let serial = TokenSelector::serial(token.serial());
    let config = Pkcs11Config::new(token.module(), serial).pin(PinSource::pin(pin(PIN)));
    let provider = Pkcs11Provider::open(config).unwrap();
    let key = create(&provider, "db").uri;
    assert_eq!(key.as_str(), format!("pkcs11:serial={};object=db", token.serial()));
    wrap(&provider, &key, &dek()).unwrap();
    assert_eq!(list(&provider)[0].uri, key);
    assert_eq!(TokenSelector::of(&key), Some(TokenSelector::serial(token.serial())));
}

fn a_token_that_is_absent_is_told_with_those_that_are_there(token: &Token) {
    let config = Pkcs11Config::new(token.module(), TokenSelector::label("not here"));
    let provider = Pkcs11Provider::open(config.pin(PinSource::pin(pin(PIN)))).unwrap();
    let key = provider.key_uri("db").unwrap();
    let error = refused(wrap(&provider, &key, &dek()), NotFound, "no token with label \"not here\"");
    assert!(error.message().contains(&format!("{:?}", token.label)), "{error}");
    assert!(!error.is_retryable());
}

fn a_label_of_several_tokens_is_refused(token: &Token) {
    let twin = token.kind.labelled(&tokens::fresh_label());
    // As two tokens that were bought on one day.
    let twin = token.kind.labelled(&twin.label);
    refused(wrap(&open(&twin), &open(&twin).key_uri("db").unwrap(), &dek()), Invalid, "several tokens");
}
