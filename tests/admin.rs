//! Managing keys: the defaults, the pages, and the table of changes.

#![allow(
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop"
)]

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use common::block_on;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyState, KeyUri, KeyVersionDescription, NewKey, ProviderError,
    ProviderErrorKind,
    admin::{AutoRotation, Detail, Details, KeyPage, all_keys, cannot, check_change},
    http::MAX_PAGES,
};

/// Can nothing.
struct Nothing;

impl KeyAdmin for Nothing {
    fn provider(&self) -> &'static str {
        "nothing"
    }
}

#[test]
fn what_is_not_written_is_refused_with_this_key_store_cannot() {
    // Behind pointers, which hand everything on.
    let nothing: Box<dyn KeyAdmin> = Box::new(Arc::new(Nothing));
    let key = KeyUri::parse("nothing:key").unwrap();
    let new = NewKey::named("key");
    let suspend = KeyChange::State(KeyState::Suspended);
    let without_key = [
        ("make keys", block_on(nothing.create_key(&new)).map(drop)),
        ("make keys", block_on(nothing.check_new_key(&new))),
        ("list keys", block_on(nothing.list_keys(None)).map(drop)),
    ];
    let about_key = [
        ("describe keys", block_on(nothing.describe_key(&key)).map(drop)),
        ("rotate keys", block_on(nothing.rotate_key(&key)).map(drop)),
        ("rotate keys", block_on(nothing.check_rotation(&key))),
        ("change the state of keys", block_on(nothing.check_change(&key, None, suspend))),
        ("change the state of keys", block_on(nothing.change_key(&key, None, suspend)).map(drop)),
        ("keep the end of a cryptoperiod", block_on(nothing.set_not_after(&key, None, Some(1))).map(drop)),
        ("rotate keys by itself", block_on(nothing.set_rotation(&key, AutoRotation::Default))),
        ("tell past rotations", block_on(nothing.rotation_status(&key)).map(drop)),
        ("keep aliases", block_on(nothing.set_alias("alias", &key)).map(drop)),
        ("bring keys back", block_on(nothing.restore_key(&key)).map(drop)),
    ];
    let without_key = without_key.map(|(what, outcome)| (None, what, outcome));
    let about_key = about_key.map(|(what, outcome)| (Some(&key), what, outcome));
    for (about, what, outcome) in without_key.into_iter().chain(about_key) {
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.provider()), (ProviderErrorKind::Unsupported, "nothing"), "{error}");
        assert_eq!(error.key(), about, "{error}");
        assert!(error.message().starts_with(&format!("this key store cannot {what}")), "{error}");
        assert!(!error.is_retryable(), "{error}");
    }
}

#[test]
fn a_refusal_names_the_key_only_where_there_is_one() {
    let key = KeyUri::parse("nothing:key").unwrap();
    assert_eq!(cannot("nothing", None, "fly").to_string(), "nothing: this key store cannot fly");
    assert_eq!(
        cannot("nothing", Some(&key), "fly").to_string(),
        "nothing key nothing:key: this key store cannot fly"
    );
}

// Lists

/// Pages of one key each, so many that are asked for; `usize::MAX` is a list
/// without an end.
struct Pages {
    count: usize,
    asked: AtomicUsize,
}

#[async_trait]
impl KeyAdmin for Pages {
    fn provider(&self) -> &'static str {
        "pages"
    }

    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let at: usize = page.map_or(0, |page| page.parse().unwrap());
        let key = described(&format!("pages:{at}"), KeyState::Active, &[]);
        Ok(KeyPage::new(vec![key], (at + 1 < self.count).then(|| (at + 1).to_string())))
    }
}

#[test]
fn all_keys_are_those_of_every_page_in_their_order() {
    let admin = Pages { count: 5, asked: AtomicUsize::new(0) };
    let keys: Vec<_> =
        block_on(all_keys(&admin)).unwrap().into_iter().map(|key| key.uri.to_string()).collect();
    assert_eq!(keys, ["pages:0", "pages:1", "pages:2", "pages:3", "pages:4"]);
    assert_eq!(admin.asked.load(Ordering::SeqCst), 5);
}

#[test]
fn a_list_without_an_end_is_given_up() {
    let admin = Pages { count: usize::MAX, asked: AtomicUsize::new(0) };
    let error = block_on(all_keys(&admin)).unwrap_err();
    assert_eq!((error.kind(), error.provider()), (ProviderErrorKind::Protocol, "pages"));
    assert_eq!(error.message(), "the list of keys repeats itself, or has more than 2000 pages");
    assert_eq!(admin.asked.load(Ordering::SeqCst), MAX_PAGES);
    let longest = Pages { count: MAX_PAGES, asked: AtomicUsize::new(0) };
    assert_eq!(block_on(all_keys(&longest)).unwrap().len(), MAX_PAGES);
}

