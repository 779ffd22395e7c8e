//! Calls that change something and whose answers are lost: what was done is not
//! done twice, not undone, and not called an error.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize},
};

use envelope_sdk::{
    KeyAdmin, KeyChange,
    KeyState::{Active, Destroyed, Suspended},
    ProviderErrorKind::{Invalid, Protocol, State, Throttled, Unavailable},
};
use envelope_testkit::http_server::{Answer, Request};

use super::{
    canned::{Canned, call_of, described, described_as, refusal, said, the_key},
    *,
};

/// What a retry would do twice.
#[test]
fn a_key_is_made_and_rotated_in_one_attempt_and_an_answer_that_is_lost_is_told() {
    let lost = || {
        [
            (Answer::hang_up(), Unavailable),
            (said(200, "{").cut_after(90), Unavailable),
            (said(200, "<html>"), Protocol),
            (refusal(500, "KMSInternalException"), Unavailable),
            (Answer::new(504), Unavailable),
        ]
    };
    for (answer, kind) in lost() {
        let shown = format!("{answer:?}");
        let server = Canned::by_call(vec![
            ("DescribeKey", refusal(400, "NotFoundException")),
            ("CreateKey", answer.clone()),
        ]);
        let error = block_on(patient(&server).create_key(&NewKey::named("a"))).unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable(), error.key()),
            (kind, false, None),
            "{shown}: {error}"
        );
        for words in ["not known whether it was done", "made just now and has no alias"] {
            assert!(error.message().contains(words), "{shown}: {error}");
        }
        assert_eq!(server.calls(), ["DescribeKey", "CreateKey"], "{shown}");

        let server =
            Canned::by_call(vec![("DescribeKey", described("Enabled", "")), ("RotateKeyOnDemand", answer)]);
        let error = block_on(patient(&server).rotate_key(&the_key())).unwrap_err();
        // The answer of a rotation has nothing that must be there.
        assert_eq!((error.kind(), error.is_retryable()), (kind, false), "{shown}: {error}");
        for words in ["not known whether it was done", "status of its rotation"] {
            assert!(error.message().contains(words), "{shown}: {error}");
        }
        assert_eq!(server.calls(), ["DescribeKey", "RotateKeyOnDemand"], "{shown}");
    }
}

#[test]
fn what_kms_refuses_in_one_attempt_is_known_not_to_be_done() {
    for (code, kind, retryable) in [
        ("ThrottlingException", Throttled, true),
        ("ConflictException", State, true),
        ("TagException", Invalid, false),
    ] {
        let server = Canned::by_call(vec![
            ("DescribeKey", described("Enabled", "")),
            ("RotateKeyOnDemand", refusal(400, code)),
        ]);
        let error = block_on(patient(&server).rotate_key(&the_key())).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{error}");
        assert!(!error.message().contains("not known"), "{error}");
        assert_eq!(server.calls(), ["DescribeKey", "RotateKeyOnDemand"], "{code}");
    }
}

/// Success is not turned into an error by a look at the key afterwards.
#[test]
fn a_rotation_that_was_done_is_no_error() {
    let looks = AtomicUsize::new(0);
    let server = Canned::answering(move |request| match call_of(request).as_str() {
        "DescribeKey" if looks.fetch_add(1, Ordering::SeqCst) == 0 => described("Enabled", ""),
        "RotateKeyOnDemand" => said(200, "{}"),
        _ => Answer::hang_up(),
    });
    assert_eq!(block_on(server.kms().rotate_key(&the_key())).unwrap().state, Active);
}

#[test]
fn an_alias_whose_answer_was_lost_is_the_one_of_the_key_and_nothing_is_deleted() {
    for lost in [Answer::hang_up(), refusal(500, "KMSInternalException")] {
        let server =
            making(Making { create_alias: vec![lost, refusal(400, "AlreadyExistsException")], ..made() });
        let key = block_on(patient(&server).create_key(&NewKey::named("a"))).unwrap();
        assert_eq!(key.uri, the_key());
        let calls = server.calls();
        assert_eq!(calls[..4], ["DescribeKey", "CreateKey", "CreateAlias", "CreateAlias"]);
        assert!(!calls.contains(&"ScheduleKeyDeletion".to_owned()), "{calls:?}");
    }
    // Every answer is lost.
    let server = making(Making { create_alias: vec![Answer::hang_up()], ..made() });
    assert_eq!(block_on(patient(&server).create_key(&NewKey::named("a"))).unwrap().uri, the_key());
}

