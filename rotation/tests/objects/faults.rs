//! Stores that refuse, are slow, or answer into nothing.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use envelope_rotation::{Item, ItemError, Objects, ObjectsError, Outcome, Source, SourceError, Usage};
use envelope_sdk::EncryptionContext;
use envelope_testkit::http_server::{Answer, HttpServer, Request, forward};

use crate::{Bucket, Keys, LARGE, on_each_store, plaintext, run, try_run};

on_each_store!(
    a_store_that_has_too_much_to_do_is_asked_again,
    an_answer_to_a_write_that_was_lost_is_no_conflict_with_itself,
    what_a_store_says_is_told_without_its_control_characters,
    a_body_that_changes_while_it_is_copied_is_a_conflict,
    an_envelope_that_is_replaced_while_its_header_is_read_is_neither_passed_over_nor_left_out,
);

/// Stands before the server of a bucket; what `fault` answers, the server does not.
fn before(bucket: &Bucket, fault: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> HttpServer {
    let address = bucket.address.clone();
    HttpServer::answering(move |request| fault(request).unwrap_or_else(|| forward(&address, request)))
}

fn is_write(request: &Request) -> bool {
    matches!(request.method.as_str(), "PUT" | "POST")
}

fn slow_down(status: u16) -> Answer {
    Answer::new(status).body("<Error><Code>SlowDown</Code></Error>")
}

async fn a_store_that_has_too_much_to_do_is_asked_again(bucket: Bucket) {
    let keys = Keys::new();
    bucket.put("small", keys.seal(b"1", "a").await).await;
    bucket.put("large", keys.seal(&plaintext(LARGE), "a").await).await;
    // Every second request, whatever it is.
    let count = AtomicUsize::new(0);
    let server = before(&bucket, move |_| match count.fetch_add(1, Ordering::SeqCst) % 4 {
        0 => Some(slow_down(503)),
        2 => Some(slow_down(429)),
        _ => None,
    });
    let report = run(bucket.objects_at(&server.url(), &[""]), keys.a_to_b()).await;
    assert_eq!(report.totals.rewrapped, 2);
    assert_eq!(keys.open(&bucket.get("large").await).await, Some(('b', plaintext(LARGE))));
}

async fn an_answer_to_a_write_that_was_lost_is_no_conflict_with_itself(bucket: Bucket) {
    let keys = Keys::new();
    for len in [10, LARGE] {
        bucket.put("x", keys.seal(&plaintext(len), "a").await).await;
        let (address, lost) = (bucket.address.clone(), Arc::new(AtomicUsize::new(0)));
        let lost_here = Arc::clone(&lost);
        let server = before(&bucket, move |request| {
            let last = is_write(request)
                && request.header("if-match").or(request.header("x-goog-if-generation-match")).is_some();
            // It is written, and the answer says that it was not.
            (last && lost_here.fetch_add(1, Ordering::SeqCst) == 0).then(|| {
                let _ = forward(&address, request);
                slow_down(503)
            })
        });
        let report = run(bucket.objects_at(&server.url(), &[""]), keys.a_to_b()).await;
        assert_eq!(report.totals.rewrapped, 1, "it was this job that did it");
        assert!(lost.load(Ordering::SeqCst) >= 2, "it was tried again");
        assert_eq!(keys.open(&bucket.get("x").await).await, Some(('b', plaintext(len))));
        assert_eq!(bucket.keys().await, ["x"]);
    }
}

async fn what_a_store_says_is_told_without_its_control_characters(bucket: Bucket) {
    let keys = Keys::new();
    bucket.put("x", keys.seal(b"1", "a").await).await;
    let server = before(&bucket, |request| {
        is_write(request).then(|| Answer::new(403).body(format!("no\x1b[2J\u{202e}{}", "!".repeat(100_000))))
    });
    let (_, failed) = try_run(bucket.objects_at(&server.url(), &[""]), keys.a_to_b()).await;
    let [failed] = failed.try_into().unwrap();
    let Outcome::Failed(ItemError::Source(SourceError::Store(error))) = failed.outcome else {
        panic!("{failed:?}")
    };
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(text.contains("no\\u{1b}[2J\\u{202e}!"), "{text}");
        assert!(text.len() < 1000 && !text.contains('\x1b'), "{text}");
    }
    assert_eq!(keys.open(&bucket.get("x").await).await.unwrap().0, 'a');
}

