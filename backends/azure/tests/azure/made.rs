//! What a vault says that it made, rotated or set, where that is not what was asked.

use envelope_sdk::{
    KeyChange, KeyState,
    ProviderErrorKind::{Other, Protocol, Unavailable},
    admin::AutoRotation,
};
use envelope_testkit::{azure_server::AzureService, http_server::Answer};
use serde_json::{Value, json};

use super::*;

/// The key is there: the error names it, and its version.
#[test]
fn a_key_that_is_made_in_another_way_than_was_asked_is_an_error_that_names_it() {
    type Change = fn(&mut Value);
    const CHANGES: &[(&str, Change)] = &[
        ("its kind, or whether it is in an HSM", |body| body["key"]["kty"] = json!("RSA")),
        ("its kind, or whether it is in an HSM", |body| body["key"]["kty"] = json!("oct-HSM")),
        ("its kind, or whether it is in an HSM", |body| body["key"]["kty"] = json!(null)),
        ("its size", |body| body["key"]["n"] = json!("AQAB")),
        ("its size", |body| body["key"]["n"] = json!(null)),
        ("its public exponent", |body| body["key"]["e"] = json!("Aw")),
        ("its public exponent", |body| body["key"]["e"] = json!(null)),
        ("its curve", |body| body["key"]["crv"] = json!("P-256")),
        ("what it is permitted to do", |body| {
            body["key"]["key_ops"] = json!(["wrapKey", "unwrapKey", "sign"]);
        }),
        ("what it is permitted to do", |body| body["key"]["key_ops"] = json!(["wrapKey"])),
        ("what it is permitted to do", |body| body["key"]["key_ops"] = json!(null)),
        ("that it can be exported", |body| body["attributes"]["exportable"] = json!(true)),
        ("that it can be exported", |body| {
            body["release_policy"] = json!({ "contentType": "application/json" });
        }),
        ("that another object manages it", |body| body["managed"] = json!(true)),
        ("whether it is enabled", |body| body["attributes"]["enabled"] = json!(false)),
        ("whether it is enabled", |body| body["attributes"] = json!(null)),
        ("its beginning", |body| body["attributes"]["nbf"] = json!(4_000_000_000_u64)),
        ("its expiry", |body| body["attributes"]["exp"] = json!(null)),
        ("its tags", |body| body["tags"] = json!({ "team": "shop" })),
        ("its tags", |body| body["tags"] = json!(null)),
    ];
    for (what, change) in CHANGES {
        let azure = Azure::new();
        let service = altered(&azure, "/create", *change);
        let vaults = at(&service, &azure.folder).vault(VAULT).build();
        let name = fresh_name();
        let mut new = NewKey::named(&name).algorithm("RSA-HSM-3072").tag("team", "shop");
        new = new.option("expires", "4000000001");
        new.description = Some("words".into());
        let error = block_on(vaults.create_key(&new)).unwrap_err();
        let made = key(VAULT, &name);
        assert_eq!(
            (error.kind(), error.key(), error.is_retryable()),
            (Protocol, Some(&made), false),
            "{error}"
        );
        assert!(error.message().contains(what), "{what}: {error}");
        let version = block_on(azure.vaults.describe(&made)).unwrap().current().unwrap().version.clone();
        assert!(error.message().contains(&version), "{error}");
    }
}

#[test]
fn a_symmetric_key_that_is_made_otherwise_is_an_error_too() {
    let azure = Azure::hsm();
    for (what, change) in [
        ("its kind", (|body| body["key"]["kty"] = json!("oct")) as fn(&mut Value)),
        ("its size", |body| body["key"]["n"] = json!("AQAB")),
    ] {
        let service = altered(&azure, "/create", change);
        let vaults = at(&service, &azure.folder).vault(HSM).build();
        let error = block_on(vaults.create_key(&NewKey::named(fresh_name()))).unwrap_err();
        assert!(error.kind() == Protocol && error.message().contains(what), "{error}");
    }
}

