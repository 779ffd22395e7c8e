//! What is linked, and what the sources may not do.

use envelope_testkit::sources::{all, demand_linked, tree};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

#[test]
fn this_crate_has_one_rustls_one_aws_lc_and_neither_ring_nor_openssl() {
    let once = [
        "rustls",
        "aws-lc-rs",
        "aws-lc-sys",
        "hyper",
        "hyper-rustls",
        "tokio",
        "reqwest",
        // That of the client, whose proxies are asked for by it.
        "hyper-util",
        "google-cloud-kms-v1",
    ];
    let never = ["ring", "openssl", "openssl-sys", "native-tls", "rsa", "jsonwebtoken"];
    demand_linked(&tree(FOLDER, "envelope-gcp"), &once, &never);
}

/// Google's client prints the plaintext of an answer with `{:?}`, and the answer of
/// a server with `{}`: no error, answer or request of it is ever formatted here, and
/// no call of it is logged.
#[test]
fn nothing_of_googles_client_is_formatted_and_every_call_is_unlogged() {
    let mut calls = 0;
    for source in all(SOURCES) {
        source.demand_nothing_is_formatted(&["Response", "Request", "Bytes", "Zeroizing"], "call.rs");
        let (path, tight) = (&source.path, source.tight());
        assert!(!tight.contains(".send().await"), "{path}: a call without `until`");
        assert!(!tight.contains(".build().await"), "{path}: a client that is made in the log's sight");
        assert!(!tight.contains("Failed:Debug"), "{path}");
        calls += tight.matches(".send().until(").count();
    }
    assert!(calls >= 17, "{calls}");
}

/// An error of the client is looked at by its questions, and never handed on as a
/// source.
#[test]
fn no_error_of_googles_client_is_the_source_of_ours() {
    for source in all(SOURCES) {
        source.demand_sources_of_errors(&["panicked)", "error)", "MissingSetting::new("]);
    }
}
