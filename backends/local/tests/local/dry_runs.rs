//! A dry run says what the operation then says, and changes nothing.

use envelope_sdk::{
    KeyAdmin, KeyChange, KeyState,
    KeyState::{Active, Compromised, Deactivated, Destroyed, PreActive, Suspended},
    ProviderErrorKind,
};

use super::*;

/// Kind and words, or that it is done.
fn said<T>(outcome: Result<T, ProviderError>) -> Result<(), (ProviderErrorKind, String)> {
    outcome.map(drop).map_err(|error| {
        assert!(error.key().is_some(), "{error}");
        (error.kind(), error.message().to_owned())
    })
}

/// How a key `db` comes to each state, of its own and of its versions, that a
/// keystore can reach: `(made pre-active, steps)`.
fn lives() -> Vec<(bool, Vec<Step>)> {
    use Step::{Rotate, Version, Whole};
    let mut lives = vec![(true, vec![])];
    for state in [Active, Suspended, Deactivated, Compromised, Destroyed] {
        let way: Vec<_> = match state {
            Active => vec![],
            Destroyed => vec![Whole(Deactivated), Whole(Destroyed)],
            other => vec![Whole(other)],
        };
        lives.push((false, way.clone()));
        lives.push((true, std::iter::once(Whole(Active)).chain(way.clone()).collect()));
        for old in [Deactivated, Suspended, Compromised, Destroyed] {
            let mut steps = match old {
                Deactivated => vec![Rotate],
                Suspended => vec![Version("1", Suspended), Rotate],
                other => vec![Rotate, Version("1", other)],
            };
            steps.extend(way.clone());
            lives.push((false, steps));
        }
        if state != Destroyed {
            lives.push((false, [vec![Version("1", Suspended)], way].concat()));
        }
    }
    lives
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Whole(KeyState),
    Version(&'static str, KeyState),
    Rotate,
}

fn live(pre_active: bool, steps: &[Step]) -> Store {
    let store = Store::new();
    let new = if pre_active { NewKey::named("db").pre_active() } else { NewKey::named("db") };
    let key = block_on(store.keystore.create_key(&new)).unwrap().uri;
    for step in steps {
        let done = match step {
            Step::Whole(state) => block_on(store.keystore.change_key(&key, None, KeyChange::State(*state))),
            Step::Version(version, state) => {
                block_on(store.keystore.change_key(&key, Some(version), KeyChange::State(*state)))
            }
            Step::Rotate => block_on(store.keystore.rotate_key(&key)),
        };
        done.unwrap_or_else(|error| panic!("{steps:?}: {error}"));
    }
    store
}

#[test]
fn a_dry_run_of_a_change_agrees_with_the_change_from_every_state() {
    let states = [PreActive, Active, Suspended, Deactivated, Compromised, Destroyed].map(KeyChange::State);
    let changes: Vec<_> = states.into_iter().chain([KeyChange::Archive]).collect();
    let key = KeyUri::parse("local:db").unwrap();
    let (mut done, mut refused) = (0, 0);
    for (pre_active, steps) in lives() {
        let store = live(pre_active, &steps);
        let (mut keystore, file) = (store.open(), store.text());
        for version in [None, Some("1"), Some("2"), Some("3"), Some("01"), Some("")] {
            for change in &changes {
                let what = format!("pre-active {pre_active}, {steps:?}, {version:?} {change:?}");
                let check = said(block_on(keystore.check_change(&key, version, *change)));
                assert_eq!(store.text(), file, "a dry run writes nothing: {what}");
                let changed = said(block_on(keystore.change_key(&key, version, *change)));
                assert_eq!(check, changed, "{what}");
                if changed.is_ok() {
                    done += 1;
                    // The next change begins from the same state.
                    std::fs::write(store.path(), &file).unwrap();
                    keystore = store.open();
                } else {
                    refused += 1;
                    assert_eq!(store.text(), file, "a refused change writes nothing: {what}");
                }
            }
        }
    }
    assert!(done > 50 && refused > 500, "{done} done, {refused} refused");
}

#[test]
fn the_states_that_a_refused_change_of_a_version_lists_are_possible_from_there() {
    let states = [PreActive, Active, Suspended, Deactivated, Compromised, Destroyed];
    let key = KeyUri::parse("local:db").unwrap();
    let check = |store: &Store, version: &str, state| {
        said(block_on(store.keystore.check_change(&key, Some(version), KeyChange::State(state))))
    };
    let mut listed = 0;
    for (pre_active, steps) in lives() {
        let store = live(pre_active, &steps);
        let versions = block_on(store.keystore.describe_key(&key)).unwrap().versions;
        for version in &versions {
            let version = version.version.as_str();
            let possible: Vec<_> =
                states.into_iter().filter(|state| check(&store, version, *state).is_ok()).collect();
            for state in states {
                let Err((_, words)) = check(&store, version, state) else { continue };
                let hint = match words.split_once("it may become ") {
                    Some((_, list)) => {
                        list.split(", ").map(|name| KeyState::from_name(name).unwrap()).collect()
                    }
                    None if words.ends_with("it stays so") => Vec::new(),
                    None => continue,
                };
                listed += 1;
                assert_eq!(hint, possible, "pre-active {pre_active}, {steps:?}, version {version}: {words}");
            }
        }
    }
    assert!(listed > 50, "{listed} lists");
}

#[test]
fn what_a_refused_change_of_the_current_version_advises_is_possible() {
    for (pre_active, steps, next, advice) in [
        (false, vec![], Deactivated, "rotate the key first, or change the whole key to deactivated"),
        (false, vec![Step::Whole(Suspended)], Compromised, "change the whole key to compromised"),
        (true, vec![], Destroyed, "change the whole key to destroyed"),
        (true, vec![Step::Version("1", Active)], Deactivated, "make the key active and rotate it first"),
    ] {
        let store = live(pre_active, &steps);
        let key = KeyUri::parse("local:db").unwrap();
        let change = KeyChange::State(next);
        let (kind, words) = said(block_on(store.keystore.change_key(&key, Some("1"), change))).unwrap_err();
        assert_eq!(kind, ProviderErrorKind::Invalid);
        assert!(words.ends_with(&format!(": {advice}")), "{words}");
        let whole = block_on(store.keystore.check_change(&key, None, change));
        assert_eq!(whole.is_ok(), advice.contains("whole"), "{words}");
        let rotation = block_on(store.keystore.check_rotation(&key));
        assert_eq!(rotation.is_ok(), advice.starts_with("rotate"), "{words}");
    }
}

#[test]
fn a_dry_run_of_a_rotation_agrees_with_the_rotation_from_every_state() {
    for (pre_active, steps) in lives() {
        let store = live(pre_active, &steps);
        let (key, file) = (KeyUri::parse("local:db").unwrap(), store.text());
        let check = said(block_on(store.keystore.check_rotation(&key)));
        assert_eq!(store.text(), file, "a dry run writes nothing");
        let rotated = said(block_on(store.keystore.rotate_key(&key)));
        assert_eq!(check, rotated, "pre-active {pre_active}, {steps:?}");
        if let Err((kind, words)) = rotated {
            assert_eq!(kind, ProviderErrorKind::State);
            assert!(words.ends_with("only an active key is rotated"), "{words}");
        }
    }
}

#[test]
fn a_dry_run_of_a_new_key_agrees_with_making_it() {
    let store = live(false, &[Step::Whole(Deactivated), Step::Whole(Destroyed)]);
    let too_long = "x".repeat(65);
    for (name, taken) in
        [("db", true), ("", true), ("a/b", true), (too_long.as_str(), true), ("fresh", false)]
    {
        let (new, file) = (NewKey::named(name), store.text());
        let check = block_on(store.keystore.check_new_key(&new));
        assert_eq!(store.text(), file, "a dry run writes nothing");
        let made = block_on(store.keystore.create_key(&new)).map(drop);
        assert_eq!(made.is_err(), taken, "{name:?}");
        let words = |outcome: Result<(), ProviderError>| outcome.err().map(|error| error.to_string());
        assert_eq!(words(check), words(made), "{name:?}");
    }
}

#[test]
fn dry_runs_about_a_key_that_is_not_there_are_refused_as_the_operation_is() {
    let store = Store::new();
    let suspend = KeyChange::State(Suspended);
    let other = format!("local://{}/db", "0".repeat(32));
    for (key, kind) in [
        ("local:none", ProviderErrorKind::NotFound),
        (other.as_str(), ProviderErrorKind::NotFound),
        ("passphrase:", ProviderErrorKind::Unsupported),
    ] {
        let key = KeyUri::parse(key).unwrap();
        let change = said(block_on(store.keystore.change_key(&key, None, suspend)));
        assert_eq!(change.as_ref().map_err(|(kind, _)| *kind), Err(kind), "{key}");
        assert_eq!(said(block_on(store.keystore.check_change(&key, None, suspend))), change, "{key}");
        assert_eq!(said(block_on(store.keystore.rotate_key(&key))), change, "{key}");
        assert_eq!(said(block_on(store.keystore.check_rotation(&key))), change, "{key}");
    }
}