async fn a_body_that_changes_while_it_is_copied_is_a_conflict(bucket: Bucket) {
    let keys = Keys::new();
    for reencrypts in [false, true] {
        let theirs = keys.seal(&plaintext(LARGE + 1), "a").await;
        bucket.put("x", keys.seal(&plaintext(LARGE), "a").await).await;
        // Replaced when the second piece of the body is asked for.
        let (runtime, bucket_there) = (tokio::runtime::Handle::current(), bucket.clone());
        let theirs = Mutex::new(Some(theirs));
        let server = before(&bucket, move |request| {
            let range = request.header("range").or(request.header("x-ms-range")).unwrap_or_default();
            let is_late =
                request.method == "GET" && range.starts_with("bytes=") && !range.starts_with("bytes=0-");
            if is_late && let Some(theirs) = theirs.lock().unwrap().take() {
                runtime.block_on(bucket_there.put("x", theirs));
            }
            None
        });
        let source = bucket.objects_at(&server.url(), &[""]);
        let goal = if reencrypts { keys.a_to_b().reencrypting() } else { keys.a_to_b() };
        let (report, failed) = try_run(source, goal).await;
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(report.totals.conflicts, 1);
        assert_eq!(keys.open(&bucket.get("x").await).await, Some(('b', plaintext(LARGE + 1))));
        assert_eq!(bucket.keys().await, ["x"]);
    }
}

async fn an_envelope_that_is_replaced_while_its_header_is_read_is_neither_passed_over_nor_left_out(
    bucket: Bucket,
) {
    let keys = Keys::new();
    let (context, long) = (EncryptionContext::new(), keys.envelope("a").pad_headers_to(20_000));
    for counts in [true, false] {
        bucket.put("x", long.encrypt(b"1", &context).await.unwrap()).await;
        // Replaced when the rest of its header is asked for.
        let (runtime, bucket_there) = (tokio::runtime::Handle::current(), bucket.clone());
        let theirs = Mutex::new(Some(long.encrypt(b"2", &context).await.unwrap()));
        let server = before(&bucket, move |request| {
            let range = request.header("range").or(request.header("x-ms-range")).unwrap_or_default();
            let is_rest = range.starts_with("bytes=0-") && range != "bytes=0-8191";
            if request.method == "GET"
                && is_rest
                && let Some(theirs) = theirs.lock().unwrap().take()
            {
                runtime.block_on(bucket_there.put("x", theirs));
            }
            None
        });
        let source = bucket.objects_at(&server.url(), &[""]);
        if counts {
            let mut unread = Vec::new();
            let usage = Usage::of(&source, |_, error| unread.push(error.to_string())).await;
            assert_eq!((usage.keys.len(), unread.len()), (1, 0), "{unread:?}");
        } else {
            let (report, failed) = try_run(source, keys.a_to_b()).await;
            assert!(failed.is_empty(), "{failed:?}");
            assert_eq!((report.totals.rewrapped, report.totals.conflicts), (1, 1));
            assert_eq!(keys.open(&bucket.get("x").await).await, Some(('b', b"2".to_vec())));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_s3_the_same_bytes_written_again_are_what_was_read() {
    let Some(bucket) = Bucket::s3().await else { return };
    let keys = Keys::new();
    for len in [10, 1000] {
        let first = keys.seal(&plaintext(len), "a").await;
        bucket.put("x", first.clone()).await;
        let source = bucket.objects(&[""]);
        let item = Item::named(bucket.url("x"));
        let read = source.read(&item).await.unwrap();
        // Others replace it, and put it back: the tag is as it was.
        bucket.put("x", keys.seal(b"2", "b").await).await;
        bucket.put("x", first).await;
        assert_eq!(source.read(&item).await.unwrap().tag, read.tag, "an MD5");
        let new =
            keys.envelope("ab").rewrap_header(read.header.clone(), &EncryptionContext::new()).await.unwrap();
        source.commit(&item, &read, &new).await.unwrap();
        assert_eq!(keys.open(&bucket.get("x").await).await.unwrap().1, plaintext(len));

        // A tag that is right, of another header: what is there is compared, and stays.
        let there = source.read(&item).await.unwrap();
        let mut forged = read;
        forged.tag = there.tag.clone();
        let refused = source.commit(&item, &forged, &new).await.unwrap_err();
        assert!(matches!(refused, SourceError::Conflict), "{refused:?}");
    }
}

#[tokio::test]
async fn plain_http_beyond_this_machine_is_refused_before_anything_is_asked() {
    for (url, setting) in
        [("s3://b", "aws_endpoint"), ("gs://b", "google_base_url"), ("az://b", "azure_storage_endpoint")]
    {
        let settings = [(setting, "http://192.0.2.1:1"), ("azure_storage_account_name", "a")];
        let error = Objects::open_with(&[url], &settings).unwrap_err();
        assert!(matches!(error, ObjectsError::PlainHttp { .. }), "{error}");
    }
    let error = Objects::open(&["file:///x"]).unwrap_err();
    assert!(matches!(error, ObjectsError::NotAUrl { .. }), "{error}");
}
