//! Buckets, page by page.

use envelope_mcp::{Failure, FoundEnvelope, FoundObject, Kind};
use envelope_sdk::{EncryptionContext, Envelope, Header};
use serde_json::{Value, json};

use crate::{
    client::Client,
    served::{BUCKET, Served},
};

fn object(name: &str, envelope: Result<Option<Header>, Failure>) -> FoundObject {
    let found = |header| FoundEnvelope { header, is_armored: false, modified: None };
    FoundObject { name: format!("{BUCKET}/{name}"), envelope: envelope.map(|header| header.map(found)) }
}

/// Three envelopes, what is none, and one that cannot be read.
async fn served() -> Served {
    let mut served = Served::new().await;
    let sealed = served.sealed(&["main"], &EncryptionContext::new()).await;
    let header = Envelope::inspect(&sealed).unwrap();
    served.objects = vec![
        object("a", Ok(Some(header.clone()))),
        object("b", Ok(Some(header.clone()))),
        object("c", Ok(None)),
        object("d", Err(Failure::new(Kind::Unreachable, "the store went away"))),
        object("e", Ok(Some(header))),
    ];
    served
}

#[tokio::test]
async fn the_next_page_of_a_bucket_is_listed_from_behind_the_last_object_of_the_page_before() {
    let served = served().await;
    let mut client = Client::begin(served.server()).await;
    let (mut paths, mut examined, mut cursor) = (Vec::new(), Vec::new(), Value::Null);
    loop {
        let arguments = json!({ "under": BUCKET, "limit": 1, "cursor": cursor });
        let found = client.call("find_envelopes", arguments).await;
        let page = found["envelopes"].as_array().unwrap().iter();
        paths.extend(page.map(|envelope| envelope["path"].as_str().unwrap().to_owned()));
        examined.push(found["examined"].as_u64().unwrap());
        cursor = found["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(paths, ["s3://bucket/a", "s3://bucket/b", "s3://bucket/e"]);
    // What is no envelope and what cannot be read is looked at once, too.
    assert_eq!(examined, [1, 3, 1]);
    let listed = served.listed.lock().unwrap();
    let listed: Vec<_> = listed.iter().map(Option::as_deref).collect();
    assert_eq!(listed, [None, Some("s3://bucket/a"), Some("s3://bucket/d")]);
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_counted_and_told() {
    let served = served().await;
    let mut client = Client::begin(served.server()).await;
    let told = client.call("key_usage", json!({ "under": BUCKET })).await;
    assert_eq!(
        (&told["examined"], &told["envelopes"], &told["unreadable"]),
        (&json!(5), &json!(3), &json!(1))
    );
    assert_eq!(told["unreadable_examples"], json!(["the store went away"]));
}