// Changes

#[test]
fn a_change_of_a_key_or_version_is_permitted_as_the_table_of_states_says() {
    for from in KeyState::ALL {
        for to in KeyState::ALL {
            let change = KeyChange::State(to);
            let key = described("x:key", from, &[("1", KeyState::Active)]);
            let of_version = described("x:key", KeyState::Active, &[("1", KeyState::Destroyed), ("2", from)]);
            for (what, outcome) in [
                ("the key", check_change(&key, None, change)),
                ("version 2", check_change(&of_version, Some("2"), change)),
            ] {
                match outcome {
                    Ok(()) => assert!(from.may_become(to), "{from} → {to}"),
                    Err((kind, message)) => {
                        assert!(!from.may_become(to), "{from} → {to}: {message}");
                        assert_eq!(kind, ProviderErrorKind::Invalid);
                        assert!(
                            message.starts_with(&format!("{what} is {from} and cannot become {to}")),
                            "{message}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn only_a_deactivated_or_compromised_key_is_archived_and_never_one_version() {
    for state in KeyState::ALL {
        let key = described("x:key", state, &[("1", state)]);
        match check_change(&key, None, KeyChange::Archive) {
            Ok(()) => assert!(matches!(state, KeyState::Deactivated | KeyState::Compromised), "{state}"),
            Err((kind, message)) => {
                assert!(!matches!(state, KeyState::Deactivated | KeyState::Compromised), "{state}");
                assert_eq!(kind, ProviderErrorKind::Invalid);
                assert_eq!(
                    message,
                    format!("the key is {state}: only a deactivated or compromised key is archived")
                );
            }
        }
        let (kind, message) = check_change(&key, Some("1"), KeyChange::Archive).unwrap_err();
        assert_eq!(kind, ProviderErrorKind::Invalid);
        assert_eq!(message, "a key is archived as a whole, not one version");
    }
}

#[test]
fn a_version_that_is_not_there_is_not_found_and_shown_escaped() {
    let key = described("x:key", KeyState::Active, &[("1", KeyState::Active)]);
    for change in [KeyChange::State(KeyState::Suspended), KeyChange::Archive] {
        let (kind, message) = check_change(&key, Some("2\n"), change).unwrap_err();
        assert_eq!(kind, ProviderErrorKind::NotFound);
        assert_eq!(message, r#"the key has no version "2\n""#);
    }
}

#[test]
fn a_key_is_due_when_it_wraps_and_its_current_version_is_past_its_end() {
    let version = |state, end| KeyVersionDescription::new("1".into(), state, None).not_after(end);
    for (state, of_version, end, due) in [
        (KeyState::Active, KeyState::Active, Some(1000), true),
        (KeyState::Active, KeyState::Active, Some(1001), false),
        (KeyState::Active, KeyState::Active, None, false),
        (KeyState::Active, KeyState::Deactivated, Some(1000), false),
        (KeyState::Suspended, KeyState::Active, Some(1000), false),
    ] {
        let key = KeyDescription::new(KeyUri::passphrase(), state, false, vec![version(of_version, end)]);
        assert_eq!(key.is_due(1000), due, "{key:?}");
    }
    let old = version(KeyState::Active, Some(1));
    let rotated = KeyDescription::new(
        KeyUri::passphrase(),
        KeyState::Active,
        false,
        vec![old, version(KeyState::Active, None)],
    );
    assert!(!rotated.is_due(u64::MAX), "the version before does not count");
    assert!(!described("x:key", KeyState::Active, &[]).is_due(u64::MAX), "no version is known");
}

#[test]
fn details_keep_their_order_and_are_found_by_name() {
    let details = Details::new()
        .with("state", "Enabled")
        .with("count", 3_u64)
        .with("deleted", None::<u64>)
        .with("aliases", ["a", "b"].into_iter().collect::<Detail>())
        .with("at", Detail::Time(7));
    let names: Vec<_> = details.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["state", "count", "deleted", "aliases", "at"]);
    assert_eq!(details.get("deleted"), Some(&Detail::Nothing));
    assert_eq!(details.get("aliases"), Some(&Detail::List(vec!["a".into(), "b".into()])));
    assert_eq!(details.get("absent"), None);
    assert!(!details.is_empty() && Details::new().is_empty());
}

fn described(uri: &str, state: KeyState, versions: &[(&str, KeyState)]) -> KeyDescription {
    let version =
        |(name, state): &(&str, KeyState)| KeyVersionDescription::new((*name).to_owned(), *state, None);
    KeyDescription::new(KeyUri::parse(uri).unwrap(), state, false, versions.iter().map(version).collect())
}
