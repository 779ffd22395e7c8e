//! Keys that somebody chose to do harm, and many of them.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use envelope_rotation::{Item, ItemError, Listing, Outcome, Passed, Source, SourceError, Usage};
use futures_util::StreamExt;

use crate::{Bucket, Keys, on_each_store, run, try_run};

on_each_store!(
    odd_keys_are_done_and_none_is_shown_as_it_is,
    an_item_that_is_of_no_url_is_not_touched,
    a_listing_goes_on_behind_a_name,
);

async fn odd_keys_are_done_and_none_is_shown_as_it_is(bucket: Bucket) {
    let keys = Keys::new();
    let long = "l".repeat(1024 - "x/".len());
    let odd = ["a b", "%2e%2e", "ü", "\u{202e}gpj.exe", "q?w=1#f", "a+b&c", "-", "~", long.as_str()];
    for key in odd {
        // As it is written, where `Path::from` would encode it.
        let path = object_store::path::Path::parse(format!("x/{key}")).unwrap();
        let sealed = keys.seal(b"1", "a").await;
        object_store::ObjectStoreExt::put(&bucket.store, &path, sealed.into()).await.unwrap();
    }
    let shown: Vec<_> = bucket.objects(&["x"]).list().map(|item| item.unwrap().to_string()).collect().await;
    assert!(shown.iter().all(|name| !name.contains('\u{202e}')), "{shown:?}");
    let report = run(bucket.objects(&["x"]), keys.a_to_b()).await;
    assert_eq!(report.totals.rewrapped, odd.len() as u64);
    let report = run(bucket.objects(&["x"]), keys.a_to_b().reencrypting()).await;
    assert_eq!(report.totals.reencrypted, odd.len() as u64);
}

async fn an_item_that_is_of_no_url_is_not_touched(bucket: Bucket) {
    let keys = Keys::new();
    bucket.put("xy", keys.seal(b"1", "a").await).await;
    let source = bucket.objects(&["x"]);
    for name in [bucket.url("xy"), "xy".to_owned(), format!("s3://other/{}/x", bucket.name)] {
        let read = source.read(&Item::named(name.clone())).await;
        assert!(matches!(read, Err(SourceError::Gone)), "{name}");
    }
    for key in ["x/../xy", "x//y", "x/./y", "x/\n"] {
        let read = source.read(&Item::named(bucket.url(key))).await;
        assert!(matches!(read, Err(SourceError::Unsupported(_))), "{key}");
    }
}

async fn a_listing_goes_on_behind_a_name(bucket: Bucket) {
    for key in ["x/a", "x/b", "x/b.txt", "x/b/c", "x/c", "xy"] {
        bucket.put(key, b"no envelope".to_vec()).await;
    }
    let source = bucket.objects(&["x"]);
    let names = |listing: Listing| async {
        let names: Vec<_> =
            listing.map(|item| String::from_utf8(item.unwrap().name().to_vec()).unwrap()).collect().await;
        names
    };
    let all = names(source.list()).await;
    assert_eq!(all.len(), 5, "{all:?}");
    for (number, name) in all.iter().enumerate() {
        assert_eq!(names(source.list_after(name)).await, all[number + 1..], "behind {name}");
    }
    // Whether or not it is there, and of whatever store it is.
    assert_eq!(names(source.list_after(&bucket.url("x/bb"))).await, all[4..]);
    assert_eq!(names(source.list_after(&format!("{}://other/x/b", bucket.scheme))).await, all);
}

/// Puts an object whose key no client writes as it is.
fn put_raw(bucket: &Bucket, encoded: &str, bytes: &[u8]) {
    let mut server = TcpStream::connect(&bucket.address).unwrap();
    let head = format!(
        "PUT /{}/{encoded} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        bucket.name,
        bucket.address,
        bytes.len()
    );
    server.write_all(&[head.as_bytes(), bytes].concat()).unwrap();
    let mut answer = String::new();
    server.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{encoded}: {answer}");
}

