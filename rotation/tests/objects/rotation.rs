//! What holds of every store.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

use envelope_rotation::{Control, Item, ItemError, Job, Outcome, Source, SourceError, Usage};
use envelope_sdk::{EncryptionContext, Envelope, Header, format::armor};
use futures_util::StreamExt;
use object_store::{Attribute, Attributes, ObjectStore, PutOptions, TagSet, path::Path};

use crate::{Bucket, Keys, LARGE, on_each_store, plaintext, run, try_run};

on_each_store!(
    small_and_large_envelopes_get_a_new_header_and_keep_their_payload,
    a_detached_header_changes_and_its_payload_is_not_even_asked_for,
    an_armored_envelope_stays_armored,
    a_header_that_is_longer_than_usual_is_read_and_replaced,
    reencrypting_makes_a_new_envelope_of_the_same_plaintext_and_leaves_nothing_behind,
    reencrypting_a_detached_header_is_refused_and_changes_nothing,
    what_is_stored_with_an_object_stays_with_it,
    a_url_means_one_object_or_all_below_it_and_nothing_that_begins_alike,
    what_is_no_envelope_is_passed_over_and_stays,
    what_is_not_there_is_an_error,
    a_plan_and_usage_write_nothing,
    a_second_run_changes_nothing,
    two_jobs_at_once_do_each_envelope_once,
    a_tag_that_is_stale_is_a_conflict_and_the_job_reads_again,
    an_envelope_that_was_removed_meanwhile_is_not_written_again,
);

async fn small_and_large_envelopes_get_a_new_header_and_keep_their_payload(bucket: Bucket) {
    let keys = Keys::new();
    for (key, len) in [("x/empty", 0), ("x/small.envelope", 1000), ("x/y/large", LARGE)] {
        bucket.put(key, keys.seal(&plaintext(len), "a").await).await;
    }
    let payload = |bytes: &[u8]| bytes[Header::parse(bytes).unwrap().1..].to_vec();
    let before = payload(&bucket.get("x/y/large").await);
    let report = run(bucket.objects(&["x"]), keys.a_to_b()).await;
    assert_eq!(report.totals.rewrapped, 3);
    for (key, len) in [("x/empty", 0), ("x/small.envelope", 1000), ("x/y/large", LARGE)] {
        assert_eq!(keys.open(&bucket.get(key).await).await, Some(('b', plaintext(len))), "{key}");
    }
    assert!(payload(&bucket.get("x/y/large").await) == before, "the payload is not changed");
    assert_eq!(bucket.keys().await, ["x/empty", "x/small.envelope", "x/y/large"]);
}

async fn a_detached_header_changes_and_its_payload_is_not_even_asked_for(bucket: Bucket) {
    let keys = Keys::new();
    let (envelope, context) = (keys.envelope("a"), EncryptionContext::new());
    let (header, payload) = envelope.encrypt_detached(b"a secret", &context).await.unwrap();
    bucket.put("x.envelope", header).await;
    bucket.put("x.sealed", payload.clone()).await;
    let report = run(bucket.objects(&["x.envelope"]), keys.a_to_b()).await;
    assert_eq!((report.totals.rewrapped, report.totals.items), (1, 1));
    assert_eq!(bucket.get("x.sealed").await, payload);
    let header = bucket.get("x.envelope").await;
    let opened = keys.envelope("b").decrypt_detached(&header, &payload, &context).await;
    assert_eq!(opened.unwrap(), b"a secret");
    let error = keys.envelope("a").decrypt_detached(&header, &payload, &context).await.unwrap_err();
    assert!(matches!(error, envelope_sdk::DecryptError::NoConfiguredKey { .. }), "{error}");
}

async fn an_armored_envelope_stays_armored(bucket: Bucket) {
    let keys = Keys::new();
    for goal in [keys.a_to_b(), keys.a_to_b().reencrypting()] {
        let text = armor::encode(&keys.seal(&plaintext(20_000), "a").await);
        bucket.put("x.pem", text.into_bytes()).await;
        run(bucket.objects(&[""]), goal).await;
        let text = String::from_utf8(bucket.get("x.pem").await).unwrap();
        let opened = keys.open(&armor::decode(&text).unwrap()).await;
        assert_eq!(opened, Some(('b', plaintext(20_000))));
    }
}

