//! Paths that lead elsewhere.

use std::{fs, os::unix::fs::symlink};

use envelope_sdk::EncryptionContext;
use serde_json::json;

use crate::{client::Client, served::Served};

#[tokio::test]
async fn no_path_leads_out_of_the_served_folders() {
    let served = Served::new().await;
    let outside = served.folder.path().join("outside");
    fs::write(&outside, served.sealed(&["main"], &EncryptionContext::new()).await).unwrap();
    symlink(&outside, served.root().join("absolute-link")).unwrap();
    symlink("../outside", served.root().join("relative-link")).unwrap();
    symlink(served.folder.path(), served.root().join("folder-link")).unwrap();
    symlink("both", served.root().join("inner-link")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(served.root().join("fifo")).status().unwrap().success());
    let mut client = Client::begin(served.server()).await;
    for (path, kind) in [
        (served.path("absolute-link"), "key-refused"),
        (served.path("relative-link"), "key-refused"),
        (served.path("folder-link/outside"), "key-refused"),
        (outside.to_str().unwrap().to_owned(), "key-refused"),
        (served.path("sub/../../outside"), "usage"),
        ("tree/both".to_owned(), "usage"),
        ("/etc/passwd".to_owned(), "key-refused"),
        ("/proc/self/environ".to_owned(), "key-refused"),
        (served.path("bo\0th"), "usage"),
        (served.path(&"a/".repeat(3000)), "usage"),
        (served.path("fifo"), "input-output"),
        (served.path("sub"), "input-output"),
        (served.path(""), "usage"),
        (served.path("none"), "input-output"),
    ] {
        let error = client.fails("inspect_envelope", json!({ "path": path })).await;
        assert_eq!(error["kind"], kind, "{path}: {error}");
    }
    client.call("inspect_envelope", json!({ "path": served.path("inner-link") })).await;
    for under in [served.path("folder-link"), "/".to_owned(), "/etc".to_owned()] {
        let error = client.fails("find_envelopes", json!({ "under": under })).await;
        assert_eq!(error["kind"], "key-refused", "{under}: {error}");
    }
    // A walk follows no link at all, and waits for no FIFO.
    let found = client.call("find_envelopes", json!({})).await;
    assert_eq!(
        (found["envelopes"].as_array().unwrap().len(), &found["unreadable"]),
        (3, &json!(0)),
        "{found}"
    );
}

/// A file is exchanged for a link out, and back, as fast as it goes, while it is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_put_there_during_the_call_leads_nowhere() {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };
    let served = Served::new().await;
    let outside = served.folder.path().join("outside");
    let foreign = EncryptionContext::new().with("outside", "outside");
    fs::write(&outside, served.sealed(&["main"], &foreign).await).unwrap();
    let (place, link) = (served.root().join("swapped"), served.root().join("link"));
    let copy = served.root().join("copy");
    fs::copy(served.root().join("both"), &copy).unwrap();
    fs::copy(served.root().join("both"), &place).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swapping = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(Ordering::Relaxed) {
                symlink(&outside, &link).unwrap();
                fs::rename(&link, &place).unwrap();
                fs::hard_link(&copy, &link).unwrap();
                fs::rename(&link, &place).unwrap();
                let _ = fs::remove_file(&link);
            }
        }
    });
    let mut client = Client::begin(served.server()).await;
    for _ in 0..200 {
        let result = client.result("inspect_envelope", json!({ "path": served.path("swapped") })).await;
        assert!(!result["structuredContent"].to_string().contains("outside=outside"), "{result}");
        let found = client.call("find_envelopes", json!({ "context_name": "outside" })).await;
        assert_eq!(found["envelopes"], json!([]));
    }
    stop.store(true, Ordering::Relaxed);
    swapping.join().unwrap();
}
