use cryptoki::{
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, AttributeType},
};
use envelope_sdk::{
    KeyChange,
    KeyState::{Active, Compromised, Deactivated, Destroyed, PreActive, Suspended},
    ProviderErrorKind::{Invalid, NotFound, State, Unsupported},
    admin::{Detail, Details},
};

use super::*;

on_each_token!(
    a_created_key_cannot_leave_the_token,
    rotation_keeps_the_uri_and_old_versions_unwrap,
    another_provider_follows_a_rotation,
    versions_count_on_from_the_highest_that_is_left,
    states_permit_what_the_table_says,
    what_attributes_cannot_tell_is_unsupported,
    only_transitions_of_the_table_are_made,
    the_current_version_is_not_taken_out_alone,
    a_change_that_stops_half_way_says_what_is_changed_by_then,
    a_destroyed_key_leaves_nothing_on_the_token,
    names_are_unique_and_of_the_form_of_key_names,
    keys_of_others_are_listed_and_described,
    racing_rotations_leave_one_key_of_each_version,
    a_cryptoperiod_ends_with_its_last_whole_day,
    each_version_is_described_by_its_attributes,
    keys_are_one_page,
    keys_that_are_not_private_are_listed_where_that_is_accepted,
    a_key_of_which_the_current_version_alone_is_suspended_still_opens_and_is_told_as_deactivated,
);

fn go(
    provider: &Pkcs11Provider,
    key: &KeyUri,
    version: Option<&str>,
    to: KeyState,
) -> Result<KeyDescription, ProviderError> {
    block_on(provider.change_key(key, version, KeyChange::State(to)))
}

fn rotate(provider: &Pkcs11Provider, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
    block_on(provider.rotate_key(key))
}

fn a_created_key_cannot_leave_the_token(token: &Token) {
    let (_, key) = with_key(token);
    let session = token.session();
    let labelled = [Attribute::Label("db".into())];
    let [handle] = session.find_objects(&labelled).unwrap()[..] else { panic!("one object") };
    let types = [
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::Private,
        AttributeType::Wrap,
        AttributeType::Unwrap,
    ];
    let told = format!("{:?}", session.get_attributes(handle, &types).unwrap());
    assert_eq!(
        told, "[Sensitive(true), Extractable(false), Private(true), Wrap(false), Unwrap(false)]",
        "{key}"
    );
    // Reading the value gives nothing, though not always an error.
    let value = session.get_attributes(handle, &[AttributeType::Value]);
    assert!(value.is_ok_and(|value| value.is_empty()));
    let error = session.update_attributes(handle, &[Attribute::Extractable(true)]).unwrap_err();
    assert!(matches!(error, Error::Pkcs11(RvError::AttributeReadOnly, _)), "{error}");
    let extractable = session.get_attributes(handle, &[AttributeType::Extractable]).unwrap();
    assert_eq!(format!("{extractable:?}"), "[Extractable(false)]");
}

fn rotation_keeps_the_uri_and_old_versions_unwrap(token: &Token) {
    let (provider, key) = with_key(token);
    let dek = dek();
    let mut wraps = vec![wrap(&provider, &key, &dek).unwrap()];
    for version in 2..=3 {
        let rotated = rotate(&provider, &key).unwrap();
        assert_eq!((&rotated.uri, rotated.state, rotated.versions.len()), (&key, Active, version));
        wraps.push(wrap(&provider, &key, &dek).unwrap());
    }
    let described = block_on(provider.describe_key(&key)).unwrap();
    assert_eq!(states(&described), [("1", Deactivated), ("2", Deactivated), ("3", Active)]);
    for (wrapped, version) in wraps.iter().zip(["1", "2", "3"]) {
        assert_eq!((wrapped.key_uri(), wrapped.key_version()), (&key, version));
        assert_eq!(unwrap(&open(token), wrapped).unwrap().expose(), dek.expose());
    }
    assert_eq!(list(&provider), [described]);
}

