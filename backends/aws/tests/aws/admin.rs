//! Administration against LocalStack.

use envelope_sdk::{
    KeyAdmin, KeyChange,
    KeyState::{Active, Compromised, Deactivated, Destroyed, PreActive, Suspended},
    ProviderErrorKind::{Invalid, NotFound, State, Unsupported},
    admin::{AutoRotation, Detail, Rotation, all_keys},
};

use super::{
    canned::{Canned, described, refusal, said, the_key},
    *,
};

#[test]
fn a_key_is_created_with_alias_description_and_tags_and_listed() {
    let Some(kms) = localstack() else { return };
    let name = fresh_name();
    let new = NewKey::named(&name).description("for tests").tag("team", "storage");
    block_on(kms.check_new_key(&new)).unwrap();
    let made = block_on(kms.create_key(&new)).unwrap();
    let told: Vec<_> = made.details.iter().collect();
    let aliases = Detail::List(vec![alias(&name).as_str().into()]);
    assert_eq!(
        told,
        [
            ("aws_state", &"Enabled".into()),
            ("description", &"for tests".into()),
            ("origin", &"AWS_KMS".into()),
            ("multi_region", &false.into()),
            ("aliases", &aliases),
        ]
    );
    assert!(made.state == Active && made.current().unwrap().created.is_some(), "{made:?}");
    for key in [&made.uri, &alias(&name)] {
        assert_eq!(block_on(kms.describe_key(key)).unwrap(), made);
    }
    assert_eq!(block_on(kms.aliases(&made.uri)).unwrap(), [alias(&name)]);
    assert_eq!(tags(&made.uri), [("team".to_owned(), "storage".to_owned())]);
    let described = block_on(kms.describe(&made.uri)).unwrap();
    assert!(described.wraps && !described.aws_managed && described.deletion.is_none(), "{described:?}");
    let listed = block_on(all_keys(&kms)).unwrap();
    assert!(listed.contains(&described.describe()), "with all details but the aliases");
}