#[test]
fn a_key_is_scheduled_for_deletion_only_if_its_alias_is_known_not_to_be_there() {
    let taken = || refusal(400, "AlreadyExistsException");
    for (what, making_of, kind, is_deleted, says) in [
        (
            "the alias means another key",
            Making {
                create_alias: vec![taken()],
                alias: Some(described_as(&key("other"), "Enabled", "")),
                ..made()
            },
            Invalid,
            true,
            "it is scheduled for deletion",
        ),
        (
            "KMS refuses, and there is none",
            Making {
                create_alias: vec![refusal(400, "LimitExceededException")],
                alias: Some(refusal(400, "NotFoundException")),
                ..made()
            },
            envelope_sdk::ProviderErrorKind::Other,
            true,
            "it is scheduled for deletion",
        ),
        (
            "it is taken, and KMS does not know it yet",
            Making { create_alias: vec![taken()], alias: Some(refusal(400, "NotFoundException")), ..made() },
            Invalid,
            false,
            "not known whether its alias a was",
        ),
        (
            "it is taken, and nobody answers what it means",
            Making { create_alias: vec![taken()], alias: Some(Answer::hang_up()), ..made() },
            Invalid,
            false,
            "not known whether its alias a was",
        ),
        (
            "the answer is lost, and there is none yet",
            Making {
                create_alias: vec![Answer::hang_up()],
                alias: Some(refusal(400, "NotFoundException")),
                ..made()
            },
            Unavailable,
            false,
            "not known whether its alias a was",
        ),
    ] {
        let server = making(making_of);
        let error = block_on(server.kms().create_key(&NewKey::named("a"))).unwrap_err();
        assert_eq!((error.kind(), error.key()), (kind, Some(&the_key())), "{what}: {error}");
        assert!(!error.is_retryable(), "{what}: another key would be made");
        assert!(error.message().contains(says), "{what}: {error}");
        let deletes = server.calls().contains(&"ScheduleKeyDeletion".to_owned());
        assert_eq!(deletes, is_deleted, "{what}");
    }
    let server = making(Making {
        create_alias: vec![taken()],
        alias: Some(described_as(&key("other"), "Enabled", "")),
        schedule: refusal(400, "AccessDeniedException"),
        ..made()
    });
    let error = block_on(server.kms().create_key(&NewKey::named("a"))).unwrap_err();
    assert!(error.message().contains("delete it yourself"), "{error}");
}

#[test]
fn a_key_of_another_region_partition_or_account_is_not_reported_as_made() {
    for arn in [
        format!("arn:aws:kms:us-east-1:{ACCOUNT}:key/1a"),
        format!("arn:aws-cn:kms:{REGION}:{ACCOUNT}:key/1a"),
        format!("arn:aws-us-gov:kms:{REGION}:{ACCOUNT}:key/1a"),
    ] {
        let foreign = KeyUri::parse(&arn).unwrap();
        let server = making(Making { key: foreign.clone(), ..made() });
        let error = block_on(server.kms().create_key(&NewKey::named("a"))).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Protocol, false), "{error}");
        assert!(error.message().contains("a key of another region"), "{error}");
        assert_eq!(server.calls(), ["DescribeKey", "CreateKey"], "{arn}");
    }
    // Its alias is one of the caller's own account.
    let foreign = KeyUri::parse(&format!("arn:aws:kms:{REGION}:111122223333:key/1a")).unwrap();
    let server = making(Making { key: foreign, alias: Some(described("Enabled", "")), ..made() });
    let error = block_on(server.kms().create_key(&NewKey::named("a"))).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Protocol, false), "{error}");
    assert!(error.message().contains("another key than the one that it made"), "{error}");
}

#[test]
fn a_new_alias_that_kms_knows_late_is_waited_for_and_one_that_it_never_knows_is_told() {
    let late = Making { unknown_alias: 2, ..made() };
    assert_eq!(block_on(making(late).kms().create_key(&NewKey::named("a"))).unwrap().uri, the_key());
    let never = making(Making { alias: Some(refusal(400, "NotFoundException")), ..made() });
    let error = block_on(never.kms().create_key(&NewKey::named("a"))).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable(), error.key()), (Unavailable, false, Some(&the_key())));
    assert!(error.message().contains("could not be verified"), "{error}");
    assert!(!never.calls().contains(&"ScheduleKeyDeletion".to_owned()));
}