/// The other provider remembers version 1; that this may no longer encrypt tells it to look again.
fn another_provider_follows_a_rotation(token: &Token) {
    let (provider, key) = with_key(token);
    let other = open(token);
    assert_eq!(wrap(&other, &key, &dek()).unwrap().key_version(), "1");
    rotate(&provider, &key).unwrap();
    assert_eq!(wrap(&other, &key, &dek()).unwrap().key_version(), "2");
    go(&provider, &key, None, Suspended).unwrap();
    refused(wrap(&other, &key, &dek()), State, "suspended");
    go(&provider, &key, None, Active).unwrap();
    wrap(&other, &key, &dek()).unwrap();
}

fn versions_count_on_from_the_highest_that_is_left(token: &Token) {
    let (provider, key) = with_key(token);
    rotate(&provider, &key).unwrap();
    rotate(&provider, &key).unwrap();
    go(&provider, &key, Some("1"), Destroyed).unwrap();
    let left = go(&provider, &key, Some("2"), Destroyed).unwrap();
    assert_eq!(states(&left), [("3", Active)]);
    assert_eq!(states(&rotate(&provider, &key).unwrap()), [("3", Deactivated), ("4", Active)]);
    refused(block_on(provider.create_key(&NewKey::named("db"))), Invalid, "already");
}

fn states_permit_what_the_table_says(token: &Token) {
    for state in [Active, Suspended, Deactivated] {
        let provider = open(token);
        let key = create(&provider, state.name()).uri;
        let dek = dek();
        let wrapped = wrap(&provider, &key, &dek).unwrap();
        rotate(&provider, &key).unwrap();
        let new = wrap(&provider, &key, &dek).unwrap();
        if state != Active {
            assert_eq!(go(&provider, &key, None, state).unwrap().state, state);
        }
        for provider in [&provider, &open(token)] {
            match state {
                Active => drop(wrap(provider, &key, &dek).unwrap()),
                state => drop(refused(wrap(provider, &key, &dek), State, state.name())),
            }
            for wrapped in [&wrapped, &new] {
                match state {
                    Suspended => drop(refused(unwrap(provider, wrapped), State, "suspended")),
                    _ => assert_eq!(unwrap(provider, wrapped).unwrap().expose(), dek.expose()),
                }
            }
        }
    }
}

fn what_attributes_cannot_tell_is_unsupported(token: &Token) {
    let (provider, key) = with_key(token);
    refused(
        block_on(provider.create_key(&NewKey::named("later").pre_active())),
        Unsupported,
        "no pre-active keys",
    );
    refused(go(&provider, &key, None, Compromised), Unsupported, "no mark for compromised keys");
    refused(block_on(provider.change_key(&key, None, KeyChange::Archive)), Unsupported, "archived");
    let session = token.session();
    let wraps = [
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Wrap(true),
        Attribute::Unwrap(true),
    ];
    token.generate(&session, "kw", &wraps);
    let kw = provider.key_uri("kw").unwrap();
    refused(go(&provider, &kw, None, Suspended), Unsupported, "another kind");
    let by_id = KeyUri::parse(&format!("{kw};id=kw")).unwrap();
    refused(rotate(&provider, &by_id), Unsupported, "named by id=");
    token.generate(&session, "fixed", &[Attribute::Modifiable(false)]);
    let fixed = provider.key_uri("fixed").unwrap();
    refused(go(&provider, &fixed, None, Deactivated), Unsupported, "does not let");
    // Rotation does without: the label tells which version is current.
    let wrapped = wrap(&provider, &fixed, &dek()).unwrap();
    let rotated = rotate(&provider, &fixed).unwrap();
    assert_eq!(states(&rotated), [("1", Deactivated), ("2", Active)]);
    assert_eq!(wrap(&provider, &fixed, &dek()).unwrap().key_version(), "2");
    unwrap(&provider, &wrapped).unwrap();
}

fn only_transitions_of_the_table_are_made(token: &Token) {
    for from in [Active, Suspended, Deactivated] {
        let provider = open(token);
        let key = create(&provider, from.name()).uri;
        if from != Active {
            go(&provider, &key, None, from).unwrap();
        }
        for to in KeyState::ALL.into_iter().filter(|to| !from.may_become(*to)) {
            let error = refused(go(&provider, &key, None, to), Invalid, "may become");
            assert!(error.message().contains(from.name()), "{error}");
        }
        assert_eq!(block_on(provider.describe_key(&key)).unwrap().state, from);
        if from != Active {
            refused(rotate(&provider, &key), State, "only an active key is rotated");
        }
    }
    let nobody = open(token).key_uri("nobody").unwrap();
    refused(go(&open(token), &nobody, None, PreActive), NotFound, "no such key");
}