async fn a_header_that_is_longer_than_usual_is_read_and_replaced(bucket: Bucket) {
    let keys = Keys::new();
    let context = EncryptionContext::new();
    let sealed = keys.envelope("a").pad_headers_to(20_000).encrypt(b"a secret", &context).await.unwrap();
    bucket.put("x", sealed.clone()).await;
    bucket.put("y", armor::encode(&sealed).into_bytes()).await;
    let report = run(bucket.objects(&[""]), keys.a_to_b()).await;
    assert_eq!(report.totals.rewrapped, 2);
    let opened = keys.envelope("b").decrypt(&bucket.get("x").await, &context).await;
    assert_eq!(opened.unwrap(), b"a secret");
}

async fn reencrypting_makes_a_new_envelope_of_the_same_plaintext_and_leaves_nothing_behind(bucket: Bucket) {
    let keys = Keys::new();
    for (key, len) in [("x/empty", 0), ("x/small", 1000), ("x/large", LARGE)] {
        bucket.put(key, keys.seal(&plaintext(len), "a").await).await;
    }
    let id = |bytes: &[u8]| *Envelope::inspect(bytes).unwrap().envelope_id();
    let before = id(&bucket.get("x/large").await);
    let report = run(bucket.objects(&["x"]).removing_left_objects(), keys.a_to_b().reencrypting()).await;
    assert_eq!(report.totals.reencrypted, 3);
    for (key, len) in [("x/empty", 0), ("x/small", 1000), ("x/large", LARGE)] {
        assert_eq!(keys.open(&bucket.get(key).await).await, Some(('b', plaintext(len))), "{key}");
    }
    assert_ne!(id(&bucket.get("x/large").await), before);
    assert_eq!(bucket.keys().await, ["x/empty", "x/large", "x/small"]);
}

async fn reencrypting_a_detached_header_is_refused_and_changes_nothing(bucket: Bucket) {
    let keys = Keys::new();
    let (header, payload) =
        keys.envelope("a").encrypt_detached(b"a secret", &EncryptionContext::new()).await.unwrap();
    bucket.put("x.envelope", header.clone()).await;
    bucket.put("x.sealed", payload.clone()).await;
    let (_, failed) = try_run(bucket.objects(&[""]), keys.a_to_b().reencrypting()).await;
    let [failed] = failed.try_into().unwrap();
    let Outcome::Failed(ItemError::Source(SourceError::Unsupported(why))) = failed.outcome else {
        panic!("{failed:?}")
    };
    assert!(why.contains("two objects"), "{why}");
    assert_eq!((bucket.get("x.envelope").await, bucket.get("x.sealed").await), (header, payload));
}

async fn what_is_stored_with_an_object_stays_with_it(bucket: Bucket) {
    let keys = Keys::new();
    let attributes = Attributes::from_iter([
        (Attribute::ContentType, "application/x-envelope"),
        (Attribute::CacheControl, "no-store"),
        (Attribute::Metadata("owner".into()), "alice"),
    ]);
    for (key, len) in [("small", 10), ("large", LARGE)] {
        for goal in [keys.a_to_b(), keys.a_to_b().reencrypting()] {
            bucket.put_with(key, keys.seal(&plaintext(len), "a").await, attributes.clone()).await;
            run(bucket.objects(&[key]), goal).await;
            assert_eq!(keys.open(&bucket.get(key).await).await.unwrap().0, 'b');
            let there = bucket.attributes(key).await;
            for (name, value) in &attributes {
                assert_eq!(there.get(name), Some(value), "{key}");
            }
        }
    }
}

async fn a_url_means_one_object_or_all_below_it_and_nothing_that_begins_alike(bucket: Bucket) {
    let keys = Keys::new();
    for key in ["x", "x/1", "x/2/3", "xy", "y/x/1"] {
        bucket.put(key, keys.seal(b"1", "a").await).await;
    }
    assert_eq!(names(&bucket.objects(&["x"])).await, ["x", "x/1", "x/2/3"].map(|key| bucket.url(key)));
    assert_eq!(names(&bucket.objects(&["x/"])).await, ["x/1", "x/2/3"].map(|key| bucket.url(key)));
    assert_eq!(names(&bucket.objects(&["xy", "y"])).await, ["xy", "y/x/1"].map(|key| bucket.url(key)));
    assert_eq!(names(&bucket.objects(&[""])).await.len(), 5);
}

