//! Which keys open afterwards, and why something is changed.

use std::time::{Duration, SystemTime};

use envelope_local::{Argon2Params, Keystore, Passphrase};
use envelope_rotation::{Concern, Control, Goal, Job, Key, Outcome, Reason};
use envelope_sdk::{EncryptionContext, Envelope, KeyAdmin, KeyUri, Keyring, NewKey};
use std::sync::Arc;

use crate::{Keys, generations, run};

#[tokio::test]
async fn a_key_is_added_and_the_others_stay() {
    let keys = Keys::new();
    let source = keys.source(5, "a").await;
    let goal = || Goal::edit(keys.keys("b"), Vec::new()).open_with(keys.keys("a"));
    assert_eq!(run(Job::new(source.clone(), goal())).await.totals.rewrapped, 5);
    keys.check(&source, 5, "ab").await;
    assert_eq!(run(Job::new(source.clone(), goal())).await.totals.in_target_state, 5);
}

#[tokio::test]
async fn a_key_is_removed_and_the_others_stay() {
    let keys = Keys::new();
    let source = keys.source(5, "abc").await;
    let goal = || Goal::edit(Vec::new(), keys.keys("c")).open_with(keys.keys("ab"));
    assert_eq!(run(Job::new(source.clone(), goal())).await.totals.rewrapped, 5);
    keys.check(&source, 5, "ab").await;
    assert_eq!(run(Job::new(source.clone(), goal())).await.totals.in_target_state, 5);
}

#[tokio::test]
async fn a_recipient_that_should_stay_and_is_not_configured_is_an_error_and_nothing_is_lost() {
    let keys = Keys::new();
    let source = keys.source(1, "ab").await;
    let goal = Goal::edit(keys.keys("c"), Vec::new()).open_with(keys.keys("a"));
    let mut said = Vec::new();
    let control = Control::new();
    let job = Job::new(source.clone(), goal).run(&control, |item| {
        if let Outcome::Failed(error) = &item.outcome {
            said.push(error.to_string());
        }
    });
    assert_eq!(job.await.unwrap().totals.failed, 1);
    assert_eq!(
        said,
        [
            "its recipient memory:b should stay and is not configured: name it as a key to open with, or remove it"
        ]
    );
    keys.check(&source, 1, "ab").await;
}

#[tokio::test]
async fn the_last_key_is_not_removed() {
    let keys = Keys::new();
    let source = keys.source(1, "a").await;
    let mut said = Vec::new();
    let control = Control::new();
    let job = Job::new(source.clone(), Goal::edit(Vec::new(), keys.keys("a"))).run(&control, |item| {
        if let Outcome::Failed(error) = &item.outcome {
            said.push(error.to_string());
        }
    });
    assert_eq!(job.await.unwrap().totals.failed, 1);
    assert_eq!(said, ["no key would open it any more"]);
    keys.check(&source, 1, "a").await;
}

#[tokio::test]
async fn a_new_version_of_the_key_is_a_reason_and_its_short_name_means_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let smallest = Argon2Params { m_cost: 19 * 1024, t_cost: 1, p_cost: 1 };
    let passphrase = Passphrase::new("words".into()).unwrap();
    let keystore = Keystore::create_with(folder.path().join("keystore.json"), &passphrase, smallest).unwrap();
    keystore.create_key(&NewKey::named("main")).await.unwrap();
    let keystore = Arc::new(keystore);
    let short = KeyUri::parse("local:main").unwrap();
    let envelope = Envelope::new(Keyring::new().both(keystore.clone(), short.clone()));
    let source = Arc::new(envelope_rotation::Memory::new());
    source.put("0", envelope.encrypt(b"0", &EncryptionContext::new()).await.unwrap());

    let job = || Job::new(source.clone(), Goal::only(vec![Key::new(keystore.clone(), short.clone())]));
    assert_eq!(run(job()).await.totals.in_target_state, 1);
    keystore.rotate_key(&short).await.unwrap();
    let mut reasons = Vec::new();
    let report = job().run(&Control::new(), |item| reasons.extend(item.reasons.clone())).await.unwrap();
    assert_eq!(report.totals.rewrapped, 1);
    let [Reason::OldVersion { has, wants, .. }] = reasons.as_slice() else { panic!("{reasons:?}") };
    assert_eq!((has.as_str(), wants.as_str()), ("1", "2"));
    assert_eq!(run(job()).await.totals.in_target_state, 1);
    assert_eq!(generations(&source, 1), [1]);
}

