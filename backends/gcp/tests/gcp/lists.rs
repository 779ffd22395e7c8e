//! Lists that do not end, or are of another place.

use envelope_sdk::{KeyAdmin, ProviderErrorKind::Protocol, admin::all_keys};
use envelope_testkit::http_server::Answer;
use serde_json::json;

use super::{
    canned::{Canned, call_of, the_key},
    *,
};

/// Each page names another one, or itself.
#[test]
fn a_list_without_an_end_is_refused() {
    for same in [false, true] {
        let server = Canned::answering(move |request| {
            let next = if same { "again".to_owned() } else { format!("page-{}", request.number) };
            let answer = match call_of(request).as_str() {
                "GET cryptoKeys" if !request.path().ends_with("/cryptoKeys") => {
                    json!({"name": the_name(), "purpose": 1})
                }
                _ => json!({"nextPageToken": next}),
            };
            Answer::json(200, answer.to_string())
        });
        let kms = server.kms();
        let location = RING.split("/keyRings/").next().unwrap();
        for error in [
            block_on(all_keys(&kms)).map(drop).unwrap_err(),
            block_on(kms.describe(&the_key())).map(drop).unwrap_err(),
            block_on(kms.import_jobs(RING)).map(drop).unwrap_err(),
            block_on(kms.key_rings(location)).map(drop).unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.is_retryable()), (Protocol, false), "{error}");
        }
    }
}

#[test]
fn what_is_of_another_key_or_key_ring_than_was_asked_is_refused() {
    let other = format!("{RING}-2/cryptoKeys/k");
    let version = json!([{"name": format!("{other}/cryptoKeyVersions/1"), "state": 1}]);
    for (what, answer) in [
        ("keys", json!({"cryptoKeys": [{"name": other, "purpose": 1}]})),
        ("keys", json!({"cryptoKeys": [{"name": "", "purpose": 1}]})),
        ("key", json!({"name": other, "purpose": 1})),
        ("key", json!({})),
        ("versions", json!({"name": the_name(), "purpose": 1, "cryptoKeyVersions": version})),
        ("jobs", json!({"importJobs": [{"name": format!("{RING}-2/importJobs/j")}]})),
        ("rings", json!({"keyRings": [{"name": "projects/other/locations/europe-west3/keyRings/r"}]})),
        ("ring", json!({"name": format!("{RING}-2")})),
    ] {
        let server = Canned::saying(answer.to_string());
        let kms = server.kms();
        let location = RING.split("/keyRings/").next().unwrap();
        let error = match what {
            "keys" => block_on(kms.list_keys(None)).map(drop),
            "key" | "versions" => block_on(kms.describe(&the_key())).map(drop),
            "jobs" => block_on(kms.import_jobs(RING)).map(drop),
            "rings" => block_on(kms.key_rings(location)).map(drop),
            _ => block_on(kms.has_key_ring(RING)).map(drop),
        };
        let error = error.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Protocol, false), "{answer}");
        assert!(error.message().contains("another key or key ring than was asked"), "{error}");
    }
}

fn the_name() -> String {
    format!("{RING}/cryptoKeys/the-key")
}