#[test]
fn every_page_of_keys_is_listed() {
    let Some(kms) = localstack() else { return };
    let made: Vec<KeyUri> = (0..110).map(|_| create(&kms).0.uri).collect();
    let first = block_on(kms.list_keys(None)).unwrap();
    assert!(first.keys.len() <= 100 && first.next.is_some(), "a page of KMS has 100 keys");
    let listed: Vec<KeyUri> = block_on(all_keys(&kms)).unwrap().into_iter().map(|key| key.uri).collect();
    assert!(made.iter().all(|key| listed.contains(key)));
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
    assert_eq!(block_on(kms.restore_key(&made.uri)).unwrap().state, Suspended);
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
fn a_dry_run_refuses_what_the_change_refuses_in_the_same_words() {
    let changes = [Active, Suspended, Destroyed, Deactivated, Compromised, PreActive]
        .map(KeyChange::State)
        .into_iter()
        .chain([KeyChange::Archive]);
    for change in changes {
        for (state, pending) in [
            ("Enabled", false),
            ("Disabled", false),
            ("PendingImport", false),
            ("PendingDeletion", true),
            ("PendingReplicaDeletion", true),
            ("Unavailable", false),
        ] {
            let done = said(200, "{}");
            let server = Canned::by_call(vec![
                ("DescribeKey", described(state, "")),
                ("EnableKey", done.clone()),
                ("DisableKey", done.clone()),
                ("ScheduleKeyDeletion", done),
            ]);
            let kms = server.kms();
            let dry = block_on(kms.check_change(&the_key(), None, change));
            let asked = server.calls();
            assert!(asked.iter().all(|call| call == "DescribeKey"), "a dry run changes nothing: {asked:?}");
            let wet = block_on(kms.change_key(&the_key(), None, change));
            let what = format!("{change:?} of {state}");
            match (dry, wet) {
                (Ok(()), Ok(_)) => assert!(!pending, "{what}"),
                (Err(dry), Err(wet)) => {
                    assert_eq!((dry.kind(), dry.to_string()), (wet.kind(), wet.to_string()), "{what}");
                    assert!(!server.calls().iter().any(|call| call != "DescribeKey"), "{what}");
                }
                (dry, wet) => panic!("{what}: {dry:?}, {wet:?}"),
            }
        }
    }
}

#[test]
fn a_dry_run_of_a_rotation_refuses_what_the_rotation_refuses_in_the_same_words() {
    for (state, more, kind) in [
        ("Enabled", "", None),
        ("Disabled", "", Some(State)),
        ("PendingDeletion", "", Some(State)),
        ("Enabled", r#","KeyUsage":"SIGN_VERIFY""#, Some(Unsupported)),
        ("Enabled", r#","Origin":"AWS_CLOUDHSM""#, Some(Unsupported)),
    ] {
        let rotated = said(200, "{}");
        // The last of two equal members counts.
        let server =
            Canned::by_call(vec![("DescribeKey", described(state, more)), ("RotateKeyOnDemand", rotated)]);
        let kms = server.kms();
        let dry = block_on(kms.check_rotation(&the_key())).err().map(|error| error.to_string());
        assert_eq!(server.calls(), ["DescribeKey"], "{state} {more}");
        let wet = block_on(kms.rotate_key(&the_key())).err();
        assert_eq!(wet.as_ref().map(envelope_sdk::ProviderError::kind), kind, "{state} {more}");
        assert_eq!(dry, wet.map(|error| error.to_string()));
        assert_eq!(server.calls().contains(&"RotateKeyOnDemand".to_owned()), kind.is_none());
    }
}

#[test]
fn who_may_not_list_aliases_is_told_the_rest() {
    let server = Canned::by_call(vec![
        ("DescribeKey", described("Enabled", r#","ValidTo":1900000000"#)),
        ("ListAliases", refusal(400, "AccessDeniedException")),
    ]);
    let key = block_on(server.kms().describe_key(&the_key())).unwrap();
    assert_eq!(key.details.get("aliases"), None);
    assert_eq!(key.details.get("aws_state"), Some(&"Enabled".into()));
    assert_eq!(key.current().unwrap().not_after, Some(1_900_000_000), "imported material expires");
    let server = Canned::by_call(vec![
        ("DescribeKey", described("Enabled", "")),
        ("ListAliases", refusal(400, "ThrottlingException")),
    ]);
    let error = block_on(server.kms().describe_key(&the_key())).unwrap_err();
    assert!(error.message().contains("ThrottlingException"), "another reason is an error: {error}");
}

#[test]
fn rotation_is_turned_on_with_a_period_told_and_turned_off() {
    let Some(kms) = localstack() else { return };
    let (made, alias) = create(&kms);
    let set = |key: &KeyUri, rotation| block_on(kms.set_rotation(key, rotation));
    let address = servers::address("LOCALSTACK").unwrap();
    // By the SDK: LocalStack does not list rotations, which are a part of the status.
    let status = || {
        block_on(async {
            let id = made.uri.rest().trim_start_matches('/');
            let told = client(&address).await.get_key_rotation_status().key_id(id).send().await.unwrap();
            (told.key_rotation_enabled, told.rotation_period_in_days)
        })
    };
    assert_eq!(status(), (false, None));
    for (key, rotation, told) in [
        (&made.uri, AutoRotation::Default, (true, Some(365))),
        (&made.uri, AutoRotation::Days(180), (true, Some(180))),
        (&alias, AutoRotation::Days(2560), (true, Some(2560))),
        (&alias, AutoRotation::Off, (false, None)),
    ] {
        set(key, rotation).unwrap();
        let now = status();
        assert_eq!((now.0, now.1.filter(|_| now.0)), told, "{rotation:?}");
    }
    for days in [0, 89, 2561, u32::MAX] {
        assert_eq!(set(&made.uri, AutoRotation::Days(days)).unwrap_err().kind(), Invalid, "{days}");
    }
}

#[test]
fn the_status_of_a_rotation_is_told_with_what_is_under_way_and_what_was() {
    let status = r#"{"KeyRotationEnabled":true,"RotationPeriodInDays":90,"NextRotationDate":1900000000,
        "OnDemandRotationStartDate":1800000000}"#;
    let past = r#"{"Rotations":[{"RotationDate":1750000000,"RotationType":"ON_DEMAND"},
        {"RotationDate":1700000000,"RotationType":"AUTOMATIC"},{"RotationType":"OF_TOMORROW"}],"Truncated":false}"#;
    let server = Canned::by_call(vec![
        ("GetKeyRotationStatus", said(200, status)),
        ("ListKeyRotations", said(200, past)),
    ]);
    let told = block_on(server.kms().rotation_status(&the_key())).unwrap();
    assert_eq!((told.automatic, told.period_days, told.next), (true, Some(90), Some(1_900_000_000)));
    assert_eq!(told.details.get("on_demand_since"), Some(&Detail::Time(1_800_000_000)));
    let expected = [
        Rotation::new(None, None),
        Rotation::new(Some(1_700_000_000), Some(true)),
        Rotation::new(Some(1_750_000_000), Some(false)),
    ];
    assert_eq!(told.past, expected);
}

/// Against moto: LocalStack does not list rotations.
#[test]
fn rotations_that_were_done_are_listed_oldest_first() {
    let Some(address) = servers::address("MOTO") else { return };
    let kms = at(&address).build();
    let (made, _) = create(&kms);
    let before = block_on(kms.rotation_status(&made.uri)).unwrap();
    assert_eq!((before.automatic, before.past), (false, vec![]));
    assert_eq!(before.details.get("on_demand_since"), Some(&Detail::Nothing));
    for _ in 0..3 {
        assert_eq!(block_on(kms.rotate_key(&made.uri)).unwrap().state, Active);
    }
    let rotations = block_on(kms.rotation_status(&made.uri)).unwrap().past;
    assert_eq!(rotations.len(), 3);
    assert!(rotations.iter().all(|rotation| rotation.automatic == Some(false)), "{rotations:?}");
    assert!(rotations.is_sorted_by_key(|rotation| rotation.date), "{rotations:?}");
    assert!(rotations[0].date >= made.current().unwrap().created, "{rotations:?}");
}

#[test]
fn an_alias_is_made_of_a_name_of_kms_and_switched_to_another_key() {
    let Some(kms) = localstack() else { return };
    let ((one, first), (two, _)) = (create(&kms), create(&kms));
    let name = fresh_name();
    assert_eq!(block_on(kms.set_alias(&name, &one.uri)).unwrap(), alias(&name), "made");
    assert_eq!(block_on(kms.set_alias(&name, &first)).unwrap(), alias(&name), "the same key by its alias");
    assert_eq!(block_on(kms.describe(&alias(&name))).unwrap().uri, one.uri);
    assert_eq!(block_on(kms.set_alias(&name, &two.uri)).unwrap(), alias(&name), "switched");
    assert_eq!(block_on(kms.describe(&alias(&name))).unwrap().uri, two.uri);
    assert_eq!(block_on(kms.set_alias("no blanks", &one.uri)).unwrap_err().kind(), Invalid);
    let nobody = key("1234abcd-12ab-34cd-56ef-1234567890ab");
    assert_eq!(block_on(kms.set_alias(&fresh_name(), &nobody)).unwrap_err().kind(), NotFound);
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