#[tokio::test]
async fn what_is_wrong_with_a_key_that_an_envelope_loses_is_among_the_reasons_and_changes_nothing_else() {
    let keys = Keys::new();
    let source = keys.source(3, "a").await;
    // Whatever the version is called: it is that of the header.
    let header = envelope_sdk::Header::parse(&source.envelope("0").unwrap()).unwrap().0;
    let version = header.recipients()[0].key_version().to_owned();
    let plan = async |to: &str, version: Option<String>, concern| {
        let goal = Goal::only(keys.keys(to)).open_with(keys.keys("a"));
        let goal = goal.concerned_about(crate::uri('a'), version, concern);
        Job::new(source.clone(), goal).plan(&Control::new(), |_| {}).await.unwrap()
    };
    let reasons = plan("b", Some(version.clone()), Concern::Compromised).await.reasons;
    assert_eq!(reasons.get("compromised-key"), Some(&3), "{reasons:?}");
    assert_eq!(plan("b", None, Concern::Due).await.reasons.get("due-key"), Some(&3));
    let other = plan("b", Some("another".into()), Concern::Due).await.reasons;
    assert!(!other.contains_key("due-key"), "{other:?}");
    // It stays with them, so there is nothing to do about it here.
    assert_eq!(plan("a", Some(version), Concern::Compromised).await.to_change, 0);
}

#[tokio::test]
async fn what_the_job_before_did_is_changed_again_for_a_newer_version() {
    let folder = tempfile::tempdir().unwrap();
    let smallest = Argon2Params { m_cost: 19 * 1024, t_cost: 1, p_cost: 1 };
    let passphrase = Passphrase::new("words".into()).unwrap();
    let keystore = Keystore::create_with(folder.path().join("keystore.json"), &passphrase, smallest).unwrap();
    for name in ["old", "main"] {
        keystore.create_key(&NewKey::named(name)).await.unwrap();
    }
    let keystore = Arc::new(keystore);
    let [old, main] = ["local:old", "local:main"].map(|uri| KeyUri::parse(uri).unwrap());
    let envelope = Envelope::new(Keyring::new().encrypt(keystore.clone(), old.clone()));
    let source = Arc::new(envelope_rotation::Memory::new());
    source.put("0", envelope.encrypt(b"0", &EncryptionContext::new()).await.unwrap());

    let key = |uri: &KeyUri| Key::new(keystore.clone(), uri.clone());
    let job = || {
        let goal = Goal::only(vec![key(&main)]).open_with(vec![key(&old)]);
        let checkpoint = envelope_rotation::Checkpoint::open(&folder.path().join("job.jsonl")).unwrap();
        Job::new(source.clone(), goal).checkpoint(checkpoint)
    };
    assert_eq!(run(job()).await.totals.rewrapped, 1);
    assert_eq!(run(job()).await.totals.done_before, 1);
    keystore.rotate_key(&main).await.unwrap();
    let report = run(job()).await;
    assert_eq!((report.totals.rewrapped, report.totals.done_before), (1, 0));
    assert_eq!(generations(&source, 1), [2]);
}

#[tokio::test]
async fn without_a_time_in_the_source_nothing_is_older() {
    let keys = Keys::new();
    let source = keys.source(1, "b").await;
    let goal = Goal::only(keys.keys("b")).older_than(SystemTime::now() + Duration::from_secs(3600));
    assert_eq!(run(Job::new(source, goal)).await.totals.in_target_state, 1);
}

#[tokio::test]
async fn stored_and_withheld_context_stay_as_they_are() {
    let keys = Keys::new();
    let context = EncryptionContext::new().with("tenant", "42").withhold("secret", "value");
    let source = Arc::new(envelope_rotation::Memory::new());
    source.put("0", keys.envelope("a").encrypt(b"0", &context).await.unwrap());
    let known = EncryptionContext::new().with("secret", "value");
    for (goal, to) in [
        (crate::a_to_b(&keys).with_context(known.clone()), "b"),
        (
            Goal::only(keys.keys("c")).open_with(keys.keys("b")).with_context(known.clone()).reencrypting(),
            "c",
        ),
    ] {
        let report = run(Job::new(source.clone(), goal)).await;
        assert_eq!(report.totals.rewrapped + report.totals.reencrypted, 1);
        let sealed = source.envelope("0").unwrap();
        assert_eq!(keys.envelope(to).decrypt(&sealed, &context).await.unwrap(), b"0");
        let header = Envelope::inspect(&sealed).unwrap();
        assert_eq!(header.stored_context()["tenant"], "42");
        assert_eq!(header.withheld(), ["secret"]);
    }
}
