use cryptoki::object::Attribute;
use envelope_sdk::{
    KeyChange,
    KeyState::{Active, Deactivated, Suspended},
    ProviderErrorKind::{Invalid, Unsupported},
};

use super::*;

on_each_token!(
    a_dry_run_refuses_what_the_change_refuses,
    a_dry_run_changes_nothing,
    a_dry_run_of_the_end_of_a_cryptoperiod_refuses_what_setting_it_refuses,
    what_a_token_has_no_place_for_is_refused_for_a_new_key,
);

/// A refusal in words, without what the token itself said of an attempt.
fn words<T>(outcome: Result<T, ProviderError>) -> Option<(ProviderErrorKind, String, Option<KeyUri>)> {
    let error = outcome.err()?;
    Some((error.kind(), error.message().to_owned(), error.key().cloned()))
}

fn a_dry_run_refuses_what_the_change_refuses(token: &Token) {
    let session = token.session();
    let wraps = [
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Wrap(true),
        Attribute::Unwrap(true),
    ];
    token.generate(&session, "kw", &wraps);
    let provider = open(token);
    let check = |key: &KeyUri, version: Option<&str>, change| {
        let dry = words(block_on(provider.check_change(key, version, change)));
        let before = block_on(provider.describe_key(key)).ok();
        if dry.is_some() {
            assert_eq!(dry, words(block_on(provider.change_key(key, version, change))), "{change:?}");
            assert_eq!(block_on(provider.describe_key(key)).ok(), before, "{change:?}");
        }
        dry.is_none()
    };
    for from in [Active, Suspended, Deactivated] {
        let key = create(&provider, from.name()).uri;
        block_on(provider.rotate_key(&key)).unwrap();
        if from != Active {
            block_on(provider.change_key(&key, None, KeyChange::State(from))).unwrap();
        }
        for version in [None, Some("1"), Some("2"), Some("3"), Some("x")] {
            for to in KeyState::ALL {
                check(&key, version, KeyChange::State(to));
            }
            assert!(!check(&key, version, KeyChange::Archive));
        }
        let dry = words(block_on(provider.check_rotation(&key)));
        assert_eq!(dry.is_none(), from == Active);
        assert_eq!(dry, words(block_on(provider.rotate_key(&key))));
    }
    let (kw, nobody) = (provider.key_uri("kw").unwrap(), provider.key_uri("nobody").unwrap());
    assert!(
        !check(&kw, None, KeyChange::State(Suspended)) && !check(&nobody, None, KeyChange::State(Active))
    );
    let by_id = KeyUri::parse(&format!("{kw};id=kw")).unwrap();
    for key in [&by_id, &nobody] {
        let dry = words(block_on(provider.check_rotation(key)));
        assert!(dry.is_some() && dry == words(block_on(provider.rotate_key(key))), "{dry:?}");
    }
}

fn a_dry_run_of_the_end_of_a_cryptoperiod_refuses_what_setting_it_refuses(token: &Token) {
    const END: u64 = 1_893_455_999;
    let (provider, key) = with_key(token);
    let nobody = provider.key_uri("nobody").unwrap();
    let mut done = 0;
    for key in [&key, &nobody] {
        for version in [None, Some("1"), Some("7"), Some("x")] {
            for end in [None, Some(END), Some(END), Some(END + 7), Some(7), Some(u64::MAX), None] {
                let before = list(&provider);
                let dry = words(block_on(provider.check_set_not_after(key, version, end)));
                assert_eq!(list(&provider), before, "{version:?} {end:?}");
                let outcome = block_on(provider.set_not_after(key, version, end));
                if let Ok(described) = &outcome {
                    done += 1;
                    // The day that is stored, and not the second that was asked for.
                    assert_eq!(described.versions[0].not_after, end.map(|_| END));
                }
                assert_eq!(dry, words(outcome), "{key} {version:?} {end:?}");
            }
        }
    }
    // SoftHSM keeps none, so that there is none to remove either.
    assert_eq!(done, if token.kind == Kind::SoftHsm { 2 * 2 } else { 2 * 5 });
    refused(block_on(provider.check_set_not_after(&key, None, Some(7))), Invalid, "the years 1970 to 9999");
}

fn a_dry_run_changes_nothing(token: &Token) {
    let (provider, key) = with_key(token);
    let before = list(&provider);
    block_on(provider.check_new_key(&NewKey::named("another"))).unwrap();
    block_on(provider.check_rotation(&key)).unwrap();
    block_on(provider.check_change(&key, None, KeyChange::State(Suspended))).unwrap();
    block_on(provider.check_set_not_after(&key, None, None)).unwrap();
    assert_eq!(list(&provider), before);
}

fn what_a_token_has_no_place_for_is_refused_for_a_new_key(token: &Token) {
    let (provider, key) = with_key(token);
    let new = || NewKey::named("new");
    for (new, kind, says) in [
        (new().pre_active(), Unsupported, "a token has no pre-active keys: create the key when"),
        (new().description("orders"), Unsupported, "no description and no tags"),
        (new().tag("team", "shop"), Unsupported, "no description and no tags"),
        (new().algorithm("AES-128"), Unsupported, "only AES-256 keys are made"),
        (new().option("multi\u{1b}-region", "1"), Unsupported, "no option multi\\u{1b}-region"),
        (new().not_after(86_398), Invalid, "the years 1970 to 9999"),
        (NewKey::named("db"), Invalid, "already"),
        (NewKey::named("db#v2"), Invalid, "a key name has 1 to 64"),
        (NewKey::named(""), Invalid, "a key name has 1 to 64"),
    ] {
        let error = refused(block_on(provider.check_new_key(&new)), kind, says);
        let outcome = block_on(provider.create_key(&new));
        assert_eq!(words(outcome), words(Err::<(), _>(error)));
    }
    // A key of this name is what it is about, and no other is made up.
    let taken = block_on(provider.create_key(&NewKey::named("db"))).unwrap_err();
    assert_eq!(taken.key(), Some(&key));
    let nameless = block_on(provider.create_key(&NewKey::named(""))).unwrap_err();
    assert_eq!(nameless.key(), None);
    assert_eq!(list(&provider).len(), 1);
    block_on(provider.create_key(&new().algorithm("AES-256"))).unwrap();
}