async fn keys_that_cannot_be_written_are_told_one_by_one_and_the_rest_is_done(bucket: Bucket) {
    let keys = Keys::new();
    let sealed = keys.seal(b"1", "a").await;
    for number in 0..30 {
        bucket.put(&format!("x/{number:02}"), sealed.clone()).await;
    }
    for encoded in ["x/07/%2F/1", "x/15%7F", "x/99/%2E%2E/1"] {
        put_raw(&bucket, encoded, &sealed);
    }
    let (report, failed) = try_run(bucket.objects(&[""]), keys.a_to_b()).await;
    assert_eq!(report.totals.rewrapped, 30);
    let mut told: Vec<_> = failed
        .into_iter()
        .map(|failed| {
            let Outcome::Failed(ItemError::Source(SourceError::Store(error))) = failed.outcome else {
                panic!("{failed:?}")
            };
            error.to_string()
        })
        .collect();
    told.sort();
    assert_eq!(told.len(), 3, "{told:?}");
    let begin = |key: &str| format!("{}: its key has control characters", bucket.url(key));
    assert!(told[0].starts_with(&begin("x/07///1")), "{told:?}");
    assert!(told[1].starts_with(&begin("x/15\\u{7f}")), "{told:?}");
    assert!(told[2].starts_with(&begin("x/99/../1")), "{told:?}");
    // A listing goes on behind one of them as behind any other.
    let source = bucket.objects(&[""]);
    let listed: Vec<_> = source.list().collect().await;
    let first = listed.iter().find_map(|listed| match listed {
        Err(SourceError::Store(error)) => error.downcast_ref::<Passed>(),
        _ => None,
    });
    let rest: Vec<_> = source.list_after(first.unwrap().name()).collect().await;
    let (found, passed): (Vec<_>, Vec<_>) = rest.iter().partition(|listed| listed.is_ok());
    assert_eq!((found.len(), passed.len()), (22, 2), "08 to 29, and two more");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_s3_keys_that_cannot_be_written_are_told_one_by_one_and_the_rest_is_done() {
    if let Some(bucket) = Bucket::s3().await {
        keys_that_cannot_be_written_are_told_one_by_one_and_the_rest_is_done(bucket).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_google_keys_that_cannot_be_written_are_told_one_by_one_and_the_rest_is_done() {
    if let Some(bucket) = Bucket::google().await {
        keys_that_cannot_be_written_are_told_one_by_one_and_the_rest_is_done(bucket).await;
    }
}

async fn a_key_that_begins_with_a_slash_is_told_and_taken_for_no_other(bucket: Bucket) {
    let keys = Keys::new();
    let sealed = keys.seal(b"1", "a").await;
    for key in ["a", "b"] {
        bucket.put(key, sealed.clone()).await;
    }
    // There is an object of the first without the slash, and none of the second.
    for encoded in ["%2Fa", "%2Fc"] {
        put_raw(&bucket, encoded, &sealed);
    }
    let mut unread = Vec::new();
    let source = bucket.objects(&[""]);
    let usage = Usage::of(&source, |_, error| unread.push(error.to_string())).await;
    let opens: u64 = usage.keys.values().flat_map(|versions| versions.values()).map(|of| of.envelopes).sum();
    assert_eq!((opens, unread.len()), (2, 2), "{unread:?}");
    unread.sort();
    let (report, failed) = try_run(source, keys.a_to_b()).await;
    assert_eq!((report.totals.rewrapped, report.totals.items, failed.len()), (2, 4, 2));
    assert!(!report.finished, "not everything could be listed");
    for (told, key) in unread.iter().zip(["/a", "/c"]) {
        let begin = format!("{}: its key has control characters, an empty part", bucket.url(key));
        assert!(told.starts_with(&begin), "{told}");
    }
    // As where it is named.
    let read = bucket.objects(&[""]).read(&Item::named(bucket.url("/a"))).await;
    assert!(matches!(read, Err(SourceError::Unsupported(_))), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_s3_a_key_that_begins_with_a_slash_is_told_and_taken_for_no_other() {
    if let Some(bucket) = Bucket::s3().await {
        a_key_that_begins_with_a_slash_is_told_and_taken_for_no_other(bucket).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_google_a_key_that_begins_with_a_slash_is_told_and_taken_for_no_other() {
    if let Some(bucket) = Bucket::google().await {
        a_key_that_begins_with_a_slash_is_told_and_taken_for_no_other(bucket).await;
    }
}

async fn a_key_that_ends_with_a_slash_is_told_unless_its_object_is_empty(bucket: Bucket) {
    let keys = Keys::new();
    let sealed = keys.seal(b"1", "a").await;
    for key in ["a", "b"] {
        bucket.put(key, sealed.clone()).await;
    }
    // There is an object of the first without the slash, and none of the second.
    for encoded in ["a%2F", "c%2F"] {
        put_raw(&bucket, encoded, &sealed);
    }
    // As consoles make for folders.
    put_raw(&bucket, "d%2F", b"");
    let mut unread = Vec::new();
    let source = bucket.objects(&[""]);
    let usage = Usage::of(&source, |_, error| unread.push(error.to_string())).await;
    let opens: u64 = usage.keys.values().flat_map(|versions| versions.values()).map(|of| of.envelopes).sum();
    assert_eq!((opens, unread.len()), (2, 2), "{unread:?}");
    let (report, failed) = try_run(source, keys.a_to_b()).await;
    assert_eq!((report.totals.rewrapped, report.totals.items, failed.len()), (2, 4, 2));
    unread.sort();
    for (told, key) in unread.iter().zip(["a/", "c/"]) {
        let begin = format!("{}: its key has control characters, an empty part", bucket.url(key));
        assert!(told.starts_with(&begin), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_s3_a_key_that_ends_with_a_slash_is_told_unless_its_object_is_empty() {
    if let Some(bucket) = Bucket::s3().await {
        a_key_that_ends_with_a_slash_is_told_unless_its_object_is_empty(bucket).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_google_a_key_that_ends_with_a_slash_is_told_unless_its_object_is_empty() {
    if let Some(bucket) = Bucket::google().await {
        a_key_that_ends_with_a_slash_is_told_unless_its_object_is_empty(bucket).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_s3_more_envelopes_than_a_page_has_are_listed_each_once() {
    let Some(bucket) = Bucket::s3().await else { return };
    let puts = futures_util::stream::iter(0..2100);
    puts.for_each_concurrent(16, |number| {
        let bucket = &bucket;
        async move { bucket.put(&format!("x/{number:04}"), b"no envelope".to_vec()).await }
    })
    .await;
    let listed: Vec<_> = bucket.objects(&["x"]).list().map(|item| item.unwrap().to_string()).collect().await;
    let expected: Vec<_> = (0..2100).map(|number| bucket.url(&format!("x/{number:04}"))).collect();
    assert!(listed == expected, "{} listed", listed.len());
}
