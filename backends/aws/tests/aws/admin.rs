//! Administration against LocalStack.

use envelope_aws::RotationKind;
use envelope_sdk::{
    KeyAdmin, KeyChange,
    KeyState::{Active, Compromised, Deactivated, Destroyed, Suspended},
    ProviderErrorKind::{Invalid, NotFound, State, Unsupported},
};

use super::*;

#[test]
fn a_key_is_created_with_alias_description_and_tags_and_listed() {
    let Some(kms) = localstack() else { return };
    let name = fresh_name();
    let mut new =
        NewKey { alias: Some(name.clone()), description: Some("for tests".into()), ..NewKey::default() };
    new.tags.insert("team".into(), "storage".into());
    let made = block_on(kms.create(&new)).unwrap();
    assert_eq!(
        (made.description.as_str(), made.origin.as_str(), made.state.name()),
        ("for tests", "AWS_KMS", "Enabled")
    );
    assert!(
        made.wraps
            && !made.aws_managed
            && !made.multi_region
            && made.created.is_some()
            && made.deletion.is_none()
    );
    assert_eq!(block_on(kms.describe(&alias(&name))).unwrap(), made, "by its alias");
    assert_eq!(block_on(kms.aliases(&made.uri)).unwrap(), [alias(&name)]);
    assert_eq!(tags(&made.uri), [("team".to_owned(), "storage".to_owned())]);
    assert!(block_on(kms.list()).unwrap().contains(&made));
    assert!(block_on(kms.list_keys()).unwrap().iter().any(|key| key.uri == made.uri && key.state == Active));
}

#[test]
fn every_page_of_keys_is_listed() {
    let Some(kms) = localstack() else { return };
    let made: Vec<KeyUri> = (0..110).map(|_| block_on(kms.create(&NewKey::default())).unwrap().uri).collect();
    let listed: Vec<KeyUri> = block_on(kms.list()).unwrap().into_iter().map(|key| key.uri).collect();
    assert!(made.iter().all(|key| listed.contains(key)), "a page of KMS has 100 keys");
}

#[test]
fn a_name_that_is_taken_makes_no_second_key() {
    let Some(kms) = localstack() else { return };
    let name = fresh_name();
    block_on(kms.create_key(&name, false)).unwrap();
    let described = || {
        block_on(kms.list())
            .unwrap()
            .into_iter()
            .filter(|key| key.description.ends_with(&format!("{name} of envelope-sdk")))
            .count()
    };
    let refused = block_on(kms.create_key(&name, false)).unwrap_err();
    assert_eq!(refused.kind(), Invalid);
    assert!(refused.message().contains(&name), "{refused}");
    assert_eq!(described(), 1);
    assert_eq!(block_on(kms.create_key(&fresh_name(), true)).unwrap_err().kind(), Unsupported);
}

#[test]
fn an_alias_that_kms_does_not_allow_makes_no_key() {
    // Nothing is asked: there is no server.
    let kms = block_on(at("http://127.0.0.1:1").build());
    for name in ["", "no blanks", "aws/reserved", "größe", &"a".repeat(251)] {
        let refused = block_on(kms.create_key(name, false)).unwrap_err();
        assert_eq!(refused.kind(), Invalid, "{name}: {refused}");
        assert!(refused.message().contains("an alias has"), "{refused}");
    }
}

#[test]
fn states_go_as_the_table_says_and_others_are_refused() {
    let Some(kms) = localstack() else { return };
    let (made, _) = create(&kms);
    let go = |state| block_on(kms.change_key(&made.uri, None, KeyChange::State(state)));
    for state in [Deactivated, Compromised] {
        let refused = go(state).unwrap_err();
        assert_eq!(refused.kind(), Unsupported);
        assert!(refused.message().contains("kms:Encrypt"), "{refused}");
    }
    let refused = go(Destroyed).unwrap_err();
    assert_eq!(refused.kind(), State, "{refused}");
    assert!(refused.message().contains("suspend it first"), "{refused}");
    assert_eq!(go(Suspended).unwrap().state, Suspended);
    assert_eq!(go(Active).unwrap().state, Active);
    go(Suspended).unwrap();
    assert_eq!(go(Destroyed).unwrap().state, Suspended, "it can be cancelled");
    let waiting = block_on(kms.describe(&made.uri)).unwrap();
    assert!(waiting.state.is_pending_deletion() && waiting.deletion > waiting.created, "{waiting:?}");
    assert_eq!(go(Destroyed).unwrap_err().kind(), State);
    assert_eq!(go(Active).unwrap_err().kind(), State, "its deletion is to be cancelled first");
    block_on(kms.cancel_deletion(&made.uri)).unwrap();
    assert_eq!(block_on(kms.describe(&made.uri)).unwrap().state.name(), "Disabled");
    assert_eq!(go(Active).unwrap().state, Active);
    let version = block_on(kms.change_key(&made.uri, Some("1"), KeyChange::State(Suspended)));
    assert_eq!(version.unwrap_err().kind(), Unsupported);
    assert_eq!(
        block_on(kms.change_key(&made.uri, None, KeyChange::Archive)).unwrap_err().kind(),
        Unsupported
    );
}