fn the_current_version_is_not_taken_out_alone(token: &Token) {
    let (provider, key) = with_key(token);
    refused(go(&provider, &key, Some("1"), Deactivated), Invalid, "rotate the key first");
    refused(go(&provider, &key, Some("2"), Deactivated), NotFound, "no version \"2\"");
    go(&provider, &key, Some("1"), Suspended).unwrap();
    refused(wrap(&provider, &key, &dek()), State, "suspended");
    go(&provider, &key, Some("1"), Active).unwrap();
    let wrapped = wrap(&provider, &key, &dek()).unwrap();
    rotate(&provider, &key).unwrap();
    go(&provider, &key, Some("1"), Destroyed).unwrap();
    refused(unwrap(&provider, &wrapped), NotFound, "no such key");
    go(&provider, &key, None, Deactivated).unwrap();
    refused(go(&provider, &key, Some("2"), Destroyed), Invalid, "the only one: destroy the whole key");
    go(&provider, &key, None, Destroyed).unwrap();
}

/// Who takes it for refused does not look for the envelopes that open no more.
fn a_change_that_stops_half_way_says_what_is_changed_by_then(token: &Token) {
    let session = token.session();
    let provider = open(token);
    for (name, state, version_2) in [
        ("fixed", Suspended, vec![Attribute::Modifiable(false)]),
        ("kept", Destroyed, vec![Attribute::Encrypt(false), Attribute::Destroyable(false)]),
    ] {
        token.generate(&session, name, &[]);
        token.generate(&session, &format!("{name}#v2"), &version_2);
        let key = provider.key_uri(name).unwrap();
        let says = format!("version 1 is {state} by now, and version 2 is not: the token does not let");
        refused(go(&provider, &key, None, state), Unsupported, &says);
    }
}

fn a_destroyed_key_leaves_nothing_on_the_token(token: &Token) {
    let (provider, key) = with_key(token);
    rotate(&provider, &key).unwrap();
    let wrapped = wrap(&provider, &key, &dek()).unwrap();
    go(&provider, &key, None, Deactivated).unwrap();
    let gone = go(&provider, &key, None, Destroyed).unwrap();
    assert_eq!((gone.state, states(&gone)), (Destroyed, vec![("1", Destroyed), ("2", Destroyed)]));
    let keys = [Attribute::Class(cryptoki::object::ObjectClass::SECRET_KEY)];
    assert_eq!(token.session().find_objects(&keys).unwrap(), []);
    refused(unwrap(&provider, &wrapped), NotFound, "no version 2");
    refused(unwrap(&open(token), &wrapped), NotFound, "no version 2");
    assert_eq!(list(&provider), []);
    create(&provider, "db");
    refused(unwrap(&provider, &wrapped), NotFound, "no version 2");
}

fn names_are_unique_and_of_the_form_of_key_names(token: &Token) {
    let (provider, _) = with_key(token);
    refused(block_on(provider.create_key(&NewKey::named("db"))), Invalid, "already");
    for name in ["", "db#v2", "a b", "ä", "-a", &"x".repeat(65)] {
        refused(block_on(provider.create_key(&NewKey::named(name))), Invalid, "a key name has 1 to 64");
    }
}