#[test]
fn a_change_that_was_done_although_its_answer_was_lost_is_taken_for_done() {
    // What KMS says to the retry, and to the first one.
    let refused = || refusal(400, "KMSInvalidStateException");
    for (change, call, before, after) in [
        (Some(Active), "EnableKey", "Disabled", "Enabled"),
        (Some(Suspended), "DisableKey", "Enabled", "Disabled"),
        (Some(Destroyed), "ScheduleKeyDeletion", "Disabled", "PendingDeletion"),
        (None, "CancelKeyDeletion", "PendingDeletion", "Disabled"),
    ] {
        for done in [true, false] {
            let is_done = Arc::new(AtomicBool::new(false));
            let sent = is_done.clone();
            let server = Canned::answering(move |request| {
                let state = if sent.load(Ordering::SeqCst) { after } else { before };
                match call_of(request).as_str() {
                    "DescribeKey" => described(state, r#","DeletionDate":1900000000"#),
                    name if name == call && !done => refused(),
                    name if name == call && !sent.swap(true, Ordering::SeqCst) => Answer::hang_up(),
                    name if name == call => refused(),
                    other => panic!("nothing is said of {other}"),
                }
            });
            let kms = patient(&server);
            let outcome = match change {
                Some(state) => block_on(kms.change_key(&the_key(), None, KeyChange::State(state))),
                None => block_on(kms.restore_key(&the_key())),
            };
            if done {
                assert_eq!(outcome.unwrap().details.get("aws_state"), Some(&after.into()), "{call}");
                assert_eq!(server.calls().iter().filter(|name| *name == call).count(), 2, "{call}");
            } else {
                assert_eq!(outcome.unwrap_err().kind(), State, "{call}");
            }
        }
    }
}

#[test]
fn a_deletion_that_was_scheduled_before_is_not_taken_for_ones_own() {
    let pending = r#","DeletionDate":1900000000"#;
    let server = Canned::by_call(vec![("DescribeKey", described("PendingDeletion", pending))]);
    let error = block_on(server.kms().schedule_deletion(&the_key(), 7)).unwrap_err();
    assert_eq!(error.kind(), State, "{error}");
    assert!(error.message().contains("scheduled already"), "{error}");
    assert_eq!(server.calls(), ["DescribeKey"]);
}

#[test]
fn an_alias_that_was_switched_although_its_answer_was_lost_is_switched() {
    for done in [true, false] {
        let switched = AtomicBool::new(false);
        let server = Canned::answering(move |request| match call_of(request).as_str() {
            "DescribeKey" if request.text().contains("alias/") && !switched.load(Ordering::SeqCst) => {
                described_as(&key("other"), "Enabled", "")
            }
            "DescribeKey" => described("Enabled", ""),
            _ => {
                switched.store(done, Ordering::SeqCst);
                Answer::hang_up()
            }
        });
        let outcome = block_on(server.kms().set_alias("a", &the_key()));
        match outcome {
            Ok(set) => assert!(done && set == alias("a")),
            Err(error) => assert_eq!((error.kind(), done), (Unavailable, false), "{error}"),
        }
    }
}

#[test]
fn a_change_that_was_done_and_cannot_be_described_says_that_it_was_done() {
    let looks = AtomicUsize::new(0);
    let server = Canned::answering(move |request| match call_of(request).as_str() {
        "DescribeKey" if looks.fetch_add(1, Ordering::SeqCst) == 0 => described("Enabled", ""),
        "DisableKey" => said(200, "{}"),
        _ => refusal(400, "ThrottlingException"),
    });
    let error = block_on(server.kms().change_key(&the_key(), None, KeyChange::State(Suspended))).unwrap_err();
    assert_eq!(error.kind(), Throttled);
    assert!(error.message().contains("the key was changed, and could not be described"), "{error}");
}

#[test]
fn keys_and_aliases_of_other_regions_and_accounts_are_not_listed() {
    let own = the_key();
    for foreign in
        [format!("arn:aws:kms:us-east-1:{ACCOUNT}:"), format!("arn:aws:kms:{REGION}:111122223333:")]
    {
        let keys = format!(
            r#"{{"Keys":[{{"KeyArn":"{}"}},{{"KeyArn":"{foreign}key/1a"}}],"Truncated":false}}"#,
            own.rest().trim_start_matches('/')
        );
        let aliases = format!(r#"{{"Aliases":[{{"AliasArn":"{foreign}alias/a"}}],"Truncated":false}}"#);
        let server =
            Canned::by_call(vec![("ListKeys", said(200, keys)), ("ListAliases", said(200, aliases))]);
        for error in [
            block_on(server.kms().list_keys(None)).map(drop).unwrap_err(),
            block_on(server.kms().aliases(&own)).map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), Protocol, "{error}");
            assert!(error.message().contains("of another region or account"), "{error}");
        }
        assert!(!server.calls().contains(&"DescribeKey".to_owned()), "they are not asked for");
    }
}

/// What a KMS answers while a key is made.
struct Making {
    /// The key of the answer.
    key: KeyUri,
    /// To one call after the other; the last one to all further calls.
    create_alias: Vec<Answer>,
    /// What the alias means once its making was tried, if not that key.
    alias: Option<Answer>,
    /// How often the alias is not known then.
    unknown_alias: usize,
    schedule: Answer,
}

fn made() -> Making {
    Making {
        key: the_key(),
        create_alias: vec![said(200, "{}")],
        alias: None,
        unknown_alias: 0,
        schedule: said(200, "{}"),
    }
}

fn making(making: Making) -> Canned {
    let (tried, looked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Canned::answering(move |request: &Request| match call_of(request).as_str() {
        "DescribeKey" if tried.load(Ordering::SeqCst) == 0 => refusal(400, "NotFoundException"),
        "DescribeKey" if looked.fetch_add(1, Ordering::SeqCst) < making.unknown_alias => {
            refusal(400, "NotFoundException")
        }
        "DescribeKey" => making.alias.clone().unwrap_or_else(|| described_as(&making.key, "Enabled", "")),
        "CreateKey" => described_as(&making.key, "Enabled", ""),
        "CreateAlias" => {
            let at = tried.fetch_add(1, Ordering::SeqCst);
            making.create_alias[at.min(making.create_alias.len() - 1)].clone()
        }
        "ScheduleKeyDeletion" => making.schedule.clone(),
        other => panic!("nothing is said of {other}"),
    })
}

/// With retries.
fn patient(server: &Canned) -> AwsKms {
    at(&server.0.url()).attempts(3).build()
}