async fn names(source: &dyn Source) -> Vec<String> {
    let listed: Vec<_> = source.list().map(|item| item.unwrap().to_string()).collect().await;
    listed
}

async fn what_is_no_envelope_is_passed_over_and_stays(bucket: Bucket) {
    let keys = Keys::new();
    bucket.put("a.envelope", keys.seal(b"1", "a").await).await;
    bucket.put("notes.txt", b"notes".to_vec()).await;
    bucket.put("nothing", Vec::new()).await;
    bucket.put("large.bin", plaintext(LARGE)).await;
    let report = run(bucket.objects(&[""]), keys.a_to_b()).await;
    assert_eq!((report.totals.rewrapped, report.totals.passed_over), (1, 2));
    assert_eq!(bucket.get("notes.txt").await, b"notes");
    // Who names one is told.
    for key in ["notes.txt", "nothing"] {
        let (_, failed) = try_run(bucket.objects(&[key]), keys.a_to_b()).await;
        let [failed] = failed.try_into().unwrap();
        let error = matches!(failed.outcome, Outcome::Failed(ItemError::Source(SourceError::NotAnEnvelope)));
        assert!(error, "{failed:?}");
    }
}

async fn what_is_not_there_is_an_error(bucket: Bucket) {
    let keys = Keys::new();
    let (_, failed) = try_run(bucket.objects(&["absent"]), keys.a_to_b()).await;
    let [failed] = failed.try_into().unwrap();
    assert!(matches!(failed.outcome, Outcome::Failed(ItemError::Source(SourceError::Gone))), "{failed:?}");
    assert_eq!(failed.item.to_string(), bucket.url("absent"));

    let nowhere = Bucket { name: "absent-bucket".into(), ..bucket };
    let (_, failed) = try_run(nowhere.objects(&[""]), keys.a_to_b()).await;
    let [failed] = failed.try_into().unwrap();
    let Outcome::Failed(error) = failed.outcome else { panic!("{failed:?}") };
    assert!(error.to_string().contains("absent-bucket"), "{error}");
}

async fn a_plan_and_usage_write_nothing(bucket: Bucket) {
    let keys = Keys::new();
    bucket.put("x", keys.seal(b"1", "a").await).await;
    let before = bucket.get("x").await;
    let plan = Job::new(Arc::new(bucket.objects(&[""])), keys.a_to_b());
    let plan = plan.plan(&Control::new(), |_| {}).await.unwrap();
    assert_eq!((plan.items, plan.to_change), (1, 1));
    let usage = Usage::of(&bucket.objects(&[""]), |item, error| panic!("{item:?}: {error}")).await;
    assert_eq!(
        usage.keys.values().flat_map(|versions| versions.values()).map(|opens| opens.alone).sum::<u64>(),
        1
    );
    assert_eq!(bucket.get("x").await, before);
}

async fn a_second_run_changes_nothing(bucket: Bucket) {
    let keys = Keys::new();
    bucket.put("x", keys.seal(b"1", "a").await).await;
    run(bucket.objects(&[""]), keys.a_to_b()).await;
    let after = bucket.get("x").await;
    let report = run(bucket.objects(&[""]).removing_left_objects(), keys.a_to_b()).await;
    assert_eq!((report.totals.rewrapped, report.totals.in_target_state), (0, 1));
    assert_eq!(bucket.get("x").await, after);
}

async fn two_jobs_at_once_do_each_envelope_once(bucket: Bucket) {
    let keys = Keys::new();
    for number in 0..40 {
        bucket.put(&format!("{number}"), keys.seal(b"1", "a").await).await;
    }
    let mut all = 40;
    // LocalStack looks at the condition of an upload in parts and then completes it, with nothing held in between: of two
    // at once both succeed there.
    if bucket.scheme != "s3" {
        bucket.put("large", keys.seal(&plaintext(LARGE), "a").await).await;
        all += 1;
    }
    let both = [bucket.objects(&[""]), bucket.objects(&[""])].map(|source| run(source, keys.a_to_b()));
    let [one, other] = futures_util::future::join_all(both).await.try_into().unwrap();
    assert_eq!(one.totals.rewrapped + other.totals.rewrapped, all, "{one}{other}");
    assert_eq!(one.totals.in_target_state + other.totals.in_target_state, all);
    for key in bucket.keys().await {
        let sealed = bucket.get(&key).await;
        assert_eq!(keys.open(&sealed).await.unwrap().0, 'b', "{key}");
        assert_eq!(Envelope::inspect(&sealed).unwrap().generation(), 1, "{key}");
    }
    assert_eq!(bucket.keys().await.len() as u64, all);
}