#[test]
fn deletion_waits_between_7_and_30_days() {
    let Some(kms) = localstack() else { return };
    let (made, _) = create(&kms);
    for days in [6, 31, u32::MAX] {
        assert_eq!(block_on(kms.schedule_deletion(&made.uri, days)).unwrap_err().kind(), Invalid, "{days}");
    }
    let created = block_on(kms.describe(&made.uri)).unwrap().created.unwrap();
    let date = block_on(kms.schedule_deletion(&made.uri, 7)).unwrap().unwrap();
    assert!((date - created).abs_diff(7 * DAY) < DAY / 2, "{created} {date}");
}

#[test]
fn rotation_is_turned_on_with_a_period_told_and_turned_off() {
    let Some(kms) = localstack() else { return };
    let (made, alias) = create(&kms);
    let status = || block_on(kms.rotation_status(&alias)).unwrap();
    assert!(!status().automatic);
    block_on(kms.enable_rotation(&made.uri, Some(180))).unwrap();
    let on = status();
    assert!(on.automatic && on.period_days == Some(180) && on.next.is_some(), "{on:?}");
    block_on(kms.disable_rotation(&alias)).unwrap();
    assert!(!status().automatic);
    let (other, _) = create(&kms);
    block_on(kms.enable_rotation(&other.uri, None)).unwrap();
    assert_eq!(block_on(kms.rotation_status(&other.uri)).unwrap().period_days, Some(365));
    for days in [89, 2561, u32::MAX] {
        assert_eq!(
            block_on(kms.enable_rotation(&made.uri, Some(days))).unwrap_err().kind(),
            Invalid,
            "{days}"
        );
    }
}

/// Against moto: LocalStack does not list rotations.
#[test]
fn rotations_that_were_done_are_listed_oldest_first() {
    let Some(address) = servers::address("MOTO") else { return };
    let kms = block_on(at(&address).build());
    let made = block_on(kms.create(&NewKey::default())).unwrap();
    assert_eq!(block_on(kms.rotations(&made.uri)).unwrap(), []);
    for _ in 0..3 {
        block_on(kms.rotate_on_demand(&made.uri)).unwrap();
    }
    let rotations = block_on(kms.rotations(&made.uri)).unwrap();
    assert_eq!(rotations.len(), 3);
    assert!(rotations.iter().all(|rotation| rotation.kind == RotationKind::OnDemand), "{rotations:?}");
    assert!(rotations.is_sorted_by_key(|rotation| rotation.date), "{rotations:?}");
    assert!(rotations[0].date >= made.created, "{rotations:?}");
}

#[test]
fn an_alias_is_made_of_a_name_of_kms_and_switched_within_its_region() {
    let Some(kms) = localstack() else { return };
    let (one, _) = create(&kms);
    let (name, second) = (fresh_name(), fresh_name());
    assert_eq!(block_on(kms.create_alias(&name, &one.uri)).unwrap(), alias(&name));
    block_on(kms.create_alias(&second, &alias(&name))).unwrap();
    assert_eq!(block_on(kms.describe(&alias(&second))).unwrap().uri, one.uri, "the key behind the alias");
    assert_eq!(block_on(kms.create_alias(&name, &one.uri)).unwrap_err().kind(), Invalid, "taken");
    assert_eq!(block_on(kms.create_alias("no blanks", &one.uri)).unwrap_err().kind(), Invalid);
    let abroad = KeyUri::parse(&format!("arn:aws:kms:us-east-1:{ACCOUNT}:key/1a")).unwrap();
    assert_eq!(block_on(kms.switch_alias(&alias(&name), &abroad)).unwrap_err().kind(), Invalid);
    assert_eq!(block_on(kms.switch_alias(&one.uri, &one.uri)).unwrap_err().kind(), Invalid, "no alias");
    assert_eq!(block_on(kms.resolve(&alias("tests/nobody"))).unwrap_err().kind(), NotFound);
}

#[test]
fn without_a_region_no_key_is_created_or_listed() {
    let config = envelope_aws::SdkConfig::builder().build();
    let kms = AwsKms::from_sdk_config(config);
    for refused in [block_on(kms.create_key("a", false)).map(drop), block_on(kms.list_keys()).map(drop)] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), Invalid);
        assert!(error.message().contains("AWS_REGION"), "{error}");
    }
}

fn tags(key: &KeyUri) -> Vec<(String, String)> {
    let address = servers::address("LOCALSTACK").unwrap();
    let tags = block_on(async {
        let client = client(&address).await;
        client
            .list_resource_tags()
            .key_id(key.rest().trim_start_matches('/'))
            .send()
            .await
            .unwrap()
            .tags
            .unwrap()
    });
    tags.into_iter().map(|tag| (tag.tag_key, tag.tag_value)).collect()
}

const DAY: u64 = 24 * 60 * 60;
