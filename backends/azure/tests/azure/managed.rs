//! Keys that something else manages, and what is kept as tags.

use std::collections::BTreeMap;

use envelope_sdk::{
    KeyChange, KeyProvider, KeyState, ProviderError,
    ProviderErrorKind::{Invalid, Unsupported},
    admin::{AutoRotation, Detail},
};
use envelope_testkit::azure_server::Reply;
use serde_json::json;

use super::*;

#[test]
fn a_key_that_a_certificate_manages_is_marked_and_neither_wrapped_with_nor_changed_and_unwraps() {
    let azure = Azure::new();
    let key = azure.key();
    let wrapped = block_on(azure.vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    let service = azure.server.serve_with(|_, mut reply: Reply| {
        if reply.body.get("key").is_some() {
            reply.body["managed"] = json!(true);
        }
        reply.into()
    });
    let vaults = at(&service, &azure.folder).vault(VAULT).build();
    let told = block_on(vaults.describe_key(&key)).unwrap();
    assert_eq!(told.details.get("managed"), Some(&Detail::Flag(true)));
    let state = |state| block_on(vaults.change_key(&key, None, KeyChange::State(state))).map(drop);
    let version = told.versions[0].version.clone();
    let end = KeyChange::State(KeyState::Suspended);
    let refused = |outcome: Result<(), ProviderError>| {
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.key()), (Unsupported, Some(&key)), "{error}");
        assert!(error.message().contains("such as a certificate"), "{error}");
    };
    refused(block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).map(drop));
    refused(state(KeyState::Suspended));
    refused(state(KeyState::Destroyed));
    refused(block_on(vaults.change_key(&key, Some(&version), end)).map(drop));
    refused(block_on(vaults.check_change(&key, None, end)));
    refused(block_on(vaults.rotate_key(&key)).map(drop));
    refused(block_on(vaults.check_rotation(&key)));
    refused(block_on(vaults.set_rotation(&key, AutoRotation::Off)));
    refused(block_on(vaults.set_not_after(&key, None, Some(1))).map(drop));
    refused(block_on(vaults.set_tags(&key, &BTreeMap::new())).map(drop));
    block_on(vaults.unwrap_dek(&wrapped, &context())).unwrap();
    // Deleted with its certificate, it is recovered with that.
    for state in [KeyState::Suspended, KeyState::Destroyed] {
        block_on(azure.vaults.change_key(&key, None, KeyChange::State(state))).unwrap();
    }
    refused(block_on(vaults.restore_key(&key)).map(drop));
    refused(block_on(vaults.check_purge(&key)));
    refused(block_on(vaults.purge_key(&key)));
    assert_eq!(block_on(azure.vaults.describe_key(&key)).unwrap().state, KeyState::Suspended);
}

#[test]
fn the_description_stays_where_tags_are_replaced() {
    let azure = Azure::new();
    let key = azure.key_with(|mut new| {
        new.description = Some("of the shop".into());
        new.tag("team", "shop").not_after(4_000_000_000)
    });
    let tags = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let told = block_on(azure.vaults.set_tags(&key, &tags(&[("owner", "me")]))).unwrap();
    assert_eq!(told.details.get("description"), Some(&Detail::Text("of the shop".into())));
    assert_eq!(told.details.get("tags"), Some(&Detail::List(vec!["owner=me".into()])));
    assert_eq!(told.current().unwrap().not_after, Some(4_000_000_000));
    let told = block_on(azure.vaults.set_tags(&key, &tags(&[("description", "other words")]))).unwrap();
    assert_eq!(told.details.get("description"), Some(&Detail::Text("other words".into())));
    let kept = tags(&[("envelope-not-after", "1 x")]);
    let error = block_on(azure.vaults.set_tags(&key, &kept)).unwrap_err();
    assert_eq!((error.kind(), error.key()), (Invalid, Some(&key)), "{error}");
    assert!(error.message().contains("kept for the end of the cryptoperiod"), "{error}");
    // 13 beside those two.
    let many: BTreeMap<String, String> = (0..14).map(|at| (format!("t{at}"), String::new())).collect();
    let error = block_on(azure.vaults.set_tags(&key, &many)).unwrap_err();
    assert!(error.kind() == Invalid && error.message().contains("at most 15 tags"), "{error}");
}