#[test]
fn a_version_of_another_kind_than_the_one_before_is_an_error_of_the_rotation() {
    for (what, change) in [
        ("its kind", (|body| body["key"]["kty"] = json!("RSA-HSM")) as fn(&mut Value)),
        ("its size", |body| body["key"]["n"] = json!("AQAB")),
        ("that it can be exported", |body| body["attributes"]["exportable"] = json!(true)),
    ] {
        let azure = Azure::new();
        let key = azure.key();
        let service = altered(&azure, "/rotate", change);
        let vaults = at(&service, &azure.folder).build();
        let error = block_on(vaults.rotate_key(&key)).unwrap_err();
        assert_eq!((error.kind(), error.key()), (Protocol, Some(&key)), "{error}");
        let current = block_on(azure.vaults.describe(&key)).unwrap().current().unwrap().version.clone();
        assert!(error.message().contains(what) && error.message().contains(&current), "{error}");
    }
}

#[test]
fn a_policy_that_is_set_in_another_way_than_was_asked_is_an_error() {
    let rotation = |trigger: Value| json!({ "trigger": trigger, "action": { "type": "Rotate" } });
    let notification = json!({ "trigger": { "timeBeforeExpiry": "P30D" }, "action": { "type": "Notify" } });
    let after = |days: &str| rotation(json!({ "timeAfterCreate": days }));
    let policy = |actions: &[Value]| json!({ "lifetimeActions": actions, "attributes": {} });
    for (asked, answer, what) in [
        (AutoRotation::Days(90), policy(&[after("P90D"), notification.clone()]), None),
        (
            AutoRotation::Days(90),
            policy(&[after("P91D"), notification.clone()]),
            Some("when the key rotates"),
        ),
        (
            AutoRotation::Days(90),
            policy(&[rotation(json!({ "timeBeforeExpiry": "P90D" })), notification.clone()]),
            Some("when the key rotates"),
        ),
        (
            AutoRotation::Days(90),
            policy(std::slice::from_ref(&notification)),
            Some("whether the key rotates by itself"),
        ),
        (
            AutoRotation::Days(90),
            policy(&[after("P90D"), after("P7D"), notification.clone()]),
            Some("whether the key rotates by itself"),
        ),
        (AutoRotation::Days(90), policy(&[after("P90D")]), Some("another action of the policy")),
        (
            AutoRotation::Off,
            policy(&[after("P90D"), notification.clone()]),
            Some("whether the key rotates by itself"),
        ),
        (
            AutoRotation::Days(90),
            json!({ "lifetimeActions": [after("P90D"), notification], "attributes": { "expiryTime": "P28D" } }),
            Some("the expiry of new versions"),
        ),
        (AutoRotation::Default, json!({}), Some("whether the key rotates by itself")),
        (AutoRotation::Default, json!({ "lifetimeActions": null, "attributes": null }), Some("by itself")),
    ] {
        let azure = Azure::new();
        let key = azure.key();
        let service = azure.server.serve_with(move |request, mut reply| {
            if request.method == "PUT" && request.header("authorization").is_some() {
                reply.body = answer.clone();
            }
            reply.into()
        });
        let vaults = at(&service, &azure.folder).build();
        match (block_on(vaults.set_rotation(&key, asked)), what) {
            (Ok(()), None) => {}
            (Err(error), Some(what)) => {
                assert_eq!((error.kind(), error.key()), (Protocol, Some(&key)), "{error}");
                assert!(error.message().contains(what), "{what}: {error}");
            }
            (outcome, what) => panic!("{outcome:?} {what:?}"),
        }
    }
}