fn keys_of_others_are_listed_and_described(token: &Token) {
    let session = token.session();
    token.generate(&session, "b key", &[]);
    token.generate(&session, "b key#v7", &[]);
    token.generate(&session, "", &[Attribute::Id(vec![9])]);
    let own = [Attribute::Token(true), Attribute::Label("pair".into()), Attribute::ModulusBits(2048.into())];
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Label("pair".into()),
        Attribute::Decrypt(true),
    ];
    session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &own, &private).unwrap();
    let provider = open(token);
    let listed = list(&provider);
    let label = token.label.replace(' ', "%20");
    let told: Vec<_> = listed.iter().map(|key| (key.uri.as_str(), states(key))).collect();
    let uri = |rest: &str| format!("pkcs11:token={label};{rest}");
    let (by_id, by_name, pair) = (uri("id=%09"), uri("object=b%20key"), uri("object=pair"));
    assert_eq!(told[0], (by_id.as_str(), vec![("", Active)]));
    assert_eq!(told[1], (by_name.as_str(), vec![("1", Deactivated), ("7", Active)]));
    assert_eq!(told[2].0, pair);
    assert_eq!(told.len(), 3);
    for key in &listed {
        assert_eq!(&block_on(provider.describe_key(&key.uri)).unwrap(), key);
    }
    refused(rotate(&provider, &listed[2].uri), Unsupported, "RSA key pair");
}

fn a_cryptoperiod_ends_with_its_last_whole_day(token: &Token) {
    // The end of 2029, and a day.
    const END: u64 = 1_893_455_999;
    const DAY: u64 = 86_400;
    let provider = open(token);
    let ends =
        |key: &KeyDescription| key.versions.iter().map(|version| version.not_after).collect::<Vec<_>>();
    let dated = block_on(provider.create_key(&NewKey::named("db").not_after(END + 7)));
    if token.kind == Kind::SoftHsm {
        // It takes the date and does not tell it again. That is found out before a key has one.
        let says = "the token does not keep the end of this key's cryptoperiod (CKA_END_DATE)";
        refused(dated, Unsupported, says);
        assert_eq!(list(&provider), []);
        let key = create(&provider, "db").uri;
        refused(block_on(provider.set_not_after(&key, None, Some(END))), Unsupported, says);
        wrap(&provider, &key, &dek()).unwrap();
        let session = token.session();
        let [handle] = session.find_objects(&[Attribute::Label("db".into())]).unwrap()[..] else { panic!() };
        session.get_attributes(handle, &[AttributeType::EndDate]).expect("no date that cannot be read");
        assert_eq!(ends(&block_on(provider.set_not_after(&key, None, None)).unwrap()), [None]);
        return;
    }
    let made = dated.unwrap();
    assert_eq!(ends(&made), [Some(END)]);
    let key = made.uri;
    assert_eq!(ends(&rotate(&provider, &key).unwrap()), [Some(END), None]);
    let set = |version, end| block_on(provider.set_not_after(&key, version, end));
    assert_eq!(ends(&set(None, Some(END + DAY)).unwrap()), [Some(END), Some(END + DAY)]);
    assert_eq!(ends(&set(Some("1"), Some(END - DAY + 1)).unwrap()), [Some(END - DAY), Some(END + DAY)]);
    refused(set(Some("7"), Some(END)), NotFound, "no version \"7\"");
    refused(set(None, Some(7)), Invalid, "the years 1970 to 9999");
    let listed = list(&provider);
    assert_eq!(ends(&listed[0]), [Some(END - DAY), Some(END + DAY)]);
    assert!(listed[0].is_due(END + DAY) && !listed[0].is_due(END + DAY - 1));
    for _ in 0..2 {
        assert_eq!(ends(&set(Some("1"), None).unwrap()), [None, Some(END + DAY)]);
    }
    // It stops nobody.
    set(None, Some(DAY)).unwrap();
    wrap(&provider, &key, &dek()).unwrap();
    token.generate(&token.session(), "fixed", &[Attribute::Modifiable(false)]);
    let fixed = provider.key_uri("fixed").unwrap();
    let outcome = block_on(provider.set_not_after(&fixed, None, Some(END)));
    refused(outcome, Unsupported, "the token does not keep the end of this key's cryptoperiod");
}

