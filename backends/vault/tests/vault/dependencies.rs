//! What is linked, and what the sources may not do.

use envelope_testkit::sources::{all, demand_linked, tree};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

#[test]
fn this_crate_has_one_rustls_one_aws_lc_and_neither_ring_nor_openssl() {
    let once = ["rustls", "aws-lc-rs", "aws-lc-sys", "hyper", "hyper-rustls", "tokio", "reqwest"];
    let never = ["ring", "openssl", "openssl-sys", "native-tls", "vaultrs", "rustify"];
    demand_linked(&tree(FOLDER, "envelope-vault"), &once, &never);
}

/// Answers and requests are read where they stand, and never formatted; an answer that may hold a DEK is not read as a
/// value of JSON, which nobody wipes.
#[test]
fn no_answer_is_formatted_or_read_as_a_value() {
    for source in all(SOURCES) {
        source
            .demand_nothing_is_formatted(&["Zeroizing", "Bytes", "reqwest::Error", "HeaderValue"], "call.rs");
        if !source.path.starts_with("admin") {
            let code = source.code();
            assert!(
                !code.contains("serde_json::Value") && !code.contains("serde_json::{"),
                "{}",
                source.path
            );
        }
    }
}

#[test]
fn requests_leave_through_one_file() {
    for source in all(SOURCES) {
        let sends = source.tight().matches(".send()").count();
        assert_eq!(sends, usize::from(source.path == "transport.rs"), "{}", source.path);
    }
}

#[test]
fn no_error_of_a_client_is_the_source_of_ours() {
    for source in all(SOURCES) {
        source.demand_sources_of_errors(&["error)", "panicked)", "MissingSetting::new("]);
    }
}