/// It goes on wrapping, by a version that nobody knew of when the others were changed.
#[test]
fn a_key_that_is_rotated_while_it_is_suspended_or_deactivated_is_not_told_as_changed() {
    for state in [KeyState::Suspended, KeyState::Deactivated] {
        let azure = Azure::new();
        let key = azure.key();
        let (other, uri, left) = (azure.builder().build(), key.clone(), AtomicUsize::new(1));
        let service = azure.server.serve_with(move |request, reply| {
            let is_first = request.path().ends_with("/versions")
                && reply.status == 200
                && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
            if is_first {
                block_on(other.rotate_key(&uri)).unwrap();
            }
            reply.into()
        });
        let vaults = at(&service, &azure.folder).build();
        let go = || block_on(vaults.change_key(&key, None, KeyChange::State(state)));
        let error = go().unwrap_err();
        assert_eq!((error.kind(), error.key(), error.is_retryable()), (Other, Some(&key), false), "{error}");
        assert!(error.message().contains("the key is active all the same"), "{error}");
        assert_eq!(go().unwrap().state, state);
    }
}

/// What was sent may have been done: the error says so, and which key to look at.
#[test]
fn an_answer_that_breaks_off_or_is_garbage_leaves_no_doubt_which_key_to_look_at() {
    for (answer, kind) in [
        (Answer::json(200, r#"{"key":{"kid":"https://x"}}"#).cut_after(9), Unavailable),
        (Answer::json(200, "garbage"), Protocol),
        (Answer::json(200, "null"), Protocol),
        (Answer::json(200, "{}"), Protocol),
        (Answer::json(200, r#"{"key":null,"attributes":null}"#), Protocol),
        (Answer::json(200, r#"{"key":{"kid":7}}"#), Protocol),
        (Answer::json(200, r#"{"attributes":{"enabled":"yes"}}"#), Protocol),
        (
            Answer::json(
                200,
                r#"{"key":{"kid":"https://tests.vault.localhost/keys/other/0123456789abcdef0123456789abcdef"}}"#,
            ),
            Protocol,
        ),
    ] {
        let azure = Azure::new();
        let there = azure.key();
        let service = azure.server.serve_with(move |request, reply| {
            let is_it = ["/create", "/rotate"].iter().any(|end| request.path().ends_with(end));
            if is_it && request.header("authorization").is_some() { answer.clone() } else { reply.into() }
        });
        let vaults = at(&service, &azure.folder).vault(VAULT).build();
        let name = fresh_name();
        let made = key(VAULT, &name);
        for (error, about) in [
            (block_on(vaults.create_key(&NewKey::named(&name))).unwrap_err(), &made),
            (block_on(vaults.rotate_key(&there)).unwrap_err(), &there),
        ] {
            assert_eq!(
                (error.kind(), error.key(), error.is_retryable()),
                (kind, Some(about), false),
                "{error}"
            );
            assert!(error.message().contains("It is not known whether it was done"), "{error}");
        }
        // It was, each time.
        assert_eq!(block_on(azure.vaults.describe(&made)).unwrap().versions.len(), 1);
        assert_eq!(block_on(azure.vaults.describe(&there)).unwrap().versions.len(), 2);
    }
}

#[test]
fn a_policy_that_cannot_be_read_is_a_broken_protocol_and_changes_nothing() {
    for body in [
        json!("garbage"),
        json!({ "lifetimeActions": {} }),
        json!({ "lifetimeActions": [{ "action": "Rotate" }] }),
    ] {
        let azure = Azure::new();
        let key = azure.key();
        let service = azure.server.serve_with(move |request, mut reply| {
            if request.path().ends_with("/rotationpolicy") && request.header("authorization").is_some() {
                reply.body = body.clone();
            }
            reply.into()
        });
        let vaults = at(&service, &azure.folder).build();
        for error in [
            block_on(vaults.set_rotation(&key, AutoRotation::Days(30))).unwrap_err(),
            block_on(vaults.rotation_status(&key)).map(drop).unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.key()), (Protocol, Some(&key)), "{error}");
        }
        assert!(!block_on(azure.vaults.rotation_status(&key)).unwrap().automatic);
    }
}

fn altered(azure: &Azure, end: &'static str, change: fn(&mut Value)) -> AzureService {
    azure.server.serve_with(move |request, mut reply| {
        if request.path().ends_with(end) && request.header("authorization").is_some() {
            change(&mut reply.body);
        }
        reply.into()
    })
}