fn each_version_is_described_by_its_attributes(token: &Token) {
    let (provider, key) = with_key(token);
    rotate(&provider, &key).unwrap();
    token.generate(&token.session(), "short", &[Attribute::ValueLen(16.into())]);
    let objects = |key: &KeyUri| {
        let told = block_on(provider.describe_key(key)).unwrap().details;
        assert_eq!(told.iter().count(), 1, "{told:?}");
        told.get("objects").cloned()
    };
    let version = |attributes: &str, version: &str| {
        Details::new().with("key", "AES-256").with("attributes", attributes).with("version", version)
    };
    let expected: Detail = [
        version("private sensitive local decrypt", "1"),
        version("private sensitive local encrypt decrypt", "2"),
    ]
    .into_iter()
    .collect();
    assert_eq!(objects(&key), Some(expected));
    let short = Details::new()
        .with("key", "AES-128")
        .with("attributes", "private sensitive local encrypt decrypt")
        .with("version", "1")
        .with("refused", "it does not have 256 bits, as an AES key must have here");
    let expected: Detail = [short].into_iter().collect();
    assert_eq!(objects(&provider.key_uri("short").unwrap()), Some(expected));
}

/// As they are used, and as they are described.
fn keys_that_are_not_private_are_listed_where_that_is_accepted(token: &Token) {
    let session = token.session();
    for (label, id) in [("named", 1), ("by id", 2), ("nobody's", 3)] {
        token.generate(&session, label, &[Attribute::Private(false), Attribute::Id(vec![id])]);
    }
    assert_eq!(list(&open(token)), []);
    let of = |rest: &str| {
        KeyUri::parse(&format!("pkcs11:token={};{rest}", token.label.replace(' ', "%20"))).unwrap()
    };
    let (named, by_id) = (of("object=named"), of("id=%02"));
    let elsewhere = KeyUri::parse("pkcs11:token=elsewhere;object=named").unwrap();
    let config = [&elsewhere, &named, &by_id]
        .iter()
        .fold(config(token), |config, key| config.accept(key, Weakness::NotPrivate));
    let provider = Pkcs11Provider::open(config).unwrap();
    assert_eq!(states(&rotate(&provider, &named).unwrap()), [("1", Deactivated), ("2", Active)]);
    let listed = list(&provider);
    assert_eq!(listed.iter().map(|key| &key.uri).collect::<Vec<_>>(), [&by_id, &named]);
    for key in listed {
        assert_eq!(block_on(provider.describe_key(&key.uri)).unwrap(), key);
        wrap(&provider, &key.uri, &dek()).unwrap();
    }
}

fn a_key_of_which_the_current_version_alone_is_suspended_still_opens_and_is_told_as_deactivated(
    token: &Token,
) {
    let (provider, key) = with_key(token);
    let old = wrap(&provider, &key, &dek()).unwrap();
    rotate(&provider, &key).unwrap();
    let new = wrap(&provider, &key, &dek()).unwrap();
    let described = go(&provider, &key, Some("2"), Suspended).unwrap();
    assert_eq!(
        (described.state, states(&described)),
        (Deactivated, vec![("1", Deactivated), ("2", Suspended)])
    );
    unwrap(&provider, &old).unwrap();
    refused(unwrap(&provider, &new), State, "version 2 of the key is suspended");
    assert_eq!(go(&provider, &key, Some("2"), Active).unwrap().state, Active);
    assert_eq!(go(&provider, &key, None, Suspended).unwrap().state, Suspended);
    refused(unwrap(&provider, &old), State, "version 1 of the key is suspended");
}

fn keys_are_one_page(token: &Token) {
    let (provider, _) = with_key(token);
    let page = block_on(provider.list_keys(None)).unwrap();
    assert_eq!((page.keys.len(), page.next), (1, None));
    let error = refused(block_on(provider.list_keys(Some("2"))), Invalid, "one page");
    assert_eq!(error.key(), None);
}

/// Two programs that rotate at once may see each other's key; then one of them gives way, or both.
fn racing_rotations_leave_one_key_of_each_version(token: &Token) {
    let (_, key) = with_key(token);
    let done: usize = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let provider = open(token);
                    (0..5).filter(|_| rotate(&provider, &key).is_ok()).count()
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).sum()
    });
    let described = block_on(open(token).describe_key(&key)).unwrap();
    let versions: Vec<_> = described.versions.iter().map(|version| version.version.clone()).collect();
    let mut unique = versions.clone();
    unique.dedup();
    assert_eq!(versions, unique);
    println!("{done} of 20 rotations were done; versions: {versions:?}");
    assert!(done >= 1 && versions.len() > done, "{done} {versions:?}");
    wrap(&open(token), &key, &dek()).unwrap();
}