async fn a_tag_that_is_stale_is_a_conflict_and_the_job_reads_again(bucket: Bucket) {
    let keys = Keys::new();
    for len in [10, LARGE] {
        let sealed = keys.seal(&plaintext(len), "a").await;
        bucket.put("x", sealed.clone()).await;
        let source = bucket.objects(&[""]);
        let item = Item::named(bucket.url("x"));
        let stored = source.read(&item).await.unwrap();
        let rewrapped = |to: &str| {
            let envelope = keys.envelope(&format!("a{to}"));
            let header = stored.header.clone();
            async move { envelope.rewrap_header(header, &EncryptionContext::new()).await.unwrap() }
        };
        // Somebody else adds `c` meanwhile.
        let theirs = rewrapped("c").await;
        source.commit(&item, &stored, &theirs).await.unwrap();
        let late = source.commit(&item, &stored, &rewrapped("b").await).await.unwrap_err();
        assert!(matches!(late, SourceError::Conflict), "{late:?}");
        assert_eq!(source.read(&item).await.unwrap().header, theirs, "what they wrote stays");
        let report = run(bucket.objects(&[""]), keys.a_to_b().open_with(keys.keys("ac"))).await;
        assert_eq!(report.totals.rewrapped, 1);
        assert_eq!(keys.open(&bucket.get("x").await).await, Some(('b', plaintext(len))));
    }
}

async fn an_envelope_that_was_removed_meanwhile_is_not_written_again(bucket: Bucket) {
    let keys = Keys::new();
    for len in [10, LARGE] {
        bucket.put("x", keys.seal(&plaintext(len), "a").await).await;
        let source = bucket.objects(&[""]);
        let item = Item::named(bucket.url("x"));
        let stored = source.read(&item).await.unwrap();
        let new = keys
            .envelope("ab")
            .rewrap_header(stored.header.clone(), &EncryptionContext::new())
            .await
            .unwrap();
        bucket.delete("x").await;
        let late = source.commit(&item, &stored, &new).await.unwrap_err();
        assert!(matches!(late, SourceError::Conflict), "{late:?}");
        assert_eq!(bucket.keys().await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_s3_an_object_with_tags_is_refused_and_keeps_them() {
    let Some(bucket) = Bucket::s3().await else { return };
    let keys = Keys::new();
    let sealed = keys.seal(b"1", "a").await;
    let mut tags = TagSet::default();
    tags.push("team", "storage");
    let options = PutOptions { tags, ..PutOptions::default() };
    bucket.store.put_opts(&Path::from("x"), sealed.clone().into(), options).await.unwrap();
    for goal in [keys.a_to_b(), keys.a_to_b().reencrypting()] {
        let (_, failed) = try_run(bucket.objects(&[""]), goal).await;
        let [failed] = failed.try_into().unwrap();
        let Outcome::Failed(ItemError::Source(SourceError::Unsupported(why))) = failed.outcome else {
            panic!("{failed:?}")
        };
        assert!(why.contains("tags"), "{why}");
    }
    assert_eq!(bucket.get("x").await, sealed);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_s3_the_storage_class_stays() {
    let Some(bucket) = Bucket::s3().await else { return };
    let keys = Keys::new();
    let attributes = Attributes::from_iter([(Attribute::StorageClass, "STANDARD_IA")]);
    for len in [10, LARGE] {
        bucket.put_with("x", keys.seal(&plaintext(len), "a").await, attributes.clone()).await;
        run(bucket.objects(&[""]), keys.a_to_b()).await;
        let mut server = TcpStream::connect(&bucket.address).unwrap();
        let request = format!("HEAD /{}/x HTTP/1.0\r\nhost: {}\r\n\r\n", bucket.name, bucket.address);
        server.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        server.read_to_string(&mut answer).unwrap();
        assert!(answer.to_ascii_lowercase().contains("x-amz-storage-class: standard_ia"), "{answer}");
    }
}
